from __future__ import annotations

import pytest
from tests.analysis.exchange import INVITE, OFFER, message, pair_of

from sipalg.analysis.judge_text import Found, judge_text

NEAR, FAR = message(INVITE, OFFER)


def found(before: bytes, after: bytes, *, proxy: bool = False, given: bytes = NEAR) -> list[Found]:
    made = FAR.replace(before, after)
    assert made != FAR
    return list(judge_text(pair_of(given, made), proxy=proxy))


def test_addresses_are_no_business_of_these_rules() -> None:
    assert list(judge_text(pair_of(NEAR, FAR), proxy=False)) == []


def test_a_call_id_is_told_with_both_texts() -> None:
    assert found(b"@192.168.20.100", b"@75.142.151.49") == [
        Found(
            "call-id-changed",
            "Call-ID: 9c8a315e-419d32d1@192.168.20.100 → 9c8a315e-419d32d1@75.142.151.49",
        )
    ]


def test_what_differs_only_in_blanks_is_told_so() -> None:
    assert found(b"CSeq: 101", b"CSeq:  101") == [Found("spaces-changed", "CSeq: only blanks differ in 101 INVITE")]
    assert found(b"\r\nCSeq", b"\r\nX-Alg: 1\r\nCSeq") == [Found("field-added", "X-Alg added: 1")]


def test_a_tag_isnt_told_twice() -> None:
    assert [f.rule for f in found(b";tag=f95367fa52060ce5o0", b";tag=1")] == ["from-tag-changed"]
    assert [f.rule for f in found(b'"David" <sip:525@207', b'"David" <sip:525@208')] == ["from-changed"]


@pytest.mark.parametrize("was", [3, -3])
def test_a_length_that_was_off_before_is_the_senders_doing(was: int) -> None:
    length = len(NEAR.partition(b"\r\n\r\n")[2])
    other = len(FAR.partition(b"\r\n\r\n")[2])
    given = NEAR.replace(b"Length: %d" % length, b"Length: %d" % (length + was))
    stays = FAR.replace(b"Length: %d" % other, b"Length: %d" % (other + was))
    assert list(judge_text(pair_of(given, stays), proxy=False)) == []
    for made in (FAR, FAR.replace(b"Length: %d" % other, b"Length: %d" % (length + was))):
        assert [f.rule for f in judge_text(pair_of(given, made), proxy=False)] == ["content-length-off"]


def test_stray_bytes_that_are_counted_in_are_the_devices_doing() -> None:
    """Over UDP what is behind the body is nobody's (RFC 3261 section 18.3): the sender's length was right."""
    other = len(FAR.partition(b"\r\n\r\n")[2])
    assert list(judge_text(pair_of(NEAR + b"\0\0", FAR + b"\0\0"), proxy=False)) == []
    counted = FAR.replace(b"Length: %d" % other, b"Length: %d" % (other + 2)) + b"\0\0"
    assert list(judge_text(pair_of(NEAR + b"\0\0", counted), proxy=False)) == [
        Found("content-length-wrong", f"it says {other + 2}, the body has {other} bytes and 2 behind it")
    ]


def test_what_a_proxy_may() -> None:
    assert found(b"Max-Forwards: 70", b"Max-Forwards: 69", proxy=True) == []
    assert found(b"\r\nVia", b"\r\nVia: SIP/2.0/UDP k\r\nVia", proxy=True) == []
    assert [f.rule for f in found(b"CSeq: 101", b"CSeq: 102", proxy=True)] == ["cseq-changed"]


def test_credentials_are_computed_over_the_text() -> None:
    given = NEAR.replace(b"\r\nCSeq", b'\r\nAuthorization: Digest uri="sip:192.168.20.100"\r\nCSeq')
    made = given.replace(b'uri="sip:192.168.20.100"', b'uri="sip:75.142.151.49"')
    assert [f.rule for f in judge_text(pair_of(given, made), proxy=False)] == ["authorization-changed"]


def test_ports_and_candidates_in_sdp_are_no_business_of_these_rules() -> None:
    body = b"a=rtcp:9 IN IP4 192.168.20.100\r\na=candidate:1 1 UDP 1 192.168.20.100 9 typ host\r\n"
    other = b"a=rtcp:7 IN IP4 75.142.151.49\r\na=candidate:1 1 UDP 1 75.142.151.49 7 typ host\r\n"
    pairs = pair_of(NEAR + body, FAR + other)
    assert [f.rule for f in judge_text(pairs, proxy=False) if f.rule == "body-changed"] == []


def test_rtcps_port_may_be_told_where_it_isnt_the_next_one() -> None:
    told = FAR.rstrip(b"\r\n") + b"\r\na=rtcp:20005 IN IP4 75.142.151.49\r\n"
    assert [f.rule for f in judge_text(pair_of(NEAR, told), proxy=False)] == ["content-length-wrong"]


def test_a_message_that_the_capture_cut_has_no_length_to_judge() -> None:
    pair = pair_of(NEAR, FAR[:-20])
    assert [f.rule for f in judge_text(pair, proxy=False)] == ["content-length-wrong", "body-changed"]
    cut = pair._replace(after=pair.after._replace(whole=False))
    assert list(judge_text(cut, proxy=False)) == []
