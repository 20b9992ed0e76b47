"""For which phones sip-timeout is too short, in sentences: what `status` warns of.

The engine knows for each phone and server how long their flow may be silent; a person wants to know what to do. Off
a packet's way: the log has its own line for each, when it happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sipalg.control.asking.columns import duration

#: So many phones get a sentence each; of a hundred with the same setting nobody reads more.
_NAMED: Final = 5

_WHY: Final[dict[str, str]] = {
    "registration": "{private} is registered at {server} for {silence}",
    "keep-alive": "keep-alives between {private} and {server} come every {silence}",
    "session-timer": "calls of {private} through {server} are refreshed within {silence}",
}


def warnings(phones: Iterable[Mapping[str, Any]], sip_timeout_s: float) -> list[str]:
    """Return a sentence for each row of the engine's `phones` that needs a longer sip-timeout; the worst come first.

    Beyond a few, one more tells how many others there are; the first one's value does for all.
    """
    short = sorted((row for row in phones if row.get("sip_timeout_needed_s")), key=_needed_s, reverse=True)
    told = [
        f"{_why(row)}, and sip-timeout is {duration(sip_timeout_s)}: after such a silence the server finds the way "
        f"closed, unless the firewall accepts `ct status dnat`; sip-timeout={duration(_needed_s(row))} would do"
        for row in short[:_NAMED]
    ]
    if len(short) > _NAMED:
        told.append(f"sip-timeout is too short for {len(short) - _NAMED} more phones, see `sipalg status --json`")
    return told


def _why(row: Mapping[str, Any]) -> str:
    silence = duration(row["expected_s"])
    return _WHY[row["because"]].format(private=row["private"], server=row["server"], silence=silence)


def _needed_s(row: Mapping[str, Any]) -> float:
    return float(row["sip_timeout_needed_s"])
