"""CPU time used while a benchmark runs: by the programs on the router, and by the whole machine with its softirqs.

From /proc, in seconds since the start, so that two samples make a difference. Around a packet's way, not on it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_MOMENTS: Final = 5
_MOMENT_S: Final = 0.3
#: Up to this share of a processor is rest.
_RESTING: Final = 0.1


class Usage(NamedTuple):
    """Seconds of CPU: the programs' user and system time, the machine's busy and softirq time; and the clock."""

    user_s: float
    system_s: float
    busy_s: float
    softirq_s: float
    wall_s: float

    def since(self, before: Usage) -> Usage:
        """Return what was used after `before`."""
        return Usage(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def own_s(self) -> float:
        """User and system time of the program."""
        return self.user_s + self.system_s


def usage(namespace: str = "") -> Usage:
    """Return what all programs in a network namespace and the machine have used so far; "" for no namespace."""
    user, system = 0.0, 0.0
    for pid in programs(namespace) if namespace else ():
        own = _process_s(pid)
        user, system = user + own[0], system + own[1]
    # cpu user nice system idle iowait irq softirq steal (proc(5), /proc/stat)
    times = [int(word) * _TICK_S for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return Usage(user, system, sum(times) - times[3] - times[4] - times[7], times[5] + times[6], time.monotonic())


def rest(namespace: str) -> None:
    """Wait until the programs in a network namespace have hardly anything to do; half a minute at most."""
    for _ in range(round(30 / _MOMENT_S)):
        before = usage(namespace)
        time.sleep(_MOMENT_S)
        used = usage(namespace).since(before)
        if used.own_s < _RESTING * used.wall_s:
            return


def others_cores() -> float:
    """Return how many cores are busy while no benchmark runs: the median of some moments, as its own end takes one."""
    found = []
    for _ in range(_MOMENTS):
        before = usage()
        time.sleep(_MOMENT_S)
        used = usage().since(before)
        found.append(used.busy_s / used.wall_s)
    return median(found)


def programs(namespace: str) -> list[int]:
    """Return the ids of the processes in a network namespace."""
    wanted = Path("/run/netns", namespace).stat().st_ino
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/net").stat().st_ino == wanted:
                    found.append(int(entry.name))
            except OSError:  # it has ended meanwhile
                continue
    return found


def _process_s(pid: int) -> tuple[float, float]:
    """User and system time of a process (proc(5), stat, fields 14 and 15)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    return int(fields[11]) * _TICK_S, int(fields[12]) * _TICK_S
