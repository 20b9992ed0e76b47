"""What keeps a phone's flow to its server alive, and for how long it may be silent: the other half of sip-timeout.

The router forgets a SIP flow that was silent for sip-timeout; from then on the server sends to a closed port. So
sip-timeout has to be longer than the longest silence to be expected, which is here learned for each flow: the
lifetime that a registrar granted, the interval of the keep-alives (OPTIONS or empty lines, from either end), the
session timer of calls. What is learned decides nothing: it warns. On a packet's way it comes after all that matters.
Sources: RFC 3261 §10.2.4 (refreshes), RFC 4028 §7.2 and §10 (session timer), RFC 5626 §3.5 (keep-alives).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeVar

from sipalg.codec.machine import new
from sipalg.engine.contacts import Contacts
from sipalg.engine.mappings import Mappings
from sipalg.engine.peers import Peers
from sipalg.engine.policy import (
    KEEPALIVES_BELIEVED,
    LONGEST_KEEPALIVE_S,
    MAX_PEERS_PER_MAPPING,
    MAX_PHONES_HEARD,
    patience_s,
)
from sipalg.engine.rows import MappingKey
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import UDP

Key = TypeVar("Key")
Value = TypeVar("Value")

#: What the longest silence comes from.
Cause = Literal["registration", "keep-alive", "session-timer", ""]

#: An answer to a keep-alive, or its repetition (RFC 3261's T1 is half a second), is no beat of its own.
_SHORTEST_INTERVAL_S: Final = 1.0
#: After so many intervals without one, keep-alives have stopped: a lost one is no end.
_MISSED: Final = 2.5
#: A longer interval counts at once, and is forgotten at this rate: one late keep-alive isn't the rule.
_FORGOTTEN: Final = 0.125
#: sip-timeout is to be longer than the silence by this, for packets that are late.
_MARGIN: Final = 1.1
#: Times that people type, up to a day; above, whole days up to 30, the longest sip-timeout.
_TYPED: Final = (
    *((seconds, f"{seconds}s") for seconds in (10, 15, 20, 30, 45)),
    (60, "1m"),
    (90, "1m30s"),
    *((minutes * 60, f"{minutes}m") for minutes in (2, 3, 4, 5, 10, 15, 20, 30, 45)),
    (3600, "1h"),
    (5400, "1h30m"),
    *((hours * 3600, f"{hours}h") for hours in (2, 3, 4, 6, 8, 12)),
    *((days * 86400, f"{days}d") for days in range(1, 31)),
)


class Beat(NamedTuple):
    """A flow's keep-alives: when the last one came, their longest interval lately, how many came in a row."""

    at: float
    interval_s: float
    beats: int


class Heard(NamedTuple):
    """What was learned of one flow besides its registrations, and which causes a person was told of.

    `session_s` is the longest session timer of its calls, 0 without one.
    """

    beat: Beat
    session_s: float
    told: tuple[Cause, ...]


class Silence(NamedTuple):
    """What is to be expected of a flow: durations in seconds, 0 where nothing is known.

    `registration_s` is the shortest lifetime that was granted, `keepalive_s` the interval of keep-alives that still
    come, `session_s` the longest session timer, `happened_s` the longest time that passed between two messages that
    were due, `expected_s` the longest silence that may come, and `cause` what that comes from.
    """

    registration_s: float
    keepalive_s: float
    session_s: float
    happened_s: float
    expected_s: float
    cause: Cause


_NO_BEAT: Final = Beat(-math.inf, 0.0, 0)
_NOTHING: Final = Heard(_NO_BEAT, 0.0, ())


def next_beat(beat: Beat, now: float) -> Beat:
    """The keep-alives with one more at `now`. An interval that is too long for them begins anew."""
    interval_s = now - beat.at
    if interval_s < _SHORTEST_INTERVAL_S:
        return beat
    known_s = beat.interval_s
    if interval_s > (known_s * _MISSED if known_s else LONGEST_KEEPALIVE_S):
        return new(Beat, (now, 0.0, 1))
    longest_s = max(interval_s, known_s - _FORGOTTEN * (known_s - interval_s))
    return new(Beat, (now, longest_s, beat.beats + 1))


def keepalive_s(beat: Beat, now: float) -> float:
    """The interval of keep-alives that still come at `now`; 0 if there are none, or too few to believe in them."""
    if beat.beats < KEEPALIVES_BELIEVED or now - beat.at > _MISSED * beat.interval_s:
        return 0.0
    return beat.interval_s


def would_do(silence_s: float) -> tuple[int, str]:
    """A sip-timeout that is longer than a silence, with a tenth to spare, in seconds and as a person types it."""
    return _TYPED[min(bisect_left(_TYPED, (silence_s * _MARGIN,)), len(_TYPED) - 1)]


