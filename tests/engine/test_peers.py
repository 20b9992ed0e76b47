from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import request

from sipalg.engine import peers as module
from sipalg.engine.verdict import UDP, AdmitPeer, Command, DismissPeer, EndFlow, Endpoint, EstablishFlow, Mapping

P = "192.168.33.10"


def test_a_server_is_admitted_once_and_dismissed_with_the_mapping() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    call = Outgoing(phone, server)
    call.asks("OPTIONS")
    assert [type(command) for command in ladder.commands][1:] == [AdmitPeer]
    call.asks("OPTIONS", number=2)
    phone.sends(request("OPTIONS", number=3), ladder.server("203.0.113.50", 5070))
    assert ladder.commands == [], "the same address, another port"
    phone.sends(request("OPTIONS", number=4), ladder.server("203.0.113.51"))
    assert [type(command) for command in ladder.commands] == [AdmitPeer]
    commands = ladder.wait(301)
    dismissed = [command.peer for command in commands if isinstance(command, DismissPeer)]
    assert dismissed == ["203.0.113.50", "203.0.113.51"]
    assert len([command for command in commands if isinstance(command, EndFlow)]) == 2
    ladder.finish()


def test_an_answer_admits_nobody() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    call.asks("OPTIONS")
    other = Outgoing(call.phone, ladder.server("198.51.100.7"))
    other.answers(200, "OPTIONS")
    assert ladder.commands == []


def test_peers_stay_as_long_as_the_mapping() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    registers(phone, server, granted="<sip:a@203.0.113.1:5060>;expires=100000")
    commands = ladder.wait(99000)
    assert any(isinstance(command, AdmitPeer) for command in commands)
    options = request("OPTIONS", uri="sip:a@203.0.113.1:5060", via="203.0.113.50")
    assert server.sends(options) is not None


@pytest.mark.interpreted
def test_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PEERS_PER_MAPPING", 2)
    ladder = Ladder()
    phone = ladder.phone(P)
    message = request("OPTIONS", contact=f"<sip:a@{P}:5070>")
    for host in ("203.0.113.50", "203.0.113.51", "203.0.113.52"):
        assert b"203.0.113.1:5070" in phone.sends(message, ladder.server(host))
    assert len(ladder.flows) == 2
    assert "too-many-peers" in [event.name for event in ladder.alg.take_events()]
    assert ladder.server("203.0.113.52", 7000).sends(message) is None


def test_a_port_that_the_phone_doesnt_send_from_has_a_flow_that_is_looked_after() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    message = request("REGISTER", contact=f"<sip:a@{P}:5070>")
    phone.sends(message, server)
    flows = [command.flow for command in ladder.commands if isinstance(command, EstablishFlow)]
    phone.sends(message, server)
    assert ladder.commands == []
    ladder.wait(150)
    assert ladder.checks == [(flows[0], 300.0)]
    ladder.wait(300)
    assert ladder.flows == set()
    assert ladder.wait(1000) == []
    ladder.finish()


def test_a_refused_one_is_asked_for_again_only_with_a_new_mapping() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    phone.sends(request("OPTIONS", via=f"{P}:5060", contact=None), server)
    phone.sends(request("OPTIONS", contact=f"<sip:a@{P}:5070>"), ladder.server("203.0.113.51"))

    def refuse(command: Command) -> str:
        return "held" if isinstance(command, EstablishFlow) else ""

    ladder.kernel.refuse = refuse
    message = request("OPTIONS", contact=f"<sip:a@{P}:5070>")
    assert b"203.0.113.1:5070" in phone.sends(message, server)
    assert len(ladder.flows) == 1
    assert ladder.alg.calls.refused_flows != {}
    ladder.wait(700)
    assert ladder.alg.calls.refused_flows == {}
    ladder.kernel.refuse = lambda _command: ""
    phone.sends(message, server)
    assert len(ladder.flows) == 1
    ladder.finish()


def test_mappings_with_the_same_servers_share_one_record_of_them() -> None:
    ladder = Ladder()
    for number in range(1200):
        private = Endpoint(f"10.0.{number >> 8}.{number & 255}", 5060)
        mapping = Mapping(UDP, private, Endpoint("203.0.113.1", 2000 + number), "sip")
        server = "203.0.113.50" if number < 2 else f"198.51.{number >> 8}.{number & 255}"
        ladder.alg.adopt(mapping, 0.0, "lan0", Endpoint(server, 5060))
    first, second, *_, last = ladder.alg.mappings.entries.values()
    assert first.peers is second.peers
    assert last.peer_hosts() == ("198.51.4.175",)
