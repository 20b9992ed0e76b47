"""Header fields: which addresses are ours, and what is written in their place.

Outward, the sender's own private addresses become the public ones of their mappings; inward, the recipient's own
public ones become private again. Nothing is decided about a byte that isn't an address of ours. On a packet's way
this comes after framing; the body's turn is next, and both together are the edit.
Sources: RFC 3261 §18.2 (Via), §8.1.1.8 and §19.1 (Contact), RFC 3327, RFC 3581, RFC 3608, RFC 3515, RFC 3892.
"""

from __future__ import annotations

import re
from typing import Final

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT as _LOWEST
from sipalg.codec.address import MAX_PORT, NO_PORT, authority, ipv6_reference, is_reference
from sipalg.codec.fields import Place, fields_with
from sipalg.codec.headers import received_and_rport
from sipalg.codec.message import CONTACT, FIELD_NAMES, ROUTE, VIA, Message, find_field, value_end
from sipalg.codec.plain_edits import edits_of_recipient, edits_of_sender
from sipalg.codec.uri import UriSpan, parse_list
from sipalg.engine.contacts import Granted
from sipalg.engine.mappings import Mappings
from sipalg.engine.peers import Peers
from sipalg.engine.policy import (
    ADDRESS_WITH_ZONE,
    ANOTHER_PORT,
    MAX_ADDRESSES,
    MAX_SEEN_AS,
    NAT_AWARE,
    NO_FREE_PORT,
    TOO_MANY_ADDRESSES,
)
from sipalg.engine.rows import Entry, MappingKey
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import TCP, UDP, Change, Datagram, Endpoint

_REQUEST_URI: Final = "request-uri"
_NO_FIELDS: Final[list[tuple[int, tuple[Place, ...]]]] = []
#: An IPv6 address with a zone, which no header field may have (RFC 3261 §25.1, RFC 4007 §11.2).
_ZONED: Final = re.compile(rb"\[([0-9A-Fa-f:.]+)%")


