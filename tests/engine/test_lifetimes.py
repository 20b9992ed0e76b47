from __future__ import annotations

import math
from dataclasses import replace
from ipaddress import IPv4Network
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.ladder import Ladder, Phone, Server, port_forward
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import audio, request, response, sdp

from sipalg.engine import lifetimes as module
from sipalg.engine.lifetimes import Beat, keepalive_s, next_beat, would_do
from sipalg.engine.policy import KEEPALIVES_BELIEVED, LONGEST_KEEPALIVE_S, patience_s
from sipalg.engine.verdict import UDP, AdmitPeer, CheckFlow, Endpoint, Mapping

P, S = "192.168.33.10", "203.0.113.50"
CRLF = b"\r\n\r\n"
NEVER = Beat(-math.inf, 0.0, 0)

intervals = st.lists(st.floats(1.0, LONGEST_KEEPALIVE_S), min_size=KEEPALIVES_BELIEVED, max_size=20)


def start(sip_timeout_s: float = 600.0, **settings: Any) -> tuple[Ladder, Phone, Server]:
    ladder = Ladder(sip_timeout_s=sip_timeout_s, **settings)
    return ladder, ladder.phone(P), ladder.server(S)


def lasting(seconds: int) -> str:
    return f"<sip:a@203.0.113.1:5060>;expires={seconds}"


def rows(ladder: Ladder) -> list[dict[str, Any]]:
    shown = ladder.alg.snapshot(ladder.now)["phones"]
    assert isinstance(shown, list)
    return shown


def row(ladder: Ladder) -> dict[str, Any]:
    (shown,) = rows(ladder)
    return shown


def told(ladder: Ladder) -> list[dict[str, str]]:
    """The warnings since the last call."""
    return [dict(event.facts) for event in ladder.alg.take_events() if event.name == "sip-timeout-too-short"]


def beats(ladder: Ladder, phone: Phone, server: Server, interval_s: float, count: int) -> None:
    """Empty lines from the phone, one right away."""
    for number in range(count):
        if number:
            ladder.wait(interval_s)
        assert phone.sends(CRLF, server) == CRLF


# The intervals' logic.


@given(intervals)
def test_keep_alives_are_as_far_apart_as_the_longest_interval_lately(gaps: list[float]) -> None:
    beat = NEVER
    times = list(accumulate(gaps, initial=1000.0))
    since: list[float] = []
    for before, now in pairwise([-math.inf, *times]):
        known_s = beat.interval_s
        beat = next_beat(beat, now)
        if beat.beats == 1:
            since = []
            assert before == -math.inf or now - before > 2.5 * known_s > 0 or now - before > LONGEST_KEEPALIVE_S
        else:
            since.append(now - before)
            assert now - before <= beat.interval_s <= max(since)
        assert beat.at == now
        assert beat.beats == len(since) + 1
        assert keepalive_s(beat, now) == (beat.interval_s if beat.beats >= KEEPALIVES_BELIEVED else 0.0)


@given(st.floats(1.0, LONGEST_KEEPALIVE_S), st.integers(KEEPALIVES_BELIEVED, 30))
def test_even_keep_alives_are_believed_until_two_and_a_half_intervals_without(gap: float, count: int) -> None:
    beat = NEVER
    for number in range(count):
        beat = next_beat(beat, 1000.0 + number * gap)
    assert keepalive_s(beat, beat.at) == pytest.approx(gap)
    assert keepalive_s(beat, beat.at + 2.4 * gap) == beat.interval_s
    assert keepalive_s(beat, beat.at + 2.6 * gap) == 0.0


@given(st.lists(st.floats(0.0, 0.999), max_size=5))
def test_answers_and_repetitions_are_no_beats(late: list[float]) -> None:
    beat = next_beat(NEVER, 1000.0)
    for seconds in late:
        assert next_beat(beat, 1000.0 + seconds) is beat


def test_one_late_keep_alive_is_forgotten() -> None:
    beat = NEVER
    now = 0.0
    seen = []
    for gap in (30, 30, 60, *[30] * 40):
        now += gap
        beat = next_beat(beat, now)
        seen.append(beat.interval_s)
    assert seen[:3] == [0.0, 30.0, 60.0]
    assert all(before > after for before, after in pairwise(seen[2:]))
    assert seen[-1] == pytest.approx(30, rel=0.01)


