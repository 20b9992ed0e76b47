from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import registers
from tests.engine.wire import request, response

from sipalg.engine import contacts as module
from sipalg.engine.verdict import UDP, CheckFlow, Endpoint, Mapping

P, N = "192.168.33.10", "203.0.113.1"
OWN = f"<sip:a@{N}:5060>"


def expirations(ladder: Ladder) -> dict[str, float]:
    """Seconds left by address of record and port."""
    return {
        f"{contact.line[1].decode()} {contact.entry.key[1].port}": contact.expires_at - ladder.now
        for contact in ladder.alg.contacts.all()
    }


def granted(answer: str, more: str = "") -> dict[str, float]:
    """What comes of a 200 that lists `answer`."""
    ladder = Ladder(sip_timeout_s=10.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    phone.sends(request("REGISTER", call="r"), server)
    server.sends(response(200, "REGISTER", call="r", contact=answer, more=more))
    return expirations(ladder)


@pytest.mark.parametrize(
    ("answer", "more", "lifetime_s"),
    [
        (f"{OWN};expires=60", "", 60.0),
        (f"{OWN};expires=60", "Expires: 90\n", 60.0),
        (OWN, "Expires: 90\n", 90.0),
        (OWN, "", 3600.0),
        (f"{OWN};expires=5", "", 10.0),
        (f"{OWN}, <sip:z@{N}:5060>;expires=7", "Expires: 90\n", 10.0),
    ],
)
def test_what_a_registrar_grants(answer: str, more: str, lifetime_s: float) -> None:
    assert granted(answer, more) == {"sip:b@example.org 5060": lifetime_s}


@pytest.mark.parametrize("answer", [f"{OWN};expires=0", "<sip:a@198.51.100.1>;expires=60", f"<sip:a@{N}:9999>", "*"])
def test_what_is_no_contact_of_ours(answer: str) -> None:
    assert granted(answer) == {}


def test_only_a_2xx_counts() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server, status=401)
    assert expirations(ladder) == {}
    registers(phone, server, number=2, status=200)
    assert expirations(ladder) == {"sip:a@example.org 5060": 3600.0}


def test_a_registrar_that_lists_nothing_renews() -> None:
    ladder = Ladder(sip_timeout_s=10.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server)
    ladder.wait(50)
    registers(phone, server, number=2, granted=None)
    assert expirations(ladder) == {"sip:a@example.org 5060": 10.0}, "no lifetime, no renewal"
    phone.sends(request("REGISTER", call="r", number=3), server)
    answer = response(200, "REGISTER", call="r", number=3, more="Expires: 500\n")
    server.sends(answer.replace(b"To: <sip:b@", b"To: <sip:a@"))
    assert expirations(ladder) == {"sip:a@example.org 5060": 500.0}


def test_one_of_two_contacts_goes() -> None:
    ladder = Ladder(sip_timeout_s=10.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    two = "<sip:a@{0}:5060>;expires=60, <sip:a@{0}:5070>;expires=60"
    registers(phone, server, contact=two.format(P), granted=two.format(N))
    assert set(expirations(ladder)) == {"sip:a@example.org 5060", "sip:a@example.org 5070"}
    registers(phone, server, number=2, contact=f"<sip:a@{P}:5070>;expires=0", granted=f"{OWN};expires=60")
    assert set(expirations(ladder)) == {"sip:a@example.org 5060"}
    ladder.wait(32)
    assert set(ladder.mapped) == {f"{P}:5060"}
    ladder.finish()


def test_a_contact_runs_out_and_is_told() -> None:
    ladder = Ladder(sip_timeout_s=10.0)
    registers(ladder.phone(P), ladder.server("203.0.113.50"))
    events = [event.name for event in ladder.alg.take_events()]
    assert events == ["mapping-opened", "peer-admitted", "registered"]
    ladder.wait(61)
    assert [event.name for event in ladder.alg.take_events()] == ["sip-timeout-too-short", "unregistered"]
    assert ladder.alg.contacts.lines == {}
    ladder.finish()


def test_a_renewed_contacts_timer_waits_for_the_new_end() -> None:
    ladder = Ladder(sip_timeout_s=10.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server)
    ladder.wait(30)
    registers(phone, server, number=2)
    ladder.wait(40)
    assert expirations(ladder) == {"sip:a@example.org 5060": 20.0}
    ladder.wait(21)
    assert expirations(ladder) == {}


def test_a_timer_of_a_contact_that_left_does_nothing() -> None:
    ladder = Ladder(sip_timeout_s=10.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server)
    registers(phone, server, number=2, contact="*", expires="0", granted=None)
    ladder.alg.take_events()
    assert expirations(ladder) == {}
    ladder.wait(100)
    assert [event.name for event in ladder.alg.take_events()] == ["mapping-closed"]
    ladder.finish()


@pytest.mark.interpreted
def test_no_more_than_so_many_lines_on_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONTACTS_PER_MAPPING", 1)
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server)
    registers(phone, server, user="z")
    assert set(expirations(ladder)) == {"sip:a@example.org 5060"}
    assert "too-many-contacts" in [event.name for event in ladder.alg.take_events()]
    registers(phone, server, number=2)
    assert set(expirations(ladder)) == {"sip:a@example.org 5060"}


