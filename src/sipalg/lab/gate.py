"""A gate in front of the labs: many may be inside at once, or one that has to be alone.

A scenario that puts a load on the machine shows nothing where other labs share its processors: what is late there is
repeated, and makes everything later. On a packet's way this is above everything, as the runner is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Final

from sipalg.lab.programs import interrupted
from sipalg.lab.topology import LabError

LOOK_S: Final = 0.5


class Gate:
    """Lets in many, or one alone; who wants to be alone keeps out those that come later."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._inside = 0
        self._alone = False
        self._want_alone = 0

    @contextmanager
    def enter(self, *, alone: bool) -> Iterator[None]:
        """Wait until one may go in, and be inside; LabError if the lab is interrupted meanwhile."""
        with self._changed:
            self._want_alone += alone
            try:
                while self._alone or (self._inside if alone else self._want_alone):
                    if interrupted.is_set():
                        raise LabError("interrupted")
                    self._changed.wait(LOOK_S)
                self._inside += 1
                self._alone = alone
            finally:
                self._want_alone -= alone
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._alone = False
                self._changed.notify_all()
