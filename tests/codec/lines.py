"""Messages for the tests of the codec's machine code: header lines of all kinds, usual and not, in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hypothesis import strategies as st
from tests.engine.generated import messages, mutated

from sipalg.codec import fields, headers, message
from sipalg.codec.machine import quick
from sipalg.codec.message import CONTACT, FIELD_NAMES, VIA, Message

Edits = list[tuple[int, int, bytes, str]]

TORTURE: Final = sorted((Path(__file__).parent.parent / "torture" / "own").glob("*.sip"))
LINES: Final = st.lists(
    st.sampled_from(
        [
            b"Via: SIP/2.0/UDP 192.168.33.10:5060;rport;branch=z9hG4bK1",
            b"Via: SIP/2.0/UDP 203.0.113.1:5060;received=203.0.113.1;rport=5060;branch=z9hG4bK1",
            b"v:SIP/2.0/UDP 203.0.113.1 ; RPORT = 123456; rport=77;Received = 10.0.0.9;received=1.1.1.1",
            b"Via: SIP/2.0/UDP 203.0.113.1;received=2001:db8::1;rport",
            b"Via: SIP/2.0/UDP 203.0.113.1;received=[::1];rport=1, SIP/2.0/UDP a;rport=2",
            b'Via: SIP/2.0/UDP 203.0.113.1;x=";rport=1"',
            b"Contact: <sip:a@192.168.33.10:5060>;expires=60",
            b"m: <sip:a@203.0.113.1:5060>",
            b"Contact: <sip:a@x>,\r\n <sip:a@203.0.113.1:5060>",
            b"From: <sip:a@192.168.33.10>;tag=a",
            b"f:<sip:a@x>",
            b"To: <sip:b@203.0.113.1>;tag=b",
            b"t : x",
            b"To: folded\r\n\t;tag=1",
            b"To:",
            b"Call-ID: c1@192.168.33.10",
            b"i:c2",
            b"Call-ID: two words",
            b"Call-ID:",
            b"call-id:\r\n c3",
            b"CSeq: 1 INVITE",
            b"CSEQ:  4294967295\tREGISTER ",
            b"CSeq: 12345678901 INVITE",
            b"CSeq: x INVITE",
            b"CSeq: 3\r\n INVITE",
            b"CSeq: 4",
            b"Expires: 60",
            b"EXPIRES : 0060 ",
            b"Expires: 1234567890",
            b"Expires: soon",
            b"Expires:\r\n 5",
            b"Session-Expires: 1800;refresher=uac",
            b"x : 90",
            b"SESSION-EXPIRES: soon",
            b"X:1234567890",
            b"Service-Route: <sip:203.0.113.1:5060;lr>",
            b"Content-Length: 0",
            b"l:0",
            b"Content-Length : 00\t",
            b"Content-Length: 1",
            b"Subject: 203.0.113.1",
            b'Contact: "a, b" <sip:a@203.0.113.1:5060;transport=udp>;+sip.instance="<urn:x>";expires=60',
            b'CONTACT : Name here <sip:192.168.33.10:5060;ob>;q=0.5; Expires = "120"x',
            b"Contact: sip:a@203.0.113.1:5060;expires=1234567890",
            b"Contact: sip:a@192.168.33.10:5060;transport=tcp",
            b"m:<sip:a@203.0.113.1:77;transport=tcp>, <sip:203.0.113.1:5060>",
            b"Contact: <sip:a@198.51.100.7:5070>;expires=9 ,\t<sip:a@203.0.113.1:5060>;expires=;expires=7",
            b"Contact: <sip:a@192.168.33.10:5060;maddr=192.168.33.10>",
            b"Contact: <sips:a@203.0.113.1:5060>",
            b"Contact: <sip:192.168.33.10:x@203.0.113.1:5060>",
            b"Contact: <sip:a@192.168.33.10>",
            b'Contact: "a\\"b" <sip:a@203.0.113.1:5060>',
            b'Contact: <sip:a@203.0.113.1:5060>;x="',
            b"Contact: *",
            b"Route: <sip:203.0.113.1:5060;lr>, <sip:b@x>",
            b"r: <sip:a@192.168.33.10:5060>",
            b"Server: 203.0.113.1",
            b"Via: SIP/2.0/TCP 203.0.113.1:5060;rport=77",
            b"Via: SIP/2.0/UDP 203.0.113.10:5060;received=192.168.33.10",
            b"Via: SIP/2.0/UDP 192.168.33.10:77",
            b"Content-Length: 0 ",
            b"Content-Length: 4",
            b"c:application/sdp",
            b"Content-Encoding: x",
            b"e : gzip",
            b" continued 192.168.33.10",
            b"C",
            b"",
        ]
    ),
    max_size=9,
)
STARTS: Final = st.sampled_from(
    [b"REGISTER sip:192.168.33.10 SIP/2.0", b"SIP/2.0 200 OK", b"\r\nSIP/2.0 401 No", b"\nBYE sip:b@x SIP/2.0"]
)
ENDS: Final = st.sampled_from(
    [b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b"\r\n", b"", b"\n\r\n", b"\r\n\r\nv=0\r\n", b"\r", b"\r\r\n\r\n", b"\r\n\r"]
)
#: Fields that name something, in all their spellings, and values of theirs.
NAMES: Final = {
    (b"Call-ID", b"CALL-ID", b"call-Id", b"i", b"I"): (b"c", b"d e", b"a\rb", b"a\vb", b"\fa", b""),
    (b"CSeq", b"CSEQ", b"cseq"): (b"1 INVITE", b"2  BYE", b"3\tREGISTER", b"3\vACK", b"4 A\rB", b"x ACK", b"5"),
    (b"To", b"TO", b"t", b"T"): (b"<sip:a@b>;tag=1", b"sip:c\r;tag=2", b'"\v" <x>;tag=\f3', b"", b'"a\\"<b>" <sip:c>'),
    (b"From", b"FROM", b"f", b"F"): (b"<sip:a@b>;tag=1", b"<a>;x;TAG = 2", b"b;tag=\r3", b"<a>\v;tag=4", b""),
    (b"Expires", b"EXPIRES", b"expires"): (b"60", b"0", b"7x", b"soon", b"9999999999", b"\v5", b"8\r"),
    (b"Contact", b"m", b"M"): (
        *(b"<sip:a@192.168.33.10:5060>;expires=9", b"<sip:a@203.0.113.1:5060>\r;expires=8", b"*"),
        *(b"<sip:a@203.0.113.1:5060>\v", b"\f<sip:a@192.168.33.10:5060>", b"a\r<sip:a@192.168.33.10:5060>"),
    ),
    (b"Via", b"VIA", b"v", b"V"): (
        *(b"SIP/2.0/UDP 192.168.33.10:5060;rport", b"SIP/2.0/UDP 203.0.113.1:5060;received=203.0.113.1;rport=5060"),
        *(b"SIP/2.0/UDP\v192.168.33.10:5060", b"SIP/2.0/UDP 203.0.113.1:5060\r;rport=5060"),
    ),
    (b"Content-Length", b"CONTENT-LENGTH", b"l", b"L"): (b"0", b"00 ", b"0\r", b"\v0", b"1", b"x"),
}
#: What stands between name and value, and behind a value.
COLONS: Final = st.sampled_from([*[b": "] * 8, b":", b" : ", b"\t:\t", b":\r\n ", b":\n\t", b"\v: ", b":\r", b""])
TAILS: Final = st.sampled_from([*[b""] * 12, b" ", b"\r", b"\r\r", b"\v", b"\f", b"\r\n ", b"\r\n\tx", b"\0"])
#: What a phone sends, and what comes back.
WHOLE: Final = st.sampled_from(
    [
        (
            *(
                b"REGISTER sip:example.com SIP/2.0",
                b"Via: SIP/2.0/UDP 192.168.33.10:5060;rport",
                b"From: <sip:a@b>;tag=1",
            ),
            *(b"To: <sip:a@b>", b"Call-ID: c", b"CSeq: 1 REGISTER", b"Contact: <sip:a@192.168.33.10:5060>"),
        ),
        (
            *(b"SIP/2.0 200 OK", b"Via: SIP/2.0/UDP 203.0.113.1:5060;rport=5060;received=203.0.113.1"),
            *(b"From: <sip:a@b>;tag=1", b"To: <sip:a@b>;tag=2", b"Call-ID: c", b"CSeq: 1 REGISTER"),
            *(b"Contact: <sip:a@203.0.113.1:5060>", b"Expires: 600"),
        ),
    ]
)


def texts() -> st.SearchStrategy[bytes]:
    """Payloads of such lines, and whole messages, some of them damaged, some with fields that are there twice."""
    return st.one_of(st.builds(_text, STARTS, LINES, ENDS, st.booleans()), messages(), mutated(), doubled())


@st.composite
def doubled(draw: st.DrawFn) -> bytes:
    """A whole message with lines of a field or two beside its own, or in their place, in any spelling and order."""
    start, *lines = draw(WHOLE)
    for names, values in draw(st.lists(st.sampled_from(list(NAMES.items())), min_size=1, max_size=2)):
        if draw(st.booleans()):
            lines = [line for line in lines if not line.startswith(names[0])]
        for _ in range(draw(st.integers(1, 3))):
            parts = draw(st.tuples(st.sampled_from(names), COLONS, st.sampled_from(values), TAILS))
            lines.insert(draw(st.integers(0, len(lines))), b"".join(parts))
    data = _text(start, lines, draw(ENDS), draw(st.integers(0, 3)) == 0)
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 7)) == 0 else data


def _text(start: bytes, lines: list[bytes], end: bytes, bare: bool) -> bytes:
    data = b"\r\n".join((start, *lines)) + end
    return data.replace(b"\r\n", b"\n") if bare else data


def torn() -> list[bytes]:
    """The torture messages of our own, whole and torn off at many places, behind each of their lines among them."""
    whole = [path.read_bytes() for path in TORTURE]
    return [
        data[:size]
        for data in whole
        for size in range(len(data) + 1)
        if size % 7 == 0 or size == len(data) or data[size - 1 : size] == b"\n"
    ]


def framed_by_machine(data: bytes) -> Message | None:
    """What machine code makes of a payload."""
    function = quick("frame")
    assert function is not None
    found: Message | None = function(data, message._STARTS, Message)
    return found


def sender_edits(framed: Message, own: bytes, port: int) -> tuple[Edits, list[int | None]] | None:
    """What an `of_sender` may find with the text b"text": None where an address isn't plain."""
    edits: Edits = []
    lifetimes = []
    for begin, places in fields.read_fields_with(framed, own):
        for kind, host, its_port, start, end, with_port, _, over_stream, lifetime_s in places:
            if host == own and not (kind == VIA and framed.status):
                if its_port != port or over_stream or not with_port:
                    return None
                edits.append((begin + start, end - start, b"text", FIELD_NAMES[kind]))
                lifetimes += [lifetime_s] if kind == CONTACT else []
    return sorted(edits), lifetimes


def recipient_edits(framed: Message, public: bytes, port: int) -> tuple[Edits, list[int | None]] | None:
    """The same of an `of_recipient`, with the text b"host:port"."""
    edits: Edits = []
    lifetimes = []
    for begin, places in fields.read_fields_with(framed, public):
        for kind, host, its_port, start, end, with_port, _, over_stream, lifetime_s in places:
            if kind == VIA and not framed.status:
                continue
            if host == public and (its_port != port or not with_port or (over_stream and kind != VIA)):
                return None
            if host == public:
                edits.append((begin + start, end - start, b"host:port", FIELD_NAMES[kind]))
                lifetimes += [lifetime_s] if kind == CONTACT else []
            if kind == VIA:
                behind = begin + end
                line_end = message.value_end(framed.data, behind, framed.head_end)
                (first, last), rport = headers.read_received_and_rport(framed.data, behind, line_end)
                if host != public or (last and framed.data[first:last] != public):
                    return None
                edits += [(first, last - first, b"host", "via-received")] if last else []
                if rport[1] and int(framed.data[slice(*rport)]) != port:
                    return None
                edits += [(rport[0], rport[1] - rport[0], b"port", "via-rport")] if rport[1] else []
    return sorted(edits), lifetimes
