"""sipalg: a SIP application layer gateway for Linux NAT routers."""

from sipalg import builds

__version__ = "0.1.0"

#: What is wrong with the wish for a build, "" where nothing is; the command line says it.
wrong_build = builds.choose()
