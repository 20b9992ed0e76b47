"""Allocations, counted where Python asks for memory: a hook in front of its allocators, `allocations.c`.

It sees each malloc, calloc and realloc of objects and memory, freed at once or not; not what comes from a type's
list of spare objects. It needs a C compiler and Python's headers. Around the engine, not on a packet's way.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent


class AllocationsError(Exception):
    """The counter can't be built; the text says why."""


class Counting:
    """Counts allocations between `start` and `stop`. Raises AllocationsError where it can't be compiled."""

    def __init__(self) -> None:
        library = _HERE / "build" / "allocations.so"
        source = _HERE / "allocations.c"
        if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
            _compile(source, library)
        hooks = ctypes.PyDLL(str(library))
        self._begin, self._end = hooks.start_counting, hooks.stop_counting
        self._begin.restype, self._end.restype = None, ctypes.c_ulonglong

    def start(self) -> int:
        """Begin to count from 0."""
        self._begin()
        return 0

    def stop(self) -> int:
        """End it and return the number of allocations since."""
        return int(self._end())


def _compile(source: Path, library: Path) -> None:
    library.parent.mkdir(exist_ok=True)
    if shutil.which("gcc") is None:
        raise AllocationsError("allocations are counted by a C library: gcc is missing (Debian: apt-get install gcc)")
    words = ["gcc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}", "-o"]
    done = subprocess.run([*words, library, source], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AllocationsError(f"allocations.c can't be compiled: {done.stderr.strip()}")