@given(st.floats(0.1, 26 * 86400))
def test_what_would_do_is_longer_by_a_tenth_and_not_much_more(silence_s: float) -> None:
    seconds, text = would_do(silence_s)
    assert seconds >= 1.1 * silence_s
    assert seconds <= max(10, 2.3 * silence_s)
    number, unit = int(text[:-1].split("m")[0].split("h")[0]), text[-1]
    assert text in ("1h30m", "1m30s") or number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] == seconds


@pytest.mark.parametrize(
    ("silence_s", "typed"),
    [
        (1, (10, "10s")),
        (20, (30, "30s")),
        (60, (90, "1m30s")),
        (1800, (2700, "45m")),
        (3600, (5400, "1h30m")),
        (80000, (172800, "2d")),
        (10**9, (30 * 86400, "30d")),
    ],
)
def test_what_a_person_would_type(silence_s: float, typed: tuple[int, str]) -> None:
    assert would_do(silence_s) == typed


def test_how_long_a_person_isnt_told() -> None:
    assert patience_s(10.0) == 30.0
    assert patience_s(3600.0) == 120.0


# Registrations.


def test_a_registration_as_long_as_sip_timeout_is_told_of_once_with_the_value_that_would_do() -> None:
    ladder, phone, server = start(600.0)
    registers(phone, server, granted=lasting(600))
    assert row(ladder) == {
        "protocol": "udp",
        "private": f"{P}:5060",
        "server": S,
        "registration_s": 600.0,
        "keepalive_s": None,
        "session_s": None,
        "silence_s": None,
        "expected_s": 600.0,
        "because": "registration",
        "sip_timeout_needed_s": 900,
        "nat_aware": False,
    }
    ladder.wait(119)
    assert told(ladder) == []
    ladder.wait(1)
    assert told(ladder) == [
        {
            "private": f"{P}:5060",
            "server": S,
            "cause": "registration",
            "silence_s": "600",
            "sip_timeout_s": "600",
            "needed": "15m",
        }
    ]
    for number in range(2, 6):
        ladder.wait(300)
        registers(phone, server, number=number, granted=lasting(600))
    registers(phone, server, number=6, granted=lasting(900))
    ladder.wait(300)
    assert told(ladder) == []
    ladder.finish()
    assert rows(ladder) == []
    assert list(ladder.alg.contacts.all()) == []


def test_a_shorter_one_is_harmless() -> None:
    ladder, phone, server = start(600.0)
    registers(phone, server, granted=lasting(599))
    ladder.wait(200)
    assert told(ladder) == []
    assert (row(ladder)["expected_s"], row(ladder)["sip_timeout_needed_s"]) == (599.0, None)


def test_the_longest_time_that_passed_between_grants() -> None:
    ladder, phone, server = start(30.0)
    passed = []
    for number, seconds in enumerate((0, 300, 500, 400, 601, 550), 1):
        ladder.wait(seconds)
        registers(phone, server, number=number, granted=lasting(600))
        passed.append(row(ladder)["silence_s"])
    # After 601 s the registration had run out: that was no silence of a registered phone.
    assert passed == [None, 300.0, 500.0, 500.0, None, 550.0]
    registers(phone, server, number=7, granted=lasting(500))
    assert row(ladder)["silence_s"] is None, "another lifetime"


def test_what_passed_beyond_the_lifetime_is_no_silence_of_a_registered_phone() -> None:
    ladder, phone, server = start(600.0)
    registers(phone, server, granted=lasting(60))
    ladder.wait(100)
    registers(phone, server, number=2, granted=lasting(60))
    assert row(ladder)["silence_s"] is None


def test_of_several_lines_the_shortest_keeps_the_flow_of_all() -> None:
    ladder, phone, server = start(600.0)
    registers(phone, server, granted=lasting(3600))
    registers(phone, server, user="z", granted=lasting(300).replace(":a@", ":z@"))
    assert row(ladder)["registration_s"] == 300.0
    ladder.wait(200)
    assert told(ladder) == []
    ladder.wait(600)
    assert row(ladder)["registration_s"] == 3600.0, "the short one ran out"


def test_each_server_is_a_flow_of_its_own() -> None:
    ladder, phone, server = start(600.0)
    other = ladder.server("203.0.113.51")
    registers(phone, server, granted=lasting(60))
    registers(phone, other, user="z", granted=lasting(3600).replace(":a@", ":z@"))
    assert [(one["server"], one["sip_timeout_needed_s"]) for one in rows(ladder)] == [
        (S, None),
        ("203.0.113.51", 5400),
    ]


