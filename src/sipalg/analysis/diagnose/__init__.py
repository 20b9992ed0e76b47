"""`sipalg diagnose`: the facts of a capture, what is wrong by them, and whether an ALG is needed."""
