"""Public SIPp scenarios through sipalg in the lab: a caller inside, a called one outside, both as they were written.

They are read from the public corpora beside the checkout and skip where those aren't. The two scripts of each of
these fit each other, and need neither a proxy nor a database.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sipalg.lab.packets import messages
from sipalg.lab.programs import Program, pause
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS

SCENARIOS = Path(__file__).parents[2] / "../shared/corpora/sipp/drachtio+drachtio-srf/test/scenarios"
PAIRS = (("uac", "uas"), ("uac-prack", "uas-prack"), ("uac-nosdp", "uas"), ("uac-displayname-from", "uas"))
LONGEST_S = 20.0

pytestmark = [
    pytest.mark.lab,
    pytest.mark.usefixtures("namespaces", "programs"),
    pytest.mark.skipif(not SCENARIOS.is_dir(), reason="the public SIPp scenarios aren't beside the checkout"),
]


def test_public_scenarios_play_and_nothing_private_leaves() -> None:
    with Stage("sipalg", Needs(hosts=("phone1", "server", "far1"))) as stage:
        for number, (caller, called) in enumerate(PAIRS):
            with (
                started(stage, "far1", called, 5060, number),
                started(stage, "phone1", caller, 5080 + 2 * number, number, f"{ADDRESS['far1']}:5060") as phone,
            ):
                assert phone.wait(LONGEST_S) == 0, f"{caller} with {called}: {phone.text()[-500:]}"
        sent = [message for message in messages(stage.outside()) if message.wire.source.host != ADDRESS["far1"]]
        assert sum(message.name == "INVITE" for message in sent) >= len(PAIRS)
        for message in sent:
            for name in ("Via", "Contact"):
                assert ADDRESS["phone1"] not in message.header(name), f"{message.name}: {message.header(name)}"
            assert f"c=IN IP4 {ADDRESS['phone1']}" not in message.text


def started(stage: Stage, host: str, script: str, port: int, number: int, *remote: str) -> Program:
    """SIPp on a host with one of the scenarios, one call."""
    argv: list[str | Path] = ["sipp", *remote, "-sf", SCENARIOS / f"{script}.xml", "-i", ADDRESS[host]]
    argv += ["-p", str(port), "-m", "1"]
    program = Program(stage.net, host, f"{script}-{number}", *argv, "-nostdin", "-timeout", "15")
    if not remote:
        pause(0.5)
    return program
