from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from sipalg.analysis.diagnose.networks import Networks


@pytest.mark.parametrize(
    ("host", "inside", "private"),
    [
        ("192.168.20.100", True, True),
        ("10.1.2.3", True, True),
        ("172.32.0.1", False, False),
        ("100.64.0.1", False, True),
        ("127.0.0.1", False, True),
        ("203.0.113.1", False, False),
        ("phone.lan", False, False),
        ("[2001:db8::1]", False, False),
        ("", False, False),
    ],
)
def test_rfc_1918_is_inside_if_nothing_else_is_said(host: str, inside: bool, private: bool) -> None:
    networks = Networks()
    assert (networks.is_inside(host), networks.is_private(host)) == (inside, private)


def test_what_is_said_to_be_inside_is_all_that_is_and_no_public_address_becomes_private() -> None:
    networks = Networks((IPv4Network("203.0.113.0/24"),))
    assert networks.is_inside("203.0.113.1")
    assert not networks.is_private("203.0.113.1")
    assert not networks.is_inside("10.0.0.1")
    assert networks.is_private("10.0.0.1")
