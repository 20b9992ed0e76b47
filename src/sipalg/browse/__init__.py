"""`sipalg calls`: the calls of captures, of an interface or of the running ALG; looked through on a terminal."""
