"""The journal's lines: how a record is written down, and what a file of them says when it is read again.

Beside a packet's way, at start. The first line names the format's version and the machine's boot, since times are
those of a clock that begins with it. Each other line is a checksum, and in JSON a thing's name and what it is now; the
last line about a thing counts, and only that is read. A last line without its end was being written when the process
died, and is no fault; any other line that doesn't fit its checksum is.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from functools import partial
from pathlib import Path
from typing import Final

from sipalg.engine.records import Plain, RecordKey, plain_key
from sipalg.engine.resuming import PlainRecord

VERSION: Final = 1
_MAGIC: Final = "sipalg-journal"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_CHECKSUM_BYTES: Final = 8
_GONE: Final = b"null"
#: What it writes has neither newline nor tab.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False)


class JournalError(Exception):
    """What is wrong with a journal, in few words."""


def boot_id() -> str:
    """Return what tells one boot of the machine from another. Raises OSError."""
    return _BOOT.read_text(encoding="ascii").strip()


def header(boot: str) -> bytes:
    """Return the first line."""
    return f"{_MAGIC} {VERSION} {boot}\n".encode()


def line(key: RecordKey, value: Plain | None) -> bytes:
    """Return a record's line; a value of None says that there is no such thing any more."""
    encode = _ENCODER.encode
    text = b"%b\t%b" % (encode((key[0], plain_key(key))).encode(), _GONE if value is None else encode(value).encode())
    return b"%08x %b\n" % (zlib.crc32(text), text)


def read(path: Path, boot: str) -> list[PlainRecord]:
    """Return what the journal at `path` says; nothing where there is none, or one of another boot.

    Raises JournalError for one that can't be relied on, and OSError.
    """
    try:
        text = _content(path)
    except FileNotFoundError:
        return []
    first, newline, rest = text.partition(b"\n")
    words = first.decode("ascii", "replace").split(" ")
    if not newline or len(words) != 3 or words[0] != _MAGIC:
        raise JournalError("it doesn't begin as a journal does")
    if words[1] != str(VERSION):
        raise JournalError(f"it is of version {words[1]}, and this is version {VERSION}")
    if words[2] != boot:
        return []
    return _records(rest)


def _content(path: Path) -> bytes:
    """Return what a file of ours holds; whoever else could write to it could have us open ports."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise JournalError("it is no regular file")
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise JournalError("others can write to it")
        return file.read()


def _records(text: bytes) -> list[PlainRecord]:
    # What follows the last newline is a line that was never finished.
    *lines, _ = text.split(b"\n")
    last: dict[bytes, bytes] = {}
    for number, written in enumerate(lines, start=2):
        name, tab, value = written[_CHECKSUM_BYTES + 1 :].partition(b"\t")
        try:
            if not tab or int(written[:_CHECKSUM_BYTES], 16) != zlib.crc32(written[_CHECKSUM_BYTES + 1 :]):
                raise ValueError
        except ValueError:
            raise JournalError(f"line {number} is damaged") from None
        if value == _GONE:
            last.pop(name, None)
        else:
            last[name] = value
    try:
        # One array is read in a third of the time that its elements take one by one.
        names = json.loads(b"[%b]" % b",".join(last))
        values = json.loads(b"[%b]" % b",".join(last.values()))
        # A NamedTuple's own constructor costs three times as much.
        new = partial(tuple.__new__, PlainRecord)
        return [new((kind, tuple(key), value)) for (kind, key), value in zip(names, values, strict=True)]
    except (TypeError, ValueError, RecursionError):
        raise JournalError("a line isn't of this version") from None
