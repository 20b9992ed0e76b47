"""What a device changed, by name: the places whose addresses are others, and every other field that isn't as it was.

The first are what makes a device an ALG; the second are told beside them, Content-Length first, which has to follow
the body. Messages of different times (`compare_apart`) differ everywhere, so there only the phone's own address is
asked for. On a packet's way this compares its two ends. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sipalg.analysis.changes import ADDRESS_FIELDS, changes, name_of
from sipalg.analysis.judge_addresses import hosts_named
from sipalg.analysis.judge_sdp import description_of
from sipalg.analysis.judge_text import body_change
from sipalg.analysis.pairing import Pair
from sipalg.codec.sdp import Description

#: The names of what an ALG changes, in the order in which they are told.
ADDRESS_PLACES: Final = ("Request-URI", *(name.title() for name in ADDRESS_FIELDS), "o=", "c=", "m=", "a=rtcp")
#: Told next, since it follows from what stands in the body.
LENGTH: Final = "Content-Length"
_VALUE_KINDS: Final = ("address", "text", "added", "removed")


class Places(NamedTuple):
    """Places by name: `addresses` are of :data:`ADDRESS_PLACES`, `others` the other fields as they are written."""

    addresses: frozenset[str]
    others: tuple[str, ...]


NOTHING: Final = Places(frozenset(), ())


def changed_places(pair: Pair) -> Places:
    """Return what differs between what the device was given and what it made."""
    given, made = pair.given, pair.made
    if given.data == made.data:
        return NOTHING
    addresses: set[str] = set()
    others: list[str] = []
    for change in changes(given, made):
        key, kind = change.key, change.kind
        if kind not in _VALUE_KINDS:
            continue
        if key in ADDRESS_FIELDS and kind in ("address", "text"):
            addresses.add(key.title())
        elif key == "start-line" and kind == "address":
            addresses.add("Request-URI")
        elif key:
            others.append(name_of(key))
    # A wrong length doesn't hide what was changed behind it.
    was, now = (description_of(said, strict=False) for said in (given, made))
    if was is not None and now is not None:
        addresses |= _of_descriptions(was, now)
    if given.whole and made.whole and body_change(given, made) is not None:
        others.append(name_of("body"))
    return Places(frozenset(addresses), tuple(dict.fromkeys(others)))


def places_in_order(found: Iterable[Places]) -> tuple[str, ...]:
    """Return all names that occur, each once: those of addresses, Content-Length, then as they came."""
    found = list(found)
    addresses = [place for place in ADDRESS_PLACES if any(place in one.addresses for one in found)]
    others = dict.fromkeys(name for one in found for name in one.others)
    length = [LENGTH] if others.pop(LENGTH, "") is None else []
    return (*addresses, *length, *others)


def _of_descriptions(was: Description, now: Description) -> set[str]:
    places = set()
    if [address.host for address in was.origins] != [address.host for address in now.origins]:
        places.add("o=")
    hosts = [[address.host for media in sdp.media for address in sdp.connections_of(media)] for sdp in (was, now)]
    if hosts[0] != hosts[1]:
        places.add("c=")
    if [media.port for media in was.media] != [media.port for media in now.media]:
        places.add("m=")
    rtcp = [[(media.rtcp_host, media.rtcp_port) for media in sdp.media] for sdp in (was, now)]
    if rtcp[0] != rtcp[1]:
        places.add("a=rtcp")
    return places


def replaced_places(pair: Pair) -> Places:
    """Return where, in another message of the same kind, the NAT's address stands for the phone's own."""
    own, public = pair.given.source.host, pair.made.source.host
    if own == public:
        return NOTHING
    was, now = (hosts_named(said) for said in (pair.given, pair.made))
    return Places(frozenset(name for name in was if own in was[name] and public in now.get(name, ())), ())