class Headers:
    """Reads and edits header fields; `bare` remembers where a phone leaves its port off, to put it back so."""

    def __init__(self, mappings: Mappings, peers: Peers) -> None:
        self._mappings = mappings
        self._peers = peers
        self.bare: dict[tuple[MappingKey, int], bool] = {}
        #: What servers say that our requests came from, where it isn't what was written, and how often.
        self.seen_as: dict[bytes, int] = {}
        self.set_advertised("")

    def set_advertised(self, address: str) -> None:
        """Write `address` from now on; "" while there is none."""
        self.advertised = address.encode()
        self.seen_as.clear()

    def edit_outward(
        self,
        transaction: Transaction,
        message: Message,
        datagram: Datagram,
        entry: Entry | None,
        own: bytes,
        advertised: bytes,
    ) -> tuple[list[Change], Entry | None, list[int | None]] | str:
        """Edit the places of an outbound message where the sender's `own` address stands, mapping what has to be.

        `advertised` is what the sender's mappings name in its place.
        Returns the edits, the packet's mapping (None: not needed) and the lifetimes of the sender's own Contacts, None
        where one names none; or a reason if the sender's Contact is public already, or no public port is to be had.
        """
        source_port = datagram.source.port
        of_stream = datagram.protocol == TCP
        quickly: tuple[list[Change], list[int | None]] | None = (
            edits_of_sender(message, own, source_port, entry.public_text)
            if entry is not None and not of_stream and not (self.bare and self._is_bare(entry.key))
            else None
        )
        if quickly:
            edits, contacts = quickly
            if contacts:
                return edits, entry, contacts
        else:
            edits, contacts = [], []
        if own[:1] == b"[" and own != advertised and _has_zone(message, own):
            return ADDRESS_WITH_ZONE
        for begin, places in _NO_FIELDS if quickly else fields_with(message, own):
            if len(places) > 1 and _names_bad_port(places, own):
                continue
            if len(places) + len(edits) > MAX_ADDRESSES:
                return TOO_MANY_ADDRESSES
            for place in places:
                kind, host, port, start, end, with_port, default_port, over_stream, lifetime_s = place
                if host != own or not _LOWEST <= port <= MAX_PORT or (kind == VIA and message.status):
                    continue
                if port == source_port and entry is not None and over_stream == of_stream:
                    named = entry
                elif kind == VIA and over_stream != of_stream:
                    continue
                else:
                    found = self._map(transaction, datagram, entry, port, TCP if over_stream else UDP)
                    if found is None:
                        return NO_FREE_PORT
                    entry, named = found
                if with_port and not self.bare:
                    text = named.public_text
                else:
                    text = self._public_text(transaction, named, kind, default_port, with_port=with_port)
                edits.append((begin + start, end - start, text, FIELD_NAMES[kind]))
                if kind == CONTACT:
                    contacts.append(lifetime_s)
        if contacts or own == advertised:
            return edits, entry, contacts
        if message.data.find(_needle(advertised), message.head, message.head_end) >= 0:
            for _, places in fields_with(message, advertised):
                if any(self._is_own_public(place, own, advertised) for place in places):
                    return NAT_AWARE
        return edits, entry, contacts

    def _is_own_public(self, place: Place, own: bytes, advertised: bytes) -> bool:
        """Whether it is a Contact with the public address and, as far as known, of no other phone.

        A redirection names another one's.
        """
        kind, host, port, _, _, _, _, over_stream, _ = place
        if kind != CONTACT or host != advertised:
            return False
        entry = self._mappings.of_public(TCP if over_stream else UDP, port, host)
        return entry is None or entry.private_host == own

    def _map(
        self, transaction: Transaction, datagram: Datagram, entry: Entry | None, port: int, protocol: int
    ) -> tuple[Entry, Entry] | None:
        """The mappings of the packet and of a port that its sender names; the latter gets a flow towards the server.

        The packet's own mapping is made along with any other, since the message leaves through it.
        """
        source = datagram.source
        if entry is None:
            entry = self._mappings.open(transaction, datagram.protocol, source, "sip", datagram.in_interface)
        if entry is None or (port == source.port and protocol == datagram.protocol):
            return None if entry is None else (entry, entry)
        named = self._mappings.open(transaction, protocol, Endpoint(source.host, port), "sip", datagram.in_interface)
        if named is None:
            return None
        self._mappings.touch(transaction, named)
        if (datagram.protocol, datagram.destination) not in self._mappings.entries:
            self._peers.admit(transaction, named, datagram.destination)
            if protocol == UDP:
                self._peers.establish(transaction, named, datagram.destination)
        return entry, named

    def _public_text(
        self, transaction: Transaction, entry: Entry, kind: int, default_port: int, *, with_port: bool
    ) -> bytes:
        """A mapping's public address in the style of the text that it replaces: without a port if that had none."""
        if with_port:
            if self.bare and (entry.key, kind) in self.bare:
                transaction.remove(self.bare, (entry.key, kind))
            return entry.public_text
        if kind in (VIA, CONTACT) and default_port != NO_PORT:
            transaction.put(self.bare, (entry.key, kind), True)
        return authority(entry.public_host, entry.public_port, with_port=False, default_port=default_port)

    def safety_net(self, message: Message, own: bytes) -> list[Change]:
        """Edits for mapped private addresses of inside phones in an outbound request's target and Route.

        A phone inside that learnt another one's private address would otherwise send it to a server that can't reach
        it (RFC 3261 §16.5 and §16.6). A Route that names the sender's `own` address has been edited with the rest. Not
        for REGISTER, the most frequent request: it goes to a registrar, and no phone is one.
        """
        data = message.data
        hosts = self._mappings.hosts
        spans: list[tuple[str, int, UriSpan]] = []
        target = message.target
        if target is not None and target.host in hosts:
            spans.append((_REQUEST_URI, message.uri[0], target))
        route = find_field(message, ROUTE)
        while route is not None:
            start, end = route
            spans += [("route", start, span) for span in parse_list(data[start:end]) or () if span.host != own]
            route = find_field(message, ROUTE, end)
        if not spans:
            return []
        edits: list[Change] = []
        for rule, start, span in spans:
            if span.host in hosts:
                entry = self._mappings.of_private(TCP if span.over_stream else UDP, span.host, span.port)
                if entry is not None:
                    text = authority(
                        entry.public_host, entry.public_port, with_port=span.with_port, default_port=span.default_port
                    )
                    edits.append((start + span.start, span.end - span.start, text, rule))
                    _edit_maddr(edits, start, span, entry.public_host, rule)
        return edits

    def edit_inward(self, message: Message, recipient: Entry) -> tuple[list[Change], list[Granted]]:
        """The edits that give the recipient its own addresses back, and those of its mappings that Contacts name."""
        edits: list[Change] = []
        target = message.target
        if target is not None:
            start = message.uri[0]
            entry = self._give_back(edits, start, (0, *target[:8]), _REQUEST_URI, recipient)
            if entry is not None:
                _edit_maddr(edits, start, target, entry.private_host, _REQUEST_URI)
        host = recipient.public_host
        quickly: tuple[list[Change], list[Granted]] | None = (
            edits_of_recipient(message, host, recipient.public_port, recipient.private_text, recipient)
            if recipient.key[0] == UDP and not (self.bare and self._is_bare(recipient.key))
            else None
        )
        found, contacts = quickly or ([], [])
        edits += found
        for begin, places in _NO_FIELDS if quickly else fields_with(message, host):
            for place in places:
                kind = place[0]
                if kind != VIA:
                    entry = self._give_back(edits, begin, place, FIELD_NAMES[kind], recipient)
                    if entry is not None and kind == CONTACT:
                        contacts.append((entry, place[8]))
                elif message.status:
                    self._give_via_back(edits, message, begin, place, recipient)
        if recipient.as_it_is:
            edits.clear()
        return edits, contacts

    def forget(self, transaction: Transaction, key: MappingKey) -> None:
        """Drop what was remembered of an ended mapping's style."""
        for kind in (VIA, CONTACT):
            transaction.remove(self.bare, (key, kind))

    def _give_back(self, edits: list[Change], start: int, place: Place, rule: str, recipient: Entry) -> Entry | None:
        """Append the edit for one URI if it is the recipient's; returns its mapping then."""
        _, host, port, first, last, _, default_port, over_stream, _ = place
        if host != recipient.public_host:
            return None
        entry = self._own_mapping(TCP if over_stream else UDP, port, recipient)
        if entry is not None:
            plain = not self.bare and default_port != NO_PORT
            text = entry.private_text if plain else self._private_text(entry, CONTACT, default_port)
            edits.append((start + first, last - first, text, rule))
        return entry

    def _own_mapping(self, protocol: int, port: int, recipient: Entry) -> Entry | None:
        """The recipient's mapping with this public port, mostly `recipient`; None if it isn't the recipient's."""
        if port == recipient.public_port and protocol == recipient.key[0]:
            return recipient
        entry = self._mappings.of_public(protocol, port, recipient.public_host)
        return entry if entry is not None and entry.private_host == recipient.private_host else None

    def _give_via_back(self, edits: list[Change], message: Message, begin: int, via: Place, recipient: Entry) -> None:
        """Append the edits for a response's topmost Via: sent-by, `received` and `rport` (RFC 3581 §4)."""
        _, host, port, first, last, _, default_port, _, _ = via
        advertised = recipient.public_host
        if host == advertised:
            entry = self._own_mapping(recipient.key[0], port, recipient)
            if entry is None:
                return
            text = self._private_text(entry, VIA, default_port) if self.bare else entry.private_text
            edits.append((begin + first, last - first, text, "via"))
        data = message.data
        behind = begin + last
        (start, end), rport = received_and_rport(data, behind, value_end(data, behind, message.head_end))
        if end and data[start:end] == advertised:
            edits.append((start, end - start, recipient.private_host, "via-received"))
        elif end and is_reference(advertised) and ipv6_reference(data[start:end]) == advertised:
            edits.append((start, end - start, _bare(recipient.private_host), "via-received"))
        elif end and host == advertised:
            self._note_seen_as(data[start:end])
        start, end = rport
        if end and int(data[start:end]) == recipient.public_port:
            edits.append((start, end - start, recipient.private_port, "via-rport"))
        elif end and host == advertised and recipient.key[0] == UDP:
            # A connection may have any port.
            self._note_seen_as(ANOTHER_PORT)

    def _note_seen_as(self, seen: bytes) -> None:
        """Count where a request of ours came from by a server's word: another NAT is ahead then.

        A Via that isn't ours tells nothing: its phone may know about the NAT.
        """
        if seen in self.seen_as or len(self.seen_as) < MAX_SEEN_AS:
            self.seen_as[seen] = self.seen_as.get(seen, 0) + 1

    def _is_bare(self, key: MappingKey) -> bool:
        """Whether a phone leaves its port off somewhere."""
        return (key, VIA) in self.bare or (key, CONTACT) in self.bare

    def _private_text(self, entry: Entry, kind: int, default_port: int) -> bytes:
        """A mapping's private address as its phone writes it in this kind of field."""
        if default_port == NO_PORT or (entry.key, kind) in self.bare:
            return authority(entry.private_host, entry.key[1].port, with_port=False, default_port=default_port)
        return entry.private_text


