from __future__ import annotations

import socket

from tests.sniffer.packets import ethernet, udp

from sipalg.sniffer.stream import TZSP_HEADER, Stream, datagram

FRAME = ethernet(udp("192.168.20.100", 5060, "207.252.1.148", 5060))


def test_a_datagram_is_the_header_and_the_frame() -> None:
    assert datagram(FRAME) == bytes((1, 0, 0, 1, 1)) + FRAME


def test_a_frame_is_cut_to_what_udp_takes() -> None:
    assert len(datagram(bytes(70000))) == 65507


def test_packets_go_to_the_server_and_are_counted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        stream = Stream(server.getsockname())
        stream.send(FRAME)
        assert server.recv(65535) == TZSP_HEADER + FRAME
        stream.close()
    assert (stream.packets, stream.failed) == (1, 0)


def test_what_cannot_be_sent_is_counted() -> None:
    stream = Stream(("127.0.0.1", 9))
    stream.close()
    stream.send(FRAME)
    assert (stream.packets, stream.failed) == (0, 1)
