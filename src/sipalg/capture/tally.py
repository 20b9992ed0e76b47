"""Media that is counted by the reader of a capture before anything is made of a packet: the way of one RTP stream.

Nine tenths of a capture are voice, and of most of it only the number matters. Whoever knows a stream puts a tally at
its raw addresses and ports; from then on its packets are counted where they lie in the file's bytes, and what isn't
like it (STUN, DTLS, RTCP on the same ports) still comes out as a frame. On a packet's way offline this is beside the
reader. Sources: RFC 3550 §5.1 and §6.1, RFC 5761 §4.
"""

from __future__ import annotations

from typing import Final

from sipalg.capture.link import ETHERNET, IPV4, LINUX_SLL, LINUX_SLL2, LOOP, NULL, RAW

_VERSION_2: Final = range(0x80, 0xC0)
#: RTCP's packet types (RFC 5761 §4), which no RTP packet on the same port looks like.
_RTCP_TYPES: Final = range(192, 224)

#: Where the IPv4 addresses stand in a frame, by link type (as in files), behind a header without options or VLAN tags;
#: the ports stand behind them, and the UDP payload 16 bytes further. Frames of another shape aren't counted here.
ENDS_AT: Final = {ETHERNET: 26, LINUX_SLL: 28, LINUX_SLL2: 32, RAW: 12, IPV4: 12, NULL: 16, LOOP: 16}
#: Beyond any frame: nothing is found there.
NOWHERE: Final = 1 << 40

#: The first two bytes of every RTP packet, and of every RTCP packet.
RTCP_HEADS: Final = frozenset(bytes((first, second)) for first in _VERSION_2 for second in _RTCP_TYPES)
RTP_HEADS: Final = frozenset(bytes((first, second)) for first in _VERSION_2 for second in range(256)) - RTCP_HEADS


class Tally:
    """How many packets came on one way whose first two bytes are among `heads`."""

    __slots__ = ("count", "heads")

    def __init__(self, heads: frozenset[bytes]) -> None:
        self.count = 0
        self.heads = heads


#: Tallies by source address, destination address, source port and destination port as they stand in a packet.
Tallies = dict[bytes, Tally]
