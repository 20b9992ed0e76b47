"""One command from a shell: output, stderr and exit code as users have them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.routeros.conftest import Places
from tests.routeros.fake import FakeAlg

from sipalg import cli
from sipalg.control.settings.file import load
from sipalg.routeros import shell

P = "/ip firewall service-port "
LECTURE = P + "set sip ports=5060,5061 sip-direct-media=yes sip-timeout=01:00:00 disabled=no"


def run(places: Places, *words: str) -> int:
    return shell.main(places.parse(shell, *words))


@pytest.mark.parametrize(
    "words",
    [[P + "print"], ["/ip", "firewall", "service-port", "print"], ["/ip/firewall", "service-port/print"]],
)
def test_a_command_in_one_piece_or_several(
    words: list[str], places: Places, alg: FakeAlg, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(places, *words) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[-2:] == ["0  sip    5060", "          5061"]
    assert output.err == ""
    assert alg.asked


@pytest.mark.parametrize("place", ["before", "after"])
def test_options_before_the_command_or_behind(
    place: str, places: Places, alg: FakeAlg, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--json", "--socket", str(places.socket), "--config", str(places.config)]
    command = ["/ip", "firewall", "service-port", "print"]
    assert cli.main([*options, *command] if place == "before" else [*command, *options]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "sip"
    assert alg.asked


def test_json_may_have_slipped_into_the_quotes(
    places: Places, alg: FakeAlg, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(places, P + "print where name=sip --json ") == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "sip"
    assert run(places, P + "print --json detail") == 2
    assert "expected end of command" in capsys.readouterr().err
    assert alg.asked


def test_a_terminal_gets_lines_that_fit(
    places: Places, alg: FakeAlg, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(places, "/ip firewall connection print") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) > 80
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(places, "/ip firewall connection print") == run(places, P + "set ?") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert alg.asked


@pytest.mark.parametrize("words", [[P + "disable sip --now"], [*P.split(), "disable", "sip", "--now"]])
def test_now_may_look_like_an_option(words: list[str], places: Places, alg: FakeAlg) -> None:
    assert run(places, *words) == 0
    assert alg.asked[-1]["arguments"] == {"now": True}


def test_a_change_prints_nothing_but_json(places: Places, alg: FakeAlg, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(places, P + "set sip ports=5070") == 0
    assert capsys.readouterr().out == ""
    assert run(places, P + "set sip ports=5071", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"changed": ["ports"], "saved": alg.saved}
    assert run(places, P + "print count-only", "--json") == 0
    assert json.loads(capsys.readouterr().out) == 1


def test_a_change_that_isnt_saved_is_half_done(
    places: Places, alg: FakeAlg, capsys: pytest.CaptureFixture[str]
) -> None:
    alg.saved, alg.besides = None, {"not_saved": "/etc/x: can't be written"}
    assert run(places, f"{P}set sip ports=5070; {P}set sip ports=5071") == 1
    said = "sipalg: in force until the next start, but not saved: /etc/x: can't be written"
    assert capsys.readouterr().err.splitlines() == [said, said]
    assert alg.settings.ports == (5071,)


def test_without_an_alg_one_line_says_which_file_it_is(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(places, LECTURE) == 0
    assert run(places, P + "print") == 0
    output = capsys.readouterr()
    changed, shown = output.err.splitlines()
    assert changed == f"sipalg: no sipalg is running behind {places.socket}: changed in {places.config}"
    assert shown.endswith(f"these are the settings of {places.config}")
    assert "0 I  sip    5060" in output.out.splitlines()


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("set sip ports=1,2,3,4,5,6,7,8,9", "invalid value of ports (line 1 column 41): 9 ports"),
        ("set sip ports=5060-5070", "'5060-5070': ranges aren't taken"),
        ("set sip ports=0", "'0' is no port"),
        ("set sip ports=5070 sip-timeout=abc", "invalid value of sip-timeout (line 1 column 58): 'abc' is no time"),
        ("set sip ports=5070 colour=red", "bad parameter colour (line 1 column 46)"),
        ("set h323 ports=5070", "no such item h323 (line 1 column 31)"),
        ("set [find name=h323] ports=5070", "no such item"),
        ("set sip ports=5070 disabled=perhaps", "input does not match any value of disabled (line 1 column 55)"),
        ("frobnicate sip", "bad command name frobnicate (line 1 column 27)"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_changed(
    running: bool,
    command: str,
    names: str,
    places: Places,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    alg: FakeAlg | None = request.getfixturevalue("alg") if running else None
    before = places.config.read_bytes()
    assert run(places, P + command) == 2
    output = capsys.readouterr()
    assert output.out == ""
    lines = [line for line in output.err.splitlines() if "these are the settings" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("sipalg: ")
    assert names in lines[0]
    assert places.config.read_bytes() == before
    assert alg is None or not {"set", "disable"} & {one["command"] for one in alg.asked}


def test_a_change_that_isnt_answered_may_have_been_made(
    places: Places, alg: FakeAlg, capsys: pytest.CaptureFixture[str]
) -> None:
    alg.silent = True
    assert run(places, P + "set sip ports=5070") == 1
    assert capsys.readouterr().err.endswith(
        "gave no whole answer; the change may have been made, or not; look with print when it answers\n"
    )
    # To look changes nothing.
    assert run(places, P + "print") == 2
    assert "may have been" not in capsys.readouterr().err


def test_what_contradicts_the_file_is_refused(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    before = places.config.read_bytes()
    assert run(places, P + "set sip ports=5070 outside=lan0") == 2
    assert "lan0 is also in inside" in capsys.readouterr().err
    assert places.config.read_bytes() == before


def test_a_menu_alone_and_a_question_mark_help(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(places, "/ip firewall") == 0
    shown = capsys.readouterr().out
    assert run(places, "/ip", "firewall ?") == 0
    assert capsys.readouterr().out == shown
    assert "service-port  the ALG's settings" in shown


def test_the_lectures_session_line_by_line(places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What routeros.md says of each: the settings that it leaves, in the file as in a running ALG."""
    steps = {
        "/ip firewall service-port": None,
        LECTURE: ((5060, 5061), True, 3600.0, False),
        "/ip firewall service-port disable sip": ((5060, 5061), True, 3600.0, True),
        "/ip firewall service-port enable sip": ((5060, 5061), True, 3600.0, False),
        "/ip firewall service-port set sip sip-direct-media=no": ((5060, 5061), False, 3600.0, False),
        "/ip firewall service-port set sip sip-direct-media=yes": ((5060, 5061), True, 3600.0, False),
    }
    for line, expected in steps.items():
        assert run(places, line) == 0
        settings = load(places.config)
        found = (settings.ports, settings.direct_media, settings.sip_timeout_s, settings.disabled)
        assert expected in (None, found)
    with FakeAlg(tmp_path / "sock") as alg:
        for line, expected in steps.items():
            assert run(places, line) == 0
            settings = alg.settings
            found = (settings.ports, settings.direct_media, settings.sip_timeout_s, settings.disabled)
            assert expected in (None, found)
    assert "service-port" not in capsys.readouterr().err


def test_an_unreachable_alg_is_one_line(places: Places, alg: FakeAlg, capsys: pytest.CaptureFixture[str]) -> None:
    alg.refuses = "too many clients"
    assert run(places, P + "print") == 2
    assert re.fullmatch(r"sipalg: sipalg \(pid \d+\) refuses: too many clients\n", capsys.readouterr().err)
