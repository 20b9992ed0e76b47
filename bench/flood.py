"""Floods of a million messages: what the engine holds at their end, and what a phone beside them pays.

`python -m bench.flood [NUMBER]` plays NUMBER (a million) of each kind through an engine of its own, every one with
another Call-ID, branch, tag and, in one, Contact; after each 1,000th comes another phone's refresh, whose time counts.
Beside it stands the same phone's time without a flood. Memory is the process's own, before and after.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from tests.engine.wire import audio, request, sdp

from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import UDP, Datagram, Endpoint

_P, _P2, _S = Endpoint("192.168.33.10", 5060), Endpoint("192.168.33.11", 5060), Endpoint("203.0.113.50", 5060)
_EVERY: Final = 1000
_REFRESH: Final = request("REGISTER", via=str(_P2), contact=f"<sip:b@{_P2}>", call="refresh")
_INVITE: Final = request("INVITE", call="c@@@", tags=("t@@@", ""), body=sdp(_P.host, audio(10000))).replace(
    b"z9hG4bK1", b"z9hG4bK@@@"
)
_REGISTER: Final = request("REGISTER", call="c@@@", contact=f"<sip:u@@@@{_P}>").replace(b"z9hG4bK1", b"z9hG4bK@@@")
_INBOUND: Final = request(
    "INVITE", uri="sip:a@203.0.113.1", via="203.0.113.50", call="c@@@", tags=("t@@@", ""), contact=None,
    body=sdp("203.0.113.60", audio(30000)),
)  # fmt: skip
#: What comes without end: the message with its number in place of `@@@`, and whether it comes from outside.
FLOODS: Final = {
    "INVITEs from inside": (_INVITE, False),
    "REGISTERs from inside": (_REGISTER, False),
    "INVITEs from outside": (_INBOUND, True),
}


def messages(template: bytes, number: int) -> Iterator[bytes]:
    """The flood's messages, made as they are needed."""
    pieces = template.split(b"@@@")
    for index in range(number):
        yield (b"%d" % index).join(pieces)


def receive(alg: Alg, payload: bytes, source: Endpoint, destination: Endpoint, now: float) -> float:
    """Hand a message in and have its commands carried out; returns the seconds that it took."""
    interface = "wan0" if source == _S else "lan0"
    began = time.perf_counter()
    verdict = alg.receive_datagram(Datagram(payload, source, destination, UDP, interface), now)
    if verdict.commands:
        alg.commands_done(verdict.token, now)
    return time.perf_counter() - began


def play(template: bytes, number: int, *, inbound: bool, report: Callable[[str], object]) -> None:
    """Play one flood and report a row of its figures."""
    alg = Alg(Settings(frozenset(("lan0",)), "203.0.113.1", "203.0.113.1"), lambda _protocol, _port: False)
    now = 1000.0
    for phone, text in ((_P, request("OPTIONS", call="hello")), (_P2, _REFRESH)):
        receive(alg, text, phone, _S, now)
    alone = [receive(alg, _REFRESH, _P2, _S, now) for _ in range(1000)]
    before = _memory_bytes()
    beside, spent = [], 0.0
    source, destination = (_S, _P) if inbound else (_P, _S)
    for index, message in enumerate(messages(template, number)):
        now += 0.0005
        spent += receive(alg, message, source, destination, now)
        if index % _EVERY == 0:
            beside.append(receive(alg, _REFRESH, _P2, _S, now))
            alg.take_events()
            due = alg.next_timer()
            if due is not None and due <= now:
                alg.handle_timer(now)
    rows = (len(alg.calls.dialogs), len(alg.mappings.entries), len(alg.mappings.hosts[_P.host.encode()].asked or ()))
    report(
        f"{number:,} · {spent / number * 1e6:.1f} µs each · beside: median {statistics.median(beside) * 1e6:.1f} µs, "
        f"99 of 100 below {statistics.quantiles(beside, n=100)[-1] * 1e6:.1f} µs "
        f"(alone {statistics.median(alone) * 1e6:.1f}) · {(_memory_bytes() - before) / 1e6:.1f} MB more · "
        f"dialogs, mappings, Call-IDs: {rows}\n"
    )


def _memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Play every flood."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for name, (template, inbound) in FLOODS.items():
        sys.stdout.write(f"{name}: ")
        play(template, number, inbound=inbound, report=sys.stdout.write)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
