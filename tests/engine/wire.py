"""Messages as tests write them: indented text with plain line ends in, the bytes of the wire out."""

from __future__ import annotations

from textwrap import dedent


def sip(text: str, **values: object) -> bytes:
    r"""Return the message that `text` shows: dedented, CRLF at line ends, a Content-Length of `#` counted.

    The text begins behind its first newline. A header without body ends at the text's last line; the blank line is
    added. Bytes above 127 are written as latin-1. `{name}` stands for one of `values`.
    """
    lines = dedent(text).removeprefix("\n").rstrip(" ")
    for name, value in values.items():
        lines = lines.replace("{" + name + "}", str(value))
    head, blank, body = lines.partition("\n\n")
    if not blank:
        head = head.removesuffix("\n")
    head = head.replace("\n", "\r\n") + "\r\n\r\n"
    body = body.replace("\n", "\r\n")
    return (head.replace(": #\r\n", f": {len(body)}\r\n") + body).encode("latin-1")


def sdp(host: str, *media: str, origin: str = "") -> str:
    """A description with session-level c= at `host`; `media` are its m= and a= lines."""
    kind = "IP6" if ":" in host else "IP4"
    lines = ["v=0", f"o=- 1 1 IN {kind} {origin or host}", "s=-", f"c=IN {kind} {host}", "t=0 0", *media]
    return "".join(f"{line}\n" for line in lines)


def audio(port: int, *lines: str) -> str:
    """An audio section's lines."""
    return "\n".join((f"m=audio {port} RTP/AVP 0", *lines))


def request(
    method: str,
    *,
    uri: str = "sip:b@203.0.113.50",
    via: str = "192.168.33.10:5060",
    call: str = "c1",
    number: int = 1,
    tags: tuple[str, str] = ("a", ""),
    contact: str | None = "<sip:a@192.168.33.10:5060>",
    more: str = "",
    body: str = "",
) -> bytes:
    """A request with everything that the engine looks at; `more` are header lines, each with its newline."""
    sender, recipient = (f";tag={tag}" if tag else "" for tag in tags)
    text = f"{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{number}{method}\n"
    return _finish(text, (sender, recipient), call, f"{number} {method}", contact, more, body)


def response(
    status: int,
    method: str,
    *,
    via: str = "203.0.113.1:5060",
    call: str = "c1",
    number: int = 1,
    tags: tuple[str, str] = ("a", "b"),
    contact: str | None = None,
    more: str = "",
    body: str = "",
) -> bytes:
    """A response; `tags` are From's and To's, so the asking side's comes first."""
    sender, recipient = (f";tag={tag}" if tag else "" for tag in tags)
    text = f"SIP/2.0 {status} Text\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{number}{method}\n"
    return _finish(text, (sender, recipient), call, f"{number} {method}", contact, more, body)


def _finish(
    text: str, tags: tuple[str, str], call: str, cseq: str, contact: str | None, more: str, body: str
) -> bytes:
    text += f"From: <sip:a@example.org>{tags[0]}\nTo: <sip:b@example.org>{tags[1]}\nCall-ID: {call}\nCSeq: {cseq}\n"
    if contact is not None:
        text += f"Contact: {contact}\n"
    text += more
    if body:
        text += "Content-Type: application/sdp\n"
    return sip(f"{text}Content-Length: #\n\n{body}")
