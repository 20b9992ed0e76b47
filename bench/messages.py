"""The text of one message of one phone, or of its server, with holes where the phone's addresses stand.

Written as phones and servers write them, from the phone's habits; RFC 3261 (sections 7.3, 20 and 25), RFC 3581 for
`rport` and RFC 4566 for the bodies. It makes what comes to the router, and knows nothing of what the router does.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bench.phones import MEDIA_SERVER, SERVER, Phone
from bench.template import ADDRESS, HOST, LENGTH, RECEIVED, RPORT, RTCP, RTP, SEQUENCE, Template

_ADDRESS: Final = ADDRESS.decode()
_HOST: Final = HOST.decode()
_SEQUENCE: Final = SEQUENCE.decode()
_VIDEO: Final = ("a=rtpmap:34 H263/90000", "a=rtpmap:102 H264/90000", "a=fmtp:102 profile-level-id=42801F")


class Kind(NamedTuple):
    """What a message is. `leaves`: from the phone. `status` 0: a request. `called`: the server began the dialog."""

    leaves: bool
    method: str
    status: int = 0
    called: bool = False
    sdp: bool = False
    authorized: bool = False
    ice: bool = False


#: Every kind of message, by the name that the results call it by.
KINDS: Final = {
    "REGISTER": Kind(True, "REGISTER"),
    "401": Kind(False, "REGISTER", 401),
    "REGISTER auth": Kind(True, "REGISTER", authorized=True),
    "200 REGISTER": Kind(False, "REGISTER", 200, authorized=True),
    "INVITE": Kind(True, "INVITE", sdp=True),
    "ICE INVITE": Kind(True, "INVITE", sdp=True, ice=True),
    "100": Kind(False, "INVITE", 100),
    "180": Kind(False, "INVITE", 180),
    "200 INVITE": Kind(False, "INVITE", 200, sdp=True),
    "ACK": Kind(True, "ACK"),
    "BYE": Kind(True, "BYE"),
    "200 BYE": Kind(False, "BYE", 200),
    "in INVITE": Kind(False, "INVITE", called=True, sdp=True),
    "out 180": Kind(True, "INVITE", 180, called=True),
    "out 200 INVITE": Kind(True, "INVITE", 200, called=True, sdp=True),
    "in ACK": Kind(False, "ACK", called=True),
    "in BYE": Kind(False, "BYE", called=True),
    "out 200 BYE": Kind(True, "BYE", 200, called=True),
    "OPTIONS": Kind(True, "OPTIONS"),
    "200 OPTIONS": Kind(False, "OPTIONS", 200),
    "in OPTIONS": Kind(False, "OPTIONS", called=True),
    "out 200 OPTIONS": Kind(True, "OPTIONS", 200, called=True),
}
_REASONS: Final = {100: "Trying", 180: "Ringing", 200: "OK", 401: "Unauthorized"}
#: The transaction's number in the branch: a reply has its request's.
_TRANSACTIONS: Final = {"REGISTER": 1, "INVITE": 3, "ACK": 4, "BYE": 5, "OPTIONS": 6}
_IN_DIALOG: Final = ("ACK", "BYE")


def transaction(kind: Kind) -> int:
    """Return the two digits that tell a phone's transactions apart in the branch (0–99)."""
    return _TRANSACTIONS[kind.method] + kind.authorized


def build(phone: Phone, name: str) -> Template:
    """Return the message `name` (a key of KINDS) that this phone sends or gets."""
    kind = KINDS[name]
    body = (_offer(phone, kind.ice) if kind.leaves else _server_sdp(phone)) if kind.sdp else ""
    headers = _headers(phone, kind)
    if kind.leaves and phone.shuffled:
        headers = [header for _, header in sorted(zip(phone.sort_keys, headers, strict=False))]
    if body:
        headers.append(("Content-Type", "application/sdp"))
    headers.append(("Content-Length", LENGTH.decode()))
    lines = [_start_line(phone, kind)]
    lines += [(phone.name(name) if kind.leaves else name + ": ") + value for name, value in headers]
    return Template("\r\n".join([*lines, "", ""]).encode(), body.encode())


def _start_line(phone: Phone, kind: Kind) -> str:
    if kind.status:
        return f"SIP/2.0 {kind.status} {_REASONS[kind.status]}"
    if not kind.leaves:
        return f"{kind.method} sip:{phone.user}@{_ADDRESS}{_contact_extra(phone)} SIP/2.0"
    if kind.method in _IN_DIALOG:
        return f"{kind.method} sip:gw@{SERVER}:5060;transport=udp SIP/2.0"
    if kind.method == "INVITE":
        return f"INVITE sip:{phone.index + 7000}@{phone.domain} SIP/2.0"
    return f"{kind.method} sip:{phone.domain} SIP/2.0"


