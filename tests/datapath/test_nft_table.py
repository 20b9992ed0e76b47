from __future__ import annotations

import errno
import math
import struct
from collections.abc import Callable, Sequence

import pytest

from sipalg.datapath import netlink, nft_codec, nft_family, nft_table
from sipalg.datapath.netlink import Message, NetlinkError
from sipalg.datapath.nft_elements import Elements, StandingMapping, StandingPeer
from sipalg.datapath.nft_family import IPV6
from sipalg.datapath.nft_features import Features
from sipalg.datapath.nft_rules import TableSettings
from sipalg.datapath.nft_steps import MapCommand
from sipalg.datapath.nft_table import NftTable
from sipalg.engine.verdict import (
    UDP,
    AdmitPeer,
    CloseMapping,
    DismissPeer,
    Endpoint,
    Mapping,
    OpenMapping,
    Purpose,
    RefreshMapping,
)

SETTINGS = TableSettings("wan0", ("lan0",))
FEATURES = Features(
    owner_persist=True, queue_expression=False, ct_timeout=True, route_ipsec=True, secpath=True, timeout_update=True
)
SIP = Mapping(UDP, Endpoint("192.168.20.9", 5060), Endpoint("203.0.113.1", 1024), "sip")
MEDIA = Mapping(UDP, Endpoint("192.168.20.9", 9000), Endpoint("203.0.113.1", 19032), "media")

SIX = Endpoint("2001:db8:1::9", 5060)
PEER6 = bytes.fromhex("20010db8000000000000000000000009")
SIP6 = Mapping(UDP, SIX, Endpoint("2001:db8::1", 1024), "sip")

#: What an element's message does, in one word each: its set, + new and alone, = new or the same, - deleted.
Word = str


def word(message: Message) -> Word:
    kind = message.kind & 0xFF
    name = netlink.string(netlink.attributes(message.body, 4)[2])
    if kind == nft_codec.DELETE_ELEMENT:
        return f"-{name}"
    return ("+" if message.flags & netlink.EXCLUSIVE else "=") + name


class FakeKernel:
    """Answers each transaction by `answer`, which sees its messages, and each request from `found`, by its type."""

    port_id = 1

    def __init__(self) -> None:
        self.transactions: list[list[Message]] = []
        self.committed: list[bool] = []
        self.answer: Callable[[Sequence[Message]], dict[int, int]] = lambda _: {}
        self.found: dict[object, list[Message]] = {}
        self.closed = False

    def attempt(self, messages: Sequence[Message], commit: bool = True) -> dict[int, NetlinkError]:
        self.transactions.append(list(messages))
        self.committed.append(commit)
        return {index: NetlinkError(code, index) for index, code in self.answer(messages).items()}

    def transaction(self, messages: Sequence[Message]) -> None:
        assert self.attempt(messages) == {}

    def request(self, message: Message) -> list[Message]:
        kind = message.kind & 0xFF
        parts = netlink.attributes(message.body, 4)
        if kind == nft_codec.GET_TABLE:
            if kind not in self.found or message.body[0] != self.found[kind][0].body[0]:
                raise NetlinkError(errno.ENOENT)
            return self.found[kind]
        key = netlink.string(parts[2]) if kind == nft_codec.GET_ELEMENT else netlink.number(parts[3])
        return self.found.get(key, [])

    def close(self) -> None:
        self.closed = True

    def words(self, which: int = -1) -> list[Word]:
        kinds = {nft_codec.NEW_ELEMENT, nft_codec.DELETE_ELEMENT}
        return [word(message) for message in self.transactions[which] if message.kind & 0xFF in kinds]


class FakeGuard:
    def __init__(self, table: str, own_port: int) -> None:
        self.watches = (table, own_port)
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    kernel = FakeKernel()
    monkeypatch.setattr(nft_table, "NetlinkSocket", lambda: kernel)
    monkeypatch.setattr(nft_table, "TableGuard", FakeGuard)
    return kernel


