"""Whether a device put the right address into each header field: outward the NAT's, inward the phone's own again.

Complete is an address field when no address of the phone is left in it, correct when it names the one that the NAT
uses. The phone's own is the one that its packet comes from; a foreign private address is nobody's business. What could
not be read when it came may stay as it is. On a packet's way this compares its two ends. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sipalg.analysis.judge_sdp import description_of
from sipalg.analysis.judge_text import Found
from sipalg.analysis.pairing import Pair, is_private
from sipalg.analysis.said import Said
from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, is_ipv4
from sipalg.codec.datagram import TCP
from sipalg.codec.headers import ViaSpan, parse_via
from sipalg.codec.uri import UriSpan, parse_list, parse_one
from sipalg.engine.verdict import Endpoint

#: The other fields that send later messages to an address.
_ROUTES: Final = ("record-route", "path", "service-route", "refer-to", "referred-by")

Span = UriSpan | ViaSpan


def judge_addresses(pair: Pair) -> Iterator[Found]:
    """Yield what is left private or public, or wrong, in a message that an ALG let through."""
    if isinstance(pair.given.frame, str):
        return
    if pair.outward:
        yield from _outward(pair.given, pair.made)
    else:
        yield from _inward(pair.given, pair.made)


def _outward(given: Said, made: Said) -> Iterator[Found]:
    own, public = given.source, made.source
    over_tcp = given.protocol == TCP
    if own.host == public.host:
        # No NAT: the phone may name itself as it is.
        return
    if given.method:
        yield from _left("via-private", "Via", _topmost(given), _topmost(made), own, over_tcp=over_tcp)
        yield from _wrong("via-wrong", "Via", _topmost(given), _topmost(made), own, public, over_tcp=over_tcp)
    contacts = _uris(given, "contact"), _uris(made, "contact")
    yield from _left("contact-private", "Contact", *contacts, own, over_tcp=over_tcp)
    yield from _wrong("contact-wrong", "Contact", *contacts, own, public, over_tcp=over_tcp)
    for key in _ROUTES:
        yield from _left("route-private", key.title(), _uris(given, key), _uris(made, key), own, over_tcp=over_tcp)


def _left(
    rule: str, name: str, before: list[Span], after: list[Span], own: Endpoint, *, over_tcp: bool
) -> Iterator[Found]:
    """Yield the phone's own addresses that are still there."""
    if any(_is_ours(span, own, over_tcp=over_tcp) for span in before):
        for number, span in enumerate(after, 1):
            if _is_ours(span, own, over_tcp=over_tcp):
                which = f"{name} {number} of {len(after)}" if len(after) > 1 else name
                yield Found(rule, f"{which} still says {_text(span)}")


def _is_ours(span: Span, own: Endpoint, *, over_tcp: bool) -> bool:
    """Whether an address is the phone's own and one that an ALG has a mapping for: one for TCP in messages over it."""
    return (
        is_ipv4(span.host)
        and span.host.decode() == own.host
        and (over_tcp or not span.over_stream)
        and span.port >= FIRST_UNPRIVILEGED_PORT
    )


def _wrong(
    rule: str, name: str, before: list[Span], after: list[Span], own: Endpoint, public: Endpoint, *, over_tcp: bool
) -> Iterator[Found]:
    """Yield what stands for an address of the phone and isn't what the NAT made of it.

    Another port than the packet's has another mapping, and a connection's isn't the one where the phone listens: then
    only the host has to be right. Behind another NAT the host is the outer one's, and only the port can be told.
    """
    if len(before) != len(after):
        return
    for span, now in zip(before, after, strict=True):
        if span.host.decode("latin-1") != own.host or now.host == span.host:
            continue
        has_packets_port = span.port == own.port and not over_tcp and not span.over_stream
        wrong_port = has_packets_port and now.port != public.port
        if wrong_port or (now.host.decode("latin-1") != public.host and not is_private(public.host)):
            yield Found(rule, f"{name} says {_text(now)}, the packet comes from {public}")


def _inward(given: Said, made: Said) -> Iterator[Found]:
    public, own = given.destination, made.destination
    if public == own:
        return
    looks: list[tuple[str, str, Callable[[Said], list[Span]]]] = [("contact-not-restored", "Contact", _contacts)]
    if given.method:
        looks = [("request-uri-not-restored", "the Request-URI", _target)]
    elif given.cseq[1] != "REGISTER":
        looks = []
    if given.status:
        looks.append(("via-not-restored", "Via", _topmost))
    for rule, name, read in looks:
        for span in read(made):
            if Endpoint(span.host.decode("latin-1"), span.port) == public and read(given):
                yield Found(rule, f"{name} still says {_text(span)}, the phone is {own}")


def hosts_named(said: Said) -> dict[str, frozenset[str]]:
    """Return the hosts that a request names to be reached at, by place; places without any are left out."""
    spans = {"Via": _topmost(said), **{key.title(): _uris(said, key) for key in ("contact", *_ROUTES)}}
    hosts = {place: frozenset(span.host.decode("latin-1") for span in found) for place, found in spans.items()}
    description = description_of(said)
    if description is not None:
        ends = [address for media in description.media for address in description.connections_of(media)]
        hosts |= {
            place: frozenset(address.host.decode("latin-1") for address in found)
            for place, found in (("o=", description.origins), ("c=", ends))
        }
    return {place: found for place, found in hosts.items() if found}


def _topmost(said: Said) -> list[Span]:
    vias = said.vias()
    via = parse_via(vias[0]) if vias else None
    return [] if via is None else [via]


def _target(said: Said) -> list[Span]:
    words = said.start.split(b" ")
    uri = parse_one(words[1]) if len(words) == 3 else None
    return [] if uri is None else [uri]


def _contacts(said: Said) -> list[Span]:
    return _uris(said, "contact")


def _uris(said: Said, key: str) -> list[Span]:
    return [span for value in said.values(key) for span in parse_list(value) or ()]


def _text(span: Span) -> str:
    return f"{span.host.decode('latin-1')}:{span.port}"
