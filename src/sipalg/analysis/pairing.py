"""The messages of two captures in pairs: which one on the far side is which one on the near side.

Clocks are left out of it: a pair is what has the same Call-ID, CSeq and kind, and of several such the two whose
branches differ least, in order. A retransmission is a copy of the first. Where the Call-ID doesn't match, the branch
does, or CSeq and From tag and order; the pair says by what it was found. On a packet's way this joins its two ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from ipaddress import IPv4Network
from typing import Final, NamedTuple

from sipalg.analysis.said import Said
from sipalg.codec.address import in_networks

BY_CALL_ID: Final = "Call-ID, CSeq, method and branch"
BY_BRANCH: Final = "branch and method"
BY_ORDER: Final = "CSeq, From tag, method and order"
#: Of captures of different times: two messages, not two halves of one.
BY_PHONE: Final = "phone and kind of message: not the same message"

#: A group of more combinations than this is paired by order alone.
_MOST_COMBINATIONS: Final = 10_000


class Pair(NamedTuple):
    """One message on both sides; `by` says how they were found.

    `outward` is whether it went from the inside to the outside, `forward` whether BEFORE has what the device was
    given: a capture of the inside has what came from outside as the device made it.
    """

    before: Said
    after: Said
    by: str
    outward: bool
    forward: bool

    @property
    def given(self) -> Said:
        """What the device was given."""
        return self.before if self.forward else self.after

    @property
    def made(self) -> Said:
        """What came out of it."""
        return self.after if self.forward else self.before


class Pairing(NamedTuple):
    """All pairs in the order of BEFORE, and the messages of each capture that have no other half."""

    pairs: tuple[Pair, ...]
    only_before: tuple[Said, ...]
    only_after: tuple[Said, ...]


_Couple = tuple[Said, Said]
#: What names a message, given its Call-ID if the other side knows that too, else b"".
_Key = Callable[[Said, bytes], Hashable]
#: How two messages are found to be one, one way after the other: its name, and what has to be the same.
_WAYS: Final[tuple[tuple[str, _Key], ...]] = (
    (BY_CALL_ID, lambda said, known: (known, said.cseq, said.kind) if known else None),
    (BY_BRANCH, lambda said, _: (said.branches[-1], said.method, said.status) if said.branches else None),
    (BY_ORDER, lambda said, known: (said.cseq, said.from_tag, said.kind) if said.from_tag and not known else None),
)


def pair_up(before: Iterable[Said], after: Iterable[Said]) -> Pairing:
    """Return the pairs of two captures' messages."""
    left, right = _without_copies(before), _without_copies(after)
    couples: list[tuple[_Couple, str]] = []
    known = frozenset({said.call_id for said in left} & {said.call_id for said in right})
    for by, key in _WAYS:
        found = list(_couples(left, right, key, known))
        couples += ((couple, by) for couple in found)
        used = {id(said) for couple in found for said in couple}
        left = [said for said in left if id(said) not in used]
        right = [said for said in right if id(said) not in used]
    couples.sort(key=lambda item: (item[0][0].number, item[0][1].number))
    inside = _inside_hosts(couple for couple, _ in couples)
    pairs = tuple(Pair(*couple, by, *_direction(couple, inside)) for couple, by in couples)
    return Pairing(pairs, tuple(left), tuple(right))


def _without_copies(messages: Iterable[Said]) -> list[Said]:
    """Return the first of each text between two ends: what comes again is a retransmission."""
    first: dict[Hashable, Said] = {}
    for said in messages:
        first.setdefault((said.data, said.source, said.destination), said)
    return list(first.values())


def _couples(left: list[Said], right: list[Said], key: _Key, known: frozenset[bytes]) -> Iterable[_Couple]:
    groups: dict[Hashable, tuple[list[Said], list[Said]]] = defaultdict(lambda: ([], []))
    for side, messages in enumerate((left, right)):
        for said in messages:
            groups[key(said, said.call_id if said.call_id in known else b"")][side].append(said)
    groups.pop(None, None)
    for mine, theirs in groups.values():
        yield from _match(mine, theirs)


def _match(left: Sequence[Said], right: Sequence[Said]) -> Iterable[_Couple]:
    """Match the nearest first; what is left over is a copy if a match has its branch (an ALG's other answer to it)."""
    if len(left) * len(right) > _MOST_COMBINATIONS:
        yield from zip(left, right, strict=False)
        return
    ranked = sorted(
        (_distance(mine, theirs), abs(at - other), at, other)
        for at, mine in enumerate(left)
        for other, theirs in enumerate(right)
    )
    used: tuple[set[int], set[int]] = (set(), set())
    for _, _, at, other in ranked:
        if at not in used[0] and other not in used[1]:
            used[0].add(at)
            used[1].add(other)
            yield left[at], right[other]
    for distance, _, at, other in ranked:
        if (at not in used[0] or other not in used[1]) and not distance:
            used[0].add(at)
            used[1].add(other)
            yield left[at], right[other]


def _distance(mine: Said, theirs: Said) -> int:
    """Return how many Vias only one of the two has, and whether their To tags differ."""
    return len(set(mine.branches) ^ set(theirs.branches)) + (mine.to_tag != theirs.to_tag)


def _direction(couple: _Couple, inside: frozenset[str]) -> tuple[bool, bool]:
    """Tell whether a message went outward, and whether BEFORE has what was given.

    By the Vias that a proxy adds or takes away, by the end that the NAT changed, or by which end is inside.
    """
    before, after = couple
    more = len(after.vias()) - len(before.vias())
    if more:
        forward = (more > 0) == bool(before.method)
        return forward, forward
    outward = _translated(couple)
    if outward is None:
        outward = before.source.host in inside or (
            before.destination.host not in inside
            and (is_private(before.source.host) or not is_private(before.destination.host))
        )
        return outward, outward
    ends = (before.source, after.source) if outward else (before.destination, after.destination)
    near, far = (is_private(end.host) for end in ends)
    if near == far:
        return outward, outward
    # The private end is on the inside: given there if the message goes out, made there if it comes in.
    return outward, near == outward


def _translated(couple: _Couple) -> bool | None:
    """Tell by the NAT: True where only the source differs, False where only the destination does, else None."""
    before, after = couple
    source, destination = before.source != after.source, before.destination != after.destination
    return source if source != destination else None


def is_swapped(pairs: Iterable[Pair]) -> bool:
    """Whether AFTER is of the inside: what goes out has its private source there, and a public one in BEFORE."""
    votes = 0
    for pair in pairs:
        ends = pair.before.source, pair.after.source
        if pair.outward and is_private(ends[0].host) != is_private(ends[1].host):
            votes += 1 if pair.forward else -1
    return votes < 0


def _inside_hosts(couples: Iterable[_Couple]) -> frozenset[str]:
    hosts = set()
    for before, after in couples:
        outward = _translated((before, after))
        if outward is not None:
            hosts.add(before.source.host if outward else before.destination.host)
    return frozenset(hosts)


def is_private(host: str) -> bool:
    """Whether a host is an IPv4 address that can't be reached from the public network (RFC 1918, RFC 6598)."""
    return in_networks(host, _PRIVATE)


_PRIVATE: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
