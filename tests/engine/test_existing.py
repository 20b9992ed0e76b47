from __future__ import annotations

from tests.engine.ladder import Ladder, port_forward
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import request, response

from sipalg.engine.existing import Restored
from sipalg.engine.verdict import UDP, CheckFlow, CloseMapping, Datagram, DismissPeer, Endpoint, Mapping, OpenMapping

P, N = "192.168.33.10", "203.0.113.1"
PHONE, S = Endpoint(P, 5060), Endpoint("203.0.113.50", 5060)


def test_a_port_forward_makes_way_for_itself() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S.host)
    registers(phone, server)
    pbx = ladder.phone("192.168.33.20")
    ladder.run(ladder.alg.adopt(port_forward(5060, pbx.endpoint), ladder.now))
    assert ladder.mapped == {"192.168.33.20:5060": f"{N}:5060"}
    registers(phone, server)
    assert ladder.mapped[f"{P}:5060"] == f"{N}:16384"


def test_calls_and_contacts_of_what_made_way_let_go_of_nothing_that_comes_later() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S.host)
    registers(phone, server)
    call = Outgoing(phone, server)
    call.stands()
    ladder.run(ladder.alg.adopt(port_forward(7000, PHONE), ladder.now))
    assert ladder.mapped[f"{P}:5060"] == f"{N}:7000"
    assert ladder.flows == set()
    call.hangs_up()
    ladder.wait(100_000)
    assert ladder.mapped == {f"{P}:5060": f"{N}:7000"}
    ladder.finish()


def test_the_same_port_forward_twice_is_one() -> None:
    ladder = Ladder()
    forward = port_forward(7000, PHONE)
    ladder.run(ladder.alg.adopt(forward, ladder.now, "lan0"))
    assert ladder.alg.adopt(forward, ladder.now, "lan0") == ()
    assert ladder.mapped == {f"{P}:5060": f"{N}:7000"}


def test_a_port_forward_that_is_taken_away() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S.host)
    forward = port_forward(7000, PHONE)
    ladder.run(ladder.alg.adopt(forward, ladder.now, "lan0"))
    Outgoing(phone, server).stands()
    assert ladder.alg.disown(port_forward(7001, PHONE), ladder.now) == ()
    ladder.run(ladder.alg.disown(forward, ladder.now))
    assert f"{P}:5060" not in ladder.mapped
    assert ladder.alg.disown(forward, ladder.now) == ()
    registers(phone, server)
    assert ladder.mapped[f"{P}:5060"] == f"{N}:5060"
    ladder.finish()


def test_a_standing_flow_is_left_out_where_another_mapping_is() -> None:
    ladder = Ladder()
    ladder.phone(P).sends(request("OPTIONS"), ladder.server(S.host))
    other = Mapping(UDP, Endpoint("192.168.33.11", 5060), Endpoint(N, 5060), "sip")
    assert ladder.alg.adopt(other, ladder.now, "lan0", S) == ()
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}


def test_a_restored_mapping_takes_its_peers_along() -> None:
    ladder = Ladder()
    mapping = Mapping(UDP, Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.1", 7000), "sip")
    ladder.alg.restore([Restored(mapping, 100.0, "lan0", ("203.0.113.50", "203.0.113.51"))], 0.0)
    commands = ladder.alg.handle_timer(101.0)
    assert [command.peer for command in commands if isinstance(command, DismissPeer)] == [
        "203.0.113.50",
        "203.0.113.51",
    ]
    assert CloseMapping(mapping) in commands
    assert ladder.alg.mappings.entries == {}


def test_restored_mappings_with_the_same_servers_share_one_record_of_them() -> None:
    ladder = Ladder()
    phones = [Endpoint("192.168.33.10", port) for port in (5060, 5062, 5064)]
    mappings = [Mapping(UDP, phone, Endpoint("203.0.113.1", phone.port), "sip") for phone in phones]
    servers = (("203.0.113.50",), ("203.0.113.50",), ())
    ladder.alg.restore(map(Restored, mappings, (100.0,) * 3, ("lan0",) * 3, servers), 0.0)
    first, second, third = ladder.alg.mappings.entries.values()
    assert first.peers is second.peers == (Endpoint("203.0.113.50", 5060),)
    assert third.peers == ()


def test_a_flow_that_somebody_outside_opened_is_tended_without_letting_them_in_for_good() -> None:
    ladder = Ladder(sip_timeout_s=60.0)
    mapping = Mapping(UDP, Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.1", 5060), "sip")
    ladder.run(ladder.alg.adopt(mapping, ladder.now, "lan0", Endpoint("203.0.113.50", 7000), admit=False))
    assert [type(command) for command in ladder.commands] == [OpenMapping, CheckFlow]


def test_a_mapping_of_an_address_that_was_lost_is_left_out() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server(S.host)
    standing = Mapping(UDP, PHONE, Endpoint(N, 5060), "sip")
    for address in ("", "203.0.113.2"):
        ladder.moves_to(address)
        assert ladder.alg.adopt(standing, ladder.now, "lan0", S) == ()
        assert ladder.alg.adopt(port_forward(5060, PHONE), ladder.now) == ()
        assert ladder.mapped == {}
        ladder.receive(Datagram(response(200, "OPTIONS", via=f"{N}:5060"), S, PHONE, UDP, "wan0"))
        assert ladder.reason == ("no-mapping" if address else "no-public-address")
    registers(phone, server)
    ladder.finish()
