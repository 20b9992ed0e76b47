from __future__ import annotations

import struct

import pytest

from sipalg.datapath import netlink, nft_codec
from sipalg.datapath.netlink import CREATE, DUMP, Message

KEY, DATA = bytes(range(12)), bytes(range(8))


def read(message: Message) -> dict[int, bytes]:
    assert message.kind >> 8 == 10
    assert message.body[:4] == b"\2\0\0\0"
    return netlink.attributes(message.body, 4)


def expression(data: bytes) -> tuple[str, dict[int, bytes]]:
    """Give the name and the attributes of one expression as a rule lists it."""
    ((kind, value),) = netlink.each_attribute(data)
    assert kind == 1
    parts = netlink.attributes(value)
    return netlink.string(parts[1]), netlink.attributes(parts[2])


def test_tables() -> None:
    made = nft_codec.new_table("t", nft_codec.OWNER | nft_codec.PERSIST)
    assert (made.kind & 0xFF, made.flags) == (0, CREATE)
    assert read(made) == {1: b"t\0", 2: b"\0\0\0\6"}
    assert nft_codec.delete_table("t").kind & 0xFF == 2
    assert nft_codec.get_table("t").kind & 0xFF == 1


def test_chains() -> None:
    base = read(nft_codec.new_base_chain("t", "c", "nat", 4, -99))
    assert netlink.attributes(base[4]) == {1: b"\0\0\0\4", 2: b"\xff\xff\xff\x9d"}
    assert (base[3], base[5], base[7]) == (b"c\0", b"\0\0\0\1", b"nat\0")
    assert read(nft_codec.new_chain("t", "c")) == {1: b"t\0", 3: b"c\0"}
    assert read(nft_codec.flush_chain("t", "c")) == {1: b"t\0", 2: b"c\0"}


def test_a_rule_is_appended_with_its_comment() -> None:
    rule = nft_codec.new_rule("t", "c", (nft_codec.jump("d"), nft_codec.leave()), "why")
    assert rule.flags == CREATE | netlink.APPEND
    found = read(rule)
    assert found[7] == b"\0\4why\0"
    assert [netlink.string(netlink.attributes(value)[1]) for _, value in netlink.each_attribute(found[4])] == [
        "immediate",
        "immediate",
    ]


def test_sets_and_maps() -> None:
    plain = read(nft_codec.new_set("t", "s", 3, nft_codec.TIMEOUT, (nft_codec.PORT, 2)))
    assert plain == {1: b"t\0", 2: b"s\0", 3: b"\0\0\0\x10", 4: b"\0\0\0\x0d", 5: b"\0\0\0\2", 10: b"\0\0\0\3"}
    mapped = read(nft_codec.new_set("t", "m", 4, nft_codec.MAP, (nft_codec.PORT, 2), (nft_codec.IPV4_ADDRESS, 4)))
    assert (mapped[6], mapped[7]) == (b"\0\0\0\7", b"\0\0\0\4")
    # Without this a listing shows interface names backwards.
    assert 13 in read(nft_codec.new_set("t", "i", 5, 0, (nft_codec.INTERFACE_NAME, 16)))
    assert read(nft_codec.flush_set("t", "s")) == {1: b"t\0", 2: b"s\0"}
    assert nft_codec.get_elements("t", "s").flags == DUMP


def test_a_concatenation_has_six_bits_for_each_type() -> None:
    assert nft_codec.concatenated(12, 7, 13) == 12 << 12 | 7 << 6 | 13


def test_elements() -> None:
    def parts(data: bytes) -> dict[int, bytes]:
        return netlink.attributes(next(netlink.each_attribute(data))[1])

    assert parts(nft_codec.element(b"key!")) == {1: netlink.attribute(1, b"key!")}
    full = parts(nft_codec.element(b"key!", b"data", 1.5))
    assert (full[2], full[4]) == (netlink.attribute(1, b"data"), struct.pack("!Q", 1500))
    assert parts(nft_codec.element(b"key!", timeout_s=0.0001))[4] == struct.pack("!Q", 1)
    assert parts(nft_codec.element(b"key!", end=True))[3] == b"\0\0\0\1"


