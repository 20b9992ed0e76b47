from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.ladder import Ladder, Phone, Server
from tests.engine.wire import request, response

from sipalg.engine import policy
from sipalg.engine.verdict import TCP, Endpoint

P, N = "192.168.33.10", "203.0.113.1"


def stage(*taken: int, **settings: object) -> tuple[Ladder, Phone, Server]:
    ladder = Ladder(*taken, **settings)
    return ladder, ladder.phone(P), ladder.server("203.0.113.50")


@pytest.mark.parametrize(
    "via",
    ["phone.lan:5060", "10.0.0.9:5060", "192.168.33.100:5060", "203.0.113.1:5060", f"{P}:80", f"{P}:99999", f"{P}:0"],
)
def test_a_sent_by_that_isnt_the_senders_stays(via: str) -> None:
    ladder, phone, server = stage()
    message = request("OPTIONS", via=via, contact=None)
    assert phone.sends(message, server) == message
    assert ladder.mapped == {}


def test_a_via_of_a_stream_stays_and_so_do_those_below_the_topmost() -> None:
    ladder, phone, server = stage()
    message = request("OPTIONS", via="x", contact=None, more=f"Via: SIP/2.0/UDP {P}:5060;branch=z9hG4bK0\n")
    assert phone.sends(message, server) == message
    tcp = request("OPTIONS", contact=None).replace(b"/UDP", b"/TCP")
    assert phone.sends(tcp, server) == tcp
    assert ladder.reason == "nothing-to-edit"


def test_an_answers_via_is_the_servers() -> None:
    _, phone, server = stage()
    message = response(200, "OPTIONS", via=f"{P}:5060")
    assert phone.sends(message, server) == message


@pytest.mark.parametrize("port", ["22", "1023", "65536", "0"])
def test_a_list_that_names_a_systems_port_stays_whole(port: str) -> None:
    ladder, phone, server = stage()
    message = request("REGISTER", via="phone.lan", contact=f"<sip:a@{P}:5060>, <sip:b@{P}:{port}>")
    assert phone.sends(message, server) == message
    assert ladder.mapped == {}


@pytest.mark.parametrize(
    "contact", ["<sip:a@{0}:5061;transport=tcp>", "<sips:a@{0}>", "<sip:a@{0}:5061;transport=tls>"]
)
def test_a_contact_over_a_stream_has_a_mapping_of_its_own(contact: str) -> None:
    ladder, phone, server = stage()
    message = request("REGISTER", contact=contact.format(P))
    assert phone.sends(message, server) == message.replace(P.encode(), N.encode())
    assert ladder.public_of(phone, 5061, TCP) == Endpoint(N, 5061)
    assert ladder.flows == set()
    answer = response(200, "REGISTER", contact=contact.format(N))
    assert server.sends(answer) == answer.replace(f"{N}:5060;".encode(), f"{P}:5060;".encode()).replace(
        f"a@{N}".encode(), f"a@{P}".encode()
    )


def test_no_port_for_a_second_mapping() -> None:
    ladder, phone, server = stage(5070, media_ports=(5060, 5060))
    message = request("REGISTER", contact=f"<sip:a@{P}:5070>")
    assert phone.sends(message, server) == message
    assert ladder.reason == "no-free-port"
    assert ladder.mapped == {}


def test_a_contact_named_to_another_phone_makes_no_flow_outside() -> None:
    ladder, phone, server = stage()
    other = ladder.phone("192.168.33.11")
    other.sends(request("OPTIONS", via=str(other.endpoint), contact=None), server)
    arrived = phone.sends(request("OPTIONS", contact=f"<sip:a@{P}:5070>"), ladder.public_of(other))
    assert b"<sip:a@203.0.113.1:5070>" in arrived
    assert ladder.flows == set()


def test_where_a_phone_leaves_its_port_off_it_is_left_off_when_it_comes_back() -> None:
    ladder, phone, server = stage(5060)
    sent = phone.sends(request("OPTIONS", via=P, contact=f"<sip:a@{P}>"), server)
    assert b"UDP 203.0.113.1:16384;" in sent
    assert b"<sip:a@203.0.113.1:16384>" in sent
    public = ladder.public_of(phone)
    inward = request("OPTIONS", uri=f"sip:a@{public}", via="203.0.113.50", contact=None)
    arrived = server.sends(inward, public)
    assert arrived is not None
    assert arrived.startswith(b"OPTIONS sip:a@192.168.33.10 SIP/2.0\r\n")
    arrived = server.sends(response(200, "OPTIONS", via=str(public)), public)
    assert arrived is not None
    assert b"UDP 192.168.33.10;branch" in arrived
    phone.sends(request("OPTIONS", number=2), server)
    arrived = server.sends(inward, public)
    assert arrived is not None
    assert arrived.startswith(b"OPTIONS sip:a@192.168.33.10:5060 SIP/2.0\r\n")


