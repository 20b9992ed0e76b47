"""Captures from outside, and of both sides of a NAT."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story, found, host, sdp

from sipalg.analysis.diagnose.awareness import AWARE, HALF, UNAWARE, UNTOLD
from sipalg.analysis.diagnose.command import Diagnosis, diagnose
from sipalg.analysis.diagnose.findings import Wanted
from sipalg.analysis.diagnose.networks import Networks
from sipalg.analysis.diagnose.verdict import HARMFUL, NEEDED, NOT_NEEDED, PhoneVerdict, overall
from sipalg.analysis.files import Captures
from sipalg.analysis.selection import conversations
from sipalg.capture.reading import open_capture
from sipalg.capture.records import Captured, Pcapng

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"
PUBLIC_MEDIA = "75.142.151.49:4000"
ROUTER = f"{host(PUBLIC)}/32"


def the_phone(diagnosis: Diagnosis) -> PhoneVerdict:
    (verdict,) = diagnosis.phones
    return verdict


def call_outside(via: str, contact: str, media: str) -> Story:
    """An INVITE without any registration, as it leaves the router, and its answer."""
    story = Story()
    story.request("INVITE", PUBLIC, SERVER, via=via, contact=contact, body=sdp(media))
    story.response(200, "INVITE", SERVER, PUBLIC, via=via, body=sdp(FAR_MEDIA))
    return story


@pytest.mark.parametrize("inside", ["", ROUTER])
def test_private_addresses_from_a_public_one_prove_that_no_alg_works(inside: str, tmp_path: Path) -> None:
    diagnosis = call_outside(PHONE, PHONE, MEDIA).diagnosis(tmp_path, inside=inside)
    verdict = the_phone(diagnosis)
    assert (verdict.phone, verdict.view, verdict.aware, verdict.alg) == (PUBLIC, "outside", UNAWARE, NEEDED)
    assert verdict.why[0].text == "names the private address 192.168.20.100 in Via, Contact and SDP"
    assert verdict.why[0].packets == (1,)
    assert verdict.why[-1].text.endswith("; they come from the public 75.142.151.49, so none is at work")


@pytest.mark.parametrize("inside", ["", ROUTER])
def test_public_addresses_outside_are_never_called_private(inside: str, tmp_path: Path) -> None:
    diagnosis = call_outside(PUBLIC, PUBLIC, PUBLIC_MEDIA).diagnosis(tmp_path, inside=inside)
    verdict = the_phone(diagnosis)
    assert (verdict.aware, verdict.alg, diagnosis.exit_code) == (UNTOLD, UNTOLD, 0)
    assert verdict.why[0].text == "names public addresses in Contact and SDP"
    assert verdict.why[-1].text.startswith("seen from outside, all is right")
    assert not any("private" in why.text for why in verdict.why)


def test_call_from_outside_is_told_by_the_addresses_that_phones_have(tmp_path: Path) -> None:
    story = call_outside(PHONE, PHONE, MEDIA)
    story.request("OPTIONS", "207.252.1.148:5070", "75.142.151.49:1025", call_id="ping")
    phones = story.diagnosis(tmp_path).facts.phones
    assert {name: bool(phone.sent) for name, phone in phones.items()} == {PUBLIC: True, "75.142.151.49:1025": False}


def test_server_that_names_a_private_address_is_no_phone(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", SERVER, PUBLIC, contact="10.0.0.5:5060", body=sdp("10.0.0.5:9000"))
    diagnosis = story.diagnosis(tmp_path)
    assert diagnosis.phones == []
    assert len(found(diagnosis, "server-private")) == 1


def test_whose_address_the_server_sees_otherwise_has_one_more_nat(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC, received="198.51.100.7")
    verdict = the_phone(story.diagnosis(tmp_path))
    assert (verdict.aware, verdict.alg) == (UNAWARE, NEEDED)
    assert "its server sees another: a NAT is between them" in verdict.why[0].text


def test_proxy_outside_is_no_poor_alg(tmp_path: Path) -> None:
    story = Story()
    more = f"Via: SIP/2.0/UDP {PHONE};branch=z9hG4bKfirst\r\n"
    story.request("REGISTER", PUBLIC, SERVER, via=PUBLIC, contact=PHONE, more=more)
    verdict = the_phone(story.diagnosis(tmp_path))
    assert (verdict.aware, verdict.alg) == (UNTOLD, UNTOLD)
    assert "speaks through a SIP proxy" in verdict.why[0].text


def test_phone_without_a_nat_that_listens_at_another_port_than_it_sends_from_isnt_harmed(tmp_path: Path) -> None:
    for back in (PUBLIC, "75.142.151.49:5060"):
        story = Story()
        story.request("REGISTER", PUBLIC, SERVER, via="75.142.151.49:5060", contact="75.142.151.49:5060")
        story.response(200, "REGISTER", SERVER, back, via="75.142.151.49:5060", contact="75.142.151.49:5060")
        diagnosis = story.diagnosis(tmp_path)
        verdict = the_phone(diagnosis)
        assert (verdict.aware, verdict.alg, diagnosis.exit_code) == (UNTOLD, UNTOLD, 0)
        assert "listens at another port than it sends from" in verdict.why[-1].text


def test_contact_with_another_port_than_the_mappings_is_harmful(tmp_path: Path) -> None:
    story = Story()
    story.request("REGISTER", PUBLIC, SERVER, via=PHONE, contact="75.142.151.49:5060")
    verdict = the_phone(story.diagnosis(tmp_path))
    assert verdict.alg == HARMFUL
    assert verdict.why[-1].packets == (1,)
    assert verdict.why[-1].text.endswith(
        "its Contact says 75.142.151.49:5060, but its packets come from 75.142.151.49:1024: calls to it go nowhere"
    )


def test_half_of_it_public_is_a_phones_or_an_algs(tmp_path: Path) -> None:
    verdict = the_phone(call_outside(PUBLIC, PUBLIC, MEDIA).diagnosis(tmp_path))
    assert (verdict.aware, verdict.alg) == (HALF, NEEDED)
    assert "none is at work" not in verdict.why[-1].text
    assert verdict.why[-1].advice.endswith("capture inside too, and give both files")


def test_server_that_repeats_the_phones_address_is_not_behind_a_nat(tmp_path: Path) -> None:
    story = Story()
    story.request("INVITE", PUBLIC, SERVER, via=PHONE, contact=PHONE)
    story.response(200, "INVITE", SERVER, PUBLIC, via=PHONE, contact=PHONE)
    assert found(story.diagnosis(tmp_path), "server-private") == []


def test_contact_port_that_is_answered_at_is_right(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC, names="75.142.151.49:5060")
    story.request("OPTIONS", SERVER, "75.142.151.49:5060", call_id="ping")
    story.response(200, "OPTIONS", "75.142.151.49:5060", SERVER, call_id="ping")
    assert [phone.alg for phone in story.diagnosis(tmp_path).phones] == [UNTOLD, UNTOLD]


def test_contact_port_over_tcp_is_another_than_the_connections(tmp_path: Path) -> None:
    story = Story()
    story.request("REGISTER", PUBLIC, SERVER, contact="75.142.151.49:5060;transport=tcp")
    assert the_phone(story.diagnosis(tmp_path)).alg == UNTOLD


class Sides(Story):
    """Each message on both sides of a router, whose ALG writes what it is told to."""

    def out(
        self, method: str, *, via: str = PUBLIC, contact: str = PUBLIC, media: str = "", inside: str = PHONE,
        out_id: str = "", cseq: int = 1, to_tag: str = "",
    ) -> None:  # fmt: skip
        body = sdp(MEDIA if inside == PHONE else media) if media else ""
        self.request(method, PHONE, SERVER, via=inside, contact=inside, cseq=cseq, body=body, to_tag=to_tag)
        self.request(
            method, PUBLIC, SERVER, via=via, contact=contact, cseq=cseq, body=sdp(media) if media else "",
            call_id=out_id or "call", branch=f"z9hG4bKcall{cseq}{method}", to_tag=to_tag,
        )  # fmt: skip

    def back(self, method: str, *, media: str = "", cseq: int = 1) -> None:
        body = sdp(media) if media else ""
        self.response(200, method, SERVER, PUBLIC, cseq=cseq, body=body)
        self.response(200, method, SERVER, PHONE, cseq=cseq, body=body)


def test_alg_that_works_is_seen_on_both_sides(tmp_path: Path) -> None:
    story = Sides()
    story.out("INVITE", media=PUBLIC_MEDIA)
    story.back("INVITE", media=FAR_MEDIA)
    diagnosis = story.diagnosis(tmp_path)
    verdict = the_phone(diagnosis)
    assert (verdict.phone, verdict.seen_as, verdict.aware) == ("192.168.20.100", (PUBLIC,), UNAWARE)
    assert verdict.why[-1].text == (
        f"ALG needed, and one is at work: outside, as {PUBLIC}, Via, Contact and SDP name public addresses"
    )
    assert (verdict.alg, diagnosis.exit_code, overall(diagnosis.phones)) == (NEEDED, 0, NEEDED)


def test_without_an_alg_the_addresses_leave_as_they_are(tmp_path: Path) -> None:
    story = Sides()
    story.out("REGISTER", via=PHONE, contact=PHONE)
    verdict = the_phone(story.diagnosis(tmp_path))
    assert verdict.alg == NEEDED
    assert verdict.why[-1].text.endswith("they leave as they are, so none is at work")


def test_without_an_alg_what_arrives_proves_nat_yes(tmp_path: Path) -> None:
    story = Sides()
    story.out("REGISTER", via=PHONE, contact=PHONE)
    story.request("OPTIONS", SERVER, PUBLIC, call_id="ping")
    story.request("OPTIONS", SERVER, PHONE, call_id="ping")
    verdict = the_phone(story.diagnosis(tmp_path))
    assert (verdict.server_answers, verdict.alg) == ("source", NOT_NEEDED)


@pytest.mark.parametrize(
    ("via", "contact", "media", "text"),
    [
        (PUBLIC, PHONE, MEDIA, "it changes Via, and leaves the private address in Contact and SDP"),
        (PUBLIC, PUBLIC, MEDIA, "it changes Via and Contact, and leaves the private address in SDP"),
        (PHONE, PUBLIC, PUBLIC_MEDIA, "it changes Contact and SDP, and leaves the private address in Via"),
    ],
)
def test_alg_that_does_it_by_half_is_harmful(via: str, contact: str, media: str, text: str, tmp_path: Path) -> None:
    story = Sides()
    story.out("INVITE", via=via, contact=contact, media=media)
    verdict = the_phone(story.diagnosis(tmp_path))
    assert verdict.alg == HARMFUL
    assert text in verdict.why[-1].text
    assert verdict.why[-1].packets == (2,)


def test_alg_that_writes_another_port_is_harmful_on_both_sides(tmp_path: Path) -> None:
    story = Sides()
    story.out("REGISTER", contact="75.142.151.49:5060")
    verdict = the_phone(story.diagnosis(tmp_path))
    assert (verdict.alg, verdict.why[-1].packets) == (HARMFUL, (2,))
    assert "its Contact says 75.142.151.49:5060" in verdict.why[-1].text


def test_phone_that_names_another_port_itself_shows_no_alg(tmp_path: Path) -> None:
    story = Sides()
    story.out("REGISTER", inside="75.142.151.49:5060", via="75.142.151.49:5060", contact="75.142.151.49:5060")
    verdict = the_phone(story.diagnosis(tmp_path))
    assert (verdict.aware, verdict.alg) == (AWARE, NOT_NEEDED)


def test_alg_that_changes_the_call_id_is_harmful(tmp_path: Path) -> None:
    story = Sides()
    story.out("REGISTER", out_id="another")
    verdict = the_phone(story.diagnosis(tmp_path))
    assert (verdict.alg, verdict.why[-1].packets) == (HARMFUL, (2,))
    assert "its requests leave with another Call-ID" in verdict.why[-1].text


def test_alg_that_keeps_the_audio_that_comes_to_it_is_harmful(tmp_path: Path) -> None:
    for heard, alg in ((False, HARMFUL), (True, NEEDED)):
        story = Sides()
        story.out("INVITE", media=PUBLIC_MEDIA)
        story.back("INVITE", media=FAR_MEDIA)
        story.out("ACK", to_tag="there")
        for _ in range(300):
            story.rtp(FAR_MEDIA, PUBLIC_MEDIA, 1)
            if heard:
                story.rtp(FAR_MEDIA, MEDIA, 1)
        story.out("BYE", cseq=2, to_tag="there")
        verdict = the_phone(story.diagnosis(tmp_path))
        assert verdict.alg == alg
        stuck = "audio comes to the address that it writes into the SDP, and not on to the phone"
        assert (stuck in verdict.why[-1].text) != heard


def test_alg_at_work_that_brings_no_audio_isnt_to_be_enabled(tmp_path: Path) -> None:
    story = Sides()
    story.out("INVITE", media=PUBLIC_MEDIA)
    story.back("INVITE", media=FAR_MEDIA)
    story.out("ACK", to_tag="there")
    story.rtp(MEDIA, FAR_MEDIA, 150)
    story.out("BYE", cseq=2, to_tag="there")
    verdict = the_phone(story.diagnosis(tmp_path))
    assert verdict.why[-1].text == (
        "ALG needed, and the one at work doesn't bring its audio: none came to it in these calls"
    )
    assert "enable" not in verdict.why[-1].advice


def test_phones_outside_that_speak_to_a_server_inside_have_another_nat(tmp_path: Path) -> None:
    story = Sides()
    story.out("OPTIONS")
    story.register("198.51.100.9:5060", PUBLIC)
    assert [phone.phone for phone in story.diagnosis(tmp_path).phones] == ["192.168.20.100"]


def test_request_of_the_server_joins_the_two_sides_as_well(tmp_path: Path) -> None:
    story = Story()
    story.request("OPTIONS", SERVER, PUBLIC)
    story.request("OPTIONS", SERVER, PHONE)
    story.response(200, "OPTIONS", PHONE, SERVER)
    story.response(200, "OPTIONS", PUBLIC, SERVER)
    assert [phone.seen_as for phone in story.diagnosis(tmp_path).phones] == [(PUBLIC,)]


def test_wan_with_a_private_address_is_joined_where_inside_is_given(tmp_path: Path) -> None:
    story = Story()
    for phone in (PHONE, "10.0.0.2:1024"):
        story.request("REGISTER", phone, "10.0.0.5:5060")
    diagnosis = story.diagnosis(tmp_path, inside="192.168.20.0/24")
    assert [phone.seen_as for phone in diagnosis.phones] == [("10.0.0.2:1024",)]


def test_call_on_both_sides_is_one_call_with_one_finding(tmp_path: Path) -> None:
    story = Sides()
    story.out("INVITE", media=PUBLIC_MEDIA)
    story.back("INVITE", media=FAR_MEDIA)
    story.out("ACK", to_tag="there")
    for _ in range(300):
        story.rtp(MEDIA, FAR_MEDIA, 1)
        story.rtp(PUBLIC_MEDIA, FAR_MEDIA, 1)
    story.out("BYE", cseq=2, to_tag="there")
    story.back("BYE", cseq=2)
    diagnosis = story.diagnosis(tmp_path)
    (finding,) = found(diagnosis, "one-way-audio")
    assert (finding.call, finding.packets) == ("call", (1, 2, 3, 4))
    assert diagnosis.facts.call_count == 1
    (server,) = diagnosis.facts.servers.values()
    assert (server.requests, bool(server.unanswered), len(diagnosis.facts.flows)) == (2, False, 2)


def test_what_trace_writes_is_a_capture_of_both_sides(tmp_path: Path) -> None:
    story = Sides()
    story.out("INVITE", media=PUBLIC_MEDIA)
    story.back("INVITE", media=FAR_MEDIA)
    kind = Pcapng(101)
    with open_capture(story.write(tmp_path / "story.pcap")) as source:
        frames = [frame.data[14:] for frame in source]
    order = (("inside", 0), ("outside", 1), ("outside", 2), ("inside", 3))
    packets = [kind.packet(Captured(10**18 + n, frames[n], len(frames[n]), side)) for side, n in order]
    path = tmp_path / "both.pcapng"
    path.write_bytes(kind.header() + b"".join(packets))
    diagnosis = diagnose([path], Wanted((5060, 5061), 3600.0, Networks()))
    (counted,) = conversations(Captures([path]))
    assert (diagnosis.facts.call_count, diagnosis.facts.messages) == (1, counted.messages)
    assert [(phone.phone, phone.seen_as, phone.alg) for phone in diagnosis.phones] == [
        ("192.168.20.100", (PUBLIC,), NEEDED),
    ]


def test_memory_of_requests_is_bounded(tmp_path: Path) -> None:
    story = Story()
    for number in range(8200):
        story.request("OPTIONS", PHONE, SERVER, call_id=f"c{number}")
    for number in (0, 8199):
        story.request("OPTIONS", f"75.142.151.49:{1024 + number}", SERVER, call_id=f"c{number}")
    (verdict,) = (one for one in story.diagnosis(tmp_path).phones if one.phone == host(PHONE))
    assert verdict.seen_as == ("75.142.151.49:9223",)
