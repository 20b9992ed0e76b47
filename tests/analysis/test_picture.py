from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from sipalg.analysis.files import Captures
from sipalg.analysis.messages import SipMessage
from sipalg.analysis.picture import page, svg
from sipalg.analysis.selection import as_row, conversations

Write = Callable[..., Path]
Talk = list[tuple[str, str, bytes]]
SVG = "{http://www.w3.org/2000/svg}"


def read(path: Path) -> list[SipMessage]:
    return [located.message for located in Captures([path]).messages()]


def root_of(text: str) -> ElementTree.Element:
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler = lambda name, attributes: builder.start(f"{{{name}", attributes)
    parser.EndElementHandler = lambda name: builder.end(f"{{{name}")
    parser.CharacterDataHandler = builder.data
    parser.Parse(text, True)
    return builder.close()


def page_of(path: Path) -> str:
    captures = Captures([path])
    found = conversations(captures)
    messages: dict[str, list[SipMessage]] = {one.call_id: [] for one in found}
    for _, message in captures.messages():
        messages[message.call_id].append(message)
    return "".join(page([as_row(number, one) for number, one in enumerate(found, 1)], messages))


def test_picture_has_a_line_a_host_and_an_arrow_a_message(talk: Talk, write: Write) -> None:
    root = root_of(svg(read(write(talk))))
    assert [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "host"] == [
        "192.168.33.10",
        "203.0.113.50",
    ]
    groups = list(root.iter(f"{SVG}g"))
    kinds = ["request", "good", "request", "good", "request", "request", "good"]
    assert [group.get("class") for group in groups] == kinds
    assert [group.findtext(f"{SVG}text") for group in groups][2:4] == ["INVITE (SDP)", "200 OK (SDP)"]
    arrows = [(line.get("x1"), line.get("x2")) for group in groups for line in group.iter(f"{SVG}line")]
    assert arrows[0] == arrows[1][::-1]


def test_kinds_of_answers_are_told_apart(talk: Talk, write: Write) -> None:
    ok = talk[1]
    rows = [(*ok[:2], ok[2].replace(b"200 OK", status)) for status in (b"180 Ringing", b"486 Busy", b"486 Busy")]
    root = root_of(svg(read(write(rows))))
    assert [group.get("class") for group in root.iter(f"{SVG}g")] == ["wait", "bad", "bad again"]


def test_host_that_talks_to_itself_has_a_loop(talk: Talk, write: Write) -> None:
    root = root_of(svg(read(write([("127.0.0.1:5060", "127.0.0.1:5060", talk[0][2])]))))
    assert [len(list(group.iter(f"{SVG}path"))) for group in root.iter(f"{SVG}g")] == [2]


def test_long_names_are_cut(talk: Talk, write: Write) -> None:
    ok = talk[1]
    root = root_of(svg(read(write([(*ok[:2], ok[2].replace(b"OK", b"x" * 99))]))))
    (group,) = root.iter(f"{SVG}g")
    label = group.findtext(f"{SVG}text") or ""
    assert label.endswith("…")
    assert len(label) == 36


def test_page_has_all_calls_and_their_messages(talk: Talk, write: Write) -> None:
    text = page_of(write(talk))
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert text.count("<h2>") == text.count("<svg ") == 2
    assert text.count("<details>") == 7
    assert "<td>registration</td>" in text
    assert "INVITE sip:bob@example.com SIP/2.0\nVia:" in text


def test_page_needs_and_loads_nothing(talk: Talk, write: Write) -> None:
    text = page_of(write(talk))
    assert "default-src 'none'" in text
    assert re.findall(r"(?:src|href|url|@import)\s*[=(]", text) == []


def test_strangers_text_stays_text(talk: Talk, write: Write) -> None:
    evil = [(*row[:2], row[2].replace(b"alice", b"<script>alert('1')</script>\x00")) for row in talk[:2]]
    text = page_of(write(evil))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\x00" not in text
    root_of(svg(read(write(evil))))


def test_page_without_calls() -> None:
    assert "<table>" in "".join(page([], {}))
