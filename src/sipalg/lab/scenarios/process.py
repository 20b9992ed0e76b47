"""Scenarios of the ALG's own process: killed during a call, stopped during registrations. Only sipalg has one."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import Message, Wire, messages
from sipalg.lab.programs import PATIENCE_S, pause, wait_until
from sipalg.lab.scenario import WITHOUT_ALG, Scenario
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS, SERVER_ADDRESS

#: More than a phone has room for in the queue (1536 packets), sent in about two seconds.
FLOOD: Final = 12000
BURST: Final = 100
#: How long SIP waits for the next process, and a little more (docs/adr/0023).
WAITS_S: Final = 8.5

_REGISTER: Final = (
    "REGISTER sip:{server} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP {phone}:5070;branch=z9hG4bK-flood-{number}\r\n"
    "From: <sip:102@{server}>;tag=flood\r\n"
    "To: <sip:102@{server}>\r\n"
    "Call-ID: flood-{number}@{phone}\r\n"
    "CSeq: 1 REGISTER\r\n"
    "Contact: <sip:102@{phone}:5070>\r\n"
    "Max-Forwards: 70\r\n"
    "Content-Length: 0\r\n\r\n"
)


def killed(stage: Stage, after: Callable[[Stage], object] | None = None) -> None:
    """SIGKILL during a call: audio goes on, SIP waits for a new process, and is plain NAT when none comes.

    After a restart, which is later than that, calls work. `after` is done right after the kill.
    """
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    stage.alg.send_signal(signal.SIGKILL)
    if after is not None:
        after(stage)
    killed_at = time.time()
    with stage.net.socket("phone2") as waiting:
        waiting.bind((ADDRESS["phone2"], 5070))
        waiting.sendto(_register(0), (SERVER_ADDRESS, 5060))
        stage.expect_audio((phone, far))
        pause(max(0.0, killed_at + WAITS_S - time.time()))
    early = [m for m in _since(stage.outside(), killed_at) if m.wire.source.host == stage.net.public_address]
    stage.expect(not early, f"{len(early)} messages left untranslated while SIP had to wait")
    second = stage.phone("102", "phone2", 700, rtp_port=12000)
    phone2 = Endpoint(ADDRESS["phone2"], 5060)
    sent = [m for m in _since(stage.inside(), killed_at) if m.wire.source == phone2]
    outside = {m.key: m for m in _since(stage.outside(), killed_at)}
    stage.expect(bool(sent), "phone2 sent no SIP after the kill")
    for message in sent:
        stage.expect(message.key in outside, f"{message.name} didn't get out after the kill")
        stage.expect(outside[message.key].text == message.text, f"{message.name} was changed without an ALG")
    stage.expect_audio((phone, far))
    stage.alg.start()
    stage.expect_audio((phone, far))
    stage.hang_up(far, phone)
    stage.call(phone, far)
    stage.expect_audio((phone, far))
    stage.hang_up(phone, far)
    stage.call(second, far)
    stage.expect_audio((second, far))


def stopped(stage: Stage) -> None:
    """SIGSTOP during registrations: what overflows the queue passes as plain NAT, and the counter says so later.

    Calls work before it and after it.
    """
    far = stage.phone("201", "far1", 1000, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    stage.call(far, phone)
    stage.hang_up(far, phone)
    stage.alg.send_signal(signal.SIGSTOP)
    stopped_at = time.time()
    with stage.net.socket("phone2") as flood:
        flood.bind((ADDRESS["phone2"], 5070))
        for number in range(FLOOD):
            flood.sendto(_register(number), (SERVER_ADDRESS, 5060))
            if number % BURST == BURST - 1:
                pause(0.01)
        _let_settle(stage)
        flooded = [m for m in _since(stage.outside(), stopped_at) if m.header("Call-ID").startswith("flood-")]
        passed = [m for m in flooded if m.name == "REGISTER"]
        stage.expect(bool(passed), f"none of {FLOOD} REGISTERs got through while sipalg was stopped")
        private = f"@{ADDRESS['phone2']}:5070>"
        changed = sum(private not in message.header("Contact") for message in passed)
        stage.expect(not changed, f"{changed} of {len(passed)} REGISTERs that overflowed were changed")
        stage.measured.append(f"{len(passed)} of {FLOOD} REGISTERs got through unchanged meanwhile")
    stage.alg.send_signal(signal.SIGCONT)
    unseen = _unseen(stage)
    # Each of them has an answer that finds the queue as full. A capture may miss some packets in such a flood.
    counted = len(passed) <= unseen <= 2.2 * len(passed)
    stage.expect(counted, f"{len(passed)} REGISTERs passed unseen, with as many answers, and status counts {unseen}")
    stage.measured.append(f"`status` counts {unseen} such packets, answers included")
    stage.call(far, phone)
    stage.expect_audio((phone, far))
    del stage.measured[2:]


def _register(number: int) -> bytes:
    return _REGISTER.format(server=SERVER_ADDRESS, phone=ADDRESS["phone2"], number=number).encode()


def _since(packets: list[Wire], moment: float) -> list[Message]:
    return [message for message in messages(packets) if message.wire.time_s > moment]


def _let_settle(stage: Stage) -> None:
    """Wait until the flood is over on the wire: nothing of it has come for half a second."""
    capture = stage.net.directory / "router-wan0.pcap"
    wait_until(lambda: False, 0.5, lambda: capture.stat().st_size)


def _unseen(stage: Stage) -> int:
    """Read the count of packets that passed unseen from `sipalg status`, when what had to wait has been worked off."""
    counts = [-1]

    def settled() -> bool:
        queue = stage.alg.status()["counters"]["queue"]
        counts.append(int(queue["passed_unseen"]))
        return counts[-1] == counts[-2] and not queue["waiting"]

    stage.expect(wait_until(settled, PATIENCE_S), f"packets that passed unseen are still being counted: {counts[-1]}")
    return counts[-1]


SCENARIOS: Final = (
    Scenario(
        "killed",
        "sipalg killed (SIGKILL) during a call: SIP waits, then is plain NAT; started again",
        killed,
        Needs(hosts=("phone1", "phone2", "server", "far1")),
        modes=("none", "sipalg"),
        fails_in=WITHOUT_ALG,
    ),
    Scenario(
        "stopped",
        "sipalg frozen (SIGSTOP) during registrations: SIP goes on as plain NAT",
        stopped,
        Needs(hosts=("phone1", "phone2", "server", "far1")),
        modes=("none", "sipalg"),
        fails_in=WITHOUT_ALG,
    ),
)
