"""Why an address was left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis.left import notes_on_left
from sipalg.codec.message import parse
from sipalg.engine.verdict import Edit

P, N = "192.168.33.10", "203.0.113.1"


def notes(*lines: str, start: str = "INVITE sip:203.0.113.50 SIP/2.0", outbound: bool = True) -> dict[str, str]:
    """The notes by line."""
    data = "\r\n".join((start, *lines, "", "")).encode()
    message = parse(data)
    assert not isinstance(message, str)
    found = notes_on_left(message, (), P, N, outbound=outbound)
    return {data[at:].partition(b"\r")[0].decode(): text for at, text in found.items()}


@pytest.mark.parametrize(
    ("line", "outbound", "why"),
    [
        ("Contact: <sip:a@198.51.100.1>", True, "another host's address"),
        ("Contact: <sip:a@phone.lan>", True, "a name, no IPv4 address"),
        ("m: <sip:a@203.0.113.1>", True, "the public address already"),
        ("Contact: <sips:a@192.168.33.10>", True, "for TCP or TLS"),
        ("Contact: <sip:a@192.168.33.10:22>", True, "a port below 1024"),
        ("Contact: <sip:a@192.168.33.10>", True, "nothing to change"),
        ("Contact: <sip:a@192.168.33.10>", False, "the phone's own address already"),
        ("Contact: <sip:a@203.0.113.1:7>", False, "no port of this phone's mappings"),
        ("Via: SIP/2.0/UDP 203.0.113.50", False, "another host's address"),
        (
            "Contact: <sip:a@198.51.100.1>,\r\n <sip:a@phone.lan>",
            True,
            "another host's address, a name, no IPv4 address",
        ),
    ],
)
def test_line_has_its_reason(line: str, outbound: bool, why: str) -> None:
    assert notes("From: <sip:a@b>", line, "Call-ID: x", outbound=outbound) == {line.partition("\r")[0]: f"left: {why}"}


def test_vias_that_arent_the_senders_say_so() -> None:
    lines = ("Via: SIP/2.0/UDP 198.51.100.1", "Via: SIP/2.0/UDP 198.51.100.2")
    assert notes(*lines)[lines[1]] == "left: another hop's"
    assert notes(*lines, start="SIP/2.0 200 OK")[lines[0]] == "left: it says where the response goes"


def test_line_with_an_edit_and_line_without_an_address_need_none() -> None:
    data = b"REGISTER sip:s SIP/2.0\r\nContact: <sip:a@198.51.100.1>\r\nContact: *\r\n\r\n"
    message = parse(data)
    assert not isinstance(message, str)
    edit = Edit(data.index(b"198"), 12, b"", "contact")
    assert notes_on_left(message, (edit,), P, N, outbound=True) == {}


@given(st.binary(max_size=200))
def test_any_header_has_notes_at_its_lines(noise: bytes) -> None:
    data = b"INVITE sip:s SIP/2.0\r\n" + noise + b"\r\n\r\n"
    message = parse(data)
    if not isinstance(message, str):
        assert all(data[at - 1] == 10 for at in notes_on_left(message, (), P, N, outbound=True))
