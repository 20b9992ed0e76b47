from __future__ import annotations

import pytest
from tests.analysis.exchange import INVITE, OFFER, heard, message, pair_of

from sipalg.analysis.judge_sdp import Section, description_of, judge_sdp, sections_of
from sipalg.analysis.pairing import BY_PHONE

TWO = OFFER + "m=video {rtcp} RTP/AVP 96\nc=IN IP4 {host}\na=rtcp:5003 IN IP4 {host}\n"


def rules(near: bytes, far: bytes) -> list[str]:
    return [found.rule for found in judge_sdp(pair_of(near, far))]


def test_where_media_is_to_be_sent() -> None:
    assert sections_of(heard(message(INVITE, TWO)[0])) == [
        Section("audio", "192.168.20.100", 14254, 14255, False),
        Section("video", "192.168.20.100", 14255, 5003, False),
    ]
    assert sections_of(heard(message(INVITE)[0])) == []
    assert description_of(heard(message(INVITE, OFFER)[0][:-40])) is None


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (b"\r\nc=IN IP4 75.142.151.49\r\nt=", ["sdp-connection-private"]),
        (b"\r\nc=IN IP4 75.142.151.49\r\na=", ["sdp-connection-private"]),
        (b"IN IP4 75.142.151.49\r\ns=", ["sdp-origin-private"]),
        (b"a=rtcp:5003 IN IP4 75.142.151.49", ["sdp-rtcp-private"]),
    ],
)
def test_half_a_description(pattern: bytes, found: list[str]) -> None:
    near, far = message(INVITE, TWO)
    far = far.replace(b"Content-Length", b"X-Length")
    half = far.replace(pattern, pattern.replace(b"75.142.151.49", b"192.168.20.100"))
    assert half != far
    assert rules(near, half) == found
    assert rules(near, far) == []


@pytest.mark.parametrize("line", ["a=candidate:1 1 UDP 1 192.0.2.7 9 typ srflx\n", "m=text 900 RTP/AVP 98\n"])
def test_a_description_may_stay_whole_but_not_half(line: str) -> None:
    near = message(INVITE, OFFER + line)[0]
    assert rules(near, near) == []
    half = near.replace(b"4 192.168.20.100\r\ns=", b"4 192.168.20.200\r\ns=")
    assert "sdp-connection-private" in rules(near, half)


def test_hold_and_refusal_stay() -> None:
    near, far = message(INVITE, OFFER.replace("c=IN IP4 {host}", "c=IN IP4 0.0.0.0"))
    assert rules(near, far) == []
    assert rules(near, far.replace(b"c=IN IP4 0.0.0.0", b"c=IN IP4 1.1.1.1")) == ["sdp-zero-changed"]
    near, far = message(INVITE, OFFER.replace("{media}", "0"))
    assert rules(near, far.replace(b"audio 0 ", b"audio 7 ")) == ["sdp-zero-changed"]
    near, far = message(INVITE, OFFER)
    zero = far.replace(b"IP4 75.142.151.49\r\ns=", b"IP4 00.0.0.0.0\r\ns=".replace(b"00.", b""))
    assert rules(near, zero.replace(b"Content-Length", b"X-Length")) == ["sdp-origin-zero"]


def test_of_what_cant_be_read_nothing_is_asked() -> None:
    near = message(INVITE, OFFER.replace("audio {media}", "audio 70000"))[0]
    assert rules(near, near) == []
    near, far = message(INVITE, OFFER)
    assert rules(near, near.partition(b"\r\n\r\n")[0] + b"\r\n\r\n") == []
    assert list(judge_sdp(pair_of(far, near, out=False))) == []


def test_messages_of_different_times_may_be_held_and_not() -> None:
    """A hold in one and none in the other is what the phone said; an address that is left is the device's."""
    near, far = message(INVITE.replace("Content-Length", "X-Length"), OFFER)
    held = near.replace(b"c=IN IP4 192.168.20.100", b"c=IN IP4 0.0.0.0")
    assert rules(held, far) == ["sdp-zero-changed"]
    assert list(judge_sdp(pair_of(held, far)._replace(by=BY_PHONE))) == []
    left = [found.rule for found in judge_sdp(pair_of(near, near)._replace(by=BY_PHONE))]
    assert left == ["sdp-connection-private", "sdp-origin-private"]