def test_an_asked_removal_that_nobody_answers_is_forgotten_however_often_it_is_asked() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    message = request("REGISTER", contact="*", more="Expires: 0\n")
    for _ in range(5):
        phone.sends(message, server)
        ladder.wait(4)
    assert len(ladder.alg.contacts.leaving) == 1
    ladder.wait(33)
    assert ladder.alg.contacts.leaving == {}


def test_another_address_ends_the_contacts_with_their_mappings() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    two = "<sip:a@{0}:5060>;expires=60, <sip:a@{0}:5070>;expires=60"
    registers(phone, server, contact=two.format(P), granted=two.format(N))
    ladder.moves_to("203.0.113.2")
    contacts = ladder.alg.contacts
    assert contacts.lines == {}


def test_a_contact_that_was_taken_back_and_is_granted_again() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server)
    registers(phone, server, number=2, contact="*", expires="0", granted=None)
    ladder.wait(10)
    assert ladder.alg.mappings.entries[17, phone.endpoint].parting
    registers(phone, server, number=3)
    assert not ladder.alg.mappings.entries[17, phone.endpoint].parting
    ladder.wait(290)
    assert set(ladder.mapped) == {f"{P}:5060"}
    ladder.finish()


def test_a_query_is_no_removal() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    phone.sends(request("REGISTER", contact=None, more="Expires: 0\n"), server)
    assert ladder.alg.contacts.leaving == {}


def test_an_answer_to_a_removal_that_comes_again_ends_no_later_registration() -> None:
    ladder = Ladder(sip_timeout_s=10.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server)
    registers(phone, server, number=2, contact=f"{OWN.replace(N, P)};expires=0", granted=None)
    assert expirations(ladder) == {}
    registers(phone, server, number=3)
    public = ladder.public_of(phone)
    again = response(200, "REGISTER", via=str(public), call="r-a", number=2, tags=("a", "r"), contact=None)
    server.sends(again.replace(b"To: <sip:b@", b"To: <sip:a@"), public)
    assert set(expirations(ladder)) == {"sip:a@example.org 5060"}
    ladder.wait(40)
    assert f"{P}:5060" in ladder.mapped
    ladder.finish()


def refused_once() -> Ladder:
    """A contact of 100 s, granted at the second try: the kernel refuses to refresh the flow of the 200."""
    ladder = Ladder(sip_timeout_s=60.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    standing = Mapping(UDP, phone.endpoint, Endpoint(N, 5060), "sip")
    ladder.run(ladder.alg.adopt(standing, ladder.now, "lan0", server.endpoint))
    phone.sends(request("REGISTER", call="r"), server)
    ladder.wait(7)
    ladder.kernel.refuse = lambda command: "kernel-error" if isinstance(command, CheckFlow) else ""
    server.sends(response(200, "REGISTER", call="r", contact=f"{OWN};expires=100"))
    ladder.kernel.refuse = lambda _command: ""
    assert expirations(ladder) == {"sip:b@example.org 5060": 100.0}
    return ladder


def test_a_contact_that_was_undone_ends_nothing_when_its_time_comes() -> None:
    ladder = refused_once()
    ladder.wait(60)
    ladder.phone(P).sends(request("REGISTER", call="r", number=2), ladder.server("203.0.113.50"))
    answer = response(200, "REGISTER", call="r", number=2, contact=f"{OWN};expires=3600")
    ladder.server("203.0.113.50").sends(answer)
    ladder.wait(60)
    assert expirations(ladder) == {"sip:b@example.org 5060": 3540.0}
    assert [entry.uses for entry in ladder.alg.mappings.entries.values()] == [1]
    ladder.finish()


def test_a_contact_that_was_undone_is_no_obstacle_when_the_line_is_gone() -> None:
    ladder = refused_once()
    ladder.wait(10)
    leave = request("REGISTER", call="r", number=2, more="Expires: 0\n")
    ladder.phone(P).sends(leave, ladder.server("203.0.113.50"))
    ladder.server("203.0.113.50").sends(response(200, "REGISTER", call="r", number=2))
    assert expirations(ladder) == {}
    ladder.finish()


def test_a_mapping_that_ended_and_its_contacts_dont_keep_each_other() -> None:
    ladder = Ladder()
    registers(ladder.phone(P), ladder.server("203.0.113.50"))
    (contact,) = ladder.alg.contacts.all()
    ladder.moves_to("203.0.113.2")
    assert (contact.entry.contacts, contact.stands) == ((), False)
