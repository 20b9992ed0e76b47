"""Growth: what a message costs, and what state costs, with 100 to 100,000 phones registered and 10,000 calls up.

Phones come with an address each, register once, spread over some minutes, and refresh in random order: measured is the
refresh and its answer through the engine, each compared with what has to come out. Whatever the size, every other
phone speaks TCP, one refresh in six moves its mapping's end, and records are watched, as by the live process's
journal. Memory is the process's own, before and after; a message's address is made anew each time, as the driver makes
it, so that what the engine keeps of it counts, and what this program knows of a phone was there before. The start is
`Alg.restore` of every mapping and `Alg.resume` of the journal's records, as after a crash; the expiry is all timers
until nobody is left. The middle of a packet's way, without the kernel.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from array import array
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from sipalg.control.service.memory import keep_large_apart
from sipalg.engine.alg import Alg
from sipalg.engine.existing import Restored
from sipalg.engine.records import plain_key
from sipalg.engine.resuming import PlainRecord
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import TCP, UDP, Command, Datagram, Endpoint, OpenMapping

PUBLIC: Final = "203.0.113.1"
SERVER: Final = Endpoint("203.0.113.50", 5060)
#: What the page shows, as PHONES or PHONES:CALLS.
SIZES: Final = ("100", "1000", "10000", "10000:10000", "100000")
#: The phones' port, and the first one's address.
_PORT: Final = 5060
_FIRST_HOST: Final = int(IPv4Address("10.0.0.0"))
_AT_ONCE: Final = 16
_MEASURED: Final = 20_000
_GRANTED_S: Final = 3600
#: Phones register within a tenth of sip-timeout, after which a message moves the end of a mapping, and then refresh
#: after this time.
_REGISTERED_WITHIN_S: Final = 360.0
_REFRESHED_AFTER_S: Final = 60.0


class Growth(NamedTuple):
    """One size: µs a round trip of a refresh (two messages, least and median of batches), bytes a mapping, seconds."""

    phones: int
    calls: int
    least_us: float
    median_us: float
    mapping_bytes: float
    call_bytes: float
    start_s: float
    expiry_us: float
    checked: int


def new_engine() -> Alg:
    """Return an engine that may use all unprivileged ports."""
    settings = Settings(frozenset({"lan0"}), PUBLIC, PUBLIC, media_ports=(1024, 65_535))
    return Alg(settings, lambda _protocol, _port: False)


class Router:
    """An engine with its phones, and what they send."""

    def __init__(self, count: int, now: float = 1000.0) -> None:
        self.alg = new_engine()
        self.alg.records.watch()
        self.count = count
        self.now = now
        self.sequence = 1
        #: Each phone's public port; 0 for one without a mapping.
        self.ports = array("H", bytes(2 * count))
        #: The commands so far, where somebody wants them.
        self.commands: list[Command] | None = None

    def phone(self, index: int) -> Endpoint:
        """Return a phone's address, made anew."""
        return Endpoint(str(IPv4Address(_FIRST_HOST + index)), _PORT)

    def protocol(self, index: int) -> int:
        """Return what a phone speaks: a public address has 64,512 ports of UDP, and as many of TCP."""
        return TCP if index % 2 else UDP

    def feed(self, datagram: Datagram) -> bytes:
        """Let the engine have a message and carry its commands out; the message that leaves."""
        alg = self.alg
        receive = alg.receive_datagram if datagram.protocol == UDP else alg.receive_message
        verdict = receive(datagram, self.now)
        if verdict.commands:
            self.note(verdict.commands)
            alg.commands_done(verdict.token, self.now)
        return verdict.payload

    def note(self, commands: Sequence[Command]) -> None:
        """Learn the public ports that were given."""
        if self.commands is not None:
            self.commands += commands
        for command in commands:
            if isinstance(command, OpenMapping):
                private = command.mapping.private
                if private.port == _PORT:
                    self.ports[int(IPv4Address(private.host)) - _FIRST_HOST] = command.mapping.public.port

    def register(self, index: int) -> tuple[Datagram, bytes]:
        """Return a phone's REGISTER and what has to leave (with a mapping: else b"")."""
        phone = self.phone(index)
        protocol = self.protocol(index)
        values: dict[bytes, object] = {b"n": index, b"s": self.sequence, **_SPELT[protocol]}
        text = _REGISTER % (values | {b"at": b"%b:%d" % (phone.host.encode(), phone.port)})
        port = self.ports[index]
        expected = b"" if not port else _REGISTER % (values | {b"at": b"%b:%d" % (PUBLIC.encode(), port)})
        return Datagram(text, phone, SERVER, protocol, "lan0"), expected

    def answer(self, index: int) -> tuple[Datagram, bytes]:
        """Return the registrar's 200, and what has to reach the phone."""
        phone = self.phone(index)
        port = self.ports[index]
        protocol = self.protocol(index)
        spelt = _SPELT[protocol]
        public = {b"at": b"%b:%d" % (PUBLIC.encode(), port), b"host": PUBLIC.encode(), b"port": port,
                  b"n": index, b"s": self.sequence, **spelt}  # fmt: skip
        private = {b"at": b"%b:%d" % (phone.host.encode(), phone.port), b"host": phone.host.encode(),
                   b"port": phone.port, b"n": index, b"s": self.sequence, **spelt}  # fmt: skip
        return Datagram(_OK % public, SERVER, phone, protocol, "wan0"), _OK % private


