"""SIP messages for hypothesis: whole ones of great variety, and such with bytes changed, lost or doubled."""

from __future__ import annotations

from hypothesis import strategies as st

OWN = "192.168.33.10"
OTHER = "192.168.33.11"
PUBLIC = "203.0.113.1"
#: The address that puts a call on hold.
ZERO = ".".join("0000")
HOSTS = st.sampled_from([OWN, OWN, OWN, OTHER, PUBLIC, "10.0.0.9", "phone.lan", "203.0.113.50", ZERO, "[2001:db8::1]"])
PORTS = st.sampled_from(["", ":5060", ":5070", ":16384", ":16385", ":80", ":65535", ":99999", ":0"])
MEDIA_PORTS = st.sampled_from([0, 9, 900, 10000, 10001, 10002, 16384, 16386, 5060, 65534, 65535, 65536])
METHODS = st.sampled_from(
    [
        "INVITE",
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "REGISTER",
        "REGISTER",
        "UPDATE",
        "PRACK",
        "INFO",
        "MESSAGE",
        "REFER",
        "NOTIFY",
    ]
)
TAGS = st.sampled_from(["", ";tag=a", ";tag=b"])


@st.composite
def uris(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(["sip:", "sip:", "sip:", "sips:", "tel:", "SIP:"]))
    user = draw(st.sampled_from(["", "a@", "192.168.33.10@", "a:b@", "%40@"]))
    more = draw(
        st.sampled_from(
            [
                "",
                ";lr",
                ";transport=tcp",
                ";transport=udp",
                "?Replaces=192.168.33.10",
                ";x=203.0.113.1",
                ";maddr=192.168.33.10",
                ";maddr=203.0.113.1",
            ]
        )
    )
    return f"{scheme}{user}{draw(HOSTS)}{draw(PORTS)}{more}"


@st.composite
def addresses(draw: st.DrawFn) -> str:
    form = draw(
        st.sampled_from(["<{}>", "{}", '"A, \\"B" <{}>;expires=60', "A <{}>;q=0.5;expires=0", "<{}>\r\n ;x", "*"])
    )
    return form.format(draw(uris()))


@st.composite
def descriptions(draw: st.DrawFn) -> str:
    def connection() -> str:
        host = draw(HOSTS)
        return f"c=IN IP4 {host}\r\n" if ":" not in host else "c=IN IP6 ::\r\n"

    lines = f"v=0\r\no=- 1 1 IN IP4 {draw(HOSTS)}\r\ns=-\r\n"
    if draw(st.integers(0, 5)):
        lines += connection()
    lines += "t=0 0\r\n"
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(
            st.sampled_from(
                [
                    "audio {} RTP/AVP 0",
                    "video {} RTP/SAVPF 31",
                    "image {} udptl t38",
                    "message {} TCP/MSRP *",
                    "audio {}/2 RTP/AVP 0",
                ]
            )
        )
        lines += f"m={kind.format(draw(MEDIA_PORTS))}\r\n"
        if not draw(st.integers(0, 3)):
            lines += connection()
        match draw(st.integers(0, 8)):
            case 0:
                lines += f"a=rtcp:{draw(MEDIA_PORTS)}\r\n"
            case 1:
                lines += f"a=rtcp:{draw(MEDIA_PORTS)} IN IP4 {draw(HOSTS)}\r\n"
            case 2:
                lines += "a=rtcp-mux\r\n"
            case 3 if draw(st.booleans()):
                kind = draw(st.sampled_from(["host", "host", "host raddr 192.168.33.10 rport 10002", "srflx"]))
                lines += f"a=candidate:1 1 UDP 1 {draw(HOSTS)} {draw(MEDIA_PORTS)} typ {kind}\r\n"
            case 4:
                lines += f"a=remote-candidates:1 {draw(HOSTS)} {draw(MEDIA_PORTS)}\r\n"
    return lines


