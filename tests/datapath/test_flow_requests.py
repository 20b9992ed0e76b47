from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from socket import AF_INET6, inet_aton, inet_pton

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath import ctnetlink, flow_requests, netlink
from sipalg.datapath.ctnetlink import decode_entry
from sipalg.datapath.flow_requests import FlowSocket, patched, patched_plainly, spelled_out, whole_seconds
from sipalg.engine.verdict import TCP, UDP, Endpoint, Flow

P, N, S = Endpoint("192.168.20.2", 10000), Endpoint("203.0.113.1", 19032), Endpoint("203.0.113.50", 4000)
FLOW = Flow(UDP, P, N, S)
P6, N6, S6 = Endpoint("2001:db8:1::2", 10000), Endpoint("2001:db8::1", 19032), Endpoint("2001:db8:5::50", 4000)
FLOW6 = Flow(UDP, P6, N6, S6)
ENDPOINTS = st.builds(Endpoint, st.ip_addresses(v=4).map(str), st.integers(0, 65535))


def test_what_goes_out_comes_back() -> None:
    entry = decode_entry(flow_requests.create(FLOW, 60, fixed=False).body)
    assert entry is not None
    assert entry[:5] == (UDP, P, S, S, P)  # the kernel makes the public end from the NAT part
    assert (entry.status, entry.timeout_s) == (0xE, 60)
    fixed = decode_entry(flow_requests.create(FLOW._replace(protocol=TCP), 60, fixed=True).body)
    assert fixed is not None
    assert fixed.status == 0x40E


def test_source_nat_has_one_address_and_one_port() -> None:
    nat = netlink.attributes(flow_requests.create(FLOW, 60, fixed=False).body, 4)[6]
    assert nat == b"".join((
        *(netlink.attribute(kind, inet_aton(N.host)) for kind in (1, 2)),
        netlink.nested(3, netlink.u16(1, N.port), netlink.u16(2, N.port)),
    ))


@pytest.mark.parametrize("patch", [patched, patched_plainly])
@given(ENDPOINTS, ENDPOINTS, ENDPOINTS, st.floats(0, 1e10), st.booleans(), st.booleans())
def test_a_form_with_other_values_is_what_is_spelled_out(
    patch: Callable[[bytes, Flow, int], bytes | None],
    p: Endpoint,
    n: Endpoint,
    s: Endpoint,
    timeout_s: float,
    fixed: bool,
    as_it_is: bool,
) -> None:
    flow = Flow(UDP, p, p if as_it_is else n, s)
    form = spelled_out(FLOW if flow.public != p else FLOW._replace(public=P), 1, fixed).body
    expected = spelled_out(flow, timeout_s, fixed)
    assert patch(form, flow, whole_seconds(timeout_s)) == expected.body
    assert flow_requests.create(flow, timeout_s, fixed) == expected
    assert flow_requests.create(flow._replace(protocol=TCP), 9, fixed) == spelled_out(
        flow._replace(protocol=TCP), 9, fixed
    )
    asked = netlink.nfnetlink(1, 2, 0, ctnetlink.encode_tuple(1, UDP, p, s), family=2)
    assert flow_requests.delete_flow(flow) == asked
    assert patch(flow_requests.delete_flow(FLOW).body, flow, 0) == asked.body


@pytest.mark.parametrize(("timeout_s", "whole"), [(0, 1), (-5, 1), (59.6, 60), (1e12, 0x7FFFFFFF)])
def test_timeouts_are_whole_seconds(timeout_s: float, whole: int) -> None:
    assert whole_seconds(timeout_s) == whole


@pytest.mark.parametrize(("public", "translated_at_all"), [(N6, True), (P6, False)])
def test_ipv6_goes_out_and_comes_back(public: Endpoint, translated_at_all: bool) -> None:
    message = flow_requests.create(Flow(UDP, P6, public, S6), 60, fixed=False)
    assert message.body[0] == AF_INET6
    entry = decode_entry(message.body)
    assert entry is not None
    assert entry[:5] == (UDP, P6, S6, S6, P6)
    nat = netlink.attributes(message.body, 4).get(6)
    assert (nat is not None) is translated_at_all
    if nat is not None:
        lowest, highest = (netlink.attributes(nat)[kind] for kind in (4, 5))
        assert lowest == highest == inet_pton(AF_INET6, N6.host)
    asked = (ctnetlink.get(UDP, P6, S6), ctnetlink.delete(entry), flow_requests.change_timeout(FLOW6, 9))
    for other in (*asked, flow_requests.delete_flow(FLOW6)):
        assert other.body[0] == AF_INET6


class Ends:
    """Stands where the socket was: what is sent is kept, and what waits is what is told."""

    def __init__(self, *waiting: bytes) -> None:
        self.sent = b""
        self._here, self._there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._waiting = waiting

    def send(self, data: bytes) -> None:
        self.sent += data
        for answer in self._waiting:
            self._there.send(answer)

    def recv(self, size: int, flags: int) -> bytes:
        return self._here.recv(size, flags)

    def fileno(self) -> int:
        return self._here.fileno()

    def close(self) -> None:
        self._here.close()
        self._there.close()


@pytest.mark.parametrize("refused", [False, True])
def test_of_several_requests_those_that_were_refused_are_told(refused: bool) -> None:
    error = netlink.Message(netlink.ERROR, 0, struct.pack("=i", -errno.EEXIST) + bytes(16))
    ends = Ends(*[netlink.encode(error, 2)] * refused)
    made = FlowSocket()
    made._socket.close()
    made._socket = ends  # type: ignore[assignment]
    with made:
        messages = [flow_requests.create(FLOW, 60, fixed=False), flow_requests.delete_flow(FLOW)]
        found = made.refusals(messages)
    assert {index: one.errno for index, one in found.items()} == ({1: errno.EEXIST} if refused else {})
    assert ends.sent == b"".join(
        netlink.encode(message, place, netlink.REQUEST) for place, message in enumerate(messages, 1)
    )


@pytest.mark.interpreted
def test_the_error_of_a_socket_is_told() -> None:
    made = FlowSocket()
    made.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        made.refusals([flow_requests.delete_flow(FLOW)])


@pytest.mark.parametrize("place", [1, 2, 3])
def test_no_address_is_no_request(place: int) -> None:
    flow = Flow(UDP, *(Endpoint("example.org", 1) if at == place else end for at, end in enumerate((P, N, S), 1)))
    with pytest.raises(OSError, match="illegal IP address"):
        flow_requests.create(flow, 60, fixed=False)
