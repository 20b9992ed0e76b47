from __future__ import annotations

from pathlib import Path

import pytest
from tests.analysis.conftest import PHONE, SERVER, sip, udp
from tests.sniffer.packets import ethernet, tcp, transport

from sipalg.browse import live
from sipalg.browse.live import LiveCalls
from sipalg.capture.pcap import CaptureError
from sipalg.capture.reading import open_capture
from sipalg.capture.records import Captured


def captured(frame: bytes, interface: str = "lan0", time_ns: int = 0) -> Captured:
    return Captured(time_ns, frame, len(frame), interface)


def request(call_id: str, method: str = "INVITE", number: int = 1) -> bytes:
    return sip(f"{method} sip:bob@example.com SIP/2.0", f"{number} {method}", call_id=call_id)


def heard(calls: LiveCalls, *call_ids: str) -> None:
    for call_id in call_ids:
        calls.take(captured(udp(PHONE, SERVER, request(call_id))))


def test_calls_as_they_come() -> None:
    calls = LiveCalls("lan0")
    assert (calls.rows(), calls.version) == ([], 0)
    heard(calls, "a", "b")
    answer = sip("SIP/2.0 200 OK", "1 INVITE", call_id="a")
    calls.take(captured(udp(SERVER, PHONE, answer), time_ns=5))
    assert calls.methods() == {"a": "INVITE", "b": "INVITE"}
    assert [(row["number"], row["call_id"], row["state"]) for row in calls.rows()] == [
        (1, "a", "answered"),
        (2, "b", "calling"),
    ]
    assert [message.name for message in calls.messages(frozenset({"a"}))] == ["INVITE", "200 OK"]
    assert calls.version == 3
    assert calls.name == "lan0, live"
    calls.dropped = 7
    assert calls.name == "lan0, live (7 packets lost)"


def test_what_is_saved_is_what_came(tmp_path: Path) -> None:
    calls = LiveCalls("lan0")
    ends = ("192.168.33.10", 40000, "203.0.113.50", 5060)
    data = request("tcp") + request("tcp", "BYE", 2)
    frames = [
        ethernet(tcp(ends, 100, data[:90])),
        udp(PHONE, SERVER, request("other")),
        ethernet(tcp(ends, 190, data[90:])),
    ]
    for frame in frames:
        calls.take(captured(frame))
    out = tmp_path / "out.pcapng"
    assert calls.save(frozenset({"tcp"}), out) == 2
    with open_capture(out) as source:
        assert [frame.data for frame in source] == [frames[0], frames[2]]
        assert [one.name for one in source.interfaces] == ["lan0"]
    with pytest.raises(CaptureError, match="there is no packet to write"):
        calls.save(frozenset(), out)


def test_fragments_of_two_interfaces_are_apart(tmp_path: Path) -> None:
    calls = LiveCalls("any")
    content = udp(PHONE, SERVER, request("big"))[34:]
    pieces = [
        ethernet(transport(17, content[:80], "192.168.33.10", "203.0.113.50", 0x2000)),
        ethernet(transport(17, content[80:], "192.168.33.10", "203.0.113.50", 10)),
    ]
    for piece in pieces:
        for interface in ("lan0", "br0"):
            calls.take(captured(piece, interface))
    assert [message.origin for message in calls.messages(frozenset({"big"}))] == ["lan0", "br0"]
    assert calls.save(frozenset({"big"}), tmp_path / "out.pcap") == 4


def test_the_call_that_was_silent_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_CALLS", 3)
    calls = LiveCalls("lan0")
    heard(calls, "a", "b", "c", "a", "d")
    assert [(row["number"], row["call_id"]) for row in calls.rows()] == [(1, "a"), (3, "c"), (4, "d")]


def test_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_MESSAGES", 4)
    monkeypatch.setattr(live, "_MOST_RECENT", 5)
    calls = LiveCalls("lan0", 60_000)
    for number in range(200):
        heard(calls, "endless", f"call-{number}")
        assert calls._bytes == sum(call.size_bytes for call in calls._calls.values()) <= 60_000
        assert len(calls._recent) <= 5
        assert calls._recent_bytes == sum(len(packet.frame) for packet in calls._recent.values())
    assert 10 < len(calls.rows()) < 60
    assert len(calls.messages(frozenset({"endless"}))) == 4
    # One that is larger than all that may be kept is kept even so, alone.
    small = LiveCalls("lan0", 1)
    heard(small, "a", "b")
    assert [row["call_id"] for row in small.rows()] == ["b"]
