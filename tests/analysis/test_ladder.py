from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis.files import Captures
from sipalg.analysis.ladder import arrow, before_after, draw, printable, text_of_message, title_of
from sipalg.analysis.messages import SipMessage

Write = Callable[..., Path]
Talk = list[tuple[str, str, bytes]]


def read(path: Path) -> list[SipMessage]:
    return [located.message for located in Captures([path]).messages()]


def test_ladder_of_a_call(talk: Talk, write: Write) -> None:
    assert draw(read(write(talk))[2:], None) == [
        "              192.168.33.10      203.0.113.50",
        "1      0.000  │── INVITE (SDP) ─▶│",
        "2      0.020  │◀── 200 OK (SDP) ─│",
        "3      0.040  │── ACK ──────────▶│",
        "4      0.180  │◀── BYE ──────────│",
        "5      0.200  │── 200 OK ───────▶│",
    ]


def test_nothing_to_draw() -> None:
    assert draw([], 80) == []


def test_arrow_passes_the_hosts_between_and_repetitions_are_marked(talk: Talk, write: Write) -> None:
    invite = talk[3][2]
    hosts = ["192.0.2.1:5060", "192.0.2.2:5060", "192.0.2.3:5060"]
    path = write([(hosts[0], hosts[1], invite), (hosts[1], hosts[2], invite), (hosts[2], hosts[0], invite)] * 2)
    lines = draw(read(path), None)
    assert lines[0].split() == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert lines[2].startswith("2      0.020  │ ")
    assert lines[3].endswith("─│")
    assert lines[3].count("│") == 2
    assert "INVITE (SDP) again" in lines[4]
    assert {line.rindex("│") for line in lines[1:]} == {len(lines[1]) - 1}


def test_host_that_talks_to_itself_has_a_line_for_each_port(talk: Talk, write: Write) -> None:
    path = write([("127.0.0.1:5060", "127.0.0.1:5070", talk[0][2])])
    assert draw(read(path), None)[0].split() == ["127.0.0.1:5060", "127.0.0.1:5070"]
    path = write([("127.0.0.1:5060", "127.0.0.1:5060", talk[0][2])])
    assert draw(read(path), None)[1].endswith("│↻ REGISTER")


@pytest.mark.parametrize("public", ["203.0.113.1:1024", "10.0.0.1:1024"])
def test_hosts_stand_from_inside_to_outside(public: str, talk: Talk, write: Write) -> None:
    # Both sides of a router: the server is the second host that comes up, and the first in a call from outside.
    both = []
    for source, destination, payload in talk[3:6]:
        ends = source, destination
        sides = [ends, tuple(public if end == "192.168.33.10:5060" else end for end in ends)]
        both += [(*side, payload) for side in (sides if source.startswith("192") else reversed(sides))]
    hosts = ["192.168.33.10", public.split(":")[0], "203.0.113.50"]
    assert draw(read(write(both)), None)[0].split() == hosts
    assert draw(read(write(both[2:])), None)[0].split() == hosts


@pytest.mark.parametrize("width", [60, 80, 120])
def test_ladder_fits_the_terminal(width: int, talk: Talk, write: Write) -> None:
    ends = [f"192.168.133.{n}:5060" for n in range(100, 103)]
    rows = [(ends[n % 3], ends[(n + 1) % 3], talk[3][2]) for n in range(12)]
    assert max(map(len, draw(read(write(rows)), width))) <= width


def test_broken_message_is_marked(talk: Talk, write: Write) -> None:
    path = write([(*talk[0][:2], talk[0][2].replace(b"Content-Length: 0", b"Content-Length: 9"))])
    (message,) = read(path)
    assert "REGISTER !" in draw([message], None)[1]
    assert title_of(message).endswith("content-length-beyond-datagram")


def test_title_says_when_and_where(talk: Talk, write: Write) -> None:
    message = read(write(talk))[1]
    assert title_of(message) == (
        "packet 2, 2023-11-14 22:13:20.020 UTC, UDP 203.0.113.50:5070 → 192.168.33.10:5060, "
        f"{len(message.data)} bytes"
    )


def test_title_names_one_of_several_files(talk: Talk, write: Write) -> None:
    message = read(write(talk))[1]._replace(origin="wan0\x1b.pcap")
    assert title_of(message).startswith("packet 2 of wan0\N{REPLACEMENT CHARACTER}.pcap, 2023-")


def test_strangers_bytes_move_no_cursor(talk: Talk, write: Write) -> None:
    path = write([(*talk[0][:2], talk[0][2].replace(b"alice", b"\x1b[2Ja\rb"))])
    text = text_of_message(read(path)[0])
    assert "\x1b" not in text
    assert "\r" not in text
    assert printable("a\tb\n\x07") == "a\tb\n\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("to_the_right", "drawn"), [(True, "── OK ────▶"), (False, "◀── OK ────")]
)
def test_arrow(to_the_right: bool, drawn: str) -> None:
    assert arrow("OK", 11, to_the_right=to_the_right) == drawn
    assert len(arrow("a long text that must be cut", 11, to_the_right=to_the_right)) == 11


def test_before_and_after_of_texts() -> None:
    assert before_after("a\nb\nc", "a\nx\nc") == ["  a", "- b", "+ x", "  c"]
    assert before_after("1\n2", "3\n4") == ["- 1", "+ 3", "- 2", "+ 4"]
    assert before_after("1\n2\nc", "3\nc\nd") == ["- 1", "- 2", "+ 3", "  c", "+ d"]


@given(before=st.lists(st.sampled_from("abc")), after=st.lists(st.sampled_from("abcd")))
def test_both_texts_can_be_read_from_their_difference(before: list[str], after: list[str]) -> None:
    lines = before_after("\n".join(before), "\n".join(after))
    assert [line[2:] for line in lines if line[0] != "+"] == before
    assert [line[2:] for line in lines if line[0] != "-"] == after


def test_difference_of_long_texts_comes_at_once() -> None:
    before, after = ("\n".join(f"{word} {n}" for n in range(20_000)) for word in ("a", "b"))
    assert len(before_after(before, after)) == 40_000
    assert before_after("a\n" * 20_000, "a\n" * 20_000) == ["  a"] * 20_000
    assert len(before_after("a\n" * 20_000, "b\n" + "a\n" * 20_000 + "b")) >= 20_002
