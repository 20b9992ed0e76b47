"""Python's garbage collector, kept from looking at everything while packets wait.

Off a packet's way. Reference counts free nearly all: the engine makes no cycles, so that what the collector finds is
somebody's callback now and then. A look at a hundred thousand phones takes a tenth of a second and more, and finds
nothing. So only what is new is looked at, a thousand objects at a time, and what outlives that is never looked at
again.
"""

from __future__ import annotations

import gc
from typing import Final

#: How often `look` is to be called, seconds.
INTERVAL_S: Final = 1.0
#: After how many new objects these are looked at: a tenth of a millisecond.
_NEW_OBJECTS: Final = 1000
#: What the collector would do by itself with those that outlived that, and with all: never.
_NEVER: Final = 1 << 30
#: How many thousands of them are looked at once more.
_FEW: Final = 3


def begin() -> None:
    """Take all that there is for good, and look at what is new from now on only."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _NEVER, _NEVER)
    gc.enable()


def look() -> None:
    """Look once more at what has outlived a first look, where that isn't much, and take the rest for good."""
    looks = gc.get_count()[1]
    if looks == 0:
        return
    if looks <= _FEW:
        gc.collect(1)
    gc.freeze()
