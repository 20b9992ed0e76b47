from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture.link import ETHERNET, RAW
from sipalg.capture.nat import Nat
from sipalg.capture.offline import NOT_IPV4, TOO_SHORT, Rewriter
from sipalg.capture.reading import Frame
from sipalg.capture.router import CUT, FRAGMENT, LOCAL, Router
from sipalg.codec.datagram import addresses, checksums_right
from sipalg.engine.verdict import Command, Datagram, Edit, Verdict

P, N, S = "192.168.33.10", "203.0.113.1", "203.0.113.50"
HEADER = bytes(12) + b"\x08\x00"
SECOND_NS = 1_000_000_000

Build = Callable[..., bytes]
Cut = Callable[[bytes, int], list[bytes]]


class GrowingAlg:
    """An engine that puts 20 bytes behind each message that begins with `sip`, and notes the times."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def receive_datagram(self, datagram: Datagram, now: float) -> Verdict:
        self.times.append(now)
        payload = datagram.payload
        if not payload.startswith(b"sip"):
            return Verdict("accept", payload, (), (), "not-sip", 0)
        return Verdict("replace", payload + bytes(20), (Edit(len(payload), 0, bytes(20), "grow"),), (), "", 1)

    def commands_done(self, token: int, now: float) -> None:
        raise AssertionError(f"there were no commands to report as {token} at {now}")

    def next_timer(self) -> float | None:
        return None

    def handle_timer(self, now: float) -> tuple[Command, ...]:
        raise AssertionError(f"there was no timer at {now}")


@pytest.fixture
def alg() -> GrowingAlg:
    return GrowingAlg()


@pytest.fixture
def rewriter(alg: GrowingAlg) -> Rewriter:
    return Rewriter(Router(alg, Nat(N), (IPv4Network("192.168.33.0/24"),), N, (5060,), ()))


def captured(*contents: bytes, step_s: float = 1.0) -> list[Frame]:
    return [
        Frame(number, int(number * step_s * SECOND_NS), HEADER + content, len(HEADER + content), ETHERNET, 0)
        for number, content in enumerate(contents, 1)
    ]


def test_packet_grows_within_its_frame(rewriter: Rewriter, udp: Build) -> None:
    (packet,) = captured(udp(f"{P}:5060", f"{S}:5060", b"sip"))
    padded = packet._replace(data=packet.data + b"pad", wire_bytes=packet.wire_bytes + 3)
    (sent,) = rewriter.rewrite([padded])
    assert sent.data == HEADER + udp(f"{N}:5060", f"{S}:5060", b"sip" + bytes(20)) + b"pad"
    assert sent.wire_bytes == len(sent.data)
    assert (sent.number, sent.time_ns) == (1, SECOND_NS)
    assert rewriter.summary.sip_edited == rewriter.summary.translated == rewriter.summary.packets == 1


def test_packets_are_counted_by_what_became_of_them(rewriter: Rewriter, udp: Build) -> None:
    arp = Frame(4, 4 * SECOND_NS, bytes(12) + b"\x08\x06" + bytes(28), 42, ETHERNET, 0)
    packets = [
        *captured(
            udp(f"{P}:5060", f"{S}:5060", b"\r\n"), udp(f"{P}:1", f"{P}:2"), udp(f"{P}:10000", f"{S}:20000", b"rtp")
        ),
        arp,
    ]
    sent = list(rewriter.rewrite(packets))
    assert [packet.number for packet in sent] == [1, 2, 3, 4]
    assert sent[1] == packets[1]
    assert sent[3] == arp
    assert rewriter.summary.packets == 4
    assert rewriter.summary.translated == 2
    assert rewriter.summary.untouched == Counter({LOCAL: 1, NOT_IPV4: 1})
    assert rewriter.summary.sip_passed == Counter({"not-sip": 1})


def test_time_is_seconds_since_the_first_packet_and_never_goes_back(
    rewriter: Rewriter, alg: GrowingAlg, udp: Build
) -> None:
    packets = captured(*[udp(f"{P}:5060", f"{S}:5060")] * 3)
    early = packets[2]._replace(time_ns=0)
    sent = list(rewriter.rewrite([packets[0], packets[1], early, packets[2]]))
    assert alg.times == [0.0, 1.0, 1.0, 2.0]
    assert [packet.time_ns for packet in sent] == [SECOND_NS, 2 * SECOND_NS, 0, 3 * SECOND_NS]


def test_cut_packet_is_translated_in_its_headers(rewriter: Rewriter, udp: Build) -> None:
    (packet,) = captured(udp(f"{P}:5060", f"{S}:5060", b"sip message"))
    (sent,) = rewriter.rewrite([packet._replace(data=packet.data[:-4])])
    assert sent.data == HEADER + udp(f"{N}:5060", f"{S}:5060", b"sip message")[:-4]
    assert sent.wire_bytes == packet.wire_bytes
    assert rewriter.summary.cut == 1
    assert rewriter.summary.sip_passed == Counter({CUT: 1})


def test_fragments_are_edited_as_one_and_stay_as_many_in_their_places(
    rewriter: Rewriter, alg: GrowingAlg, udp: Build, fragmented: Cut
) -> None:
    parts = fragmented(udp(f"{P}:5060", f"{S}:5060", b"sip" + bytes(100)), 48)
    between = udp(f"{P}:10000", f"{S}:20000")
    sent = list(rewriter.rewrite(captured(parts[0], between, parts[2], parts[1], between)))
    assert [packet.number for packet in sent] == [1, 2, 3, 4, 5]
    assert [len(packet.data) for packet in sent] == [82, 43, 14 + 20 + 111 - 96 + 20, 82, 43]
    for packet in sent:
        content = packet.data[14:]
        found = addresses(content)
        assert found is not None
        assert found[1][0] == N
        assert checksums_right(content)
    assert len(alg.times) == 1, "the engine sees one message"
    assert rewriter.summary.sip_edited == 1
    assert rewriter.summary.translated == 5


def test_packet_behind_fragments_waits_for_them(rewriter: Rewriter, udp: Build, fragmented: Cut) -> None:
    parts = captured(*fragmented(udp(f"{P}:5060", f"{S}:5060", bytes(60)), 48))
    between = captured(udp(f"{P}:10000", f"{S}:20000"))[0]
    taken: list[int] = []

    def reading() -> Iterator[Frame]:
        for packet in (parts[0], between, parts[1]):
            taken.append(packet.number)
            yield packet

    sent = rewriter.rewrite(reading())
    next(sent)
    assert taken == [1, 1, 2]
    assert len(list(sent)) == 2


def test_fragments_that_nothing_completes_stay_as_they_are(
    rewriter: Rewriter, alg: GrowingAlg, udp: Build, fragmented: Cut
) -> None:
    first, last = captured(*fragmented(udp(f"{P}:5060", f"{S}:5060", b"sip" + bytes(60)), 48), step_s=31.0)
    between = captured(udp(f"{P}:10000", f"{S}:20000"))[0]._replace(time_ns=last.time_ns - 1)
    sent = list(rewriter.rewrite([first, between, last]))
    assert sent[0] == first
    assert sent[2] == last
    assert rewriter.summary.untouched == Counter({FRAGMENT: 2})
    assert alg.times == []


def test_fragment_that_the_capture_cut_stays_as_it_is(rewriter: Rewriter, udp: Build, fragmented: Cut) -> None:
    part, rest = captured(*fragmented(udp(f"{P}:5060", f"{S}:5060", bytes(60)), 48))
    cut = part._replace(data=part.data[:-1])
    assert list(rewriter.rewrite([cut, rest])) == [cut, rest]
    assert rewriter.summary.untouched == Counter({FRAGMENT: 2})
    assert rewriter.summary.cut == 1


def test_fragments_between_insiders_stay_as_they_are(rewriter: Rewriter, udp: Build, fragmented: Cut) -> None:
    packets = captured(*fragmented(udp(f"{P}:5060", "192.168.33.11:5060", bytes(60)), 48))
    assert list(rewriter.rewrite(packets)) == packets
    assert rewriter.summary.untouched == Counter({LOCAL: 2})


def test_datagram_that_shrank_out_of_its_last_fragment_leaves_them_as_they_are(
    rewriter: Rewriter, alg: GrowingAlg, udp: Build, fragmented: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrunk = Verdict("replace", b"sip", (Edit(3, 57, b"", "shrink"),), (), "", 1)
    monkeypatch.setattr(alg, "receive_datagram", lambda _datagram, _now: shrunk)
    packets = captured(*fragmented(udp(f"{P}:5060", f"{S}:5060", b"sip" + bytes(57)), 48))
    assert list(rewriter.rewrite(packets)) == packets
    assert rewriter.summary.untouched == Counter({TOO_SHORT: 2})


def test_what_waits_at_the_end_comes_out(rewriter: Rewriter, udp: Build, fragmented: Cut) -> None:
    whole = captured(udp(f"{P}:10000", f"{S}:20000"), fragmented(udp(f"{P}:1", f"{S}:2", bytes(60)), 48)[0])
    assert [packet.number for packet in rewriter.rewrite(whole)] == [1, 2]


def test_each_frame_has_its_own_link_type(rewriter: Rewriter, udp: Build) -> None:
    (first,) = captured(udp(f"{P}:10000", f"{S}:20000"))
    bare = first._replace(data=first.data[len(HEADER) :], link_type=RAW)
    assert [frame.data for frame in rewriter.rewrite([first, bare])] == [
        HEADER + udp(f"{N}:10000", f"{S}:20000"), udp(f"{N}:10000", f"{S}:20000")
    ]


@given(st.data())
def test_any_frames_come_out_as_many_as_went_in(
    udp: Build, tcp: Build, unreachable: Build, data: st.DataObject
) -> None:
    about = udp(f"{S}:9", f"{N}:5060", b"sip")
    whole = [udp(f"{P}:5060", f"{S}:5060", b"sip 1"), tcp(f"{P}:1", f"{S}:2", b"x"), unreachable(S, N, about)]
    frames = []
    for _ in range(data.draw(st.integers(0, 5))):
        frame = bytearray(HEADER + data.draw(st.sampled_from(whole)))
        for _ in range(data.draw(st.integers(0, 6))):
            frame[data.draw(st.integers(12, len(frame) - 1))] = data.draw(st.integers(0, 255))
        frames.append(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    for link_type in (ETHERNET, RAW):
        packets = [Frame(number, number, frame, 100, link_type, 0) for number, frame in enumerate(frames)]
        rewriter = Rewriter(Router(GrowingAlg(), Nat(N), (IPv4Network("192.168.33.0/24"),), N, (5060,), ()))
        sent = list(rewriter.rewrite(packets))
        assert [packet.number for packet in sent] == [packet.number for packet in packets]
        assert rewriter.summary.translated + rewriter.summary.untouched.total() == len(packets)
