"""ICE's lines in every form of RFC 8839 §5.1 and §5.2, and in some that they forbid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.codec.ice import Candidate, parse
from sipalg.codec.sdp import Description
from sipalg.codec.sdp import parse as parse_sdp


def read(*lines: bytes, end: bytes = b"\r\n") -> tuple[bytes, list[Candidate] | None]:
    """A description with these lines, and what they are read as."""
    data = b"v=0\r\nm=audio 10000 RTP/AVP 0\r\n" + b"".join(line + end for line in lines)
    description = parse_sdp(data, 0, len(data))
    assert isinstance(description, Description)
    assert len(description.candidates) == len(lines)
    return data, parse(data, description.candidates, len(data))


def texts(*lines: bytes, end: bytes = b"\r\n") -> list[tuple[bytes, ...]]:
    """Kind, address and port of each candidate, and its related ones where it has them, as they stand in the text."""
    data, candidates = read(*lines, end=end)
    assert candidates is not None
    found = []
    for one in candidates:
        assert data[slice(*one.host_span)] == one.host
        assert int(data[slice(*one.port_span)]) == one.port
        assert data[slice(*one.related_host_span)] == one.related_host
        assert int(data[slice(*one.related_port_span)] or b"0") == one.related_port
        spans = (one.host_span, one.port_span, one.related_host_span, one.related_port_span)
        found.append((one.kind, *(data[slice(*span)] for span in spans if span[1])))
    return found


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"1 1 UDP 2130706431 192.168.33.10 10000 typ host", (b"host", b"192.168.33.10", b"10000")),
        (b"Hc0a8 2 udp 1 192.168.33.10 10001 typ HOST", (b"host", b"192.168.33.10", b"10001")),
        (b" 1  1 UDP 1 192.168.33.10  10000 typ host ", (b"host", b"192.168.33.10", b"10000")),
        (
            b"a+/ 1 UDP 1 203.0.113.7 62000 typ srflx raddr 192.168.33.10 rport 10000",
            (b"srflx", b"203.0.113.7", b"62000", b"192.168.33.10", b"10000"),
        ),
        (
            b"1 1 UDP 1 192.168.33.10 10000 typ host generation 0 ufrag ab network-id 1",
            (b"host", b"192.168.33.10", b"10000"),
        ),
        (
            b"1 1 UDP 1 192.168.33.10 10000 typ host rport 9 raddr 10.0.0.1",
            (b"host", b"192.168.33.10", b"10000", b"9"),
        ),
        (b"1 1 TCP 1 192.168.33.10 9 typ host tcptype active", (b"host", b"192.168.33.10", b"9")),
        (b"1 1 UDP 1 2001:db8::1 10000 typ host", (b"host", b"2001:db8::1", b"10000")),
        (b"1 1 UDP 1 8d4f.local 10000 typ host", (b"host", b"8d4f.local", b"10000")),
        (b"1 1 UDP 1 192.168.33.10 65535 typ unheard-of", (b"unheard-of", b"192.168.33.10", b"65535")),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b""])
def test_candidates(line: bytes, text: tuple[bytes, ...], end: bytes) -> None:
    assert texts(b"a=candidate:" + line, end=end) == [text]


def test_transport() -> None:
    _, candidates = read(
        b"a=candidate:1 1 uDp 1 10.0.0.1 1 typ host",
        b"a=candidate:1 1 TCP 1 10.0.0.1 1 typ host",
        b"a=candidate:1 1 ssltcp 1 10.0.0.1 1 typ host",
        b"a=remote-candidates:1 10.0.0.1 1",
    )
    assert candidates is not None
    assert [one.is_udp for one in candidates] == [True, False, False, True]


def test_remote_candidates() -> None:
    remote = b"a=remote-candidates:1 203.0.113.1 16384 2 203.0.113.1 16385 "
    assert texts(remote, b"a=candidate:1 1 UDP 1 a 1 typ b") == [
        (b"remote", b"203.0.113.1", b"16384"),
        (b"remote", b"203.0.113.1", b"16385"),
        (b"b", b"a", b"1"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"candidate:",
        b"candidate:1 1 UDP 1 10.0.0.1 10000",
        b"candidate:1 1 UDP 1 10.0.0.1 typ host",
        b"candidate:1 1 UDP 1 10.0.0.1 x typ host",
        b"candidate:1 1 UDP 1 10.0.0.1 65536 typ host",
        b"candidate:1 1 UDP 1 10.0.0.1 100000 typ host",
        b"candidate:1 x UDP 1 10.0.0.1 10000 typ host",
        b"candidate:1 1 UDP 1 10.0.0.1 10000 typ host raddr 10.0.0.1 rport 65536",
        b"candidate:1 1 UDP 1 10.0.0.1 10000 typ host\0",
        b"remote-candidates:",
        b"remote-candidates:1 10.0.0.1",
        b"remote-candidates:1 10.0.0.1 10000 2",
        b"remote-candidates:1 10.0.0.1 70000",
    ],
)
def test_one_against_the_grammar_makes_all_unreadable(line: bytes) -> None:
    good = b"a=candidate:1 1 UDP 1 10.0.0.1 10000 typ host"
    assert read(good, b"a=" + line)[1] is None
    assert read(b"a=" + line, good)[1] is None


_WORDS = ["1", "UDP", "10.0.0.1", "10000", "typ", "host", "raddr", "rport", "65535", "99999", "::", "\0", "\xff"]
_words = st.lists(st.sampled_from(_WORDS), max_size=16)


@given(st.lists(st.tuples(st.sampled_from(["candidate", "remote-candidates"]), _words), max_size=4))
def test_spans_say_what_they_name(lines: list[tuple[str, list[str]]]) -> None:
    encoded = [f"a={name}:{' '.join(words)}".encode("latin-1") for name, words in lines]
    if read(*encoded)[1] is not None:
        assert len(texts(*encoded)) >= len(lines)
