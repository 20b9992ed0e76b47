from __future__ import annotations

import re

from tests.analysis.exchange import INVITE, NAT, OFFER, PHONE, SERVER, heard, message, pair_of, rtcp, rtp

from sipalg.analysis.media_seen import Count, FlowKey, Flows, flows_of, judge_media, named_ends
from sipalg.analysis.rtp import Streams
from sipalg.capture.decode import Segment
from sipalg.engine.verdict import Endpoint

P, N, S = Endpoint(PHONE, 14254), Endpoint(NAT, 19032), Endpoint(SERVER, 20000)
PAIR = pair_of(*message(INVITE, OFFER))
SPAN = (0, 10**9)
NEAR, PUBLIC = frozenset((PHONE,)), frozenset((NAT,))


def flow(
    source: Endpoint, destination: Endpoint, ssrc: bytes = b"1", *, is_rtcp: bool = False, count: int = 9
) -> Flows:
    reports = (9,) if is_rtcp else ()
    return {FlowKey(source, destination, is_rtcp, ssrc): Count(count, 7, 7 + count, 7, 7 + count, reports)}


def rules(inside: Flows, outside: Flows, span: tuple[int, int] = SPAN) -> list[str]:
    return [found.rule for found in judge_media([PAIR], inside, outside, (SPAN, span), NEAR, PUBLIC)]


def test_flows_are_those_of_named_ends() -> None:
    streams = Streams()
    named = named_ends([heard(message(INVITE, OFFER)[0])])
    assert named == {P, Endpoint(PHONE, 14255)}
    for end in (*named, Endpoint(PHONE, 53)):
        streams.announce(end)

    def take(number: int, source: Endpoint, payload: bytes) -> None:
        ends = repr(source).encode()
        streams.take(Segment(number, number, 17, source, S, payload, ends, 0, 0, True, (), 0))

    for number in range(3):
        take(number + 5, P, rtp(1, number))
    take(8, P, rtcp(1))
    take(9, Endpoint(PHONE, 53), rtp(2, 1))
    assert flows_of(streams, named) == {
        FlowKey(P, S, False, b"\0\0\0\1"): (3, 5, 7, 5, 7, ()),
        FlowKey(P, S, True, b"\0\0\0\1"): (1, 8, 8, 8, 8, (8,)),
    }


def test_what_went_through_is_nothing_to_say() -> None:
    assert rules(flow(P, S) | flow(S, P, b"2"), flow(N, S) | flow(S, N, b"2")) == []


def test_lost_either_way() -> None:
    other = flow(P, S, b"x"), flow(N, S, b"x")
    assert rules(flow(P, S) | other[0], other[1]) == ["media-lost"]
    assert rules(other[0], flow(S, N) | other[1]) == ["media-lost"]
    assert rules(flow(P, S, is_rtcp=True, count=1) | other[0], other[1]) == ["rtcp-lost"]
    (key,) = flow(P, S, is_rtcp=True)
    early_and_late = {key: Count(2, 2, 99, 2, 99, (2, 99))}
    assert rules(early_and_late | other[0], other[1]) == []
    assert rules(flow(P, S, count=2) | other[0], other[1]) == []


def test_what_never_was_to_go_through_isnt_lost() -> None:
    other = flow(P, S, b"x"), flow(N, S, b"x")
    assert rules(flow(P, Endpoint(PHONE, 9)) | flow(P, N) | other[0], other[1]) == []


def test_what_the_other_capture_was_too_short_for_isnt_lost() -> None:
    other = flow(P, S, b"x"), flow(N, S, b"x")
    for kind in (True, False):
        lost = flow(P, S, is_rtcp=kind) | other[0]
        assert rules(lost, other[1]) == ["rtcp-lost" if kind else "media-lost"]
        assert rules(lost, other[1], (0, 8)) == []
        assert rules(lost, other[1], (10, 10**9)) == []


def test_a_relay_inside_has_the_same_ssrc() -> None:
    relayed = flow(Endpoint(NAT, 16002), S)
    assert rules(flow(P, S), flow(N, S) | relayed) == rules(flow(P, S), relayed | flow(N, S)) == []


def test_another_phones_media_isnt_looked_for() -> None:
    other = flow(P, S, b"x"), flow(N, S, b"x")
    assert rules(other[0], flow(S, Endpoint(NAT, 16386)) | other[1]) == []


def test_without_media_on_both_sides_it_is_told_that_none_was_judged() -> None:
    def detail(inside: Flows, outside: Flows) -> str:
        (found,) = judge_media([PAIR], inside, outside, (SPAN, SPAN), NEAR, PUBLIC)
        assert (found.rule, found.before, found.after) == ("media-unseen", (1,), (1,))
        return found.detail

    assert detail(flow(P, S), {}) == "BEFORE has 9 RTP packets, AFTER has no media"
    assert detail({}, flow(N, S)) == "AFTER has 9 RTP packets, BEFORE has no media"
    assert detail({}, {}) == "neither capture has media"


def test_where_no_media_was_told_none_is_missed() -> None:
    for pair in (pair_of(*message(INVITE)), PAIR._replace(outward=False), PAIR._replace(after=PAIR.before)):
        assert list(judge_media([pair], {}, {}, (SPAN, SPAN), NEAR, PUBLIC)) == []


def with_connection(data: bytes, host: str) -> bytes:
    head, _, body = data.partition(b"\r\n\r\n")
    body = re.sub(rb"c=IN IP4 \S+", b"c=IN IP4 " + host.encode(), body)
    return re.sub(rb"Length: \d+", b"Length: %d" % len(body), head) + b"\r\n\r\n" + body


def test_a_host_that_isnt_the_nats() -> None:
    near, far = message(INVITE, OFFER)

    def found(host: str, outside: Flows, public: str = NAT, own: str = PHONE) -> list[str]:
        pair = pair_of(with_connection(near, own), with_connection(far, host))
        pair = pair._replace(after=pair.after._replace(source=Endpoint(public, 1024)))
        seen = judge_media([pair], {}, outside, (SPAN, SPAN), NEAR, frozenset((public,)))
        return [one.detail for one in seen if one.rule == "sdp-host-wrong"]

    for host in ("8.8.8.8", "10.9.9.9"):
        assert found(host, {}) == [f"c= of audio: {PHONE} became {host}, the packet comes from {NAT}"]
    assert found(NAT, {}) == []
    # What comes to it shows nothing, what comes from it a media relay.
    assert found("8.8.8.8", flow(S, Endpoint("8.8.8.8", 19032))) != []
    assert found("8.8.8.8", flow(Endpoint("8.8.8.8", 19032), S)) == []
    # Behind another NAT it is the outer one's; without NAT, or in place of a public one, it is no ALG's.
    assert found("8.8.8.8", {}, public="10.0.0.2") == []
    assert found("8.8.8.8", {}, public=PHONE) == []
    assert found("8.8.8.8", {}, own="9.9.9.9") == []


def test_a_port_that_isnt_the_one_that_was_told() -> None:
    assert rules(flow(P, S), flow(Endpoint(NAT, 19034), S)) == ["media-port-wrong"]
    assert rules(flow(P, S), flow(Endpoint("10.0.0.2", 19032), S)) == []
    ends = Endpoint(PHONE, 14255), Endpoint(SERVER, 20001)
    right, wrong = Endpoint(NAT, 19033), Endpoint(NAT, 40000)
    assert rules(flow(*ends, is_rtcp=True), flow(right, ends[1], is_rtcp=True)) == []
    assert rules(flow(*ends, is_rtcp=True), flow(wrong, ends[1], is_rtcp=True)) == ["rtcp-port-wrong"]
