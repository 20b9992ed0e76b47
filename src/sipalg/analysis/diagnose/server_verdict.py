"""Where each server sends what is for a phone: to the source of its packets, or to the address that it names.

The lecture's nat=yes and nat=no, by the packets. What isn't proven stays untold: see `verdict`. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sipalg.analysis.diagnose.awareness import is_untouched
from sipalg.analysis.diagnose.facts import LOCAL, Facts, Server
from sipalg.analysis.diagnose.findings import NOTE, Finding, finding

SOURCE: Final = "source"
NAMED_ADDRESS: Final = "named address"
UNTOLD: Final = "can't be told"


class ServerVerdict(NamedTuple):
    """One server: where it sends, and why that is known."""

    server: str
    answers: str
    why: Finding


def judge_servers(facts: Facts) -> list[ServerVerdict]:
    """Return a verdict on each server that has phones behind a NAT."""
    behind_nat = {end for phone in facts.phones.values() if phone.view != LOCAL for end in phone.servers}
    return [_judge(facts, server) for server in facts.servers.values() if server.end in behind_nat]


def _judge(facts: Facts, server: Server) -> ServerVerdict:
    phones = [phone for phone in facts.phones.values() if server.end in phone.servers]
    untouched = [phone for phone in phones if phone.reached and is_untouched(phone)]
    answers, proofs = UNTOLD, [server.reached]
    text = "where it sends by itself can't be told from this capture"
    if server.missed:
        answers, proofs = NAMED_ADDRESS, [server.missed]
        text = "sends to the private address that a phone names (nat=no)"
    elif server.reached and untouched:
        answers = SOURCE
        text = "sends to the source, whatever a phone names (nat=yes)"
    elif server.reached:
        text = "reaches phones that name private addresses: by nat=yes, or by an ALG at work"
    elif not server.sent:
        text = "sends nothing here"
    return ServerVerdict(str(server.end), answers, finding(NOTE, "server", text, "", *proofs))