def test_a_contact_over_tcp_has_nothing_to_do_with_it() -> None:
    ladder, phone, server = start(600.0)
    uri = "<sip:a@{}:5060;transport=tcp>"
    registers(phone, server, contact=uri.format(P), granted=f"{uri.format('203.0.113.1')};expires=3600")
    ladder.wait(200)
    assert told(ladder) == []
    assert [(one["protocol"], one["registration_s"], one["because"]) for one in rows(ladder)] == [("tcp", 3600.0, "")]


def test_a_port_forward_and_a_port_that_we_keep_need_no_sip_timeout() -> None:
    ladder, phone, server = start(600.0)
    ladder.run(ladder.alg.adopt(port_forward(5060, Endpoint(P, 5060)), ladder.now, "lan0"))
    registers(phone, server, granted=lasting(3600))
    second = ladder.phone("192.168.33.11")
    named = "<sip:a@203.0.113.1:5070>;expires=3600"
    registers(second, server, contact="<sip:a@192.168.33.11:5070>", granted=named)
    ladder.wait(200)
    assert told(ladder) == []
    assert [(one["private"], one["registration_s"], one["because"]) for one in rows(ladder)] == [
        (f"{P}:5060", 3600.0, ""),
        ("192.168.33.11:5070", 3600.0, ""),
    ]
    assert {one["sip_timeout_needed_s"] for one in rows(ladder)} == {None}


# Keep-alives.


def test_keep_alives_make_a_long_registration_harmless_until_they_stop() -> None:
    ladder, phone, server = start(60.0)
    registers(phone, server, granted=lasting(3600))
    beats(ladder, phone, server, 25, 8)
    assert told(ladder) == [], "three came before a person would be told"
    assert row(ladder)["keepalive_s"] == 25.0
    assert (row(ladder)["because"], row(ladder)["sip_timeout_needed_s"]) == ("keep-alive", None)
    ladder.wait(63)
    assert (row(ladder)["keepalive_s"], row(ladder)["sip_timeout_needed_s"]) == (None, 5400)
    registers(phone, server, number=2, granted=lasting(3600))
    ladder.wait(3600)
    assert [event["cause"] for event in told(ladder)] == ["registration"]


def test_keep_alives_that_come_too_seldom_are_told_of() -> None:
    ladder, phone, server = start(60.0)
    for number in range(6):
        phone.sends(request("OPTIONS", number=number), server)
        assert len(ladder.mapped) == 1
        ladder.wait(70)
        assert ladder.mapped == {}, "the mapping comes and goes"
    (event,) = told(ladder)
    assert (event["cause"], event["silence_s"], event["needed"]) == ("keep-alive", "70", "1m30s")
    registers(phone, server, granted=lasting(3600))
    beats(ladder, phone, server, 70, 6)
    assert told(ladder) == [], "the keep-alives are seldom, but more often than anything else"


def test_the_servers_questions_keep_the_flow_as_well() -> None:
    ladder, phone, server = start(60.0)
    registers(phone, server, granted=lasting(3600))
    for number in range(4):
        ladder.wait(20)
        assert server.sends(request("OPTIONS", uri="sip:a@203.0.113.1:5060", via=S, number=number)) is not None
        phone.sends(response(200, "OPTIONS", via=S, number=number), server)
    assert row(ladder)["keepalive_s"] == 20.0
    for _ in range(4):
        ladder.wait(30)
        assert server.sends(CRLF) == CRLF
    assert row(ladder)["keepalive_s"] == 30.0
    assert row(ladder)["silence_s"] == 30.0


def test_a_phones_questions_count_too_and_the_silence_that_happened_is_theirs() -> None:
    ladder, phone, server = start(600.0)
    registers(phone, server, granted=lasting(3600))
    ladder.wait(600)
    registers(phone, server, number=2, granted=lasting(3600))
    assert row(ladder)["silence_s"] == 600.0
    for number in range(3, 7):
        phone.sends(request("OPTIONS", number=number, call="o"), server)
        ladder.wait(15)
    assert (row(ladder)["keepalive_s"], row(ladder)["silence_s"]) == (15.0, 15.0)


