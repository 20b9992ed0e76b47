"""The elements of a set as the kernel lists them: key, value and time left of each.

At start, when a table with a hundred thousand mappings is read back, and mappings and peers are made of its sets. All
elements of a set look alike, so the places of what is wanted are learned from the first one of a message; one that
looks otherwise sends that message the long way. Pure code; compiled with the packet path.
Source: nf_tables_fill_setelem in net/netfilter/nf_tables_api.c.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from sipalg.codec.machine import new
from sipalg.datapath import netlink, nft_codec, nft_family
from sipalg.engine.verdict import Endpoint, Mapping, Purpose

#: Key, value (b"" in a set), remaining seconds, infinity where it stays, and user data (b"" if there is none).
Listed = tuple[bytes, bytes, float, bytes]

_HEADER: Final = struct.Struct("=HH")
_KIND_MASK: Final = 0x3FFF
_KINDS: Final = {user_data: kind for kind, user_data in nft_family.KINDS.items()}
_NESTS: Final = (nft_codec.ELEMENT_KEY, nft_codec.ELEMENT_DATA)


class StandingMapping(NamedTuple):
    """A mapping that stands in the kernel, and for how many seconds more."""

    mapping: Mapping
    timeout_s: float


class StandingPeer(NamedTuple):
    """A peer that is let in to a public endpoint, and for how many seconds more."""

    protocol: int
    public: Endpoint
    peer: str
    timeout_s: float


class Elements(NamedTuple):
    """All mappings and peers that the table holds."""

    mappings: tuple[StandingMapping, ...]
    peers: tuple[StandingPeer, ...]


def say_their_kind(snat: Sequence[Listed]) -> bool:
    """Tell whether each element of the source NAT's map says what it is for; those of earlier versions don't."""
    return all(user_data in _KINDS for _, _, _, user_data in snat)


def mappings_of(
    snat: Sequence[Listed],
    let_in: Collection[bytes] = (),
    signalling: Collection[bytes] = (),
    direct: Collection[bytes] = (),
) -> list[StandingMapping]:
    """Return the mappings that the source NAT's map holds.

    What doesn't say what it is for is told by the keys of other sets. There an adopted one has no element that lets
    anybody in: that is its port forward's part.
    """
    found = []
    #: All have the same public address, or few.
    publics: dict[bytes, str] = {}
    for key, data, timeout_s, user_data in snat:
        source, leaves_as = nft_family.read_key(key), nft_family.read_end(data)
        if source is None or leaves_as is None:
            continue
        protocol, private_host, private_port = source
        public_host, public_port = leaves_as
        kind = _KINDS.get(user_data)
        if kind is None:
            purpose: Purpose = "sip" if key in signalling else "direct" if key in direct else "media"
            adopted = key not in direct and nft_family.key(protocol, public_host, public_port) not in let_in
            kind = (purpose, adopted)
        text = publics.get(public_host)
        if text is None:
            text = publics[public_host] = nft_family.text(public_host)
        private = new(Endpoint, (nft_family.text(private_host), private_port))
        mapping = new(Mapping, (protocol, private, new(Endpoint, (text, public_port)), *kind))
        found.append(new(StandingMapping, (mapping, timeout_s)))
    return found


def peers_of(listed: Sequence[Listed], address_bytes: int) -> list[StandingPeer]:
    """Return the peers of a set of protocol . address . port . address."""
    found = []
    #: Phones have few servers, and the router few addresses.
    texts: dict[bytes, str] = {}
    for key, _, timeout_s, _ in listed:
        there = len(key) - address_bytes
        end = nft_family.read_key(key[:there]) if there > 0 else None
        if end is not None:
            protocol, host, port = end
            public, peer = [texts.get(packed) or nft_family.text(packed) for packed in (host, key[there:])]
            texts[host], texts[key[there:]] = public, peer
            found.append(new(StandingPeer, (protocol, new(Endpoint, (public, port)), peer, timeout_s)))
    return found


def read(members: bytes) -> list[Listed]:
    """Return a message's elements; `members` is its list's value."""
    found = _read_alike(members)
    return list(read_each(members)) if found is None else found


def read_each(members: bytes) -> Iterator[Listed]:
    """Yield the elements, whatever they look like."""
    for _, member in netlink.each_attribute(members):
        parts = netlink.attributes(member)
        key = netlink.attributes(parts.get(nft_codec.ELEMENT_KEY, b"")).get(nft_codec.DATA_VALUE, b"")
        data = netlink.attributes(parts.get(nft_codec.ELEMENT_DATA, b"")).get(nft_codec.DATA_VALUE, b"")
        left = parts.get(nft_codec.ELEMENT_EXPIRATION)
        left_s = math.inf if left is None else netlink.number(left) / 1000
        yield key, data, left_s, parts.get(nft_codec.ELEMENT_USER_DATA, b"")


def _read_alike(members: bytes) -> list[Listed] | None:
    """Return the elements if all of them have the headers of the first, which has all that is wanted; else None."""
    if len(members) < _HEADER.size:
        return None
    size = _HEADER.unpack_from(members)[0]
    if size < _HEADER.size or size % 4 or len(members) % size:
        return None
    heads, places, layout = _layout(members[:size])
    key, data, left, user = (
        places.get(kind) for kind in (*_NESTS, nft_codec.ELEMENT_EXPIRATION, nft_codec.ELEMENT_USER_DATA)
    )
    if key is None or left is None or layout.size != size:
        return None
    heads_of = itemgetter(*heads)
    rows = list(layout.iter_unpack(members))
    first = heads_of(rows[0])
    if any(heads_of(row) != first for row in rows):
        return None
    number = int.from_bytes
    return [
        (
            row[key],
            b"" if data is None else row[data],
            number(row[left], "big") / 1000,
            b"" if user is None else row[user],
        )
        for row in rows
    ]


def _layout(member: bytes) -> tuple[list[int], dict[int, int], struct.Struct]:
    """Return where an element has headers and, by kind, what is wanted; as places in what the structure gives."""
    heads, places, form, fields = [0], {}, ["4s"], 1
    offset, end = _HEADER.size, len(member)
    while offset + _HEADER.size <= end:
        length, kind = _HEADER.unpack_from(member, offset)
        kind &= _KIND_MASK
        headers = 2 * _HEADER.size if kind in _NESTS else _HEADER.size
        if length < headers or offset + length > end:
            break
        used = length
        if kind in _NESTS:
            used = _HEADER.size + _HEADER.unpack_from(member, offset + _HEADER.size)[0]
            if used < headers or (used + 3) & ~3 != (length + 3) & ~3:
                break
        heads.append(fields)
        places[kind] = fields + 1
        form.append(f"{headers}s{used - headers}s{-used % 4}x")
        fields += 2
        offset += (length + 3) & ~3
    return heads, places, struct.Struct("=" + "".join(form))
