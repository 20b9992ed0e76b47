"""Large blocks of memory, kept apart from small ones, so that the kernel has them back when they are let go.

Off a packet's way. A table of a hundred thousand phones has some megabytes, and each time that it grows there is a new
one. glibc places large blocks by themselves, but takes every such block that is freed for a sign that larger ones are
short-lived too, and from then on puts these among the small ones, up to 32 MB (mallopt(3), M_MMAP_THRESHOLD). The hole
that a table leaves there is filled with phones, or stays.
"""

from __future__ import annotations

import ctypes
from typing import Final

#: What is large, bytes. Nothing on a packet's way is.
LARGE_BYTES: Final = 1 << 18
#: glibc's number for the threshold, which stays where it was set (malloc.h).
_M_MMAP_THRESHOLD: Final = -3


def keep_large_apart() -> None:
    """Keep large blocks apart from now on; nothing changes with a C library other than glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
