"""The ladder: both sides of the router in one picture, and what changed between them."""

from __future__ import annotations

from sipalg.engine.verdict import Endpoint
from sipalg.lab.ladder import draw_ladder
from sipalg.lab.packets import Wire

PHONE, PUBLIC = Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.1", 5060)
SERVER = Endpoint("203.0.113.50", 5060)


def request(method: str, host: str, call: str = "c1", cseq: int = 1) -> bytes:
    return (
        f"{method} sip:203.0.113.50 SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060\r\nCall-ID: {call}\r\n"
        f"CSeq: {cseq} {method}\r\nContact: <sip:101@{host}:5060>\r\n\r\n"
    ).encode()


def answer(status: str, host: str, call: str = "c1", cseq: str = "1 REGISTER") -> bytes:
    return f"SIP/2.0 {status}\r\nVia: SIP/2.0/UDP {host}:5060\r\nCall-ID: {call}\r\nCSeq: {cseq}\r\n\r\n".encode()


INSIDE = [
    Wire(10.0, PHONE, SERVER, request("REGISTER", PHONE.host)),
    Wire(10.1, SERVER, PHONE, answer("200 OK", PHONE.host)),
    Wire(11.0, PHONE, SERVER, request("INVITE", PHONE.host, "c2")),
    Wire(12.0, PHONE, SERVER, request("OPTIONS", PHONE.host, "c3")),
]
OUTSIDE = [
    Wire(10.0, PUBLIC, SERVER, request("REGISTER", PUBLIC.host)),
    Wire(10.1, SERVER, PUBLIC, answer("200 OK", PHONE.host)),
]


def test_each_message_has_a_rung_with_what_changed() -> None:
    rungs = draw_ladder(INSIDE, OUTSIDE).splitlines()
    assert "phone1 192.168.33.10" in rungs[0]
    assert "server 203.0.113.50" in rungs[0]
    assert "0.000 s" in rungs[2]
    assert "REGISTER" in rungs[2]
    assert "2 lines changed" in rungs[2]
    assert rungs[2].rstrip().endswith("▶")
    assert "0.100 s" in rungs[3]
    assert "200 OK (REGISTER)" in rungs[3]
    assert "unchanged" in rungs[3]
    assert "◀" in rungs[3]
    assert "1.000 s" in rungs[4]
    assert "(never seen outside)" in rungs[4]


def test_other_dialogs_are_left_out() -> None:
    assert "OPTIONS" not in draw_ladder(INSIDE, OUTSIDE)


def test_the_register_is_shown_before_and_after() -> None:
    text = draw_ladder(INSIDE, OUTSIDE)
    assert "REGISTER: - inside, from 192.168.33.10:5060   + outside, from 203.0.113.1:5060" in text
    assert "  - Contact: <sip:101@192.168.33.10:5060>" in text
    assert "  + Contact: <sip:101@203.0.113.1:5060>" in text
    assert "    Call-ID: c1" in text
    assert "INVITE: - inside" not in text


def test_the_last_of_several_is_shown() -> None:
    inside = [*INSIDE[:2], Wire(10.2, PHONE, SERVER, request("REGISTER", PHONE.host, cseq=2))]
    outside = [*OUTSIDE, Wire(10.2, PUBLIC, SERVER, request("REGISTER", PUBLIC.host, cseq=2))]
    text = draw_ladder(inside, outside)
    assert "    CSeq: 2 REGISTER" in text
    assert "    CSeq: 1 REGISTER" not in text


def test_a_called_phone_stands_on_the_left_too() -> None:
    inside = [Wire(1.0, SERVER, PHONE, request("INVITE", "203.0.113.50"))]
    assert "phone1 192.168.33.10" in draw_ladder(inside, []).splitlines()[0]


def test_what_stays_inside_is_left_out() -> None:
    pbx = Endpoint("192.168.33.20", 5060)
    inside = [
        Wire(1.0, PHONE, pbx, request("INVITE", PHONE.host, "c0")),
        Wire(2.0, pbx, SERVER, request("INVITE", pbx.host, "c1")),
        Wire(3.0, SERVER, pbx, answer("488 Not Acceptable Here", pbx.host, cseq="1 INVITE")),
    ]
    rungs = draw_ladder(inside, [Wire(2.0, PUBLIC, SERVER, request("INVITE", PUBLIC.host))]).splitlines()
    assert "pbx 192.168.33.20" in rungs[0]
    assert [rung.split()[3].strip("◀─") or rung.split()[4] for rung in rungs[2:4]] == ["INVITE", "488"]
    assert "(never seen outside)" in rungs[3]


def test_nothing_seen_is_said() -> None:
    assert draw_ladder([], OUTSIDE) == "no SIP message was seen inside"