def _bare(host: bytes) -> bytes:
    """An IPv6 address without its brackets."""
    return host[1:-1]


def _needle(host: bytes) -> bytes:
    """What the text of a host holds, however it is written: an IPv6 address may be in many ways."""
    return b"[" if is_reference(host) else host


def _has_zone(message: Message, own: bytes) -> bool:
    """Whether a Via or a Contact names the sender with a zone: nobody reads that, so it would stay private alone."""
    data = message.data
    if data.find(b"%", message.head, message.head_end) < 0:
        return False
    for kind in (VIA, CONTACT):
        field = find_field(message, kind)
        while field is not None:
            start, end = field
            if any(ipv6_reference(zoned[1]) == own for zoned in _ZONED.finditer(data, start, end)):
                return True
            field = find_field(message, kind, end)
    return False


def _edit_maddr(edits: list[Change], start: int, span: UriSpan, host: bytes, rule: str) -> None:
    """Append the edit of a URI's `maddr` that says the same as its host."""
    first, last = span.maddr
    if last:
        edits.append((start + first, last - first, host, rule))


def _names_bad_port(places: tuple[Place, ...], own: bytes) -> bool:
    """Whether a list names a port at the sender's address that no phone serves: then the whole list stays.

    A web page that asks for port 22 gets nothing (RFC 6335 §6: system ports).
    """
    return any(host == own and not _LOWEST <= port <= MAX_PORT for _, host, port, *_ in places)
