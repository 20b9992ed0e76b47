"""The administrator saves the rule set while sipalg runs, or after it: what comes of it can be loaded again."""

from __future__ import annotations

import shutil
import socket

import pytest
from tests.live.router import PATIENCE_S, PHONE, Router, exchange, register

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]


@pytest.fixture
def nft() -> str:
    return shutil.which("nft") or pytest.skip("nft isn't installed")


def test_what_is_saved_as_the_log_says_loads_while_it_runs(router: Router, nft: str) -> None:
    router.run()
    how = next(line for line in router.logged() if line.startswith("note: to save"))
    saved = router.net.run("router", "sh", "-c", how.split(": ", 2)[2])
    assert "masquerade" in saved
    assert "sipalg" not in saved
    router.net.run("router", nft, "-f", "-", text="flush ruleset\n" + saved)
    assert "sipalg" in router.rules()
    assert saved in router.net.run("router", nft, "list", "ruleset")


def test_what_stands_after_the_end_loads_but_for_a_flag_that_old_programs_cannot_name(
    router: Router, nft: str, phone: socket.socket, server: socket.socket
) -> None:
    process = router.run()
    exchange(phone, server, register())
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    dump = router.net.run("router", nft, "list", "ruleset")
    assert f"{PHONE} . 5060" in dump
    # nft before 1.1 doesn't know `persist`, and prints an empty list of flags.
    lines = [line for line in dump.splitlines() if line.strip() != "flags"]
    router.net.run("router", nft, "-c", "-f", "-", text="\n".join(["flush ruleset", *lines, ""]))
