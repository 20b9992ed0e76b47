"""Ladders for reports: one call as an SVG picture, and calls as one HTML page that needs nothing beside it.

What strangers wrote is escaped, and the page forbids itself scripts and whatever it would load. The ladder itself is
the terminal's. Pure; texts in, texts out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from sipalg.analysis.ladder import Rung, printable, rungs, text_of_message, title_of
from sipalg.analysis.messages import SipMessage

#: Pixels: between two hosts' lines, from one arrow to the next, left of the first line, and above the first arrow.
_ROOM: Final = 240
_STEP: Final = 34
_LEFT: Final = 130
_TOP: Final = 60
_HEAD: Final = 8
#: About as many characters fit on an arrow between neighbours.
_LONGEST_LABEL: Final = 36

#: Requests, provisional answers, those that agree, those that say no, and what was sent again: fit for any background.
_STYLE: Final = (
    "svg{font:13px sans-serif}.host,.time{fill:currentColor}.host{font-weight:bold;text-anchor:middle}"
    ".time{text-anchor:end}.line{stroke:currentColor;opacity:.4}.label{text-anchor:middle;stroke:none}"
    ".request{stroke:#1f6fd0;fill:#1f6fd0}.wait{stroke:#8a6d00;fill:#8a6d00}.good{stroke:#1a8a3c;fill:#1a8a3c}"
    ".bad{stroke:#cc2b2b;fill:#cc2b2b}.again{stroke-dasharray:5 4}"
)
_PAGE_STYLE: Final = (
    "body{font:15px/1.5 sans-serif;max-width:90em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}"
    "td,th{text-align:left;padding:.2em .8em;border-bottom:1px solid #8886}pre{overflow-x:auto;padding:.5em;"
    "border-left:3px solid #8886}h2{margin-top:2em}"
)
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def svg(messages: Sequence[SipMessage], *, with_style: bool = True) -> str:
    """The ladder of some messages as an SVG element; `with_style` is for one that stands alone."""
    hosts, arrows = rungs(messages)
    width, height = _LEFT + _ROOM * len(hosts), _TOP + _STEP * len(arrows) + _STEP // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{_STYLE}</style>" if with_style else "",
    ]
    for place, host in enumerate(hosts):
        x = _x(place)
        parts.append(f'<text class="host" x="{x}" y="24">{_text(host)}</text>')
        parts.append(f'<line class="line" x1="{x}" y1="34" x2="{x}" y2="{height}"/>')
    parts += [_arrow(one) for one in arrows]
    return "\n".join(filter(None, [*parts, "</svg>"])) + "\n"


def page(rows: Sequence[Mapping[str, Any]], messages: Mapping[str, Sequence[SipMessage]]) -> Iterator[str]:
    """Yield an HTML page in pieces: the table of calls, and of each its ladder and its messages by `call_id`."""
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>SIP calls</title><style>{_PAGE_STYLE}{_STYLE}</style></head><body>\n<h1>SIP calls</h1>\n<table>\n"
    )
    heads = [key.replace("_", " ") for key in rows[0]] if rows else []
    yield "<tr>" + "".join(f"<th>{_text(head)}</th>" for head in heads) + "</tr>\n"
    for row in rows:
        cells = "".join(f"<td>{_text(_cell(value))}</td>" for value in row.values())
        yield f"<tr>{cells}</tr>\n"
    yield "</table>\n"
    for row in rows:
        found = messages[row["call_id"]]
        title = f"{row['kind']} {row['number']}: {row['from']} → {row['to']}, {row['state']}"
        yield f"<h2>{_text(title)}</h2>\n{svg(found, with_style=False)}"
        for number, message in enumerate(found, 1):
            summary = f"{number}. {message.name}: {title_of(message)}"
            whole = f"<pre>{_text(text_of_message(message))}</pre>"
            yield f"<details><summary>{_text(summary)}</summary>{whole}</details>\n"
    yield "</body></html>\n"


def _x(place: int) -> int:
    return _LEFT + _ROOM // 2 + place * _ROOM


def _arrow(one: Rung) -> str:
    y = _TOP + (one.number - 1) * _STEP + _STEP // 2
    begin, end = _x(one.source), _x(one.destination)
    label = one.label if len(one.label) <= _LONGEST_LABEL else one.label[: _LONGEST_LABEL - 1] + "…"
    back = -_HEAD if end > begin else _HEAD
    if begin == end:
        shaft = f'<path fill="none" d="M{begin} {y - 6}h24v12h-{24 - _HEAD}"/>'
        middle, back = begin + 90, _HEAD
        y_head = y + 6
    else:
        shaft = f'<line x1="{begin}" y1="{y}" x2="{end}" y2="{y}"/>'
        middle, y_head = (begin + end) // 2, y
    head = f'<path stroke-dasharray="none" d="M{end} {y_head}l{back} -4v8z"/>'
    return (
        f'<text class="time" x="{_LEFT - 10}" y="{y + 4}">{one.number} · {one.elapsed_s:.3f} s</text>'
        f'<g class="{_kind(one)}"><title>{_text(title_of(one.message))}</title>{shaft}{head}'
        f'<text class="label" x="{middle}" y="{y - 7}">{_text(label)}</text></g>'
    )


def _kind(one: Rung) -> str:
    status = one.message.status
    kind = "request" if not status else "wait" if status < 200 else "good" if status < 300 else "bad"
    return f"{kind} again" if one.again else kind


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _text(text: str) -> str:
    return escape(printable(text))
