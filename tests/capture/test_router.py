from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sipalg.capture.nat as nat_module
from sipalg.capture import icmp, router
from sipalg.capture.nat import NOT_ADMITTED, NOT_MAPPED, Nat
from sipalg.capture.router import INSIDE, OUTSIDE, Router
from sipalg.codec.datagram import addresses, checksums_right, fill_checksums, parse_udp
from sipalg.engine.verdict import (
    UDP,
    AdmitPeer,
    CloseMapping,
    Command,
    Datagram,
    Edit,
    Endpoint,
    Mapping,
    OpenMapping,
    Verdict,
)

P, P2, N, S = "192.168.33.10", "192.168.33.11", "203.0.113.1", "203.0.113.50"
SIP = Mapping(UDP, Endpoint(P, 5060), Endpoint(N, 1024), "sip")

Build = Callable[..., bytes]


class FakeAlg:
    """An engine that maps P:5060, shouts what it passes, and closes the mapping when its timer runs."""

    def __init__(self) -> None:
        self.seen: list[Datagram] = []
        self.done: list[tuple[int, float]] = []
        self.closes_at: float | None = None

    def receive_datagram(self, datagram: Datagram, now: float) -> Verdict:
        self.seen.append(datagram)
        if datagram.payload == b"refused":
            return Verdict("drop", datagram.payload, (), (), "direct-media-refused", 0)
        if not datagram.payload.isalpha():
            return Verdict("accept", datagram.payload, (), (), "not-sip", 0)
        commands: tuple[Command, ...] = ()
        if datagram.source == SIP.private and self.closes_at is None:
            commands = (OpenMapping(SIP, 3600.0), AdmitPeer(SIP, datagram.destination.host, 3600.0))
            self.closes_at = now + 100.0
        shouted = datagram.payload.upper() + b"!"
        edits = (Edit(0, len(datagram.payload), shouted, "shout"),)
        return Verdict("replace", shouted, edits, commands, "", len(self.seen))

    def commands_done(self, token: int, now: float) -> None:
        self.done.append((token, now))

    def next_timer(self) -> float | None:
        return self.closes_at

    def handle_timer(self, now: float) -> tuple[Command, ...]:
        assert now == self.closes_at
        self.closes_at = None
        return (CloseMapping(SIP),)


class Bench:
    """A router with its parts at hand."""

    def __init__(self) -> None:
        self.alg = FakeAlg()
        self.nat = Nat(N)
        inside = (IPv4Network("192.168.33.0/24"),)
        self.router = Router(self.alg, self.nat, inside, N, (5060, 5061), (IPv4Network("198.51.100.0/24"),))

    def sent(self, packet: bytes, now: float = 0.0) -> bytes:
        """Pass a packet that has to be translated, and return what leaves."""
        passed = self.router.forward(packet, now)
        assert passed.reason == ""
        assert checksums_right(passed.packet)
        return passed.packet


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_sip_leaves_from_the_port_that_the_alg_chose(bench: Bench, udp: Build) -> None:
    sent = bench.sent(udp(f"{P}:5060", f"{S}:5060", b"register"), 5.0)
    assert sent == udp(f"{N}:1024", f"{S}:5060", b"REGISTER!")
    (seen,) = bench.alg.seen
    assert seen == Datagram(b"register", Endpoint(P, 5060), Endpoint(S, 5060), UDP, INSIDE)
    assert bench.alg.done == [(1, 5.0)], "commands are reported, once"


def test_answer_comes_back_to_the_phone(bench: Bench, udp: Build) -> None:
    bench.sent(udp(f"{P}:5060", f"{S}:5060", b"register"))
    sent = bench.sent(udp(f"{S}:5060", f"{N}:1024", b"ok"))
    assert sent == udp(f"{S}:5060", f"{P}:5060", b"OK!")
    assert bench.alg.seen[1] == Datagram(b"ok", Endpoint(S, 5060), Endpoint(P, 5060), UDP, OUTSIDE)
    assert bench.alg.done == [(1, 0.0)], "nothing is reported where there was nothing to run"


