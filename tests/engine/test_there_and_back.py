"""There and back: what a server makes of the message that left comes to the phone as the phone had written it.

For public example flows, with their names made addresses so that the ALG has something to do, and for generated ones.
The server is played by a few lines of its own that know nothing of the engine: it echoes Via with `received` and
`rport` and the address fields, asks the Contact, and mirrors the description.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.ladder import Ladder, N, Phone, Server
from tests.engine.wire import audio, request, sdp

from sipalg.engine.verdict import Endpoint

FLOWS = Path(__file__).parents[2] / "../shared/corpora/flows"
P = b"192.168.33.10"
_FIELD = re.compile(rb"([A-Za-z-]+)[ \t]*:[ \t]*((?:[^\r\n]|\r?\n[ \t])*)\r?\n")
_VIA = re.compile(rb"SIP/2\.0/\w+\s+([^;:,\s]+)(?::(\d+))?")
_CONTACT = re.compile(rb"<?(sip:(?:[^@>;]*@)?[^>;,\s]+)")
_CONNECTION = re.compile(rb"^([oc]=.*IN IP4 )[^\r\n]+", re.MULTILINE)
#: Fields that an answer brings back as they were in the request.
_ECHOED = (b"record-route", b"path", b"service-route", b"contact", b"m")


def split(message: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """A message's start line, fields and body."""
    head, _, body = message.partition(b"\r\n\r\n")
    start, _, rest = (head + b"\r\n").partition(b"\r\n")
    return start, _FIELD.findall(rest), body


