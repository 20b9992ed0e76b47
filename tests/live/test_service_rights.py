"""The systemd unit's user, groups and capabilities, and the journal's priorities, without systemd.

What is taken from the unit is what it says: a line that is changed there is tried here.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.router import PATIENCE_S, Router, exchange, register, until

from sipalg.control.setup.service_files import files, unreachable
from sipalg.lab.topology import PUBLIC_ADDRESS

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

NOBODY = 65534
UNIT = next(file.content.decode() for file in files(Path("/usr"), "x") if file.path.name == "sipalg.service")


def from_unit(key: str) -> list[str]:
    return [word for values in re.findall(rf"(?m)^{key}=(.*)$", UNIT) for word in values.split()]


def rights(capabilities: list[str], groups: str) -> tuple[str, ...]:
    """The program that gives what it runs these rights and no others."""
    names = "".join(f",+{name.removeprefix('CAP_').lower()}" for name in capabilities)
    return (
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", f"--groups={groups}", f"--inh-caps=-all{names}",
        f"--ambient-caps=-all{names}", f"--bounding-set=-all{names}", "--no-new-privs",
    )  # fmt: skip


@pytest.fixture
def as_user(router: Router) -> Router:
    """A router with rules of both kinds of iptables, and a directory for the control socket that is the user's."""
    if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        pytest.skip("this user namespace has no other user")
    if unreachable(Path(sys.executable)) or unreachable(Path(__file__).parent):
        pytest.skip("another user can't get at this checkout")
    router.net.directory.chmod(0o755)
    directory = router.net.directory / "run"
    directory.mkdir(exist_ok=True)
    os.chown(directory, NOBODY, NOBODY)
    router.socket = directory / "sipalg.sock"
    for program in ("iptables-nft", "iptables-legacy"):
        router.net.run("router", program, "-A", "FORWARD", "-i", "lan0", "-j", "ACCEPT", check=False)
    return router


def test_the_unit_s_rights_are_enough(as_user: Router, phone: socket.socket, server: socket.socket) -> None:
    capabilities = from_unit("CapabilityBoundingSet")
    assert capabilities == from_unit("AmbientCapabilities")
    assert from_unit("SupplementaryGroups") == ["root"]
    by = rights(capabilities, groups="0")
    for _ in range(2):
        # The second is a restart: it takes over what the first has left.
        process = as_user.run("--log-edits", by=by)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n" in status
        received, source = exchange(phone, server, register())
        assert source == (PUBLIC_ADDRESS, 5060)
        assert PUBLIC_ADDRESS.encode() in received
        assert as_user.ask("status")["counters"]["queue"]["dropped"] == 0
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert "mapping-kept" in as_user.log.read_text()


def test_its_user_writes_settings_back_though_root_has_edited_them(as_user: Router) -> None:
    path = as_user.socket.parent / "sipalg.toml"
    as_user.run("--config", str(path), by=rights(from_unit("AmbientCapabilities"), groups="0"))

    def change(time: str) -> None:
        words = f"/ip firewall service-port set sip sip-timeout={time}"
        as_user.net.run("router", sys.executable, "-m", "sipalg", words, "--socket", as_user.socket)

    change("30m")
    assert path.stat().st_uid == NOBODY
    # As an editor does that writes another file and renames it.
    other = path.with_name("other")
    other.write_text(f"# Mine.\n{path.read_text()}")
    other.rename(path)
    assert path.stat().st_uid != NOBODY
    change("20m")
    # There was no file: what the command line said is in it too.
    assert path.read_text() == '# Mine.\ninside = ["lan0"]\noutside = "wan0"\nsip-timeout = "20m"\n'
    path.unlink()


@pytest.mark.parametrize(
    ("without", "groups", "said"),
    [
        ("CAP_NET_ADMIN", "0", "CAP_NET_ADMIN"),
        ("", str(NOBODY), "no right to see whether the old iptables has rules"),
    ],
)
def test_with_less_it_says_what_is_missing(as_user: Router, without: str, groups: str, said: str) -> None:
    if groups != "0" and not Path("/proc/net/ip_tables_names").exists():
        pytest.skip("this kernel has no old iptables")
    by = rights([one for one in from_unit("CapabilityBoundingSet") if one != without], groups)
    argv = (*by, sys.executable, "-m", "sipalg", "run", "--inside", "lan0", "--outside", "wan0")
    command = as_user.net.command("router", *argv, "--socket", as_user.socket)
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_each_line_in_the_journal_has_its_priority(
    router: Router, phone: socket.socket, server: socket.socket
) -> None:
    router.log.touch()
    log = router.log.stat()
    process = router.run("--except", "10.99.0.0/24", environment={"JOURNAL_STREAM": f"{log.st_dev}:{log.st_ino}"})
    exchange(phone, server, register())
    router.net.run("router", "nft", "flush", "table", "ip", "nat")
    assert until(lambda: "<4>warning: no rule translates what leaves" in router.log.read_text())
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    lines = router.log.read_text().splitlines()
    assert [line for line in lines if not re.match(r"<[3-6]>[a-z]", line)] == []
    assert any(re.match(r"<6>mapping-opened private=\S+ public=\S+", line) for line in lines)
