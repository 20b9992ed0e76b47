"""Where large blocks of memory lie."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from sipalg.control.service import memory

#: In a process of its own: a large block is freed, as a table that has grown is; then how many blocks lie apart more
#: with another large one, by glibc's own count.
GROWN = """
import ctypes
from sipalg.control.service.memory import keep_large_apart
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
        ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]
libc.mallinfo2.restype = Info
{first}
libc.free(libc.malloc(8 << 20))
before = libc.mallinfo2().hblks
libc.malloc(1 << 20)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library isn't glibc")
@pytest.mark.parametrize(("first", "apart"), [("keep_large_apart()", 1), ("", 0)])
def test_a_large_block_lies_apart_after_another_was_freed(first: str, apart: int) -> None:
    words = [sys.executable, "-c", GROWN.format(first=first)]
    assert int(subprocess.run(words, capture_output=True, text=True, check=True).stdout) == apart


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    memory.keep_large_apart()
