"""What a message goes through: header, body, and the state that follows from it, in one direction or the other.

The middle of a packet's way. Outward, the sender's addresses are mapped and made public; inward, the recipient's are
made private; a message between two inside phones by way of the public address is both. All tables are together here,
since one message may touch every one of them in one transaction.
"""

from __future__ import annotations

from typing import Final

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, in_networks, is_reference, reference
from sipalg.codec.body import sdp_parts
from sipalg.codec.fields import fields_with
from sipalg.codec.message import Message, cseq_method, has_doubled_semicolon, identify, session_expires_s
from sipalg.codec.plain_edits import edits_of_sender
from sipalg.engine import bodies, outside
from sipalg.engine.calls import Calls
from sipalg.engine.contacts import Contacts
from sipalg.engine.dialogs import CALL_METHODS, SESSION_METHODS, Step
from sipalg.engine.direct_media import DirectMedia, Others, Refusal
from sipalg.engine.lifetimes import Lifetimes
from sipalg.engine.mappings import Mappings, PortsTaken
from sipalg.engine.media import Ends
from sipalg.engine.media_sources import MediaSources
from sipalg.engine.peers import Peers
from sipalg.engine.policy import (
    DISABLED,
    EMPTY_PARAMETER,
    EXEMPT,
    FIELD_TWICE,
    MAX_HEADER_LINES,
    MAX_MAPPINGS,
    MAX_MAPPINGS_PER_HOST,
    MAX_NAME_BYTES,
    MAX_NAT_AWARE,
    MAX_PORTS_PER_SECTION,
    NAME_TOO_LONG,
    NAT_AWARE,
    NO_FREE_PORT,
    NO_MAPPING,
    NO_PUBLIC_ADDRESS,
    PRIVILEGED_PORT,
    SDP_OF_ANOTHER,
    TOO_MANY_LINES,
    TOO_MANY_MAPPINGS,
)
from sipalg.engine.rewrite import Headers
from sipalg.engine.rows import Entry, MappingKey
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import UDP, Change, Datagram, Endpoint

#: A header line has at least a name, a colon and its end: shorter headers needn't be counted.
_LONG_HEADER_BYTES: Final = 3 * MAX_HEADER_LINES
_METHODS_OF_CALLS: Final = CALL_METHODS | {b"CANCEL"}
#: Remembered answers to "is this remote address excepted?"; a flood of addresses empties it.
_EXEMPT_CACHE: Final = 4096


