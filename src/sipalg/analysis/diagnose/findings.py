"""What a check finds, and what the checks need to know besides the facts.

Between the facts and whoever prints them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sipalg.analysis.diagnose.facts import Proof
from sipalg.analysis.diagnose.networks import Networks

#: Severities, worst first, and the exit code that each makes.
BROKEN: Final = "broken"
WARNING: Final = "warning"
NOTE: Final = "note"
EXIT_CODES: Final = {BROKEN: 2, WARNING: 1, NOTE: 0}


class Finding(NamedTuple):
    """One thing found: a sentence, what to do about it ("" where there is nothing), and the packets that prove it.

    `packet_count` is how many packets there were, of which `packets` are the first. `call` is the Call-ID of what is
    found in one call, "" for all else.
    """

    severity: str
    check: str
    text: str
    advice: str
    packets: tuple[int, ...]
    packet_count: int
    call: str = ""


class Wanted(NamedTuple):
    """What the capture is measured against: the ports and the timeout as they are set, and the inside networks."""

    ports: tuple[int, ...]
    sip_timeout_s: float
    networks: Networks


def finding(severity: str, check: str, text: str, advice: str, *proofs: Proof, call: str = "") -> Finding:
    """Return a finding with the packets of all proofs, in order."""
    packets = sorted({number for proof in proofs for number in proof.packets})
    # Several proofs may be of the same packets, so that their counts don't add up.
    count = max(len(packets), *(proof.count for proof in proofs)) if proofs else 0
    return Finding(severity, check, text, advice, tuple(packets), count, call)


def once_a_call(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings, worst first; of those that a call has on several ways only the worst, with all packets.

    A capture of both sides of a NAT, or of a proxy, has every call twice.
    """
    found: dict[tuple[str, str, int], Finding] = {}
    for number, one in enumerate(sorted(findings, key=lambda one: -EXIT_CODES[one.severity])):
        key = (one.check, one.call, 0 if one.call else number)
        first = found.get(key)
        if first is not None:
            packets = tuple(sorted({*first.packets, *one.packets}))
            one = first._replace(packets=packets, packet_count=first.packet_count + one.packet_count)
        found[key] = one
    yield from found.values()


def some_packets(packets: tuple[int, ...], count: int) -> str:
    """Return "packets 3, 5 and 7 more" for people; "" for none."""
    if not packets:
        return ""
    shown = ", ".join(map(str, packets))
    more = f" and {count - len(packets)} more" if count > len(packets) else ""
    return f"packet{'s' if len(packets) > 1 or more else ''} {shown}{more}"


def counted(count: int, what: str) -> str:
    """Return "1 packet", "2 packets"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 20 min, 1 h."""
    rounded = round(seconds)
    for unit_s, name in ((3600, "h"), (60, "min")):
        if rounded >= unit_s and rounded % unit_s == 0:
            return f"{rounded // unit_s} {name}"
    return f"{rounded} s"