@pytest.fixture
def table(kernel: FakeKernel) -> NftTable:
    assert kernel.transactions == []
    return NftTable(SETTINGS, FEATURES)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (OpenMapping(SIP, 9), ["+snat_map", "+dnat_map", "+sip_public", "+sip_private"]),
        (OpenMapping(MEDIA, 9), ["+snat_map", "+media_map"]),
        (OpenMapping(SIP._replace(adopted=True), 9), ["+snat_map", "+sip_private"]),
        (OpenMapping(MEDIA._replace(adopted=True), 9), ["+snat_map"]),
        (OpenMapping(MEDIA._replace(purpose="direct"), 9), ["+snat_map", "+direct_media"]),
        (RefreshMapping(SIP, 9), ["=snat_map", "=dnat_map", "=sip_public", "=sip_private"]),
        (CloseMapping(MEDIA), ["=snat_map", "-snat_map", "=media_map", "-media_map"]),
        (AdmitPeer(SIP, "192.0.2.1", 9), ["=sip_peers"]),
        (DismissPeer(SIP, "192.0.2.1"), ["=sip_peers", "-sip_peers"]),
    ],
)
def test_commands_become_elements(
    table: NftTable, kernel: FakeKernel, command: MapCommand, expected: list[Word]
) -> None:
    table.apply([command])
    assert kernel.words() == expected


def test_an_element_holds_the_mapping_both_ways(table: NftTable, kernel: FakeKernel) -> None:
    table.apply([OpenMapping(SIP, 1.5)])
    private, public = b"\xc0\xa8\x14\x09", b"\xcb\0\x71\x01"
    outward, inward = b"\x11\0\0\0" + private + b"\x13\xc4\0\0", b"\x11\0\0\0" + public + b"\x04\0\0\0"
    wanted = {
        "snat_map": (outward, public + b"\x04\0\0\0"),
        "dnat_map": (inward, private + b"\x13\xc4\0\0"),
        "sip_public": (inward, None),
        "sip_private": (outward, None),
    }
    for message in kernel.transactions[0]:
        found = netlink.attributes(message.body, 4)
        element = netlink.attributes(next(netlink.each_attribute(found[3]))[1])
        key, data = wanted[netlink.string(found[2])]
        assert netlink.attributes(element[1])[1] == key
        assert (netlink.attributes(element[2])[1] if 2 in element else None) == data
        assert element[4] == struct.pack("!Q", 1500)


def test_kernels_that_cannot_renew_delete_and_add(kernel: FakeKernel) -> None:
    table = NftTable(SETTINGS, FEATURES._replace(timeout_update=False))
    table.apply([RefreshMapping(MEDIA, 9)])
    assert kernel.words() == ["=snat_map", "-snat_map", "=snat_map", "=media_map", "-media_map", "=media_map"]


def failing(*words: Word, code: int = errno.EBUSY) -> Callable[[Sequence[Message]], dict[int, int]]:
    def answer(messages: Sequence[Message]) -> dict[int, int]:
        return {index: code for index, message in enumerate(messages) if word(message) in words}

    return answer


def test_what_stands_already_is_renewed_instead_of_opened(table: NftTable, kernel: FakeKernel) -> None:
    kernel.answer = failing("+media_map", code=errno.EEXIST)
    table.apply([OpenMapping(MEDIA, 9)])
    assert kernel.words(0) == ["+snat_map", "+media_map"]
    assert kernel.words(1) == ["=snat_map", "-snat_map", "=snat_map", "=media_map"]


def test_what_stands_with_another_value_fails_with_its_command(table: NftTable, kernel: FakeKernel) -> None:
    kernel.answer = failing("+media_map", "=media_map")
    with pytest.raises(NetlinkError, match="media_map") as caught:
        table.apply([OpenMapping(SIP, 9), OpenMapping(MEDIA, 9)])
    assert (caught.value.errno, caught.value.index) == (errno.EEXIST, 1)


