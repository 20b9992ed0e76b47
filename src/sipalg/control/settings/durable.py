"""A file replaced so that at any instant, and after any crash, it is the old one or the new one, and never a half.

The new content is written beside the file, brought to the disk, and only then put in its place, which is brought to
the disk too: write, fsync, rename, fsync of the directory (rename(2): the place is taken in one step; fsync(2): a new
name is only safe with its directory). Off a packet's way: settings and journal are written like this.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
#: Who may read a file that wasn't there before; another keeps its mode and owner.
_MODE: Final = 0o644


def replace_file(path: Path, make: Callable[[bytes | None], bytes]) -> Path:
    """Put what `make` returns for the present content (None without a file) in the file's place.

    Returns the file's own path, which is another where `path` is a symbolic link. Raises OSError, EBUSY where another
    process is writing just now, and what `make` raises; the file is as it was then, but where only the directory's
    fsync failed. `.NAME.new`, beside the file, may be left by a crash, and is used again by the next writing.
    """
    path = path.resolve()
    beside = f".{path.name}.new"
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = _locked(beside, directory)
        try:
            present = path.stat() if path.exists() else None
            content = make(None if present is None else path.read_bytes())
            os.ftruncate(descriptor, 0)
            _take_after(descriptor, present)
            _write(descriptor, content)
            os.fsync(descriptor)
            os.rename(beside, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(beside, dir_fd=directory)
            raise
        finally:
            os.close(descriptor)
        os.fsync(directory)
    finally:
        os.close(directory)
    return path


def _locked(beside: str, directory: int) -> int:
    """Open the beside-file so that nobody else does: the lock goes with the file, which is private to its owner."""
    while True:
        descriptor = os.open(beside, _FLAGS, 0o600, dir_fd=directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            standing = os.stat(beside, dir_fd=directory, follow_symlinks=False)
            if os.path.samestat(os.fstat(descriptor), standing):
                return descriptor
        except FileNotFoundError:
            # It has just become the file itself: once more.
            pass
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise OSError(errno.EBUSY, "another process is changing it; try again") from None
            raise
        os.close(descriptor)


def _take_after(descriptor: int, present: os.stat_result | None) -> None:
    """Give the new file the mode and, where that is another's, the owner of the one that it replaces."""
    if present is None:
        os.fchmod(descriptor, _MODE)
        return
    if (present.st_uid, present.st_gid) != (os.geteuid(), os.getegid()):
        # Only root may give a file away; the service's own user keeps what root's editor had made root's.
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, present.st_uid, present.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(present.st_mode))


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
