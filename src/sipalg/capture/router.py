"""One packet through the offline router: which way it goes, the ALG where it is SIP, then the NAT.

The order is the live one: destination NAT, the ALG on what the forward hook would see, source NAT. A packet that no
router would translate (local, foreign, exempt, to the router itself) comes back as it is, with the reason. On a
packet's way this is all of the router but its disks. Pure; nothing here raises on a packet's bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network
from typing import Final, NamedTuple, Protocol

from sipalg.capture import icmp
from sipalg.capture.nat import Nat
from sipalg.codec.address import in_networks
from sipalg.codec.datagram import (
    ICMP,
    TCP,
    UDP,
    Address,
    addresses,
    fill_checksums,
    parse_udp,
    replace_addresses,
    replace_payload,
)
from sipalg.engine.policy import DIRECT_MEDIA_REFUSED, REFUSAL_ACKNOWLEDGED
from sipalg.engine.verdict import Command, Datagram, Endpoint, Verdict

INSIDE: Final = "inside"
OUTSIDE: Final = "outside"

#: Why a packet comes back as it came.
LOCAL: Final = "inside-to-inside"
FOREIGN: Final = "neither-inside-nor-public"
EXEMPT: Final = "exempt"
NOT_UNICAST: Final = "not-unicast"
OTHER_PROTOCOL: Final = "protocol-not-translated"
TO_ROUTER: Final = "for-the-router-itself"
CUT_HEADERS: Final = "headers-cut-off"
NO_PORT: Final = "no-port-free"
FRAGMENT: Final = "fragment-alone"
UNCHANGED: Final = "already-as-the-receiver-sees-it"

#: Why a packet stays that a live router would have answered itself, or absorbed: as many come out as went in.
REFUSED_HERE: Final = "refused-by-the-router"
#: The ALG's reasons for that.
REFUSED: Final = frozenset((DIRECT_MEDIA_REFUSED, REFUSAL_ACKNOWLEDGED))

#: Why a SIP packet's payload isn't looked at.
CUT: Final = "cut-by-the-capture"
#: Why an edited message isn't sent: no IPv4 packet holds what it grew to.
TOO_LONG: Final = "edited-too-long-for-a-packet"

#: The first byte of the lowest address that no single host has: multicast, reserved, broadcast.
_FIRST_MULTICAST: Final = 224
_LARGEST_PACKET_BYTES: Final = 65535
#: How much of the upper header has to be there for its ports and its checksum.
_NEEDED_BYTES: Final = {UDP: 8, TCP: 18, ICMP: 8}


class Engine(Protocol):
    """What the router asks of `sipalg.engine.alg.Alg`."""

    def receive_datagram(self, datagram: Datagram, now: float) -> Verdict:
        """Decide on one packet's payload."""

    def commands_done(self, token: int, now: float) -> None:
        """Take note that the commands of a verdict were run."""

    def next_timer(self) -> float | None:
        """Return when `handle_timer` has something to do, None for never."""

    def handle_timer(self, now: float) -> Iterable[Command]:
        """Do what is due and return the commands to run."""


class Passed(NamedTuple):
    """What became of one packet.

    `reason` says why the packet came back as it was, "" where it was translated. `sip` is None where the ALG wasn't
    asked, "" where it edited the message, else its reason not to.
    """

    packet: bytes
    reason: str
    sip: str | None


