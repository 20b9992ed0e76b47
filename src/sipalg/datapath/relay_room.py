"""How many connections the relay takes: who is outside can't use up what the phones need.

Asked once for each connection, before it is a part of any message's way. Connections that phones open and those that
come from outside have shares of their own, and of each share one phone has a part at most. What comes from outside is
counted for the phone it goes to, not for who opens it: a server may have a connection to each of its phones.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from sipalg.datapath.relay_connection import Ends

#: Connections that phones open, and that are opened to them: one each way for a thousand phones. Each may hold 400 kB:
#: at each end 64 kB that wait and what one message makes, and for each direction a message and a read that nobody
#: looked at.
MAX_OUTWARD: Final = 1024
MAX_INWARD: Final = 1024
MAX_CONNECTIONS: Final = MAX_OUTWARD + MAX_INWARD
#: Of one phone, each way: a large PBX has some; more is a flood.
MAX_PER_PHONE: Final = 256

#: Why there is no room.
OF_PHONE: Final = "too many connections of one phone"
IN_ALL: Final = "too many connections"


class Room:
    """How many there are, by direction and phone."""

    def __init__(self) -> None:
        self._all: Counter[bool] = Counter()
        self._of_phone: Counter[tuple[bool, str]] = Counter()

    def has_no(self, ends: Ends) -> str:
        """Why there is no room for a connection with these ends, "" where there is."""
        outward = ends.from_inside
        if self._of_phone[outward, phone_of(ends)] >= MAX_PER_PHONE:
            return OF_PHONE
        if self._all[outward] >= (MAX_OUTWARD if outward else MAX_INWARD):
            return IN_ALL
        return ""

    def take(self, ends: Ends) -> None:
        """Count a connection."""
        self._all[ends.from_inside] += 1
        self._of_phone[ends.from_inside, phone_of(ends)] += 1

    def give_back(self, ends: Ends) -> None:
        """Count a connection no more."""
        self._all[ends.from_inside] -= 1
        key = ends.from_inside, phone_of(ends)
        self._of_phone[key] -= 1
        if not self._of_phone[key]:
            del self._of_phone[key]


def phone_of(ends: Ends) -> str:
    """Return the phone's host, or whoever is inside."""
    return ends.opener.host if ends.from_inside else ends.target.host
