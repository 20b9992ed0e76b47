"""The interpreted build's short way through a phone's description against the long one: the same, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipalg.engine import rewrite_sdp
from sipalg.engine.direct_media import Others
from sipalg.engine.mappings import Mappings
from sipalg.engine.plain_bodies import edits_of
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import UDP, Endpoint, Purpose

P, N = "192.168.33.10", "203.0.113.1"
NOBODY: Final = Others(lambda _: False, lambda _: False)
USUAL: Final = f"v=0\r\no=- 1 1 IN IP4 {P}\r\ns=-\r\nc=IN IP4 {P}\r\nt=0 0\r\n"
#: A port that the phone has already, and what it is for.
Had = tuple[int, Purpose]


class Side:
    """One phone's tables, of a router with few ports for media; `taken` says which ports others have."""

    def __init__(self, had: Sequence[Had], taken: Sequence[int], last: int) -> None:
        known = Settings(frozenset({"lan0"}), N, N, media_ports=(16384, last))
        self.transaction = Transaction()
        self.mappings = Mappings(known, lambda _, port: port in taken)
        for port, purpose in had:
            self.mappings.open(self.transaction, UDP, Endpoint(P, port), purpose, "lan0")
        self.transaction.commit()
        self.transaction.events.clear()

    def state(self) -> object:
        """All that a description may change."""
        entries = self.mappings.entries.items()
        return (
            [(key, entry.mapping, entry.state(), entry.wakes_at) for key, entry in entries],
            self.transaction.commands,
            self.transaction.events,
        )


def compare(
    body: str, had: Sequence[Had] = (), taken: Sequence[int] = (), last: int = 16400, own: str = P, public: str = N
) -> bool:
    """Both ways, and the long one behind a short one that gave up; whether the short one knew."""
    data = body.encode("latin-1")
    whole, pieces = Side(had, taken, last), Side(had, taken, last)
    span, host, advertised = (0, len(data)), own.encode(), public.encode()
    place = (data, span, host, advertised, "lan0")
    expected = rewrite_sdp.outward(whole.transaction, whole.mappings, *place, NOBODY)
    found = edits_of(pieces.transaction, pieces.mappings, *place)
    if found is None:
        assert rewrite_sdp.outward(pieces.transaction, pieces.mappings, *place, NOBODY) == expected
    else:
        assert not isinstance(expected, str)
        assert (sorted(found[0]), found[1]) == (sorted(expected.edits), expected.ends)
    assert pieces.state() == whole.state()
    return found is not None


def test_usual() -> None:
    audio = "m=audio 10000 RTP/AVP 0\r\n"
    both: list[Had] = [(10000, "media"), (10001, "media")]
    for had in ([], both, both[:1]):
        assert compare(USUAL + audio, had)
        more = f"a=rtcp:10001 IN IP4 {P}\r\na=rtcp-mux\r\nm=video 10002 RTP/AVP 9"
        assert compare(USUAL + audio + more, had)
        # The second of both has its own port, the first another one: they don't follow each other.
        assert compare(USUAL + audio, had, taken=(10000,)) is (had != both)
    assert not compare(USUAL + audio, both[1:])
    assert compare(USUAL.replace(f"1 1 IN IP4 {P}", "1 1 IN IP4 phone.lan") + audio)
    assert compare(USUAL + audio, [(10000, "sip"), (10001, "media")])
    assert compare(USUAL + audio + "a=rtcp:10001\r\n", taken=(10000,))


@pytest.mark.parametrize(
    "rest",
    [
        "m=audio 0 RTP/AVP 0", "m=audio 80 RTP/AVP 0", "m=audio 65535 RTP/AVP 0", "m=audio 10000 udptl t38",
        "m=audio 10000 RTP/AVP 0\r\na=rtcp:10009", "m=audio 10000 RTP/AVP 0\r\na=rtcp:10000",
        "m=audio 10000 RTP/AVP 0\r\na=rtcp:0 IN IP4 192.168.33.10",
    ],
)  # fmt: skip
def test_what_is_left_to_the_long_way(rest: str) -> None:
    assert not compare(USUAL + rest)


def test_no_port_is_left() -> None:
    body = USUAL + "m=audio 10000 RTP/AVP 0\r\nm=video 10002 RTP/AVP 9\r\n"
    assert not compare(body, taken=range(1024, 65536))
    assert not compare(body, taken=(10000, 10002, 10001), last=16385)


def test_who_is_not_translated() -> None:
    body = USUAL + "m=audio 10000 RTP/AVP 0\r\n"
    assert not compare(body, public=P)
    assert not compare(body, own="[2001:db8::1]")


LINES: Final = st.lists(
    st.sampled_from(
        f"""m=audio 10000 RTP/AVP 0|m=audio 10000 RTP/AVP 0|m=audio 10002 RTP/AVP 0|m=video 10003 RTP/AVP 0
m=audio 0 RTP/AVP 0|m=image 10000 udptl t38|a=rtcp:10001|a=rtcp:10003|a=rtcp:10001 IN IP4 {P}|a=rtcp:10003 IN IP4 {P}
a=rtcp:0 IN IP4 {P}|a=rtcp-mux|c=IN IP4 {P}|c=IN IP4 10.0.0.1|a=sendrecv""".replace("\n", "|").split("|")
    ),
    max_size=6,
)
HAD: Final = st.lists(
    st.tuples(st.integers(10000, 10004), st.sampled_from(["media", "media", "media", "direct", "sip"])), max_size=4
)


@given(LINES, HAD, st.lists(st.sampled_from([10000, 10001, 10002, 10003, 16385]), max_size=3), st.sampled_from([2, 9]))
@settings(max_examples=600)
def test_descriptions_of_all_kinds(lines: list[str], had: list[Had], taken: list[int], ports: int) -> None:
    compare(USUAL + "\r\n".join(["m=audio 10000 RTP/AVP 8", *lines]), had, taken, 16384 + ports)
