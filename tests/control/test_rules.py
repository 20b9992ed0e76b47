"""Whose notification makes the administrator's rules worth reading again."""

from __future__ import annotations

import pytest

from sipalg.control.rules import concerns
from sipalg.datapath import netlink
from sipalg.datapath.netlink import Message, nfnetlink

NF_TABLES = 10
NEW_TABLE, NEW_RULE, NEW_ELEMENT, DELETE_ELEMENT, NEW_GENERATION = 0, 6, 12, 14, 15


def notification(kind: int, *attributes: bytes, subsystem: int = NF_TABLES) -> Message:
    return nfnetlink(subsystem, kind, 0, *attributes)


@pytest.mark.parametrize("kind", [NEW_TABLE, NEW_RULE])
def test_another_tables_rules_do(kind: int) -> None:
    assert concerns(notification(kind, netlink.text(1, "nat")), "sipalg")


@pytest.mark.parametrize(
    "message",
    [
        notification(NEW_RULE, netlink.text(1, "sipalg")),
        notification(NEW_ELEMENT, netlink.text(1, "nat")),
        notification(DELETE_ELEMENT, netlink.text(1, "nat")),
        notification(NEW_GENERATION, netlink.u32(1, 5)),
        notification(NEW_RULE),
        notification(NEW_RULE, netlink.text(1, "nat"), subsystem=1),
    ],
)
def test_ours_and_what_is_no_rule_do_not(message: Message) -> None:
    assert not concerns(message, "sipalg")
