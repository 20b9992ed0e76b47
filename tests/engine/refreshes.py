"""What a registered phone and its registrar exchange, as it is most of the time, and with something changed in it."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from tests.engine.wire import request, response

from sipalg.engine.verdict import Endpoint

PHONE: Final = Endpoint("192.168.33.10", 5060)
SERVER: Final = Endpoint("203.0.113.50", 5060)
P, N = "192.168.33.10:5060", "203.0.113.1:5060"

REGISTER: Final = request("REGISTER", uri="sip:example.org", contact=f"<sip:a@{P}>", more="Expires: 300\n")
CHALLENGE: Final = response(401, "REGISTER", via=f"{N};received=203.0.113.1;rport=5060")
OK: Final = response(
    200, "REGISTER", via=f"{N};rport=5060;received=203.0.113.1", contact=f"<sip:a@{N}>;expires=300"
)
OK_OF_TWO: Final = response(
    200, "REGISTER", via=N, contact=f"<sip:x@198.51.100.7:5070>;expires=9, <sip:a@{N}>;expires=300"
)
OK_OF_ALL: Final = response(200, "REGISTER", via=N, contact=f"<sip:a@{N}>", more="Expires: 300\n")
OPTIONS: Final = request("OPTIONS", uri="sip:example.org", contact=f"<sip:a@{P}>")
OPTIONS_BY_ADDRESS: Final = request("OPTIONS", uri="sip:203.0.113.50:5060", contact=None)
OPTIONS_OK: Final = response(200, "OPTIONS", via=f"{N};rport=5060")
ASKED: Final = request("OPTIONS", uri=f"sip:a@{N};transport=udp", via="203.0.113.50:5060", contact=None)
ASKED_BY_NAME: Final = request("OPTIONS", uri="sip:a@phone.example", via="203.0.113.50:5060", contact=None)
ANSWERED: Final = response(200, "OPTIONS", via="203.0.113.50:5060", contact=f"<sip:a@{P}>")
TRYING: Final = response(100, "REGISTER", via=f"{N};rport=5060")

#: Messages by whether the phone sends them.
MESSAGES: Final = (
    *((text, True) for text in (REGISTER, REGISTER, REGISTER, OPTIONS, OPTIONS_BY_ADDRESS, ANSWERED)),
    *((text, False) for text in (OK, OK, OK_OF_TWO, OK_OF_ALL, CHALLENGE, OPTIONS_OK, ASKED, ASKED_BY_NAME, TRYING)),
)
#: What may stand in another's place: half of them are still as usual.
_CHANGES: Final = (
    (b"Via:", b"v :"), (b"Contact:", b"m:"), (b"Call-ID: c1", b"Call-ID: c2"), (b"Call-ID:", b"i:"),
    (b"expires=300", b"expires=0"), (b"expires=300", b"expires=60"), (b";expires=300", b""),
    (b"Expires: 300", b"Expires: 0"), (b"Expires: 300\r\n", b""), (b"Expires: 300", b"Expires: soon"),
    (b":5060;", b":5062;"), (b":5060>", b">"), (b":5060>", b":5060;transport=tcp>"), (b":5060>", b":5060;ob>"),
    (b"UDP", b"TCP"), (b"UDP ", b"udp  "), (b'Contact: <', b'Contact: "a, b" <'),
    (b"Contact: <sip:a@192.168.33.10:5060>", b"Contact: *"),
    (b"Contact:", b"Contact: <sip:a@192.168.33.10:5062>\r\nContact:"), (b"Content-Length: 0\r\n", b""),
    (b"Content-Length: 0\r\n\r\n", b"Content-Length: 2\r\n\r\nab"), (b"\r\n\r\n", b"\r\n\r\nab"), (b"\r\n", b"\n"),
    (b"To: <sip:b@example.org>", b"To: <sip:c@example.org>"), (b"To:", b"t:"),
    (b"To: <sip:b@example.org>", b"To: sip:b@example.org"), (b"CSeq: 1", b"CSeq: x"),
    (b"CSeq: 1 REGISTER", b"CSeq: 1 INVITE"), (b"CSeq: 1", b"CSeq: 2"), (b"Call-ID:", b"Call-ID: c9\r\nCall-ID:"),
    (b"Content-Length", b"Route: <sip:192.168.33.11:5060;lr>\r\nContent-Length"), (b" SIP/2.0\r\n", b" sip/2.0\r\n"),
    (b"Content-Length", b"Path: <sip:203.0.113.1:5060;lr>\r\nContent-Length"), (b"203.0.113.1;", b"203.0.113.9;"),
    (b"rport=5060", b"rport=7"), (b"SIP/2.0 200", b"SIP/2.0 302"), (b"SIP/2.0 200", b"SIP/2.0 699"),
    (b"SIP/2.0 401", b"SIP/2.0 423"), (b"sip:example.org", b"sip:192.168.33.10"), (b"sip:example.org", b"tel:1"),
    (b"sip:example.org", b"sip:a@b:x"), (b"sip:a@203", b"sip:203"), (b"192.168.33.10:5060>", b"203.0.113.1:5060>"),
    (b"203.0.113.1:5060>", b"203.0.113.1:5070>"), (b"Call-ID: c1", b"Call-ID: c1\r\n "),
    (b";branch", b";maddr=203.0.113.1;branch"), (b"Text", b"Te\rxt"), (b" Text", b""), (b"a@", b"a\xff@"),
    (b"transport=udp", b"transport=tcp"), (b"transport=udp", b"maddr=203.0.113.1"),
    (b"203.0.113.1:5060;transport", b"203.0.113.1;transport"), (b"From:", b"Server: 203.0.113.1\r\nFrom:"),
)  # fmt: skip


@st.composite
def refreshes(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A message, mostly with something in it changed, and whether the phone sends it."""
    text, leaves = draw(st.sampled_from(MESSAGES))
    for before, after in draw(st.lists(st.sampled_from(_CHANGES), max_size=2)):
        text = text.replace(before, after, draw(st.sampled_from([1, -1])))
    return text, leaves
