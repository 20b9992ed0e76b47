"""Datagrams in another host's name: the packet's bytes, and a socket that refuses; tests/live sees them arrive."""

from __future__ import annotations

import errno
import socket

import pytest

from sipalg.codec.datagram import UdpPacket, checksums_right, parse_udp
from sipalg.datapath.reply import MARK, Replies, packet_of
from sipalg.engine.verdict import Endpoint, Reply

REPLY = Reply(b"SIP/2.0 488 x", Endpoint("203.0.113.50", 5060), Endpoint("192.168.33.20", 5070))


class FakeSocket:
    """Stands for the kernel's end; `refused` are the names of calls that fail."""

    def __init__(self, *kind: int) -> None:
        self.calls: list[tuple[object, ...]] = [("socket", *kind)]
        made.append(self)
        if "socket" in refused:
            raise OSError(errno.EPERM, "not permitted")

    def setblocking(self, _blocking: bool) -> None: ...

    def setsockopt(self, *option: int) -> None:
        if "setsockopt" in refused:
            raise OSError(errno.EPERM, "not permitted")
        self.calls.append(option)

    def sendto(self, packet: bytes, address: tuple[str, int]) -> int:
        self.calls.append((packet, address))
        return len(packet)

    def close(self) -> None:
        self.calls.append(("close",))


made: list[FakeSocket] = []
refused: set[str] = set()


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    made.clear()
    refused.clear()
    monkeypatch.setattr(socket, "socket", FakeSocket)


def test_a_reply_is_one_whole_datagram_with_right_checksums() -> None:
    packet = packet_of(REPLY)
    assert checksums_right(packet)
    assert parse_udp(packet) == UdpPacket(REPLY.source, REPLY.destination, REPLY.payload)


def test_what_fits_no_packet_is_refused() -> None:
    assert len(packet_of(REPLY._replace(payload=bytes(65507)))) == 65535
    with pytest.raises(OSError, match="fits no packet"):
        packet_of(REPLY._replace(payload=bytes(65508)))


def test_replies_are_raw_marked_and_go_to_the_host() -> None:
    with Replies() as replies:
        replies.send(REPLY)
        replies.send(REPLY)
    (fake_socket,) = made
    assert fake_socket.calls[0][2:] == (socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    assert fake_socket.calls[1] == (socket.SOL_SOCKET, socket.SO_MARK, MARK)
    assert fake_socket.calls[2] == fake_socket.calls[3] == (packet_of(REPLY), ("192.168.33.20", 0))
    assert fake_socket.calls[4:] == [("close",)]


@pytest.mark.parametrize("call", ["socket", "setsockopt"])
def test_without_the_right_to_each_reply_fails_until_it_is_there(call: str) -> None:
    refused.add(call)
    replies = Replies()
    with pytest.raises(OSError, match="not permitted"):
        replies.send(REPLY)
    refused.clear()
    replies.send(REPLY)
    assert made[-1].calls[-1] == (packet_of(REPLY), ("192.168.33.20", 0))
    replies.close()
    replies.close()
    assert made[-1].calls.count(("close",)) == 1


def test_none_is_made_over_ipv6() -> None:
    with pytest.raises(OSError, match="no reply is made over IPv6"):
        packet_of(Reply(b"x", Endpoint("2001:db8::1", 5060), Endpoint("2001:db8::2", 5060)))
