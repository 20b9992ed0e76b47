"""Media that is counted by the reader of a capture before anything is made of a packet: one RTP stream on its way.

Nine tenths of a capture are voice, and of most of it only the number and the last packet matter. Whoever knows a
stream puts its tally at its raw addresses and ports; from then on its packets are counted where they lie in the file's
bytes, and what has another SSRC there (STUN, DTLS, RTCP on the same ports) still comes out as a frame. On a packet's
way offline this is beside the reader. Sources: RFC 3550 §5.1 and §8 (two ends of a session never have the same SSRC).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sipalg.capture.link import ETHERNET, IPV4, LINUX_SLL, LINUX_SLL2, LOOP, NULL, RAW

#: Where the IPv4 addresses stand in a frame, by link type (as in files), behind a header without options or VLAN tags;
#: the ports stand behind them, and the UDP payload 16 bytes further. Frames of another shape aren't counted here.
ENDS_AT: Final = {ETHERNET: 26, LINUX_SLL: 28, LINUX_SLL2: 32, RAW: 12, IPV4: 12, NULL: 16, LOOP: 16}
#: How far behind the addresses RTP's SSRC begins and ends: behind the ports, UDP's length and checksum, and 8 bytes.
SSRC_FROM: Final = 24
SSRC_TO: Final = 28
#: Beyond any frame: nothing is found there.
NOWHERE: Final = 1 << 40

#: A packet's time as the two numbers of its file's record → ns since 1970.
Clock = Callable[[int, int], int]


def nanoseconds(high: int, low: int) -> int:
    """Be the clock of whoever knows the time in ns: `low`, and 0 before it."""
    return high + low


class Tally:
    """How many packets of one RTP stream came, the last one's number, and its time as it stands in the file.

    The fields are written by the reader itself, packet by packet; the time is made of them only when asked for.
    """

    __slots__ = ("clock", "count", "high", "last", "low", "ssrc")

    def __init__(self, ssrc: bytes) -> None:
        self.ssrc = ssrc
        self.count = 0
        self.last = 0
        self.high = 0
        self.low = 0
        self.clock: Clock = nanoseconds

    def add(self, number: int, time_ns: int) -> None:
        """Count a packet outside of the reader."""
        self.count += 1
        self.last = number
        self.high, self.low, self.clock = 0, time_ns, nanoseconds

    @property
    def last_ns(self) -> int:
        """When the last packet came, in ns since 1970; 0 if there was none."""
        return self.clock(self.high, self.low)


#: Tallies by source address, destination address, source port and destination port as they stand in a packet.
Tallies = dict[bytes, Tally]
