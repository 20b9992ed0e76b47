"""`sipalg trace`: each SIP message before and after the ALG, as it was and is on either side of the NAT.

Shown as lines, or written to one pcapng file with an interface for each side and the edits as comments, or to two pcap
files whose packets correspond by number. The running ALG tells; its packets pay only while somebody listens. A copy of
each message comes here, after its verdict.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from struct import Struct
from types import FrameType
from typing import Any, BinaryIO, Final, NoReturn

from sipalg.capture.records import NS_PER_S, Captured, Format, Pcap, Pcapng
from sipalg.codec.datagram import fill_checksums, host_bytes
from sipalg.control.asking.columns import text_of
from sipalg.control.socket.client import SOCKET_HELP, ControlError, follow, socket_path
from sipalg.control.socket.events import LEFT_OUT
from sipalg.control.socket.server import TRACE

#: LINKTYPE_RAW: packets begin with IP.
_RAW: Final = 101
_IPV4: Final = Struct("!BBHHHBBH4s4s")
_UDP: Final = Struct("!HHHH")
_TTL: Final = 64
_PROTOCOL: Final = 17
_MOST_PAYLOAD_BYTES: Final = 65535 - _IPV4.size - _UDP.size
_LONGEST_START_LINE: Final = 60
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="a pcapng file for both sides, or BEFORE and AFTER (pcap)")
    add("--count", type=_count, metavar="NUMBER", help="end after so many messages (default: at Ctrl-C)")
    add("--json", action="store_true", help="show each message as a JSON object in a line of its own")
    add("--socket", metavar="PATH", help=SOCKET_HELP)


def _count(text: str) -> int:
    if not (re.fullmatch(r"[0-9]{1,9}", text) and int(text)):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number of messages; one from 1 to 999999999 is")
    return int(text)


def main(args: argparse.Namespace) -> int:
    """Show or write messages until the end that was asked for, and return 0.

    1 where the ALG went before that, 2 with one line on stderr where there is none or a file can't be written.
    """
    if len(args.files) > len(("before", "after")):
        args.parser.error("FILE is one file for both sides, or BEFORE and AFTER")
    if len(args.files) != len({path.resolve() for path in args.files}):
        args.parser.error("BEFORE and AFTER are the same file")
    if args.json and args.files:
        args.parser.error("--json is for what is shown: leave it or the files out")
    # A supervisor's SIGTERM ends it as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _trace(args)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _trace(args: argparse.Namespace) -> int:
    seen = left_out = 0
    gone = ""
    try:
        with closing(follow(socket_path(args.socket), TRACE)) as stream:
            next(stream)
            with closing(_sink(args)) as sink, contextlib.suppress(KeyboardInterrupt):
                for line in _until_it_breaks(stream):
                    if line.get("event") == LEFT_OUT:
                        left_out += int(line["facts"]["count"])
                        continue
                    # Between a message's two sides nothing ends it.
                    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
                    sink.take(line)
                    seen += 1
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
                    if seen == args.count:
                        break
                else:
                    gone = "the ALG has ended, after "
    except (ControlError, _FileError) as error:
        sys.stderr.write(f"sipalg: {error}\n")
        return 2
    missed = f", {left_out} came faster than they were read and are missing" if left_out else ""
    sys.stderr.write(f"sipalg: {gone}{seen} {'message' if seen == 1 else 'messages'}{missed}\n")
    return 1 if gone else 0


def _until_it_breaks(stream: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what comes of a stream that has begun; an ALG that was killed may break it in any way."""
    with contextlib.suppress(ControlError):
        yield from stream


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class _FileError(Exception):
    """A file can't be written: one line for people."""


