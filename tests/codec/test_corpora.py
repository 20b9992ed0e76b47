"""Public messages: the RFCs' torture tests and example flows, read here and, line by line, by a slow second reader."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipalg.codec.address import is_reference
from sipalg.codec.body import sdp_span
from sipalg.codec.fields import fields_with
from sipalg.codec.message import (
    FIELD_NAMES,
    LENGTH_BEYOND,
    LENGTH_MALFORMED,
    LENGTH_TWICE,
    NOT_SIP,
    Message,
    address_of_record,
    cseq_method,
    expires_s,
    identify,
    parse,
    session_expires_s,
)
from sipalg.codec.sdp import Description
from sipalg.codec.sdp import parse as parse_sdp

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
COMPACT = {
    "v": "via",
    "m": "contact",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "l": "content-length",
    "c": "content-type",
}


def corpus(name: str) -> Path:
    folder = CORPORA / name
    if not folder.is_dir():
        pytest.skip(f"the public messages of {name} aren't beside the checkout")
    return folder


def torture() -> Iterator[tuple[str, str, bytes]]:
    """Each torture message's name, its class in the RFC and its bytes."""
    for name in ("torture-rfc4475", "torture-rfc5118"):
        folder = corpus(name)
        with (folder / "MANIFEST.tsv").open(encoding="utf-8") as manifest:
            for row in csv.DictReader(manifest, delimiter="\t"):
                yield row["file"], row["rfc_class"], (folder / "canonical" / row["file"]).read_bytes()


def flows() -> Iterator[tuple[str, bytes]]:
    folder = corpus("flows")
    for path in sorted(folder.rglob("*.sip")):
        yield str(path.relative_to(folder)), path.read_bytes()


def by_lines(data: bytes) -> tuple[dict[str, list[str]], bytes]:
    """The header's fields, unfolded, by their long names, and what stands behind the blank line."""
    head, _, rest = data.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
    fields: dict[str, list[str]] = {}
    name = ""
    for line in head.decode("latin-1").split("\n")[1:]:
        if line[:1] in (" ", "\t") and name:
            fields[name][-1] += " " + line.strip()
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            name = COMPACT.get(name, name)
            fields.setdefault(name, []).append(value.strip())
    return fields, rest


def read_everything(message: Message) -> None:
    """Read all that the engine may read: nothing raises, and every span is of what it says."""
    data = message.data
    identify(message)
    address_of_record(message)
    session_expires_s(message)
    expires_s(message)
    for begin, places in fields_with(message, b"1") + fields_with(message, b"a"):
        for kind, host, _, start, end, *_ in places:
            assert kind in FIELD_NAMES
            assert data[begin + start : begin + end].startswith(host) or is_reference(host)
    start, end = sdp_span(message)
    if end:
        description = parse_sdp(data, start, end)
        if isinstance(description, Description):
            for media in description.media:
                assert int(data[slice(*media.port_span)]) == media.port


def agree(data: bytes, message: Message) -> None:
    """Compare with the slow reader."""
    fields, rest = by_lines(data)
    names = identify(message)
    assert names.call_id.decode("latin-1") == fields.get("call-id", [""])[0]
    number, _, method = fields.get("cseq", ["0 "])[0].partition(" ")
    assert (names.number, names.method.decode("latin-1")) == (int(number), method.strip())
    assert cseq_method(message) == names.method
    for side, tag in (("from", names.from_tag), ("to", names.to_tag)):
        text = "".join(fields.get(side, [""])[0].rpartition(">")[2].split())
        assert tag.decode("latin-1") == next((p[4:] for p in text.split(";") if p.lower().startswith("tag=")), "")
    (length,) = fields.get("content-length", [str(len(data) - message.body)])
    assert message.body_end - message.body == int(length)
    assert data[message.body :].replace(b"\r\n", b"\n") == rest
    kind = fields.get("content-type", [""])[0].lower()
    assert bool(sdp_span(message)[1]) == (kind.startswith("application/sdp") and int(length) > 0)
    contacts = [value for value in fields.get("contact", []) if "sip" in value]
    lists = [places for _, places in fields_with(message, b"sip") if FIELD_NAMES[places[0][0]] == "contact"]
    assert len(lists) == len(contacts)
    for value, found in zip(contacts, lists, strict=True):
        assert all(host.decode("latin-1") in value or is_reference(host) for _, host, *_ in found)


#: Those that pass unread, and why; badinv01's odd separators are read.
REFUSED = {
    "clerr.dat": LENGTH_BEYOND,
    "ncl.dat": LENGTH_MALFORMED,
    "mcl01.dat": LENGTH_TWICE,
    "lwsruri.dat": NOT_SIP,
    "lwsstart.dat": NOT_SIP,
    "trws.dat": NOT_SIP,
    "badvers.dat": NOT_SIP,
    "bigcode.dat": NOT_SIP,
}


def test_torture_messages_never_raise_and_the_refused_ones_are_known() -> None:
    refused = {}
    for name, _, data in torture():
        message = parse(data)
        if isinstance(message, str):
            refused[name] = message
        else:
            read_everything(message)
    assert refused == REFUSED


def test_valid_torture_messages_are_read_as_line_by_line() -> None:
    for _, kind, data in torture():
        if kind == "valid":
            message = parse(data)
            assert isinstance(message, Message)
            agree(data, message)


def test_flows_are_read_as_line_by_line() -> None:
    seen = 0
    for _, data in flows():
        message = parse(data)
        assert isinstance(message, Message)
        read_everything(message)
        agree(data, message)
        seen += 1
    assert seen


@pytest.mark.parametrize("step", [1, 7])
def test_torn_and_changed_messages_never_raise(step: int) -> None:
    for number, (_, _, data) in enumerate(torture()):
        for at in range(number % step, min(len(data), 1500), 41 * step):
            for changed in (data[:at], data[at:], data[:at] + b"\0\xff" + data[at:], data[:at] + data[at + 1 :]):
                message = parse(changed)
                if isinstance(message, Message):
                    read_everything(message)
