"""Phones, servers and flows out of the SIP messages: who names which address, and who answers to where.

What is noted is what stands in the packets; what it means is for the checks. On a packet's way offline this stands
behind the messages.
Sources: RFC 3261 §10, §18.2, RFC 3581.
"""

from __future__ import annotations

from typing import Final

from sipalg.analysis.diagnose.facts import INSIDE, LOCAL, OUTSIDE, Facts, Flow, Phone, Proof, Server
from sipalg.analysis.diagnose.networks import Networks
from sipalg.analysis.diagnose.sides import Ends, Sides
from sipalg.analysis.diagnose.words import (
    ContactWords,
    SdpWords,
    ViaWords,
    agent_of,
    contacts_of,
    count_vias,
    granted_s,
    via_of,
)
from sipalg.analysis.messages import SipMessage
from sipalg.codec.address import is_ipv4, is_unspecified
from sipalg.codec.datagram import UDP
from sipalg.codec.uri import parse_one
from sipalg.engine.verdict import Endpoint

#: Requests of a phone whose answers are still compared with them.
_MOST_REMEMBERED: Final = 8192
#: A REGISTER's 2xx this long after the one before is a refresh, not another line of the same phone.
_REFRESH_NS: Final = 5_000_000_000

#: Requests in which a phone says what it is.
_TELLING: Final = frozenset(("REGISTER", "INVITE"))

#: What something on the way did to a message, as keys of `Phone.spoilt`.
VIA_CHANGED: Final = "via"
CALL_ID_CHANGED: Final = "call-id"


