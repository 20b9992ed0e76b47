"""sipalg's packet loop without its engine: what the interpreted loop alone costs on the real queue.

The driver and the queue are sipalg's; in the engine's place is one that accepts every datagram, or (`replace`) has
every payload replaced by itself. Between the two ends of a packet's way in bench/loop.py's modes `accept` and
`replace`: `python -m bench.python_queue QUEUE accept|replace`.
"""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Sequence

from sipalg.datapath.batched import open_queue
from sipalg.datapath.driver import Driver
from sipalg.datapath.executor import Failure, Trigger
from sipalg.engine.transaction import Told
from sipalg.engine.verdict import ACCEPT, REPLACE, Action, Command, Datagram, Flow, Verdict


class NullEngine:
    """The engine's contract, with the same answer to everything."""

    def __init__(self, action: Action) -> None:
        self._action: Action = action

    def receive_datagram(self, datagram: Datagram, now: float) -> Verdict:
        """Answer without a look."""
        del now
        return Verdict(self._action, datagram.payload, (), (), "", 0)

    receive_message = receive_datagram

    def commands_done(self, token: int, now: float) -> None:
        """Never called: there are no commands."""

    def commands_failed(self, token: int, index: int, reason: str, now: float) -> Verdict:
        """Never called."""
        raise NotImplementedError

    def next_timer(self) -> float | None:
        """Return no timer."""
        return None

    def handle_timer(self, now: float) -> tuple[Command, ...]:
        """Do nothing."""
        del now
        return ()

    def media_seen(self, flow: Flow, now: float) -> None:
        """Never called."""

    def take_told(self) -> list[Told]:
        """Return no events."""
        return []


class NullRunner:
    """Commands that are none."""

    def run(self, commands: Sequence[Command], trigger: Trigger | None = None) -> Failure | None:
        """Never called."""

    def run_each(self, commands: Sequence[Command]) -> list[Failure]:
        """Never called."""
        del commands
        return []

    def take_seen(self) -> list[Flow]:
        """Return no flows."""
        return []


def main(words: Sequence[str]) -> None:
    """Serve the queue until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    queue, way = open_queue(int(words[0]))
    driver = Driver(NullEngine(REPLACE if words[1] == "replace" else ACCEPT), way, NullRunner(), frozenset({"lan0"}))
    poll = select.epoll()
    poll.register(queue.fileno(), select.EPOLLIN)
    print("ready", flush=True)
    while True:
        poll.poll()
        driver.drain()


if __name__ == "__main__":
    main(sys.argv[1:])
