"""The fuzz targets: every seed keeps every rule, and a few seconds of fuzzing find nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent
SEEDS = sorted((ROOT / "fuzz" / "corpus").iterdir())
SECONDS = 2


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.name)
def test_seed_keeps_the_rules(target: str, seed: Path) -> None:
    TARGETS[target](seed.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.name)
def test_seed_cut_short_keeps_the_rules(target: str, seed: Path) -> None:
    whole = seed.read_bytes()
    for size_bytes in range(0, len(whole), 41):
        TARGETS[target](whole[:size_bytes])


@pytest.mark.parametrize("target", TARGETS)
def test_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("the fuzzing engine (atheris) isn't installed: it has no wheel for this machine")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz.run", target, f"-max_total_time={SECONDS}", "-max_len=4096", "-timeout=10"),
            *("-seed=1", "-verbosity=0", "-dict=fuzz/sip.dict", f"-artifact_prefix={tmp_path}/"),
            *(tmp_path, "fuzz/corpus"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_unknown_target_is_refused_with_the_names() -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("the fuzzing engine (atheris) isn't installed: it has no wheel for this machine")
    run = subprocess.run(
        [sys.executable, "-m", "fuzz.run", "nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert ", ".join(TARGETS) in run.stderr