class Lifetimes:
    """What was heard of flows: `heard` by the phone's end and the far end's address.

    It outlives mappings, since with a sip-timeout that is too short these come and go; nor is anything undone with a
    message that the kernel refuses, since that was heard all the same.
    """

    def __init__(self, settings: Settings, mappings: Mappings, contacts: Contacts, peers: Peers) -> None:
        self.settings = settings
        self._mappings = mappings
        self._contacts = contacts
        self._peers = peers
        self.heard: dict[MappingKey, dict[str, Heard]] = {}

    def change(self, transaction: Transaction, settings: Settings) -> None:
        """Go by other settings; with another sip-timeout everything is looked at anew."""
        before, self.settings = self.settings, settings
        if before.sip_timeout_s != settings.sip_timeout_s:
            for key, hosts in self.heard.items():
                self.heard[key] = {host: heard._replace(told=()) for host, heard in hosts.items()}
            for key, host in self._flows():
                self._suspect(transaction, key, host)

    def keep_alive(self, transaction: Transaction, key: MappingKey, host: str) -> None:
        """A keep-alive passed between a phone and `host`, whoever sent it."""
        heard = self._of(key, host)
        beat = next_beat(heard.beat, transaction.now)
        if beat is not heard.beat:
            self._note(key, host, new(Heard, (beat, heard.session_s, heard.told)))
            if beat.interval_s >= self.settings.sip_timeout_s:
                self._suspect(transaction, key, host)

    def session(self, transaction: Transaction, key: MappingKey, host: str, session_s: float) -> None:
        """A call's session timer was set by a 2xx: its refreshes come within `session_s`, 0 for none."""
        heard = self._of(key, host)
        if session_s > heard.session_s:
            self._note(key, host, heard._replace(session_s=session_s))
        if session_s >= self.settings.sip_timeout_s:
            self._suspect(transaction, key, host)

    def look_after(self, transaction: Transaction, key: MappingKey, host: str) -> None:
        """Handle a flow's timer: tell of a sip-timeout that is too short, once for each cause."""
        silence = self.silence(key, host, transaction.now)
        timeout_s = self.settings.sip_timeout_s
        if silence.expected_s < timeout_s:
            if silence.cause == "keep-alive" and silence.registration_s >= timeout_s:
                # They make it harmless, and may stop.
                transaction.wake(transaction.now + silence.registration_s, ("lifetime", key, host))
            return
        heard = self._of(key, host)
        if silence.cause in heard.told:
            return
        self._note(key, host, heard._replace(told=(*heard.told, silence.cause)))
        transaction.tell(
            "sip-timeout-too-short",
            private=key[1],
            server=host,
            cause=silence.cause,
            silence_s=round(silence.expected_s),
            sip_timeout_s=round(timeout_s),
            needed=would_do(silence.expected_s)[1],
        )

    def silence(self, key: MappingKey, host: str, now: float) -> Silence:
        """What silence is to be expected of the flow between a phone and `host`.

        Whatever comes by plan ends a silence, so the shortest of granted lifetime and keep-alives counts. A session
        timer counts only for who has neither. Nothing is expected where sip-timeout doesn't matter: it is UDP's, the
        way in of a port forward is the administrator's, and flows of our own making are kept by us.
        """
        heard = self._of(key, host)
        entry = self._mappings.entries.get(key)
        granted_s, longest_s = self._contacts.lifetime_of(entry, host)
        registration_s = float(granted_s)
        beats_s = keepalive_s(heard.beat, now)
        happened_s = min(beats_s, longest_s) if beats_s and longest_s else beats_s or longest_s
        expected_s, cause = _longest(registration_s, beats_s, heard.session_s)
        if key[0] != UDP or (entry is not None and entry.adopted) or key in self._peers.flows:
            expected_s, cause = 0.0, ""
        return Silence(registration_s, beats_s, heard.session_s, happened_s, expected_s, cause)

    def silences(self, now: float) -> Iterator[tuple[MappingKey, str, Silence]]:
        """The flows of mappings that stand, and those with keep-alives, with what is to be expected of them."""
        for key, host in self._flows():
            silence = self.silence(key, host, now)
            if silence.keepalive_s or (any(silence[:3]) and key in self._mappings.entries):
                yield key, host, silence

    def _flows(self) -> list[tuple[MappingKey, str]]:
        """Mapping and far end of every flow of which anything was noted."""
        registered = [(contact.entry.key, contact.line[2]) for contact in self._contacts.all()]
        others = [(key, host) for key, hosts in self.heard.items() for host in hosts]
        return list(dict.fromkeys(registered + others))

    def _of(self, key: MappingKey, host: str) -> Heard:
        hosts = self.heard.get(key)
        return _NOTHING if hosts is None else hosts.get(host, _NOTHING)

    def _note(self, key: MappingKey, host: str, heard: Heard) -> None:
        """Store what was heard; of too many phones or far ends the one not heard of for longest is forgotten."""
        hosts = _newest(self.heard, key, {}, MAX_PHONES_HEARD)
        _newest(hosts, host, heard, MAX_PEERS_PER_MAPPING)
        hosts[host] = heard

    def _suspect(self, transaction: Transaction, key: MappingKey, host: str) -> None:
        """Have a flow looked at when keep-alives would have shown themselves."""
        transaction.wake(transaction.now + patience_s(self.settings.sip_timeout_s), ("lifetime", key, host))


def _newest(table: dict[Key, Value], key: Key, value: Value, limit: int) -> Value:
    """Make `key` the table's newest, with `value` if it is new; the oldest makes way. Returns its value."""
    value = table.pop(key, value)
    if len(table) >= limit:
        del table[next(iter(table))]
    table[key] = value
    return value


def _longest(registration_s: float, beats_s: float, session_s: float) -> tuple[float, Cause]:
    """The longest silence to be expected, and what it comes from."""
    if beats_s and (not registration_s or beats_s < registration_s):
        return beats_s, "keep-alive"
    if registration_s:
        return registration_s, "registration"
    return (session_s, "session-timer") if session_s else (0.0, "")