class Signalling:
    """Takes messages in order and notes what they say in `facts`."""

    def __init__(self, facts: Facts, networks: Networks, ports: tuple[int, ...]) -> None:
        self._facts = facts
        self._networks = networks
        self._sides = Sides(networks, ports)
        #: A request by its phone and branch: its Via's host and port, and its Call-ID. By the phone, since a capture
        #: of both sides of an ALG has it twice, once as the phone's own and once as that of its public side.
        self._asked: dict[tuple[str, str], tuple[str, int, str]] = {}

    def take(self, message: SipMessage, sdp: SdpWords | None) -> Ends | None:
        """Note one message; returns whose it is, None where neither end is a phone."""
        via = via_of(message.frame)
        ends = self._sides.ends(message, lambda: self._names_private(message, via, sdp))
        if ends is None:
            return None
        phone, server = self._phone(ends), self._server(ends)
        phone.servers.add(ends.server)
        phone.protocols.add(message.protocol)
        # Whoever opens a TCP connection does so from any port.
        if message.method and not message.to_tag and (ends.outbound or message.protocol == UDP):
            server.opened.add(message.number)
        if ends.outbound:
            self._from_phone(message, ends, phone, via, sdp)
        else:
            self._from_server(message, ends, phone, server, via, sdp)
        self._along_flow(message, ends)
        return ends

    def keep_alive(self, source: Endpoint, destination: Endpoint, number: int, time_ns: int) -> None:
        """Note a packet without a message: where a phone and its server have spoken before, it keeps their flow."""
        flow = self._facts.flows.get((source, destination)) or self._facts.flows.get((destination, source))
        if flow is not None:
            _touch(flow, number, time_ns)
            flow.kept_alive.add(number)

    def stun(self, source: Endpoint, number: int) -> None:
        """Note that a host asked a STUN server for its public address."""
        if self._networks.is_inside(source.host):
            self._phone_named(source.host, INSIDE).stun.add(number)

    def _names_private(self, message: SipMessage, via: ViaWords | None, sdp: SdpWords | None) -> bool:
        hosts = [contact.host for contact in contacts_of(message.frame)]
        if message.method and via is not None:
            hosts.append(via.host)
        hosts += [end.host for end in (sdp.ends if sdp else ())]
        return any(map(self._networks.is_private, hosts))

    def _phone(self, ends: Ends) -> Phone:
        phone = self._phone_named(ends.phone.host if ends.view == INSIDE else str(ends.phone), ends.view)
        if ends.twin and not phone.twin:
            phone.twin = ends.twin
            self._phone_named(ends.twin, INSIDE).outside[phone.name] = phone
        return phone

    def _phone_named(self, name: str, view: str) -> Phone:
        phone = self._facts.phones.get(name)
        if phone is None:
            phone = self._facts.phones[name] = Phone(name, view)
        return phone

    def _server(self, ends: Ends) -> Server:
        server = self._facts.servers.get(ends.server)
        if server is None:
            server = self._facts.servers[ends.server] = Server(ends.server)
        return server

    def _from_phone(
        self, message: SipMessage, ends: Ends, phone: Phone, via: ViaWords | None, sdp: SdpWords | None
    ) -> None:
        number, own = message.number, ends.phone.host
        phone.sent.add(number)
        if not phone.agent and message.method in _TELLING:
            phone.agent = agent_of(message.frame)
        if message.method == "REGISTER":
            phone.registrars.add(ends.server.host)
        if ends.call_id not in ("", message.call_id):
            phone.call_id_changed.add(number)
        if message.method and via is not None:
            if ends.view == OUTSIDE and count_vias(message.frame) > 1:
                phone.proxied.add(number)
            self._note(phone, via.host, own, (phone.via_private, phone.via_public), number)
            if via.rport:
                phone.rport.add(number)
            if len(self._asked) >= _MOST_REMEMBERED:
                del self._asked[next(iter(self._asked))]
            if message.branch:
                self._asked[phone.name, message.branch] = (via.host, via.port, message.call_id)
        for contact in contacts_of(message.frame):
            self._note(phone, contact.host, own, (phone.contact_private, phone.contact_public), number)
            if ends.view == OUTSIDE and message.protocol == UDP:
                self._check_port(phone, contact, ends.phone, number)
        if sdp is not None:
            for end in sdp.ends:
                self._note(phone, end.host, own, (phone.media_private, phone.media_public), number)
            if sdp.candidates:
                phone.candidates.add(number)
            if sdp.elsewhere:
                phone.ice.add(number)

    @staticmethod
    def _check_port(phone: Phone, contact: ContactWords, source: Endpoint, number: int) -> None:
        """Note a Contact with the public address and another port than the mapping's: calls to it go nowhere."""
        named = Endpoint(contact.host, contact.port)
        if contact.host == source.host and named != source and not contact.over_stream and contact.lifetime_s != 0:
            phone.port_wrong.add(number)
            phone.port_named = phone.port_named or str(named)

    def _note(self, who: Phone, host: str, own: str, proofs: tuple[Proof, Proof], number: int) -> None:
        """Note an address that a phone names as private or public; a name, IPv6 and 0.0.0.0 are neither."""
        private, public = proofs
        if self._networks.is_private(host) and (who.view == INSIDE or host != own):
            # What a phone without a NAT before it names can be reached: see `LOCAL`.
            if who.view != LOCAL:
                private.add(number)
                who.named = who.named or host
        elif is_ipv4(host.encode()) and not is_unspecified(host.encode()):
            public.add(number)

    def _from_server(
        self,
        message: SipMessage,
        ends: Ends,
        phone: Phone,
        server: Server,
        via: ViaWords | None,
        sdp: SdpWords | None,
    ) -> None:
        number, own = message.number, ends.server.host
        server.sent.add(number)
        if message.method:
            if phone.contact_private and self._is_for(phone, message):
                phone.reached.add(number)
                server.reached.add(number)
        elif via is not None:
            self._compare(message, phone, via)
        if ends.view == LOCAL:
            return
        # A registrar's 200 lists the phone's own Contacts (RFC 3261 §10.3).
        if message.cseq_method != "REGISTER":
            for contact in contacts_of(message.frame):
                if self._names_own_private(contact.host, own, phone):
                    server.contact_private.add(number)
                    server.named = server.named or contact.host
        for end in sdp.ends if sdp else ():
            if self._names_own_private(end.host, own, phone):
                server.media_private.add(number)
                server.named = server.named or end.host

    def _is_for(self, phone: Phone, message: SipMessage) -> bool:
        """Whether a server sent a request by what the phone said of itself.

        What comes for a public address comes to a server inside through a port forward, too.
        """
        if message.source.host in phone.registrars:
            return True
        target = parse_one(message.frame.data[slice(*message.frame.uri)])
        return target is not None and self._networks.is_private(target.host.decode("ascii", "replace"))

    def _names_own_private(self, host: str, own: str, phone: Phone) -> bool:
        """Whether a server names an address that can't be reached, and that is no inside host's, seen or named."""
        if host == own or not self._networks.is_private(host) or host in self._facts.phones:
            return False
        return host != phone.named

    def _compare(self, message: SipMessage, phone: Phone, via: ViaWords) -> None:
        """Compare an answer's Via with that of the request (RFC 3261 §8.2.6.2: it is the same)."""
        asked = self._asked.get((phone.name, message.branch))
        if asked is None:
            return
        host, port, call_id = asked
        if (via.host, via.port) != (host, port):
            phone.spoilt.setdefault(VIA_CHANGED, Proof()).add(message.number)
        if message.call_id != call_id:
            phone.spoilt.setdefault(CALL_ID_CHANGED, Proof()).add(message.number)
        if not via.received:
            return
        if self._networks.is_private(via.received):
            phone.put_back.add(message.number)
            return
        if phone.view == OUTSIDE and via.received != message.destination.host:
            phone.another_nat.add(message.number)
        if via.received != host:
            phone.seen_elsewhere.add(message.number)

    def _along_flow(self, message: SipMessage, ends: Ends) -> None:
        key = (ends.phone, ends.server)
        flow = self._facts.flows.get(key)
        if flow is None:
            now_ns = message.time_ns
            flow = self._facts.flows[key] = Flow(*key, message.protocol, now_ns, now_ns, message.number)
        _touch(flow, message.number, message.time_ns)
        if message.method == "OPTIONS" or (message.method == "NOTIFY" and not message.to_tag):
            flow.kept_alive.add(message.number)
        if message.cseq_method == "REGISTER" and 200 <= message.status < 300:
            seconds = granted_s(message.frame)
            if not seconds:
                return
            flow.registered.add(message.number)
            if flow.registered_ns and message.time_ns - flow.registered_ns >= _REFRESH_NS:
                flow.refreshed.add(message.number)
            flow.registered_ns = message.time_ns
            if not flow.granted_s or seconds < flow.granted_s:
                flow.granted_s, flow.granted = seconds, Proof(1, [message.number])


def _touch(flow: Flow, number: int, time_ns: int) -> None:
    silent_ns = time_ns - flow.last_ns
    if silent_ns > flow.gap_ns:
        flow.gap_ns, flow.gap = silent_ns, (flow.last, number)
    flow.last, flow.last_ns = number, max(time_ns, flow.last_ns)
