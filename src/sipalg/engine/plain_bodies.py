"""A phone's description that only names itself, for RTP: the interpreted build's short way through `rewrite_sdp`.

The same edits, ports and media ends as there, of a description in pieces that are remembered, without records of it
between. Wherever this says None, `rewrite_sdp` looks at it whole. The body's turn on a packet's way.
Sources: RFC 8866 §5, RFC 3605, RFC 3550 §11 (even RTP port, RTCP next to it).
"""

from __future__ import annotations

from typing import Final

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, MAX_PORT
from sipalg.codec.machine import new, quick_sdp
from sipalg.codec.plain_sdp import read
from sipalg.engine.mappings import Mappings
from sipalg.engine.media import Ends, MediaEnd
from sipalg.engine.policy import MAX_MEDIA_SECTIONS
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import UDP, Change, Endpoint


def edits_of(
    transaction: Transaction,
    mappings: Mappings,
    data: bytes,
    span: tuple[int, int],
    own: bytes,
    advertised: bytes,
    in_interface: str,
) -> tuple[list[Change], Ends] | None:
    """The edits of an inside phone's description and its media ends; None if it is to be looked at whole.

    Ports that were mapped on the way there are found by who looks then: nothing has to be taken back.
    """
    if own[:1] == b"[" or own == advertised:
        return None
    found = read(data, span[0], span[1], own, MAX_MEDIA_SECTIONS)
    if found is None:
        return None
    connections, origin, sections = found
    edits: list[Change] = []
    ends: list[MediaEnd] = []
    entries = mappings.entries
    host = own.decode("ascii")
    for port, start, end, behind, (mux, _, rtcp_port, of_rtcp_port, of_rtcp_host) in sections:
        if not FIRST_UNPRIVILEGED_PORT <= port < MAX_PORT or rtcp_port not in (0, port + 1):
            return None
        rtp, rtcp = new(Endpoint, (host, port)), new(Endpoint, (host, port + 1))
        first, second = entries.get((UDP, rtp)), entries.get((UDP, rtcp))
        if (
            first is not None
            and second is not None
            and first.purpose == "media" == second.purpose
            and second.public_port == first.public_port + 1
        ):
            public_port = first.public_port
        else:
            opened = mappings.open_block(transaction, UDP, rtp, 2, in_interface, even=True)
            if opened is None:
                return None
            public_port = opened
        if public_port != port:
            edits.append((start, end - start, b"%d" % public_port, "sdp-m"))
            if rtcp_port:
                start, end = of_rtcp_port
                edits.append((behind + start, end - start, b"%d" % (public_port + 1), "sdp-rtcp"))
        if of_rtcp_host is not None:
            start, end = of_rtcp_host
            edits.append((behind + start, end - start, advertised, "sdp-rtcp"))
        ends.append(new(MediaEnd, (rtp, rtcp, mux, False)))
    for start, end in connections:
        edits.append((start, end - start, advertised, "sdp-c"))
    if origin is not None:
        start, end = origin
        edits.append((start, end - start, advertised, "sdp-o"))
    return edits, tuple(ends)


#: For who asks here first: nobody where descriptions are read in machine code, which is quicker.
in_pieces: Final = edits_of if quick_sdp("parse") is None else None