def test_an_empty_datagram_of_nobody_is_only_counted() -> None:
    ladder, phone, server = start(60.0)
    beats(ladder, phone, server, 20, 4)
    media = Mapping(UDP, phone.endpoint, Endpoint("203.0.113.1", 5060), "media")
    ladder.run(ladder.alg.adopt(media, ladder.now, "lan0"))
    beats(ladder, phone, server, 20, 4)
    assert rows(ladder) == []
    assert ladder.alg.reasons == {"keep-alive": 8}


def test_where_nothing_is_translated_nothing_is_learned() -> None:
    ladder, phone, server = start(60.0)
    registers(phone, server, granted=lasting(300))
    ladder.changes(exempt=(IPv4Network("203.0.113.0/24"),))
    beats(ladder, phone, server, 20, 4)
    assert row(ladder)["keepalive_s"] is None


def test_an_empty_datagram_of_the_phone_keeps_its_mapping_and_one_from_outside_doesnt() -> None:
    ladder, phone, server = start(60.0)
    phone.sends(request("OPTIONS"), server)
    beats(ladder, phone, server, 20, 10)
    assert ladder.mapped == {f"{P}:5060": "203.0.113.1:5060"}
    for _ in range(3):
        ladder.wait(20)
        server.sends(CRLF)
    assert ladder.mapped == {}
    ladder.wait(51)
    assert rows(ladder) == [], "and the keep-alives have stopped"


def test_an_empty_datagram_refreshes_a_flow_older_than_sipalg() -> None:
    ladder, phone, server = start(60.0)
    mapping = Mapping(UDP, phone.endpoint, Endpoint("203.0.113.1", 5060), "sip")
    ladder.run(ladder.alg.adopt(mapping, ladder.now, "lan0", server.endpoint))
    assert [type(command) for command in ladder.commands][-2:] == [AdmitPeer, CheckFlow]
    ladder.wait(20)
    for sender in (phone, server):
        ladder.wait(6)
        payload = phone.sends(CRLF, server) if sender is phone else server.sends(CRLF)
        assert payload == CRLF
        assert [command.timeout_s for command in ladder.commands if isinstance(command, CheckFlow)] == [60.0]
    assert rows(ladder) == [], "two are too few to be believed"


