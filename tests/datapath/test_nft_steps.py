from __future__ import annotations

import pytest

from sipalg.datapath import netlink, nft_codec, nft_family
from sipalg.datapath.nft_rules import DIRECT_MEDIA, DNAT_MAP, MEDIA_MAP, SIP_PEERS, SIP_PRIVATE, SIP_PUBLIC, SNAT_MAP
from sipalg.datapath.nft_steps import (
    CLOSE,
    OPEN,
    RENEW,
    REPLACE,
    ElementWriter,
    MapCommand,
    Step,
    steps_of,
    without_what_stands,
)
from sipalg.engine.verdict import (
    UDP,
    AdmitPeer,
    CloseMapping,
    DismissPeer,
    Endpoint,
    Mapping,
    OpenMapping,
    RefreshMapping,
)

PHONE, PUBLIC = Endpoint("192.168.20.9", 9000), Endpoint("203.0.113.1", 19032)
SIP = Mapping(UDP, PHONE, PUBLIC, "sip")
MEDIA = SIP._replace(purpose="media")
OUT = nft_family.key(UDP, bytes((192, 168, 20, 9)), 9000)
IN = nft_family.key(UDP, bytes((203, 0, 113, 1)), 19032)


@pytest.mark.parametrize(
    ("mapping", "sets"),
    [
        (SIP, [(SNAT_MAP, OUT), (DNAT_MAP, IN), (SIP_PUBLIC, IN), (SIP_PRIVATE, OUT)]),
        (MEDIA, [(SNAT_MAP, OUT), (MEDIA_MAP, IN)]),
        (SIP._replace(purpose="direct"), [(SNAT_MAP, OUT), (DIRECT_MEDIA, OUT)]),
        (SIP._replace(adopted=True), [(SNAT_MAP, OUT), (SIP_PRIVATE, OUT)]),
        (MEDIA._replace(adopted=True), [(SNAT_MAP, OUT)]),
    ],
)
@pytest.mark.parametrize(
    ("command", "kind"), [(OpenMapping, OPEN), (RefreshMapping, RENEW), (lambda one, _: CloseMapping(one), CLOSE)]
)
def test_a_mapping_is_an_element_of_each_set_that_its_purpose_needs(
    mapping: Mapping, sets: list[tuple[str, bytes]], command: type[OpenMapping], kind: str
) -> None:
    steps = steps_of(3, command(mapping, 30.0))
    assert [(step.set_name, step.key) for step in steps] == sets
    assert {(step.command, step.kind, step.address_bytes) for step in steps} == {(3, kind, 4)}
    assert {step.timeout_s for step in steps} == ({1.0} if kind == CLOSE else {30.0})
    ends = {SNAT_MAP: PUBLIC, DNAT_MAP: PHONE, MEDIA_MAP: PHONE}
    for step in steps:
        end = ends.get(step.set_name)
        assert step.user_data == (nft_family.KINDS[mapping[3:]] if step.set_name == SNAT_MAP else b"")
        assert step.data == (b"" if end is None else nft_family.end(nft_family.address(end.host), end.port))


def test_a_peer_is_one_element() -> None:
    key = IN + bytes((203, 0, 113, 50))
    assert steps_of(0, AdmitPeer(SIP, "203.0.113.50", 9.0)) == [Step(0, SIP_PEERS, key, b"", 9.0, RENEW, 4)]
    assert steps_of(0, DismissPeer(SIP, "203.0.113.50")) == [Step(0, SIP_PEERS, key, b"", 1.0, CLOSE, 4)]


@pytest.mark.parametrize(
    "command",
    [
        OpenMapping(SIP._replace(private=Endpoint("2001:db8::9", 9000)), 9.0),
        OpenMapping(SIP._replace(public=Endpoint("router", 9000)), 9.0),
        AdmitPeer(SIP, "2001:db8::50", 9.0),
    ],
)
def test_addresses_of_two_families_or_none_are_no_element(command: MapCommand) -> None:
    with pytest.raises(ValueError, match=r"2001|router"):
        steps_of(0, command)


@pytest.mark.parametrize(
    ("kind", "renews", "words"),
    [
        (OPEN, True, "+"),
        (OPEN, False, "+"),
        (RENEW, True, "="),
        (RENEW, False, "=-="),
        (REPLACE, True, "=-="),
        (CLOSE, True, "=-"),
        (CLOSE, False, "=-"),
    ],
)
@pytest.mark.parametrize("host", ["192.168.20.9", "2001:db8::9"])
def test_how_an_element_is_opened_renewed_and_closed(kind: str, renews: bool, words: str, host: str) -> None:
    public = "2001:db8::1" if ":" in host else "203.0.113.1"
    mapping = Mapping(UDP, Endpoint(host, 9000), Endpoint(public, 19032), "media")
    writer = ElementWriter("sipalg", renews)
    for step in steps_of(0, OpenMapping(mapping, 30.0)):
        messages = writer.messages(step._replace(kind=kind))
        told = ""
        for message in messages:
            deletes = message.kind & 0xFF == nft_codec.DELETE_ELEMENT
            told += "-" if deletes else "+" if message.flags & netlink.EXCLUSIVE else "="
            whole = nft_codec.element(step.key, step.data, 30.0, user_data=step.user_data)
            member = nft_codec.element(step.key) if deletes else whole
            family = nft_family.family_of(host)
            made = nft_codec.elements(message.kind & 0xFF, message.flags, "sipalg", step.set_name, [member])
            assert message == family.message(made)
        assert told == words


def test_what_could_not_be_opened_is_renewed_and_what_isnt_ours_stays() -> None:
    open_, renew, close = (Step(0, SNAT_MAP, OUT, b"", 9.0, kind, 4) for kind in (OPEN, RENEW, CLOSE))
    replaced = open_._replace(user_data=b"user")
    assert without_what_stands([replaced], {0}) == [replaced._replace(kind=REPLACE)]
    assert without_what_stands([replaced._replace(kind=REPLACE)], {0}) is None
    assert without_what_stands([open_, close], {0}) == [open_._replace(kind=RENEW), close]
    assert without_what_stands([open_, close], {1}) == [open_._replace(kind=RENEW)]
    assert without_what_stands([open_, renew], {1}) is None
    assert without_what_stands([open_], {-1}) is None
    assert without_what_stands([open_], set()) is None
