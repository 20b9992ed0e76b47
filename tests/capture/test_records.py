from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.capture.reading import open_capture
from sipalg.capture.records import Captured, Format, Pcap, Pcapng, format_for, read_blocks, whole_bytes

PACKETS = st.lists(
    st.builds(
        Captured,
        st.integers(0, (1 << 32) * 1_000_000_000 - 1),
        st.binary(max_size=60),
        st.integers(60, 2000),
        st.sampled_from(["", "lan0", "ether1-gateway"]),
        st.sampled_from([None, True, False]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.none(),
    ),
    max_size=6,
)
EXAMPLE = [
    Captured(1_700_000_000_123_456_789, bytes(range(50)), 90, "before", False, "Via: changed"),
    Captured(1_700_000_000_223_456_789, bytes(range(51)), 51, "after", True),
]


def content(kind: Format, packets: list[Captured]) -> bytes:
    return b"".join([kind.header(), *map(kind.packet, packets)])


@given(PACKETS)
def test_pcapng_reads_back_as_it_was_written(packets: list[Captured]) -> None:
    assert read_blocks(io.BytesIO(content(Pcapng(), packets))) == packets


@given(PACKETS, st.sampled_from([Pcap, Pcapng]), st.data())
def test_a_cut_file_is_whole_up_to_its_last_whole_record(
    packets: list[Captured], kind: type[Pcap | Pcapng], data: st.DataObject
) -> None:
    writer = kind()
    pieces = [writer.header()]
    ends = [0, len(pieces[0])]
    for one in packets:
        pieces.append(writer.packet(one))
        ends.append(ends[-1] + len(pieces[-1]))
    whole = b"".join(pieces)
    assert whole_bytes(io.BytesIO(whole)) == len(whole)
    cut = data.draw(st.integers(4, len(whole)))
    found = whole_bytes(io.BytesIO(whole[:cut]))
    # An interface's description is a whole block too, in front of its first packet.
    assert max(end for end in ends if end <= cut) <= found <= cut
    assert whole_bytes(io.BytesIO(whole[:found])) == found


def test_interfaces_have_link_types_of_their_own(tmp_path: Path) -> None:
    first, second = EXAMPLE
    path = tmp_path / "file"
    path.write_bytes(content(Pcapng(), [first._replace(link_type=101), second, first]))
    with open_capture(path) as source:
        assert [(one.link_type, one.interface) for one in source] == [(101, 0), (1, 1), (1, 2)]
        assert [one.name for one in source.interfaces] == ["before", "after", "before"]


def test_a_file_of_another_kind_is_left_whole() -> None:
    assert whole_bytes(io.BytesIO(b"something else")) == 14
    assert whole_bytes(io.BytesIO(b"")) == 0


@pytest.mark.parametrize(("name", "kind"), [("a.pcap", Pcap), ("a", Pcap), ("a.pcapng", Pcapng)])
def test_the_kind_goes_by_the_name(name: str, kind: type) -> None:
    assert isinstance(format_for(name), kind)


@pytest.mark.parametrize(("kind", "unit"), [(Pcap, 1000), (Pcapng, 1)])
def test_tshark_reads_the_same(tmp_path: Path, kind: type[Pcap | Pcapng], unit: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(kind(), EXAMPLE))
    fields = ("frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_name", "frame.comment")
    argv = ["tshark", "-r", str(path), "-T", "fields", *(word for name in fields for word in ("-e", name))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    expected = [f"{one.time_ns // unit * unit / 1e9:.6f}" for one in EXAMPLE]
    assert [f"{float(row[0]):.6f}" for row in rows] == expected
    assert [row[1:3] for row in rows] == [["90", "50"], ["51", "51"]]
    if kind is Pcapng:
        assert [row[3:] for row in rows] == [["before", "Via: changed"], ["after", ""]]
        assert rows[0][0].endswith("123456789")
