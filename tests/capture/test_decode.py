from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture.decode import SYN, Decoder, Segment, decode
from sipalg.capture.reading import Frame
from sipalg.engine.verdict import Endpoint

Build = Callable[..., bytes]

PHONE, SERVER = "192.168.33.10:5060", "203.0.113.50:5070"
ETHERNET = bytes(12) + b"\x08\x00"
HOSTS6 = bytes.fromhex("20010db8000000000000000000000001" "20010db8000000000000000000000002")


def frames(*data: bytes, link_type: int = 1) -> list[Frame]:
    return [Frame(n + 1, n * 1000, frame, len(frame), link_type, 0) for n, frame in enumerate(data)]


def one(data: bytes, link_type: int = 1) -> Segment:
    (segment,) = decode(frames(data, link_type=link_type))
    return segment


def ipv6(next_header: int, body: bytes) -> bytes:
    return struct.pack("!IHBB", 0x60000000, len(body), next_header, 64) + HOSTS6 + body


def udp6(payload: bytes) -> bytes:
    return struct.pack("!HHHH", 5060, 5070, 8 + len(payload), 0) + payload


@pytest.mark.parametrize(
    ("link_type", "head"),
    [
        (1, ETHERNET),
        (1, bytes(12) + b"\x81\x00\x00\x05\x08\x00"),
        (1, bytes(12) + b"\x88\x64\x11\x00\x00\x01\x00\x00\x00\x21"),
        (0, b"\x02\0\0\0"),
        (101, b""),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
    ],
    ids=["ethernet", "vlan", "pppoe", "loopback", "raw", "cooked", "cooked-2"],
)
def test_datagram_in_every_frame(link_type: int, head: bytes, udp: Build) -> None:
    segment = one(head + udp(PHONE, SERVER, b"payload"), link_type)
    assert (str(segment.source), str(segment.destination)) == (PHONE, SERVER)
    assert (segment.protocol, segment.payload, segment.whole, segment.frames) == (17, b"payload", True, ())


def test_padding_of_short_frames_is_no_payload(udp: Build) -> None:
    assert one(ETHERNET + udp(PHONE, SERVER, b"x") + bytes(20)).payload == b"x"


def test_options_of_ipv4_are_stepped_over(udp: Build) -> None:
    packet = bytearray(udp(PHONE, SERVER, b"payload"))
    packet[0] = 0x46
    packet[2:4] = struct.pack("!H", len(packet) + 4)
    packet[20:20] = b"\x01\x01\x01\x00"
    assert one(ETHERNET + packet).payload == b"payload"


def test_tcp_segment(tcp: Build) -> None:
    segment = one(ETHERNET + tcp(PHONE, SERVER, b"stream"))
    assert (segment.protocol, segment.payload, segment.sequence, segment.flags & SYN) == (6, b"stream", 1, 0)


def test_cut_datagram_is_not_whole(udp: Build) -> None:
    segment = one((ETHERNET + udp(PHONE, SERVER, b"payload"))[:-3])
    assert (segment.payload, segment.whole) == (b"payl", False)


def test_fragments_are_one_datagram(udp: Build, fragmented: Build) -> None:
    payload = bytes(range(256)) * 3
    pieces = [ETHERNET + bytes(piece) for piece in fragmented(udp(PHONE, SERVER, payload), 256)]
    (segment,) = decode(frames(*reversed(pieces)))
    assert (segment.payload, segment.frames, segment.number) == (payload, (1, 2, 3, 4), 4)


def test_ipv6_with_extension_headers() -> None:
    options = bytes((17, 0, 1, 4, 0, 0, 0, 0))
    authentication = bytes((60, 1)) + bytes(10)
    segment = one(bytes(12) + b"\x86\xdd" + ipv6(51, authentication + options + udp6(b"six")))
    assert segment.source == Endpoint("2001:db8::1", 5060)
    assert segment.destination == Endpoint("2001:db8::2", 5070)
    assert segment.payload == b"six"


def test_ipv6_fragments_are_one_datagram() -> None:
    body = udp6(bytes(100))
    first = ipv6(44, struct.pack("!BBHI", 17, 0, 1, 7) + body[:64])
    last = ipv6(44, struct.pack("!BBHI", 17, 0, 64, 7) + body[64:])
    (segment,) = decode(frames(first, last, link_type=101))
    assert (segment.payload, segment.frames) == (bytes(100), (1, 2))


def test_ends_are_one_object_for_a_flow(udp: Build, tcp: Build) -> None:
    data = [ETHERNET + udp(PHONE, SERVER, b"1"), ETHERNET + udp(PHONE, SERVER, b"2"), ETHERNET + tcp(PHONE, SERVER)]
    first, second, third = decode(frames(*data))
    assert first.ends is second.ends is third.ends
    assert first.source is second.source


def test_what_holds_neither_is_counted(ping: Build) -> None:
    decoder = Decoder()
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    data = [arp, ETHERNET + ping(PHONE, SERVER, 1), b""]
    assert list(decoder.segments(frames(*data))) == []
    assert decoder.others == 3
    assert list(decode(frames(b"anything", link_type=147))) == []


@given(data=st.binary(max_size=120), link_type=st.sampled_from([0, 1, 12, 101, 108, 113, 228, 229, 276, 999]))
def test_no_bytes_raise(data: bytes, link_type: int) -> None:
    list(decode(frames(data, link_type=link_type)))


@given(data=st.data())
def test_no_damage_raises(data: st.DataObject, udp: Build) -> None:
    frame = bytearray(ETHERNET + udp(PHONE, SERVER, b"payload"))
    for at, value in data.draw(st.lists(st.tuples(st.integers(12, len(frame) - 1), st.integers(0, 255)), max_size=4)):
        frame[at] = value
    list(decode(frames(bytes(frame[: data.draw(st.integers(0, len(frame)))]))))


@pytest.mark.parametrize("payload", [b"", b"stream"])
@pytest.mark.parametrize("padding", [b"", b"\0\0\0"])
def test_tcp_is_read_the_same_with_one_look_and_step_by_step(tcp: Build, payload: bytes, padding: bytes) -> None:
    packet = tcp(PHONE, SERVER, payload) + padding
    tagged = bytes(12) + b"\x81\0\0\5\x08\0"
    assert one(ETHERNET + packet) == one(tagged + packet)
    assert one(ETHERNET + packet).payload == payload
