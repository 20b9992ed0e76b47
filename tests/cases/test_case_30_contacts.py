"""Case 30: a mapping lives as long as the longest of sip-timeout and what the registrar grants, and its holders."""

from __future__ import annotations

from tests.engine.ladder import Ladder, Phone, Server
from tests.engine.scenario import Outgoing, registers
from tests.engine.wire import request, sip

P, N = "192.168.33.10", "203.0.113.1"
SIP_TIMEOUT_S = 300.0
INVITE = sip("""
    INVITE sip:a@203.0.113.1:5060 SIP/2.0
    Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bK-s
    From: <sip:b@203.0.113.50>;tag=b
    To: <sip:a@203.0.113.50>
    Call-ID: in
    CSeq: 1 INVITE
    Contact: <sip:b@203.0.113.50>
    Content-Length: 0
    """)
INVITE_INSIDE = INVITE.replace(b"sip:a@203.0.113.1:5060", b"sip:a@192.168.33.10:5060")
MESSAGE = sip("""
    OPTIONS sip:a@203.0.113.1:5060 SIP/2.0
    Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bK-o
    From: <sip:b@203.0.113.50>;tag=b
    To: <sip:a@203.0.113.50>
    Call-ID: o
    CSeq: 1 OPTIONS
    Content-Length: 0
    """)


def stage() -> tuple[Ladder, Phone, Server]:
    ladder = Ladder(sip_timeout_s=SIP_TIMEOUT_S)
    return ladder, ladder.phone(P), ladder.server("203.0.113.50")


def test_an_invite_arrives_after_a_long_silence() -> None:
    ladder, phone, server = stage()
    registers(phone, server, granted=f"<sip:a@{N}:5060>;expires=3600")
    ladder.wait(3599)
    assert server.sends(INVITE) == INVITE_INSIDE


def test_granted_less_than_sip_timeout_lives_for_sip_timeout() -> None:
    ladder, phone, server = stage()
    registers(phone, server, contact=f"<sip:a@{P}:5060>;expires=3600", granted=f"<sip:a@{N}:5060>;expires=60")
    ladder.wait(SIP_TIMEOUT_S - 1)
    assert server.sends(MESSAGE) is not None
    ladder.wait(40)
    assert ladder.mapped == {}
    ladder.finish()


def test_granted_more_than_sip_timeout_lives_for_what_was_granted() -> None:
    ladder, phone, server = stage()
    registers(phone, server, expires="3600", granted=f"<sip:a@{N}:5060>")
    assert list(ladder.alg.contacts.all()) != []
    ladder, phone, server = stage()
    registers(phone, server, granted=f"<sip:a@{N}:5060>;expires=1000")
    ladder.wait(999)
    assert server.sends(MESSAGE) is not None
    ladder.wait(34)
    assert ladder.mapped == {}


def test_a_refresh_goes_on() -> None:
    ladder, phone, server = stage()
    for number in range(1, 20):
        registers(phone, server, number=number, granted=f"<sip:a@{N}:5060>;expires=600")
        ladder.wait(590)
    assert server.sends(MESSAGE) is not None
    ladder.wait(10 + 33)
    assert ladder.mapped == {}
    ladder.finish()


def test_expires_0_on_the_2xx_and_not_before() -> None:
    ladder, phone, server = stage()
    registers(phone, server)
    registers(phone, server, number=2, contact=f"<sip:a@{P}:5060>;expires=0", granted=None, status=401)
    ladder.wait(100)
    assert server.sends(MESSAGE) is not None
    registers(phone, server, number=3, contact=f"<sip:a@{P}:5060>;expires=0", granted=None)
    ladder.wait(31)
    assert server.sends(MESSAGE) is not None, "what is under way may still arrive"
    ladder.wait(2)
    assert ladder.mapped == {}
    ladder.finish()


