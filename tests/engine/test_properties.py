"""What holds for any message in any state: see the engine's contract."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from ipaddress import IPv4Network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.generated import messages, mutated
from tests.engine.ladder import Ladder, check_verdict

from sipalg.engine.alg import Alg
from sipalg.engine.rows import Entry
from sipalg.engine.transaction import Row
from sipalg.engine.verdict import ACCEPT, UDP, Datagram, Endpoint, Reply, Verdict

P, P2 = Endpoint("192.168.33.10", 5060), Endpoint("192.168.33.11", 5060)
S = Endpoint("203.0.113.50", 5060)
#: Outward, inward, and from phone to phone.
WAYS = st.sampled_from(
    [(P, S, "lan0"), (S, P, "wan0"), (P2, S, "lan0"), (S, P2, "wan0"), (P, P2, "lan0"), (P2, P, "lan1")]
)
LAN = IPv4Network("192.168.33.0/24")
Way = tuple[Endpoint, Endpoint, str]
#: Fields that no rule may touch.
PROTECTED = re.compile(
    rb"^(?:call-id|from|to|cseq|x-a|authorization)\s*:.*$|branch=[^;,\s]+", re.IGNORECASE | re.MULTILINE
)
LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*([0-9]+)", re.IGNORECASE | re.MULTILINE)


def started(*, direct_media: bool = True, media_filter: bool = False) -> Ladder:
    """A router with two phones that are known, one taken port, and two inside interfaces."""
    interfaces = frozenset(("lan0", "lan1"))
    settings = {"inside_interfaces": interfaces, "direct_media": direct_media, "media_filter": media_filter}
    ladder = Ladder(10002, inside_networks=(LAN,), **settings)
    for phone in (ladder.phone(P.host), ladder.phone(P2.host)):
        options = b"OPTIONS sip:b@203.0.113.50 SIP/2.0\r\nVia: SIP/2.0/UDP %b\r\nContact: <sip:a@%b>\r\n\r\n"
        phone.sends(options.replace(b"%b", str(phone.endpoint).encode()), ladder.server(S.host))
    return ladder


def datagram(payload: bytes, way: Way) -> Datagram:
    return Datagram(payload, way[0], way[1], UDP, way[2])


def attributes_of(part: object) -> dict[str, object]:
    """An object's attributes by name; a compiled one has no `__dict__`, and its class names them."""
    names: Sequence[str] = getattr(type(part), "__mypyc_attrs__", ())
    return {name: getattr(part, name) for name in names} or vars(part)


def tables(alg: Alg) -> dict[str, dict[Any, Any]]:
    """Copies of all tables that a transaction may change."""
    parts = {"mappings": alg.mappings, "contacts": alg.contacts, "calls": alg.calls, "peers": alg.peers}
    parts["headers"] = alg._passage.headers
    parts["direct"] = alg.direct
    # What outlives the undoing, counters and caches.
    skipped = {"mappings.refused", "calls.refused_flows", "peers._refused_flows", "peers._same", "headers.seen_as"}
    return {
        f"{name}.{field}": {key: frozen(one) for key, one in value.items()}
        for name, part in parts.items()
        for field, value in attributes_of(part).items()
        if isinstance(value, dict) and f"{name}.{field}" not in skipped
    }


def frozen(value: Any) -> Any:
    """A table's value as it is now: a row changes in place, and a mapping's row with its contacts' rows."""
    if isinstance(value, Entry):
        return (value, value.state(), tuple(contact.state() for contact in value.contacts))
    return (value, value.state()) if isinstance(value, Row) else copy(value)


@given(st.lists(st.tuples(st.one_of(st.binary(max_size=200), mutated()), WAYS), max_size=4))
@settings(max_examples=60)
def test_no_bytes_raise_or_break_the_rules(script: list[tuple[bytes, Way]]) -> None:
    ladder = started()
    for payload, way in script:
        ladder.receive(datagram(payload, way))
    ladder.finish()


@given(
    st.lists(st.tuples(messages(), WAYS), min_size=1, max_size=6),
    st.lists(st.integers(0, 700), min_size=6, max_size=6),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=60)
def test_any_messages_at_any_times_leave_nothing_behind(
    script: list[tuple[bytes, Way]], pauses: list[int], direct_media: bool, media_filter: bool
) -> None:
    ladder = started(direct_media=direct_media, media_filter=media_filter)
    for (payload, way), pause in zip(script, pauses, strict=False):
        ladder.receive(datagram(payload, way))
        ladder.wait(pause)
    ladder.finish()


@given(messages(), WAYS)
@settings(max_examples=60)
def test_only_addresses_change_and_the_length_stays_exact(payload: bytes, way: Way) -> None:
    verdict = started().receive(datagram(payload, way))
    assert PROTECTED.findall(verdict.payload) == PROTECTED.findall(payload)
    blank = b"\r\n\r\n" if b"\r\n\r\n" in payload else b"\n\n"
    before, after = payload.split(blank, 1), verdict.payload.split(blank, 1)
    lengths = LENGTH.findall(before[0]), LENGTH.findall(after[0])
    assert len(lengths[0]) == len(lengths[1])
    for length_before, length_after in zip(*lengths, strict=True):
        assert int(length_after) - int(length_before) == len(after[1]) - len(before[1])


@given(messages(), WAYS, st.booleans(), st.booleans())
@settings(max_examples=60)
def test_a_retransmission_gives_the_same_and_a_second_pass_changes_nothing(
    payload: bytes, way: Way, direct_media: bool, media_filter: bool
) -> None:
    ladder = started(direct_media=direct_media, media_filter=media_filter)
    first = ladder.receive(datagram(payload, way))
    again = ladder.receive(datagram(payload, way))
    assert again.payload == first.payload
    assert again.commands == tuple(command for command in first.commands if isinstance(command, Reply))
    second = ladder.receive(datagram(first.payload, way))
    assert second.payload == first.payload


@given(st.lists(st.tuples(messages(), WAYS), max_size=3), messages(), WAYS, st.booleans(), st.booleans())
@settings(max_examples=60)
def test_a_refused_command_leaves_the_tables_as_they_were(
    script: list[tuple[bytes, Way]], payload: bytes, way: Way, direct_media: bool, media_filter: bool
) -> None:
    ladder = started(direct_media=direct_media, media_filter=media_filter)
    for earlier, its_way in script:
        ladder.receive(datagram(earlier, its_way))
    alg = ladder.alg
    before = tables(alg)
    wanted = alg.receive_datagram(datagram(payload, way), ladder.now)
    for index in range(len(wanted.commands)):
        verdict = alg.receive_datagram(datagram(payload, way), ladder.now)
        assert verdict.commands == wanted.commands
        assert verdict.payload == wanted.payload
        refused = alg.commands_failed(verdict.token, index, "not-natted", ladder.now)
        assert refused == Verdict(ACCEPT, payload, (), (), "not-natted", 0)
        assert tables(alg) == before
    for index in range(len(wanted.commands)):
        verdict = alg.receive_datagram(datagram(payload, way), ladder.now)
        while verdict.commands:
            check_verdict(payload, verdict)
            place = min(index, len(verdict.commands) - 1)
            verdict = alg.commands_failed(verdict.token, place, "refused", ladder.now)
        if verdict.reason == "refused":
            assert verdict == Verdict(ACCEPT, payload, (), (), "refused", 0)
            assert tables(alg) == before