class Lines:
    """Messages as lines on standard output."""

    def take(self, line: Mapping[str, Any]) -> None:
        """Show a message."""
        sys.stdout.write("".join(f"{text}\n" for text in shown(line)))
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing is held."""


class Objects(Lines):
    """Messages as JSON, an object a line."""

    def take(self, line: Mapping[str, Any]) -> None:
        """Show a message."""
        sys.stdout.write(json.dumps(as_facts(line)) + "\n")
        sys.stdout.flush()


class Files:
    """Messages in one file or two, each record whole and at once."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files: list[BinaryIO] = []
        self._kinds: list[Format] = []
        for path in paths:
            self._kinds.append(Pcapng(_RAW) if len(paths) == 1 else Pcap(_RAW))
            try:
                self._files.append(path.open("wb", buffering=0))
            except OSError as error:
                self.close()
                raise _FileError(f"{path}: {error.strerror}; give a file that can be written") from None
        try:
            for number, kind in enumerate(self._kinds):
                self._write(number, kind.header())
        except _FileError:
            self.close()
            raise

    def take(self, line: Mapping[str, Any]) -> None:
        """Write a message as it came and as it went on; one that didn't is in no pair of files."""
        before, after = packets(line)
        if len(self._files) == 1:
            self._write(0, b"".join(self._kinds[0].packet(one) for one in (before, after) if one is not None))
        elif after is not None:
            for number, one in enumerate((before, after)):
                self._write(number, self._kinds[number].packet(one))

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _write(self, number: int, content: bytes) -> None:
        file = self._files[number]
        try:
            written = file.write(content)
        except OSError as error:
            raise _FileError(f"{file.name}: {error.strerror}") from None
        if written != len(content):
            os.ftruncate(file.fileno(), file.tell() - written)
            raise _FileError(f"{file.name}: the disk took only a part; what is before it is whole")


def _sink(args: argparse.Namespace) -> Lines | Files:
    if args.files:
        return Files(args.files)
    return Objects() if args.json else Lines()


def as_facts(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as facts; texts of messages have backslashes for what isn't UTF-8, `after` may be None."""
    second, rest_ns = divmod(line["time_ns"], NS_PER_S)
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{rest_ns:09}Z",
        "interface": line["interface"],
        "action": line["action"],
        "reason": line["reason"],
        "made": line["made"],
        "before": _facts_of(line["before"]),
        "after": line["after"] and _facts_of(line["after"]),
        "edits": line["edits"],
    }


def _facts_of(side: Mapping[str, Any]) -> dict[str, str]:
    text = b64decode(side["payload"]).decode("utf-8", "backslashreplace")
    return {"source": _end(side["source"]), "destination": _end(side["destination"]), "text": text}


def packets(line: Mapping[str, Any]) -> tuple[Captured, Captured | None]:
    """Return a message as it came and as it went on, None where it didn't; the last one's comment is what was done."""
    note = "\n".join(notes(line))
    before = _packet(line["before"], line["time_ns"], "before")
    if line["after"] is None:
        return before._replace(comment=note), None
    return before, _packet(line["after"], line["time_ns"], "after")._replace(comment=note)


def notes(line: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was changed, an edit a line; or why nothing was."""
    would = "" if line["made"] else "would be changed: "
    if not line["made"]:
        yield "observed only: nothing is changed"
    if line["after"] is None:
        yield f"not sent on: {line['reason']}"
    elif not line["edits"]:
        yield f"as it came: {line['reason']}" if line["reason"] else "as it came"
    for edit in line["edits"]:
        yield f"{would}{edit['rule']}: {text_of('', edit['old'])} → {text_of('', edit['new'])}"


def shown(line: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message's lines for a terminal."""
    second, rest_ns = divmod(line["time_ns"], NS_PER_S)
    clock = time.strftime("%H:%M:%S", time.localtime(second))
    before, after = line["before"], line["after"] or line["before"]
    start = b64decode(before["payload"]).partition(b"\r\n")[0].decode(errors="replace")
    sides = [f"{_end(one['source'])} → {_end(one['destination'])}" for one in (before, after)]
    ways = " becomes ".join(dict.fromkeys(sides))
    yield f"{clock}.{rest_ns // 1_000_000:03}  {text_of('', start[:_LONGEST_START_LINE])}  {ways}"
    yield from (f"  {note}" for note in notes(line))


def _end(end: Sequence[Any]) -> str:
    return f"{end[0]}:{end[1]}"


def _packet(side: Mapping[str, Any], time_ns: int, interface: str) -> Captured:
    payload = b64decode(side["payload"])[:_MOST_PAYLOAD_BYTES]
    (source, source_port), (destination, destination_port) = side["source"], side["destination"]
    size_bytes = _IPV4.size + _UDP.size + len(payload)
    ends = host_bytes(source), host_bytes(destination)
    head = _IPV4.pack(0x45, 0, size_bytes, 0, 0, _TTL, _PROTOCOL, 0, *ends)
    packet = fill_checksums(head + _UDP.pack(source_port, destination_port, _UDP.size + len(payload), 0) + payload)
    return Captured(time_ns, packet, size_bytes, interface)
