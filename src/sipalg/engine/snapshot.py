"""The engine's tables as plain values: what `status`, `mappings` and `calls` show, and what a test asks.

Read only and off the packet's way; called between two packets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipalg.engine.alg import Alg
    from sipalg.engine.calls import DialogKey

_PROTOCOLS = {17: "udp", 6: "tcp"}


def snapshot(alg: Alg, now: float) -> dict[str, object]:
    """All tables of `alg` as JSON-able values; durations are seconds left from `now`, never below 0."""
    return {
        "mappings": _mappings(alg, now),
        "contacts": _contacts(alg, now),
        "calls": _calls(alg, now),
        "phones": [
            {"protocol": _PROTOCOLS[protocol], "private": str(private), "nat_aware": True}
            for protocol, private in alg.nat_aware
        ],
        "counters": {
            "mappings": len(alg.mappings.entries),
            "contacts": len(alg.contacts.expires_at),
            "dialogs": len(alg.calls.dialogs),
            "flows": len(alg.calls.holders),
        },
        "messages": {method.decode("utf-8", "replace"): count for method, count in sorted(alg.methods.items())},
        "edits": dict(sorted(alg.rules.items())),
        "passes": dict(sorted(alg.reasons.items())),
    }


def _mappings(alg: Alg, now: float) -> list[dict[str, object]]:
    """A row a mapping, in the order they were made; `ends_in_s` is None while somebody holds it."""
    table = alg.mappings
    rows: list[dict[str, object]] = []
    for key, entry in table.entries.items():
        uses = table.uses.get(key, 0)
        rows.append(
            {
                "protocol": _PROTOCOLS[key[0]],
                "private": str(entry.mapping.private),
                "public": str(entry.mapping.public),
                "purpose": entry.mapping.purpose,
                "adopted": entry.mapping.adopted,
                "interface": entry.in_interface,
                "holders": uses,
                "ends_in_s": None if uses else _left(table.idle_until[key], now),
                "peers": list(alg.peers.hosts.get(key, ())),
            }
        )
    return rows


def _contacts(alg: Alg, now: float) -> list[dict[str, object]]:
    """A row a contact."""
    return [
        {
            "aor": aor.decode("utf-8", "replace"),
            "registrar": registrar,
            "private": str(key[1]),
            "expires_in_s": _left(expires_at, now),
        }
        for (key, aor, registrar), expires_at in alg.contacts.expires_at.items()
    ]


def _calls(alg: Alg, now: float) -> list[dict[str, object]]:
    """A row a dialog, with its media flows as text."""
    return [
        {
            "call_id": key[1].decode("utf-8", "replace"),
            "phone": str(dialog.keys[0][1]),
            "state": "confirmed" if dialog.confirmed else "early",
            "inside_tag": key[2].decode("utf-8", "replace"),
            "outside_tag": key[3].decode("utf-8", "replace"),
            "ends_in_s": _left(dialog.expires_at, now),
            "media": [
                {"private": str(flow.private), "public": str(flow.public), "remote": str(flow.remote)}
                for flow in (*dialog.flows, *dialog.retiring)
            ],
        }
        for key, dialog in alg.calls.dialogs.items()
        if dialog.confirmed or not _has_answered(alg, key)
    ]


def _left(until: float, now: float) -> float:
    """Seconds from `now` to `until`, to the millisecond."""
    return round(max(0.0, until - now), 3)


def _has_answered(alg: Alg, key: DialogKey) -> bool:
    """Whether a dialog of the same call stands: then what waits for other forks' answers is no call of its own."""
    return any(alg.calls.dialogs[other].confirmed for other in alg.calls.by_call[key[:2]])
