"""Checks of time: how long a phone's flow may be silent, against sip-timeout and against what NATs do by themselves.

Pure. Sources: nf_conntrack_proto_udp.c (30 s, 120 s; 180 s before Linux 5.0), RFC 4787 REQ-5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sipalg.analysis.diagnose.facts import LOCAL, Facts, Flow, Proof
from sipalg.analysis.diagnose.findings import NOTE, WARNING, Finding, Wanted, duration, finding
from sipalg.codec.datagram import UDP

_NS: Final = 1_000_000_000
#: What UDP flows are kept for without an ALG, longest first: older kernels and many routers; Linux; Linux, one way.
_PLAIN_S: Final = (180, 120, 30)
#: So many packets show a keep-alive's interval.
_FEW_KEEP_ALIVES: Final = 2


def silence(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say which flows are silent for longer than they are remembered."""
    # The public side of a phone that is seen inside is the same flow.
    local = {phone.name for phone in facts.phones.values() if phone.view == LOCAL or phone.twin}
    for flow in facts.flows.values():
        if flow.protocol != UDP or not flow.registered or str(flow.phone) in local:
            continue
        silent_s, why, proof = silent_for(flow)
        who = f"phone {flow.phone} with {flow.server}"
        if silent_s > wanted.sip_timeout_s:
            yield finding(
                WARNING,
                "sip-timeout",
                f"{who}: {why}, and sip-timeout is {duration(wanted.sip_timeout_s)}: calls to it get lost in between",
                f"set sip-timeout higher than {duration(silent_s)}, or let the phone register more often",
                proof,
            )
            continue
        over = next((limit for limit in _PLAIN_S if silent_s > limit), 0)
        if over:
            yield finding(
                NOTE,
                "plain-nat-timeout",
                f"{who}: {why}; a NAT alone keeps UDP for 30, 120 or 180 s, and this is longer than {over} s",
                f"needs an ALG's sip-timeout ({duration(wanted.sip_timeout_s)} is enough), or keep-alives below 30 s",
                proof,
            )


def silent_for(flow: Flow) -> tuple[float, str, Proof]:
    """Return for how long a flow is silent in seconds, why that is known, and the packets.

    Where it was kept alive or registered again, what was seen counts; else the lifetime that the server granted, since
    nothing says that the phone will speak before.
    """
    gap_s = flow.gap_ns / _NS
    seen = Proof(2, list(flow.gap)) if gap_s else flow.registered
    if flow.kept_alive.count >= _FEW_KEEP_ALIVES or flow.refreshed:
        how = "keep-alives" if flow.kept_alive.count >= _FEW_KEEP_ALIVES else "registrations"
        return gap_s, f"{how} leave silences of {duration(gap_s)}", seen
    if gap_s > flow.granted_s:
        return gap_s, f"a silence of {duration(gap_s)}", seen
    return float(flow.granted_s), f"registers for {duration(flow.granted_s)}, no keep-alive seen", flow.granted


CHECKS: Final = (silence,)
