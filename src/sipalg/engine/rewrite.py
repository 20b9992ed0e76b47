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
from sipalg.codec.headers import ViaSpan, parse_via, received_and_rport
from sipalg.codec.message import CONTACT, FIELD_NAMES, REFERRED_BY, ROUTE, VIA, Message, value_end
from sipalg.codec.uri import UriSpan, parse_list, parse_one
from sipalg.engine.mappings import Entry, MappingKey, Mappings
from sipalg.engine.peers import Peers
from sipalg.engine.policy import NAT_AWARE, NO_FREE_PORT
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import TCP, UDP, Datagram, Edit, Endpoint

_DEFAULT_PORT: Final = 5060
_REQUEST_URI: Final = "request-uri"
_URI_HOST: Final = re.compile(rb"(?i:sips?):(?:[^@\s]*@)?([0-9.]+)")


class Outward(NamedTuple):
    """An outbound message's header edits, with the sender's mapping (None: not needed) and its Contacts."""

    edits: list[Edit]
    entry: Entry | None
    contacts: list[UriSpan]
    has_contact: bool


class Headers:
    """Reads and edits header fields; `bare` remembers where a phone leaves its port off, to put it back so."""

    def __init__(self, mappings: Mappings, peers: Peers) -> None:
        self._mappings = mappings
        self._peers = peers
        self.bare: dict[tuple[MappingKey, int], bool] = {}
        self.set_advertised("")

    def set_advertised(self, address: str) -> None:
        """Write `address` from now on; "" while there is none."""
        self.advertised = address.encode()

    def edit_outward(
        self, transaction: Transaction, message: Message, datagram: Datagram, entry: Entry | None, own: bytes
    ) -> Outward | str:
        """Edit the places of an outbound message where the sender's `own` address stands, mapping what has to be.

        Returns a reason instead if the sender's Contact is public already, or no public port is to be had.
        """
        data = message.data
        head_end = message.head_end
        advertised = self.advertised
        edits: list[Edit] = []
        contacts: list[UriSpan] = []
        has_contact = False
        via_due = not message.status
        for kind, start, via, contact in message.fields:
            if kind == VIA:
                if via_due:
                    via_due = False
                    via = via or parse_via(data, start, head_end)
                    if via is None or via.host != own or via.transport.upper() != b"UDP":
                        continue
                    port = via.port or _DEFAULT_PORT
                    if FIRST_UNPRIVILEGED_PORT <= port <= MAX_PORT:
                        named = self._map(transaction, datagram, entry, port, UDP)
                        if named is None:
                            return NO_FREE_PORT
                        entry = entry or self._mappings.entries[UDP, datagram.source]
                        text = self._public_text(transaction, named, VIA, via.port, _DEFAULT_PORT)
                        edits.append(Edit(via.start, via.end - via.start, text, "via"))
                continue
            if kind > REFERRED_BY:
                continue
            if contact is not None:
                spans = [contact]
            else:
                end = value_end(data, start, head_end)
                if kind != CONTACT and data.find(own, start, end) < 0:
                    continue
                spans = parse_list(data, start, end) or []
            if kind == CONTACT:
                has_contact = True
                contacts += spans
            for span in spans:
                if kind == CONTACT and span.host == advertised:
                    return NAT_AWARE
            for span in _own_spans(spans, own):
                named = self._map(transaction, datagram, entry, span.port or span.default_port, _protocol(span))
                if named is None:
                    return NO_FREE_PORT
                entry = entry or self._mappings.entries[UDP, datagram.source]
                text = self._public_text(transaction, named, kind, span.port, span.default_port)
                edits.append(Edit(span.start, span.end - span.start, text, FIELD_NAMES[kind]))
        return Outward(edits, entry, contacts, has_contact)

    def _map(
        self, transaction: Transaction, datagram: Datagram, entry: Entry | None, port: int, protocol: int
    ) -> Entry | None:
        """The mapping of a port that the sender names: its packet's own, or another with a flow towards the server.

        The packet's own mapping is made along with any other, since the message leaves through it.
        """
        source = datagram.source
        if entry is None:
            entry = self._mappings.open(transaction, UDP, source, "sip", datagram.in_interface)
        if entry is None or (port == source.port and protocol == UDP):
            return entry
        named = self._mappings.open(transaction, protocol, Endpoint(source.host, port), "sip", datagram.in_interface)
        if named is not None:
            self._mappings.touch(transaction, named.key)
            if (UDP, datagram.destination) not in self._mappings.entries:
                self._peers.admit(transaction, named, datagram.destination)
                if protocol == UDP:
                    self._peers.establish(transaction, named, datagram.destination)
        return named

    def _public_text(
        self, transaction: Transaction, entry: Entry, kind: int, written_port: int, default_port: int
    ) -> bytes:
        """A mapping's public address in the style of the text that it replaces: without a port if that had none."""
        if kind in (VIA, CONTACT):
            style = (entry.key, kind)
            if not written_port:
                transaction.put(self.bare, style, True)
            elif self.bare and style in self.bare:
                transaction.remove(self.bare, style)
        return authority(
            self.advertised, entry.public_port, with_port=written_port != 0, default_port=default_port
        )

    def safety_net(self, message: Message, own: bytes) -> list[Edit]:
        """Edits for mapped private addresses of inside phones in an outbound request's target and Route.

        A phone inside that learnt another one's private address would otherwise send it to a server that can't reach
        it (RFC 3261 §16.5 and §16.6). A Route that names the sender's `own` address has been edited with the rest.
        """
        data = message.data
        hosts = self._mappings.hosts
        spans: list[tuple[int, UriSpan]] = []
        start, end = message.uri
        match = _URI_HOST.match(data, start, end)
        if match is not None and match[1] in hosts:
            target = parse_one(data, start, end)
            spans += [(0, target)] if target else []
        for kind, start, _, _ in message.fields:
            if kind == ROUTE:
                routes = parse_list(data, start, value_end(data, start, message.head_end))
                spans += [(kind, span) for span in routes or [] if span.host != own]
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
        via_due = message.status != 0
        for kind, start, via, contact in message.fields:
            if kind == VIA:
                if via_due:
                    via_due = False
                    via = via or parse_via(data, start, head_end)
                    if via is not None and via.host == self.advertised:
                        self._give_via_back(edits, data, via, value_end(data, start, head_end), recipient)
            elif kind <= REFERRED_BY:
                if contact is not None:
                    spans = [contact]
                else:
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

    def _give_via_back(self, edits: list[Edit], data: bytes, via: ViaSpan, end: int, recipient: Entry) -> None:
        """Append the edits for a response's topmost Via: sent-by, `received` and `rport` (RFC 3581 §4)."""
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


def _own_spans(spans: list[UriSpan], own: bytes) -> list[UriSpan]:
    """Those URIs of a list that hold the sender's address; none if one of them names a port that no phone serves.

    A web page that asks for port 22 gets nothing, and the list stays whole (RFC 6335 §6: system ports).
    """
    found = [span for span in spans if span.host == own]
    if all(FIRST_UNPRIVILEGED_PORT <= (span.port or span.default_port) <= MAX_PORT for span in found):
        return found
    return []


def _protocol(span: UriSpan) -> int:
    """The protocol that a URI asks for: one for TCP or TLS needs a TCP mapping."""
    return TCP if (span.parameters or span.secure) and span.over_stream else UDP
