"""The commands that ask a running ALG over its socket, and how their tables look."""