#: How a protocol is named in Via and Contact.
_SPELT: Final[dict[int, dict[bytes, bytes]]] = {
    UDP: {b"via": b"UDP", b"uri": b""},
    TCP: {b"via": b"TCP", b"uri": b";transport=tcp"},
}
_REGISTER: Final = (
    b"REGISTER sip:registrar.example.com SIP/2.0\r\nVia: SIP/2.0/%(via)b %(at)b;branch=z9hG4bK%(n)d-%(s)d;rport\r\n"
    b"Max-Forwards: 70\r\nFrom: <sip:u%(n)d@example.com>;tag=f%(n)d\r\nTo: <sip:u%(n)d@example.com>\r\n"
    b"Call-ID: c%(n)d@phone\r\nCSeq: %(s)d REGISTER\r\nContact: <sip:u%(n)d@%(at)b%(uri)b>\r\nExpires: 3600\r\n"
    b"User-Agent: bench/%(n)d\r\nContent-Length: 0\r\n\r\n"
)
_OK: Final = (
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/%(via)b %(at)b;branch=z9hG4bK%(n)d-%(s)d;received=%(host)b;rport=%(port)d\r\n"
    b"From: <sip:u%(n)d@example.com>;tag=f%(n)d\r\nTo: <sip:u%(n)d@example.com>;tag=t%(n)d\r\n"
    b"Call-ID: c%(n)d@phone\r\nCSeq: %(s)d REGISTER\r\nContact: <sip:u%(n)d@%(at)b%(uri)b>;expires=3600\r\n"
    b"Content-Length: 0\r\n\r\n"
)
_SDP: Final = (
    b"v=0\r\no=- 1 1 IN IP4 %(host)b\r\ns=-\r\nc=IN IP4 %(host)b\r\nt=0 0\r\nm=audio %(media)d RTP/AVP 0 8\r\n"
)
_INVITE: Final = (
    b"INVITE sip:b%(n)d@203.0.113.50 SIP/2.0\r\nVia: SIP/2.0/%(via)b %(at)b;branch=z9hG4bKi%(n)d;rport\r\n"
    b"Max-Forwards: 70\r\nFrom: <sip:u%(n)d@example.com>;tag=i%(n)d\r\nTo: <sip:b%(n)d@example.com>\r\n"
    b"Call-ID: i%(n)d@phone\r\nCSeq: 1 INVITE\r\nContact: <sip:u%(n)d@%(at)b%(uri)b>\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: %(size)d\r\n\r\n"
)
_INVITE_OK: Final = (
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/%(via)b %(at)b;branch=z9hG4bKi%(n)d;rport\r\n"
    b"From: <sip:u%(n)d@example.com>;tag=i%(n)d\r\nTo: <sip:b%(n)d@example.com>;tag=a%(n)d\r\n"
    b"Call-ID: i%(n)d@phone\r\nCSeq: 1 INVITE\r\nContact: <sip:b@203.0.113.50>\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: %(size)d\r\n\r\n"
)


class WrongOutputError(Exception):
    """The engine's output isn't what it has to be; the text shows both."""