def test_what_belongs_to_another_is_not_closed(table: NftTable, kernel: FakeKernel) -> None:
    kernel.answer = failing("=media_map")
    table.apply([CloseMapping(MEDIA), CloseMapping(SIP)])
    assert kernel.words() == [
        *["=snat_map", "-snat_map"] * 2,
        *["=dnat_map", "-dnat_map", "=sip_public", "-sip_public", "=sip_private", "-sip_private"],
    ]


def test_a_refused_transaction_is_raised_as_it_is(table: NftTable, kernel: FakeKernel) -> None:
    kernel.answer = lambda _: {-1: errno.EPERM}
    with pytest.raises(NetlinkError) as caught:
        table.apply([OpenMapping(SIP, 9)])
    assert (caught.value.errno, caught.value.index) == (errno.EPERM, -1)
    assert len(kernel.transactions) == 1


@pytest.mark.parametrize(
    "command",
    [
        AdmitPeer(SIP, "::1", 9),
        DismissPeer(SIP, "::1"),
        OpenMapping(SIP._replace(public=Endpoint("x", 1)), 9),
        OpenMapping(SIP._replace(public=SIX), 9),
    ],
)
def test_what_is_of_no_one_family_fails_before_anything(
    table: NftTable, kernel: FakeKernel, command: MapCommand
) -> None:
    with pytest.raises(NetlinkError) as caught:
        table.apply([OpenMapping(MEDIA, 9), command])
    assert (caught.value.errno, caught.value.index) == (errno.EAFNOSUPPORT, 1)
    assert kernel.transactions == []


def kinds(messages: Sequence[Message]) -> list[int]:
    return [message.kind & 0xFF for message in messages]


def test_installing_is_one_transaction_with_the_commands_in_it(table: NftTable, kernel: FakeKernel) -> None:
    table.install([OpenMapping(MEDIA, 9)])
    (messages,) = kernel.transactions
    assert kinds(messages)[0] == nft_codec.NEW_TABLE
    assert nft_codec.DELETE_TABLE not in kinds(messages)
    assert [word(message) for message in messages[-2:]] == ["+snat_map", "+media_map"]


@pytest.mark.parametrize(("former", "gone"), [(16, 0), (17, 17)])
def test_timeout_policies_of_former_settings_stay_until_they_are_many(
    table: NftTable, kernel: FakeKernel, former: int, gone: int
) -> None:
    names = ["sip-30-3600", *(f"sip-30-{60 + number}" for number in range(former))]
    kernel.found[nft_codec.CT_TIMEOUT] = [nft_codec.new_object("sipalg", name, nft_codec.CT_TIMEOUT) for name in names]
    table.install()
    deleted = [m for m in kernel.transactions[0] if m.kind & 0xFF == nft_codec.DELETE_OBJECT]
    found = {netlink.string(netlink.attributes(message.body, 4)[2]) for message in deleted}
    assert found == set(names[1 : gone + 1])


def test_kernels_without_timeout_policies_are_not_asked_for_them(kernel: FakeKernel) -> None:
    NftTable(SETTINGS, FEATURES._replace(ct_timeout=False)).install()
    assert nft_codec.DELETE_OBJECT not in kinds(kernel.transactions[0])


def test_a_table_of_another_layout_is_deleted_first(table: NftTable, kernel: FakeKernel) -> None:
    kernel.found[nft_codec.GET_TABLE] = [nft_codec.new_table("sipalg", 0)]
    kernel.answer = lambda messages: {3: errno.EEXIST} if nft_codec.DELETE_TABLE not in kinds(messages) else {}
    table.install([OpenMapping(MEDIA, 9)])
    assert kinds(kernel.transactions[-1])[:2] == [nft_codec.DELETE_TABLE, nft_codec.NEW_TABLE]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EINVAL])
def test_other_failures_of_installing_are_raised(table: NftTable, kernel: FakeKernel, code: int) -> None:
    kernel.answer = lambda _: {0: code, 1: errno.EBUSY}
    with pytest.raises(NetlinkError) as caught:
        table.install()
    assert (caught.value.errno, caught.value.index) == (code, -1)


