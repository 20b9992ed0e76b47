"""SIP messages and SDP as the lab's PBX reads and writes them: whole, by lines, nothing compact or folded.

It is a program of the lab's own and shares no code with the codec: a fault there mustn't hide itself here. On a
packet's way this is in the PBX, on one end of the wire.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Self

from sipalg.engine.verdict import Endpoint

SIP_PORT: Final = 5060
_REASONS: Final = {100: "Trying", 180: "Ringing", 200: "OK", 404: "Not Found", 481: "No Such Call", 501: "Not Here"}
#: What a response takes from its request (RFC 3261, section 8.2.6.2).
_COPIED: Final = ("Via", "Record-Route", "From", "To", "Call-ID", "CSeq")


class SipMessage(NamedTuple):
    """One message: its start line, its header fields in their order, its body."""

    start_line: str
    fields: tuple[tuple[str, str], ...]
    body: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Read a datagram; None if it is no SIP message (a keep-alive, for one)."""
        head, _, body = data.decode(errors="replace").partition("\r\n\r\n")
        start_line, *lines = head.split("\r\n")
        if not re.match(r"SIP/2\.0 \d{3} |[A-Z]+ \S+ SIP/2\.0$", start_line):
            return None
        parted = (line.partition(":") for line in lines)
        return cls(start_line, tuple((name.strip(), value.strip()) for name, _, value in parted), body)

    def encode(self) -> bytes:
        """Write it, with the length of its body."""
        fields = [*self.fields, ("Content-Length", str(len(self.body.encode())))]
        if self.body:
            fields.insert(-1, ("Content-Type", "application/sdp"))
        return "\r\n".join([self.start_line, *(f"{n}: {v}" for n, v in fields), "", self.body]).encode()

    def all(self, name: str) -> list[str]:
        """Give every value of a header field, top first."""
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def one(self, name: str) -> str:
        """Give the topmost value of a header field, "" if there is none."""
        return next(iter(self.all(name)), "")

    @property
    def status(self) -> int:
        """The status code of a response, 0 for a request."""
        return int(self.start_line.split()[1]) if self.start_line.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method of a request, or of the request that a response answers."""
        return self.one("CSeq").rpartition(" ")[2] if self.status else self.start_line.partition(" ")[0]

    @property
    def number(self) -> int:
        """The number in CSeq."""
        return int(self.one("CSeq").partition(" ")[0])

    @property
    def uri(self) -> str:
        """The request-URI of a request."""
        return self.start_line.split()[1]

    @property
    def branch(self) -> str:
        """The topmost Via's branch, which names the transaction."""
        return parameter(self.one("Via"), "branch")

    @property
    def source(self) -> str:
        """The address that a request came from, as the transactions noted it in the topmost Via."""
        return parameter(self.one("Via"), "received")

    @property
    def media(self) -> Endpoint | None:
        """Where its SDP wants the first media line's packets; None without SDP."""
        address = re.search(r"^c=IN IP4 (\S+)", self.body, re.MULTILINE)
        port = re.search(r"^m=audio (\d+) ", self.body, re.MULTILINE)
        return Endpoint(address[1], int(port[1])) if address and port else None


def response(request: SipMessage, status: int, tag: str, *fields: tuple[str, str], body: str = "") -> SipMessage:
    """Answer a request; `tag` goes into To unless there is one."""
    copied = [field for field in request.fields if field[0].title() in {name.title() for name in _COPIED}]
    tagged = [
        (name, f"{value};tag={tag}" if name.lower() == "to" and ";tag=" not in value and status > 100 else value)
        for name, value in copied
    ]
    return SipMessage(f"SIP/2.0 {status} {_REASONS.get(status, 'Refused')}", (*tagged, *fields), body)


def sdp(own: str, media: Endpoint, version: int) -> str:
    """Describe one stream of PCMU at `media`; `own` is the address of who says so, `version` counts its offers."""
    lines = ["v=0", f"o=- 4713 {version} IN IP4 {own}", "s=-", f"c=IN IP4 {media.host}", "t=0 0"]
    lines += [f"m=audio {media.port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", ""]
    return "\r\n".join(lines)


def uri_of(value: str) -> str:
    """Give the URI of a Contact, To or Record-Route, without what stands around it."""
    found = re.search(r"<([^>]*)>", value)
    return found[1] if found else value.partition(";")[0].strip()


def user_of(uri: str) -> str:
    """Give the user part of a URI, "" if it has none."""
    return uri.partition("sip:")[2].rpartition("@")[0]


def address_of(uri: str) -> Endpoint:
    """Give the address that a URI leads to; hosts are IPv4 literals here."""
    host, _, port = re.split(r"[;?>]", uri.partition("sip:")[2].rpartition("@")[2])[0].partition(":")
    return Endpoint(host, int(port or SIP_PORT))


def parameter(value: str, name: str) -> str:
    """Give a parameter of a header field's value, "" if it isn't there."""
    found = re.search(rf";\s*{name}=([^;,\s]+)", value)
    return found[1] if found else ""