def test_what_a_router_refuses_stays_as_it_came(bench: Bench, udp: Build) -> None:
    packet = udp(f"{P}:5060", f"{S}:5060", b"refused")
    assert bench.router.forward(packet, 0.0) == (packet, "refused-by-the-router", "direct-media-refused")


def test_message_to_any_port_from_a_signalling_address_is_the_algs(bench: Bench, udp: Build) -> None:
    bench.sent(udp(f"{P}:5060", f"{S}:5060", b"register"))
    sent = bench.sent(udp(f"{P}:5060", f"{S}:7000", b"invite"))
    assert sent == udp(f"{N}:1024", f"{S}:7000", b"INVITE!")
    assert bench.sent(udp(f"{S}:7000", f"{N}:1024", b"ringing")).endswith(b"RINGING!")


def test_stranger_isnt_let_in(bench: Bench, udp: Build) -> None:
    bench.sent(udp(f"{P}:5060", f"{S}:5060", b"register"))
    stranger = udp("203.0.113.99:5060", f"{N}:1024", b"invite")
    assert bench.router.forward(stranger, 0.0) == (stranger, NOT_ADMITTED, None)
    assert len(bench.alg.seen) == 1


def test_what_the_alg_passes_is_natted_all_the_same(bench: Bench, udp: Build) -> None:
    passed = bench.router.forward(udp(f"{P2}:5060", f"{S}:5060", b"\r\n\r\n"), 0.0)
    assert passed == (udp(f"{N}:5060", f"{S}:5060", b"\r\n\r\n"), "", "not-sip")


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_everything_else_is_plain_nat(bench: Bench, protocol: str, request: pytest.FixtureRequest) -> None:
    build: Build = request.getfixturevalue(protocol)
    assert bench.sent(build(f"{P}:10000", f"{S}:20000", b"rtp")) == build(f"{N}:10000", f"{S}:20000", b"rtp")
    assert bench.sent(build(f"{S}:20000", f"{N}:10000", b"rtp")) == build(f"{S}:20000", f"{P}:10000", b"rtp")
    assert bench.sent(build(f"{P2}:10000", f"{S}:20000", b"rtp")) == build(f"{N}:10001", f"{S}:20000", b"rtp")
    assert bench.alg.seen == []


def test_sip_over_tcp_is_plain_nat(bench: Bench, tcp: Build) -> None:
    assert bench.sent(tcp(f"{P}:4000", f"{S}:5060", b"register")) == tcp(f"{N}:4000", f"{S}:5060", b"register")
    assert bench.alg.seen == []


def test_hairpin_is_translated_at_both_ends(bench: Bench, udp: Build) -> None:
    bench.sent(udp(f"{P}:5060", f"{S}:5060", b"register"))
    bench.nat.run([AdmitPeer(SIP, P2, 60.0)], 0.0)
    sent = bench.sent(udp(f"{P2}:5060", f"{N}:1024", b"invite"))
    assert sent == udp(f"{N}:5060", f"{P}:5060", b"INVITE!")
    assert bench.alg.seen[1] == Datagram(b"invite", Endpoint(P2, 5060), Endpoint(P, 5060), UDP, INSIDE)


def test_engines_timers_run_before_the_packet(bench: Bench, udp: Build) -> None:
    bench.sent(udp(f"{P}:5060", f"{S}:5060", b"register"), 0.0)
    answer = udp(f"{S}:5061", f"{N}:1024", b"invite")
    assert bench.router.forward(answer, 99.0).reason == ""
    assert bench.router.forward(answer, 100.0).reason == NOT_MAPPED


def test_answer_for_a_private_address_is_the_algs_and_stays_as_it_is(bench: Bench, udp: Build) -> None:
    """A capture from the inside shows answers behind the router already."""
    already = udp(f"{S}:5060", f"{P}:5060", b"\r\n")
    assert bench.router.forward(already, 0.0) == (already, router.UNCHANGED, "not-sip")
    assert bench.sent(udp(f"{S}:5060", f"{P}:5060", b"ok")).endswith(b"OK!")


