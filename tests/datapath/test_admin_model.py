"""What the rules are made of."""

from __future__ import annotations

from sipalg.datapath.admin_model import interface_matches


def test_interface_patterns() -> None:
    assert interface_matches("wan0", "wan0")
    assert not interface_matches("wan", "wan0")
    assert interface_matches("wan*", "wan0")
    assert interface_matches("wan+", "wan0")
