from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis.udp_streams import UdpStreams, as_ascii
from sipalg.capture.decode import Segment
from sipalg.engine.verdict import Endpoint

A, B, C = Endpoint("10.0.0.1", 5060), Endpoint("10.0.0.1", 5062), Endpoint("192.0.2.1", 5060)


def segment(source: Endpoint, destination: Endpoint, payload: bytes = b"x") -> Segment:
    return Segment(1, 1, 17, source, destination, payload, b"", 0, 0, True, (), 0)


def test_numbers_by_who_began_first_and_counts_turns() -> None:
    streams = UdpStreams()
    for ends in ((A, C), (A, C), (C, A), (B, C), (A, C), (C, A)):
        streams.take(segment(*ends))
    first, second = streams.all()
    assert (first.number, first.client, first.server) == (0, A, C)
    assert first.counts() == "3 client pkts, 2 server pkts, 3 turns."
    assert (second.number, second.client, second.counts()) == (1, B, "1 client pkt, 0 server pkts, 0 turns.")


def test_the_lectures_four_packets_of_a_server_that_never_answers() -> None:
    streams = UdpStreams()
    for _ in range(4):
        streams.take(segment(A, C))
    assert streams.all()[0].counts() == "4 client pkts, 0 server pkts, 0 turns."


def test_both_ends_the_same() -> None:
    streams = UdpStreams()
    assert streams.take(segment(A, A))[1] is False


@given(st.lists(st.sampled_from([(A, C), (C, A), (B, C), (C, B), (A, B)])))
def test_every_packet_is_counted_once(ends: list[tuple[Endpoint, Endpoint]]) -> None:
    streams = UdpStreams()
    for pair in ends:
        streams.take(segment(*pair))
    found = streams.all()
    assert sum(one.client_packets + one.server_packets for one in found) == len(ends)
    assert len(found) == len({frozenset(pair) for pair in ends})
    assert [one.number for one in found] == list(range(len(found)))


def test_ascii_as_wireshark_has_it() -> None:
    assert as_ascii(b"a\r\n\tb\x00\x7f\xc3\xa9~") == "a\r\n\tb....~"
