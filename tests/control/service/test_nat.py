"""What the table does, as rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from sipalg.control.service.nat import nat
from sipalg.engine.alg import Alg
from sipalg.engine.existing import Restored
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import UDP, Endpoint, Mapping

PHONE, PUBLIC = Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.1", 5062)
RTP, PUBLIC_RTP = Endpoint("192.168.33.10", 10000), Endpoint("203.0.113.1", 16384)
SETTINGS = Settings(frozenset({"lan0"}), PUBLIC.host, PUBLIC.host)


def rows(settings: Settings, purpose: str = "sip") -> list[dict[str, Any]]:
    alg = Alg(settings, lambda *_: False)
    if purpose == "sip":
        peers = ("198.51.100.9", "198.51.100.10")
        alg.restore([Restored(Mapping(UDP, PHONE, PUBLIC, "sip"), 60.0, "lan0", peers)], 0.0)
    elif purpose == "media":
        alg.restore([Restored(Mapping(UDP, RTP, PUBLIC_RTP, "media"), 60.0, "lan0")], 0.0)
    else:
        alg.adopt(Mapping(UDP, PHONE, PUBLIC, "sip", adopted=True), 0.0, "lan0")
    return [row for piece in nat(alg, "wan0") for row in piece]


def test_a_mapping_pins_what_leaves_and_lets_its_peers_in() -> None:
    out, first, second = rows(SETTINGS)
    assert out == {
        "chain": "srcnat", "action": "src-nat", "protocol": "udp", "src_address": PHONE.host, "src_port": "5060",
        "out_interface": "wan0", "to_addresses": PUBLIC.host, "to_ports": "5062", "comment": "sip",
    }  # fmt: skip
    assert first == {
        "chain": "dstnat", "action": "dst-nat", "protocol": "udp", "src_address": "198.51.100.9",
        "dst_address": PUBLIC.host, "dst_port": "5062", "in_interface": "wan0", "to_addresses": PHONE.host,
        "to_ports": "5060", "comment": "sip",
    }  # fmt: skip
    assert second == {**first, "src_address": "198.51.100.10"}


def test_who_else_is_let_in() -> None:
    trusted = rows(replace(SETTINGS, trusted_peers=(IPv4Network("192.0.2.0/24"),)))
    assert [row.get("src_address_list") for row in trusted] == [None, None, None, "trusted-peers"]
    anybody = rows(replace(SETTINGS, direct_signalling=True))
    assert len(anybody) == 2
    assert "src_address" not in anybody[1]
    media = rows(SETTINGS, "media")
    assert len(media) == 2
    assert (media[1]["dst_port"], media[1]["comment"]) == ("16384", "media")
    assert "src_address" not in media[1]


def test_without_direct_media_a_calls_media_come_from_its_own_addresses() -> None:
    alg = Alg(replace(SETTINGS, direct_media=False, trusted_peers=(IPv4Network("192.0.2.0/24"),)), lambda *_: False)
    alg.restore([Restored(Mapping(UDP, RTP, PUBLIC_RTP, "media"), 60.0, "lan0", ("198.51.100.9",))], 0.0)
    _, row = (row for piece in nat(alg, "wan0") for row in piece)
    assert (row["action"], row["src_address"]) == ("dst-nat", "198.51.100.9")
    alg.restore([Restored(Mapping(UDP, PHONE, PUBLIC, "direct"), 60.0, "lan0")], 0.0)
    direct = [row for piece in nat(alg, "wan0") for row in piece if row["comment"] == "direct"]
    assert [row["action"] for row in direct] == ["src-nat"]


def test_with_media_filter_media_come_from_anybody_until_the_answer() -> None:
    for peer, shown in (("0.0.0" + ".0", None), ("198.51.100.9", "198.51.100.9")):
        alg = Alg(replace(SETTINGS, media_filter=True), lambda *_: False)
        alg.restore([Restored(Mapping(UDP, RTP, PUBLIC_RTP, "media"), 60.0, "lan0", (peer,))], 0.0)
        _, row = (row for piece in nat(alg, "wan0") for row in piece)
        assert row.get("src_address") == shown


def test_what_is_not_translated_comes_first_and_a_forward_lets_in_by_itself() -> None:
    accept, out = rows(replace(SETTINGS, exempt=(IPv4Network("10.0.0.0/8"),)), "adopted")
    assert accept == {
        "chain": "srcnat", "action": "accept", "dst_address": "10.0.0.0/8", "out_interface": "wan0",
        "comment": "except",
    }  # fmt: skip
    assert out["action"] == "src-nat"
