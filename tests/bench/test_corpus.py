"""The corpus: varied, the same for the same seed, and right in what it calls right."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from bench.corpus import EXCHANGES, Corpus, garbage, outside
from bench.messages import KINDS
from bench.template import SEQUENCE_FIRST

CORPUS = Corpus(7, 120)
OUTSIDE = outside(23456, (30000, 30002))


@pytest.mark.parametrize("kind", KINDS)
def test_content_length_is_the_bodys(kind: str) -> None:
    for phone in CORPUS.phones:
        for text in (CORPUS.before(phone, kind, OUTSIDE, SEQUENCE_FIRST), CORPUS.after(phone, kind, OUTSIDE, 10**7)):
            head, _, body = text.partition(b"\r\n\r\n")
            found = re.findall(rb"(?im)^(?:content-length|l)[ ]*:[ ]*(\d+)$", head.replace(b"\r", b""))
            assert found == [b"%d" % len(body)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_hole_is_left_open(kind: str) -> None:
    for phone in CORPUS.phones:
        assert not re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f]", CORPUS.before(phone, kind, OUTSIDE, 10**7))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].leaves])
def test_the_private_address_goes_but_for_names(kind: str) -> None:
    for phone in CORPUS.phones:
        host = phone.private.host.encode()
        kept = rb"(?im)^(?:call-id|i|from|f|to|t)\s*:.*$"
        assert host not in re.sub(kept, b"", CORPUS.after(phone, kind, OUTSIDE, 10**7))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not KINDS[kind].leaves])
def test_the_phone_sees_no_public_address(kind: str) -> None:
    for phone in CORPUS.phones:
        assert b"203.0.113.1:" not in CORPUS.after(phone, kind, OUTSIDE, 10**7)
        assert b"203.0.113.1;" not in CORPUS.after(phone, kind, OUTSIDE, 10**7)


def test_the_seed_decides() -> None:
    again, other = Corpus(7, 120), Corpus(8, 120)
    texts = [[c.before(p, "INVITE", OUTSIDE, 10**7) for p in c.phones] for c in (CORPUS, again, other)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_phones_differ() -> None:
    assert len({phone.private for phone in CORPUS.phones}) == 120
    lengths = {len(CORPUS.before(phone, "REGISTER", OUTSIDE, 10**7)) for phone in CORPUS.phones}
    assert len(lengths) > 60
    assert len({phone.spelling for phone in CORPUS.phones}) == 4


def test_the_loops_file_holds_every_entry(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    assert CORPUS.write_loop(path, EXCHANGES["mixed"]) == 360
    data = path.read_bytes()
    assert data[:8] == b"SIPLOOP1"
    offset, seen = 16, 0
    while offset < len(data):
        phone, number, address, port, request, reply = struct.unpack_from("<II4sIII", data, offset)
        offset += 24
        assert ".".join(map(str, address)) == CORPUS.phones[phone].private.host
        assert port == CORPUS.phones[phone].private.port
        assert b"z9hG4bK%05d%02d\x0e" % (phone, number) in data[offset : offset + request]
        assert data[offset + request : offset + request + 8] == b"SIP/2.0 "
        offset += request + reply
        seen += 1
    assert (offset, seen) == (len(data), 360)


def test_garbage_is_the_same_for_the_same_seed() -> None:
    assert garbage(1, 50) == garbage(1, 50)
    assert all(garbage(1, 50))
