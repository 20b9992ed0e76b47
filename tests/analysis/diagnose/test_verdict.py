from __future__ import annotations

from pathlib import Path

import pytest
from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story, host, sdp

from sipalg.analysis.diagnose.awareness import AWARE, HALF, NO_NAT, UNAWARE, UNTOLD
from sipalg.analysis.diagnose.verdict import HARMFUL, NEEDED, NOT_NEEDED, PhoneVerdict, overall

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"
PUBLIC_MEDIA = "75.142.151.49:4000"


def the_phone(story: Story, tmp_path: Path, inside: str = "") -> PhoneVerdict:
    (verdict,) = story.diagnosis(tmp_path, inside=inside).phones
    return verdict


def test_phone_that_names_its_private_address_needs_an_alg(tmp_path: Path) -> None:
    story = Story()
    story.register()
    verdict = the_phone(story, tmp_path)
    assert (verdict.phone, verdict.aware, verdict.alg) == ("192.168.20.100", UNAWARE, NEEDED)
    assert verdict.why[0].text == "names the private address 192.168.20.100 in Via and Contact"
    assert verdict.why[0].packets == (1,)
    assert verdict.why[1].text == "no rport, STUN or ICE candidates from outside"
    assert [why.severity for why in verdict.why] == ["note", "note", "warning"]