def _headers(phone: Phone, kind: Kind) -> list[tuple[str, str]]:
    headers = [("Via", via) for via in _vias(phone, kind)]
    dialog = kind.method in {"INVITE", *_IN_DIALOG}
    if dialog and phone.index % 3 == 0 and (kind.status or not kind.leaves):
        headers.append(("Record-Route", f"<sip:{SERVER};lr;ftag={phone.tag}>"))
    if kind.leaves and not kind.status:
        headers.append(("Max-Forwards", "70"))
        if kind.method in _IN_DIALOG and phone.index % 3 == 0:
            headers.append(("Route", f"<sip:{SERVER};lr;ftag={phone.tag}>"))
    headers += _names(phone, kind)
    headers.append(("CSeq", _SEQUENCE + ("1 " if kind.method == "BYE" else " ") + kind.method))
    if _has_contact(kind):
        headers.append(("Contact", _contact(phone, kind) if kind.leaves or kind.method == "REGISTER"
                        else f"<sip:gw@{SERVER}:5060;transport=udp>"))  # fmt: skip
    headers += _extras(phone, kind)
    return headers


def _vias(phone: Phone, kind: Kind) -> list[str]:
    branch = f"z9hG4bK{phone.index:05d}{transaction(kind):02d}{_SEQUENCE}"
    if kind.called:
        vias = [f"SIP/2.0/UDP {SERVER}:5060;branch={branch}.srv;rport=5060"]
        forwarded = ["SIP/2.0/UDP 10.0.0.9:5062;branch=z9hG4bKx;received=198.51.100.7"]
        return vias + forwarded if phone.index % 4 == 0 else vias
    branch = f";branch={branch}{phone.branch_tail}"
    rport, received = (";rport" if phone.rport else ""), ""
    if kind.status and phone.rport:
        rport += f"={RPORT.decode()}"
    if kind.status and (phone.rport or phone.index % 2):
        received = f";received={RECEIVED.decode()}"
    params = rport + branch if phone.rport == "first" else branch + rport
    return [f"SIP/2.0/UDP{phone.via_gap if kind.leaves else ' '}{_ADDRESS}{params}{received}"]


def _names(phone: Phone, kind: Kind) -> list[tuple[str, str]]:
    """From, To and Call-ID, which may name the private address, and which nobody may touch."""
    ours = f"{phone.display}<sip:{phone.user}@{phone.domain}>"
    if kind.method != "REGISTER" and phone.index % 10 == 9:
        ours = f"{phone.display}<sip:{phone.user}@{phone.private.host}>"
    theirs = f"<sip:{phone.index + 7000}@{phone.domain}>"
    if kind.method == "REGISTER":
        theirs, call_id = ours, f"reg{phone.tag}{phone.call_suffix}"
    else:
        call_id = f"{_SEQUENCE}-{kind.called:d}{phone.tag}{phone.call_suffix}"
    answered = kind.status > 100 or kind.method in _IN_DIALOG
    if kind.called:
        to = ours + (f";tag={phone.tag}" if answered else "")
        return [("From", f"{theirs};tag=srv{phone.tag}"), ("To", to), ("Call-ID", call_id)]
    to = theirs + (f";tag=srv{phone.tag}" if answered else "")
    return [("From", f"{ours};tag={phone.tag}"), ("To", to), ("Call-ID", call_id)]


def _has_contact(kind: Kind) -> bool:
    if kind.method == "REGISTER":
        return kind.status in {0, 200}
    return (kind.method == "INVITE" and kind.status != 100) or (kind.method == "OPTIONS" and not kind.status)


def _contact_extra(phone: Phone) -> str:
    return "" if phone.contact_form == "{}" else phone.contact_extra


def _contact(phone: Phone, kind: Kind) -> str:
    uri = f"sip:{phone.user}@{_ADDRESS}{_contact_extra(phone)}"
    text = f'"{phone.user}, desk" <{uri}>' if phone.contact_form == "display" else phone.contact_form.format(uri)
    if phone.instance:
        text += f";{phone.instance}"
    if kind.method != "REGISTER":
        return text
    if kind.leaves:
        return text + (f";expires={phone.expires}" if phone.index % 2 else "")
    other = f", <sip:{phone.user}@198.51.100.7:5070>;expires=119" if phone.index % 7 == 0 else ""
    return f"{text};expires={phone.expires}{other}"


