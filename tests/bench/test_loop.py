"""The closed loop itself: it runs through a real router, and a wrong message really fails it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.corpus import EXCHANGES, Corpus
from bench.figures import LoopResult
from bench.loop import MODES, LoopError, Mode, compile_programs, print_results, run_once
from bench.network import Network, NetworkError


def _why_not() -> str:
    missing = [program for program in ("gcc", "ip", "nft") if shutil.which(program) is None]
    if missing:
        return f"the closed loop needs {', '.join(missing)}"
    if os.geteuid() != 0:
        return "the closed loop needs root for its namespaces"
    name = f"sbtry{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return f"no namespaces: {made.stderr.strip()}" if made.returncode else ""


WHY_NOT = _why_not()
pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    compile_programs()


def _run(mode: Mode, corpus: Corpus, directory: Path, load: str = "register") -> LoopResult:
    path = directory / "load"
    corpus.write_loop(path, EXCHANGES[load])
    return run_once(mode, 16, 0.2, corpus, path)


@pytest.mark.parametrize("load", EXCHANGES)
def test_plain_nat_carries_every_message_unchanged(load: str, tmp_path: Path) -> None:
    result = _run(MODES["plain"], Corpus(3, 40), tmp_path, load)
    assert result.checked > 80
    assert result.wrong == 0
    assert result.p50_us <= result.p99_us <= result.p999_us


def test_untranslated_messages_fail_where_translation_is_expected(tmp_path: Path) -> None:
    mode = MODES["plain"]._replace(expected="alg")
    with pytest.raises(LoopError, match="wrong message at the server: the request differs"):
        _run(mode, Corpus(3, 40), tmp_path)


def test_nothing_is_left(tmp_path: Path) -> None:
    with Network(Corpus(3, 2).phones) as network:
        names = (network.phones_namespace, network.router, network.server)
        assert all(Path("/run/netns", name).exists() for name in names)
    assert not any(Path("/run/netns", name).exists() for name in names)
    assert not list(tmp_path.iterdir())


def test_a_failure_while_building_leaves_nothing_either() -> None:
    phone = Corpus(3, 1).phones[0]
    network = Network([phone, phone])
    with pytest.raises(NetworkError, match=r"already assigned|File exists"):
        network.__enter__()
    assert not Path("/run/netns", network.router).exists()


def test_results_become_a_table_and_a_failed_run_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise LoopError("no server")

    assert print_results([1, 2], lambda results: [str(len(results))]) == 0
    assert capsys.readouterr().out == "2\n"
    assert print_results(failing(), lambda results: [str(len(results))]) == 1
    assert capsys.readouterr() == ("", "no server\n")
