"""The captures' directory: files by plain names only, and the sniffer's own files in a hidden place inside of it.

All goes by the directory's descriptor, and no link is followed, so that a name can lead nowhere else. Every error is
one line for people. On a packet's way this is where copies of it lie.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from sipalg.sniffer.settings import plain_name

_HIDDEN: Final = ".sniffer"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SAFE: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
#: Calls are private.
_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o750
_HIDDEN_MODE: Final = 0o700


class CapturesError(Exception):
    """Something about captures can't be done: one line for people; nothing was changed."""


class Listed(NamedTuple):
    """A file: its size in bytes, and when it was written last, in seconds since 1970."""

    name: str
    size_bytes: int
    written: float


class Captures:
    """The directory `path`, which need not be there until something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def list(self) -> list[Listed]:
        """Return the files by name; none where there is no directory. Raises CapturesError."""
        with contextlib.suppress(FileNotFoundError), self._open() as directory:
            found = []
            for one in os.scandir(directory):
                with contextlib.suppress(FileNotFoundError, ValueError):
                    about = one.stat(follow_symlinks=False)
                    if stat.S_ISREG(about.st_mode):
                        found.append(Listed(plain_name(one.name), about.st_size, about.st_mtime))
            return sorted(found)
        return []

    def remove(self, name: str) -> None:
        """Remove a file. Raises CapturesError."""
        self.open(name).close()
        with self._open() as directory, self._told(name):
            os.unlink(name, dir_fd=directory)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading. Raises CapturesError."""
        try:
            with self._open() as directory, self._told(name):
                return os.fdopen(_regular(_checked(name), os.O_RDONLY, directory), "rb")
        except FileNotFoundError:
            raise CapturesError(f"no such file {name}: `/file print` lists those of {self.path}") from None

    def create(self, name: str) -> BinaryIO:
        """Open a file for writing from its begin, unbuffered; what was in it is gone. Raises CapturesError."""
        with self._open(make=True) as directory, self._told(name):
            descriptor = _regular(_checked(name), os.O_RDWR | os.O_CREAT, directory)
            os.ftruncate(descriptor, 0)
            return os.fdopen(descriptor, "wb", buffering=0)

    def cut(self, name: str, size_bytes: int) -> None:
        """Let a file end there. Raises CapturesError."""
        with self._open() as directory, self._told(name), contextlib.suppress(FileNotFoundError):
            descriptor = _regular(_checked(name), os.O_WRONLY, directory)
            try:
                os.ftruncate(descriptor, size_bytes)
            finally:
                os.close(descriptor)

    def hidden(self, name: str) -> bytes | None:
        """Return what one of the sniffer's own files holds; None where there is none. Raises CapturesError."""
        try:
            with (
                self._open(hidden=True) as directory,
                self._told(name),
                os.fdopen(_regular(name, os.O_RDONLY, directory), "rb") as file,
            ):
                return file.read()
        except FileNotFoundError:
            return None

    def replace(self, name: str, content: bytes) -> None:
        """Put a file in the place of that name, on the disk and whole, or leave what was there. Raises CapturesError.

        It is made in the hidden place, where nobody lists or reads it.
        """
        name, beside = _checked(name), f"replacing.{os.getpid()}"
        with self._open(make=True) as directory, self._open(make=True, hidden=True) as hidden, self._told(name):
            # What couldn't be written to isn't replaced either.
            with contextlib.suppress(FileNotFoundError):
                os.close(_regular(name, os.O_RDWR, directory))
            descriptor = _regular(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, hidden)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                os.rename(beside, name, src_dir_fd=hidden, dst_dir_fd=directory)
            except OSError:
                os.unlink(beside, dir_fd=hidden)
                raise
            os.fsync(directory)

    def put_hidden(self, name: str, content: bytes) -> None:
        """Replace one of the sniffer's own files, never by a half. Raises CapturesError."""
        with self._open(make=True, hidden=True) as directory, self._told(name):
            beside = f"{name}.{os.getpid()}"
            descriptor = _regular(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, directory)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                os.unlink(beside, dir_fd=directory)
                raise

    def lock(self) -> int | None:
        """Take the lock that a running sniffer has; its descriptor, or None where somebody has it. CapturesError."""
        with self._open(make=True, hidden=True) as directory, self._told("lock"):
            descriptor = _regular("lock", os.O_RDWR | os.O_CREAT, directory)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            return descriptor

    def locked(self) -> bool:
        """Tell whether a running sniffer has the lock. Raises CapturesError."""
        try:
            with self._open(hidden=True) as directory, self._told("lock"):
                descriptor = _regular("lock", os.O_RDWR, directory)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that those who ask don't take each other for it.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @contextlib.contextmanager
    def _open(self, *, make: bool = False, hidden: bool = False) -> Iterator[int]:
        """Give the directory's descriptor. FileNotFoundError where it isn't there, CapturesError for all else."""
        with self._told(""):
            if make:
                self.path.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
            directory = os.open(self.path, _DIRECTORY)
        try:
            if hidden:
                with self._told(_HIDDEN):
                    if make:
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(_HIDDEN, _HIDDEN_MODE, dir_fd=directory)
                    inner = os.open(_HIDDEN, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                os.close(directory)
                directory = inner
            yield directory
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Make errors into lines, but for a file that isn't there."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            what = "is a link, and none is followed here" if error.errno == errno.ELOOP else error.strerror
            raise CapturesError(f"{self.path / name}: {what or error}") from None


def _checked(name: str) -> str:
    try:
        return plain_name(name)
    except ValueError as error:
        raise CapturesError(str(error)) from None


def _regular(name: str, flags: int, directory: int) -> int:
    descriptor = os.open(name, flags | _SAFE, _FILE_MODE, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "isn't a regular file")
    return descriptor
