"""Messages with holes: one text from which both what goes into the ALG and what must come out of it is rendered.

The expected output of every message in the benchmarks comes from here and not from sipalg: a template has a hole
wherever design and RFCs put an address of the phone, and the two sides of the router are two ways to fill the holes.
Before a packet's way begins and after it ends.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: The holes. They are control characters, which no SIP message of the corpus has elsewhere.
ADDRESS: Final = b"\x01"  # the phone's host:port (Via's sent-by, Contact)
HOST: Final = b"\x02"  # its host alone (SDP's o= and c=)
RECEIVED: Final = b"\x03"  # Via's received
RPORT: Final = b"\x04"  # Via's rport
RTP: Final = (b"\x05", b"\x06")  # the media port of the first and the second stream
RTCP: Final = (b"\x07", b"\x08")  # the RTCP port of the first and the second stream
SEQUENCE: Final = b"\x0e"  # eight digits, another for every transaction
LENGTH: Final = b"\x0f"  # the body's length

SEQUENCE_FIRST: Final = 10_000_000


class View(NamedTuple):
    """How one side of the router sees a phone: what the holes are filled with.

    `media` holds a port for each stream that the phone offers; RTCP is next to it.
    """

    host: str
    port: int
    received: str
    rport: int
    media: tuple[int, ...] = ()


class Template(NamedTuple):
    """A message with holes: start line and headers with the blank line, and the body."""

    head: bytes
    body: bytes

    def render(self, view: View, sequence: int) -> bytes:
        """Return the message as the side that `view` describes sees it; the length is that of the rendered body."""
        fills = {
            ADDRESS: b"%s:%d" % (view.host.encode(), view.port),
            HOST: view.host.encode(),
            RECEIVED: view.received.encode(),
            RPORT: b"%d" % view.rport,
            SEQUENCE: b"%08d" % sequence,
        }
        for index, port in enumerate(view.media):
            fills[RTP[index]] = b"%d" % port
            fills[RTCP[index]] = b"%d" % (port + 1)
        body = _fill(self.body, fills)
        fills[LENGTH] = b"%d" % len(body)
        return _fill(self.head, fills) + body


def _fill(text: bytes, fills: dict[bytes, bytes]) -> bytes:
    for hole, value in fills.items():
        text = text.replace(hole, value)
    return text
