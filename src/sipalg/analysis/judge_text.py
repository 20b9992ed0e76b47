"""What a device changed that isn't an address, or in a field that holds none: names of calls, syntax, length, form.

One pair at a time, without memory. A proxy may do what makes it a proxy: Via and Record-Route come and go, Route and
its credentials go, Max-Forwards counts down, and the Request-URI says where it sends the request. On a packet's way
this compares its two ends. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from sipalg.analysis.changes import ADDRESS_FIELDS, Change, changes, masked, name_of
from sipalg.analysis.pairing import Pair
from sipalg.analysis.said import Said
from sipalg.analysis.syntax import broken_in


class Found(NamedTuple):
    """A rule that a pair breaks, and what was seen, for people."""

    rule: str
    detail: str


#: Rules by field, where any change of more than blanks breaks them.
_UNTOUCHABLE: Final = {
    "call-id": "call-id-changed",
    "cseq": "cseq-changed",
    "authorization": "authorization-changed",
    "proxy-authorization": "authorization-changed",
}
_KINDS: Final = {"name": "header-case", "space": "spaces-changed", "order": "header-order"}
#: What proxies put in, take out and change (RFC 3261 §16.6, §16.7 and §22.3).
_PROXY_ADDS_AND_TAKES: Final = frozenset(
    ("via", "record-route", "route", "path", "service-route", "proxy-authorization", "max-forwards")
)
_SAID_BY_SYNTAX: Final = frozenset(("field-changed", "field-added", "from-changed", "to-changed"))
_DIGITS: Final = re.compile(rb"\s*([0-9]{1,9})\s*")
_BRANCH: Final = re.compile(rb";\s*branch\s*=\s*([^\s;,]+)", re.IGNORECASE)
#: What may differ in SDP besides IP addresses: the ports of m=, a=rtcp and a=candidate.
_SDP_PORT: Final = re.compile(rb"(?m)^(m=\S+ |a=rtcp:)[0-9]+")
_RTCP: Final = re.compile(rb"(?m)^a=rtcp:[0-9][^\r\n]*(?:\r?\n|\Z)")
_CANDIDATE: Final = re.compile(rb"(?m)^a=candidate:[^\r\n]*(?:\r?\n|\Z)")
_WITH_ADDRESS: Final = (b"o=", b"c=", b"a=rtcp:")
_SHOWN: Final = 70


def judge_text(pair: Pair, *, proxy: bool) -> Iterator[Found]:
    """Yield the rules that a pair breaks in what isn't an address."""
    given, made = pair.given, pair.made
    broken = broken_in(given, made)
    yield from (Found("syntax-broken", text) for text in broken)
    for change in changes(given, made):
        rule = _rule_of(change, given, proxy=proxy)
        # A character that breaks a field is told once, as that.
        if rule and not (rule in _SAID_BY_SYNTAX and broken):
            yield Found(rule, _shown(change))
    yield from _tags(given, made)
    if given.whole and made.whole:
        yield from _length(given, made)
        if not any(text.startswith("SDP") for text in broken):
            yield from _body(given, made)


def _rule_of(change: Change, given: Said, *, proxy: bool) -> str:
    """Return the rule that a change of the head breaks, "" if it breaks none or another function looks at it."""
    key, kind = change.key, change.kind
    if kind in _KINDS:
        # A proxy's own Via or route above the others moves nothing.
        return _KINDS[kind]
    if proxy and (key in _PROXY_ADDS_AND_TAKES or key == "start-line"):
        return ""
    if kind in ("added", "removed"):
        return f"field-{kind}"
    if key in _UNTOUCHABLE:
        return _UNTOUCHABLE[key]
    if key in ("from", "to"):
        # The tag alone has a rule of its own.
        same = _without_tag(change.before) == _without_tag(change.after)
        return "" if same else f"{key}-changed"
    if key == "max-forwards":
        return "max-forwards-changed"
    if key == "content-length":
        return ""
    if kind == "address" and (key in ADDRESS_FIELDS or (key == "start-line" and given.method)):
        return ""
    if key == "via" and _branch(change.before) != _branch(change.after):
        return "branch-changed"
    return "field-changed"


