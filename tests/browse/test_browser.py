from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipalg.analysis.messages import SipMessage
from sipalg.browse.browser import Browser
from sipalg.browse.pages import Difference, Ladder, Table, Text, Whole
from sipalg.browse.sources import CapturedCalls
from sipalg.capture.pcap import CaptureError
from sipalg.capture.reading import open_capture

ALL_KEYS = [
    *("up", "down", "left", "right", "enter", "escape", "pageup", "pagedown", "home", "end", "backspace", "c-u"),
    *("f1", "f2", "f3", "f7", "f9", " ", "/", "a", "q", "s", "h", "n", "p", "j", "k"),
]


def press(browser: Browser, *keys: str) -> None:
    for key in keys:
        browser.press(key)


def seen(browser: Browser, width: int = 100, height: int = 24) -> list[str]:
    return ["".join(text for _, text in line).rstrip() for line in browser.draw(width, height)]


def test_from_the_table_to_a_difference_and_back(calls: CapturedCalls) -> None:
    browser = Browser(calls)
    pages = []
    for keys in (["down", "enter"], ["enter"], ["q"], [" ", "j", " "], ["escape"], ["h"], ["q"], ["q"]):
        press(browser, *keys)
        pages.append(type(browser.page))
    assert pages == [Ladder, Whole, Ladder, Difference, Ladder, Text, Ladder, Table]
    dones = [browser.done]
    press(browser, "q")
    assert [*dones, browser.done] == [False, True]
    assert seen(browser)


def test_a_bar_above_and_one_below(calls: CapturedCalls) -> None:
    lines = seen(Browser(calls))
    assert lines[0] == "Calls of a.pcap: 2"
    assert lines[-1].startswith("Enter ladder")
    assert len(lines) == 24


def test_filter_finds_while_it_is_typed(calls: CapturedCalls) -> None:
    browser = Browser(calls)
    press(browser, "/", *"regq")
    assert seen(browser)[1] == "No call has this text."
    press(browser, "backspace")
    assert seen(browser)[0] == "Calls of a.pcap: 1 of 2, with 'reg'"
    assert seen(browser)[-1] == "filter: reg"
    press(browser, "enter")
    assert seen(browser)[-1].startswith("Enter ladder")
    press(browser, "f3", "c-u", "escape")
    assert seen(browser)[0] == "Calls of a.pcap: 2"
    press(browser, "enter", "/")
    assert isinstance(browser.page, Ladder)
    assert "filter" not in seen(browser)[-1]


def test_filter_finds_methods(calls: CapturedCalls) -> None:
    for method in ("invite", "BYE"):
        browser = Browser(calls)
        press(browser, "f7", *method, "enter")
        assert seen(browser)[0] == f"Calls of a.pcap: 1 of 2, with {method!r}"
        assert "call" in seen(browser)[2]


def test_escape_takes_one_thing_back_at_a_time(calls: CapturedCalls) -> None:
    browser = Browser(calls)
    press(browser, " ", "/", *"reg", "enter", "s", "c-u", *"none/x", "enter")
    told = []
    for _ in range(4):
        told.append((seen(browser)[0].removeprefix("Calls of a.pcap: "), seen(browser)[-1].split(":")[0][:6]))
        assert not browser.done
        press(browser, "escape")
    assert told == [
        ("1 of 2, with 'reg', 1 selected", "none/x"),
        ("1 of 2, with 'reg', 1 selected", "Enter "),
        ("2, 1 selected", "Enter "),
        ("2", "Enter "),
    ]
    assert browser.done


def test_q_and_f10_leave_at_once(calls: CapturedCalls) -> None:
    for keys in (["/", "r", "enter", "q"], ["/", "r", "f10"], ["enter", "enter", "f10"]):
        browser = Browser(calls)
        press(browser, *keys)
        assert browser.done


def test_selection_is_saved(calls: CapturedCalls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    browser = Browser(calls)
    press(browser, "down", "s")
    assert seen(browser)[-1].startswith("save 1 call as: calls.pcap")
    press(browser, "enter")
    assert seen(browser)[-1] == "calls.pcap: 11 packets of 1 call"
    with open_capture(tmp_path / "calls.pcap") as source:
        assert len(list(source)) == 11
    press(browser, "up", "f2", "enter")
    assert "is there already; Enter replaces it" in seen(browser)[-1]
    press(browser, "enter")
    assert seen(browser)[-1] == "calls.pcap: 2 packets of 1 call"
    press(browser, "s", "c-u", "enter")
    assert seen(browser)[-1].startswith("Enter ladder")
    press(browser, "s", "c-u", *"none/x", "enter")
    assert seen(browser)[-1].startswith("none/x: No such file or directory")
    press(browser, "s", "escape", "down")
    assert seen(browser)[-1].startswith("Enter ladder")


def test_what_cannot_be_read_any_more_is_told(calls: CapturedCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_call_ids: frozenset[str]) -> list[SipMessage]:
        raise CaptureError("a.pcap: has gone")

    monkeypatch.setattr(calls, "messages", fail)
    browser = Browser(calls)
    press(browser, "enter")
    assert seen(browser)[1] == "a.pcap: has gone"
    press(browser, "enter")
    assert seen(browser)[-1] == "a.pcap: has gone"


def test_interrupt_ends_it_anywhere(calls: CapturedCalls) -> None:
    for keys in ([], ["s"], ["enter", "enter"]):
        browser = Browser(calls)
        press(browser, *keys, "c-c")
        assert browser.done


@given(keys=st.lists(st.sampled_from(ALL_KEYS), max_size=40), width=st.integers(1, 200), height=st.integers(1, 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_keys_break_it(
    keys: list[str], width: int, height: int, calls: CapturedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "save", lambda _call_ids, _path: 1)
    browser = Browser(calls)
    for key in keys:
        browser.press(key)
        assert len(browser.draw(width, height)) == max(3, height)
