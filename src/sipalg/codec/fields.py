"""The header fields that hold a given address: found by the address, read once, remembered by their text.

Behind the frame on a packet's way. Nobody walks through the header: the address is looked for, and only the lines in
which it occurs are read. What was read in a line is remembered, since a phone writes the same Contact, and the same
Via up to its branch, into all of its messages; a flood of other lines only makes it forget.
Sources: RFC 3261 §7.3.1 (folding), §18.2.1 (only the topmost Via is the sender's).
"""

from __future__ import annotations

from typing import Final

from sipalg.codec.address import NO_PORT
from sipalg.codec.headers import ViaSpan, parse_via
from sipalg.codec.machine import quick
from sipalg.codec.memory import Memory
from sipalg.codec.message import BLANKS, KINDS, VIA, Message, find_field
from sipalg.codec.uri import UriSpan, parse_list

#: One address of a field as a plain tuple, which is taken apart at once: the field's kind, and then what a UriSpan or
#: a ViaSpan has, in that order. Its span counts from the field's first byte. A URI's `maddr` is one more, NO_PORT its
#: default port.
Place = tuple[int, bytes, int, int, int, bool, int, bool, int | None]

#: Machine code that is asked first, None in the interpreted build.
_quick_fields_with: Final = quick("fields_with")

#: How many lines are remembered: those of some thousand phones.
_REMEMBERED: Final = 16384


def fields_with(message: Message, text: bytes) -> list[tuple[int, tuple[Place, ...]]]:
    """The editable fields in whose lines `text` occurs, in order: (offset of the field, its addresses).

    Fields of other kinds, such as Call-ID or From, are left out: nobody may edit them. So is every Via but the
    topmost one, and a field that can't be read. For an IPv6 reference it is those with any, since it has many texts.
    """
    if text[:1] == b"[":
        text = b"["
    quickly: list[tuple[int, tuple[Place, ...]]] | None = (
        _quick_fields_with(message.data, message.head, message.head_end, text, LINES) if _quick_fields_with else None
    )
    return read_fields_with(message, text) if quickly is None else quickly


def read_fields_with(message: Message, text: bytes) -> list[tuple[int, tuple[Place, ...]]]:
    """What `fields_with` does, for any message."""
    data = message.data
    head, head_end = message.head, message.head_end
    found: list[tuple[int, tuple[Place, ...]]] = []
    via_due = True
    # No text is everywhere.
    at = data.find(text, head, head_end) if text else -1
    while at >= 0:
        newline = data.rfind(b"\n", head, at)
        end = data.find(b"\n", at, head_end)
        begin = newline + 1
        first = data[begin]
        if first in BLANKS or (end + 1 < head_end and data[end + 1] in BLANKS):
            begin, end = _unfolded(data, newline, end, head, head_end)
            newline = begin - 1
            first = data[begin]
        stop = end
        if first in _V:
            stop = data.find(b";", begin, end)
            if stop < 0:
                stop = end
        places = LINES[data[begin:stop]]
        if places:
            if places[0][0] != VIA:
                found.append((begin, places))
            elif via_due:
                # Only the first one found can be the topmost: that is asked once, however many there are.
                via_due = False
                no_other = data.find(b"\nV", head, newline) < 0 and data.find(b"\nv", head, newline) < 0
                if no_other or _is_topmost_via(message, begin):
                    found.append((begin, places))
        at = data.find(text, end, head_end)
    return found


_V: Final = b"Vv"


def read(line: bytes) -> tuple[int, tuple[UriSpan | ViaSpan, ...]]:
    """The kind of a header field, 0 for one that nobody edits, and the addresses in it.

    `line` is the field with its name, folded or not; a Via may end before its first parameter.
    """
    name, colon, value = line.partition(b":")
    kind = KINDS.get(name.rstrip(BLANKS).lower(), 0) if colon else 0
    if not kind:
        return 0, ()
    shift = len(name) + 1
    if kind == VIA:
        via = parse_via(value)
        return kind, () if via is None else (via._replace(start=via.start + shift, end=via.end + shift),)
    spans = parse_list(value) or ()
    return kind, tuple(_moved(span, shift) for span in spans)


def _moved(span: UriSpan, shift: int) -> UriSpan:
    """A URI's spans as they count from further ahead."""
    start, end = span.maddr
    maddr = (start + shift, end + shift) if end else span.maddr
    return span._replace(start=span.start + shift, end=span.end + shift, maddr=maddr)


def _read_places(line: bytes) -> tuple[Place, ...]:
    """The addresses of a header field with its kind, none of one that nobody edits."""
    kind, spans = read(line)
    places: list[Place] = []
    for span in spans:
        places.append((kind, *span[:8]))
        if isinstance(span, UriSpan) and span.maddr[1]:
            places.append((kind, span.host, span.port, *span.maddr, False, NO_PORT, span.over_stream, span.expires_s))
    return tuple(places)


#: What was read in lines, by their texts.
LINES: Final = Memory(_read_places, _REMEMBERED)


def _unfolded(data: bytes, newline: int, end: int, head: int, head_end: int) -> tuple[int, int]:
    """Where a field that is folded begins and ends, given the newlines around one of its lines."""
    begin = newline + 1
    while data[begin] in BLANKS and newline > head:
        newline = data.rfind(b"\n", head, newline)
        begin = newline + 1
    while 0 <= end < head_end - 1 and data[end + 1] in BLANKS:
        end = data.find(b"\n", end + 1, head_end)
    return begin, head_end if end < 0 else end


def _is_topmost_via(message: Message, begin: int) -> bool:
    """Whether the Via at `begin` is the message's first."""
    topmost = find_field(message, VIA)
    return topmost is not None and message.data.rfind(b"\n", message.head, topmost[0]) + 1 == begin
