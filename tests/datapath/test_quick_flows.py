"""Machine code for flows' requests against the same in Python; `test_flow_requests` compares what it patches."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg import builds
from sipalg.codec.machine import machine_code
from sipalg.datapath import flow_requests
from sipalg.datapath.netlink import Message, encode
from sipalg.engine.verdict import UDP, Endpoint, Flow

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

P, N, S = Endpoint("192.168.20.2", 10000), Endpoint("203.0.113.1", 19032), Endpoint("203.0.113.50", 4000)


def machine(name: str) -> Callable[..., Any]:
    function = machine_code("sipalg.datapath.quick_flows", name)
    assert function is not None
    return function


@given(
    st.lists(st.builds(Message, st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=40), st.just(0))),
    st.integers(1, 0xFFFF0000),
)
def test_messages_are_joined_as_they_are_encoded(messages: list[Message], first: int) -> None:
    expected = b"".join(encode(message, first + place, 5) for place, message in enumerate(messages))
    assert machine("joined")(messages, first, 5) == expected


@pytest.mark.parametrize("place", [1, 2, 3])
def test_what_is_not_ipv4_is_for_others_to_spell(place: int) -> None:
    flow = Flow(UDP, *(Endpoint("2001:db8::1", 1) if at == place else end for at, end in enumerate((P, N, S), 1)))
    assert machine("patched")(flow_requests.create(Flow(UDP, P, N, S), 60, fixed=False).body, flow, 60) is None


def test_it_tells_whether_something_waits_and_takes_nothing() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        assert machine("waits")(here.fileno()) == 0
        there.send(b"x")
        assert machine("waits")(here.fileno()) == 1
        assert machine("waits")(here.fileno()) == 1
        assert here.recv(9) == b"x"
        assert machine("waits")(here.fileno()) == 0
    assert machine("waits")(-1) == -errno.EBADF
