"""Rows of facts in columns, a line a row: nothing is wrapped, and an address is never cut.

Where a terminal is too narrow, the columns that matter least are left out and the longest identifiers shortened; a
pipe gets everything, so that `grep` finds whole rows. Off a packet's way: this is how answers look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_GAP: Final = "  "
#: What is left out first where there's no room for it.
_DROPPED_FIRST: Final = (
    "protocol",
    "adopted",
    "outside_tag",
    "inside_tag",
    "holders",
    "interface",
    "expected_s",
    "because",
    "session_s",
)
#: What is left out where shortening the names isn't enough.
_DROPPED_LAST: Final = (
    "peers",
    "ends_in_s",
    "kept_for_s",
    "purpose",
    "call_id",
    "destination",
    "source",
    "sip_packets",
    "kind",
    # A warning says it, too.
    "sip_timeout_needed_s",
    "silence_s",
    "keepalive_s",
    "registration_s",
    # Who and why comes before it.
    "private_addresses",
)
#: Columns whose texts may be shortened, since they hold names and not addresses; these first. So long they are kept as
#: long as another column can go.
_SHORTENED: Final = {
    "call_id": 12,
    "inside_tag": 12,
    "outside_tag": 12,
    "aor": 12,
    "failure": 20,
    "from": 20,
    "to": 20,
}
_SHORTEST: Final = 12

#: What a column or a fact is called where its key doesn't say it well.
_WORDS: Final = {
    "queue_number": "queue number",
    "queue": "packet queue",
    "edits": "edits, by rule",
    "passes": "passed as they came, by reason",
    "refusals": "refused, by reason",
    "seen_as": "seen by servers as, where another address is written",
    "aor": "address of record",
    "number": "#",
    "sip_packets": "SIP packets",
    "private_addresses": "private",
    "failure": "first failure",
    "packets_s": "time on packets",
    "commands_s": "of it in the kernel's maps",
    "processor_s": "processor time",
    "longest_turn_s": "longest turn lately",
    "silence_s": "longest silence",
    "expected_s": "expected silence",
    "sip_timeout_needed_s": "sip-timeout needed",
}


def words(key: str) -> str:
    """Return what people call a fact."""
    return _WORDS.get(key, key.removesuffix("_s").replace("_", " "))


def duration(seconds: float) -> str:
    """Return a duration in RouterOS's way: `1d2h3m4s`, without what is zero."""
    left = max(0, round(seconds))
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def text_of(key: str, value: object) -> str:
    """Return a value as people read it; what strangers sent can't move the cursor or colour the line."""
    if value is None or value in ("", []):
        text = "-"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, (int, float)):
        text = duration(value) if key.endswith("_s") else f"{value:g}" if isinstance(value, float) else str(value)
    elif isinstance(value, list):
        text = ", ".join("-".join(map(str, item.values())) if isinstance(item, dict) else str(item) for item in value)
    else:
        text = str(value)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def in_columns(rows: Sequence[Mapping[str, Any]], width: int | None) -> Iterator[str]:
    """Yield the heads' line, then a line for each row, in at most `width` columns if that can be; None for any.

    A column for each key, in the order they come up in.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    show = text_of if width is None else _short_text_of
    cells = {key: [words(key), *(show(key, row.get(key)) for row in rows)] for key in keys}
    if width is not None:
        _make_fit(cells, width)
    columns = [(column, _width(column)) for column in cells.values()]
    for number in range(len(rows) + 1):
        line = _GAP.join(column[number].ljust(widest) for column, widest in columns)
        yield line.rstrip()


def _short_text_of(key: str, value: object) -> str:
    """Return a list as its first value and how many more there are; all else as it is."""
    more = f" +{len(value) - 1}" if isinstance(value, list) and len(value) > 1 else ""
    return text_of(key, value[:1] if isinstance(value, list) else value) + more


def _make_fit(cells: dict[str, list[str]], width: int) -> None:
    """Leave out columns and shorten names until the lines fit or nothing is left that may go."""
    all_cells = dict(cells)
    for key in _DROPPED_FIRST:
        if _line_width(cells) > width:
            cells.pop(key, None)
    for key in _DROPPED_LAST:
        too_long = sum(max(0, _width(cells[name]) - _SHORTENED[name]) for name in _SHORTENED if name in cells)
        if _line_width(cells) - too_long > width:
            cells.pop(key, None)
    if "kind" in all_cells and "kind" not in cells:
        # One word that tells a call from a registration: names may be shorter for it.
        with_kind = {key: column for key, column in all_cells.items() if key in cells or key == "kind"}
        spare = sum(max(0, _width(with_kind[name]) - _SHORTEST) for name in _SHORTENED if name in with_kind)
        if _line_width(with_kind) - spare <= width:
            cells.clear()
            cells.update(with_kind)
    for shortest in (*_SHORTENED.items(), *((key, _SHORTEST) for key in _SHORTENED)):
        _shorten(cells, *shortest, width)


def _shorten(cells: dict[str, list[str]], key: str, shortest: int, width: int) -> None:
    """Shorten a column's texts to `shortest` at most, as far as the lines are too long."""
    too_much = _line_width(cells) - width
    if key not in cells or too_much <= 0:
        return
    head = cells[key][0]
    room = max(shortest, len(head), _width(cells[key]) - too_much)
    cells[key] = [text if len(text) <= room else text[: room - 1] + "…" for text in cells[key]]


def _line_width(cells: Mapping[str, Sequence[str]]) -> int:
    return sum(map(_width, cells.values())) + len(_GAP) * (len(cells) - 1)


def _width(column: Sequence[str]) -> int:
    return max(map(len, column))
