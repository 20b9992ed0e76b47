"""The rest of the public test material through the engine: SDP vectors, parser and fuzz seeds, the captures' payloads.

Each input is played as the fuzzer plays it, so the rules are the fuzzer's: nothing raises, the edits are of addresses
only, a retransmission gives the same, nothing stays. What is edited, tshark reads as the address that was meant.
The example flows have their test in engine/test_there_and_back.py, the SIPp scenarios in live/test_sipp_corpus.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.engine import check_engine
from tests.torture.independent import check_reading, expected_changes, needs_tshark, read
from tests.torture.judged import Row, judge

from sipalg.analysis.files import Captures

CORPORA = Path(__file__).parents[2] / "../shared/corpora"
OWN = "192.168.33.10"
needs_corpora = pytest.mark.skipif(
    not CORPORA.is_dir(), reason="the public test material isn't beside the checkout (../shared/corpora)"
)


def vectors() -> list[tuple[str, bytes]]:
    """The SDP vectors, each in an INVITE: as they are, and with their IPv4 addresses made the sender's own."""
    found = []
    for path in sorted((CORPORA / "sdp").rglob("*.sdp")):
        body = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for name, changed in (("", body), ("-own", re.sub(rb"(?<=IN IP4 )[0-9.]+", OWN.encode(), body))):
            head = (
                f"INVITE sip:b@203.0.113.50 SIP/2.0\r\nVia: SIP/2.0/UDP {OWN};branch=z9hG4bK1\r\nCall-ID: 1\r\n"
                "From: <sip:a@example.org>;tag=a\r\nTo: <sip:b@example.org>\r\nCSeq: 1 INVITE\r\n"
                f"Content-Type: application/sdp\r\nContent-Length: {len(changed)}\r\n\r\n"
            )
            found.append((path.stem + name, head.encode() + changed))
    return found


def seeds() -> Iterator[bytes]:
    """Parser and fuzz seeds; the text file holds many messages, each behind a line of `=` and one with its name."""
    for path in sorted((CORPORA / "seeds").rglob("*")):
        if path.suffix == ".txt":
            for piece in re.split(rb"={20,}\r?\n", path.read_bytes()):
                yield piece.partition(b"\n\n")[2] if b"\n\n" in piece else piece
        elif path.is_file():
            yield path.read_bytes()


@needs_corpora
@needs_tshark
def test_sdp_vectors(tmp_path: Path) -> None:
    found = vectors()
    judged = [judge(Row(name, "out", OWN, "", "", ""), message) for name, message in found]
    before = read([one.before for one in judged], tmp_path / "before.pcap")
    after = read([one.after for one in judged], tmp_path / "after.pcap")
    edited = 0
    for (name, _), one, old, new in zip(found, judged, before, after, strict=True):
        expected = expected_changes(one.rules)
        changed = check_reading(old, new, OWN, one.written)
        assert {rule for rule in changed if expected[rule] == changed[rule]} == set(expected), name
        edited += "sdp-c" in changed
    assert edited > 5


@needs_corpora
def test_seeds() -> None:
    found = list(seeds())
    assert len(found) > 20
    for seed in found:
        check_engine(seed)
        for at in range(0, min(len(seed), 1000), 101):
            check_engine(seed[:at])


@needs_corpora
def test_payloads_of_captures() -> None:
    played = 0
    for path in sorted(path for path in (CORPORA / "pcaps").rglob("*") if path.is_file()):
        payloads = {located.message.data for located in Captures([path]).messages()}
        for payload in sorted(payloads)[:50]:
            played += 1
            check_engine(payload)
            # The same as if it came from the phone that the fuzzer knows, and for it.
            for host in set(re.findall(rb"(?<![\d.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\d.])", payload)):
                check_engine(payload.replace(host, OWN.encode()))
    assert played > 100
