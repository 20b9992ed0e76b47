"""Doing something inside a host's network namespace, from a test that stays outside."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from sipalg.lab.topology import NETNS_DIRECTORY, Topology, _enter

T = TypeVar("T")


def inside(net: Topology, host: str, make: Callable[[], T]) -> T:
    """Make something in a host's namespace; sockets stay where they were made. An OSError is raised here."""
    made: list[T] = []
    failed: list[OSError] = []

    def work() -> None:
        try:
            _enter(NETNS_DIRECTORY / net.namespace(host))
            made.append(make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
