"""What may come next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.settings.properties import PROPERTIES
from sipalg.routeros.complete import asked_about, candidates, help_lines, spans

P = "/ip firewall service-port "
SERVICE_PORT = ("ip", "firewall", "service-port")


def texts(before: str, path: tuple[str, ...] = ()) -> list[str]:
    return [one.text for one in candidates(before, path)]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", ["ip", "tool", "file", "export"]),
        ("/", ["ip", "tool", "file", "export"]),
        ("/ip f", ["firewall"]),
        ("/ip/firewall/", ["service-port", "connection", "nat", "export"]),
        ("/ip firewall; ser", ["service-port"]),
        ("/ip firewall\n.. ", ["firewall", "export"]),
        ("/ip firewall nat print; fire", []),
        (P + "print ", ["brief", "detail", "terse", "as-value", "count-only", "without-paging", "where"]),
        (P + "print detail t", ["terse"]),
        (P + "print where di", ["disabled"]),
        (P + "set [find na", ["name"]),
        (P + "set sip sip-d", ["sip-direct-media=", "sip-direct-signalling="]),
        (P + "set [find] tc", ["tcp="]),
        (P + "set sip disabled=", ["yes", "no", "true", "false"]),
        (P + "set sip disabled=n", ["no"]),
        (P + "set sip ports=5", []),
        (P + "set sip ports=5060 po", []),
        (P + "set sip nonsense=", []),
        (P + "get sip dis", ["disabled"]),
        (P + "disable sip ", ["now"]),
        (P + "foo ", []),
        (P + "print where name=sip ", None),
        ('set "a', []),
    ],
)
def test_names_words_and_values(before: str, expected: list[str] | None) -> None:
    if expected is None:
        assert "disabled" in texts(before)
    else:
        assert texts(before) == expected


def test_a_command_offers_its_entry_and_all_settings() -> None:
    assert texts("set ", SERVICE_PORT) == ["sip", *(f"{key}=" for key in PROPERTIES)]
    assert texts("set sip ports=1 ", SERVICE_PORT) == [f"{key}=" for key in PROPERTIES if key != "ports"]
    assert {one.typed for one in candidates("set sip por", SERVICE_PORT)} == {3}


def test_help_says_what_each_thing_is_for() -> None:
    assert "nat           what the ALG's own table translates" in help_lines("/ip firewall ", ())
    (line,) = help_lines(P + "set sip ports=", ())
    assert "1 to 8 ports" in line
    assert any("can't be changed while sipalg runs" in line for line in help_lines(P + "set sip outside=", ()))
    assert help_lines(P + "foo ", ()) == ["nothing is known to come here"]


def test_help_fits_to_the_terminal() -> None:
    whole = help_lines(P + "set sip ", ())
    fitted = help_lines(P + "set sip ", (), 80)
    assert max(map(len, whole)) > 80 >= max(map(len, fitted))
    assert " ".join(fitted).split() == " ".join(whole).split()
    assert help_lines(P + "set sip ", (), 30) == whole


def test_a_question_mark_at_the_end_asks() -> None:
    assert asked_about("/ip ? ") == "/ip "
    assert asked_about("/ip") is None
    assert asked_about('set x="what?') is None
    assert asked_about('set x="what" ?') == 'set x="what" '


def coloured(line: str) -> list[tuple[str, str | None]]:
    return [(line[span.start : span.end], span.role) for span in spans(line, ())]


def test_each_word_has_its_role() -> None:
    assert coloured("/ip firewall; service-port set sip ports=1 foo=2 x") == [
        ("ip", "menu"), ("firewall", "menu"), ("service-port", "menu"), ("set", "command"), ("sip", "value"),
        ("ports", "name"), ("1", "value"), ("foo=2 x", None),
    ]  # fmt: skip
    assert coloured("/ip firewall service-port set sip ports=")[-1] == ("ports", "name")
    assert coloured("/ip foo") == [("ip", "menu"), ("foo", None)]
    assert coloured('/ip firewall nat print where "x') == [
        ("ip", "menu"), ("firewall", "menu"), ("nat", "menu"), ("print", "command"), ("where", "word"), ('"x', None),
    ]  # fmt: skip


PIECES = ["/ip ", "firewall ", "service-port ", "set ", "sip ", "print ", "where ", "ports=", "[find ", *'];"a =!']


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_completed_and_coloured(line: str) -> None:
    for one in candidates(line, ()):
        assert 0 <= one.typed <= len(line)
        assert one.text.startswith(line[len(line) - one.typed :])
    one_line = line.replace("\n", " ")
    end = 0
    for span in spans(one_line, ()):
        assert end <= span.start <= span.end <= len(one_line)
        end = span.end
