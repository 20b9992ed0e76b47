"""Checks of servers: ports against the settings, answers, addresses that they name, encryption. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sipalg.analysis.diagnose.facts import LOCAL, Facts
from sipalg.analysis.diagnose.findings import BROKEN, NOTE, WARNING, Finding, Wanted, counted, finding

#: Retransmissions that are worth a word: this many, and one of so many requests.
_FEW_RESENT: Final = 3
_RESENT_OF: Final = 10
#: SIP over TLS (RFC 3261 §19.1.2).
_TLS_PORT: Final = 5061
_MOST_PORTS: Final = 8


def ports(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say which servers' ports the ALG wouldn't look at."""
    behind_nat = {end for phone in facts.phones.values() if phone.view != LOCAL for end in phone.servers}
    for server in facts.servers.values():
        if server.end.port in wanted.ports or server.end not in behind_nat or not server.opened:
            continue
        set_ports = ",".join(map(str, wanted.ports))
        text = f"server {server.end} speaks SIP on port {server.end.port}, and the ports set are {set_ports}"
        advice = f"set ports={set_ports},{server.end.port}, or the ALG doesn't see these messages"
        if len(wanted.ports) >= _MOST_PORTS:
            advice = f"put {server.end.port} in the place of a port that isn't used; eight are the most"
        yield finding(WARNING, "ports", text, advice, server.sent or server.unanswered)


def answers(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say which requests of phones got no answer, or had to be sent again."""
    del wanted
    for server in facts.servers.values():
        if server.unanswered and not server.sent:
            text = f"server {server.end} never answers: {_of(server.unanswered.count, server.requests)} without answer"
            advice = "it is off, filtered, or answers to an address that the phone can't be reached at"
            yield finding(BROKEN, "no-answer", text, advice, server.unanswered)
        elif server.unanswered:
            text = f"server {server.end}: {_of(server.unanswered.count, server.requests)} without answer"
            yield finding(WARNING, "no-answer", text, "look at these packets' answers outside", server.unanswered)
        resent = server.resent.count
        if resent >= _FEW_RESENT and resent * _RESENT_OF >= server.requests:
            text = f"server {server.end}: {counted(resent, 'retransmission')} of {counted(server.requests, 'request')}"
            yield finding(WARNING, "retransmissions", text, "packets are lost, or answers come late", server.resent)


def names_private(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say which servers name addresses of their own that nobody outside their network reaches."""
    del wanted
    for server in facts.servers.values():
        where = [name for name, proof in (("Contact", server.contact_private), ("SDP", server.media_private)) if proof]
        if where:
            name = "names" if len(where) == 1 else "name"
            text = f"server {server.end} isn't NAT aware: its {' and '.join(where)} {name} {server.named}"
            advice = "give the server its public address (externip, external_media_address); no ALG here can know it"
            severity = BROKEN if server.media_private else WARNING
            yield finding(severity, "server-private", text, advice, server.contact_private, server.media_private)


def encrypted(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Say where SIP can't be seen."""
    for end, proof in facts.encrypted.items():
        if end.port == _TLS_PORT or end.port in wanted.ports:
            text = f"TLS to {end}: these messages can't be read here, and no ALG can change them"
            yield finding(NOTE, "encrypted", text, "such phones must be NAT aware, or their server must be", proof)


def _of(count: int, requests: int) -> str:
    return f"{count} of {counted(requests, 'request')}"


CHECKS: Final = (ports, answers, names_private, encrypted)