def test_objects() -> None:
    timeouts = nft_codec.udp_timeouts(30.9, 3600)
    made = read(nft_codec.new_object("t", "o", nft_codec.CT_TIMEOUT, *timeouts))
    assert (made[2], made[3]) == (b"o\0", b"\0\0\0\7")
    data = netlink.attributes(made[4])
    assert (data[1], data[2]) == (b"\0\2", b"\x11")
    assert netlink.attributes(data[3]) == {1: struct.pack("!I", 30), 2: struct.pack("!I", 3600)}
    assert read(nft_codec.delete_object("t", "o", 7))[3] == b"\0\0\0\7"
    assert nft_codec.get_objects("t", 7).flags == DUMP


REGISTER_0, REGISTER_1 = b"\0\0\0\x08", b"\0\0\0\x09"


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (nft_codec.load_meta(16, 1), "meta", {1: REGISTER_1, 2: b"\0\0\0\x10"}),
        (
            nft_codec.load_payload(2, 0, 2, 1),
            "payload",
            {1: REGISTER_1, 2: b"\0\0\0\2", 3: bytes(4), 4: b"\0\0\0\2"},
        ),
        (nft_codec.load_ct(2), "ct", {1: REGISTER_0, 2: b"\0\0\0\2"}),
        (nft_codec.load_route(4), "rt", {1: REGISTER_0, 2: b"\0\0\0\4"}),
        (nft_codec.is_equal(b"\1"), "cmp", {1: REGISTER_0, 2: bytes(4), 3: netlink.attribute(1, b"\1")}),
        (nft_codec.is_not_equal(b"\1"), "cmp", {1: REGISTER_0, 2: b"\0\0\0\1", 3: netlink.attribute(1, b"\1")}),
        (nft_codec.is_in("s"), "lookup", {1: b"s\0", 2: REGISTER_0}),
        (nft_codec.is_in("s", invert=True), "lookup", {1: b"s\0", 2: REGISTER_0, 5: b"\0\0\0\1"}),
        (nft_codec.look_up("m"), "lookup", {1: b"m\0", 2: REGISTER_0, 3: REGISTER_0}),
        (
            nft_codec.translate(destination=True),
            "nat",
            {1: b"\0\0\0\1", 2: b"\0\0\0\2", 3: REGISTER_0, 5: REGISTER_1},
        ),
        (nft_codec.translate(destination=False), "nat", {1: bytes(4), 2: b"\0\0\0\2", 3: REGISTER_0, 5: REGISTER_1}),
        (nft_codec.use_object(7, "o"), "objref", {1: b"\0\0\0\7", 2: b"o\0"}),
        (nft_codec.drop(), "immediate", {1: b"\0\0\0\0", 2: netlink.nested(2, netlink.attribute(1, bytes(4)))}),
        (nft_codec.queue(77, bypass=True), "queue", {1: b"\0\x4d", 2: b"\0\1", 3: b"\0\1"}),
        (nft_codec.queue(77, 8, bypass=False), "queue", {1: b"\0\x4d", 2: b"\0\x08", 3: b"\0\0"}),
        *(
            (
                nft_codec.xt_queue(77, count, bypass=bypass),
                "target",
                {1: b"NFQUEUE\0", 2: b"\0\0\0\3", 3: struct.pack("=HHHH", 77, count, bypass, 0)},
            )
            for count, bypass in ((1, True), (8, False))
        ),
    ],
)
def test_expressions(data: bytes, name: str, expected: dict[int, bytes]) -> None:
    assert expression(data) == (name, expected)


def test_a_mask_keeps_bits_in_the_machines_order() -> None:
    name, found = expression(nft_codec.mask(0x20))
    assert name == "bitwise"
    assert netlink.attributes(found[4]) == {1: struct.pack("=I", 0x20)}
    assert netlink.attributes(found[5]) == {1: bytes(4)}


@pytest.mark.parametrize(
    ("data", "code", "chain"),
    [(nft_codec.jump("c"), -3, b"c\0"), (nft_codec.goto("c"), -4, b"c\0"), (nft_codec.leave(), -5, None)],
)
def test_verdicts(data: bytes, code: int, chain: bytes | None) -> None:
    name, found = expression(data)
    assert name == "immediate"
    verdict = netlink.attributes(netlink.attributes(found[2])[2])
    assert verdict.get(1) == struct.pack("!i", code)
    assert verdict.get(2) == chain
