"""Where routes lead: the kernel's own answers for this machine, and made up ones. Needs no privileges."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator

import pytest

from sipalg.datapath import netlink
from sipalg.datapath.netlink import Message, NetlinkError
from sipalg.datapath.routes import Routes

LOOPBACK = socket.if_nametoindex("lo")


def route(kind: int = 1, number: int = LOOPBACK, message: int = 24) -> Message:
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 0, 0, 0, kind, 0)
    return Message(message, 0, body + netlink.attribute(4, number.to_bytes(4, sys.byteorder)))


class Asked:
    """A socket that answers as it is told to."""

    def __init__(self, answer: Callable[[Message], list[Message]]) -> None:
        self.request = answer

    def close(self) -> None:
        """Nothing was opened."""


def asking(monkeypatch: pytest.MonkeyPatch, routes: Routes, answer: Callable[[Message], list[Message]]) -> None:
    """Put that in the kernel's place; a method of the compiled class can't be replaced."""
    routes._socket.close()
    monkeypatch.setattr(routes, "_socket", Asked(answer))


@pytest.fixture
def routes() -> Iterator[Routes]:
    with Routes(("lo",)) as made:
        yield made


def test_the_kernel_knows_its_own_address() -> None:
    with Routes(("lo",)) as routes:
        assert not routes.leads_inside("127.0.0.1"), "the router itself is no host inside"
        assert not routes.leads_inside("255.255.255.255")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([route()], True),
        ([route(kind=2)], False),
        ([route(kind=3)], False),
        ([route(message=25)], False),
        ([Message(24, 0, b"short")], False),
        ([route(number=1 << 30)], False),
        ([], False),
    ],
)
def test_a_route_to_one_host_by_an_inside_interface(
    routes: Routes, monkeypatch: pytest.MonkeyPatch, answers: list[Message], expected: bool
) -> None:
    asked: list[Message] = []

    def answer(question: Message) -> list[Message]:
        asked.append(question)
        return answers

    asking(monkeypatch, routes, answer)
    assert routes.leads_inside("192.168.33.10") is expected
    assert asked[0].body[12:] == netlink.attribute(1, bytes((192, 168, 33, 10)))
    monkeypatch.setattr(routes, "_inside", frozenset(("lan0",)))
    assert not routes.leads_inside("192.168.33.10")


def test_without_a_route_nobody_is_inside(routes: Routes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_question: Message) -> list[Message]:
        raise NetlinkError(101)

    asking(monkeypatch, routes, refuse)
    assert not routes.leads_inside("192.168.33.10")


def test_the_way_to_an_ipv6_host_is_asked_for_in_its_family(routes: Routes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Message] = []

    def answer(question: Message) -> list[Message]:
        asked.append(question)
        return [route()]

    asking(monkeypatch, routes, answer)
    assert routes.leads_inside("2001:db8:1::10")
    packed = socket.inet_pton(socket.AF_INET6, "2001:db8:1::10")
    assert asked[0].body[:2] == bytes((socket.AF_INET6, 128))
    assert asked[0].body[12:] == netlink.attribute(1, packed)
