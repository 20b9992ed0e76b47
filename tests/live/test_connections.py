"""What a running ALG tells of the kernel: the flows that it looks after, and what its table does."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from tests.live.router import PHONE, SERVER, Router, exchange, register

from sipalg.control.socket.client import ask
from sipalg.lab.topology import PUBLIC_ADDRESS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]


def told(router: Router, command: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ask(router.socket, command)[command]
    return rows


def test_the_flows_that_conntrack_has(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--sip-timeout", "30m")
    exchange(phone, server, register())
    (row,) = told(router, "connections")
    assert 1790 <= row.pop("timeout_s") <= 1800
    row.pop("orig_packets", None)
    row.pop("repl_packets", None)
    assert row == {
        "protocol": "udp",
        "src": f"{PHONE}:5060",
        "dst": f"{SERVER}:5060",
        "reply_src": f"{SERVER}:5060",
        "reply_dst": f"{PUBLIC_ADDRESS}:5060",
        "flags": ["confirmed", "srcnat"],
        "purpose": "sip",
    }


def test_many_flows_of_others_are_left_out(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run()
    exchange(phone, server, register())
    # More than one buffer of a dump holds.
    with router.net.socket("phone1") as other:
        for port in range(20000, 20400):
            other.sendto(b"x", (SERVER, port))
    assert int(router.net.run("router", "conntrack", "-C")) > 400
    assert [row["src"] for row in told(router, "connections")] == [f"{PHONE}:5060"]


def test_what_the_table_does(router: Router, phone: socket.socket, server: socket.socket) -> None:
    router.run("--except", "10.0.0.0/8")
    exchange(phone, server, register())
    accept, *others, out, back = told(router, "nat")
    assert (accept["action"], accept["dst_address"]) == ("accept", "10.0.0.0/8")
    assert {row["action"] for row in others} <= {"accept"}
    assert (out["action"], out["src_address"], out["to_addresses"], out["to_ports"]) == (
        "src-nat", PHONE, PUBLIC_ADDRESS, "5060",
    )  # fmt: skip
    assert (back["action"], back["src_address"], back["to_addresses"], back["to_ports"]) == (
        "dst-nat", SERVER, PHONE, "5060",
    )  # fmt: skip
    # The elements are there.
    elements = router.net.run("router", "nft", "list", "map", "ip", "sipalg", "snat_map")
    assert f"{PHONE} . 5060" in elements
