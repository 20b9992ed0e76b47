"""Every form of every field, by name: what is the sender's own changes, there and back, and not a byte beside it.

`{own}` stands for the phone's address inside and its public one outside; an address that is written out has to stay.
"""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.wire import audio, sdp, sip

P, N = "192.168.33.10", "203.0.113.1"

#: Fields of a request that come back in its answer, in all forms of RFC 3261 §7.3 and §20, RFC 3327, 5626 and 5627.
FIELDS = {
    "compact": "m:<sip:a@{own}:5060>",
    "any case": "cOnTaCt: <SIP:a@{own}:5060>",
    "blanks around the colon": "Contact \t:\t <sip:a@{own}:5060>",
    "folded": "Contact:\n <sip:a@{own}:5060>\n ;expires=60",
    "folded between name and URI": "Contact: Alice\n <sip:a@{own}:5060>",
    "several lines": "Contact: <sip:a@{own}:5060>\nSubject: x\nContact: <sip:b@{own}:5060>\nm: sip:c@{own}:5060",
    "several values": "Contact: <sip:a@{own}:5060>,<sip:b@{own}:5060> , sip:c@{own}:5060",
    "several values over folded lines": "Contact: <sip:a@{own}:5060>,\n <sip:b@10.0.0.9>,\n\t<sip:c@{own}:5060>",
    "without brackets": "Contact: sip:a@{own}:5060;expires=60",
    "without a user": "Contact: <sip:{own}:5060>",
    "without a port": "Contact: <sip:a@{own}>",
    "a user that is an address": "Contact: <sip:192.168.33.10@{own}:5060>",
    "a user with parameters and a password": "Contact: <sip:a;x=192.168.33.10:pw,?/@{own}:5060>",
    "an escaped user": "Contact: <sip:%61%40192.168.33.10@{own}:5060>",
    "a user with an asterisk": "Contact: <sip:*21*192.168.33.10#@{own}:5060>",
    "a name": "Contact: Alice B. Carroll <sip:a@{own}:5060>",
    "a quoted name with a comma": 'Contact: "Carroll, A" <sip:a@{own}:5060>, <sip:b@{own}:5060>',
    "a quoted name with an angle": 'Contact: "<sip:x@192.168.33.10>" <sip:a@{own}:5060>',
    "a quoted name with escapes": 'Contact: "a \\"<sip:192.168.33.10>,\\\\" <sip:a@{own}:5060>',
    "a name of other than ASCII": "Contact: \xc3\xa4\xff <sip:a@{own}:5060>",
    "parameters of the URI": "Contact: <sip:a@{own}:5060;transport=udp;user=phone;method=REGISTER;lr>",
    "headers of the URI": "Contact: <sip:a@{own}:5060?Route=%3Csip:192.168.33.10%3E&Subject=192.168.33.10>",
    "quoted parameters": 'Contact: <sip:a@{own}:5060>;x="<sip:192.168.33.10>,\\"";q=0.5, <sip:b@{own}:5060>',
    "a comment behind it": "Contact: <sip:a@{own}:5060> (at 192.168.33.10, my desk)",
    "maddr that says the same": "Contact: <sip:a@{own}:5060;lr;MADDR={own};x=y?z>",
    "maddr of another": "Contact: <sip:a@{own}:5060;maddr=192.168.33.99>",
    "maddr in a header of the URI": "Contact: <sip:a@{own}:5060?x=;maddr=192.168.33.10>",
    "maddr beside a host name": "Contact: <sip:a@phone.lan;maddr=192.168.33.10>",
    "ob": "Contact: <sip:a@{own}:5060;ob>;reg-id=1",
    "outbound instance": 'Contact: <sip:a@{own}:5060>;reg-id=1;+sip.instance="<urn:uuid:192.168.33.10>"',
    "GRUU of one's own": "Contact: <sip:a@{own}:5060;gr=urn:uuid:192.168.33.10>",
    "GRUUs that a registrar made": (
        'Contact: <sip:a@{own}:5060>;pub-gruu="sip:a@192.168.33.10;gr=x";temp-gruu="sip:t@192.168.33.10:5060;gr"'
    ),
    "tel: beside it": "Contact: <tel:+1-201-555-0123;phone-context=192.168.33.10>, <sip:a@{own}:5060>",
    "mailto: beside it": "Contact: <mailto:a@192.168.33.10>, <sip:a@{own}:5060>",
    "IPv6 references beside it": (
        "Contact: <sip:a@[2001:db8::10]:5060>, <sip:a@[::ffff:192.168.33.10]>, <sip:a@{own}:5060>"
    ),
    "absent host beside it": "Contact: <sip:a@>, <sip:>, <sip:a@:5060>, <sip:a@{own}:5060>",
    "host name beside it": "Contact: <sip:a@192.168.33.10.example.com>, <sip:a@{own}:5060>",
    "leading zeros aren't the same": "Contact: <sip:a@192.168.033.010>, <sip:a@{own}:5060>",
    "a star isn't an address": "Contact: *",
    "Record-Route": "Record-Route: <sip:{own}:5060;lr;ftag=1>, <sip:10.0.0.9;lr>\nRecord-Route:<sip:{own}:5060>",
    "Path": "Path: <sip:p@{own}:5060;lr;ob>,<sip:203.0.113.50;lr>",
    "Service-Route": "Service-Route: <sip:orig@{own}:5060;lr>,\n <sip:203.0.113.50;lr>",
    "other fields with an address": (
        "Subject: <sip:a@192.168.33.10>\nX-Contact: <sip:a@192.168.33.10:5060>\nContact-X: <sip:192.168.33.10>\n"
        'Warning: 399 192.168.33.10 "x"\nP-Asserted-Identity: <sip:a@192.168.33.10>\nReply-To: <sip:192.168.33.10>\n'
        "Diversion: <sip:a@192.168.33.10:5060>;reason=no-answer\nHistory-Info: <sip:a@192.168.33.10>;index=1\n"
        "Alert-Info: <http://192.168.33.10/x.wav>\nUser-Agent: x (192.168.33.10)\nContact: <sip:a@{own}:5060>"
    ),
}  # fmt: skip
VIAS = {
    "one": "Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK1",
    "compact": "v:SIP/2.0/UDP {own}:5060;branch=z9hG4bK1",
    "blanks": "Via :  SIP / 2.0 / UDP   {own}:5060 ;branch=z9hG4bK1",
    "folded": "Via:\n SIP/2.0/UDP\n {own}:5060\n ;branch=z9hG4bK192.168.33.10",
    "without a port": "Via: SIP/2.0/UDP {own};branch=z9hG4bK1",
    "three in a line": (
        "Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK1, SIP/2.0/UDP 192.168.33.10:5060;x, SIP/2.0/TCP 10.0.0.9"
    ),
    "three lines": (
        "Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK1\nSubject: x\nv: SIP/2.0/UDP 192.168.33.10:5060\n"
        "Via: SIP/2.0/UDP 192.168.33.10"
    ),
    "a comment": "Via: SIP/2.0/UDP {own}:5060 (the phone, 192.168.33.10)",
    "a quoted parameter": 'Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK1;x="192.168.33.10, y"',
    "maddr and ttl of a group": "Via: SIP/2.0/UDP {own}:5060;maddr=224.2.0.1;ttl=16;branch=z9hG4bK1",
    "keep and alias": "Via: SIP/2.0/UDP {own}:5060;keep;alias;branch=z9hG4bK1",
}
REST = """From: "192.168.33.10" <sip:a@192.168.33.10>;tag=192.168.33.10
To: <sip:b@192.168.33.10>{tag}
Call-ID: c1@192.168.33.10
CSeq: 1 {method}
Content-Length: 0
"""


