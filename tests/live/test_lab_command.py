"""`sipalg lab` as a person starts it: what it prints, and that an interrupted one leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sipalg.lab.programs import missing_packages
from sipalg.lab.topology import NETNS_DIRECTORY

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

LAB = [sys.executable, "-m", "sipalg", "lab"]


@pytest.fixture(autouse=True)
def programs() -> None:
    missing = missing_packages()
    if missing:
        pytest.skip(f"programs are missing: apt-get install {' '.join(missing)}")


def leftovers(pid: int) -> list[Path]:
    """List what a lab's process has left: namespaces and directories with its prefix."""
    names = list(NETNS_DIRECTORY.glob(f"salab{pid}n*")) if NETNS_DIRECTORY.exists() else []
    return names + list(Path(tempfile.gettempdir()).glob(f"salab{pid}n*"))


def test_results_as_json_and_files_kept(tmp_path: Path) -> None:
    argv = [*LAB, "--only", "call-out", "--mode", "none", "--json", "--keep", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["ok"], run["as_expected"], run["mode"]) == (False, True, "none")
    assert "hears nothing" in run["why"]
    kept = {path.name for path in (tmp_path / "call-out-none").iterdir()}
    assert {"router-lan0.pcap", "router-wan0.pcap", "kamailio.log", "nftables.conf", "ruleset.txt"} <= kept


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_lab_leaves_nothing(number: signal.Signals) -> None:
    argv = [*LAB, "--only", "register-silence-called", "--mode", "none", "--mode", "kernel"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as lab:
        assert lab.stdout is not None
        assert "2 runs" in lab.stdout.readline()
        while not leftovers(lab.pid):
            assert lab.poll() is None
        lab.send_signal(number)
        try:
            lab.communicate(timeout=30)
        finally:
            lab.kill()
    assert lab.returncode == 130
    assert leftovers(lab.pid) == []
