"""IP fragments in a capture: put together for the engine, and cut again at the same places afterwards.

A router's connection tracking puts a datagram together before NAT sees it, and so does this. To keep as many packets
as there were, the datagram that comes back is cut where it was cut before: what it grew goes into the last fragment.
On a packet's way this stands before the router and behind it. Pure; nothing here raises on a packet's bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, Generic, TypeVar

from sipalg.codec.datagram import IP_HEADER_BYTES, fill_checksums

#: How long a datagram may take to arrive in full: Linux's net.ipv4.ipfrag_time.
WAIT_S: Final = 30.0

_MORE_FRAGMENTS: Final = 0x2000
_OFFSET: Final = 0x1FFF

_WORD: Final = Struct("!H")

#: What the caller wants to know a fragment by: in the rewriter, its place in the output.
Tag = TypeVar("Tag")


def is_fragment(packet: bytes) -> bool:
    """Return whether an IPv4 packet (of at least 20 bytes) is one of several fragments."""
    return bool(_WORD.unpack_from(packet, 6)[0] & (_MORE_FRAGMENTS | _OFFSET))


@dataclass(slots=True)
class FragmentGroup(Generic[Tag]):
    """The fragments of one datagram, each with the caller's tag."""

    started: float
    parts: list[tuple[bytes, Tag]] = field(default_factory=list)

    def datagram(self) -> bytes | None:
        """Return the whole packet, None as long as a part is missing or where two parts overlap and differ.

        Its checksums are for whoever edits it to fill.
        """
        starts = self._starts()
        first = starts.get(0)
        if first is None:
            return None
        body = bytearray()
        for start, packet in sorted(starts.items()):
            if start != len(body):
                return None
            body += _body(packet)
        last = starts[max(starts)]
        if _WORD.unpack_from(last, 6)[0] & _MORE_FRAGMENTS:
            return None
        header = bytearray(_header(first))
        size_bytes = len(header) + len(body)
        if size_bytes > 65535 or any(_body(packet) != _body(starts[_start(packet)]) for packet, _ in self.parts):
            return None
        _WORD.pack_into(header, 2, size_bytes)
        _WORD.pack_into(header, 6, _WORD.unpack_from(header, 6)[0] & ~(_MORE_FRAGMENTS | _OFFSET))
        return bytes(header) + bytes(body)

    def cut(self, datagram: bytes) -> Iterator[tuple[bytes, Tag]] | None:
        """Return the datagram's fragments, each with its tag; None if it is now too short to have so many."""
        body = _body(datagram)
        starts = sorted(self._starts())
        if len(body) <= starts[-1]:
            return None
        ends = dict(zip(starts, [*starts[1:], len(body)], strict=True))
        return (
            (_cut_one(packet, datagram, body[_start(packet) : ends[_start(packet)]]), tag)
            for packet, tag in self.parts
        )

    def _starts(self) -> dict[int, bytes]:
        return {_start(packet): packet for packet, _ in self.parts}


class Fragments(Generic[Tag]):
    """The datagrams of which not all fragments have come yet."""

    def __init__(self) -> None:
        self._groups: dict[tuple[bytes, int, bytes], FragmentGroup[Tag]] = {}

    def add(self, packet: bytes, tag: Tag, now: float) -> FragmentGroup[Tag] | None:
        """Take one whole fragment; return its group if that is now complete."""
        key = (packet[12:20], packet[9], packet[4:6])
        group = self._groups.setdefault(key, FragmentGroup(now))
        group.parts.append((packet, tag))
        if group.datagram() is None:
            return None
        return self._groups.pop(key)

    def expired(self, now: float) -> list[FragmentGroup[Tag]]:
        """Take out and return the groups that began longer than :data:`WAIT_S` ago; all of them at infinity."""
        keys = [key for key, group in self._groups.items() if group.started + WAIT_S < now]
        return [self._groups.pop(key) for key in keys]


def _start(packet: bytes) -> int:
    """Return where the fragment's bytes stand in the datagram's body."""
    return (int(_WORD.unpack_from(packet, 6)[0]) & _OFFSET) * 8


def _header(packet: bytes) -> bytes:
    return packet[: max((packet[0] & 15) * 4, IP_HEADER_BYTES)]


def _body(packet: bytes) -> bytes:
    return packet[max((packet[0] & 15) * 4, IP_HEADER_BYTES) :]


def _cut_one(before: bytes, datagram: bytes, body: bytes) -> bytes:
    """Return one fragment: its own header with the datagram's addresses, around `body`."""
    header = bytearray(_header(before))
    header[12:20] = datagram[12:20]
    _WORD.pack_into(header, 2, len(header) + len(body))
    return fill_checksums(bytes(header) + body)
