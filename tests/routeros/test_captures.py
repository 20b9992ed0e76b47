from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipalg import cli


@pytest.fixture
def captures(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "captures"
    with file.open("a") as settings:
        settings.write(f'captures = "{directory}"\n')
    monkeypatch.setenv("SIPALG_CONFIG", str(file))
    monkeypatch.setenv("SIPALG_SOCKET", str(tmp_path / "sock"))
    return directory


@pytest.mark.usefixtures("captures")
def test_the_sniffer_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sniffer", "set", "filter-port=sip", "file-name=a.pcap"]) == 0
    assert cli.main(["sniffer", "print"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "                    filter-port: sip" in shown
    assert cli.main(["sniffer", "print", "--json"]) == 0
    assert '"file-name": "a.pcap"' in capsys.readouterr().out
    assert cli.main(["sniffer", "set", "filter-port=5060x"]) == 2
    assert capsys.readouterr().err.startswith("sipalg: invalid value of filter-port (line 1 column 31)")


def test_files_as_a_command(captures: Path, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    captures.mkdir()
    (captures / "a.pcap").write_bytes(b"\xd4\xc3")
    assert cli.main(["file", "print"]) == 0
    assert b"a.pcap" in capfdbinary.readouterr().out
    assert cli.main(["file", "get", "a.pcap"]) == 0
    assert capfdbinary.readouterr().out == b"\xd4\xc3"
    assert cli.main(["file", "get", "a.pcap", "--output", str(tmp_path / "got")]) == 0
    assert (tmp_path / "got").read_bytes() == b"\xd4\xc3"
    assert capfdbinary.readouterr().out == b""
    assert cli.main(["file", "ge", "a.pcap", "--json", "--output", str(tmp_path / "got")]) == 0
    answer = json.loads(capfdbinary.readouterr().out)
    assert answer == {"name": "a.pcap", "output": str(tmp_path / "got"), "size": 2}
    assert cli.main(["file", "remove", "a.pcap"]) == 0
    assert list(captures.iterdir()) == []


def test_a_capture_is_not_written_over_itself(captures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captures.mkdir()
    (captures / "a.pcap").write_bytes(b"\xd4\xc3")
    path = captures / "b.pcap"
    path.hardlink_to(captures / "a.pcap")
    assert cli.main(["file", "get", "a.pcap", "--output", str(path)]) == 2
    assert capsys.readouterr().err == f"sipalg: {path}: is the capture itself; give another file to write\n"
    assert (captures / "a.pcap").read_bytes() == b"\xd4\xc3"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["get", "a", "--json"], "a capture isn't JSON; with --json, use --output a"),
        (["get"], "get takes one file's name"),
        (["get", "a", "b"], "get takes one file's name"),
        (["get", "gone"], "no such file gone"),
        (["get", "../sipalg.toml"], "'../sipalg.toml' is no plain file name"),
        (["remove", "gone"], "no such file gone"),
        (["get", "a", "--output", "/nonexistent/x"], "/nonexistent/x: No such file or directory"),
    ],
)
def test_what_cannot_be_is_one_line(
    captures: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    captures.mkdir()
    (captures / "a").write_bytes(b"")
    assert cli.main(["file", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("words", "told"), [(["bogus"], "'bogus'; there are print, remove, get"), (["g o"], "'g o'")])
@pytest.mark.usefixtures("captures")
def test_other_commands_are_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["file", *words])
    assert ended.value.code == 2
    assert f"there is no command {told}" in capsys.readouterr().err


@pytest.mark.usefixtures("captures")
def test_output_is_for_get(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["file", "print", "--output", "x"])
    assert ended.value.code == 2
    assert "--output is only for get" in capsys.readouterr().err


def test_a_capture_is_nothing_for_a_terminal(
    captures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    captures.mkdir()
    (captures / "a").write_bytes(b"")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert cli.main(["file", "get", "a"]) == 2
    assert "--output a" in capsys.readouterr().err