def _tags(given: Said, made: Said) -> Iterator[Found]:
    for name, before, after in (
        ("from", given.from_tag, made.from_tag),
        ("to", given.to_tag, made.to_tag),
    ):
        if before != after:
            yield Found(f"{name}-tag-changed", f"{_text(before)} → {_text(after)}")


def _length(given: Said, made: Said) -> Iterator[Found]:
    """Judge Content-Length by how far it is off: what was off before is the sender's doing, whatever came of it.

    Bytes behind a length that ends with a line aren't off: over UDP they are no part of the body (RFC 3261 §18.3).
    """
    was, now = _declared(given), _declared(made)
    if was is None or now is None:
        return
    off_before, off_after = was - len(given.body), now - len(made.body)
    if off_after == off_before:
        return
    stray_bytes = -off_before if given.body[:was].endswith(b"\n") else 0
    if stray_bytes > 0:
        right = len(made.body) - stray_bytes
        yield Found("content-length-wrong", f"it says {now}, the body has {right} bytes and {stray_bytes} behind it")
    elif off_before:
        sent = f"it was sent with {was} for {len(given.body)} bytes"
        yield Found("content-length-off", f"{sent}, and came out with {now} for {len(made.body)}")
    else:
        yield Found("content-length-wrong", f"it says {now}, the body has {len(made.body)} bytes")


def _declared(said: Said) -> int | None:
    values = said.values("content-length")
    digits = _DIGITS.fullmatch(values[0]) if values else None
    return int(digits[1]) if digits else None


def _body(given: Said, made: Said) -> Iterator[Found]:
    change = body_change(given, made)
    if change is not None:
        yield Found("body-changed", f"{_text(change[0])} → {_text(change[1])}")


def body_change(given: Said, made: Said) -> tuple[bytes, bytes] | None:
    """Return the first line of a body that differs by more than addresses and ports, before and after; else None."""
    # Where RTCP's public port isn't RTP's and one, an ALG has to say so (RFC 3605).
    became = made.body if _RTCP.search(given.body) else _RTCP.sub(b"", made.body)
    before, after = _masked_body(given.body), _masked_body(became)
    if before == after:
        return None
    lines, twins = before.split(b"\n"), after.split(b"\n")
    line, twin = next(
        ((line, twin) for line, twin in zip(lines, twins, strict=False) if line != twin), (lines[-1], twins[-1])
    )
    return line.strip(), twin.strip()


def _masked_body(body: bytes) -> bytes:
    """Return a body without what an ALG may change in a session description."""
    lines = _SDP_PORT.sub(rb"\g<1>0", _CANDIDATE.sub(b"", body)).split(b"\n")
    return b"\n".join(masked("", line) if line.startswith(_WITH_ADDRESS) else line.rstrip() for line in lines).rstrip()


def _without_tag(value: bytes) -> bytes:
    return re.sub(rb";\s*tag\s*=\s*[^\s;,>]+", b"", value, flags=re.IGNORECASE).strip()


def _branch(value: bytes) -> bytes:
    found = _BRANCH.search(value)
    return found[1] if found else b""


def _shown(change: Change) -> str:
    name = name_of(change.key)
    if change.kind == "order":
        return f"{name} stands elsewhere"
    if change.kind in ("added", "removed"):
        return f"{name} {change.kind}: {_text((change.before or change.after).strip())}"
    if change.kind == "space":
        return f"{name}: only blanks differ in {_text(change.after.strip())}"
    return f"{name}: {_text(change.before.strip())} → {_text(change.after.strip())}"


def _text(value: bytes) -> str:
    text = value.decode("utf-8", "backslashreplace") or "nothing"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