class Router:
    """The router, with the state of its NAT and its ALG."""

    def __init__(
        self,
        alg: Engine,
        nat: Nat,
        inside: tuple[IPv4Network, ...],
        public_host: str,
        ports: tuple[int, ...],
        exempt: tuple[IPv4Network, ...],
    ) -> None:
        self._alg = alg
        self._nat = nat
        self._inside = _member_test(inside)
        self._exempt = _member_test(exempt)
        self._public_host = public_host
        self._ports = frozenset(ports)

    def forward(self, packet: bytes, now: float, *, whole: bool = True) -> Passed:
        """Take one IPv4 packet through; `whole` is False where the capture cut its end off. `now` never goes back."""
        self._run_timers(now)
        found = addresses(packet)
        if found is None:
            return Passed(packet, CUT_HEADERS, None)
        protocol, source_address, destination_address = found
        source, destination = Endpoint(*source_address), Endpoint(*destination_address)
        reason = self._reason_to_leave(source.host, destination.host)
        if reason:
            return Passed(packet, reason, None)
        needed_bytes = _NEEDED_BYTES.get(protocol)
        if needed_bytes is None:
            return Passed(packet, OTHER_PROTOCOL, None)
        if len(packet) < (packet[0] & 15) * 4 + needed_bytes:
            return Passed(packet, CUT_HEADERS, None)
        if protocol == ICMP:
            return self._forward_icmp(packet, source, destination, now, whole=whole)
        return self._forward_ports(packet, protocol, source, destination, now, whole=whole)

    def _run_timers(self, now: float) -> None:
        """Run what came due since the last packet, each at its own time, as a live router would have."""
        last = None
        while (due := self._alg.next_timer()) is not None and due <= now:
            # A timer that comes due again at once is run with all the rest.
            at = now if due == last else due
            self._nat.run(self._alg.handle_timer(at), at)
            if at == now:
                break
            last = due

    def _reason_to_leave(self, source: str, destination: str) -> str:
        """Return why no router would translate a packet between these hosts, "" if one would."""
        if not self._inside(source):
            if destination != self._public_host and not self._inside(destination):
                return FOREIGN
            return EXEMPT if self._exempt(source) else ""
        if self._inside(destination):
            return LOCAL
        if int(destination.partition(".")[0]) >= _FIRST_MULTICAST:
            return NOT_UNICAST
        return EXEMPT if self._exempt(destination) else ""

    def _forward_ports(
        self, packet: bytes, protocol: int, source: Endpoint, destination: Endpoint, now: float, *, whole: bool
    ) -> Passed:
        """UDP and TCP: destination NAT, the ALG, source NAT."""
        inner_destination = destination
        if destination.host == self._public_host:
            answer = self._nat.inbound(protocol, destination, source, now)
            if isinstance(answer, str):
                return Passed(packet, answer, None)
            inner_destination = answer
        outbound = self._inside(source.host)
        payload, sip = None, None
        if protocol == UDP and self._is_queued(source, inner_destination, now):
            payload, sip = self._ask(packet, source, inner_destination, now, whole=whole)
            if sip in REFUSED:
                return Passed(packet, REFUSED_HERE, sip)
        inner_source = source
        if outbound:
            public = self._nat.outbound(protocol, source, destination, now)
            if public is None:
                return Passed(packet, NO_PORT, sip)
            inner_source = public
        changed = packet if payload is None else replace_payload(packet, payload, _LARGEST_PACKET_BYTES)
        return _sent(packet, changed, inner_source, inner_destination, sip, whole=whole)

    def _is_queued(self, source: Endpoint, destination: Endpoint, now: float) -> bool:
        """Return whether the live queue would see it: the remote port is one of SIP's, or a mapping is."""
        private, remote = (source, destination) if self._inside(source.host) else (destination, source)
        return (
            remote.port in self._ports
            or self._nat.is_signalling(UDP, private, now)
            or self._nat.is_signalling(UDP, remote, now)
        )

    def _ask(
        self, packet: bytes, source: Endpoint, destination: Endpoint, now: float, *, whole: bool
    ) -> tuple[bytes | None, str]:
        """Ask the ALG; return the new payload, None for the one that it came with, and the ALG's reason."""
        parsed = parse_udp(packet)
        if isinstance(parsed, str):
            return None, parsed if whole else CUT
        outbound = self._inside(source.host)
        interface = INSIDE if outbound else OUTSIDE
        self._nat.asking = source.host if outbound else destination.host
        verdict = self._alg.receive_datagram(Datagram(parsed.payload, source, destination, UDP, interface), now)
        if verdict.commands:
            self._nat.run(verdict.commands, now)
            self._alg.commands_done(verdict.token, now)
        if len(packet) - len(parsed.payload) + len(verdict.payload) > _LARGEST_PACKET_BYTES:
            return None, TOO_LONG
        return None if verdict.payload == parsed.payload else verdict.payload, verdict.reason

    def _forward_icmp(
        self, packet: bytes, source: Endpoint, destination: Endpoint, now: float, *, whole: bool
    ) -> Passed:
        identifier = icmp.echo_identifier(packet)
        if identifier is not None:
            return self._forward_echo(packet, identifier, source, destination, now, whole=whole)
        quoted = icmp.quoted(packet)
        if quoted is not None:
            return self._forward_error(packet, quoted, source, destination, now, whole=whole)
        if destination.host == self._public_host:
            return Passed(packet, TO_ROUTER, None)
        new_source = (self._public_host, 0) if self._inside(source.host) else source
        return _sent(packet, packet, new_source, destination, None, whole=whole)

    def _forward_echo(
        self, packet: bytes, identifier: int, source: Endpoint, destination: Endpoint, now: float, *, whole: bool
    ) -> Passed:
        """Echo requests and replies: the identifier is the port, on the side that the NAT stands for."""
        new_source, new_destination = source, destination
        if destination.host == self._public_host:
            answer = self._nat.inbound(ICMP, Endpoint(destination.host, identifier), source, now)
            if isinstance(answer, str):
                return Passed(packet, TO_ROUTER, None)
            new_destination, identifier = answer, answer.port
        elif self._inside(source.host):
            public = self._nat.outbound(ICMP, Endpoint(source.host, identifier), destination, now)
            if public is None:
                return Passed(packet, NO_PORT, None)
            new_source, identifier = public, public.port
        changed = icmp.replace_identifier(packet, identifier)
        return _sent(packet, changed, new_source, new_destination, None, whole=whole)

    def _forward_error(
        self, packet: bytes, quoted: icmp.Quoted, source: Endpoint, destination: Endpoint, now: float, *, whole: bool
    ) -> Passed:
        """Errors: the quoted packet went the other way, so its other end is the one to translate."""
        sender, receiver = Endpoint(*quoted.source), Endpoint(*quoted.destination)
        if destination.host == self._public_host:
            answer = self._nat.inbound(quoted.protocol, sender, receiver, now)
            if isinstance(answer, str):
                return Passed(packet, TO_ROUTER, None)
            changed = icmp.replace_quoted(packet, source=answer)
            return _sent(packet, changed, source, answer, None, whole=whole)
        if not self._inside(source.host):
            return Passed(packet, UNCHANGED, None)
        public = self._nat.public_of(quoted.protocol, receiver, now) or Endpoint(self._public_host, receiver.port)
        changed = icmp.replace_quoted(packet, destination=public)
        return _sent(packet, changed, (self._public_host, 0), destination, None, whole=whole)


def _member_test(networks: tuple[IPv4Network, ...]) -> Callable[[str], bool]:
    """Return a test whether a host is in one of the networks; it remembers its answers."""
    known: dict[str, bool] = {}

    def is_member(host: str) -> bool:
        answer = known.get(host)
        if answer is None:
            answer = known[host] = in_networks(host, networks)
        return answer

    return is_member


def _sent(
    before: bytes, packet: bytes, source: Address, destination: Address, sip: str | None, *, whole: bool
) -> Passed:
    """Return what leaves: `packet` (`before`, or one edited already) with these addresses and right checksums.

    A checksum that was wrong, as offload leaves it, is made right where all of the packet is there to compute it.
    """
    changed = replace_addresses(packet, source, destination)
    if changed == before:
        return Passed(before, UNCHANGED, sip)
    if not whole:
        return Passed(changed, "", sip)
    filled = fill_checksums(changed)
    checksum_at = (changed[0] & 15) * 4 + 6
    if changed[9] == UDP and changed[checksum_at : checksum_at + 2] == b"\0\0":
        filled = filled[:checksum_at] + b"\0\0" + filled[checksum_at + 2 :]
    return Passed(filled, "", sip)