def measure(phones: int, calls: int = 0, seed: int = 1) -> Growth:
    """Measure one size. Raises WrongOutputError."""
    # As `sipalg run` does at its start.
    keep_large_apart()
    gc.collect()
    router = Router(phones)
    before = _resident_bytes()
    register_all(router)
    gc.collect()
    with_phones = _resident_bytes()
    for index in range(calls):
        _call(router, index)
    _forget_events(router)
    gc.collect()
    with_calls = _resident_bytes()
    gc.freeze()
    order = list(range(phones))
    Random(seed).shuffle(order)
    samples: list[float] = []
    checked = 0
    for _ in range(max(1, _MEASURED // phones)):
        router.now += _REFRESHED_AFTER_S
        router.sequence += 1
        for first in range(0, min(phones, _MEASURED), _AT_ONCE):
            some = order[first : first + _AT_ONCE]
            samples.append(_exchange(router, some))
            _forget_events(router)
            checked += 2 * len(some)
    samples.sort()
    started_s = _restart(router)
    gc.unfreeze()
    call_bytes = (with_calls - with_phones) / calls if calls else 0.0
    mapping_bytes = (with_phones - before) / phones
    times = (samples[0], samples[len(samples) // 2])
    # Calls that nobody ends stand for hours and have their media looked after all the while: that is no expiry.
    expiry_us = 0.0 if calls else _expire(router)
    return Growth(phones, calls, *times, mapping_bytes, call_bytes, started_s, expiry_us, checked)


def register_all(router: Router) -> None:
    """Have every phone register."""
    for index in range(router.count):
        router.now += _REGISTERED_WITHIN_S / router.count
        _exchange(router, [index])
        if index % 1000 == 999:
            _forget_events(router)
    _forget_events(router)


def measure_apart(size: str) -> Growth:
    """Measure one size, PHONES or PHONES:CALLS, in a process of its own, whose memory nobody else has used before."""
    words = [sys.executable, "-m", "bench.growth", "--one", size]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise WrongOutputError(done.stderr.strip() or f"exit code {done.returncode}")
    return Growth(*json.loads(done.stdout))


def _exchange(router: Router, some: Sequence[int]) -> float:
    """Refresh some phones; µs a round trip."""
    used_ns = 0
    for make in (router.register, router.answer):
        made = [make(index) for index in some]
        begin = time.thread_time_ns()
        outputs = [router.feed(datagram) for datagram, _ in made]
        used_ns += time.thread_time_ns() - begin
        for output, (datagram, expected) in zip(outputs, made, strict=True):
            if expected and output != expected:
                raise WrongOutputError(f"in {datagram!r}\ngot {output!r}\nexpected {expected!r}")
    return used_ns / len(some) / 1000


def _call(router: Router, index: int) -> None:
    phone = router.phone(index)
    media = 20_000 + index % 1000 * 2
    protocol = router.protocol(index)
    spelt = _SPELT[protocol]
    body = _SDP % {b"host": phone.host.encode(), b"media": media}
    values = {b"at": b"%b:%d" % (phone.host.encode(), phone.port), b"n": index, b"size": len(body), **spelt}
    invite = router.feed(Datagram(_INVITE % values + body, phone, SERVER, protocol, "lan0"))
    if phone.host.encode() in invite:
        raise WrongOutputError(f"a private address left: {invite!r}")
    answer = _SDP % {b"host": b"203.0.113.50", b"media": 30_000 + index % 1000 * 2}
    values = {b"at": b"%b:%d" % (PUBLIC.encode(), router.ports[index]), b"n": index, b"size": len(answer), **spelt}
    router.feed(Datagram(_INVITE_OK % values + answer, SERVER, phone, protocol, "wan0"))


def _restart(router: Router) -> float:
    """CPU seconds for a new engine to take all mappings and records over, from the journal's lines on.

    The collector waits meanwhile, as it does in the live process.
    """
    records = router.alg.records
    entries = [(entry.mapping, entry.peer_hosts()) for entry in router.alg.mappings.entries.values()]
    lines = [json.dumps([record[0], plain_key(record), records.value(record)]) for record in records.all()]
    gc.disable()
    begin = time.thread_time()
    alg = new_engine()
    alg.restore((Restored(mapping, 600.0, "lan0", peers) for mapping, peers in entries), router.now)
    plain = (PlainRecord(kind, tuple(key), value) for kind, key, value in map(json.loads, lines))
    alg.resume(plain, (), router.now)
    used_s = time.thread_time() - begin
    gc.enable()
    return used_s


def _expire(router: Router) -> float:
    """µs a mapping, contact or call for all timers until nothing is left."""
    end = router.now + 4 * _GRANTED_S
    alg = router.alg
    begin = time.thread_time_ns()
    while (due := alg.next_timer()) is not None and due <= end:
        alg.handle_timer(due)
        alg.take_events()
    return (time.thread_time_ns() - begin) / 1000 / router.count


def _forget_events(router: Router) -> None:
    """Take the events and what the journal would write."""
    router.alg.take_events()
    records = router.alg.records
    for record in records.take_changed():
        records.value(record)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def table(results: Sequence[Growth]) -> list[str]:
    """Return the page's table; the last column is the cost of a message against that of the smallest size."""
    first = results[0].median_us
    lines = [
        "| phones | calls | µs a round trip, median | least | × the first | bytes a mapping | bytes a call "
        "| engine's part of a start, CPU s | expiry, µs a mapping | messages checked |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.phones:,} | {one.calls:,} | {one.median_us:.1f} | {one.least_us:.1f} | {one.median_us / first:.2f} "
        f"| {one.mapping_bytes:,.0f} | {one.call_bytes:,.0f} | {one.start_s:.2f} "
        f"| {'' if one.calls else f'{one.expiry_us:.1f}'} "
        f"| {one.checked:,}, all right |"
        for one in results
    ]
    return lines


def main(words: Sequence[str]) -> int:
    """Print the table: `python -m bench.growth [PHONES[:CALLS] …]`; with `--one`, one size's figures as JSON."""
    try:
        if words[:1] == ["--one"]:
            phones, _, calls = words[1].partition(":")
            print(json.dumps(measure(int(phones), int(calls or 0))))
            return 0
        results = [measure_apart(size) for size in words or SIZES]
    except WrongOutputError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(table(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
