from __future__ import annotations

from tests.analysis.diagnose.story import sdp

from sipalg.analysis.diagnose import words
from sipalg.analysis.diagnose.facts import MediaEnd
from sipalg.analysis.diagnose.words import SdpWords, ViaWords
from sipalg.analysis.messages import SipMessage, read_message
from sipalg.analysis.streams import Framed
from sipalg.capture.decode import Segment
from sipalg.codec.datagram import UDP
from sipalg.engine.verdict import Endpoint

PHONE, FAR = Endpoint("192.168.20.100", 5060), Endpoint("207.252.1.148", 5060)


def message(*fields: str, body: str = "") -> SipMessage:
    kind = ("Content-Type: application/sdp",) if body else ()
    head = "\r\n".join(("SIP/2.0 200 OK", *fields, *kind, f"Content-Length: {len(body)}"))
    data = f"{head}\r\n\r\n{body}".encode()
    return read_message(Segment(1, 0, UDP, PHONE, FAR, data, b"", 0, 0, True, (), 0), Framed(data, (1,), True))


def test_topmost_via_counts() -> None:
    via = words.via_of(message("Via: SIP/2.0/UDP 192.168.20.100:5070;branch=z;rport,SIP/2.0/UDP 1.2.3.4").frame)
    assert via == ViaWords("192.168.20.100", 5070, True, "")
    via = words.via_of(message("v: SIP/2.0/UDP h.lan;received=1.2.3.4;rport=99,SIP/2.0/UDP 1.2.3.4;rport").frame)
    assert via == ViaWords("h.lan", 5060, True, "1.2.3.4")
    via = words.via_of(message("Via: SIP/2.0/UDP 1.1.1.1", "Via: SIP/2.0/UDP 2.2.2.2;rport").frame)
    assert via == ViaWords("1.1.1.1", 5060, False, "")


def test_via_that_isnt_there_or_cant_be_read() -> None:
    assert words.via_of(message().frame) is None
    assert words.via_of(message("Via: nonsense").frame) is None


def test_contacts_and_the_shortest_lifetime() -> None:
    frame = message(
        "Contact: <sip:a@1.2.3.4:5070>;expires=60, <sips:b@h.lan>", "m: <sip:c@10.0.0.1;transport=tcp>", "Expires: 50"
    ).frame
    assert words.contacts_of(frame) == [
        ("1.2.3.4", 5070, 60, False), ("h.lan", 5061, None, True), ("10.0.0.1", 5060, None, True),
    ]  # fmt: skip
    assert words.granted_s(frame) == 50
    assert words.granted_s(message("Contact: <sip:a@1.2.3.4>;expires=60").frame) == 60
    assert words.granted_s(message("Expires: 50").frame) == 0


def test_agent_and_forwards() -> None:
    frame = message("User-Agent: Phone 1.0 ", "Max-Forwards: 12").frame
    assert (words.agent_of(frame), words.max_forwards_of(frame)) == ("Phone 1.0", 12)
    assert (words.agent_of(message().frame), words.max_forwards_of(message().frame)) == ("", None)


def end(port: int, *, host: str = "10.0.0.1", rtcp: int = 0, mux: bool = False, ways: str = "both") -> MediaEnd:
    return MediaEnd(host, port, host, rtcp or port + 1, mux, ways in ("both", "receives"), ways in ("both", "sends"))


def test_ends_of_a_description() -> None:
    assert words.sdp_of(message(body=sdp("10.0.0.1:4000"))) == SdpWords((end(4000),), False)
    found = words.sdp_of(message(body=sdp("10.0.0.1:4000", "a=rtcp-mux", rtcp="4009")))
    assert found == SdpWords((end(4000, rtcp=4009, mux=True),), False)


def test_direction_of_each_section() -> None:
    lines = ("a=sendonly", "m=video 4002 RTP/AVP 31", "m=audio 4004 RTP/AVP 0", "a=inactive")
    found = words.sdp_of(message(body=sdp("10.0.0.1:4000", *lines)))
    assert found is not None
    assert found.ends == (end(4000, ways="sends"), end(4002), end(4004, ways="none"))


def test_direction_of_the_session_holds_where_a_section_has_none() -> None:
    body = sdp("10.0.0.1:4000").replace("t=0 0\r\n", "t=0 0\r\na=recvonly\r\n")
    assert words.sdp_of(message(body=body)) == SdpWords((end(4000, ways="receives"),), False)


def test_hold_by_address_and_refused_media() -> None:
    nowhere = ".".join("0000")
    held = end(4000, host=nowhere, ways="none")
    assert words.sdp_of(message(body=sdp(f"{nowhere}:4000"))) == SdpWords((held,), False)
    assert words.sdp_of(message(body=sdp("10.0.0.1:0"))) == SdpWords((), False)


def test_only_candidates_from_elsewhere_count() -> None:
    host_candidate = "a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host"
    relay = "a=candidate:2 1 UDP 1 1.2.3.4 4000 typ relay raddr 10.0.0.1 rport 4000"
    found = [words.sdp_of(message(body=sdp("10.0.0.1:4000", line))) for line in (host_candidate, relay)]
    assert [one and one.elsewhere for one in found] == [False, True]


def test_body_that_is_no_description() -> None:
    assert words.sdp_of(message()) is None
    assert words.sdp_of(message(body="v=0\r\nc=nonsense\r\n")) is None
    assert words.sdp_of(message(body="v=0\r\ns=-\r\n")) == SdpWords((), False)
