"""Machine code against the codec's own readers: the same answers, or none; and an answer where messages are usual."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.codec.lines import framed_by_machine, texts, torn

from sipalg import builds
from sipalg.codec import fields, headers, message
from sipalg.codec.machine import quick
from sipalg.codec.message import read_frame
from sipalg.engine.verdict import Verdict

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

ROOT: Final = Path(__file__).resolve().parent.parent.parent
TEXTS: Final = (b"192.168.33.10", b"203.0.113.1", b"x", b"[2001:db8::1]")


def machine(name: str) -> Callable[..., Any]:
    function = quick(name)
    assert function is not None
    return function


def compare(data: bytes) -> None:
    """All readers, on one payload."""
    framed = read_frame(data)
    found = framed_by_machine(data)
    assert found is None or found._replace(marks=b"") == framed
    if isinstance(framed, str):
        return
    place = (framed.data, framed.head, framed.head_end)
    for text in TEXTS:
        assert machine("fields_with")(*place, text, fields.LINES) in (None, fields.read_fields_with(framed, text))
    for start in (framed.head, framed.head + 20, framed.head_end - 3):
        end = message.value_end(data, start, framed.head_end)
        expected = headers.read_received_and_rport(data, start, end)
        assert machine("received_and_rport")(data, start, end) in (None, expected)


@given(st.lists(st.sampled_from([b";", b"\r\n", b"a"])).map(b"".join), st.integers(0, 9), st.integers(0, 9))
def test_two_semicolons_are_found(data: bytes, start: int, end: int) -> None:
    start, end = min(start, len(data)), min(end, len(data))
    assert machine("is_doubled")(data, start, end) == (data.find(b";;", start, end) >= 0)


@given(texts())
@settings(max_examples=600)
def test_messages_of_all_kinds(data: bytes) -> None:
    compare(data)


def test_torture() -> None:
    for data in torn():
        compare(data)


@given(st.text(alphabet=';,= \t\r\nrReceivedportPORT=0123456789.:[]"-_%x', max_size=60))
@example(";received=;rport=;rport=65535x;received=-")
@settings(max_examples=250)
def test_parameters_of_a_via(text: str) -> None:
    data = text.encode()
    for start in (0, 1):
        found = machine("received_and_rport")(data, start, len(data))
        assert found in (None, headers.read_received_and_rport(data, min(start, len(data)), len(data)))
    assert machine("received_and_rport")(data, len(data) + 1, len(data)) is None


def test_what_is_usual_is_known() -> None:
    data = (
        b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.33.10:5060;received=1.2.3.4;rport=7\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n"
        b"Contact: <sip:a@192.168.33.10:5060>\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n"
    )
    framed = framed_by_machine(data)
    assert framed is not None
    assert framed._replace(marks=b"") == read_frame(data)
    place = (data, framed.head, framed.head_end)
    assert len(machine("fields_with")(*place, b"192.168.33.10", fields.LINES)) == 2
    received, rport = machine("received_and_rport")(data, framed.head, framed.head + 100)
    assert (data[slice(*received)], data[slice(*rport)]) == (b"1.2.3.4", b"7")
    assert machine("edited")(b"abc", [(1, 1, b"xx", "")]) == b"axxc"


def test_a_body_is_framed() -> None:
    data = b"INVITE sip:b@x SIP/2.0\r\nc: application/sdp\r\nl: 3 \r\ne: gzip\r\n\r\nv=0rest"
    framed = framed_by_machine(data)
    assert framed is not None
    assert framed._replace(marks=b"") == read_frame(data)
    assert (data[framed.body : framed.body_end], framed.encoded) == (b"v=0", True)


def test_a_verdict_is_made_and_counted() -> None:
    counts = {"via": 1}
    made = machine("replaced")(Verdict, b"abcd", [(3, 1, b"z", "contact"), (0, 1, b"", "via")], counts)
    assert type(made) is Verdict
    assert made == Verdict("replace", b"bcz", ((0, 1, b"", "via"), (3, 1, b"z", "contact")), (), "", 0)
    assert counts == {"via": 2, "contact": 1}
    assert machine("replaced")(Verdict, b"abcd", [(0, 2, b"", "via"), (1, 1, b"", "via")], counts) is None
    assert counts == {"via": 2, "contact": 1}


def test_nothing_is_read_behind_a_payload() -> None:
    words = [sys.executable, "-m", "tests.codec.guarded"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-200:] + run.stderr
    assert run.stdout.splitlines()[-1] == f"{len(torn())} payloads"