def there_and_back(via: str, field: str, method: str, *, lf: bool) -> None:
    """Send a request with these fields, and an answer that repeats them."""
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")

    def request(own: str) -> bytes:
        text = f"{method} sip:b@203.0.113.50 SIP/2.0\n{via}\n{field}\n{REST}"
        return finish(sip(text, own=own, method=method, tag=""))

    def answer(own: str) -> bytes:
        text = f"SIP/2.0 200 OK\n{via}\n{field}\n{REST}"
        return finish(sip(text, own=own, method=method, tag=";tag=b"))

    def finish(message: bytes) -> bytes:
        return message.replace(b"\r\n", b"\n") if lf else message

    assert phone.sends(request(P), server) == request(N)
    assert server.sends(answer(N)) == answer(P)
    ladder.finish()


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("lf", [False, True], ids=["CRLF", "LF"])
def test_fields(field: str, lf: bool) -> None:
    there_and_back(VIAS["one"], field, "OPTIONS", lf=lf)


@pytest.mark.parametrize("via", VIAS.values(), ids=VIAS)
@pytest.mark.parametrize("lf", [False, True], ids=["CRLF", "LF"])
def test_vias(via: str, lf: bool) -> None:
    there_and_back(via, FIELDS["compact"], "OPTIONS", lf=lf)


def test_blanks_around_the_colon_of_a_sent_by_go_with_it() -> None:
    ladder = Ladder()
    text = "OPTIONS sip:b@h SIP/2.0\nVia: SIP/2.0/UDP {own};branch=z9hG4bK1\n"
    sent = ladder.phone(P).sends(sip(text, own=f"{P} :\t5060 "), ladder.server("203.0.113.50"))
    assert sent == sip(text, own=f"{N}:5060 ")


METHODS = "ACK BYE CANCEL INFO INVITE MESSAGE NOTIFY OPTIONS PRACK PUBLISH REFER REGISTER SUBSCRIBE UPDATE"


