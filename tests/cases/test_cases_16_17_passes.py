"""Cases 16 and 17: a description that can't be served passes with its whole message, and opens nothing."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.wire import sip

INVITE = """
    INVITE sip:b@203.0.113.50 SIP/2.0
    Via: SIP/2.0/UDP 192.168.33.10:5060;branch=z9hG4bK-1
    From: <sip:a@203.0.113.50>;tag=a
    To: <sip:b@203.0.113.50>
    Call-ID: c1
    CSeq: 1 INVITE
    Contact: <sip:a@192.168.33.10:5060>
    Content-Type: application/sdp
    Content-Length: #

    v=0
    o=- 1 1 IN IP4 192.168.33.10
    s=-
    {connection}
    t=0 0
    {media}
    """
OWN = "c=IN IP4 192.168.33.10"
AUDIO = "m=audio 10000 RTP/AVP 0"


@pytest.mark.parametrize(
    ("connection", "media", "reason"),
    [
        pytest.param("c=IN IP6 2001:db8::1", AUDIO, "sdp-address-foreign", id="case 16: IPv6"),
        pytest.param("c=IN IP4 phone.lan", AUDIO, "sdp-address-foreign", id="case 16: a host name"),
        pytest.param("b=AS:64", AUDIO, "sdp-without-connection", id="case 16: no c="),
        pytest.param("c=IN IP4", AUDIO, "sdp-line-malformed", id="a c= without address"),
        pytest.param(OWN + "\n" + OWN, AUDIO, "sdp-line-malformed", id="two c= in the session"),
        pytest.param(OWN, "m=audio 900 RTP/AVP 0", "sdp-port-privileged", id="case 17: 900"),
        pytest.param(OWN, "m=audio 65536 RTP/AVP 0", "sdp-port-malformed", id="case 17: 65536"),
        pytest.param(OWN, "m=audio http RTP/AVP 0", "sdp-port-malformed", id="case 17: text"),
        pytest.param(OWN, "m=audio 65535 RTP/AVP 0", "sdp-port-privileged", id="no port for RTCP"),
        pytest.param(OWN, AUDIO + "\na=rtcp:22", "sdp-port-privileged", id="a privileged RTCP port"),
        pytest.param(OWN, AUDIO + "\na=rtcp:70000", "sdp-port-malformed", id="an RTCP port that is none"),
        pytest.param(OWN, "m=audio 10000/9 RTP/AVP 0", "sdp-port-privileged", id="too many ports at once"),
        pytest.param(OWN, "\n".join([AUDIO] * 33), "sdp-too-many-sections", id="too many sections"),
    ],
)
def test_passes(connection: str, media: str, reason: str) -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    message = sip(INVITE, connection=connection, media=media)
    assert phone.sends(message, server) == message
    assert ladder.reason == reason
    assert ladder.alg.reasons == {reason: 1}
    assert ladder.mapped == {}
    assert ladder.commands == []


@pytest.mark.parametrize("port", [900, 80, 1023, 1])
def test_never_a_pinhole_below_1024(port: int) -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    media = f"{AUDIO}\nm=video {port} RTP/AVP 31"
    message = sip(INVITE, connection=OWN, media=media)
    assert phone.sends(message, server) == message
    assert ladder.mapped == {}


def test_a_foreign_address_stays_and_the_header_is_translated() -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    message = sip(INVITE, connection="c=IN IP4 192.168.33.99", media=AUDIO)
    assert phone.sends(message, server) == message.replace(b"33.10:5060", b"33.10").replace(
        b"192.168.33.10;branch", b"203.0.113.1:5060;branch"
    ).replace(b"a@192.168.33.10", b"a@203.0.113.1:5060")
    assert set(ladder.mapped) == {"192.168.33.10:5060"}
