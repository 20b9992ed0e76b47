"""What machine code is told of phones, and when it is told to forget them: with a stand-in for it, in both builds."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from tests.engine.ladder import Ladder
from tests.engine.refreshes import CHALLENGE, OK, OPTIONS, PHONE, REGISTER, SERVER
from tests.engine.scenario import Outgoing
from tests.engine.wire import request, response

from sipalg.engine.rows import Contact, Home
from sipalg.engine.shortcut import Counts
from sipalg.engine.verdict import ACCEPT, TCP, UDP, Datagram, Endpoint, Mapping, Verdict

KEY = (UDP, PHONE)


class Told:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, Endpoint], tuple[Any, ...]] = {}
        self.configured: tuple[Any, ...] = ()
        self.touched: list[float] = []
        self.answer: Verdict | None = None
        self.counts: Counts = ({}, {}, 0)

    def configure(
        self, enabled: bool, inside: frozenset[str], public_host: bytes, quiet_s: float, timeout_s: float, /
    ) -> None:
        self.configured = (enabled, inside, public_host, quiet_s, timeout_s)
        self.clear()

    def clear(self) -> None:
        self.known.clear()

    def teach(
        self,
        protocol: int,
        private: Endpoint,
        public_port: int,
        in_interface: str,
        registrar: Endpoint,
        contact: Contact,
        home: Home,
        names: tuple[bytes, bytes],
        idle_until: float,
        /,
    ) -> bool:
        assert contact.stands
        assert home.asked_id == names[0]
        self.known[protocol, private] = (public_port, in_interface, registrar, names, idle_until)
        return True

    def forget(self, protocol: int, private: Endpoint, /) -> None:
        self.known.pop((protocol, private), None)

    def touch(self, _protocol: int, _private: Endpoint, idle_until: float, /) -> None:
        self.touched.append(idle_until)

    def is_registrar(self, end: Endpoint, /) -> bool:
        return any(facts[2] == end for facts in self.known.values())

    def decide(self, _verdict: type[Verdict], _datagram: Datagram, _now: float, /) -> Verdict | None:
        return self.answer

    def take_counts(self) -> Counts:
        counts, self.counts = self.counts, ({}, {}, 0)
        return counts


def told(**settings: Any) -> tuple[Ladder, Told]:
    ladder = Ladder(**settings)
    express = Told()
    ladder.alg.shortcut.express = express
    ladder.alg.shortcut.change()
    return ladder, express


def registers(ladder: Ladder, ok: bytes = OK) -> None:
    """The phone registers and is answered, through whatever ports that takes."""
    ladder.phone(PHONE.host).sends(REGISTER, ladder.server(SERVER.host))
    ladder.receive(Datagram(ok, SERVER, PHONE, UDP, "wan0"))


def test_a_phone_is_known_from_the_answer_of_its_registrar_on() -> None:
    ladder, express = told()
    assert express.configured == (True, frozenset({"lan0"}), b"203.0.113.1", 0.9 * 3600.0, 3600.0)
    ladder.phone(PHONE.host).sends(REGISTER, ladder.server(SERVER.host))
    ladder.receive(Datagram(CHALLENGE, SERVER, PHONE, UDP, "wan0"))
    assert not express.known
    registers(ladder)
    assert express.known == {KEY: (5060, "lan0", SERVER, (b"c1", b"sip:b@example.org"), 1000.0 + 3600.0)}


def test_a_phone_that_registers_without_a_call_id_is_not_known() -> None:
    ladder, express = told()
    for message in (REGISTER, OK):
        text = message.replace(b"Call-ID: c1\r\n", b"").replace(b"To: <sip:b@example.org>", b"To: <>")
        ends = (PHONE, SERVER, UDP, "lan0") if message is REGISTER else (SERVER, PHONE, UDP, "wan0")
        ladder.receive(Datagram(text, *ends))
    assert [contact.line[1] for contact in ladder.alg.contacts.all()] == [b""]
    assert not express.known


def test_it_stays_known_when_only_times_change() -> None:
    ladder, express = told()
    registers(ladder)
    ladder.wait(400)
    ladder.phone(PHONE.host).sends(OPTIONS, ladder.server(SERVER.host))
    assert express.touched[-1] == 1400.0 + 3600.0
    registers(ladder)
    assert KEY in express.known


def test_what_ends_a_contact_or_moves_a_phone_has_it_forgotten() -> None:
    ladder, express = told()
    registers(ladder)
    ladder.phone(PHONE.host, interface="lan0").sends(REGISTER.replace(b"Expires: 300", b"Expires: 0"), SERVER)
    ladder.receive(Datagram(OK.replace(b"expires=300", b"expires=0"), SERVER, PHONE, UDP, "wan0"))
    assert not express.known
    registers(ladder)
    assert express.known
    ladder.wait(1e6)
    assert not express.known


def test_a_new_mapping_that_is_a_registrar_ends_all() -> None:
    ladder, express = told(inside_interfaces=frozenset({"lan0", "lan1"}))
    registers(ladder)
    ladder.phone("192.168.33.11").sends(OPTIONS.replace(b".33.10", b".33.11"), SERVER)
    assert KEY in express.known
    asked = OPTIONS.replace(b"192.168.33.10", SERVER.host.encode())
    ladder.phone(SERVER.host, interface="lan1").sends(asked, Endpoint("198.51.100.7", 5060))
    assert not express.known


def test_a_phone_that_leaves_its_port_off_or_knows_of_the_nat_is_forgotten() -> None:
    ladder, express = told()
    registers(ladder)
    ladder.phone(PHONE.host).sends(OPTIONS.replace(b".10:5060>", b".10>"), SERVER)
    assert not express.known
    ladder.receive(Datagram(OK, SERVER, PHONE, UDP, "wan0"))
    assert not express.known, "it is remembered"
    ladder, express = told()
    registers(ladder)
    ladder.phone(PHONE.host).sends(request("OPTIONS", contact="<sip:a@203.0.113.1:5060>"), SERVER)
    assert not express.known
    registers(ladder)
    assert ladder.alg.nat_aware == {}


def test_a_flow_that_is_tended_is_none_to_be_known() -> None:
    ladder, express = told()
    registers(ladder)
    mapping = ladder.alg.mappings.entries[KEY].mapping
    ladder.run(ladder.alg.adopt(mapping, ladder.now, "lan0", SERVER))
    assert not express.known
    registers(ladder)
    assert not express.known


@pytest.mark.parametrize(("before", "after"), [(b":5060>", b":5070>"), (b"c1", b"c2"), (b"=300", b"=0")])
def test_an_answer_that_grants_nothing_tells_nothing(before: bytes, after: bytes) -> None:
    ladder, express = told()
    registers(ladder, OK.replace(before, after))
    assert not express.known


def test_calls_and_other_phones_change_nothing() -> None:
    ladder, express = told()
    registers(ladder)
    call = Outgoing(ladder.phone(PHONE.host), ladder.server(SERVER.host), call="x")
    call.stands()
    call.hangs_up()
    assert KEY in express.known


def test_port_forwards_and_excepted_registrars_go_the_other_way() -> None:
    ladder, express = told()
    forward = Mapping(UDP, PHONE, Endpoint("203.0.113.1", 5060), "sip", adopted=True)
    ladder.run(ladder.alg.adopt(forward, ladder.now, "lan0"))
    registers(ladder)
    assert not express.known
    ladder, express = told(exempt=(ip_network("203.0.113.48/29"),))
    registers(ladder)
    assert not express.known


def test_other_settings_begin_anew() -> None:
    ladder, express = told()
    registers(ladder)
    ladder.changes(sip_timeout_s=60.0)
    assert not express.known
    assert express.configured[3:] == (54.0, 60.0)
    ladder.changes(disabled=True)
    assert not express.configured[0]


def test_what_it_decides_is_the_verdict_and_what_it_counts_is_counted() -> None:
    ladder, express = told()
    registers(ladder)
    express.answer = Verdict(ACCEPT, REGISTER, (), (), "known", 0)
    assert ladder.alg.receive_datagram(Datagram(REGISTER, PHONE, SERVER, UDP, "lan0"), 1000.0) is express.answer
    assert ladder.alg.receive_message(Datagram(REGISTER, PHONE, SERVER, TCP, "lan0"), 1000.0) is express.answer
    assert ladder.alg.shortcut.express is express
    before = ladder.alg.counts()
    express.counts = ({b"REGISTER": 2}, {"via": 3}, 4)
    after = ladder.alg.counts()
    assert after["messages"]["REGISTER"] == before["messages"]["REGISTER"] + 2
    assert after["edits"]["via"] == before["edits"]["via"] + 3
    assert after["passes"]["nothing-to-edit"] == before["passes"].get("nothing-to-edit", 0) + 4
    assert ladder.alg.counts() == after


def test_without_machine_code_all_is_as_without_it() -> None:
    ladder, express = told()
    ladder.alg.shortcut.express = None
    registers(ladder)
    ladder.changes(sip_timeout_s=60.0)
    ladder.phone(PHONE.host).sends(request("OPTIONS", contact="<sip:a@203.0.113.1:5060>"), SERVER)
    assert ladder.alg.counts()["messages"]["REGISTER"] == 1
    assert ladder.alg.contacts.granted is None
    assert not express.known


def test_who_is_asked_to_answer_from_elsewhere_is_not_known_there() -> None:
    ladder, express = told()
    registers(ladder)
    other = Endpoint(SERVER.host, 5080)
    ladder.receive(Datagram(OK, other, PHONE, UDP, "wan0"))
    assert express.known[KEY][2] == other
    ok = response(200, "REGISTER", via="203.0.113.1:5060", contact="<sip:a@203.0.113.1:5060>;expires=9")
    ladder.alg.contacts.be_lenient(ladder.now)
    ladder.receive(Datagram(ok, replace_host(SERVER), PHONE, UDP, "wan0"))
    assert express.known[KEY][2] == other, "a server that isn't let in"


def replace_host(server: Endpoint) -> Endpoint:
    """Another server."""
    return server._replace(host="203.0.113.51")


def test_a_keep_alive_that_went_the_shortest_way_is_heard() -> None:
    ladder, _ = told()
    registers(ladder)
    for now in (1030.0, 1060.0):
        ladder.alg._passage.beat(KEY, SERVER.host, now)
    assert ladder.alg._passage.lifetimes.heard[KEY][SERVER.host].beat == (1060.0, 30.0, 2)


def test_a_mapping_that_is_restored_under_another_advertised_address_is_not_known() -> None:
    ladder, express = told()
    registers(ladder)
    ladder.changes(advertised_address="198.51.100.9")
    ladder.phone(PHONE.host).sends(REGISTER, SERVER)
    ladder.receive(Datagram(OK.replace(b"203.0.113.1", b"198.51.100.9"), SERVER, PHONE, UDP, "wan0"))
    assert express.known
    ladder.alg._passage.headers.advertised = b"198.51.100.10"
    express.clear()
    ladder.receive(Datagram(OK.replace(b"203.0.113.1", b"198.51.100.9"), SERVER, PHONE, UDP, "wan0"))
    assert not express.known


def test_a_mapping_lives_on_with_what_went_the_shortest_way() -> None:
    ladder, _ = told()
    registers(ladder)
    alg = ladder.alg
    alg.records.take_changed()
    entry = alg.mappings.entries[KEY]
    contact = entry.contacts[0]
    alg._passage.touch(entry, 1060.0)
    assert (entry.idle_until, alg.records.take_changed()) == (4600.0, [])
    alg._passage.touch(entry, 1400.0)
    assert (entry.idle_until, alg.records.take_changed()) == (5000.0, [("mapping", KEY)])
    alg._passage.transaction.note_row(contact)
    assert alg.records.take_changed() == [("contact", contact.key)]
    alg._passage.transaction.noted = None
    alg._passage.transaction.note_row(contact)
    assert alg.records.take_changed() == []
