from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from types import ModuleType

import pytest

from sipalg import __version__, builds, cli


class FakeCommand(ModuleType):
    """A command with one option, whose main does what the test says."""

    outcome: int | BaseException = 0

    def configure(self, parser: ArgumentParser) -> None:
        parser.add_argument("--count", type=int)

    def main(self, args: Namespace) -> int:
        print(f"{args.command} {args.count}")
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCommand:
    module = FakeCommand("sipalg_fake_command")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.COMMANDS, "fake", (module.__name__, "does what the test says"))
    return module


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("name", "module"), [(name, module) for name, (module, _) in cli.COMMANDS.items()])
def test_every_command_has_its_module(name: str, module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.util.find_spec(module) is not None
    with pytest.raises(SystemExit) as exit_:
        cli.main([name, "--help"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: sipalg {name} ")


def test_version_says_which_build_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"sipalg {__version__} ({builds.running()} build)\n"


def test_a_wish_for_a_build_that_is_not_there_is_one_line() -> None:
    environment = {**os.environ, "SIPALG_BUILD": "fast"}
    done = subprocess.run(
        [sys.executable, "-m", "sipalg", "--version"], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "sipalg: SIPALG_BUILD is 'fast': compiled or pure would be right\n"


def test_help_lists_all_commands_and_imports_none() -> None:
    output = python(
        "import sys\n"
        "from sipalg import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name, _ in cli.COMMANDS.values() if name in sys.modules])"
    )
    assert [name for name in cli.COMMANDS if not re.search(rf"^    {name}\s", output, re.MULTILINE)] == []
    assert output.endswith("[]\n")


def test_command_doesnt_wait_for_the_others_imports() -> None:
    output = python(
        "import sys\n"
        "from sipalg import cli\n"
        "try: cli.main(['explain', '--help'])\n"
        "except SystemExit: pass\n"
        "names = ('pcapy', 'rich', 'asyncio', 'sipalg.control.service.daemon')\n"
        "print([name for name in names if name in sys.modules])"
    )
    assert output.endswith("[]\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "sipalg: the following arguments are required: COMMAND"),
        (["nonsense"], "sipalg: there is no command 'nonsense' (see `sipalg --help`)"),
        (["ip", "x"], "sipalg: there is no command 'ip'; RouterOS's commands begin with /: sipalg '/ip x'"),
        (["fake", "--count", "x"], "sipalg fake: argument --count: invalid int value: 'x'"),
        (["fake", "--cou", "1"], "sipalg fake: unrecognized arguments: --cou 1 (see `sipalg fake --help`)"),
        (["fake", "two\nlines"], "sipalg fake: unrecognized arguments: two lines"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_wrong_arguments_are_one_line_and_exit_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(complaint)
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("code", [0, 1, 2])
def test_commands_exit_code_is_passed_on(fake: FakeCommand, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    fake.outcome = code
    assert cli.main(["fake", "--count", "3"]) == code
    assert capsys.readouterr().out == "fake 3\n"


@pytest.mark.parametrize(
    ("given", "is_routeros"),
    [
        (["/ip firewall service-port print"], True),
        (["/ip", "firewall", "--json"], True),
        (["--json", "--socket", "/run/x", "/ip", "firewall"], True),
        (["--socket=/run/x", "/ip firewall"], True),
        (["/", "ip"], True),
        (["run", "--config", "/etc/x"], False),
        (["--config", "/etc/x", "console"], False),
        (["script", "/srv/x"], False),
        (["--version"], False),
        ([], False),
    ],
)
def test_a_word_that_begins_with_a_slash_is_a_routeros_command(given: list[str], is_routeros: bool) -> None:
    assert cli.routed(given) == (["/", *given] if is_routeros else given)


def test_interrupt_ends_quietly(fake: FakeCommand, capsys: pytest.CaptureFixture[str]) -> None:
    fake.outcome = KeyboardInterrupt()
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr().err == ""


def test_other_errors_are_not_hidden(fake: FakeCommand) -> None:
    fake.outcome = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cli.main(["fake"])


def test_arguments_are_the_processs_by_default(fake: FakeCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.outcome = 7
    monkeypatch.setattr(sys, "argv", ["sipalg", "fake"])
    assert cli.main() == 7


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_reader_that_goes_away_ends_it_quietly(unbuffered: str) -> None:
    code = (
        "import sys, types\n"
        "from sipalg import cli\n"
        "def main(args): print('line')\n"
        "sys.modules['fake'] = types.SimpleNamespace(configure=lambda parser: None, main=main)\n"
        "cli.COMMANDS['fake'] = ('fake', '')\n"
        "sys.exit(cli.main(['fake']))\n"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as nobody_reads:
        ended = subprocess.run(
            [sys.executable, "-c", code],
            stdout=nobody_reads,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert ended.stderr == b""
    assert ended.returncode == cli.READER_GONE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there's no /dev/full")
def test_full_disk_behind_stdout_is_one_line() -> None:
    options = [str(Path(__file__).parents[1] / "examples/register.sip"), "--public", "203.0.113.1"]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "sipalg", "explain", *options], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 2
    assert ended.stderr == b"sipalg: standard output: No space left on device; what it holds isn't complete\n"


def test_output_that_knows_no_arrows_gets_question_marks(tmp_path: Path) -> None:
    (tmp_path / "x.sip").write_bytes(b"OPTIONS sip:203.0.113.50 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1\r\n\r\n")
    ended = subprocess.run(
        [sys.executable, "-m", "sipalg", "explain", str(tmp_path / "x.sip"), "--public", "203.0.113.1"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.startswith(b"outbound (inside ? outside): 10.0.0.1:5060 ? 203.0.113.50:5060, UDP")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("diag", "did you mean diagnose?"),
        ("call", "did you mean calls?"),
        ("ladder", "did you mean calls?"),
        ("diff", "did you mean compare?"),
        ("sniff", "did you mean sniffer?"),
        ("files", "did you mean file?"),
        ("Statsu", "did you mean status?"),
        ("help", "did you mean --help?"),
        ("a.pcap", "with a capture: sipalg calls a.pcap, or sipalg diagnose a.pcap"),
        ("x/a.PCAPNG.gz", "with a capture: sipalg calls x/a.PCAPNG.gz, or sipalg diagnose x/a.PCAPNG.gz"),
        ("a.pcap1", "with a capture: sipalg calls a.pcap1, or sipalg diagnose a.pcap1"),
    ],
)
def test_what_was_meant_is_said(written: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([written, "more"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"sipalg: there is no command {written!r}; {meant} (see `sipalg --help`)\n"


def test_other_errors_of_the_system_are_not_hidden(fake: FakeCommand) -> None:
    fake.outcome = PermissionError(13, "Permission denied")
    with pytest.raises(PermissionError):
        cli.main(["fake"])


def test_a_place_that_isnt_for_this_user_is_one_line(fake: FakeCommand, capsys: pytest.CaptureFixture[str]) -> None:
    fake.outcome = PermissionError(13, "Permission denied", "/root/x")
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == "sipalg: /root/x: Permission denied\n"