class Passage:
    """The tables, and the way of a framed message through them."""

    def __init__(self, settings: Settings, ports_taken: PortsTaken) -> None:
        self.transaction = Transaction()
        self.mappings = Mappings(settings, ports_taken)
        self.contacts = Contacts(settings, self.mappings)
        self.calls = Calls(settings, self.mappings)
        self.peers = Peers(settings, self.calls.refused_flows)
        self.headers = Headers(self.mappings, self.peers)
        self.lifetimes = Lifetimes(settings, self.mappings, self.contacts, self.peers)
        #: Phones whose Contact was public as it came, by source: they are left alone.
        self.nat_aware: dict[tuple[int, Endpoint], bool] = {}
        self.direct = DirectMedia(settings, self.mappings, self.calls)
        self.media_sources = MediaSources(settings, self.mappings, self.calls, self.peers)
        self._exempt: dict[str, bool] = {}
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Go by other settings from the next message on."""
        self.settings = self.mappings.settings = self.contacts.settings = settings
        self.calls.settings = self.peers.settings = settings
        self.direct.change(settings)
        self.media_sources.change(settings)
        self.lifetimes.change(self.transaction, settings)
        self.headers.set_advertised(settings.advertised_address)
        self.mappings.advertise_anew()
        self._exempt.clear()

    def edit(self, message: Message, datagram: Datagram) -> list[Change] | str | Refusal:
        """The edits that a message needs, with all changes of state staged.

        A str is the reason why it passes as it came, a refusal what is done in its place.
        """
        if (
            message.head_end - message.head > _LONG_HEADER_BYTES
            and message.data.count(b"\n", message.head, message.head_end) > MAX_HEADER_LINES
        ):
            return TOO_MANY_LINES
        if self.settings.disabled:
            return self._serve_to_the_end(message, datagram)
        if datagram.in_interface in self.settings.inside_interfaces:
            refreshed = self._refresh(message, datagram) if message.method == b"REGISTER" else None
            if refreshed is not None:
                return refreshed
            found = self._outward(message, datagram)
            if isinstance(found, str) and found == NO_FREE_PORT and self._is_full(datagram.source.host):
                return TOO_MANY_MAPPINGS
            return found
        return self._inward(message, datagram)

    def keep_alive(self, datagram: Datagram) -> bool:
        """Follow an empty datagram, which is sent to keep a flow alive; False if it is of no flow of ours.

        As of any message of the phone's, the mapping lives on with it, and so does a flow older than sipalg.
        """
        outward = datagram.in_interface in self.settings.inside_interfaces
        own, remote = (datagram.source, datagram.destination) if outward else (datagram.destination, datagram.source)
        entry = self.mappings.entries.get((datagram.protocol, own))
        if entry is None or entry.purpose != "sip" or self.is_exempt(remote.host):
            return False
        if outward:
            self.mappings.touch(self.transaction, entry)
        self.peers.tend(self.transaction, entry, remote)
        self.lifetimes.keep_alive(self.transaction, entry.key, remote.host)
        return True

    def beat(self, key: MappingKey, host: str, now: float) -> None:
        """Follow an OPTIONS between a mapping and a far end that nothing else needs to be known of."""
        self.transaction.now = now
        self.lifetimes.keep_alive(self.transaction, key, host)

    def touch(self, entry: Entry, now: float) -> None:
        """Follow a message of a phone's that moves nothing but its mapping's end."""
        self.transaction.now = now
        self.mappings.touch(self.transaction, entry)
        self.transaction.settle()

    def _serve_to_the_end(self, message: Message, datagram: Datagram) -> list[Change] | str | Refusal:
        """With `disabled`: what a standing mapping or call needs is served, and all else is left to plain NAT.

        A message of a call that isn't known passes whole, and so do its later ones: a transaction is either translated
        from its beginning or never, or its CANCEL would miss it (RFC 3261 §9.2).
        """
        from_inside = datagram.in_interface in self.settings.inside_interfaces
        phone = datagram.source if from_inside else datagram.destination
        if (datagram.protocol, phone) not in self.mappings.entries:
            return DISABLED
        method = cseq_method(message) if message.status else message.method
        if method in _METHODS_OF_CALLS and (phone.host, identify(message).call_id) not in self.calls.by_call:
            return DISABLED
        found = self._outward(message, datagram) if from_inside else self._inward(message, datagram)
        return DISABLED if found == NO_FREE_PORT else found

    def forget(self, entry: Entry) -> None:
        """Drop all that belonged to a mapping that has ended."""
        self.peers.dismiss(self.transaction, entry)
        self.contacts.forget_mapping(self.transaction, entry)
        self.headers.forget(self.transaction, entry.key)
        if self.nat_aware.pop(entry.key, False):
            self.transaction.note(self.nat_aware, entry.key)

    def _refresh(self, message: Message, datagram: Datagram) -> list[Change] | None:
        """The edits of a known phone's REGISTER, if it is as nearly all are; None where `_outward` has to look.

        The same steps, without those that could only find nothing: no message comes more often.
        """
        source, destination = datagram.source, datagram.destination
        entries = self.mappings.entries
        entry = entries.get((UDP, source))
        settings, headers = self.settings, self.headers
        if (
            entry is None
            or datagram.protocol != UDP
            or entry.in_interface != datagram.in_interface
            or entry.private_host == headers.advertised
            or source.port < FIRST_UNPRIVILEGED_PORT
            or not settings.nat_address
            or message.body < message.body_end
            or self.nat_aware
            or headers.bare
            or self.direct.refused
            or (UDP, destination) in entries
            or (settings.exempt and self.is_exempt(destination.host))
        ):
            return None
        found: tuple[list[Change], list[int | None]] | None = edits_of_sender(
            message, entry.private_host, source.port, entry.public_text
        )
        if not found or not found[1]:
            return None
        edits, contacts = found
        transaction = self.transaction
        self.mappings.touch(transaction, entry)
        if destination not in entry.peers:
            self.peers.admit(transaction, entry, destination)
        if self.peers.tended:
            self.peers.tend(transaction, entry, destination)
        self.contacts.follow_request(transaction, message, contacts, entry)
        return edits

    def _outward(self, message: Message, datagram: Datagram) -> list[Change] | str | Refusal:
        """Edit what an inside phone sends; a str is the reason why its message passes."""
        source, destination = datagram.source, datagram.destination
        protocol, in_interface = datagram.protocol, datagram.in_interface
        settings = self.settings
        if not settings.nat_address and ":" not in source.host:
            return NO_PUBLIC_ADDRESS
        recipient = self.mappings.entries.get((protocol, destination))
        if recipient is None and settings.exempt and self.is_exempt(destination.host):
            return EXEMPT
        if source.port < FIRST_UNPRIVILEGED_PORT:
            return PRIVILEGED_PORT
        if self.direct.refused:
            refusal = self.direct.answer_again(message, datagram)
            if refusal is not None:
                return refusal
        key = (protocol, source)
        entry = self.mappings.entries.get(key)
        if entry is not None and entry.in_interface != in_interface:
            self.mappings.move(self.transaction, entry, in_interface)
        own = reference(source.host) if entry is None else entry.private_host
        advertised = self.headers.advertised
        if is_reference(own):
            if settings.ipv6 is None:
                return NO_PUBLIC_ADDRESS
            advertised = outside.advertised_for(settings, own)
        transaction = self.transaction
        found = self.headers.edit_outward(transaction, message, datagram, entry, own, advertised)
        if isinstance(found, str):
            if found == NAT_AWARE:
                self.note_nat_aware(key)
            return found
        edits, entry, contacts = found
        if own == advertised:
            edits.clear()
        if self.nat_aware and key in self.nat_aware:
            if not contacts:
                return NAT_AWARE
            del self.nat_aware[key]
            transaction.note(self.nat_aware, key)
        sdp = sdp_parts(message) if message.body < message.body_end else None
        if sdp and _has_empty_parameter(message):
            return EMPTY_PARAMETER
        if entry is None and sdp:
            entry = self.mappings.open(transaction, protocol, source, "sip", in_interface)
            if entry is None:
                return NO_FREE_PORT
        is_register = message.method == b"REGISTER"
        asks_outside = not message.status and recipient is None
        if asks_outside and not is_register:
            edits += self.headers.safety_net(message, own)
        if entry is None:
            return edits
        self.mappings.touch(transaction, entry)
        if asks_outside and destination not in entry.peers:
            self.peers.admit(transaction, entry, destination)
        if self.peers.tended:
            self.peers.tend(transaction, entry, destination)
        ends: Ends | None = None
        if sdp and (recipient is None or recipient.in_interface != in_interface):
            mappings, others = self.mappings, self.direct.nobody
            body = bodies.outward(transaction, mappings, message, sdp, own, advertised, in_interface, others)
            if body == SDP_OF_ANOTHER:
                judgement = self.direct.judge(message, datagram)
                if not isinstance(judgement, Others):
                    return judgement
                body = bodies.outward(transaction, mappings, message, sdp, own, advertised, in_interface, judgement)
            if isinstance(body, str):
                return body
            edits += body.edits
            ends = body.ends
        if is_register:
            self.contacts.follow_request(transaction, message, contacts, entry)
        elif (message.method or _answered(message)) in CALL_METHODS:
            doubt = self._follow_call(message, entry, ends, destination.host, from_inside=True)
            if doubt:
                return doubt
            if recipient is not None:
                self._follow_call(message, recipient, None, source.host, from_inside=False)
        elif message.method == b"OPTIONS":
            self.lifetimes.keep_alive(transaction, key, destination.host)
        if recipient is not None and (protocol, destination) not in self.nat_aware:
            edits += self.headers.edit_inward(message, recipient)[0]
        return edits

    def _inward(self, message: Message, datagram: Datagram) -> list[Change] | str:
        """Edit what comes for an inside phone; a str is the reason why the message passes."""
        source, destination, protocol = datagram.source, datagram.destination, datagram.protocol
        recipient = self.mappings.entries.get((protocol, destination))
        if recipient is None or not recipient.for_sip:
            served = self.settings.nat_address if ":" not in destination.host else self.settings.ipv6
            return NO_MAPPING if served else NO_PUBLIC_ADDRESS
        if self.settings.exempt and self.is_exempt(source.host):
            return EXEMPT
        if self.nat_aware and (protocol, destination) in self.nat_aware:
            # What it gets back has to be what it wrote, its topmost Via above all.
            return NAT_AWARE
        transaction = self.transaction
        if self.peers.tended:
            self.peers.tend(transaction, recipient, source)
        edits, contacts = self.headers.edit_inward(message, recipient)
        ends: Ends | None = None
        sdp = sdp_parts(message)
        if sdp:
            if _has_empty_parameter(message):
                return EMPTY_PARAMETER
            host, in_interface, is_inside = recipient.public_host, recipient.in_interface, self.direct.is_inside_lately
            body = bodies.inward(self.mappings, message, sdp, host, in_interface, is_inside, transaction.now)
            edits += body.edits
            ends = body.ends
        method = message.method or _answered(message)
        if method in CALL_METHODS:
            doubt = self._follow_call(message, recipient, ends, source.host, from_inside=False)
            if doubt:
                return doubt
        elif method == b"REGISTER" and 200 <= message.status < 300:
            self.contacts.follow_answer(transaction, message, contacts, recipient, source.host)
        elif message.method == b"OPTIONS":
            self.lifetimes.keep_alive(transaction, recipient.key, source.host)
        return edits

    def _follow_call(self, message: Message, entry: Entry, ends: Ends | None, peer: str, *, from_inside: bool) -> str:
        """Let the calls take note of a message that may belong to one; a reason if it has to pass for its names."""
        identity = identify(message)
        if identity.ambiguous:
            return FIELD_TWICE
        if len(identity.call_id) + len(identity.from_tag) + len(identity.to_tag) > MAX_NAME_BYTES:
            return NAME_TOO_LONG
        status, method = message.status, identity.method
        sets_timer = 200 <= status < 300 and method in SESSION_METHODS
        session_s = float(session_expires_s(message)) if sets_timer else 0.0
        step = Step(method, status, identity.number, ends, entry.key, peer, session_s, from_inside=from_inside)
        call = self.calls.follow(self.transaction, identity, step)
        if sets_timer:
            self.lifetimes.session(self.transaction, entry.key, peer, session_s)
        if self.media_sources.asked:
            self.media_sources.follow(self.transaction, call)
        return ""

    def note_nat_aware(self, key: MappingKey) -> None:
        """Remember that a source is NAT aware; beyond the limit the oldest is forgotten."""
        if key in self.nat_aware:
            return
        if len(self.nat_aware) >= MAX_NAT_AWARE:
            oldest = next(iter(self.nat_aware))
            del self.nat_aware[oldest]
            self.transaction.note(self.nat_aware, oldest)
        self.nat_aware[key] = True
        self.transaction.note(self.nat_aware, key)

    def _is_full(self, host: str) -> bool:
        """Whether a phone, or all phones together, have as many mappings as they may, but for a media section's."""
        size = 2 * MAX_PORTS_PER_SECTION
        mine = self.mappings.mappings_of(reference(host))
        return mine + size > MAX_MAPPINGS_PER_HOST or len(self.mappings.entries) + size > MAX_MAPPINGS

    def is_exempt(self, host: str) -> bool:
        """Whether a remote address is one that the administrator doesn't have NATed."""
        answer = self._exempt.get(host)
        if answer is None:
            if len(self._exempt) >= _EXEMPT_CACHE:
                self._exempt.clear()
            answer = self._exempt[host] = in_networks(host, self.settings.exempt)
        return answer


def _has_empty_parameter(message: Message) -> bool:
    """Whether a field that we would edit has nothing between two semicolons: it is read in more than one way.

    Of messages with a description only: those open ways for media (RFC 4475 §3.1.2.1).
    """
    return has_doubled_semicolon(message) and bool(fields_with(message, b";;"))


def _answered(message: Message) -> bytes:
    """The method that a response answers; b"" for 100, which only says that a proxy is at it."""
    return cseq_method(message) if message.status > 100 else b""