def joined(start: bytes, fields: list[tuple[bytes, bytes]], body: bytes = b"") -> bytes:
    """The reverse of `split`, with the Content-Length that is right."""
    lines = [start, *(name + b": " + value for name, value in fields), b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def named(fields: list[tuple[bytes, bytes]], *names: bytes) -> list[tuple[bytes, bytes]]:
    """The fields with one of these names."""
    return [(name, value) for name, value in fields if name.lower() in names]


def answer(message: bytes, seen_from: Endpoint) -> bytes:
    """The 200 to a request that came from a public address."""
    _, fields, _ = split(message)
    vias = named(fields, b"via", b"v")
    received = b";received=%b;rport=%d" % (seen_from.host.encode(), seen_from.port)
    vias[0] = (vias[0][0], re.sub(rb"\s*;(?:rport|received=[^;]*)(?=;|$)", b"", vias[0][1]) + received)
    return joined(b"SIP/2.0 200 OK", vias + named(fields, b"from", b"to", b"call-id", b"cseq", *_ECHOED))


def goes_there_and_back(message: bytes) -> None:
    """Send a request from a phone, have it answered, its Contact asked and its description mirrored."""
    ladder = Ladder(5060, 10000, 49170)
    phone, server = ladder.phone(P.decode()), ladder.server("203.0.113.50")
    sent = phone.sends(message, server)
    assert sent != message
    public = ladder.public_of(phone)
    _, before, body = split(message)

    arrived = server.sends(answer(sent, public), public)
    assert arrived is not None
    _, after, _ = split(arrived)
    expected = answer(message, phone.endpoint)
    assert named(after, b"via", b"v") == named(split(expected)[1], b"via", b"v")
    assert named(after, *_ECHOED) == named(before, *_ECHOED)

    asks_the_contact(ladder, server, message, sent, public)
    if body:
        mirrors_the_description(phone, server, sent, body)
    ladder.finish()


def asks_the_contact(ladder: Ladder, server: Server, message: bytes, sent: bytes, public: Endpoint) -> None:
    """A request within the dialog to the Contact finds the phone at what it had written there."""
    own = named(split(message)[1], b"contact", b"m")
    seen = named(split(sent)[1], b"contact", b"m")
    for (_, written), (_, shown) in zip(own, seen, strict=True):
        inside, outside = _CONTACT.match(written), _CONTACT.match(shown)
        if inside is None or outside is None or P not in inside[1]:
            continue
        arrived = server.sends(request("OPTIONS", uri=outside[1].decode(), via="203.0.113.50"), public)
        assert arrived is not None
        assert split(arrived)[0] == b"OPTIONS %b SIP/2.0" % inside[1]
        assert ladder.arrived_at == Endpoint(P.decode(), 5060)


def mirrors_the_description(phone: Phone, server: Server, sent: bytes, body: bytes) -> None:
    """A description that comes back as it was sent is the phone's own again."""
    _, fields, shown = split(sent)
    typed = named(fields, b"content-type", b"call-id", b"from", b"to", b"cseq")
    message = joined(b"OPTIONS sip:a@b SIP/2.0", [(b"Via", b"SIP/2.0/UDP 203.0.113.50"), *typed], shown)
    arrived = server.sends(message, phone.ladder.public_of(phone))
    assert arrived is not None
    assert split(arrived)[2] == body


def with_addresses(raw: bytes) -> bytes | None:
    """An example's request as a phone at P sends it over UDP; None if it isn't a request with Via."""
    head, _, body = re.sub(rb"\r?\n", b"\r\n", raw).partition(b"\r\n\r\n")
    start, fields, _ = split(head + b"\r\n\r\n")
    vias = named(fields, b"via", b"v")
    via = _VIA.match(vias[0][1]) if vias else None
    if start.startswith(b"SIP/2.0") or via is None:
        return None
    names = {via[1]}
    for _, value in named(fields, b"contact", b"m"):
        contact = re.search(rb"sips?:(?:[^@>;]*@)?([^>;:?]+)", value)
        names |= {contact[1]} if contact else set()
    changed = []
    for name, value in fields:
        if name.lower() in (b"via", b"v", b"contact", b"m", b"refer-to", b"path", b"record-route"):
            value = value.replace(b"sips:", b"sip:").replace(b";transport=tcp", b"")
            value = re.sub(rb"SIP/2\.0/\w+", b"SIP/2.0/UDP", value)
            for host in names:
                value = re.sub(rb"(?<![\w.-])" + re.escape(host) + rb"(?![\w.-])", P, value)
        if name.lower() not in (b"content-length", b"l"):
            changed.append((name, value))
    body = body.rstrip(b"\r\n") + b"\r\n" if named(fields, b"content-type", b"c") else b""
    return joined(start, changed, _CONNECTION.sub(rb"\g<1>" + P, body))


def examples() -> list[Path]:
    return sorted(FLOWS.rglob("*.sip"))


@pytest.mark.skipif(not FLOWS.is_dir(), reason="the example flows aren't here (../shared/corpora/flows)")
def test_every_example_goes_there_and_back() -> None:
    done = 0
    for path in examples():
        message = with_addresses(path.read_bytes())
        if message is not None:
            try:
                goes_there_and_back(message)
            except AssertionError as error:
                error.add_note(f"{path}\n{message.decode('latin-1')}")
                raise
            done += 1
    assert done > 100


HOSTS = st.sampled_from([P.decode(), "phone.lan", "10.0.0.9"])
LINES = st.lists(st.sampled_from(["Path", "Record-Route", "Contact", "m"]), max_size=4)


@given(
    method=st.sampled_from(["INVITE", "REGISTER", "OPTIONS", "UPDATE", "REFER"]),
    port=st.sampled_from(["", ":5060", ":5070"]),
    contact=st.sampled_from(["<sip:a@{}>", "sip:a@{}", '"A, B" <sip:{};x=1>;q=1', "<sip:x@phone.lan>, <sip:a@{}>"]),
    names=LINES,
    media=st.lists(st.integers(1024, 65000), max_size=3, unique=True),
    lines=st.sampled_from([(), ("a=rtcp-mux",), ("a=rtcp:64999",), ("a=rtcp:64999 IN IP4 192.168.33.10",)]),
)
@settings(max_examples=60)
def test_generated_messages_go_there_and_back(
    method: str, port: str, contact: str, names: list[str], media: list[int], lines: tuple[str, ...]
) -> None:
    own = P.decode() + port
    more = "".join(f"{name}: <sip:{own};lr>\n" for name in names)
    sections = [audio(one, *(lines if place == 0 else ())) for place, one in enumerate(sorted(media))]
    if any(above - below < 2 for below, above in zip(sorted(media), sorted(media)[1:], strict=False)):
        sections = sections[:1]
    body = sdp(P.decode(), *sections) if sections else ""
    message = request(
        method, via=P.decode() + (port if port != ":5070" else ""), contact=contact.format(own), more=more, body=body
    )
    goes_there_and_back(message)


def test_nothing_public_is_left_when_it_comes_back() -> None:
    ladder = Ladder()
    phone, server = ladder.phone(P.decode()), ladder.server("203.0.113.50")
    sent = phone.sends(request("INVITE", body=sdp(P.decode(), audio(10000))), server)
    arrived = server.sends(answer(sent, ladder.public_of(phone)))
    assert arrived is not None
    assert N.encode() + b":" not in arrived
