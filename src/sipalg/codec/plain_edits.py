"""A header's edits in one pass, for fields written as nearly all are: the interpreted build's `quick_edits`.

`of_sender` and `of_recipient` find a phone's own address in a header's lines and say what is written in its place, as
`quick_edits` does in machine code; wherever one says None, `engine.rewrite` looks step by step. Only lines in which
the address occurs are looked at: a Via by its parts, which are few in all phones, any other by what is remembered of
its text. Right behind the frame on a packet's way.
Sources: RFC 3261 §18.2.1 (only the topmost Via is the sender's), RFC 3581 §4 (`received` and `rport`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from sipalg.codec.fields import LINES
from sipalg.codec.machine import quick_edits
from sipalg.codec.memory import Memory
from sipalg.codec.message import CONTACT, FIELD_NAMES, Message

Edits = list[tuple[int, int, bytes, str]]

#: More addresses in a line, or more edits, than these are left to who counts them.
_MOST: Final = 16
_V: Final = b"Vv"
#: A Via up to its host.
_BEFORE_HOST: Final = re.compile(rb"(?i:via|v)[ \t]*:\s*(?i:SIP)\s*/\s*2\.0\s*/\s*(?i:UDP)\s+")
_PORT: Final = re.compile(rb"[0-9]{1,5}")
#: A Via's parameters up to the line's end: `rport` (1, 3) and `received` (2) in either order, none with an R before.
_OTHERS: Final = rb"(?:;[^rR\s;,\"][^\s;,\"]*+)*+"
#: Not possessive: Python 3.11 forgets where a group was that such a repetition gives up.
_RPORT: Final = rb"(?:;rport=([0-9]{1,5})(?=[;\r\n]))?"
_BEHIND: Final = re.compile(
    _OTHERS + _RPORT + _OTHERS + rb"(?:;received=([0-9.]+)(?=[;\r\n]))?" + _OTHERS + _RPORT + _OTHERS + rb"\r?\n"
)


def _ends_before_host(text: bytes) -> bool:
    """Whether a header line's first part is a Via of UDP up to its host."""
    return _BEFORE_HOST.fullmatch(text) is not None


def _read_port(text: bytes) -> int:
    """The port that a text is, -1 for any other text."""
    return int(text) if _PORT.fullmatch(text) else -1


#: What stands before a Via's host, and ports: a handful serve most phones.
_BEFORE_HOSTS: Final = Memory(_ends_before_host, 1024)
_PORTS: Final = Memory(_read_port, 4096)


def of_sender(message: Message, own: bytes, port: int, text: bytes) -> tuple[Edits, list[int | None]] | None:
    """The edits that write `text` for `own` with this UDP port, and the lifetimes of the sender's own Contacts.

    For a message of a phone's, whose only address with its `own` host is this one, with the port written.
    """
    if own[:1] == b"[":
        return None
    edits: Edits = []
    lifetimes: list[int | None] = []
    data, head, limit = message.data, message.head, message.head_end
    via_due = not message.status
    at = data.find(own, head, limit)
    while at >= 0:
        newline = data.rfind(b"\n", head, at)
        end = data.find(b"\n", at, limit)
        begin = newline + 1
        first = data[begin]
        if end < 0 or first <= 32 or (end + 1 < limit and data[end + 1] <= 32):
            return None
        if first in _V:
            if via_due:
                # Only the first one found can be the topmost.
                via_due = False
                stop = _sent_by(data, head, begin, at, at + len(own), end, port)
                if not stop:
                    return None
                edits.append((at, stop - at, text, "via"))
        else:
            places = LINES[data[begin:end]]
            if len(places) > _MOST:
                return None
            for kind, host, its_port, start, stop, with_port, _, over_stream, lifetime_s in places:
                if host == own:
                    if its_port != port or over_stream or not with_port:
                        return None
                    edits.append((begin + start, stop - start, text, FIELD_NAMES[kind]))
                    if kind == CONTACT:
                        lifetimes.append(lifetime_s)
        at = data.find(own, end, limit)
    return None if len(edits) > _MOST else (edits, lifetimes)


def of_recipient(
    message: Message, public: bytes, port: int, text: bytes, mapping: Any
) -> tuple[Edits, list[tuple[Any, int | None]]] | None:
    """The edits that give a phone its address `text` back for its `public` one, and its own Contacts' lifetimes.

    Each lifetime with `mapping`. For a response, its topmost Via is the phone's; in both, whatever has the `public`
    host is this address with its port written. The Request-URI isn't looked at.
    """
    if public[:1] == b"[":
        return None
    edits: Edits = []
    lifetimes: list[tuple[Any, int | None]] = []
    data, head, limit = message.data, message.head, message.head_end
    via_due = message.status > 0
    at = data.find(public, head, limit)
    while at >= 0:
        newline = data.rfind(b"\n", head, at)
        end = data.find(b"\n", at, limit)
        begin = newline + 1
        first = data[begin]
        if end < 0 or first <= 32 or (end + 1 < limit and data[end + 1] <= 32):
            return None
        if first in _V:
            if via_due:
                via_due = False
                stop = _sent_by(data, head, begin, at, at + len(public), end, port)
                if not stop:
                    return None
                edits.append((at, stop - at, text, "via"))
                if not _came_from(edits, data, stop, public, port, text):
                    return None
        else:
            for kind, host, its_port, start, stop, with_port, _, over_stream, lifetime_s in LINES[data[begin:end]]:
                if host == public:
                    if its_port != port or over_stream or not with_port:
                        return None
                    edits.append((begin + start, stop - start, text, FIELD_NAMES[kind]))
                    if kind == CONTACT:
                        lifetimes.append((mapping, lifetime_s))
        at = data.find(public, end, limit)
    return None if len(edits) > _MOST else (edits, lifetimes)


def _sent_by(data: bytes, head: int, begin: int, at: int, colon: int, end: int, port: int) -> int:
    """Where host and port end of the topmost Via that begins at `begin`, its host from `at` to `colon`; 0 if it isn't.

    `end` is the newline behind it.
    """
    if data[colon] != 58 or not _BEFORE_HOSTS[data[begin:at]]:
        return 0
    newline = begin - 1
    if newline != head and (data.find(b"\nV", head, newline) >= 0 or data.find(b"\nv", head, newline) >= 0):
        return 0
    stop = data.find(b";", colon, end)
    if stop < 0:
        stop = end - 1 if data[end - 1] == 13 else end
    return stop if _PORTS[data[colon + 1 : stop]] == port else 0


def _came_from(edits: Edits, data: bytes, start: int, public: bytes, port: int, text: bytes) -> bool:
    """Append the edits of `received` and `rport` behind a Via's sent-by; False where they name another address."""
    found = _BEHIND.match(data, start)
    if found is None:
        return False
    first, received, second = found.groups()
    if received is None and first is None and second is None:
        return True
    if (received is not None and received != public) or (first is not None and second is not None):
        return False
    host, _, number = text.rpartition(b":")
    if first is not None:
        if _PORTS[first] != port:
            return False
        edits.append((found.start(1), len(first), number, "via-rport"))
    if received is not None:
        edits.append((found.start(2), len(received), host, "via-received"))
    if second is not None:
        if _PORTS[second] != port:
            return False
        edits.append((found.start(3), len(second), number, "via-rport"))
    return True


#: The edits of a phone's own address: by machine code, or in the interpreted build by the functions here.
edits_of_sender: Final[Callable[..., Any]] = quick_edits("of_sender") or of_sender
edits_of_recipient: Final[Callable[..., Any]] = quick_edits("of_recipient") or of_recipient
