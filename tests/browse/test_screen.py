"""The screen with typed keys, and once on a real terminal."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from sipalg.browse.browser import Browser
from sipalg.browse.pages import Ladder, Table, Whole
from sipalg.browse.screen import Screen
from sipalg.browse.sources import CapturedCalls

PATIENCE_S = 60


def shown(browser: Browser, keys: str) -> str:
    """What a terminal of 100 columns gets while keys are typed."""
    out = io.StringIO()
    with create_pipe_input() as typed:
        typed.send_text(keys)
        Screen(browser, typed, Vt100_Output(out, lambda: Size(24, 100), term="xterm")).run()
    return out.getvalue()


def test_keys_of_a_terminal(calls: CapturedCalls) -> None:
    browser = Browser(calls)
    # Down, Enter; Enter; Ctrl-C.
    text = shown(browser, "\x1b[B\r\r\x03")
    assert isinstance(browser.page, Whole)
    assert browser.done
    assert "Message 1 of 5" in text
    assert "INVITE sip:bob@example.com SIP/2.0" in text


def test_escape_alone_goes_back(calls: CapturedCalls) -> None:
    browser = Browser(calls)
    reading, writing = os.pipe()
    os.write(writing, b"never read")
    pages = []
    with create_pipe_input() as typed:

        def look() -> None:
            pages.append(type(browser.page))
            if pages[-1] is Table and Ladder in pages:
                typed.send_text("\x03")

        typed.send_text("\r\x1b")
        output = Vt100_Output(io.StringIO(), lambda: Size(24, 80), term="xterm")
        Screen(browser, typed, output).run(reading, look)
    for descriptor in (reading, writing):
        os.close(descriptor)
    assert browser.done


def test_text_is_typed_and_pasted(calls: CapturedCalls) -> None:
    browser = Browser(calls)
    text = shown(browser, "/\x1b[200~call@\x1b[201~x\x7f\x08\r\x03")
    assert isinstance(browser.page, Table)
    assert browser.page.wanted == "call"
    assert "1 of 2, with 'call'" in text or "2 of 2, with 'call'" in text


def test_packets_are_taken_between_keys(calls: CapturedCalls) -> None:
    browser = Browser(calls)
    reading, writing = os.pipe()
    took: list[bytes] = []

    with create_pipe_input() as typed:

        def take() -> None:
            took.append(os.read(reading, 10))
            typed.send_text("q")

        os.write(writing, b"packet")
        output = Vt100_Output(io.StringIO(), lambda: Size(24, 80), term="xterm")
        Screen(browser, typed, output, live=True).run(reading, take)
    for descriptor in (reading, writing):
        os.close(descriptor)
    assert took == [b"packet"]
    assert browser.done


def test_more_keys_than_it_takes_to_leave(calls: CapturedCalls) -> None:
    interrupt = signal.getsignal(signal.SIGINT)
    browser = Browser(calls)
    assert "Return value" not in shown(browser, "q" * 20)
    assert browser.done
    assert signal.getsignal(signal.SIGINT) == interrupt


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_a_key_does(number: signal.Signals, calls: CapturedCalls) -> None:
    before = [signal.getsignal(one) for one in (number, signal.SIGINT)]
    reading, writing = os.pipe()
    os.write(writing, b"x")
    out = io.StringIO()
    with create_pipe_input() as typed:
        screen = Screen(Browser(calls), typed, Vt100_Output(out, lambda: Size(24, 80), term="xterm"))
        screen.run(reading, lambda: signal.raise_signal(number) if screen.app.is_running else None)
    for descriptor in (reading, writing):
        os.close(descriptor)
    assert [signal.getsignal(one) for one in (number, signal.SIGINT)] == before
    assert "\x1b[?1049l" in out.getvalue()


def test_on_a_terminal(capture: Path) -> None:
    leading, following = pty.openpty()
    argv = [sys.executable, "-m", "sipalg", "calls", "-i", "-"]
    environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    with capture.open("rb") as content:
        process = subprocess.Popen(argv, stdin=content, stdout=following, stderr=following, env=environment)
    os.close(following)
    seen = b""
    try:
        for keys, wanted in ((b"", b"Calls of standard input"), (b"\x1b[B\r", b"INVITE (SDP)"), (b"\x1bqq", None)):
            os.write(leading, keys)
            deadline = time.monotonic() + PATIENCE_S
            while wanted is not None and wanted not in seen and time.monotonic() < deadline:
                if select.select([leading], [], [], 0.1)[0]:
                    seen += os.read(leading, 65536)
            assert wanted is None or wanted in seen
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leading)
    # The terminal is as it was before: its other screen has gone.
    assert b"\x1b[?1049h" in seen
