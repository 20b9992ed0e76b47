"""What differs between a message as the device got it and as it let it go: header by header, addresses told apart.

Two values that are the same but for IP addresses, ports, `received` and `rport` are an address change, which is what
an ALG is for; anything else is something that it had no business to do. On a packet's way this compares its two ends.
Pure; nothing here judges.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from sipalg.analysis.messages import LONG_NAMES
from sipalg.analysis.said import Field, Said

#: `name`: another spelling of the same field name · `space`: blanks only · `address`: addresses only · `text`: more.
ChangeKind = Literal["name", "space", "address", "text", "added", "removed", "order"]

#: The fields whose addresses an ALG may change.
ADDRESS_FIELDS: Final = (
    "via", "contact", "route", "record-route", "path", "service-route", "refer-to", "referred-by",
)
_ADDRESS: Final = re.compile(
    rb"(?<![\w.])(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?![\w.])"
)
_NOTED: Final = re.compile(rb"\s*;\s*(?:received\s*=\s*[^;,\s]+|rport(?:\s*=\s*[0-9]*)?)", re.IGNORECASE)
_BLANKS: Final = re.compile(rb"\s+")


_NAMES: Final = {name.lower(): name for name in (*LONG_NAMES.values(), "CSeq", "WWW-Authenticate", "MIME-Version")}


def name_of(key: str) -> str:
    """Return a change's key for people: the field's name as RFC 3261 writes it, `the first line`, `the body`."""
    if key in ("start-line", "body"):
        return {"start-line": "the first line", "body": "the body"}[key]
    return _NAMES.get(key, key.title()) or "a line without a colon"


class Change(NamedTuple):
    """One difference. `key` is the field's long name in lower case, `start-line` or `body`."""

    key: str
    kind: ChangeKind
    before: bytes
    after: bytes


def changes(given: Said, made: Said) -> Iterator[Change]:
    """Yield the differences of two messages' heads, in the order of the first one's fields, order last."""
    if given.start != made.start:
        yield Change("start-line", kind_of("start-line", given.start, made.start), given.start, made.start)
    counts, others = (Counter(field.key for field in said.fields) for said in (given, made))
    of_key: dict[str, list[Field]] = defaultdict(list)
    for twin in made.fields:
        of_key[twin.key].append(twin)
    seen: Counter[str] = Counter()
    for field in given.fields:
        twins = of_key[field.key]
        # A proxy puts its own Via and routes above the others: they are compared from below.
        at = seen[field.key] + len(twins) - counts[field.key]
        seen[field.key] += 1
        if 0 <= at < len(twins):
            yield from _between(field, twins[at])
        else:
            yield Change(field.key, "removed", field.value, b"")
    for key in dict.fromkeys(field.key for field in made.fields):
        extra = others[key] - counts[key]
        if extra > 0:
            yield Change(key, "added", b"", b",".join(made.values(key)[:extra]))
    orders = [[field.key for field in said.fields if counts[field.key] == others[field.key]] for said in (given, made)]
    if orders[0] != orders[1]:
        moved = next(key for key, other in zip(*orders, strict=True) if key != other)
        yield Change(moved, "order", b"", b"")


def _between(field: Field, twin: Field) -> Iterator[Change]:
    if field.name.rstrip() != twin.name.rstrip():
        yield Change(field.key, "name", field.name, twin.name)
    if field.value != twin.value:
        yield Change(field.key, kind_of(field.key, field.value, twin.value), field.value, twin.value)


def kind_of(key: str, before: bytes, after: bytes) -> ChangeKind:
    """Tell by how much two values that aren't the same differ."""
    if _BLANKS.sub(b" ", before).strip() == _BLANKS.sub(b" ", after).strip():
        return "space"
    return "address" if masked(key, before) == masked(key, after) else "text"


def masked(key: str, value: bytes) -> bytes:
    """Return a value with all addresses as `@`, and a Via without what receivers noted in it."""
    if key == "via":
        value = _NOTED.sub(b"", value)
    return _BLANKS.sub(b" ", _ADDRESS.sub(b"@", value)).strip()
