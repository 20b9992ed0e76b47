"""The facts of the tree that no type checker sees: versions, layout, locks, and that documents name every option."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import sipalg
from sipalg import cli

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "sipalg").rglob("*.py"))
MODULES = [path for path in SOURCES if path.name not in ("__init__.py", "__main__.py")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LONGEST_SOURCE_FILE = 400
SUPPRESSIONS = re.compile(r"\b(?:TODO|FIXME|XXX)\b|#\s*(?:noqa|type:\s*ignore|pragma|pylint|mypy:|fmt:|ruff:)")
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def help_options(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The long options that a command's own help names."""
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    return set(OPTION.findall(capsys.readouterr().out))


def man_options(command: str) -> set[str]:
    """The long options in the man page's section about a command."""
    for section in re.split(r"(?m)^\.S[hs] ", (ROOT / "docs/man/sipalg.8").read_text()):
        heading, _, text = section.partition("\n")
        if command in re.split(r"[ ,]+", heading):
            return set(re.findall(r"(?m)^\.It (?:Fl \w , )?Fl Fl ([a-z0-9-]+)", text)) | {"help"}
    raise AssertionError(f"the man page has no section about {command}")


def completed_in_bash(*words: str) -> set[str]:
    """What bash offers behind `words`, the last of which has been begun."""
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sipalg; printf "%s\\n" "${COMPREPLY[@]}"'
    bash = ["bash", "-c", script, "bash", str(ROOT / "completions/sipalg.bash"), "sipalg", *words]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(bash, capture_output=True, text=True, check=True, env={**os.environ, "PATH": path})
    return set(done.stdout.split())


def test_version_is_the_same_everywhere() -> None:
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert PROJECT["project"]["version"] == sipalg.__version__ == newest[1]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_has_its_own_test_file(path: Path) -> None:
    layer, *packages = path.relative_to(ROOT / "src/sipalg").parts[:-1] or (".",)
    stem = path.stem.lstrip("_")
    if path.parent.name == "sipalg":
        places = [ROOT / "tests"]
        found = [*places[0].glob(f"test_{stem}.py")]
    else:
        # What can be tried in namespaces only has its tests in tests/live.
        places = [ROOT / "tests" / place for place in (layer, "live")]
        # The lab's scenarios have one test file for all of them, which plays each.
        name = "test_scenarios.py" if (layer, *packages) == ("lab", "scenarios") else f"test_{stem}.py"
        found = [file for place in places for file in place.rglob(name)]
    assert found, f"no test_{stem}.py in {', '.join(name_of(place) for place in places)}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_source_file_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_SOURCE_FILE
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_source_file_silences_no_checker_and_leaves_nothing_for_later(path: Path) -> None:
    assert [line for line in path.read_text().splitlines() if SUPPRESSIONS.search(line)] == []


def test_layers_are_kept() -> None:
    run = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("requirements.lock", ("build", "dev")),
        ("fuzz/requirements.lock", ("fuzz",)),
        ("bench/requirements.lock", ("bench",)),
    ],
)
def test_every_dependency_is_locked_with_hashes(lock: str, groups: tuple[str, ...]) -> None:
    entries = re.split(r"\n(?=[a-z])", (ROOT / lock).read_text())[1:]
    locked = {re.split(r"==|\[", entry)[0] for entry in entries}
    wanted = [*PROJECT["project"]["dependencies"]] if "dev" in groups else []
    for group in groups:
        wanted += PROJECT["dependency-groups"][group]
    if "build" in groups:
        wanted += PROJECT["build-system"]["requires"]
    assert {re.split(r"[<>=~! ;\[]", requirement)[0] for requirement in wanted} <= locked
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_what_is_asked_for_with_an_extra_is_locked_with_it() -> None:
    """Else pip asks for the newest version of that, and refuses it for having no hash, once the lock's is older."""
    lock = (ROOT / "requirements.lock").read_text()
    names = re.findall(r"^([a-z0-9.-]+)((?:\[[a-z0-9,]+\])?)==", lock, re.MULTILINE)
    locked = {name + extra for name, extra in names}
    asked = set()
    for name, _ in names:
        # Those of other systems aren't installed here.
        with contextlib.suppress(metadata.PackageNotFoundError):
            for requirement in metadata.requires(name) or ():
                found = re.match(r"[A-Za-z0-9._-]+\[[a-z0-9,]+\]", requirement)
                if found and "extra ==" not in requirement:
                    asked.add(found[0])
    assert asked
    assert asked <= locked


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    records = [path.name for path in (ROOT / "docs/adr").glob("0*.md")]
    assert records
    assert [record for record in records if f"({record})" not in index] == []


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_man_page_names_exactly_the_options_of(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert man_options(command) == help_options(command, capsys)


def test_man_page_names_the_options_of_the_program_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert man_options("OPTIONS") == set(OPTION.findall(capsys.readouterr().out))


@pytest.mark.parametrize(
    "script", [*sorted(ROOT.glob("tools/*.sh")), ROOT / ".ci/run", ROOT / "completions/sipalg.bash"], ids=name_of
)
def test_shell_script_can_be_read(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize(("shell", "file"), [("zsh", "_sipalg"), ("fish", "sipalg.fish")])
def test_completion_can_be_read_by_its_shell(shell: str, file: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} isn't installed")
    subprocess.run([shell, "-n", ROOT / "completions" / file], check=True)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_bash_completes_exactly_the_options_of(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert completed_in_bash(command, "--") == {f"--{option}" for option in help_options(command, capsys)}


def test_bash_completes_the_commands() -> None:
    assert completed_in_bash("") == {*cli.COMMANDS, "--help", "--version"}
    assert completed_in_bash("re") == {"rewrite"}
    assert completed_in_bash("run", "--mode", "") == {"enforce", "observe"}


#: _sipalg with stubs in the place of zsh's own functions: the second call of `_arguments` names the command's options.
ZSH = """
_describe() { : }
_call_program() { : }
_arguments() { if [[ $1 == -C ]]; then state=argument line=($called); else print -l -- "$@"; fi }
called=$2
source $1
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh isn't installed")
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_zsh_completes_exactly_the_options_of(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["zsh", "-f", "-c", ZSH, "zsh", str(ROOT / "completions/_sipalg"), command]
    specs = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"--([a-z][a-z0-9-]*)\[", specs)) == help_options(command, capsys)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish isn't installed")
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_fish_completes_exactly_the_options_of(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = f"source {ROOT}/completions/sipalg.fish; complete -C 'sipalg {command} --'"
    offered = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True).stdout
    assert {line.partition("\t")[0] for line in offered.splitlines()} == {
        f"--{option}" for option in help_options(command, capsys)
    }


def test_bash_completes_routeros_commands_by_the_grammar() -> None:
    assert completed_in_bash("/i") == {"/ip"}
    assert completed_in_bash("/ip/fire") == {"/ip/firewall"}
    assert completed_in_bash("/ip", "firewall", "ser") == {"service-port"}
    assert completed_in_bash("/ip", "firewall", "service-port", "set", "sip", "po") == {"ports="}


@pytest.mark.parametrize("file", ["_sipalg", "sipalg.fish"])
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_other_shells_complete(file: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "completions" / file).read_text()
    assert re.search(rf"(?<!\w){command}(?!\w)", text)
    for option in help_options(command, capsys):
        assert re.search(rf"(?:--|-l ){option}(?![\w-])", text), f"--{option} of {command} is missing"
