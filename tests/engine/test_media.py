from __future__ import annotations

from sipalg.engine.mappings import Mappings
from sipalg.engine.media import HELD_END, NO_END, MediaEnd, flows_between, keys_of, without_muxed_rtcp
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import UDP, Endpoint, Flow

P, N, M = "192.168.33.10", "203.0.113.1", "203.0.113.60"


def end(host: str, port: int, *, mux: bool = False, rtcp: bool = True) -> MediaEnd:
    return MediaEnd(Endpoint(host, port), Endpoint(host, port + 1) if rtcp else None, mux, on_hold=False)


def flow(private: int, remote: int, public: int = 0) -> Flow:
    return Flow(UDP, Endpoint(P, private), Endpoint(N, public or private), Endpoint(M, remote))


def mapped(*ports: int) -> Mappings:
    mappings = Mappings(Settings(frozenset(("lan0",)), N, N), lambda _protocol, _port: False)
    transaction = Transaction()
    for port in ports:
        mappings.open(transaction, UDP, Endpoint(P, port), "media", "lan0")
    return mappings


def test_keys_are_those_of_the_ports_that_are_named() -> None:
    assert keys_of((end(P, 10000), NO_END, HELD_END, end(P, 10004, rtcp=False))) == (
        (UDP, Endpoint(P, 10000)),
        (UDP, Endpoint(P, 10001)),
        (UDP, Endpoint(P, 10004)),
    )


def test_lines_correspond_by_position() -> None:
    mappings = mapped(10000, 10001, 10004)
    local = (end(P, 10000), NO_END, end(P, 10004, rtcp=False), end(P, 10006))
    remote = (end(M, 30000), end(M, 30002), end(M, 30004))
    assert flows_between(mappings, local, remote, ()) == (flow(10000, 30000), flow(10001, 30001), flow(10004, 30004))


def test_a_port_without_mapping_has_no_flow() -> None:
    assert flows_between(mapped(10000), (end(P, 10000),), (end(M, 30000),), ()) == (flow(10000, 30000),)


def test_two_lines_on_one_port_are_one_flow() -> None:
    local, remote = (end(P, 10000, rtcp=False),) * 2, (end(M, 30000),) * 2
    assert flows_between(mapped(10000), local, remote, ()) == (flow(10000, 30000),)


def test_rtcp_on_rtps_own_port_is_one_flow() -> None:
    ours, theirs = Endpoint(P, 10000), Endpoint(M, 30000)
    local, remote = ((MediaEnd(one, one, mux=False, on_hold=False),) for one in (ours, theirs))
    assert flows_between(mapped(10000), local, remote, ()) == (flow(10000, 30000),)


def test_a_line_on_hold_keeps_its_own_flows() -> None:
    before = (flow(10000, 30000), flow(10001, 30001), flow(10004, 30004))
    mappings = mapped(10000, 10001, 10004)
    assert flows_between(mappings, (HELD_END,), (end(M, 30000),), before) == before[:2]
    assert flows_between(mappings, (end(P, 10004, rtcp=False),), (HELD_END,), before) == before[2:]
    assert flows_between(mappings, (HELD_END,), (HELD_END,), before) == before
    assert flows_between(mappings, (NO_END,), (end(M, 30000),), before) == ()


def test_rtcp_goes_with_rtp_where_both_said_so() -> None:
    local = (end(P, 10000, mux=True), end(P, 10002, mux=True), end(P, 10004), end(P, 10006, mux=True))
    remote = (end(M, 30000, mux=True), end(M, 30002), end(M, 30004, mux=True))
    muxed = without_muxed_rtcp(local, remote)
    assert [one.rtcp for one in muxed] == [None, *(one.rtcp for one in local[1:])]
