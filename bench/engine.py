"""The engine alone: µs a message of each kind, for a thousand phones, every output compared with the corpus's.

Datagrams are built beforehand, sixteen at a time; measured is `receive_datagram`, with `commands_done` where there are
commands, over one message of every phone. The public ports are the engine's choice, read from its commands; that they
are distinct, and even for media, is checked too. The middle of a packet's way, without the kernel.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from bench.allocations import AllocationsError, Counting
from bench.corpus import Corpus, garbage, outside
from bench.figures import FIXED_WORK, EngineResult, machine_us
from bench.messages import KINDS
from bench.phones import PUBLIC, SERVER, Phone
from bench.template import SEQUENCE_FIRST, View
from sipalg.engine.alg import Alg
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import ACCEPT, REPLACE, UDP, CloseMapping, Datagram, Endpoint, OpenMapping, Verdict

#: Datagrams at once, as many as the packet loop takes: one that waits in a list leaves the processor's cache.
_AT_ONCE: Final = 16
#: What each round sends, in this order. The INVITE with ICE begins calls of its own, whose other messages don't count.
_CALL: Final = ("INVITE", "100", "180", "200 INVITE", "ACK", "BYE", "200 BYE")
_CALLED: Final = ("in INVITE", "out 180", "out 200 INVITE", "in ACK", "in BYE", "out 200 BYE")
_ICE_CALL: Final = ("ICE INVITE", "200 INVITE", "ACK", "BYE", "200 BYE")
STANDING: Final = ("REGISTER", "401", "REGISTER auth", "200 REGISTER", "OPTIONS", "200 OPTIONS", "in OPTIONS",
                  "out 200 OPTIONS")  # fmt: skip
#: Said of a phone's description where its ports aren't mapped yet.
_NEW_PORTS: Final = ", new ports"
_PER_CALL_S: Final = 60.0

#: By kind: µs a message of each batch; and how many outputs were checked.
Samples = tuple[dict[str, list[float]], dict[str, int]]


class WrongOutputError(Exception):
    """The engine's output isn't the corpus's; the text shows both."""