@pytest.mark.parametrize(
    "via",
    [
        "203.0.113.50:5060",
        "203.0.113.1:9999",
        "203.0.113.1:16384",
        "phone.lan",
        "[2001:db8::1]:5060",
    ],
)
def test_an_answers_via_that_isnt_the_recipients_stays(via: str) -> None:
    ladder, phone, server = stage()
    phone.sends(request("OPTIONS"), server)
    other = ladder.phone("192.168.33.11")
    other.sends(request("OPTIONS", via=str(other.endpoint), contact=None), server)
    answer = response(200, "OPTIONS", via=via)
    assert server.sends(answer) == answer


def test_only_the_recipients_own_parameters_change() -> None:
    ladder, phone, server = stage()
    phone.sends(request("OPTIONS"), server)
    answer = response(200, "OPTIONS", via=f"{N}:5060;received=198.51.100.1;rport=7000")
    assert server.sends(answer) == answer.replace(b"UDP 203.0.113.1", b"UDP 192.168.33.10")
    assert ladder.alg.counts()["seen_as"] == {"198.51.100.1": 1, "another port": 1}


def test_where_a_nat_ahead_is_seen_to_be_is_counted_for_the_address_that_is_written() -> None:
    ladder, phone, server = stage()
    phone.sends(request("OPTIONS"), server)

    def seen(via: str) -> dict[str, int]:
        server.sends(response(200, "OPTIONS", via=via))
        return ladder.alg.counts()["seen_as"]

    assert seen(f"{N}:5060;received={N};rport=5060") == {}
    assert seen("phone.lan;received=198.51.100.1;rport=7000") == {}
    for _ in range(2):
        found = seen(f"{N}:5060;received=198.51.100.1;rport=5060")
    assert found == {"198.51.100.1": 2}
    for number in range(policy.MAX_SEEN_AS + 3):
        found = seen(f"{N}:5060;received=198.51.100.{number}")
    assert len(found) == policy.MAX_SEEN_AS
    assert found["198.51.100.1"] == 3
    changed = replace(ladder.alg.settings, advertised_address="203.0.113.2")
    ladder.run(ladder.alg.change_settings(changed, ladder.now))
    assert ladder.alg.counts()["seen_as"] == {}


@pytest.mark.parametrize(
    "uri", ["sip:a@203.0.113.1:16384", "sip:203.0.113.1:7", "tel:+1;x=203.0.113.1", "sip:a@x;y=203.0.113.1"]
)
def test_a_target_that_isnt_the_recipients_stays(uri: str) -> None:
    _, phone, server = stage()
    phone.sends(request("OPTIONS"), server)
    message = request("OPTIONS", uri=uri, via="203.0.113.50", contact=None)
    assert server.sends(message) == message


def test_another_phones_public_contact_stays_public() -> None:
    ladder, phone, server = stage()
    other = ladder.phone("192.168.33.11")
    phone.sends(request("OPTIONS"), server)
    other.sends(request("OPTIONS", via=str(other.endpoint), contact=None), server)
    message = request("INVITE", uri=f"sip:a@{N}:5060", via="203.0.113.50", contact=f"<sip:b@{N}:16384>")
    arrived = server.sends(message)
    assert arrived == message.replace(b"INVITE sip:a@203.0.113.1", b"INVITE sip:a@192.168.33.10")


def test_a_list_that_cant_be_read_stays_whole() -> None:
    _, phone, server = stage()
    broken = f'<sip:a@{P}>, "open <sip:b@{P}>'
    message = request("REGISTER", via="phone.lan", contact=broken)
    assert phone.sends(message, server) == message
    phone.sends(request("OPTIONS"), server)
    answer = response(200, "REGISTER", via="phone.lan", contact=f'<sip:a@{N}>, "open <sip:b@{N}>')
    assert server.sends(answer) == answer


def test_the_safety_net_takes_mapped_addresses_only() -> None:
    ladder, phone, server = stage()
    other = ladder.phone("192.168.33.11")
    phone.sends(request("OPTIONS"), server)
    other.sends(request("OPTIONS", via=str(other.endpoint), contact=None), server)
    for target in ("sip:b@192.168.33.11:7000", "sip:b@192.168.33.12:5060", "sip:b@192.168.33.11;transport=tcp"):
        message = request("OPTIONS", uri=target, contact=None, more=f"Route: <{target}>, <sip:x>\n")
        assert phone.sends(message, server) == message.replace(b"UDP 192.168.33.10", b"UDP 203.0.113.1")
    message = request("OPTIONS", uri="sip:b@192.168.33.11", contact=None)
    assert phone.sends(message, server).startswith(b"OPTIONS sip:b@203.0.113.1:16384 ")
    assert ladder.rules == ["request-uri", "via"]


