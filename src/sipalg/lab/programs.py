"""Real programs on the lab's hosts: started with a log file each, watched by their words, ended by their pid.

A program is started in a process group of its own, and only that group is ever signalled: nothing on the machine that
the lab didn't start is touched. On a packet's way these are the phones, the servers, the captures and the ALG itself.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from sipalg.lab.topology import LabError, Topology

#: Program → the Debian package that brings it.
PACKAGES: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "sysctl": "procps",
    "conntrack": "conntrack",
    "tcpdump": "tcpdump",
    "kamailio": "kamailio",
    "baresip": "baresip-core",
    "sipp": "sip-tester",
}
POLL_S: Final = 0.05
#: How long is waited for what only takes long where something hangs: no run that goes well or fails waits for it.
PATIENCE_S: Final = 30.0
#: How long is waited for what goes on all the time and yet doesn't come to its end.
LONGEST_S: Final = 20.0
#: How long a program has to end by itself.
GRACE_S: Final = 3.0
#: What tcpdump's kernel buffer holds, so that a flood doesn't overrun it.
BUFFER_KIB: Final = "16384"


def missing_packages() -> list[str]:
    """Name the Debian packages that are to be installed before the lab can run, sorted; empty if all are there."""
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})


#: Set when the lab is to end early: whoever waits stops waiting. One for the process, as its signals are.
interrupted: Final = threading.Event()


def pause(seconds: float) -> None:
    """Let time pass; LabError if the lab is interrupted meanwhile."""
    if interrupted.wait(seconds):
        raise LabError("interrupted")


def wait_until(
    condition: Callable[[], bool], timeout_s: float, moved: Callable[[], object] = lambda: None
) -> bool:
    """Ask `condition` again and again until it holds, and say whether it held.

    It is given up when what `moved` says has been the same for `timeout_s` seconds: what is slow is waited for, and
    what stands still isn't; after LONGEST_S in any case, unless `timeout_s` is more. Time in which this process got no
    processor doesn't count: what it waits for had none either. LabError if the lab is interrupted meanwhile.
    """
    now = time.monotonic()
    end, latest = now + timeout_s, now + max(timeout_s, LONGEST_S)
    last = moved()
    while not condition():
        now, newest = time.monotonic(), moved()
        if newest != last:
            last, end = newest, now + timeout_s
        if now >= min(end, latest):
            return False
        pause(POLL_S)
        late_s = max(0.0, time.monotonic() - now - POLL_S)
        end, latest = end + late_s, latest + late_s
    return True


def one_user_only() -> bool:
    """Whether this is a user namespace in which nobody can become another user, as tcpdump wants to."""
    path = Path("/proc/self/setgroups")
    return path.exists() and path.read_text().strip() == "deny"


class Program:
    """One running program on one host; `log` is the file with all that it printed."""

    def __init__(self, net: Topology, host: str, name: str, *argv: str | Path) -> None:
        """Start `argv` on `host`; `name` names the log file in the lab's directory."""
        self.name = name
        self.log = net.directory / f"{name}.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                net.command(host, *argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=net.directory,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The program's process id, also its process group's."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs; negative if a signal ended it."""
        return self._process.poll()

    def text(self) -> str:
        """All that it printed until now."""
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the regular expression `pattern` is in the log.

        Raises LabError with the last line of the log if the program ends or `timeout_s` is over before that.
        """
        found = re.compile(pattern, re.MULTILINE)
        wait_until(lambda: bool(found.search(self.text())) or not self.running, timeout_s)
        if not found.search(self.text()):
            said = self.text().strip().splitlines()
            state = f"doesn't say {pattern}" if self.running else f"ended with {self.exit_code}"
            raise LabError(f"{self.name} {state}: {said[-1] if said else 'it printed nothing'}")

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end, at most `timeout_s` seconds; give its exit code, or None if it still runs."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: int) -> None:
        """Send a signal to the program and its children; nothing if it has ended."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL after GRACE_S seconds; its children end with it."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.wait(GRACE_S) is None:
            self.signal(signal.SIGKILL)
            self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            # Children that outlived their parent are still in the group.
            os.killpg(self.pid, signal.SIGKILL)


class Capture(Program):
    """tcpdump (or what stands for it) on one interface of one host, writing each packet at once to `path`."""

    def __init__(self, net: Topology, host: str, interface: str) -> None:
        """Start capturing UDP and TCP on `interface`; it captures when the constructor returns."""
        self.path = net.directory / f"{host}-{interface}.pcap"
        # Who started it may write into the lab's directory; the user that tcpdump would become may not.
        argv = ["tcpdump", "-i", interface, "-w", str(self.path), "-U", "-n", "-B", BUFFER_KIB, "-Z", "root"]
        argv += ["--immediate-mode", "udp or tcp"]
        if one_user_only():
            argv = [sys.executable, "-m", "sipalg.lab.sniff", interface, str(self.path)]
        super().__init__(net, host, f"capture-{host}-{interface}", *argv)
        try:
            self.wait_for("listening on")
        except BaseException:
            # Nobody else has it yet, as when the lab is interrupted meanwhile.
            self.stop()
            raise
