"""A second opinion on messages: tshark's. What it reads before and after the ALG has to differ as the mappings say.

tshark knows nothing of mappings: it says which texts are URIs, hosts and ports, and the test says what each of them
has to become. So a wrong place, a wrong port or a byte too much shows even where our own reader is as wrong.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from sipalg.engine.verdict import Endpoint

VIA, MEDIA_PORT, LENGTH = "sip.Via", "sdp.media.port", "sip.Content-Length"
#: What may change: tshark's field, and the rule by which it does.
CHANGED = {
    "sip.r-uri": "request-uri",
    VIA: "via",
    "sip.contact.uri": "contact",
    "sip.Route.uri": "route",
    "sip.Record-Route.uri": "record-route",
    "sip.Path.uri": "path",
    "sdp.connection_info.address": "sdp-c",
    "sdp.owner.address": "sdp-o",
    MEDIA_PORT: "sdp-m",
    LENGTH: "content-length",
}
#: What nobody may change, as tshark reads it.
KEPT = (
    "sip.Method",
    "sip.Status-Code",
    "sip.Call-ID",
    "sip.CSeq",
    "sip.From",
    "sip.To",
    "sip.Via.branch",
    "sip.Via.transport",
    "sip.auth.uri",
    "sip.auth.digest.response",
    "sip.Subject",
    "sip.User-Agent",
    "sdp.owner.sessionid",
    "sdp.owner.username",
    "sdp.media.media",
    "sdp.media.proto",
    "sdp.media_attribute.field",
)
COMPLAINT = "_ws.malformed"
FIELDS = (*CHANGED, *KEPT, COMPLAINT)
_FIELD_END, _VALUE_END = "\x1f", "\x1e"

#: What tshark reads in one message: the values of each field, in order.
Reading = dict[str, list[str]]

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark isn't installed")


def read(messages: Sequence[bytes], path: Path) -> list[Reading]:
    """What tshark reads in each message; `path` is a file to hand them over in."""
    path.write_bytes(capture(messages))
    argv = ["tshark", "-r", str(path), "-n", "-d", "udp.port==5060,sip", "-T", "fields"]
    argv += ["-E", f"separator={_FIELD_END}", "-E", f"aggregator={_VALUE_END}", "-E", "occurrence=a"]
    argv += [word for name in FIELDS for word in ("-e", name)]
    out = subprocess.run(argv, capture_output=True, check=True).stdout.decode("utf-8", "replace")
    rows = [row.split(_FIELD_END) for row in out.split("\n")[:-1]]
    assert len(rows) == len(messages), "a row a message"
    return [
        {name: value.split(_VALUE_END) if value else [] for name, value in zip(FIELDS, row, strict=True)}
        for row in rows
    ]


def capture(messages: Sequence[bytes]) -> bytes:
    """A capture of UDP datagrams from and to port 5060, one a message, without link headers."""
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)]
    for second, message in enumerate(messages):
        udp = struct.pack("!HHHH", 5060, 5060, 8 + len(message), 0) + message
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
        parts.append(struct.pack("<IIII", second, 0, len(ip + udp), len(ip + udp)) + ip + udp)
    return b"".join(parts)


def check_reading(before: Reading, after: Reading, own: str, written: Mapping[Endpoint, Endpoint]) -> Counter[str]:
    """Hold what is read after the ALG against what was read before it; returns how many values of each kind differ.

    `own` is the address that was to be replaced and `written` what each of its ports has to be written as. A value is
    either the same or what it has to become.
    """
    changed: Counter[str] = Counter()
    for name in KEPT:
        assert after[name] == before[name], name
    for name, rule in CHANGED.items():
        for one, other in zip(before[name], after[name], strict=True):
            if one != other:
                changed[rule] += 1
                if name == LENGTH:
                    continue
                if name == MEDIA_PORT:
                    assert other == str(written[Endpoint(own, int(one))].port), f"m= {one} became {other}"
                else:
                    expected = _replaced(one, own, written, with_port=name.startswith("sip."))
                    assert other == expected, f"{name}: {one} became {other}, not {expected}"
    assert after[VIA][1:] == before[VIA][1:], "only the topmost Via is the sender's"
    assert bool(after[COMPLAINT]) == bool(before[COMPLAINT])
    return changed


def expected_changes(rules: Counter[str], unread: tuple[str, ...] = ()) -> Counter[str]:
    """How many values of each kind tshark has to find changed, by the rules that the ALG went by.

    A Via is one value to it, with all of its parameters; `unread` are rules of fields that it doesn't read.
    """
    expected = Counter({rule: count for rule, count in rules.items() if rule in CHANGED.values()})
    if any(rule.startswith("via") for rule in rules):
        expected["via"] = 1
    return Counter({rule: count for rule, count in expected.items() if rule not in unread})


def _replaced(text: str, own: str, written: Mapping[Endpoint, Endpoint], *, with_port: bool) -> str:
    """A text as it has to be with the address `own` replaced where a host stands, its port 5060 where none is."""

    def public(match: re.Match[str]) -> str:
        received, port = match.groups()
        found = next(public for private, public in written.items() if received or private.port == int(port or 5060))
        host = f"[{found.host}]" if ":" in found.host and with_port else found.host
        return f"{received or ''}{host}{f':{found.port}' if with_port and not received else ''}"

    address = f"[{own}]" if ":" in own and with_port else own
    # Only the first of a line's Vias counts; tshark writes the line ends of folded texts as \\r\\n.
    first, comma, others = text.partition(", SIP")
    pattern = rf"(received=|(?<![\w.=-])){re.escape(address)}(?![\w.@-])(?:[ \\rn]*:[ \\rn]*([0-9]+))?"
    return re.sub(pattern, public, first, count=2) + comma + others
