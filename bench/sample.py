"""Where the engine's time goes for one kind of message: samples of the running frames, by function and line.

`python -m bench.sample KIND [ROUNDS]`, with KIND from `messages.KINDS`. A timer on CPU time interrupts the engine a
thousand times a second, only while it works on messages of this kind. The middle of a packet's way, seen from above.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Final

from bench.corpus import Corpus
from bench.engine import STANDING, EngineBench
from sipalg.engine.verdict import Datagram, Verdict

_INTERVAL_S: Final = 0.001
_SHOWN: Final = 45


class Sampler(EngineBench):
    """The engine's benchmark that looks at one kind's frames; `own`, `within` and `lines` count samples."""

    def __init__(self, corpus: Corpus, samples: dict[str, list[float]], kind: str) -> None:
        super().__init__(corpus, samples)
        self.own: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()
        self.taken = 0
        self._kind = kind
        self._counts = False

    def feed(self, datagrams: list[Datagram], sample: str) -> list[Verdict]:
        """Feed as ever, and count samples meanwhile where it is the kind in question."""
        self._counts = sample == self._kind
        try:
            return super().feed(datagrams, sample)
        finally:
            self._counts = False

    def look(self, _number: int, frame: FrameType | None) -> None:
        """Count the frames that are running."""
        if not self._counts:
            return
        names: set[str] = set()
        first = True
        while frame is not None and frame.f_code.co_name != "feed":
            code = frame.f_code
            name = f"{Path(code.co_filename).stem}.{code.co_qualname}"
            if first:
                self.own[name] += 1
                self.lines[f"{name}:{frame.f_lineno}"] += 1
                first = False
            names.add(name)
            frame = frame.f_back
        self.taken += not first
        self.within.update(names)


def main(words: Sequence[str]) -> int:
    """Print the table."""
    samples: dict[str, list[float]] = {}
    sampler = Sampler(Corpus(1, 500), samples, words[0])
    signal.signal(signal.SIGPROF, sampler.look)
    signal.setitimer(signal.ITIMER_PROF, _INTERVAL_S, _INTERVAL_S)
    sampler.register()
    for _ in range(int(words[1]) if len(words) > 1 else 10):
        (sampler.standing if words[0] in STANDING else sampler.calls)()
    signal.setitimer(signal.ITIMER_PROF, 0)
    each_us = median(samples[words[0]])
    print(f"{words[0]}: {each_us:.2f} µs a message (with sampling), {sampler.taken} samples")
    for title, counter in (("own", sampler.own), ("with callees", sampler.within), ("line", sampler.lines)):
        print(f"\nµs a message, {title}")
        for name, count in counter.most_common(_SHOWN):
            print(f"{count / sampler.taken * each_us:8.2f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
