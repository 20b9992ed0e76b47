"""Reasons from packets and logs."""

from __future__ import annotations

from pathlib import Path

from tests.lab.world import RTP, sip

from sipalg.engine.verdict import Endpoint
from sipalg.lab.evidence import contact_told, rtp_that_got_through, sipp_complaint
from sipalg.lab.packets import Wire

PHONE, PUBLIC, FAR = Endpoint("192.168.33.10", 10000), Endpoint("203.0.113.1", 10000), Endpoint("203.0.113.71", 20000)


def test_rtp_is_counted_on_both_sides_since_a_moment() -> None:
    outside = [Wire(time_s, FAR, PUBLIC, RTP) for time_s in (1.0, 2.0, 3.0)]
    outside += [Wire(2.0, FAR, FAR, RTP), Wire(2.0, FAR, PUBLIC, b"no RTP")]
    inside = [Wire(3.0, FAR, PHONE, RTP)]
    said = rtp_that_got_through(outside, inside, PUBLIC.host, PHONE.host, 2.0)
    assert said == "2 RTP packets reached the router outside, 1 passed"
    back = [Wire(3.0, PHONE, FAR, RTP)]
    said = rtp_that_got_through(back, [], FAR.host, FAR.host, 2.0)
    assert said == "1 RTP packets reached the router inside, 0 passed"


def test_the_last_contact_of_the_user_is_told() -> None:
    def register(user: str, contact: str) -> Wire:
        text = sip("REGISTER sip:x SIP/2.0", f"To: <sip:{user}@x>", f"Contact: {contact}")
        return Wire(1.0, PUBLIC, FAR, text)

    outside = [
        register("101", "<sip:101@192.168.33.10:5060>"),
        register("101", "<sip:101@203.0.113.1:5060>;expires=60"),
        register("102", "<sip:102@203.0.113.1:1024>"),
        register("103", "*"),
    ]
    assert contact_told(outside, "101") == "; 101's contact is 203.0.113.1:5060"
    assert contact_told(outside, "103") == ""
    assert contact_told(outside, "104") == ""


def test_sipp_s_first_complaint_is_told_without_its_time(tmp_path: Path) -> None:
    at = "2026-01-01\t10:00:00.000\t1767261600.0: "
    assert sipp_complaint(tmp_path, "uac_call") == ""
    (tmp_path / "uac_call_1_errors.log").write_text(f"{at}fine\n{at}Overall timeout\n{at}Aborting call\n")
    (tmp_path / "uas_call_1_errors.log").write_text(f"{at}Aborting call of another\n")
    assert sipp_complaint(tmp_path, "uac_call") == "Overall timeout"
    (tmp_path / "uac_call_0_errors.log").write_text(f"{at}Aborting {'x' * 200}\n")
    assert len(sipp_complaint(tmp_path, "uac_call")) == 110
