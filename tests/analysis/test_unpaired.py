from __future__ import annotations

from tests.analysis.exchange import NAT, PHONE, REGISTER, SERVER, heard, message, pair_of

from sipalg.analysis.pairing import Pairing
from sipalg.analysis.said import Said
from sipalg.analysis.unpaired import hosts_of, is_hop_by_hop, judge_alone
from sipalg.engine.verdict import Endpoint

PAIR = pair_of(*message(REGISTER))
MS = 1_000_000
SPANS = ((0, 1000 * MS), (0, 1000 * MS))


def alone(said: Said, *, in_before: bool = True, active: bool = True, proxy: bool = False) -> list[str]:
    pairing = Pairing((PAIR,), (said,) if in_before else (), () if in_before else (said,))
    return [a.rule for a in judge_alone(pairing, hosts_of([PAIR]), SPANS, active=active, proxy=proxy)]


def said(source: str, destination: str, at_ms: int = 500, port: int = 1024) -> Said:
    came = heard(message(REGISTER)[0], source, destination)._replace(time_ns=at_ms * MS)
    return came._replace(destination=Endpoint(destination, port))


def test_who_stands_where() -> None:
    assert hosts_of([PAIR]) == (frozenset((PHONE,)), frozenset((Endpoint(NAT, 1024),)), frozenset((SERVER,)))


def test_lost_on_the_way_out_and_on_the_way_in() -> None:
    assert alone(said(PHONE, SERVER)) == ["lost"]
    assert alone(said(SERVER, NAT), in_before=False) == ["lost"]
    assert alone(said(SERVER, NAT), in_before=False, active=False) == ["not-let-in"]


def test_what_was_made_here_and_what_never_was_to_go_through() -> None:
    assert alone(said(SERVER, PHONE)) == ["made-here"]
    assert alone(said(PHONE, "192.168.20.5")) == []
    assert alone(said("198.18.0.1", NAT), in_before=False) == []
    # A mapping of a phone of which there is no capture.
    assert alone(said(SERVER, NAT, port=16384), in_before=False) == []


def test_when_the_other_capture_didnt_run() -> None:
    """Nothing is known then: neither that it was lost, nor that the device made it or answered it."""
    assert alone(said(PHONE, SERVER, 1001)) == ["lost-unsure"]
    assert alone(said(SERVER, PHONE, 1001)) == ["lost-unsure"]
    assert alone(said(SERVER, NAT, 1001), in_before=False, active=False) == ["lost-unsure"]
    assert alone(said(PHONE, SERVER, 1001), proxy=True) == ["lost-unsure"]


def test_what_was_on_its_way_when_the_other_capture_began_or_ended() -> None:
    """A message takes its time through the device: what went in at the end may have come out behind it."""
    assert alone(said(PHONE, SERVER, 900)) == ["lost-unsure"]
    assert alone(said(PHONE, SERVER, 0)) == ["lost"]
    assert alone(said(SERVER, PHONE, 100)) == ["lost-unsure"]
    assert alone(said(SERVER, PHONE, 1000)) == ["made-here"]


def test_what_a_proxy_answers_itself() -> None:
    assert alone(said(PHONE, SERVER), proxy=True) == ["answered-here"]
    ack = heard(message(REGISTER.replace("REGISTER", "ACK"))[0])
    assert is_hop_by_hop(ack)
    assert alone(ack, proxy=True) == []


class Unequal(Endpoint):
    """An end that counts how often it is held against another one."""

    looks = 0

    def __eq__(self, other: object) -> bool:
        Unequal.looks += 1
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = Endpoint.__hash__


def test_thousands_with_one_number_are_each_looked_at_once() -> None:
    count = 2000
    messages = tuple(said(PHONE, SERVER)._replace(number=n, source=Unequal(PHONE, 1024 + n)) for n in range(count))
    ends = messages[7].destination, messages[7].source
    answer = messages[7]._replace(source=ends[0], destination=ends[1], method="", status=404)
    pairing = Pairing((PAIR,), (*messages, answer), ())
    found = [a.rule for a in judge_alone(pairing, hosts_of([PAIR]), SPANS, active=True, proxy=False)]
    assert [n for n, rule in enumerate(found) if rule == "answered-here"] == [7]
    assert Unequal.looks < 10 * count