@given(
    st.integers(15, 4000),
    st.floats(0.3, 0.99),
    st.one_of(st.none(), st.integers(2, 400)),
    st.sampled_from([10.0, 30.0, 60.0, 300.0, 600.0, 3600.0]),
)
@settings(max_examples=60)
def test_what_is_told_holds_for_phones_that_keep_to_their_plans(
    lifetime_s: int, renewed_at: float, every_s: int | None, sip_timeout_s: float
) -> None:
    """Without a warning no silence is as long as sip-timeout, and with the value of the warning none would be."""
    ladder, phone, server = start(sip_timeout_s)
    end = 3 * lifetime_s
    due = [(number * lifetime_s * renewed_at, True) for number in range(1, 2 + int(3 / renewed_at))]
    due += [(number * every_s, False) for number in range(1, min(40, end // every_s))] if every_s else []
    registers(phone, server, granted=lasting(lifetime_s))
    now, silences = 0.0, []
    for number, (at, is_register) in enumerate(sorted(due), 2):
        ladder.wait(at - now)
        silences.append(at - now)
        now = at
        if is_register:
            registers(phone, server, number=number, granted=lasting(lifetime_s))
        else:
            phone.sends(CRLF, server)
        needed_s = row(ladder)["sip_timeout_needed_s"]
        if row(ladder)["keepalive_s"]:
            # Before they were believed in, the registration alone was what could be told of.
            silences = [silence_s for silence_s in silences if every_s and silence_s <= every_s]
        assert needed_s is not None or max(silences, default=0.0) < sip_timeout_s
        assert needed_s is None or max(silences, default=0.0) < needed_s
        assert (needed_s is None) == (row(ladder)["expected_s"] < sip_timeout_s)


# Session timers.


@pytest.mark.parametrize("from_inside", [True, False])
def test_a_session_timer_counts_for_who_has_neither_registration_nor_keep_alives(from_inside: bool) -> None:
    ladder, phone, server = start(60.0)
    timer = "Session-Expires: 1800;refresher=uac\n"
    offer, answer = sdp(P, audio(10000)), sdp("203.0.113.60", audio(30000))
    if from_inside:
        phone.sends(request("INVITE", body=offer), server)
        server.sends(response(200, "INVITE", tags=("a", "b"), more=timer, body=answer))
    else:
        phone.sends(request("OPTIONS", call="o"), server)
        server.sends(request("INVITE", uri="sip:a@203.0.113.1:5060", via=S, tags=("b", ""), body=answer))
        phone.sends(response(200, "INVITE", via=S, tags=("b", "a"), more=timer, body=offer), server)
    assert (row(ladder)["session_s"], row(ladder)["because"]) == (1800.0, "session-timer")
    ladder.wait(120)
    (event,) = told(ladder)
    assert (event["cause"], event["needed"]) == ("session-timer", "45m")
    registers(phone, server, granted=lasting(50))
    assert (row(ladder)["because"], row(ladder)["expected_s"]) == ("registration", 50.0)


def test_a_shorter_session_timer_is_only_shown() -> None:
    ladder, phone, server = start(3600.0)
    phone.sends(request("INVITE", body=sdp(P, audio(10000))), server)
    for seconds in (90, 60):
        more = f"Session-Expires: {seconds}\n"
        server.sends(response(200, "INVITE", tags=("a", "b"), more=more, body=sdp("203.0.113.60", audio(30000))))
    ladder.wait(200)
    assert told(ladder) == []
    assert row(ladder)["session_s"] == 90.0


def test_a_call_without_session_timer_says_nothing() -> None:
    ladder, phone, server = start(60.0)
    Outgoing(phone, server).stands()
    ladder.wait(50)
    assert rows(ladder) == []


# Bounds and changes.


def test_another_sip_timeout_is_judged_anew() -> None:
    ladder, phone, server = start(600.0)
    registers(phone, server, granted=lasting(3600))
    ladder.wait(120)
    assert len(told(ladder)) == 1
    for timeout_s, warned in ((600.0, 0), (900.0, 1), (7200.0, 0), (3600.0, 1)):
        ladder.run(ladder.alg.change_settings(replace(ladder.settings, sip_timeout_s=timeout_s), ladder.now))
        ladder.wait(120)
        events = told(ladder)
        assert [event["sip_timeout_s"] for event in events] == [f"{timeout_s:g}"] * warned


@pytest.mark.interpreted
def test_no_more_far_ends_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PEERS_PER_MAPPING", 2)
    ladder, phone, server = start()
    registers(phone, server)
    for number in (50, 51, 52, 52):
        ladder.wait(2)
        phone.sends(CRLF, ladder.server(f"203.0.113.{number}"))
    heard = ladder.alg._passage.lifetimes.heard
    assert [list(hosts) for hosts in heard.values()] == [["203.0.113.51", "203.0.113.52"]]
    phone.sends(CRLF, ladder.server("203.0.113.51"))
    assert [list(hosts) for hosts in heard.values()] == [["203.0.113.52", "203.0.113.51"]]


@pytest.mark.interpreted
def test_no_more_phones_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PHONES_HEARD", 2)
    ladder, _, server = start()
    for number in (10, 11, 12):
        ladder.phone(f"192.168.33.{number}").sends(request("OPTIONS", via=f"192.168.33.{number}"), server)
    heard = ladder.alg._passage.lifetimes.heard
    assert [key[1].host for key in heard] == ["192.168.33.11", "192.168.33.12"]


def test_the_timer_of_a_phone_that_left_finds_nothing() -> None:
    ladder, phone, server = start(60.0)
    registers(phone, server, granted=lasting(3600))
    registers(phone, server, number=2, contact="*", expires="0", granted=None)
    ladder.wait(200)
    assert told(ladder) == []
    assert ladder.alg._passage.lifetimes.heard == {}
    ladder.finish()


def test_a_restart_keeps_what_was_granted_and_tells_of_it_again() -> None:
    ladder, phone, server = start(600.0)
    registers(phone, server, granted=lasting(3600))
    ladder.wait(200)
    assert len(told(ladder)) == 1
    ladder.restart()
    assert row(ladder)["registration_s"] == 3600.0
    ladder.wait(120)
    assert [event["cause"] for event in told(ladder)] == ["registration"]


def test_what_an_earlier_process_didnt_know_is_learned_with_the_next_grant() -> None:
    ladder, phone, server = start(600.0)
    registers(phone, server, granted=lasting(3600))
    next(ladder.alg.contacts.all()).granted_s = 0
    ladder.restart()
    assert rows(ladder) == []
    registers(phone, server, number=2, granted=lasting(3600))
    assert row(ladder)["registration_s"] == 3600.0