def test_a_refused_change_keeps_the_settings(table: NftTable, kernel: FakeKernel) -> None:
    other = TableSettings("wan1", ("lan0",))
    kernel.answer = lambda _: {0: errno.EPERM}
    with pytest.raises(NetlinkError):
        table.change(other)
    assert table.settings == SETTINGS
    kernel.answer = lambda _: {}
    table.change(other)
    assert table.settings == other


def test_a_refused_change_never_makes_the_table_anew(table: NftTable, kernel: FakeKernel) -> None:
    kernel.found[nft_codec.GET_TABLE] = [nft_codec.new_table("sipalg", 0)]
    kernel.answer = lambda messages: {3: errno.EBUSY} if nft_codec.DELETE_TABLE not in kinds(messages) else {}
    with pytest.raises(NetlinkError):
        table.change(TableSettings("wan1", ("lan0",)))
    assert nft_codec.DELETE_TABLE not in kinds(kernel.transactions[-1])


def test_serving_is_one_transaction(table: NftTable, kernel: FakeKernel) -> None:
    table.serve()
    (messages,) = kernel.transactions
    assert kinds(messages) == [nft_codec.NEW_ELEMENT, nft_codec.DELETE_ELEMENT, nft_codec.NEW_ELEMENT]


def test_existence_is_asked_of_the_kernel(
    table: NftTable, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not table.exists()
    table.remove()
    assert kernel.transactions == []
    kernel.found[nft_codec.GET_TABLE] = [nft_codec.new_table("sipalg", 0)]
    table.remove()
    assert kinds(kernel.transactions[0]) == [nft_codec.DELETE_TABLE]

    def refuse(_: Message) -> list[Message]:
        raise NetlinkError(errno.EPERM)

    monkeypatch.setattr(kernel, "request", refuse)
    with pytest.raises(NetlinkError):
        table.exists()


def stand(key: bytes, data: bytes | None = None, left_ms: int | None = None, user_data: bytes = b"") -> bytes:
    """Build an element as the kernel lists it."""
    element = nft_codec.element(key, data)[4:]
    if left_ms is not None:
        element += netlink.u64(nft_codec.ELEMENT_EXPIRATION, left_ms)
    if user_data:
        element += netlink.attribute(nft_codec.ELEMENT_USER_DATA, user_data)
    return netlink.nested(1, element)


def listing(name: str, *elements: bytes) -> list[Message]:
    return [nft_codec.elements(nft_codec.NEW_ELEMENT, 0, "sipalg", name, elements)]


def test_mappings_and_peers_are_read_back(table: NftTable, kernel: FakeKernel) -> None:
    assert table.elements() == Elements((), ())
    private, public = b"\xc0\xa8\x14\x09", b"\xcb\0\x71\x01"
    sip_out = b"\x11\0\0\0" + private + b"\x13\xc4\0\0"
    sip_in = b"\x11\0\0\0" + public + b"\x04\0\0\0"
    rtp_out = b"\x11\0\0\0" + private + b"\x23\x28\0\0"
    kernel.found = {
        nft_codec.GET_TABLE: [nft_codec.new_table("sipalg", 0)],
        "snat_map": listing("snat_map", stand(sip_out, sip_in[4:], 2500), stand(rtp_out, public + b"\x4a\x58\0\0"))
        + listing("snat_map", stand(b"short", sip_in[4:]), stand(sip_out, b"short")),
        "dnat_map": listing("dnat_map", stand(sip_in, sip_out[4:], 2500)),
        "sip_private": listing("sip_private", stand(sip_out)),
        "sip_peers": listing("sip_peers", stand(sip_in + b"\xc0\0\2\1", None, 1000), stand(b"short")),
    }
    assert table.elements() == Elements(
        (StandingMapping(SIP, 2.5), StandingMapping(MEDIA._replace(adopted=True), math.inf)),
        (StandingPeer(UDP, SIP.public, "192.0.2.1", 1.0),),
    )


@pytest.mark.parametrize("purpose", ["sip", "media", "direct"])
@pytest.mark.parametrize("adopted", [False, True])
def test_what_a_mapping_is_for_stands_with_it(
    table: NftTable, kernel: FakeKernel, purpose: Purpose, adopted: bool
) -> None:
    mapping = SIP._replace(purpose=purpose, adopted=adopted)
    table.apply([OpenMapping(mapping, 1.5)])
    (message,) = (one for one in kernel.transactions[0] if word(one) == "+snat_map")
    kernel.found = {nft_codec.GET_TABLE: [nft_codec.new_table("sipalg", 0)], "snat_map": [message]}
    assert [one.mapping for one in table.elements().mappings] == [mapping]


def test_where_one_mapping_does_not_say_what_it_is_for_the_other_sets_are_read(
    table: NftTable, kernel: FakeKernel
) -> None:
    out, end = b"\x11\0\0\0\xc0\xa8\x14\x09\x13\xc4\0\0", b"\xcb\0\x71\x01\x04\0\0\0"
    rtp_out, rtp_end = b"\x11\0\0\0\xc0\xa8\x14\x09\x23\x28\0\0", b"\xcb\0\x71\x01\x4a\x58\0\0"
    kernel.found = {
        nft_codec.GET_TABLE: [nft_codec.new_table("sipalg", 0)],
        "snat_map": listing(
            "snat_map", stand(out, end, 2500), stand(rtp_out, rtp_end, 2500, nft_family.KINDS["media", False])
        ),
        "dnat_map": listing("dnat_map", stand(b"\x11\0\0\0" + end, out[4:], 2500)),
        "sip_private": listing("sip_private", stand(out)),
    }
    assert table.elements().mappings == (StandingMapping(SIP, 2.5), StandingMapping(MEDIA, 2.5))


def test_a_mapping_for_direct_media_is_known_by_its_set(
    table: NftTable, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = b"\x11\0\0\0\xc0\xa8\x14\x09\x23\x28\0\0"
    kernel.found = {
        nft_codec.GET_TABLE: [nft_codec.new_table("sipalg", 0)],
        "snat_map": listing("snat_map", stand(out, b"\xcb\0\x71\x01\x4a\x58\0\0", 2500)),
        "direct_media": listing("direct_media", stand(out)),
    }
    assert table.elements().mappings == (StandingMapping(MEDIA._replace(purpose="direct"), 2.5),)
    ask = kernel.request

    def asked(code: int) -> Callable[[Message], list[Message]]:
        def answer(message: Message) -> list[Message]:
            if b"direct_media" in message.body:
                raise NetlinkError(code)
            return ask(message)

        return answer

    # A table of an earlier version has no such set.
    monkeypatch.setattr(kernel, "request", asked(errno.ENOENT))
    assert table.elements().mappings == (StandingMapping(MEDIA._replace(adopted=True), 2.5),)
    monkeypatch.setattr(kernel, "request", asked(errno.EPERM))
    with pytest.raises(NetlinkError):
        table.elements()


def test_the_counters_are_found_by_their_names(table: NftTable, kernel: FakeKernel) -> None:
    assert (table.packets_to_queue(), table.packets_from_strangers()) == (0, 0)
    kernel.found[nft_codec.COUNTER] = [
        nft_codec.new_object("sipalg", "another", nft_codec.COUNTER, netlink.u64(1, 5), netlink.u64(2, 6)),
        nft_codec.new_object("sipalg", "to_queue", nft_codec.COUNTER, netlink.u64(1, 500), netlink.u64(2, 7)),
        nft_codec.new_object("sipalg", "from_strangers", nft_codec.COUNTER, netlink.u64(1, 50), netlink.u64(2, 8)),
    ]
    assert (table.packets_to_queue(), table.packets_from_strangers()) == (7, 8)


def test_only_tables_that_others_can_take_away_have_a_guard(table: NftTable, kernel: FakeKernel) -> None:
    assert table.guard is None
    table.close()
    assert kernel.closed
    unowned = NftTable(SETTINGS, FEATURES._replace(owner_persist=False))
    guard: object = unowned.guard
    assert isinstance(guard, FakeGuard)
    assert guard.watches == ("sipalg", 1)
    unowned.close()
    assert guard.closed


# IPv6


@pytest.fixture
def both(kernel: FakeKernel) -> NftTable:
    assert kernel.transactions == []
    return NftTable(TableSettings("wan0", ("lan0",), ipv6="translated"), FEATURES)


def test_both_families_are_one_transaction(both: NftTable, kernel: FakeKernel) -> None:
    both.install([OpenMapping(SIP, 9), AdmitPeer(SIP6, "2001:db8::9", 9), OpenMapping(SIP6, 9)])
    (messages,) = kernel.transactions
    families = [message.body[0] for message in messages]
    assert kinds(messages).count(nft_codec.NEW_TABLE) == 2
    assert families[-9:] == [2] * 4 + [10] * 5
    peer = netlink.attributes(messages[-5].body, 4)
    assert netlink.string(peer[2]) == "sip_peers"
    key = netlink.attributes(netlink.attributes(next(netlink.each_attribute(peer[3]))[1])[1])[1]
    assert key == (
        b"\x11\0\0\0" + bytes.fromhex("20010db8000000000000000000000001") + b"\x04\0\0\0"
        + PEER6
    )
    both.apply([CloseMapping(SIP6)])
    assert {message.body[0] for message in kernel.transactions[-1]} == {10}
    assert kernel.words()[:2] == ["=snat_map", "-snat_map"]


def test_ipv6_mappings_are_read_back_and_counted(both: NftTable, kernel: FakeKernel) -> None:
    private, public = SIX, SIP6.public
    key = b"\x11\0\0\0" + bytes.fromhex("20010db8000100000000000000000009") + b"\x13\xc4\0\0"
    end = bytes.fromhex("20010db8000000000000000000000001") + b"\x04\0\0\0"
    inward = b"\x11\0\0\0" + end
    kernel.found = {
        nft_codec.GET_TABLE: [IPV6.message(nft_codec.new_table("sipalg", 0))],
        "snat_map": listing("snat_map", stand(key, end, 2500)),
        "dnat_map": listing("dnat_map", stand(inward, key[4:], 2500)),
        "sip_private": listing("sip_private", stand(key)),
        "sip_peers": listing("sip_peers", stand(inward + PEER6, None, 1000)),
    }
    assert both.elements() == Elements(
        (StandingMapping(Mapping(UDP, private, public, "sip"), 2.5),),
        (StandingPeer(UDP, public, "2001:db8::9", 1.0),),
    )


def test_a_table_of_ipv6_that_is_wanted_no_more_goes(table: NftTable, kernel: FakeKernel) -> None:
    kernel.found[nft_codec.GET_TABLE] = [IPV6.message(nft_codec.new_table("sipalg", 0))]
    table.install()
    first = kernel.transactions[0][0]
    assert (first.kind & 0xFF, first.body[0]) == (nft_codec.DELETE_TABLE, nft_codec.IPV6)


def test_ipv6_that_is_translated_from_now_on_gets_its_table_anew(both: NftTable, kernel: FakeKernel) -> None:
    kernel.found[nft_codec.GET_TABLE] = [IPV6.message(nft_codec.new_table("sipalg", 0))]
    kernel.answer = lambda messages: {8: errno.EINVAL} if nft_codec.DELETE_TABLE not in kinds(messages) else {}
    both.install([OpenMapping(SIP, 9)])
    assert len(kernel.transactions) == 2
    first = kernel.transactions[1][0]
    assert (first.kind & 0xFF, first.body[0]) == (nft_codec.DELETE_TABLE, nft_codec.IPV6)
    assert kinds(kernel.transactions[1]).count(nft_codec.DELETE_TABLE) == 1
