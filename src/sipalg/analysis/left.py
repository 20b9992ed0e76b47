"""Why an address in a Via or a Contact was left alone, for the lines that have no edit.

The engine edits the sender's own addresses and gives no reason for the rest; here it is worked out for people, line by
line. On a packet's way this looks at what lies behind the rewriting. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, is_ipv4
from sipalg.codec.fields import read
from sipalg.codec.message import CONTACT, VIA, Message
from sipalg.engine.verdict import Edit


def notes_on_left(message: Message, edits: Sequence[Edit], own: str, public: str, *, outbound: bool) -> dict[int, str]:
    """Return a note for each Via and Contact without an edit, by the offset of its line.

    `own` is the phone's private address, `public` the router's.
    """
    edited = [edit.offset for edit in edits]
    notes = {}
    topmost = True
    for begin, end in _header_lines(message):
        kind, spans = read(message.data[begin:end])
        if kind not in (VIA, CONTACT):
            continue
        first_via = kind == VIA and topmost
        topmost = topmost and kind != VIA
        if any(begin <= offset < end for offset in edited):
            continue
        whys = [_why(span.host, span.port, span.over_stream, own, public, outbound=outbound) for span in spans]
        if kind == VIA and (not first_via or (outbound and message.status)):
            whys = ["another hop's" if not first_via else "it says where the response goes"]
        if whys:
            notes[begin] = f"left: {', '.join(dict.fromkeys(whys))}"
    return notes


def _why(host: bytes, port: int, over_stream: bool, own: str, public: str, *, outbound: bool) -> str:
    name = host.decode("ascii", "replace")
    if not is_ipv4(host):
        return "a name, no IPv4 address"
    if name not in (own, public):
        return "another host's address"
    if name == public:
        return "the public address already" if outbound else "no port of this phone's mappings"
    if not outbound:
        return "the phone's own address already"
    if over_stream:
        return "for TCP or TLS"
    return "a port below 1024" if port < FIRST_UNPRIVILEGED_PORT else "nothing to change"


def _header_lines(message: Message) -> Iterator[tuple[int, int]]:
    """Yield the span of each field of the header, without its line end; a folded field's is up to its last line."""
    data = message.data
    begin = data.find(b"\n", message.head, message.head_end) + 1 or message.head_end
    while begin < message.head_end:
        end = data.find(b"\n", begin, message.head_end)
        while 0 <= end < message.head_end - 1 and data[end + 1] in b" \t":
            end = data.find(b"\n", end + 1, message.head_end)
        if end < 0:
            end = message.head_end
        yield begin, end
        begin = end + 1
