"""Why something didn't work, in few words: from packets on both sides of the router, and from SIPp's log.

On a packet's way this is how far it got.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sipalg.lab.packets import Wire, messages, rtp


def rtp_that_got_through(
    before: Sequence[Wire], after: Sequence[Wire], written_to: str, meant_for: str, since: float
) -> str:
    """Say how much RTP reached the router and how much passed it since a moment (seconds since 1970).

    `written_to` is the address that it had before the router, `meant_for` the one behind it.
    """
    came = rtp(before, lambda packet: packet.time_s >= since and packet.destination.host == written_to)
    went = rtp(after, lambda packet: packet.time_s >= since and packet.destination.host == meant_for)
    side = "inside" if written_to == meant_for else "outside"
    return f"{len(came)} RTP packets reached the router {side}, {len(went)} passed"


def contact_told(outside: Sequence[Wire], user: str) -> str:
    """Say which contact the server was told last for a user, "" if none: the end of a sentence."""
    registers = [m for m in messages(outside) if m.name == "REGISTER" and f":{user}@" in m.header("To")]
    found = re.search(r"@([\d.:]+|\[[\da-f:]+\](?::\d+)?)", registers[-1].header("Contact")) if registers else None
    return f"; {user}'s contact is {found[1]}" if found else ""


def sipp_complaint(directory: Path, script: str) -> str:
    """Give the first line of a script's error logs that says why its call ended, "" if there is none."""
    for path in sorted(directory.glob(f"{script}*errors.log")):
        for line in path.read_text(errors="replace").splitlines():
            if "Aborting" in line or "unexpected" in line or "timeout" in line.lower():
                # Before the words stand date, time and the time in seconds.
                return " ".join(line.split()[3:])[:110]
    return ""
