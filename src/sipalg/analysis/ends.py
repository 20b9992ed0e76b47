"""Who sent a message that stands alone in a file, and to whom: what its Via, its target and the options say.

A live packet has its addresses in the IP header. A file has none, so they are worked out here as a person would, and
what had to be assumed is said. Where only a guess would be left, the error names the option to give. On a packet's way
this stands in for the IP header. Pure.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final, NamedTuple

from sipalg.codec.address import in_networks, is_ipv4
from sipalg.codec.headers import ViaSpan, parse_via, received_and_rport, via_text
from sipalg.codec.message import CONTACT, ROUTE, VIA, Message, find_field, parse
from sipalg.codec.uri import UriSpan, parse_list, parse_one
from sipalg.engine.verdict import Endpoint

#: The far end that the engine is given where nothing names one: an address for documentation (RFC 5737).
FAR_END: Final = Endpoint("203.0.113.50", 5060)

class UnknownEndError(Exception):
    """Nothing says where the message came from or goes to; the text says which option would."""


class Ends(NamedTuple):
    """The two ends of a message as the forward hook would see them, and what was assumed, a line each.

    `far_known` is False where nothing names the outside end: :data:`FAR_END` stands for it, and isn't to be shown.
    """

    source: Endpoint
    destination: Endpoint
    outbound: bool
    notes: tuple[str, ...]
    far_known: bool = True


def find_ends(
    data: bytes,
    inside: tuple[IPv4Network, ...],
    public_host: str,
    source: Endpoint | None,
    destination: Endpoint | None,
) -> Ends:
    """Return the ends of the message; `source` and `destination` are what the caller knows already.

    Raises UnknownEndError where they can't be told.
    """
    message = parse(data)
    if isinstance(message, str):
        raise UnknownEndError(f"it can't be read ({message}): it names nobody")
    via = _sent_by(message)
    if source is not None:
        outbound = in_networks(source.host, inside)
    elif destination is not None and in_networks(destination.host, inside):
        outbound = False
    elif via is None:
        contact = _first_uri(message, CONTACT)
        if not message.method or contact is None or not in_networks(contact.host, inside):
            raise UnknownEndError("its topmost Via has no IPv4 address: say with --source IP:PORT who sent it")
        outbound = True
    else:
        outbound = in_networks(via.host, inside) if message.method else not _is_ours(via.host, inside, public_host)
    notes: list[str] = []
    if outbound:
        source = source or _inside_sender(message, via, inside, notes)
        destination = destination or _outside_target(message)
    else:
        destination = destination or _inside_target(message, via, inside, notes)
        source = source or _outside_sender(message, via, notes)
    if not outbound and destination is not None and not in_networks(destination.host, inside):
        raise UnknownEndError(
            f"it comes from outside, and --destination {destination} isn't inside: give the phone's private address"
        )
    return Ends(source or FAR_END, destination or FAR_END, outbound, tuple(notes), None not in (source, destination))


def assumed_public(data: bytes, ends: Ends, public_host: str) -> Endpoint:
    """Return the public address that an inbound message was sent to: its Request-URI, or a response's Via, names it.

    Raises UnknownEndError where neither does.
    """
    message = parse(data)
    named = None
    if not isinstance(message, str):
        if message.method:
            named = _endpoint_of(parse_one(data[slice(*message.uri)]))
        else:
            via = _sent_by(message)
            named = via if via is not None and via.host == public_host else _return_address(message)
    if named is None or named.host != public_host:
        raise UnknownEndError(
            f"it comes from outside, and names no port of {public_host}: "
            f"give --public ADDRESS:PORT, the public port of {ends.destination}"
        )
    return named


def _is_ours(host: str, inside: tuple[IPv4Network, ...], public_host: str) -> bool:
    return host == public_host or in_networks(host, inside)


def _inside_sender(
    message: Message, via: Endpoint | None, inside: tuple[IPv4Network, ...], notes: list[str]
) -> Endpoint:
    """A request's sender is its topmost Via, else its Contact; a response's Via names who gets it, not who sent it."""
    if message.method and via is not None:
        notes.append(f"source {via}: the topmost Via's sent-by")
        return via
    contact = _first_uri(message, CONTACT)
    if contact is None or not in_networks(contact.host, inside):
        raise UnknownEndError("it is a response to the outside: say with --source IP:PORT which phone sent it")
    why = "the topmost Via has no IPv4 address" if message.method else "a response's Via names who gets it"
    notes.append(f"source {contact}: the Contact, as {why}")
    return contact


def _outside_target(message: Message) -> Endpoint | None:
    """A request goes to its first Route, else to its Request-URI; a response to where its topmost Via says."""
    if message.method:
        return _first_uri(message, ROUTE) or _endpoint_of(parse_one(message.data[slice(*message.uri)]))
    return _return_address(message)


def _inside_target(
    message: Message, via: Endpoint | None, inside: tuple[IPv4Network, ...], notes: list[str]
) -> Endpoint:
    """The phone's private address: in a request's Request-URI or a response's Via, unless those are public ones."""
    named = _endpoint_of(parse_one(message.data[slice(*message.uri)])) if message.method else via
    if named is None or not in_networks(named.host, inside):
        if message.method and via is not None:
            networks = ", ".join(map(str, inside))
            raise UnknownEndError(
                f"its sender {via.host} (topmost Via) isn't in --inside {networks}; if a phone sent it, give "
                "--source IP:PORT, else say with --destination IP:PORT which phone it is for"
            )
        raise UnknownEndError("it comes from outside: say with --destination IP:PORT which phone it is for")
    notes.append(f"destination {named}: the {'Request-URI' if message.method else 'topmost Via'}")
    return named


def _outside_sender(message: Message, via: Endpoint | None, notes: list[str]) -> Endpoint | None:
    """A request's sender is its topmost Via; a response doesn't name its own."""
    if message.method and via is not None:
        notes.append(f"source {via}: the topmost Via's sent-by")
        return via
    return None


def _topmost_via(message: Message) -> tuple[ViaSpan, int, int] | None:
    """Return the topmost Via with the span of its field, None if there is none or it can't be read."""
    field = find_field(message, VIA)
    if field is None:
        return None
    via = parse_via(via_text(message.data, *field))
    return None if via is None else (via, *field)


def _sent_by(message: Message) -> Endpoint | None:
    """Return the topmost Via's sent-by, None if it isn't an IPv4 address."""
    topmost = _topmost_via(message)
    if topmost is None or not is_ipv4(topmost[0].host):
        return None
    return Endpoint(topmost[0].host.decode(), topmost[0].port)


def _return_address(message: Message) -> Endpoint | None:
    """Return where a response goes: the topmost Via's sent-by, or its received and rport (RFC 3581 section 4)."""
    topmost = _topmost_via(message)
    if topmost is None:
        return None
    via, begin, end = topmost
    spans = received_and_rport(message.data, begin + via.end, end)
    received, rport = (message.data[start:stop] for start, stop in spans)
    host = received if is_ipv4(received) else via.host
    return Endpoint(host.decode(), int(rport or 0) or via.port) if is_ipv4(host) else None


def _first_uri(message: Message, wanted: int) -> Endpoint | None:
    """Return the address of the first URI in the first field of a kind, None if it isn't an IPv4 address."""
    field = find_field(message, wanted)
    uris = parse_list(message.data[slice(*field)]) if field else None
    return _endpoint_of(uris[0]) if uris else None


def _endpoint_of(uri: UriSpan | None) -> Endpoint | None:
    if uri is None or not is_ipv4(uri.host):
        return None
    return Endpoint(uri.host.decode(), uri.port)
