from __future__ import annotations

import struct

from sipalg.analysis.diagnose.facts import MediaEnd
from sipalg.analysis.diagnose.media import Media, is_stun_request
from sipalg.capture.decode import Segment
from sipalg.codec.datagram import UDP, host_bytes
from sipalg.engine.verdict import Endpoint

PHONE, FAR = Endpoint("192.168.20.100", 4000), Endpoint("207.252.1.148", 9000)
END = MediaEnd(*FAR, FAR.host, 9001, mux=False, receives=True, sends=True)
OWN_END = MediaEnd(*PHONE, PHONE.host, 4001, mux=False, receives=True, sends=True)


def segment(payload: bytes, source: Endpoint = PHONE, destination: Endpoint = FAR) -> Segment:
    ends = host_bytes(source.host) + host_bytes(destination.host) + struct.pack("!HH", source.port, destination.port)
    return Segment(7, 0, UDP, source, destination, payload, ends, 0, 0, True, (), 0)


def rtp(sequence: int = 1, source: int = 5, kind: int = 0) -> bytes:
    return struct.pack("!BBHII", 0x80, kind, sequence, 0, source) + bytes(20)


RTCP = struct.pack("!BBHI", 0x80, 201, 1, 5)


def test_announced_end_makes_the_first_packet_media() -> None:
    media = Media()
    media.announce(END)
    assert media.take(segment(rtp()))
    assert media.rtp.packets == 1
    assert media.tallies[segment(b"").ends].count == 1


def test_without_an_sdp_two_packets_in_order_make_a_stream() -> None:
    media = Media()
    assert [media.take(segment(rtp(sequence))) for sequence in (65535, 0, 1)] == [False, True, True]
    assert media.rtp.packets == 2


def test_packets_of_another_source_or_out_of_order_are_no_stream() -> None:
    media = Media()
    assert not any(media.take(segment(rtp(1, source))) for source in range(5))
    assert not any(media.take(segment(rtp(sequence))) for sequence in (9, 9, 4, 600))


def test_what_only_looks_a_little_like_media_isnt() -> None:
    media = Media()
    media.announce(END)
    for payload in (b"", b"\x80", rtp()[:11], RTCP[:7], b"\x80\xc9\x00\x09" + bytes(4), b"INVITE sip:a@b"):
        assert not media.take(segment(payload))
    assert media.rtp.packets == media.rtcp.packets == 0


def test_rtcp_of_privileged_ports_is_none_unless_it_is_announced() -> None:
    resolver = Endpoint("198.51.100.53", 53)
    media = Media()
    assert not media.take(segment(RTCP, PHONE, resolver))
    assert media.take(segment(RTCP))


def test_rtp_and_rtcp_on_one_port_are_counted_apart() -> None:
    for first, second in ((rtp(), RTCP), (RTCP, rtp())):
        media = Media()
        media.announce(END)
        for payload in (first, second, first, second, second):
            assert media.take(segment(payload))
        assert sorted((media.rtp.packets, media.rtcp.packets)) == [2, 3]


def test_what_came_is_counted_at_the_end_that_the_sdp_names() -> None:
    media = Media()
    media.announce(END)
    media.take(segment(rtp()))
    media.take(segment(RTCP, PHONE, Endpoint(FAR.host, 9001)))
    assert media.received((END,), (OWN_END,), FAR.host) == (1, 1)
    assert media.received((OWN_END,), (END,), PHONE.host) == (0, 0)


def test_what_came_from_the_far_end_to_another_port_counts_for_its_host() -> None:
    media = Media()
    media.announce(END)
    media.take(segment(rtp(), FAR, Endpoint(PHONE.host, 4444)))
    assert media.received((OWN_END,), (END,), PHONE.host) == (1, 0)
    assert media.received((OWN_END,), (END,), "192.168.20.7") == (0, 0)


def stun(attributes: bytes = b"") -> bytes:
    return b"\0\1" + len(attributes).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + attributes


def test_question_to_a_stun_server_is_told_from_ices_checks() -> None:
    assert is_stun_request(stun())
    assert is_stun_request(stun(b"\x80\x22\0\3abc\0"))
    assert not is_stun_request(stun(b"\x80\x22\0\3abc\0\0\6\0\3a:b\0"))
    assert not is_stun_request(b"\1\1" + stun()[2:])
    assert not is_stun_request(b"\0\1\0\0")