def test_expires_0_in_the_header_and_in_other_spellings() -> None:
    for contact, expires in (
        (f"<sip:a@{P}:5060>", "0"),
        (f"<sip:a@{P}:5060>;expires=0", "3600"),
        (f"<sip:a@{P}:5060>;q=1;Expires=00", ""),
        (f"sip:a@{P};expires=0", ""),
        ("*", "0"),
    ):
        ladder, phone, server = stage()
        registers(phone, server)
        registers(phone, server, number=2, contact=contact, expires=expires, granted=None)
        ladder.wait(33)
        assert ladder.mapped == {}, contact


def test_a_star_removes_all_lines_contacts_but_no_other_lines() -> None:
    ladder, phone, server = stage()
    contacts = "<sip:a@{0}:5060>, <sip:a@{0}:5070>"
    registers(phone, server, contact=contacts.format(P), granted=contacts.format(N))
    assert set(ladder.mapped) == {f"{P}:5060", f"{P}:5070"}
    registers(phone, server, user="other")
    registers(phone, server, number=2, contact="*", expires="0", granted=None)
    ladder.wait(33)
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}, "another line on the same socket keeps it"
    registers(phone, server, number=2, contact="*", expires="0", granted=None, user="other")
    ladder.wait(33)
    assert ladder.mapped == {}
    ladder.finish()


def test_a_query_removes_nothing() -> None:
    ladder, phone, server = stage()
    registers(phone, server)
    phone.sends(request("REGISTER", call="r-a", number=2, contact=None), server)
    registers(phone, server, number=3, contact=f"<sip:a@{P}:5060>", granted=None)
    ladder.wait(200)
    assert server.sends(MESSAGE) is not None


def test_a_call_on_the_same_socket_keeps_it() -> None:
    ladder, phone, server = stage()
    registers(phone, server)
    call = Outgoing(phone, server)
    call.stands()
    registers(phone, server, number=2, contact=f"<sip:a@{P}:5060>;expires=0", granted=None)
    ladder.wait(3600)
    assert f"{P}:5060" in ladder.mapped
    assert call.is_asked("OPTIONS", 3) is not None
    call.hangs_up()
    ladder.wait(31)
    assert set(ladder.mapped) == {f"{P}:5060", f"{P}:10000", f"{P}:10001"}
    ladder.wait(2)
    assert ladder.mapped == {}
    ladder.finish()


def test_a_third_partys_contact_passes() -> None:
    ladder, phone, server = stage()
    message = request("REGISTER", contact="<sip:c@198.51.100.7:5060>")
    assert phone.sends(message, server) == message.replace(b"UDP 192.168.33.10:", b"UDP 203.0.113.1:")
    answer = registers(phone, server, granted="<sip:c@198.51.100.7:5060>;expires=60")
    assert answer is not None
    assert b"<sip:c@198.51.100.7:5060>;expires=60" in answer
    assert list(ladder.alg.contacts.all()) == []


def test_two_phones_at_one_line() -> None:
    ladder, phone, server = stage()
    other = ladder.phone("192.168.33.11")
    registers(phone, server, granted=f"<sip:a@{N}:5060>;expires=600")
    both = f"<sip:a@{N}:5060>;expires=600, <sip:a@{N}:16384>;expires=600"
    answer = registers(other, server, granted=both)
    assert answer is not None
    assert b"<sip:a@203.0.113.1:5060>;expires=600, <sip:a@192.168.33.11:5060>;expires=600" in answer
    registers(other, server, number=2, contact="*", expires="0", granted=None)
    ladder.wait(33)
    assert ladder.mapped == {f"{P}:5060": f"{N}:5060"}
    ladder.wait(500)
    assert server.sends(MESSAGE) is not None


def test_taken_back_and_registered_again() -> None:
    ladder, phone, server = stage()
    registers(phone, server)
    registers(phone, server, number=2, contact="*", expires="0", granted=None)
    ladder.wait(20)
    registers(phone, server, number=3, granted=f"<sip:a@{N}:5060>;expires=600")
    ladder.wait(590)
    assert server.sends(INVITE) == INVITE_INSIDE
    ladder.finish()
