"""Payloads that end where the memory ends, for the codec's machine code: whatever reads beyond one dies of it.

A program of its own (`python -m tests.codec.guarded`), since that takes the process with it. A bytes object has one
zero behind its end, which may be read; the next byte belongs to nobody.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import sys
from typing import Final

from tests.codec import test_quick, test_quick_edits, test_quick_names, test_quick_sdp
from tests.codec.lines import torn

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
#: What the objects lie in. They stay: a reader's memory may hold one.
_PLACES: Final[list[object]] = []


def guarded(data: bytes) -> bytes:
    """Return the same bytes in front of a page that can't be read."""
    size = sys.getsizeof(data)
    readable = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    place = mmap.mmap(-1, readable + mmap.PAGESIZE)
    first = ctypes.addressof(ctypes.c_char.from_buffer(place))
    start = first + readable - size
    ctypes.memmove(start, id(data), size)
    # Its first word counts who holds it: more than anybody will ever let go.
    ctypes.c_ssize_t.from_address(start).value = 1 << 30
    if _LIBC.mprotect(ctypes.c_void_p(first + readable), ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    _PLACES.append(place)
    copied: bytes = ctypes.cast(start, ctypes.py_object).value
    return copied


def main() -> None:
    """Read the torture messages, whole and torn off at many places; the last line on stdout says of how many."""
    faulthandler.enable()
    payloads = torn()
    for data in payloads:
        copy = guarded(data)
        print(data[-40:], flush=True)
        for readers in (test_quick, test_quick_names, test_quick_edits, test_quick_sdp):
            readers.compare(copy)
    print(len(payloads), "payloads")


if __name__ == "__main__":
    main()
