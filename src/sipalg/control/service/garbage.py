"""Python's garbage collector, kept from looking at everything while packets wait.

Off a packet's way. Reference counts free nearly all: what lives longer than a second is to be in no cycle when it is
left, and whoever makes one ends it, as a relayed connection does when it closes. A look at a hundred thousand phones
takes a tenth of a second and more, and finds nothing. So only what is new is looked at, a thousand objects at a time,
and what outlives that is taken for good. Each hour all is looked at nevertheless, in case somebody has made a cycle
after all, but only where there is so little that packets don't notice.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

#: How often `look` is to be called, seconds.
INTERVAL_S: Final = 1.0
#: How often `look_at_all` is to be called, seconds: what a fault leaves behind in that time is some megabytes.
ALL_INTERVAL_S: Final = 3600.0
#: How many blocks of memory may be in use where all is looked at: 7 ms, which the packets' queue has room for. The
#: service has 100,000 before its first phone. They are counted at once, the collector's own objects one by one.
_MOST_BLOCKS: Final = 200_000
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


def look_at_all() -> None:
    """Look at all that was taken for good too, and take it again, where that isn't much."""
    if sys.getallocatedblocks() > _MOST_BLOCKS:
        return
    gc.unfreeze()
    gc.collect()
    gc.freeze()