def test_what_no_router_translates_stays_as_it_is(bench: Bench, udp: Build) -> None:
    for source, destination, reason in (
        (f"{P}:1", f"{P2}:1", router.LOCAL),
        ("198.51.100.9:1", "203.0.113.9:1", router.FOREIGN),
        (f"{N}:1", f"{S}:1", router.FOREIGN),
        (f"{P}:5060", "198.51.100.9:5060", router.EXEMPT),
        ("198.51.100.9:5060", f"{N}:5060", router.EXEMPT),
        (f"{P}:1", "224.0.1.75:5060", router.NOT_UNICAST),
        (f"{P}:1", "255.255.255.255:67", router.NOT_UNICAST),
        ("0.0.0.0:68", "255.255.255.255:67", router.FOREIGN),
        (f"{S}:5060", f"{N}:9", NOT_MAPPED),
    ):
        packet = udp(source, destination, b"invite")
        assert bench.router.forward(packet, 0.0) == (packet, reason, None)
    assert bench.alg.seen == []


def test_other_protocols_and_headers_that_are_cut_stay_as_they_are(bench: Bench, udp: Build, tcp: Build) -> None:
    gre = bytearray(udp(f"{P}:1", f"{S}:1"))
    gre[9] = 47
    assert bench.router.forward(bytes(gre), 0.0) == (bytes(gre), router.OTHER_PROTOCOL, None)
    for packet in (udp(f"{P}:1", f"{S}:1")[:27], tcp(f"{P}:1", f"{S}:1")[:37], b"\x60" * 40, b""):
        assert bench.router.forward(packet, 0.0, whole=False) == (packet, router.CUT_HEADERS, None)


def test_packet_without_a_free_port_stays_as_it_is(
    bench: Bench, udp: Build, ping: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nat_module, "_LOWEST_FREE_PORT", 65000)
    for protocol in (1, 17):
        for port in (5000, *range(65000, 65536)):
            bench.nat.outbound(protocol, Endpoint(P2, port), Endpoint(S, 0), 0.0)
    for packet in (udp(f"{P}:5000", f"{S}:1"), ping(P, S, 5000)):
        assert bench.router.forward(packet, 0.0) == (packet, router.NO_PORT, None)


def test_cut_message_is_translated_in_its_headers_only(bench: Bench, udp: Build) -> None:
    whole = udp(f"{P}:5060", f"{S}:5060", b"register")
    passed = bench.router.forward(whole[:-3], 0.0, whole=False)
    assert passed == (udp(f"{N}:5060", f"{S}:5060", b"register")[:-3], "", router.CUT)
    assert bench.alg.seen == []


def test_message_that_isnt_one_whole_datagram_passes_with_its_reason(bench: Bench, udp: Build) -> None:
    packet = bytearray(udp(f"{P}:5060", f"{S}:5060", b"register"))
    packet[24:26] = b"\0\4"
    assert bench.router.forward(fill_checksums(bytes(packet)), 0.0).sip == "bad-length"


def test_message_that_no_packet_holds_once_it_grew_stays_as_it_is(bench: Bench, udp: Build) -> None:
    for size, reason, tail in ((65506, "", b"!"), (65507, router.TOO_LONG, b"a")):
        passed = bench.router.forward(udp(f"{P}:5060", f"{S}:5060", b"a" * size), 0.0)
        assert (passed.reason, passed.sip) == ("", reason)
        assert passed.packet.endswith(tail)
        assert checksums_right(passed.packet)


def test_wrong_checksums_of_offload_are_made_right(bench: Bench, udp: Build) -> None:
    packet = udp(f"{P}:10000", f"{S}:20000", b"rtp")
    offloaded = packet[:10] + b"\0\0" + packet[12:26] + b"\xde\xad" + packet[28:]
    assert bench.sent(offloaded) == udp(f"{N}:10000", f"{S}:20000", b"rtp")


def test_missing_udp_checksum_stays_missing(bench: Bench, udp: Build) -> None:
    packet = udp(f"{P}:5060", f"{S}:5060", b"register")
    sent = bench.sent(packet[:26] + b"\0\0" + packet[28:])
    assert sent[26:28] == b"\0\0"
    assert parse_udp(sent) == ((N, 1024), (S, 5060), b"REGISTER!")