def _extras(phone: Phone, kind: Kind) -> list[tuple[str, str]]:
    headers = []
    if kind.method == "REGISTER" and kind.leaves:
        headers.append(("Expires", str(phone.expires)))
    if kind.authorized and kind.leaves:
        headers.append(("Authorization", f'Digest username="{phone.user}", realm="{phone.domain}", nonce="{phone.tag}'
                        f'/bFGbGXwqW0ThQ", uri="sip:{phone.domain}", response="6629fae49393a05397450978507c4ef1", '
                        'algorithm=MD5, qop=auth, nc=00000001, cnonce="0a4f113b"'))  # fmt: skip
    if kind.status == 401:
        headers.append(("WWW-Authenticate", f'Digest realm="{phone.domain}", nonce="{phone.tag}/bFGbGXwqW0ThQ", '
                        'qop="auth"'))  # fmt: skip
    if kind.leaves:
        headers.append(("User-Agent", phone.agent))
        headers += [("Allow", phone.allow)] if kind.method in {"INVITE", "REGISTER"} else []
        headers += [("Supported", phone.supported)] if phone.supported else []
    else:
        headers.append(("Server", f"Switch 5.{phone.index % 9}"))
    return headers


def _offer(phone: Phone, ice: bool) -> str:
    """Return the phone's SDP, offer or answer; every address and port in it is a hole."""
    lines = ["v=0", f"o={phone.tag if phone.index % 2 else '-'} {phone.index} 1 IN IP4 {_HOST}", "s=call"]
    lines += [f"c=IN IP4 {_HOST}"] if phone.session_connection else []
    lines.append("t=0 0")
    for stream in range(phone.streams):
        if stream == 0:
            lines.append(f"m=audio {RTP[0].decode()} RTP/AVP {' '.join(number for number, _ in phone.codecs)} 101")
        else:
            lines.append(f"m=video {RTP[stream].decode()} RTP/AVP 34 102")
        lines += [] if phone.session_connection else [f"c=IN IP4 {_HOST}"]
        if stream == 0:
            lines += [f"a=rtpmap:{number} {name}" for number, name in phone.codecs]
            lines += ["a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=ptime:20"]
        else:
            lines += _VIDEO
        if phone.rtcp_line:
            tail = f" IN IP4 {_HOST}" if phone.rtcp_line == "address" else ""
            lines.append(f"a=rtcp:{RTCP[stream].decode()}{tail}")
        lines += _ice(phone, stream) if ice else []
        lines.append("a=sendrecv")
    return "\r\n".join([*lines, ""])


def _ice(phone: Phone, stream: int) -> list[str]:
    """Return what a browser's stream says beside: its candidates (those of IPv4 are holes) and its sources."""
    lines = [
        f"a=ice-ufrag:{phone.tag[:4]}",
        f"a=ice-pwd:{phone.tag}{'x' * 24}",
        "a=setup:actpass",
        "a=fingerprint:sha-256 " + ":".join(f"{(phone.index * 7 + byte * 13) % 256:02X}" for byte in range(32)),
        f"a=candidate:1 1 UDP 2122252543 {_HOST} {RTP[stream].decode()} typ host generation 0 network-id 1",
        f"a=candidate:1 2 UDP 2122252542 {_HOST} {RTCP[stream].decode()} typ host generation 0 network-id 1",
    ]
    lines += [f"a=candidate:{2 + one} {1 + one % 2} UDP {2122187007 - one} 2001:db8:{phone.index:x}::{one + 1:x} "
              f"{40000 + 2 * one} typ host generation 0 network-id 2" for one in range(6)]  # fmt: skip
    source = 1_000_000 + phone.index
    lines += [f"a=ssrc:{source + one} {key}" for one in range(8)
              for key in (f"cname:{phone.tag}{phone.tag}", f"msid:stream{phone.tag} track{one}")]  # fmt: skip
    return lines


def _server_sdp(phone: Phone) -> str:
    """Return the server's SDP; all of it stays as it is."""
    lines = ["v=0", f"o=gw 77{phone.index} 1 IN IP4 {SERVER}", "s=-", f"c=IN IP4 {MEDIA_SERVER}", "t=0 0"]
    for stream in range(phone.streams):
        media = f"audio {server_media(phone)[0]} RTP/AVP 8 0 101" if stream == 0 else (
            f"video {server_media(phone)[stream]} RTP/AVP 34")  # fmt: skip
        lines += [f"m={media}", "a=sendrecv"]
    return "\r\n".join([*lines, ""])


def server_media(phone: Phone) -> tuple[int, ...]:
    """Return the server's media ports in its calls with this phone."""
    return tuple(20_000 + phone.index * 4 % 40_000 + 2 * stream for stream in range(phone.streams))
