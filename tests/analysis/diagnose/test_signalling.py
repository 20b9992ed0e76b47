from __future__ import annotations

from pathlib import Path

from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story, sdp

from sipalg.engine.verdict import Endpoint


def test_phone_is_known_by_its_address_inside_and_by_its_port_outside(tmp_path: Path) -> None:
    story = Story()
    story.register()
    story.register(PUBLIC)
    story.register("75.142.151.49:1025")
    phones = story.diagnosis(tmp_path).facts.phones
    assert {name: phone.view for name, phone in phones.items()} == {
        "192.168.20.100": "inside", PUBLIC: "outside", "75.142.151.49:1025": "outside",
    }  # fmt: skip


def test_strangers_outside_are_no_phones(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", "198.51.100.1:5060", "198.51.100.2:5060")
    facts = story.diagnosis(tmp_path).facts
    assert (facts.phones, facts.messages) == ({}, 1)


def test_what_a_phone_names_is_noted_by_packet(tmp_path: Path) -> None:
    story = Story()
    story.register(via_more=";rport")
    story.request("INVITE", PHONE, SERVER, contact=PUBLIC, body=sdp("192.168.20.100:4000"), more="User-Agent: X 1\r\n")
    phone = story.diagnosis(tmp_path).facts.phones["192.168.20.100"]
    assert (phone.via_private.packets, phone.rport.packets) == ([1, 3], [1])
    assert (phone.contact_private.packets, phone.contact_public.packets) == ([1], [3])
    assert (phone.media_private.packets, phone.media_public.packets) == ([3], [])
    assert (phone.agent, phone.named, phone.servers) == ("X 1", "192.168.20.100", {Endpoint("207.252.1.148", 5060)})


def test_both_sides_of_a_good_alg_in_one_capture_spoil_nothing(tmp_path: Path) -> None:
    story = Story()
    story.request("REGISTER", PHONE, SERVER)
    story.request("REGISTER", PUBLIC, SERVER)
    story.response(200, "REGISTER", SERVER, PUBLIC)
    story.response(200, "REGISTER", SERVER, PHONE)
    diagnosis = story.diagnosis(tmp_path)
    assert [phone.spoilt for phone in diagnosis.facts.phones.values()] == [{}, {}]
    (verdict,) = diagnosis.phones
    assert (verdict.phone, verdict.seen_as, verdict.alg) == ("192.168.20.100", (PUBLIC,), "needed")


def test_request_that_comes_through_a_port_forward_reaches_nobody_by_its_source(tmp_path: Path) -> None:
    for uri, reached in (("sip:a@75.142.151.49", []), ("sip:a@192.168.20.100", [2])):
        story = Story()
        story.request("OPTIONS", PHONE, SERVER)
        story.request("INVITE", SERVER, PHONE, call_id="in", uri=uri)
        assert story.diagnosis(tmp_path).facts.phones["192.168.20.100"].reached.packets == reached


def test_hold_and_names_are_neither_private_nor_public(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PHONE, SERVER, contact="phone.invalid", body=sdp("0.0.0.0:4000"))
    phone = story.diagnosis(tmp_path).facts.phones["192.168.20.100"]
    assert not any((phone.contact_private, phone.contact_public, phone.media_private, phone.media_public))


def test_flow_knows_its_longest_silence_and_lifetime(tmp_path: Path) -> None:
    story = Story()
    story.register(expires_s=600)
    story.wait(40)
    story.udp(PHONE, SERVER, b"\r\n\r\n")
    story.wait(20)
    story.register(expires_s=300, cseq=2)
    (flow,) = story.diagnosis(tmp_path).facts.flows.values()
    assert (round(flow.gap_ns / 1e9), flow.gap) == (40, (2, 3))
    assert (flow.registered.packets, flow.refreshed.packets, flow.kept_alive.packets) == ([2, 5], [5], [3])
    assert (flow.granted_s, flow.granted.packets) == (300, [5])


def test_keep_alive_where_nobody_spoke_is_nobodys(tmp_path: Path) -> None:
    story = Story()
    story.udp(PHONE, SERVER, b"\r\n\r\n")
    assert story.diagnosis(tmp_path).facts.flows == {}


def test_stun_from_outside_is_no_phones(tmp_path: Path) -> None:
    story = Story()
    story.udp(PUBLIC, "198.51.100.3:3478", bytes.fromhex("000100002112a442") + bytes(12))
    assert story.diagnosis(tmp_path).facts.phones == {}


def test_memory_of_requests_is_bounded(tmp_path: Path) -> None:
    story = Story()
    for number in range(8200):
        story.request("OPTIONS", PHONE, SERVER, call_id=f"c{number}")
    story.response(200, "OPTIONS", SERVER, PHONE, call_id="c0", via=PUBLIC)
    story.response(200, "OPTIONS", SERVER, PHONE, call_id="c8199", via=PUBLIC)
    phone = story.diagnosis(tmp_path).facts.phones["192.168.20.100"]
    assert phone.spoilt["via"].packets == [8202]
