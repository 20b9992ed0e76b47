"""What the kernel says when it refuses a netlink message: an OSError that also tells which message it was.

Raised by `netlink` for everything that goes to the kernel beside the packets themselves. In a file of its own since
machine code can't be made of a class that is an OSError.
"""

from __future__ import annotations

import os


class NetlinkError(OSError):
    """The kernel refused a message: `errno` says why, `index` which one (-1: the transaction as a whole)."""

    def __init__(self, number: int, index: int = 0, detail: str = "") -> None:
        super().__init__(number, detail or os.strerror(number))
        self.index = index
