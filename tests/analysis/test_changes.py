from __future__ import annotations

import pytest
from tests.analysis.exchange import REGISTER, heard, message

from sipalg.analysis.changes import Change, changes, kind_of, masked, name_of

NEAR = message(REGISTER)[0]


def differences(pattern: bytes, text: bytes) -> list[tuple[str, str]]:
    made = NEAR.replace(pattern, text)
    assert made != NEAR
    return [(change.key, change.kind) for change in changes(heard(NEAR), heard(made))]


def test_the_same_message_has_no_changes() -> None:
    assert list(changes(heard(NEAR), heard(NEAR))) == []


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (b"Contact: \"David\" <sip:525@192.168.20.100:5060>", b"Contact: \"David\" <sip:525@1.2.3.4:7>",
         [("contact", "address")]),
        (b"Via: SIP/2.0/UDP 192.168.20.100:5060", b"Via: SIP/2.0/UDP 1.2.3.4", [("via", "address")]),
        (b"8fb0e171\r\n", b"8fb0e171;received=1.2.3.4;rport=7\r\n", [("via", "address")]),
        (b"REGISTER sip:207.252.1.148", b"REGISTER sip:1.2.3.4", [("start-line", "address")]),
        (b"CSeq: ", b"CSeq:\t", [("cseq", "space")]),
        (b"CSeq:", b"cseq:", [("cseq", "name")]),
        (b"User-Agent:", b"X-Agent:", [("user-agent", "removed"), ("x-agent", "added")]),
        (b"Max-Forwards: 70\r\n", b"", [("max-forwards", "removed")]),
        (b"1373 REGISTER\r\nMax-Forwards: 70", b"1373 REGISTER", [("max-forwards", "removed")]),
    ],
)
def test_a_change_and_its_kind(pattern: bytes, text: bytes, found: list[tuple[str, str]]) -> None:
    assert differences(pattern, text) == found


def test_fields_that_change_places_are_told_once() -> None:
    swapped = NEAR.replace(b"CSeq: 1373 REGISTER\r\nMax-Forwards: 70", b"Max-Forwards: 70\r\nCSeq: 1373 REGISTER")
    assert list(changes(heard(NEAR), heard(swapped))) == [Change("cseq", "order", b"", b"")]


def test_a_via_on_top_leaves_the_others_where_they_were() -> None:
    made = NEAR.replace(b"\r\nVia:", b"\r\nVia: SIP/2.0/UDP k\r\nVia:")
    assert [(c.key, c.kind, c.after) for c in changes(heard(NEAR), heard(made))] == [
        ("via", "added", b" SIP/2.0/UDP k")
    ]


def test_masked_leaves_names_and_versions_alone() -> None:
    assert masked("contact", b" <sip:a@10.0.0.1:5060>, <sip:a@[::1]:7>") == b"<sip:a@@>, <sip:a@@>"
    assert masked("user-agent", b"x/7.6.2b v1.2.3.4a") == b"x/7.6.2b v1.2.3.4a"
    assert kind_of("contact", b"<sip:a@10.0.0.1>", b"<sip:b@10.0.0.1>") == "text"


def test_names_for_people() -> None:
    names = {"call-id": "Call-ID", "cseq": "CSeq", "x-alg": "X-Alg", "start-line": "the first line"}
    assert name_of("") == "a line without a colon"
    assert {key: name_of(key) for key in names} == names
