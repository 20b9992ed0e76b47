"""Requests and whether they were answered: retransmissions, requests without an answer, loops, sizes.

Open requests are remembered up to a bound; what falls out of it is judged then, and the rest at the end. On a packet's
way offline this stands beside `signalling`. Sources: RFC 3261 §17.1 (retransmissions), §16.3 and §16.6 (loops,
Max-Forwards), §18.1.1 (size).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sipalg.analysis.diagnose.facts import Facts, Server
from sipalg.analysis.diagnose.words import max_forwards_of
from sipalg.analysis.messages import SipMessage
from sipalg.codec.datagram import UDP
from sipalg.engine.verdict import Endpoint

_MOST_OPEN: Final = 8192
#: RFC 3261's limit for UDP, and what fits an Ethernet frame behind the headers of IPv4 and UDP.
_LARGEST_BYTES: Final = 1300
_LARGEST_UNCUT_BYTES: Final = 1472
#: A request that was sent so often, or that is so old at the capture's end, has no answer.
_SENDS_WITHOUT_ANSWER: Final = 3
_WAIT_NS: Final = 5_000_000_000

#: Nobody sends again so soon (T1 is 500 ms): that is a packet that was captured twice, as on a bridge and its port.
_TOO_SOON_NS: Final = 5_000_000

_LOOP_DETECTED: Final = 482
_TOO_MANY_HOPS: Final = 483

#: Call-ID, CSeq, method, host that asks, and whom. Not its port: without `rport` it is answered at its Via's, which
#: may be another one than it sends from (RFC 3261 §18.2.2).
_Key = tuple[str, int, str, str, Endpoint]


@dataclass(slots=True)
class _Open:
    """A request on its way: its first packet, how often and when it was sent, and what it looked like at last."""

    number: int
    time_ns: int
    last_ns: int
    branch: str
    max_forwards: int | None
    sends: int = 1
    answered: bool = False


class Transactions:
    """Takes messages in order; `finish` judges what is left."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._open: dict[_Key, _Open] = {}

    def take(self, message: SipMessage, server: Server | None) -> None:
        """Note one message. `server` is the one that a phone's request goes to, None for all else."""
        size_bytes = len(message.data)
        if message.protocol == UDP and size_bytes > _LARGEST_BYTES:
            cut = message.frames[1:] or size_bytes > _LARGEST_UNCUT_BYTES
            (self._facts.fragmented if cut else self._facts.big).add(message.number)
        if not message.method:
            self._answered(message)
        elif message.method != "ACK":
            self._asked(message, server)

    def finish(self) -> None:
        """Judge the requests that are still open."""
        for key, request in self._open.items():
            self._judge(key, request)
        self._open.clear()

    def _answered(self, message: SipMessage) -> None:
        if message.status in (_LOOP_DETECTED, _TOO_MANY_HOPS):
            self._facts.loops.add(message.number)
        key = (message.call_id, message.cseq, message.cseq_method, message.destination.host, message.source)
        request = self._open.get(key)
        if request is not None:
            request.answered = True

    def _asked(self, message: SipMessage, server: Server | None) -> None:
        key = (message.call_id, message.cseq, message.method, message.source.host, message.destination)
        max_forwards = max_forwards_of(message.frame)
        request = self._open.get(key)
        if request is not None:
            if request.branch == message.branch:
                if message.time_ns - request.last_ns < _TOO_SOON_NS:
                    return
                request.last_ns = message.time_ns
                request.sends += 1
                if server is not None and message.protocol == UDP:
                    server.resent.add(message.number)
            elif request.max_forwards is not None and max_forwards is not None and max_forwards < request.max_forwards:
                self._facts.loops.add(message.number)
                request.branch, request.max_forwards = message.branch, max_forwards
            return
        if server is not None:
            server.requests += 1
        if len(self._open) >= _MOST_OPEN:
            oldest = next(iter(self._open))
            self._judge(oldest, self._open.pop(oldest))
        self._open[key] = _Open(message.number, message.time_ns, message.time_ns, message.branch, max_forwards)

    def _judge(self, key: _Key, request: _Open) -> None:
        server = self._facts.servers.get(key[4])
        if server is None or request.answered:
            return
        if request.sends >= _SENDS_WITHOUT_ANSWER or self._facts.last_ns - request.time_ns >= _WAIT_NS:
            server.unanswered.add(request.number)
