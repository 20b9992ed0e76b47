"""How a torture message is judged: the verdict that the table has for it, and what must hold for every one.

A row names a message, the way that it takes and the address that is ours. Outward, that address is the sender's own;
inward, it is the public one that is written for a phone, so that the message needn't be changed for either.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.engine.ladder import Ladder
from tests.engine.wire import request

from sipalg.engine.settings import Ipv6
from sipalg.engine.verdict import UDP, Datagram, Endpoint

#: The phone that inbound messages are for.
PHONE = Endpoint("10.0.0.9", 5060)
SERVER = Endpoint("203.0.113.50", 5060)
#: The same for RFC 5118's messages, whose phones are in 2001:db8::/32: the router translates IPv6 to one address.
SERVER6, PUBLIC6 = Endpoint("2001:db9::50", 5060), "2001:db9::1"
#: Outside, the phones' own ports are somebody else's, so that a port that isn't replaced shows.
TAKEN = (5060, 5070, 10000, 20000, 49217)


@dataclass(frozen=True)
class Row:
    """`verdict` is `edited` or `passes`; `by` has the rules in order, or the reason; `why` is for people."""

    file: str
    way: str
    address: str
    verdict: str
    by: str
    why: str


@dataclass(frozen=True)
class Judged:
    """What became of a message: what left, by which rules or for which reason, and how addresses are written now."""

    before: bytes
    after: bytes
    by: str
    rules: Counter[str]
    own: str
    written: dict[Endpoint, Endpoint]
    opened: int


def rows(table: Path) -> list[Row]:
    """The rows of a table of verdicts."""
    with table.open(encoding="utf-8") as lines:
        return [Row(**row) for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]


def judge(row: Row, message: bytes) -> Judged:
    """Hand a message to an engine of its own, twice, and say what became of it; what always holds is checked."""
    if row.way == "out":
        ladder = Ladder(*TAKEN, ipv6=Ipv6(PUBLIC6, PUBLIC6))
        own = Endpoint(row.address, 5060)
        datagram = Datagram(message, own, SERVER6 if ":" in row.address else SERVER, UDP, "lan0")
    else:
        ladder = Ladder(advertised_address=row.address)
        hello = request("OPTIONS", via=str(PHONE), contact=f"<sip:a@{PHONE}>", call="hello")
        ladder.phone(PHONE.host).sends(hello, ladder.server(SERVER.host))
        datagram = Datagram(message, SERVER, PHONE, UDP, "wan0")
    known = len(ladder.mapped)
    verdict = ladder.receive(datagram)
    opened = len(ladder.mapped) - known + len(ladder.flows)
    assert ladder.receive(datagram).payload == verdict.payload, "a retransmission differs"
    entries = ladder.alg.mappings.entries.values()
    pairs = [(entry.mapping.private, Endpoint(row.address, entry.public_port)) for entry in entries]
    if row.way == "out":
        there = PUBLIC6 if ":" in row.address else "203.0.113.1"
        written = {private: Endpoint(there, public.port) for private, public in pairs}
    else:
        written = {public: private for private, public in pairs}
    rules = Counter(edit.rule for edit in verdict.edits)
    by = " ".join(edit.rule for edit in verdict.edits) or verdict.reason
    ladder.finish()
    return Judged(message, verdict.payload, by, rules, row.address, written, opened)
