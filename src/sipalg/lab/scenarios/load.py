"""Calls by the hundred, for scenarios about what happens meanwhile, and what then has to hold of every one of them.

SIPp calls from one phone straight to one server, a call a second long after the other, until told to end. On a
packet's way this is a busy office; judged is what sipalg did, not how fast the machine was: SIPp repeats what isn't
answered, as phones do, and only a call that nothing helps any more has failed.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Final, NamedTuple

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import messages
from sipalg.lab.programs import wait_until
from sipalg.lab.stage import Stage
from sipalg.lab.topology import ADDRESS

SERVICE_PORT: Final = 5080
MEDIA_PORT: Final = 20000
#: RTP ports of the phone, one after the other, and so the most calls that may stand at once.
CALLS_AT_ONCE: Final = 800
FIRST_PORT: Final = 10000
#: How long the last calls may take to end, with all that is sent again.
END_S: Final = 40.0
#: When what a call had is gone: its dialog and its flows at once, its mappings 32 s later.
SOON_S: Final = 30.0
GONE_S: Final = 120.0
LINGER_S: Final = 32.0
#: SIPp ends by it when its calls have ended.
_NO_MORE: Final = signal.SIGUSR1
#: What comes once more after it was answered is no failure: what came between was lost.
_PATIENT: Final = ("-default_behaviors", "all,-abortunexp", "-timeout", "150")
_TUPLE: Final = re.compile(r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)")


@dataclass(frozen=True, slots=True)
class Size:
    """How heavy a load is: calls a second, and how long it goes on between two things that happen, in seconds.

    `patient` is whether the end of all mappings is waited for, or only looked at whether it is set.
    """

    rate: int
    between_s: float
    patient: bool


#: What is to be shown, on a machine that has two processors for it alone.
FULL: Final = Size(200, 4.0, True)
#: What any machine carries beside other things: for tests.
LIGHT: Final = Size(20, 1.5, False)


class _Media(NamedTuple):
    """A flow of conntrack's or of a call's."""

    private: Endpoint
    public: Endpoint
    remote: Endpoint


class Load:
    """Calls that are being made from now on; `end` ends it."""

    def __init__(self, stage: Stage, size: Size) -> None:
        self._stage = stage
        ports = stage.net.directory / "ports.csv"
        ports.write_text("SEQUENTIAL\n" + "".join(f"{FIRST_PORT + 2 * n}\n" for n in range(CALLS_AT_ONCE)))
        # -m because without it there is one call only.
        every = ("-m", "1000000", "-l", str(CALLS_AT_ONCE), *_PATIENT)
        host = ADDRESS["server"]
        self._far = stage.sipp("server", "uas_load", SERVICE_PORT, every, media_host=host, rtp_port=MEDIA_PORT)
        load = (*every, "-r", str(size.rate), "-d", "1000", "-inf", str(ports))
        # Straight to the far end, so that the machine has less to do.
        remote = f"{host}:{SERVICE_PORT}"
        self._phone = stage.sipp("phone1", "uac_call", 5060, load, remote, called="700", rtp_port="[field0]")

    def expect_running(self) -> None:
        """Raise ScenarioError if it has ended by itself."""
        self._stage.expect(self._phone.running, "the load ended before its time")
        self._stage.expect(self._far.running, "the far end ended before its time")

    def end(self) -> None:
        """Begin no more calls and wait for the others; ScenarioError if one of all of them failed."""
        self.expect_running()
        self._phone.signal(_NO_MORE)
        self._stage.expect_ended(self._phone, "the phone", END_S)


def expect_translated(stage: Stage, but: int = 0) -> int:
    """Expect that no message left the router with the phone's address, and return the number of calls that did.

    `but` are messages that may have: one in the moment in which the kernel closes a killed process's queue (ADR 0023).
    """
    # Via, Contact, SDP; its Call-ID has the address too, and keeps it.
    private = [f"{before}{ADDRESS['phone1']}".encode() for before in ("/UDP ", "sip:script@", "IN IP4 ")]
    packets = stage.outside()
    leaked = sum(any(text in packet.payload for text in private) for packet in packets)
    stage.expect(leaked <= but, f"{leaked} messages left with the phone's private address")
    calls = {message.header("Call-ID") for message in messages(packets) if message.name == "INVITE"}
    stage.expect(bool(calls), "no call left the router")
    return len(calls)


def expect_flows(stage: Stage) -> None:
    """Expect that each call that stands has its media flows in the connection tracker."""
    before = _standing(stage)
    listing = stage.net.run("router", "conntrack", "-L", "-p", "udp", check=False)
    # A call may begin or end while the tracker is read.
    calls = before.keys() & _standing(stage).keys()
    there = _flows(listing)
    missing = [flow for call in calls for flow in before[call] if flow not in there]
    stage.expect(not missing, f"{len(missing)} flows of {len(calls)} calls are missing")
    bare = sum(not before[call] for call in calls)
    stage.expect(not bare, f"{bare} of {len(calls)} calls have no media")


def expect_nothing_left(stage: Stage, patient: bool) -> None:
    """Expect that the calls that were are gone with their flows, and that their mappings go.

    With `patient` that is waited for, and the phone's own mapping has to go too; else each has to have its end set.
    """
    wait_until(lambda: not stage.alg.rows("calls"), SOON_S)
    calls = stage.alg.rows("calls")
    stage.expect(not calls, f"{len(calls)} calls are left")
    wait_until(lambda: not _media_flows(stage), SOON_S)
    flows = _media_flows(stage)
    stage.expect(not flows, f"{len(flows)} media flows are left")
    if not patient:
        rows = [row for row in stage.alg.rows("mappings") if row["purpose"] == "media"]
        held = sum(row["holders"] > 0 or row["ends_in_s"] > LINGER_S for row in rows)
        stage.expect(not held, f"{held} media mappings are held by nobody's calls")
        return
    wait_until(lambda: not stage.alg.rows("mappings"), GONE_S)
    left = stage.alg.rows("mappings")
    stage.expect(not left, f"{len(left)} mappings are left")
    listing = stage.net.run("router", "nft", "list", "map", "ip", "sipalg", "snat_map")
    stage.expect("elements" not in listing, "the kernel has mappings left")
    stage.measured.append("nothing is left after it")


def _media_flows(stage: Stage) -> list[_Media]:
    """Return what conntrack has of the far end's media."""
    listing = stage.net.run("router", "conntrack", "-L", "-p", "udp", check=False)
    return [flow for flow in _flows(listing) if flow.remote.port == MEDIA_PORT]


def _standing(stage: Stage) -> dict[tuple[str, str], list[_Media]]:
    """Return the answered calls by Call-ID and the far end's tag, each with its media flows."""
    return {
        (row["call_id"], row["outside_tag"]): [
            _Media(*(_endpoint(flow[end]) for end in _Media._fields)) for flow in row["media"]
        ]
        for row in stage.alg.rows("calls")
        if row["state"] == "confirmed"
    }


def _flows(listing: str) -> set[_Media]:
    """Read conntrack's entries, in both directions: which of them began a flow doesn't matter."""
    found = set()
    for line in listing.splitlines():
        ways = [(Endpoint(one[0], int(one[2])), Endpoint(one[1], int(one[3]))) for one in _TUPLE.findall(line)]
        for way, back in zip(ways, reversed(ways), strict=True):
            if way[1] == back[0]:
                found.add(_Media(way[0], back[1], way[1]))
    return found


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host, int(port))
