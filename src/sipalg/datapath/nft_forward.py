"""What our forward chain asks of a packet, as cheaply as the kernel can answer: it is asked of every packet.

Media are nearly all that a router of phones forwards, so its first rule knows those that flow by their first byte and
lets them go on. What isn't told by it, such as T.38 or DTLS, goes through the rules behind as ever.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import Final

from sipalg.datapath import nft_codec as nft
from sipalg.engine.verdict import UDP

_L4PROTO: Final = 16  # NFT_META_L4PROTO
_CT_STATE: Final = 0  # NFT_CT_STATE
_ESTABLISHED: Final = struct.pack("=I", 0x2)  # NF_CT_STATE_BIT(IP_CT_ESTABLISHED), and the same of a reply
#: The first byte behind UDP's header of 8: RTP and RTCP have their version, 2, in its upper two bits (RFC 3550 §5.1,
#: §6.4.1), and nothing else that shares their ports does (RFC 7983 §7). Neither does SIP: no text in UTF-8 begins so
#: (RFC 3629 §3). Read are four bytes, which every such packet has: the kernel has a short way for them
#: (nft_bitwise_fast_eval).
_VERSION: Final = (
    nft.load_payload(2, 8, 4),
    nft.mask(int.from_bytes(b"\xc0\0\0\0", sys.byteorder)),
    nft.is_equal(b"\x80\0\0\0"),
)

#: Goes on where it is such a packet of a flow that stands. A flow's first packet isn't meant: the rules behind give
#: SIP flows their timeouts then.
FLOWING_MEDIA: Final = (
    nft.load_meta(_L4PROTO),
    nft.is_equal(bytes((UDP,))),
    *_VERSION,
    nft.load_ct(_CT_STATE),
    nft.is_equal(_ESTABLISHED),
)


def is_one_of(load: bytes, values: Sequence[bytes], set_name: str, *, invert: bool = False) -> tuple[bytes, ...]:
    """Return what goes on where that which is loaded is one of the values (or is none, inverted); the set holds them.

    One alone is compared, in a fifth of a look-up's time.
    """
    if len(values) == 1:
        return (load, nft.is_not_equal(values[0]) if invert else nft.is_equal(values[0]))
    return (load, nft.is_in(set_name, invert=invert))
