"""A message as it was said on one side of a device: its lines and what names it, readable even where it is broken.

The codec's frame says whether a message is right; a device that stands between may have made it wrong, and then it has
to be read all the same, or nobody could say what happened. So this reads line by line and asks nothing of the syntax.
On a packet's way this looks at the two captures beside it. Pure.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.analysis.messages import CUT, LONG_NAMES, SipMessage
from sipalg.codec.message import Message
from sipalg.engine.verdict import Endpoint

_CSEQ: Final = re.compile(rb"\s*([0-9]{1,10})\s+([^\s]+)")
_TAG: Final = re.compile(rb";\s*tag\s*=\s*([^\s;,>]+)", re.IGNORECASE)
_BRANCH: Final = re.compile(rb";\s*branch\s*=\s*([^\s;,]+)", re.IGNORECASE)
#: What stands between two commas that aren't in quotes; a quote that nobody closes reaches to the end.
_ELEMENT: Final = re.compile(rb'(?:[^,"]++|"(?:[^"\\]|\\.)*+"?)++', re.DOTALL)


class Field(NamedTuple):
    """One header field: its name as written, its long name in lower case, its value, folds and blanks kept.

    A line without a colon is all name, and has no `key`.
    """

    name: bytes
    key: str
    value: bytes


class Said(NamedTuple):
    """A message in one capture: the packet's number and time, its ends, and what stands in it.

    `frame` is the codec's reading, a str where it can't be read, with the reason. A request has a `method` and
    `status` 0, a response the reverse. `branches` are the Vias', topmost first. `body` is all behind the blank line.
    `whole` is False where the capture has less than there was.
    """

    number: int
    time_ns: int
    protocol: int
    source: Endpoint
    destination: Endpoint
    data: bytes
    whole: bool
    frame: Message | str
    start: bytes
    fields: tuple[Field, ...]
    body: bytes
    method: str
    status: int
    call_id: bytes
    cseq: tuple[int, str]
    from_tag: bytes
    to_tag: bytes
    branches: tuple[bytes, ...]

    @property
    def kind(self) -> str:
        """Return the method of a request, or a response's status with the method that it answers."""
        return self.method or f"{self.status} {self.cseq[1]}".rstrip()

    def values(self, key: str) -> list[bytes]:
        """Return the values of the fields of a name, in order."""
        return [field.value for field in self.fields if field.key == key]

    def vias(self) -> list[bytes]:
        """Return all Vias, topmost first, those in one line behind commas too."""
        return [via for value in self.values("via") for via in _ELEMENT.findall(value)]


def hear(message: SipMessage) -> Said:
    """Return what was said in a message of a capture. Never raises."""
    head, body = _halves(message.data)
    start, fields = _lines(head)
    named = {field.key: field.value for field in reversed(fields)}
    cseq = _CSEQ.match(named.get("cseq", b""))
    from_tag, to_tag = (_TAG.search(named.get(key, b"")) for key in ("from", "to"))
    vias = [via for field in fields if field.key == "via" for via in _ELEMENT.findall(field.value)]
    return Said(
        message.number,
        message.time_ns,
        message.protocol,
        message.source,
        message.destination,
        message.data,
        message.problem != CUT,
        message.problem or message.frame,
        start,
        tuple(fields),
        body,
        method=message.method,
        status=message.status,
        call_id=named.get("call-id", b"").strip(),
        cseq=(int(cseq[1]), cseq[2].decode("ascii", "replace")) if cseq else (0, ""),
        from_tag=from_tag[1] if from_tag else b"",
        to_tag=to_tag[1] if to_tag else b"",
        branches=tuple(found[1] for via in vias if (found := _BRANCH.search(via))),
    )


def _halves(data: bytes) -> tuple[bytes, bytes]:
    """Split a message at its first blank line; without one all of it is header."""
    blank = re.compile(rb"\r?\n\r?\n").search(data, len(data) - len(data.lstrip(b"\r\n")))
    return (data[: blank.start()], data[blank.end() :]) if blank else (data, b"")


def _lines(head: bytes) -> tuple[bytes, list[Field]]:
    """Return the start line and the fields; a folded one is a field of several lines."""
    start, *rest = (line.rstrip(b"\r") for line in head.lstrip(b"\r\n").split(b"\n"))
    whole: list[bytes] = []
    for line in rest:
        if line[:1] in (b" ", b"\t") and whole:
            whole[-1] += b"\r\n" + line
        else:
            whole.append(line)
    fields = []
    for line in whole:
        name, colon, value = line.partition(b":")
        key = name.strip().decode("latin-1").lower() if colon else ""
        fields.append(Field(name, LONG_NAMES.get(key, key).lower(), value))
    return start, fields
