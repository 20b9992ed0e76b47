"""Commands from a file."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.routeros.conftest import Places
from tests.routeros.fake import FakeAlg

from sipalg.control.settings.file import load
from sipalg.routeros import script

SCRIPT = """\
# The lecture's settings
/ip firewall service-port
set sip ports=5060,5061 \\
    sip-direct-media=yes sip-timeout=01:00:00; enable sip
get sip sip-timeout
/ip/firewall/service-port/print count-only
"""


def run(places: Places, file: Path, text: str | bytes) -> int:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return script.main(places.parse(script, str(file)))


def test_a_script_is_run_line_by_line(places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(places, tmp_path / "s.rsc", SCRIPT) == 0
    assert capsys.readouterr().out == "1h\n1\n"
    assert load(places.config).ports == (5060, 5061)


def test_standard_input(places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    content = b"\xef\xbb\xbf" + SCRIPT.replace("\n", "\r\n").encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert script.main(places.parse(script, "-")) == 0
    assert capsys.readouterr().out == "1h\n1\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (SCRIPT + "  set sip portz=1\n", ":7:11: bad parameter portz: did you mean ports?"),
        ("/ip firewall service-port\nset sip ports=1\nset sip \\\n  portz=1\n", ":4:3: bad parameter portz"),
        ('/ip firewall\nnat "\n', ":2:5: expected closing quote"),
        (b"/ip\n\xff", ": line 2: isn't UTF-8 text"),
        (b" " * (1 << 20) + b"/", ": is longer than 1048576 bytes"),
    ],
)
def test_an_error_is_told_with_file_line_and_column_and_nothing_is_run(
    text: str | bytes, error: str, places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = places.config.read_bytes()
    assert run(places, tmp_path / "s.rsc", text) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"sipalg: {tmp_path / 's.rsc'}{error}")
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert places.config.read_bytes() == before


def test_what_only_the_router_refuses_ends_it(
    places: Places, alg: FakeAlg, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.rsc"
    wrong = "/ip firewall service-port\nset [find name=h323] ports=1\nset sip ports=5070\n"
    assert run(places, file, wrong) == 2
    assert capsys.readouterr().err.startswith(f"sipalg: {file}:2:1: no such item")
    assert {one["command"] for one in alg.asked} == {"settings", "metrics"}
    assert run(places, file, "/ip firewall service-port set sip ports=5070\n" + wrong) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"sipalg: {file}:3:1: no such item")
    assert error.endswith("; what stands before it is done\n")
    assert alg.settings.ports == (5070,)


def test_a_file_that_isnt_there(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(places.parse(script, "/nonexistent/x")) == 2
    assert capsys.readouterr().err == "sipalg: /nonexistent/x: No such file or directory\n"


def test_what_isnt_saved_is_told_by_the_exit_code(places: Places, tmp_path: Path, alg: FakeAlg) -> None:
    alg.saved, alg.besides = None, {"not_saved": "/etc/x: can't be written"}
    assert (
        run(places, tmp_path / "s.rsc", "/ip firewall service-port\nset sip ports=5070\nset sip mode=observe\n") == 1
    )
    assert (alg.settings.ports, alg.settings.mode) == ((5070,), "observe")


def test_a_change_that_isnt_answered_ends_it_with_1(
    places: Places, alg: FakeAlg, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alg.silent = True
    assert run(places, tmp_path / "s.rsc", "/ip firewall service-port set sip ports=5070\n") == 1
    assert "may have been made, or not" in capsys.readouterr().err