def test_ping_and_its_reply(bench: Bench, ping: Build) -> None:
    assert bench.sent(ping(P, S, 77)) == ping(N, S, 77)
    assert bench.sent(ping(P2, S, 77)) == ping(N, S, 1024)
    assert bench.sent(ping(S, N, 77, reply=True)) == ping(S, P, 77, reply=True)
    assert bench.sent(ping(S, N, 1024, reply=True)) == ping(S, P2, 77, reply=True)


def test_ping_of_the_router_is_its_own(bench: Bench, ping: Build) -> None:
    request = ping(S, N, 5)
    assert bench.router.forward(request, 0.0) == (request, router.TO_ROUTER, None)


def test_ping_that_arrives_for_a_private_address_stays_as_it_is(bench: Bench, ping: Build) -> None:
    request = ping(S, P, 5)
    assert bench.router.forward(request, 0.0) == (request, router.UNCHANGED, None)


def test_error_from_outside_reaches_the_phone_as_one_about_its_own_packet(
    bench: Bench, udp: Build, unreachable: Build
) -> None:
    bench.nat.open(SIP, 60.0)
    bench.sent(udp(f"{P}:5060", f"{S}:9000", b"hello"))
    error = unreachable(S, N, udp(f"{N}:1024", f"{S}:9000", b"HELLO!"))
    assert bench.sent(error) == unreachable(S, P, udp(f"{P}:5060", f"{S}:9000", b"HELLO!"))


def test_error_about_a_ping_reaches_who_sent_it(bench: Bench, ping: Build, unreachable: Build) -> None:
    bench.sent(ping(P, S, 77))
    bench.sent(ping(P2, S, 77))
    sent = bench.sent(unreachable("198.18.0.1", N, ping(N, S, 1024), 11))
    assert sent == unreachable("198.18.0.1", P2, ping(P2, S, 77), 11)


def test_error_from_inside_shows_no_private_address(bench: Bench, udp: Build, unreachable: Build) -> None:
    bench.sent(udp(f"{P}:10000", f"{S}:20000", b"rtp"))
    error = unreachable(P, S, udp(f"{S}:20000", f"{P}:10000", b"rtp"))
    assert bench.sent(error) == unreachable(N, S, udp(f"{S}:20000", f"{N}:10000", b"rtp"))
    unmapped = unreachable(P, S, udp(f"{S}:20000", f"{P}:7", b"rtp"))
    assert bench.sent(unmapped) == unreachable(N, S, udp(f"{S}:20000", f"{N}:7", b"rtp"))


def test_error_about_nothing_known_is_the_routers(bench: Bench, udp: Build, unreachable: Build) -> None:
    for error, reason in (
        (unreachable(S, N, udp(f"{N}:9", f"{S}:9")), router.TO_ROUTER),
        (unreachable(S, P, udp(f"{P}:9", f"{S}:9")), router.UNCHANGED),
        (unreachable(S, N, b"", 13), router.TO_ROUTER),
    ):
        assert bench.router.forward(error, 0.0) == (error, reason, None)


def test_other_icmp_from_inside_only_changes_its_address(bench: Bench, unreachable: Build) -> None:
    assert bench.sent(unreachable(P, S, b"timestamp", 13)) == unreachable(N, S, b"timestamp", 13)


HOSTS = [bytes(map(int, host.split("."))) for host in (P, P2, N, S)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(HOSTS), st.sampled_from(HOSTS), st.sampled_from([1, 6, 17, 47]), st.binary(max_size=60)
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_any_packets_are_survived(packets: list[tuple[bytes, bytes, int, bytes]], whole: bool) -> None:
    bench = Bench()
    for source, destination, protocol, body in packets:
        packet = b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + bytes(5) + bytes((protocol, 0, 0))
        packet += source + destination + body
        passed = bench.router.forward(packet, 0.0, whole=whole)
        if passed.reason:
            assert passed.packet == packet
        else:
            found = addresses(passed.packet)
            assert found is not None
            assert found[1][0] not in (P, P2), "no private address leaves, and none of ours comes from outside"


def test_identifier_of_icmp_is_kept_apart_from_ports(bench: Bench, ping: Build, udp: Build) -> None:
    bench.sent(udp(f"{P2}:77", f"{S}:20000"))
    assert icmp.echo_identifier(bench.sent(ping(P, S, 77))) == 77
