"""Header fields: which addresses are ours, and what is written in their place.

Outward, the sender's own private addresses become the public ones of their mappings; inward, the recipient's own
public ones become private again. Nothing is decided about a byte that isn't an address of ours. On a packet's way
this comes after framing; the body's turn is next, and both together are the edit.
Sources: RFC 3261 §18.2 (Via), §8.1.1.8 and §19.1 (Contact), RFC 3327, RFC 3581, RFC 3608, RFC 3515, RFC 3892.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, MAX_PORT, authority
from sipalg.codec.headers import parse_via, received_and_rport
from sipalg.codec.message import CONTACT, FIELD_NAMES, REFERRED_BY, ROUTE, VIA, Message, value_end
from sipalg.codec.uri import UriSpan, parse_list, parse_one
from sipalg.engine.mappings import Entry, MappingKey, Mappings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import TCP, UDP, Edit

_DEFAULT_PORT: Final = 5060
_REQUEST_URI: Final = "request-uri"
_URI_HOST: Final = re.compile(rb"(?i:sips?):(?:[^@\s]*@)?([0-9.]+)")


class Place(NamedTuple):
    """A place in a message where one of the sender's own addresses stands, still to be mapped.

    `port` is what the text means, `with_port` whether it says so; `kind` and `rule` tell the field.
    """

    start: int
    end: int
    port: int
    with_port: bool
    default_port: int
    protocol: int
    kind: int
    rule: str


class Outward(NamedTuple):
    """What an outbound message's header names: the sender's own places, its Contacts, and whether it is NAT aware."""

    places: list[Place]
    contacts: list[UriSpan]
    has_contact: bool
    nat_aware: bool


class Headers:
    """Reads and edits header fields; `bare` remembers where a phone leaves its port off, to put it back so."""

    def __init__(self, mappings: Mappings) -> None:
        self._mappings = mappings
        self.bare: dict[tuple[MappingKey, int], bool] = {}
        self.set_advertised("")

    def set_advertised(self, address: str) -> None:
        """Write `address` from now on; "" while there is none."""
        self.advertised = address.encode()

    def find_outward(self, message: Message, own: bytes) -> Outward:
        """Find the places of an outbound message where the sender's `own` address stands; nothing is mapped yet."""
        data = message.data
        head_end = message.head_end
        places: list[Place] = []
        contacts: list[UriSpan] = []
        has_contact = nat_aware = via_seen = False
        for kind, start in message.fields:
            if kind == VIA:
                if not via_seen and not message.status:
                    via_seen = True
                    via = parse_via(data, start, head_end)
                    if via is not None and via.host == own and via.transport.upper() == b"UDP":
                        port = via.port or _DEFAULT_PORT
                        if _usable(port):
                            places.append(
                                Place(via.start, via.end, port, via.port != 0, _DEFAULT_PORT, UDP, VIA, "via")
                            )
                continue
            if kind > REFERRED_BY:
                continue
            end = value_end(data, start, head_end)
            if kind == CONTACT:
                has_contact = True
                spans = parse_list(data, start, end) or []
                contacts += spans
                nat_aware = nat_aware or any(span.host == self.advertised for span in spans)
            elif data.find(own, start, end) >= 0:
                spans = parse_list(data, start, end) or []
            else:
                continue
            found = [_place(span, kind) for span in spans if span.host == own]
            if all(_usable(place.port) for place in found):
                places += found
        return Outward(places, contacts, has_contact, nat_aware)

    def edit_place(self, transaction: Transaction, place: Place, entry: Entry) -> Edit:
        """The edit that writes a mapping's public address into a place, in the style of the text before."""
        style = (entry.key, place.kind)
        if place.with_port == (style in self.bare):
            if place.with_port:
                transaction.remove(self.bare, style)
            else:
                transaction.put(self.bare, style, True)
        text = authority(
            self.advertised, entry.public_port, with_port=place.with_port, default_port=place.default_port
        )
        return Edit(place.start, place.end - place.start, text, place.rule)

    def safety_net(self, message: Message) -> list[Edit]:
        """Edits for mapped private addresses of inside phones in an outbound request's target and Route.

        A phone inside that learnt another one's private address would otherwise send it to a server that can't reach
        it (RFC 3261 §16.5 and §16.6).
        """
        data = message.data
        hosts = self._mappings.hosts
        spans: list[tuple[int, UriSpan]] = []
        start, end = message.uri
        match = _URI_HOST.match(data, start, end)
        if match is not None and match[1] in hosts:
            target = parse_one(data, start, end)
            spans += [(0, target)] if target else []
        for kind, start in message.fields:
            if kind == ROUTE:
                routes = parse_list(data, start, value_end(data, start, message.head_end))
                spans += [(kind, span) for span in routes or []]
        edits = []
        for kind, span in spans:
            if span.host in hosts:
                entry = self._mappings.of_private(_protocol(span), span.host, span.port or span.default_port)
                if entry is not None:
                    text = authority(
                        self.advertised, entry.public_port, with_port=span.port != 0, default_port=span.default_port
                    )
                    rule = FIELD_NAMES.get(kind, _REQUEST_URI)
                    edits.append(Edit(span.start, span.end - span.start, text, rule))
        return edits

    def edit_inward(
        self, message: Message, recipient: Entry
    ) -> tuple[list[Edit], list[UriSpan], list[MappingKey | None]]:
        """The edits that give the recipient its own addresses back, with the Contacts and the mappings behind them."""
        data = message.data
        head_end = message.head_end
        edits: list[Edit] = []
        contacts: list[UriSpan] = []
        keys: list[MappingKey | None] = []
        if not message.status:
            start, end = message.uri
            if data.find(self.advertised, start, end) >= 0:
                target = parse_one(data, start, end)
                if target is not None:
                    self._give_back(edits, target, 0, recipient)
        via_seen = False
        for kind, start in message.fields:
            if kind == VIA:
                if not via_seen and message.status:
                    via_seen = True
                    self._give_via_back(edits, data, start, value_end(data, start, head_end), recipient)
            elif kind <= REFERRED_BY:
                end = value_end(data, start, head_end)
                if kind != CONTACT and data.find(self.advertised, start, end) < 0:
                    continue
                spans = parse_list(data, start, end) or []
                for span in spans:
                    key = self._give_back(edits, span, kind, recipient)
                    if kind == CONTACT:
                        contacts.append(span)
                        keys.append(key)
        return edits, contacts, keys

    def forget(self, transaction: Transaction, key: MappingKey) -> None:
        """Drop what was remembered of an ended mapping's style."""
        for kind in (VIA, CONTACT):
            transaction.remove(self.bare, (key, kind))

    def _give_back(self, edits: list[Edit], span: UriSpan, kind: int, recipient: Entry) -> MappingKey | None:
        """Append the edit for one URI if it is the recipient's; returns its mapping then."""
        if span.host != self.advertised:
            return None
        entry = self._mappings.of_public(_protocol(span), span.port or span.default_port)
        if entry is None or entry.private_host != recipient.private_host:
            return None
        text = self._private(entry, CONTACT, span.default_port)
        edits.append(Edit(span.start, span.end - span.start, text, FIELD_NAMES.get(kind, _REQUEST_URI)))
        return entry.key

    def _give_via_back(self, edits: list[Edit], data: bytes, start: int, end: int, recipient: Entry) -> None:
        """Append the edits for a response's topmost Via: sent-by, `received` and `rport` (RFC 3581 §4)."""
        via = parse_via(data, start, end)
        if via is None or via.host != self.advertised:
            return
        entry = self._mappings.of_public(recipient.key[0], via.port or _DEFAULT_PORT)
        if entry is None or entry.private_host != recipient.private_host:
            return
        edits.append(Edit(via.start, via.end - via.start, self._private(entry, VIA, _DEFAULT_PORT), "via"))
        received, rport = received_and_rport(data, via, end)
        parameters = []
        if received[1] and data[received[0] : received[1]] == self.advertised:
            parameters.append(Edit(received[0], received[1] - received[0], recipient.private_host, "via-received"))
        if rport[1] and int(data[rport[0] : rport[1]]) == recipient.public_port:
            port = b"%d" % recipient.mapping.private.port
            parameters.append(Edit(rport[0], rport[1] - rport[0], port, "via-rport"))
        edits += sorted(parameters)

    def _private(self, entry: Entry, kind: int, default_port: int) -> bytes:
        """A mapping's private address as its phone writes it in this kind of field."""
        with_port = (entry.key, kind) not in self.bare
        return authority(entry.private_host, entry.key[1].port, with_port=with_port, default_port=default_port)


def _place(span: UriSpan, kind: int) -> Place:
    """The place of a URI that holds the sender's own address; one for TCP needs a TCP mapping."""
    return Place(
        span.start,
        span.end,
        span.port or span.default_port,
        span.port != 0,
        span.default_port,
        _protocol(span),
        CONTACT if kind == CONTACT else 0,
        FIELD_NAMES[kind],
    )


def _protocol(span: UriSpan) -> int:
    """The protocol that a URI asks for."""
    return TCP if (span.parameters or span.secure) and span.over_stream else UDP


def _usable(port: int) -> bool:
    """Whether a port may get a mapping: never a system service's (case of a web page that asks for port 22)."""
    return FIRST_UNPRIVILEGED_PORT <= port <= MAX_PORT