class EngineBench:
    """One engine with its phones; `samples` collects µs a message by kind, or allocations with a `counter`."""

    def __init__(self, corpus: Corpus, samples: dict[str, list[float]], counter: Counting | None = None) -> None:
        self.samples = samples
        self._counter = counter
        self.checked: dict[str, int] = {}
        self._corpus = corpus
        self._alg = Alg(
            Settings(frozenset({"lan0"}), PUBLIC, PUBLIC), lambda protocol, port: (protocol, port) == (UDP, 22)
        )
        self._public: dict[Endpoint, int] = {}
        self._taken: dict[int, Endpoint] = {}
        self._sequence = SEQUENCE_FIRST
        self._now = 1000.0
        self._used_ns: Counter[str] = Counter()

    def run(self, rounds: int, seed: int) -> None:
        """Register everybody, then `rounds` times all kinds; raises WrongOutputError."""
        self.register()
        for _ in range(rounds):
            self.standing()
            self.calls()
            self._ice_calls()
            self._garbage(seed)
            self.samples.setdefault(FIXED_WORK, []).append(machine_us(1))

    def register(self) -> None:
        """Register everybody for the first time."""
        for kind in ("REGISTER", "401", "REGISTER auth", "200 REGISTER"):
            self._exchange(kind, f"{kind}, first time" if kind == "REGISTER" else "")

    def standing(self) -> None:
        """Refresh all registrations, and ask for options both ways."""
        for kind in STANDING:
            self._exchange(kind, kind)

    def calls(self) -> None:
        """Let every phone call out twice, and then be called twice; between the two the calls' mappings end.

        So a first call needs new public ports, and the second finds the phone's RTP ports mapped still.
        """
        for call in (_CALL, _CALLED):
            for suffix in (_NEW_PORTS, ""):
                for kind in call:
                    opens = KINDS[kind].leaves and KINDS[kind].sdp
                    self._exchange(kind, kind + suffix if opens else kind)
            self._pass_time()

    def _ice_calls(self) -> None:
        """Let every phone call out with candidates, its ports not mapped yet."""
        for kind in _ICE_CALL:
            self._exchange(kind, kind if kind == "ICE INVITE" else "")
        self._pass_time()

    def _exchange(self, kind: str, sample: str) -> None:
        """Send one message of this kind from or to every phone, and judge what comes out."""
        phones = self._corpus.phones
        if KINDS[kind].status == 0 and KINDS[kind].method not in {"ACK", "BYE"}:
            self._sequence += 1
        self._now += 0.1
        used_ns = self._used_ns[sample]
        gc.collect()
        for first in range(0, len(phones), _AT_ONCE):
            self._exchange_some(phones[first : first + _AT_ONCE], kind, sample)
        if sample:
            each_us = (self._used_ns[sample] - used_ns) / len(phones) / 1000
            self.samples.setdefault(sample, []).append(each_us)
            self.checked[sample] = self.checked.get(sample, 0) + len(phones)

    def _exchange_some(self, phones: Sequence[Phone], kind: str, sample: str) -> None:
        sequence = self._sequence
        datagrams = [self._datagram(phone, kind, sequence) for phone in phones]
        verdicts = self.feed(datagrams, sample)
        for verdict in verdicts:
            self._learn(verdict)
        for phone, datagram, verdict in zip(phones, datagrams, verdicts, strict=True):
            expected = self._corpus.after(phone, kind, self._view(phone), sequence)
            action = ACCEPT if expected == datagram.payload else REPLACE
            if (verdict.payload, verdict.action) != (expected, action):
                raise WrongOutputError(f"{kind} of phone {phone.index}: {verdict.action} ({verdict.reason!r})\n"
                                       f"--- in\n{datagram.payload.decode()}\n--- got\n{verdict.payload.decode()}\n"
                                       f"--- expected ({action})\n{expected.decode()}")  # fmt: skip

    def _garbage(self, seed: int) -> None:
        payloads = garbage(seed, len(self._corpus.phones))
        datagrams = [Datagram(payload, Endpoint(*phone.private), Endpoint(SERVER, 5060), UDP, "lan0")
                     for payload, phone in zip(payloads, self._corpus.phones, strict=True)]  # fmt: skip
        used_ns = self._used_ns["garbage"]
        verdicts = self.feed(datagrams, "garbage")
        used_ns = self._used_ns["garbage"] - used_ns
        self.samples.setdefault("garbage", []).append(used_ns / len(datagrams) / 1000)
        for payload, verdict in zip(payloads, verdicts, strict=True):
            if verdict.action != ACCEPT or verdict.payload != payload or verdict.edits:
                raise WrongOutputError(f"garbage was changed: {payload!r}")
        self.checked["garbage"] = self.checked.get("garbage", 0) + len(payloads)

    def feed(self, datagrams: list[Datagram], sample: str) -> list[Verdict]:
        """Let the engine have them, in one go, and count the time; its events are taken as the driver does."""
        now, receive, done = self._now, self._alg.receive_datagram, self._alg.commands_done
        verdicts: list[Verdict] = []
        append = verdicts.append
        begin = self._counter.start() if self._counter else time.thread_time_ns()
        for datagram in datagrams:
            verdict = receive(datagram, now)
            if verdict.commands:
                done(verdict.token, now)
            append(verdict)
        # With a counter an allocation stands for a microsecond.
        used = self._counter.stop() * 1000 if self._counter else time.thread_time_ns() - begin
        self._used_ns[sample] += used
        self._alg.take_events()
        return verdicts

    def _pass_time(self) -> None:
        """Let the calls' mappings end, as the driver does between packets."""
        end = self._now + _PER_CALL_S
        begin = time.thread_time_ns()
        while (due := self._alg.next_timer()) is not None and due <= end:
            self._close(self._alg.handle_timer(due))
        used = time.thread_time_ns() - begin
        self._alg.take_events()
        self._now = end
        self.samples.setdefault("timers, per call", []).append(used / len(self._corpus.phones) / 1000)

    def _datagram(self, phone: Phone, kind: str, sequence: int) -> Datagram:
        payload = self._corpus.before(phone, kind, self._view(phone), sequence)
        private, server = Endpoint(*phone.private), Endpoint(SERVER, 5060)
        if KINDS[kind].leaves:
            return Datagram(payload, private, server, UDP, "lan0")
        return Datagram(payload, server, private, UDP, "wan0")

    def _view(self, phone: Phone) -> View:
        """How the outside sees this phone, as far as the engine has said; ports that it hasn't mapped are 0."""
        host, port = phone.private
        media = tuple(self._public.get(Endpoint(host, media), 0) for media in phone.media)
        if any(port % 2 for port in media):
            raise WrongOutputError(f"phone {phone.index}: odd RTP ports {media}")
        return outside(self._public.get(Endpoint(host, port), 0), media)

    def _learn(self, verdict: Verdict) -> None:
        for command in verdict.commands:
            if isinstance(command, OpenMapping):
                private, public = command.mapping.private, command.mapping.public
                if public.host != PUBLIC or self._taken.setdefault(public.port, private) != private:
                    raise WrongOutputError(f"{private} is given {public}, which {self._taken[public.port]} has")
                self._public[private] = public.port
        self._close(verdict.commands)

    def _close(self, commands: Sequence[object]) -> None:
        for command in commands:
            if isinstance(command, CloseMapping):
                self._public.pop(command.mapping.private, None)
                self._taken.pop(command.mapping.public.port, None)