def test_phone_that_speaks_tcp_needs_the_relay(tmp_path: Path) -> None:
    register = (
        f"REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/TCP {PHONE};branch=z9hG4bKt\r\nFrom: <sip:a@x>;tag=1\r\n"
        f"To: <sip:a@x>\r\nCall-ID: t\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@{PHONE};transport=tcp>\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()
    story = Story()
    story.tcp(PHONE, SERVER, register)
    verdict = the_phone(story, tmp_path)
    assert (verdict.alg, verdict.why[-1].advice) == (
        NEEDED, "enable the ALG, with tcp=relay (the default): it speaks TCP",
    )  # fmt: skip


def test_phone_that_names_public_addresses_needs_none(tmp_path: Path) -> None:
    story = Story()
    story.register(names=PUBLIC)
    story.call(PUBLIC_MEDIA, FAR_MEDIA, names=PUBLIC)
    diagnosis = story.diagnosis(tmp_path)
    (verdict,) = diagnosis.phones
    assert (verdict.aware, verdict.alg) == (AWARE, NOT_NEEDED)
    assert verdict.why[0].text == "names public addresses in Contact and SDP"


def test_phone_that_learns_its_public_address_is_aware(tmp_path: Path) -> None:
    story = Story()
    story.register(via_more=";rport", received=host(PUBLIC))
    story.register(names=PUBLIC, cseq=2)
    assert the_phone(story, tmp_path).aware == AWARE


def test_phone_that_goes_on_naming_both_is_half_aware(tmp_path: Path) -> None:
    story = Story()
    story.register(names=PUBLIC)
    story.call(MEDIA, FAR_MEDIA, names=PUBLIC)
    verdict = the_phone(story, tmp_path)
    assert (verdict.aware, verdict.alg) == (HALF, NEEDED)
    assert verdict.why[0].text == "names the private address 192.168.20.100 in SDP, and public ones in Contact"


def test_candidates_from_a_stun_server_make_up_for_a_private_sdp(tmp_path: Path) -> None:
    story = Story()
    candidate = "a=candidate:2 1 UDP 1694498815 75.142.151.49 4000 typ srflx raddr 192.168.20.100 rport 4000"
    story.request("INVITE", PHONE, SERVER, contact=PUBLIC, body=sdp(MEDIA, candidate))
    assert the_phone(story, tmp_path).aware == AWARE


def test_means_that_a_phone_uses_are_named(tmp_path: Path) -> None:
    story = Story()
    story.udp(PHONE, "198.51.100.3:3478", bytes.fromhex("000100002112a442") + bytes(12))
    story.register(via_more=";rport")
    assert the_phone(story, tmp_path).why[1].text == "uses rport and STUN, but no ICE candidates from outside"


def test_server_that_answers_to_the_source_makes_the_alg_unnecessary(tmp_path: Path) -> None:
    story = Story()
    story.register(received=host(PUBLIC))
    story.request("OPTIONS", SERVER, PHONE, uri="sip:a@192.168.20.100", call_id="options")
    verdict = the_phone(story, tmp_path)
    assert (verdict.aware, verdict.server_answers, verdict.alg) == (UNAWARE, "source", NOT_NEEDED)


def test_what_arrives_where_an_alg_may_be_at_work_proves_nothing_of_the_server(tmp_path: Path) -> None:
    story = Story()
    story.register()
    story.request("OPTIONS", SERVER, PHONE, uri="sip:a@192.168.20.100", call_id="options")
    verdict = the_phone(story, tmp_path)
    assert (verdict.server_answers, verdict.alg) == (UNTOLD, NEEDED)
    assert verdict.why[-1].advice.startswith("enable the ALG, or keep it")


def test_alg_that_puts_received_back_is_seen_at_work(tmp_path: Path) -> None:
    story = Story()
    story.register(received=host(PHONE))
    verdict = the_phone(story, tmp_path)
    assert verdict.alg == NEEDED
    assert "one is at work" in verdict.why[-1].text
    assert verdict.why[-1].severity == "note"


def test_server_with_nat_yes_that_is_not_heard_in_calls_needs_an_alg(tmp_path: Path) -> None:
    story = Story()
    story.register(received=host(PUBLIC))
    story.request("OPTIONS", SERVER, PHONE, call_id="options")
    story.call(MEDIA, FAR_MEDIA)
    story.rtp(MEDIA, FAR_MEDIA, 150)
    story.hang_up()
    verdict = the_phone(story, tmp_path)
    assert verdict.alg == NEEDED
    assert verdict.why[-1].text == "ALG needed: no audio came to it in these calls"
    assert verdict.why[-1].severity == "broken"


def test_seen_outside_the_servers_way_is_told_by_where_it_sends(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC, names=PHONE)
    story.request("OPTIONS", SERVER, PUBLIC, call_id="options")
    verdict = the_phone(story, tmp_path)
    assert (verdict.phone, verdict.aware) == (PUBLIC, UNAWARE)
    assert (verdict.server_answers, verdict.alg) == ("source", NOT_NEEDED)


def test_seen_outside_a_server_that_sends_to_the_contact_never_reaches_the_phone(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC, names=PHONE)
    number = story.request("INVITE", SERVER, PHONE, call_id="lost", body=sdp(FAR_MEDIA))
    verdict = the_phone(story, tmp_path)
    assert (verdict.phone, verdict.server_answers, verdict.alg) == (PUBLIC, "named address", NEEDED)
    assert verdict.why[-1].severity == "broken"
    assert number in verdict.why[-1].packets


def test_seen_outside_right_addresses_are_the_phones_or_an_algs(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC)
    verdict = the_phone(story, tmp_path)
    assert (verdict.aware, verdict.alg) == (UNTOLD, UNTOLD)
    assert verdict.why[-1].text == (
        "seen from outside, all is right: it is NAT aware, or has no NAT, or an ALG is at work and does it well"
    )
    assert verdict.why[-1].advice.endswith("capture inside too, and give both files")


def test_alg_that_changes_only_the_via_is_harmful(tmp_path: Path) -> None:
    story = Story()
    story.request("REGISTER", PUBLIC, SERVER, via=PUBLIC, contact=PHONE)
    verdict = the_phone(story, tmp_path)
    assert verdict.alg == HARMFUL
    assert "Via leaves with a public address" in verdict.why[-1].text


@pytest.mark.parametrize(
    ("answer", "what"),
    [((PUBLIC, "reg"), "Via"), ((PHONE, "other"), "another Call-ID")],
)
def test_answer_that_something_on_the_way_spoilt_is_harmful(
    answer: tuple[str, str], what: str, tmp_path: Path
) -> None:
    story = Story()
    story.request("REGISTER", PHONE, SERVER, call_id="reg")
    via, call_id = answer
    branch = "z9hG4bKreg1REGISTER"
    number = story.response(200, "REGISTER", SERVER, PHONE, via=via, call_id=call_id, branch=branch)
    verdict = the_phone(story, tmp_path)
    assert verdict.alg == HARMFUL
    assert what in verdict.why[-1].text
    assert verdict.why[-1].packets == (number,)


def test_phone_on_its_servers_side_needs_none_unless_inside_says_that_a_nat_is_between(tmp_path: Path) -> None:
    story = Story()
    story.register(PHONE, "10.0.0.5:5060")
    verdict = the_phone(story, tmp_path)
    assert (verdict.aware, verdict.alg) == (NO_NAT, NOT_NEEDED)
    assert the_phone(story, tmp_path, inside="192.168.20.0/24").alg == NEEDED


def test_phone_that_names_nothing_isnt_judged(tmp_path: Path) -> None:
    story = Story()
    story.request("REGISTER", PHONE, SERVER, via="phone.example.com", contact="phone.example.com")
    verdict = the_phone(story, tmp_path)
    assert (verdict.aware, verdict.alg) == (UNTOLD, UNTOLD)


def test_worst_phone_decides(tmp_path: Path) -> None:
    story = Story()
    story.register("192.168.20.7:5060", names=PUBLIC)
    story.register()
    assert overall(story.diagnosis(tmp_path).phones) == NEEDED
    assert overall([]) == UNTOLD