@st.composite
def parts(draw: st.DrawFn, body: str) -> str:
    """A multipart body of one description or two, one of them perhaps for early media or in a multipart of its own."""
    head = draw(st.sampled_from(["", "Content-Length: {}\r\n", "Content-Disposition: early-session\r\n"]))
    text = f"--x\r\nContent-Type: application/sdp\r\n{head.format(len(body))}\r\n{body}"
    if draw(st.booleans()):
        other = draw(descriptions())
        inner = f"--y\r\nContent-Type: application/sdp\r\nl:{len(other)}\r\n\r\n{other}--y--\r\n"
        length = draw(st.sampled_from(["", f"Content-Length: {len(inner)}\r\n"]))
        text += f"--x\r\nContent-Type: multipart/alternative;boundary=y\r\n{length}\r\n{inner}"
    return f"{text}--x--\r\n"


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message as some phone or server might send it."""
    method = draw(METHODS)
    number = draw(st.integers(1, 3))
    if draw(st.booleans()):
        text = f"{method} {draw(uris())} SIP/2.0\r\n"
    else:
        text = f"SIP/2.0 {draw(st.sampled_from([100, 180, 183, 200, 200, 200, 202, 302, 401, 487, 488]))} Text\r\n"
    fields = [
        f"From: <sip:a@{OWN}>{draw(TAGS)}",
        f"To: <sip:b@{PUBLIC}>{draw(TAGS)}",
        f"Call-ID: {draw(st.sampled_from(['c1', 'c2', '1@192.168.33.10']))}",
        f"CSeq: {number} {method}",
    ]
    via = draw(
        st.sampled_from(["Via: SIP/2.0/UDP {}", "v:SIP/2.0/UDP {}", "Via: SIP / 2.0 / UDP {}", "Via: SIP/2.0/TCP {}"])
    )
    parameters = draw(
        st.sampled_from(
            ["", ";rport", f";received={PUBLIC};rport=5060", ";rport=16384", f", SIP/2.0/UDP {PUBLIC}:5060;x"]
        )
    )
    fields += [via.format(f"{draw(HOSTS)}{draw(PORTS)};branch=z9hG4bK{number}{parameters}")] * draw(st.integers(0, 2))
    names = [
        "Contact",
        "Contact",
        "m",
        "Route",
        "Record-Route",
        "Path",
        "Service-Route",
        "Refer-To",
        "Referred-By",
        "r",
    ]
    for name in draw(st.lists(st.sampled_from(names), max_size=4)):
        values = draw(st.lists(addresses(), min_size=1, max_size=3))
        fields.append(f"{name}: {', '.join(values)}")
    fields += draw(
        st.lists(
            st.sampled_from(["Expires: 0", "Expires: 3600", "Session-Expires: 90", "X-A: 192.168.33.10:5060"]),
            max_size=2,
        )
    )
    body = ""
    if draw(st.integers(0, 2)):
        body = draw(descriptions())
        multipart = not draw(st.integers(0, 4))
        fields.append("Content-Type: " + ("multipart/mixed;boundary=x" if multipart else "application/sdp"))
        if multipart:
            body = draw(parts(body))
    fields = draw(st.permutations(fields))
    ends = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"]))
    if ends == "\n":
        body = body.replace("\r\n", "\n")
    length = draw(st.sampled_from(["Content-Length: {}", "l:{}", "Content-Length : {} ", ""]))
    if length:
        fields.append(length.format(len(body)))
    text += "\r\n".join(fields) + "\r\n\r\n"
    stray = draw(st.sampled_from(["", "", "", "\r\n", "c=IN IP4 192.168.33.10"])) if length else ""
    return (text.replace("\r\n", ends) + body + stray).encode()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message with some of its bytes changed."""
    data = draw(messages())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        piece = draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(
                    [
                        b"\r\n",
                        b"\n",
                        b",",
                        b"<",
                        b">",
                        b'"',
                        b";",
                        b":",
                        b"\0",
                        b" ",
                        b"0",
                        OWN.encode(),
                        PUBLIC.encode(),
                    ]
                ),
                st.just(data[start:end] * 2),
            )
        )
        data = data[:start] + piece + data[end:]
    return data
