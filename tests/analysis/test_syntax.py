from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.analysis.exchange import INVITE, OFFER, heard, message

from sipalg.analysis.syntax import broken_in

GIVEN = message(INVITE, OFFER)[0]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (rb"(Contact: [^\r]*>)", rb"\1>", 'Contact: "David" <sip:525@192.168.20.100:5060>>'),
        (rb"(Contact: [^\r]*)>", rb"\1;>", 'Contact: "David" <sip:525@192.168.20.100:5060;>'),
        (rb"(Contact: [^\r]*)>", rb"\1", 'Contact: "David" <sip:525@192.168.20.100:5060'),
        (rb"CSeq: 101", rb"CSeq: 101.", "CSeq: 101. INVITE"),
        (rb"INVITE sip:", rb"INVITE  sip:", "start line: INVITE  sip:*98@207.252.1.148 SIP/2.0"),
        (rb"Max-Forwards: 70", rb"Max-Forwards: 7O", "Max-Forwards: 7O"),
        (rb"Supported: ", rb"Supported replaces", "header line: Supported replacesreplaces"),
        (rb"Supp", rb"S@pp", "header line: replaces"),
        (rb"c=IN", rb"c=IN IN", "SDP: c=IN IN IP4 192.168.20.100"),
        (rb"s=-", rb"-", "SDP: -"),
    ],
)
def test_what_a_strict_receiver_would_not_read(pattern: bytes, text: bytes, found: str) -> None:
    made = re.sub(pattern, text, GIVEN, count=1)
    assert broken_in(heard(GIVEN), heard(made)) == [found]


def test_what_was_broken_before_is_not_told() -> None:
    broken = GIVEN.replace(b"CSeq: 101", b"CSeq: 101.")
    assert broken_in(heard(broken), heard(broken)) == []
    assert broken_in(heard(broken), heard(GIVEN)) == []


@pytest.mark.parametrize(
    "line",
    [
        b'Contact: "A, \\"B\\"" <sip:a@b>;q=0.5, <tel:+1>;x="y;z", *',
        b"Contact: *",
        b"Contact: sip:a@[2001:db8::1]:5060;transport=tcp",
        b"Contact: A B <sips:a:p@b.example;lr?X=y>;+sip.instance=\"<urn:uuid:0>\"",
        b"Via: SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1",
        b"Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3",
        b"To: sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
        b"Call-ID: 0ha0isndaksdj99sdfafnl3lk233412@192.0.2.2",
    ],
)
def test_what_phones_may_write_is_right(line: bytes) -> None:
    made = GIVEN.replace(b"\r\nSupported", b"\r\n" + line + b"\r\nSupported")
    found = broken_in(heard(GIVEN), heard(made))
    assert found == ([] if b", *" not in line else [line.decode()])


def test_the_rfcs_flows_are_right() -> None:
    flows = Path(__file__).parents[3] / "shared/corpora/flows"
    files = sorted(flows.rglob("*.sip"))
    if not files:
        pytest.skip(f"{flows} isn't there")
    nothing = heard(b"OPTIONS sip:a SIP/2.0\r\n\r\n")
    wrong = {file.name: broken_in(nothing, heard(file.read_bytes())) for file in files}
    # Two of RFC 3515's have a placeholder where the URI would be.
    assert {text for found in wrong.values() for text in found} == {"Refer-To: (some different URI)"}
