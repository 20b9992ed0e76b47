"""The engine's tables as plain values: what `status`, `mappings` and `calls` show, and what a test asks.

Read only and off the packet's way; called between two packets.
"""

from __future__ import annotations

from collections.abc import Iterator

from sipalg.engine.dialogs import Dialog, DialogKey
from sipalg.engine.lifetimes import would_do
from sipalg.engine.passage import Passage

_PROTOCOLS = {17: "udp", 6: "tcp"}


def snapshot(passage: Passage, now: float) -> dict[str, object]:
    """All tables of `passage` as JSON-able values; durations are seconds left from `now`, never below 0."""
    return {
        "mappings": _mappings(passage, now),
        "contacts": _contacts(passage, now),
        "calls": _calls(passage, now),
        "phones": [
            *_phones(passage, now),
            *(
                {"protocol": _PROTOCOLS[protocol], "private": str(private), "nat_aware": True}
                for protocol, private in passage.nat_aware
            ),
        ],
        "counters": counters(passage),
    }


def counters(passage: Passage) -> dict[str, int]:
    """How many rows the tables have, without making them: what can be asked every second."""
    return {
        "mappings": len(passage.mappings.entries),
        "contacts": sum(map(len, passage.contacts.lines.values())),
        "calls": sum(1 for _ in _shown(passage)),
        "flows": len(passage.calls.holders),
    }


def _mappings(passage: Passage, now: float) -> list[dict[str, object]]:
    """A row a mapping, in the order they were made; `ends_in_s` is None while somebody holds it."""
    rows: list[dict[str, object]] = []
    for key, entry in passage.mappings.entries.items():
        rows.append(
            {
                "protocol": _PROTOCOLS[key[0]],
                "private": str(key[1]),
                "public": str(entry.public),
                "purpose": entry.purpose,
                "adopted": entry.adopted,
                "interface": entry.in_interface,
                "holders": entry.uses,
                "ends_in_s": None if entry.uses else _left(entry.idle_until, now),
                "peers": list(entry.peer_hosts()),
            }
        )
    return rows


def _contacts(passage: Passage, now: float) -> list[dict[str, object]]:
    """A row a contact; `kept_for_s` is what is left of the granted time or of `sip-timeout`, whichever is longer."""
    return [
        {
            "aor": contact.line[1].decode("utf-8", "replace"),
            "registrar": contact.line[2],
            "private": str(contact.entry.key[1]),
            "kept_for_s": _left(contact.expires_at, now),
        }
        for contact in passage.contacts.all()
    ]


def _calls(passage: Passage, now: float) -> list[dict[str, object]]:
    """A row a dialog, with its media flows as text; those that only wait for other forks' answers are left out."""
    return [
        {
            "phone": str(dialog.keys[0][1]),
            "state": _state(dialog),
            "ends_in_s": _left(dialog.expires_at, now),
            "call_id": key[1].decode("utf-8", "replace"),
            "inside_tag": key[2].decode("utf-8", "replace"),
            "outside_tag": key[3].decode("utf-8", "replace"),
            "media": [
                {"private": str(flow.private), "public": str(flow.public), "remote": str(flow.remote)}
                for flow in (*dialog.flows, *dialog.retiring)
            ],
        }
        for key, dialog in _shown(passage)
    ]


def _shown(passage: Passage) -> Iterator[tuple[DialogKey, Dialog]]:
    """The dialogs that are calls: not those that only wait for other forks' answers."""
    for key, dialog in passage.calls.dialogs.items():
        if dialog.confirmed or not _has_answered(passage, key):
            yield key, dialog


def _phones(passage: Passage, now: float) -> list[dict[str, object]]:
    """A row a phone and server: what was learned of their silences; durations in seconds, None where nothing is known.

    `silence_s` is the longest one that happened, `expected_s` the longest to be expected, and `because` what that
    follows from; `sip_timeout_needed_s` is a sip-timeout that would do, None where the one in force does.
    """
    timeout_s = passage.settings.sip_timeout_s
    return [
        {
            "protocol": _PROTOCOLS[key[0]],
            "private": str(key[1]),
            "server": host,
            "registration_s": silence.registration_s or None,
            "keepalive_s": _known(silence.keepalive_s),
            "session_s": silence.session_s or None,
            "silence_s": _known(silence.happened_s),
            "expected_s": _known(silence.expected_s),
            "because": silence.cause,
            "sip_timeout_needed_s": would_do(silence.expected_s)[0] if silence.expected_s >= timeout_s else None,
            "nat_aware": False,
        }
        for key, host, silence in passage.lifetimes.silences(now)
    ]


def _known(seconds: float) -> float | None:
    """A duration to the millisecond, None for 0, which stands for nothing known."""
    return round(seconds, 3) or None


def _state(dialog: Dialog) -> str:
    """`early` until it is answered, `confirmed`, and `ended` from its BYE until that is answered or given up."""
    if dialog.hanging_up:
        return "ended"
    return "confirmed" if dialog.confirmed else "early"


def _left(until: float, now: float) -> float:
    """Seconds from `now` to `until`, to the millisecond."""
    return round(max(0.0, until - now), 3)


def _has_answered(passage: Passage, key: DialogKey) -> bool:
    """Whether a dialog of the same call stands: then what waits for other forks' answers is no call of its own."""
    return any(other.confirmed for other in passage.calls.by_call[key[:2]])
