"""What `--log-edits` says of a message: what it is, which way it went, and which rules changed it.

Off a packet's way: the driver hands over what it has edited after the verdicts are sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

from sipalg.codec.message import identify, parse
from sipalg.engine.verdict import Datagram, Event, Verdict

_STATUS_LINE: Final = b"SIP/"
#: A start line's word is short in any message that was edited; this only bounds the line.
_LONGEST_WORD: Final = 32


def edit_event(datagram: Datagram, verdict: Verdict, inside: Collection[str], *, made: bool = True) -> Event:
    """Return the event: `edited`, or `would-edit` where the edits weren't `made`.

    `inside` are the interfaces that phones are behind. Rules come in the order of their first edit, those that made
    several with their number: `via,contact*2`.
    """
    first, second = (*datagram.payload.split(None, 2), b"", b"")[:2]
    word = second if first.startswith(_STATUS_LINE) else first
    message = parse(datagram.payload)
    call_id = "" if isinstance(message, str) else identify(message).call_id.decode(errors="replace")
    rules = Counter(edit.rule for edit in verdict.edits)
    facts = (
        ("message", word[:_LONGEST_WORD].decode(errors="replace")),
        ("call_id", call_id),
        ("direction", "out" if datagram.in_interface in inside else "in"),
        ("source", str(datagram.source)),
        ("destination", str(datagram.destination)),
        ("rules", ",".join(rule if count == 1 else f"{rule}*{count}" for rule, count in rules.items())),
    )
    return Event("edited" if made else "would-edit", facts)
