"""Scenarios in which settings change amid calls: a hundred times under load, and no call fails."""

from __future__ import annotations

import itertools
import json
import socket
import time
from typing import Any, Final

from sipalg.lab.programs import pause
from sipalg.lab.scenario import Scenario
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS, LabError

#: Calls a second, and how many in all; each stands for a second.
RATE: Final = 200
CALLS: Final = 6000
CHANGES: Final = 100
#: RTP ports of the phone, one after the other: more than calls stand at once.
PORTS: Final = 800
FIRST_PORT: Final = 10000
MEDIA_PORT: Final = 20000
_PATIENCE_S: Final = 10.0
_BETWEEN_S: Final = 0.1

#: What is changed, again and again. The calls' port is 5080.
_STEPS: Final[tuple[dict[str, str], ...]] = (
    {"ports": "5070"},
    {"sip-timeout": "20m"},
    {"ports": "5060,5080"},
    {"sip-direct-media": "no"},
    {"except": "198.18.0.0/15", "trusted-peers": "198.51.100.0/24"},
    {"ports": "5090", "media-ports": "20000-21000", "reserved-ports": "20500"},
    {"sip-direct-media": "yes", "log-edits": "yes"},
    {"sip-timeout": "1h", "call-timeout": "1h"},
    {"ports": "5080", "sip-direct-signalling": "yes"},
    {"except": "", "trusted-peers": "", "sip-direct-signalling": "no", "log-edits": "no"},
)


def changed(stage: Stage) -> None:
    """Change settings 100 times under 200 calls a second, the port in use removed and added again: no call fails.

    And none of their messages leaves as it came, whatever the ports are just then.
    """
    ports = stage.net.directory / "ports.csv"
    ports.write_text("SEQUENTIAL\n" + "".join(f"{FIRST_PORT + 2 * number}\n" for number in range(PORTS)))
    every = ("-m", str(CALLS), "-l", str(CALLS), "-timeout", "120")
    far = stage.sipp("server", "uas_answer", 5080, every, media_host=ADDRESS["server"], rtp_port=MEDIA_PORT)
    load = (*every, "-r", str(RATE), "-d", "1000", "-inf", str(ports))
    # Straight to the far end, so that the machine has less to do.
    remote = f"{ADDRESS['server']}:5080"
    phone = stage.sipp("phone1", "uac_call", 5060, load, remote, called="700", rtp_port="[field0]")
    pause(1.0)
    slowest_s = 0.0
    for values in itertools.islice(itertools.cycle(_STEPS), CHANGES):
        stage.expect(phone.running, "the load ended before the changes")
        begun = time.monotonic()
        answer = _set(stage, values)
        slowest_s = max(slowest_s, time.monotonic() - begun)
        stage.expect(answer.get("ok") is True, f"{values} was refused: {answer.get('error')}")
        stage.expect(answer.get("saved") == str(stage.alg.settings), f"{values} wasn't written: {answer}")
        pause(_BETWEEN_S)
    stage.expect(phone.running, "the load ended before the changes")
    stage.expect_ended(phone, "the phone", 90.0)
    stage.expect_ended(far, "the far end", 10.0)
    # Via, Contact, SDP; its Call-ID has the address too, and keeps it.
    private = [f"{before}{ADDRESS['phone1']}".encode() for before in ("/UDP ", "sip:script@", "IN IP4 ")]
    leaked = sum(any(text in packet.payload for text in private) for packet in stage.outside())
    stage.expect(not leaked, f"{leaked} messages left with the phone's private address")
    stage.measured.append(
        f"{CALLS} calls, {RATE} a second, {CHANGES} changes, the slowest answered after {slowest_s * 1000:.0f} ms"
    )


def _set(stage: Stage, values: dict[str, str]) -> dict[str, Any]:
    """Change settings over the control socket, as docs/control-protocol.md says."""
    request = {"version": 1, "command": "set", "arguments": {"values": values}}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE_S)
        try:
            connection.connect(str(stage.alg.socket))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile() as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
        except (OSError, ValueError) as error:
            raise LabError(f"sipalg doesn't answer: {error}") from None
    return answer


SCENARIOS: Final = (
    Scenario(
        "changed",
        "100 changes of settings under 200 calls a second, the port in use among them: no call fails",
        changed,
        Needs(hosts=("phone1", "server"), options=("--ports", "5060,5080")),
        modes=("sipalg",),
        alone=True,
    ),
)