@pytest.mark.parametrize("method", [*METHODS.split(), "FROBNICATE", "x!%*_+`'~.-", "invite"])
def test_methods_of_today_and_of_tomorrow(method: str) -> None:
    there_and_back(VIAS["one"], FIELDS["several values"], method, lf=False)


@pytest.mark.parametrize(
    "target",
    [
        "sip:a@{own}:5060",
        "sip:{own}",
        "sip:a:b@{own}:5060;lr?x=192.168.33.10",
        "SIP:a@{own}:5060;maddr={own}",
        "sip:203.0.113.1@{own}:5060;ob",
        "sip:a@{own}:5060;gr=203.0.113.1",
    ],
)
def test_targets_come_back(target: str) -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P), ladder.server("203.0.113.50")
    phone.sends(sip(f"OPTIONS sip:b@h SIP/2.0\n{VIAS['one']}\n{FIELDS['compact']}\n", own=P), server)
    text = f"NOTIFY {target} SIP/2.0\nVia: SIP/2.0/UDP 203.0.113.50;branch=z9hG4bK9\n"
    port = "" if ":5060" in target else ":5060"
    assert server.sends(sip(text, own=N)) == sip(text, own=P + port)


def test_anothers_target_with_maddr_is_mapped_as_a_safety_net() -> None:
    ladder = Ladder()
    server = ladder.server("203.0.113.50")
    ladder.phone("192.168.33.11").sends(sip("OPTIONS sip:b@h SIP/2.0\nContact: <sip:192.168.33.11>\n"), server)
    text = "OPTIONS sip:b@{other};maddr={other} SIP/2.0\n"
    sent = ladder.phone(P).sends(sip(text, other="192.168.33.11"), server)
    assert sent == sip(text, other=N)


@pytest.mark.parametrize(
    "target", ["tel:+1201", "sip:a@", "sip:[2001:db8::1]", "urn:service:sos", "sip:a@phone.lan", "*", "sip:a@10.0.0.9"]
)
def test_targets_that_are_nobodys_of_ours_stay(target: str) -> None:
    ladder = Ladder()
    text = f"INVITE {target} SIP/2.0\n{VIAS['one']}\n"
    assert ladder.phone(P).sends(sip(text, own=P), ladder.server("203.0.113.50")) == sip(text, own=N)


DESCRIPTION = sdp("{own}", audio(10000))
BODIES = {
    "a description": ("application/sdp", DESCRIPTION),
    "a method unknown today": ("application/sdp;charset=x", DESCRIPTION),
    "compressed": ("application/sdp\nContent-Encoding: deflate", DESCRIPTION.replace("{own}", P)),
    "compressed, compact": ("application/sdp\ne:gzip", DESCRIPTION.replace("{own}", P)),
    "encrypted": ("application/pkcs7-mime;smime-type=enveloped-data;name=x.p7m", DESCRIPTION.replace("{own}", P)),
    "text that looks like one": ("text/plain", DESCRIPTION.replace("{own}", P)),
    "a message within": ("message/sip", f"INVITE sip:{P} SIP/2.0\nContact: <sip:{P}>\n\n" + sdp(P, audio(10000))),
    "a fragment of a message": ("message/sipfrag;version=2.0", f"SIP/2.0 200 OK\nContact: <sip:{P}>\n"),
    "XML": ("application/pidf+xml", f"<contact>sip:a@{P}</contact>\n"),
    "mixed": (
        "multipart/mixed; boundary=\"x y\"",
        "preamble\n--x y\nContent-Type: application/sdp\n\n" + DESCRIPTION
        + "--x y\nContent-Type: application/isup\n\n"
        f"{P}\x01\n--x y--\nepilogue {P}\n",
    ),
    "a part that is encrypted": (
        "multipart/mixed;boundary=x",
        "--x\nContent-Type: application/pkcs7-mime\n\n" + sdp(P, audio(10000)) + "--x--\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("type_", "body"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("lf", [False, True], ids=["CRLF", "LF"])
@pytest.mark.parametrize("method", ["INVITE", "FROBNICATE"])
def test_bodies(type_: str, body: str, lf: bool, method: str) -> None:
    ladder = Ladder()
    text = f"{method} sip:b@h SIP/2.0\n{VIAS['one']}\nContent-Type: {type_}\nContent-Length: #\n\n{body}"
    before, after = sip(text.replace("{own}", P)), sip(text.replace("{own}", N))
    if lf:
        before, after = (
            # The number counts the body with its shorter line ends.
            one.replace(b"\r\n", b"\n").replace(b": %d\n\n" % size, b": %d\n\n" % (size - body.count("\n")))
            for one in (before, after)
            for size in [len(one.partition(b"\r\n\r\n")[2])]
        )
    assert ladder.phone(P).sends(before, ladder.server("203.0.113.50")) == after
