"""The lab's namespaces: who reaches whom, several labs at once, and nothing left behind."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipalg.lab import topology
from sipalg.lab.topology import (
    ADDRESS,
    NETNS_DIRECTORY,
    OTHER_PUBLIC_ADDRESS,
    PUBLIC_ADDRESS,
    LabError,
    Topology,
    may_administer,
    namespaces_refused,
)

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]


def arrives(net: Topology, source: str, target: str, address: str = "") -> bool:
    """Send one datagram from host to host; did it arrive?"""
    with net.socket(target) as receiver, net.socket(source) as sender:
        receiver.bind(("", 4711))
        receiver.settimeout(0.3)
        try:
            sender.sendto(b"there", (address or ADDRESS[target], 4711))
            return receiver.recv(100) == b"there"
        except OSError:
            return False


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology() as topology:
        yield topology


def test_phones_reach_each_other_and_the_outside(net: Topology) -> None:
    assert arrives(net, "phone1", "phone2")
    assert arrives(net, "phone1", "phone4")
    assert arrives(net, "phone1", "server")
    assert arrives(net, "phone1", "site")


def test_the_outside_knows_no_private_address(net: Topology) -> None:
    assert not arrives(net, "server", "phone1")
    assert not arrives(net, "far1", "site")
    assert arrives(net, "site", "phone1")


def test_the_caller_stays_in_its_own_namespace(net: Topology) -> None:
    before = Path("/proc/thread-self/ns/net").readlink()
    with net.socket("phone1") as made:
        made.bind(("192.168.33.10", 0))
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_a_failing_program_is_one_line(net: Topology) -> None:
    with pytest.raises(LabError, match=r"^ip netns exec .* false: exit code 1$"):
        net.run("phone1", "false")
    assert net.run("phone1", "false", check=False) == ""
    with pytest.raises(LabError, match="no socket on nobody"):
        net.socket("nobody")


def test_timeouts_are_this_router_s_own(net: Topology) -> None:
    path = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream"
    net.set_timeouts(3, 5)
    assert net.run("router", "cat", path).strip() == "5"
    assert net.run("server", "cat", path).strip() != "5"


def test_another_outside_address() -> None:
    with Topology(("phone1", "server")) as net:
        net.change_public_address(OTHER_PUBLIC_ADDRESS)
        shown = net.run("router", "ip", "-4", "address", "show", "dev", "wan0")
        assert OTHER_PUBLIC_ADDRESS in shown
        assert f"{PUBLIC_ADDRESS}/" not in shown
        assert arrives(net, "phone1", "server")


def test_two_labs_at_once_and_nothing_left() -> None:
    before = {entry.name for entry in NETNS_DIRECTORY.iterdir()} if NETNS_DIRECTORY.exists() else set()
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout
    with Topology(("phone1", "server")) as one, Topology(("phone1", "server")) as two:
        assert one.prefix != two.prefix
        assert arrives(one, "phone1", "server")
        assert arrives(two, "phone1", "server")
        assert subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout == links
        directory = one.directory
        (directory / "file").write_text("x")
    assert not directory.exists()
    left = {entry.name for entry in NETNS_DIRECTORY.iterdir()} - before
    assert not {name for name in left if name.startswith((one.prefix, two.prefix))}


def test_an_error_on_the_way_up_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[str]:
        raise LabError("on purpose")

    monkeypatch.setattr(Topology, "_host_lines", fail)
    net = Topology(("phone1",))
    with pytest.raises(LabError, match="on purpose"):
        net.__enter__()
    assert not net.directory.exists()
    assert not [entry for entry in NETNS_DIRECTORY.iterdir() if entry.name.startswith(net.prefix)]


def test_without_root_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "may_administer", lambda: False)
    assert "need root" in namespaces_refused()


def test_rights_are_read_from_the_kernel() -> None:
    assert may_administer()
    assert may_administer("Name:\tx\nCapEff:\t0000000000201000\n")
    assert not may_administer("CapEff:\t0000000000200000\n")
    assert not may_administer("CapEff:\t0000000000001000\n")
    assert not may_administer("")


def test_a_socket_may_be_a_stream(net: Topology) -> None:
    with net.socket("server", socket.SOCK_STREAM) as made:
        assert made.type == socket.SOCK_STREAM