def collect(rounds: int, phones: int, seed: int = 1, counter: Counting | None = None) -> Samples:
    """Measure all kinds; `rounds` engines, each from scratch with three rounds of everything."""
    corpus = Corpus(seed, phones)
    samples: dict[str, list[float]] = {}
    checked: dict[str, int] = {}
    for _ in range(rounds):
        bench = EngineBench(corpus, samples, counter)
        bench.run(3, seed)
        for kind, count in bench.checked.items():
            checked[kind] = checked.get(kind, 0) + count
    return samples, checked


def measure(rounds: int, phones: int, seed: int = 1) -> list[EngineResult]:
    """Measure all kinds in this process, with the build that it runs. Raises WrongOutputError."""
    return results_of([collect(rounds, phones, seed)])


def results_of(measured: Sequence[Samples]) -> list[EngineResult]:
    """Return the medians of what was measured once or more often, with its spread."""
    return [EngineResult(kind, median(values), min(values), max(values),
                         sum(checked.get(kind, 0) for _, checked in measured))
            for kind in measured[0][0]
            for values in ([value for samples, _ in measured for value in samples[kind]],)]  # fmt: skip


def measure_apart(build: str, phones: int, *, allocations: bool = False) -> Samples:
    """Measure one round in a process of its own; `build` as in SIPALG_BUILD. Raises WrongOutputError."""
    words = [sys.executable, "-m", "bench.engine", "--allocations" if allocations else "--samples", "1", str(phones)]
    environment = os.environ | {"SIPALG_BUILD": build}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise WrongOutputError(done.stderr.strip() or f"exit code {done.returncode}")
    samples, checked = json.loads(done.stdout)
    return samples, checked


def main(words: Sequence[str]) -> int:
    """Print the figures: `python -m bench.engine [--samples|--allocations] [ROUNDS [PHONES]]`; JSON with the first."""
    form = words[0] if words and words[0].startswith("--") else ""
    numbers = [int(word) for word in words[bool(form) :]] or [5]
    rounds, phones = numbers[0], numbers[1] if len(numbers) > 1 else 1000
    try:
        if form:
            print(json.dumps(collect(rounds, phones, counter=Counting() if form == "--allocations" else None)))
            return 0
        results = measure(rounds, phones)
    except (WrongOutputError, AllocationsError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"machine: {machine_us():.2f} µs")
    for result in results:
        print(f"{result.kind:24} {result.median_us:7.2f} µs  {result.least_us:7.2f}–{result.most_us:7.2f}"
              f"  {result.checked} checked")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