def test_a_redirection_to_another_phone_makes_nobody_nat_aware() -> None:
    ladder, phone, server = stage()
    phone.sends(request("OPTIONS"), server)
    other = ladder.phone("192.168.33.11")
    other.sends(request("OPTIONS", via=str(other.endpoint), contact=None), server)
    message = response(302, "INVITE", via="203.0.113.50", contact=f"<sip:b@{ladder.public_of(other)}>")
    assert phone.sends(message, server) == message
    assert ladder.reason == "nothing-to-edit"
    assert ladder.alg.nat_aware == {}
    own = response(200, "INVITE", via="203.0.113.50", contact=f"<sip:b@{ladder.public_of(phone)}>, <sip:x@y>")
    assert phone.sends(own, server) == own
    assert ladder.reason == "nat-aware"
    assert len(ladder.alg.nat_aware) == 1


def test_a_public_contact_among_others() -> None:
    ladder, phone, server = stage()
    message = response(200, "INVITE", via="203.0.113.50", contact=f"<sip:x@y>, <sip:b@{N}>")
    assert phone.sends(message, server) == message
    assert ladder.reason == "nat-aware"


def test_an_answers_via_with_everything_the_server_noted() -> None:
    _, phone, server = stage(5060)
    sent = phone.sends(request("OPTIONS", more=f"Record-Route: <sip:{P};lr>\nPath: <sip:{P}:5060;lr>\n"), server)
    assert f"Record-Route: <sip:{N}:16384;lr>\r\nPath: <sip:{N}:16384;lr>\r\n".encode() in sent
    public = Endpoint(N, 16384)
    for before, after in (
        (f";received={N};rport=16384", f";received={P};rport=5060"),
        (f";rport=16384;received={N}", f";rport=5060;received={P}"),
        (";rport", ";rport"),
        (f";x={N}", f";x={N}"),
    ):
        answer = response(200, "OPTIONS", via=f"{public}{before}", more=f"Via: SIP/2.0/UDP {public};rport=16384\n")
        expected = response(200, "OPTIONS", via=f"{P}:5060{after}", more=f"Via: SIP/2.0/UDP {public};rport=16384\n")
        assert server.sends(answer, public) == expected


def test_an_answer_whose_topmost_via_is_another_ones() -> None:
    _, phone, server = stage()
    phone.sends(request("OPTIONS"), server)
    answer = response(200, "OPTIONS", via="198.51.100.9", more=f"Via: SIP/2.0/UDP {N}:5060;rport=5060\n")
    assert server.sends(answer) == answer


def test_what_the_server_noted_of_a_phone_that_names_itself_is_hidden_too() -> None:
    _, phone, server = stage()
    phone.sends(request("OPTIONS", via="phone.lan"), server)
    answer = response(200, "OPTIONS", via=f"phone.lan;received={N};rport=5060")
    assert server.sends(answer) == response(200, "OPTIONS", via=f"phone.lan;received={P};rport=5060")
    other = response(200, "OPTIONS", via="phone.lan;received=198.51.100.1;rport=5060")
    assert server.sends(other) == other


def test_a_target_that_cant_be_read_stays() -> None:
    _, phone, server = stage()
    phone.sends(request("OPTIONS"), server)
    message = request("OPTIONS", uri=f"sip:{N}:x", via="203.0.113.50", contact=None)
    assert server.sends(message) == message


def test_a_requests_vias_stay_on_the_way_in() -> None:
    _, phone, server = stage()
    phone.sends(request("OPTIONS"), server)
    for via in ("203.0.113.50", f"{N}:5060"):
        message = request("OPTIONS", uri=f"sip:a@{N}:5060", via=via, more=f"Via: SIP/2.0/UDP {N}:5060\n")
        assert server.sends(message) == message.replace(b"OPTIONS sip:a@203.0.113.1", b"OPTIONS sip:a@192.168.33.10")


def test_an_answers_via_that_cant_be_read_stays() -> None:
    _, phone, server = stage()
    phone.sends(request("OPTIONS"), server)
    answer = response(200, "OPTIONS").replace(b"SIP/2.0/UDP 203", b"SIP/2.0 203")
    assert server.sends(answer) == answer
