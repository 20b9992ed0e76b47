"""Who sent a capture's packets."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network

from sipalg.capture.senders import Senders

Build = Callable[..., bytes]


def test_inside_senders_are_counted(udp: Build) -> None:
    senders = Senders((IPv4Network("192.168.20.0/24"), IPv4Network("10.0.0.0/8")))
    for source in ("192.168.20.7:1", "10.9.9.9:1", "192.168.21.7:1", "10.9.9.9:2"):
        senders.count(udp(source, "203.0.113.50:5060"))
    assert senders.from_inside == 3


def test_busiest_private_sender_is_named(udp: Build) -> None:
    senders = Senders((IPv4Network("10.0.0.0/8"),))
    for source in ("192.168.20.7:1", "192.168.20.8:1", "192.168.20.8:2", *["203.0.113.50:1"] * 5):
        senders.count(udp(source, "203.0.113.1:5060"))
    assert senders.from_inside == 0
    assert senders.advice() == (
        "no packet comes from --inside 10.0.0.0/8; 192.168.20.8 sent the most with a private address, 2: "
        "is it --inside 192.168.20.0/24?"
    )


def test_capture_without_private_senders_is_said_to_be_of_the_outside() -> None:
    assert Senders((IPv4Network("10.0.0.0/8"),)).advice() == (
        "no packet comes from --inside 10.0.0.0/8, nor from any private address: "
        "give a capture of the router's inside interface"
    )
