"""The table of the phones that the shortest way knows: found while they are known, and others never."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sipalg import builds
from sipalg.engine.rows import Contact, Entry, Home
from sipalg.engine.verdict import TCP, UDP, Endpoint, Mapping

pytestmark = pytest.mark.skipif(builds.running() != "compiled", reason="there is no compiled build of these sources")

SERVER = Endpoint("203.0.113.50", 5060)
HOME = Home(b"10.0.0.1")
ENTRY = Entry(Mapping(UDP, Endpoint("10.0.0.1", 5060), Endpoint("203.0.113.1", 5060), "sip"), "lan0", HOME, b"N")
CONTACT = Contact(ENTRY, ("10.0.0.1", b"sip:a@b", "203.0.113.50"), 1000.0)


def new_rows() -> Any:
    return import_module("sipalg.engine.express_rows").Rows()


def teach(rows: Any, protocol: int, private: Endpoint, interface: str = "lan0", server: Endpoint = SERVER) -> bool:
    known: bool = rows.teach(
        protocol, private, 5060, interface, server, CONTACT, HOME, (b"call", b"sip:a@b"), 1000.0
    )
    return known


def test_many_come_and_go() -> None:
    random, rows = Random(1), new_rows()
    known: set[tuple[int, Endpoint]] = set()
    for _ in range(5000):
        end = Endpoint(f"10.0.{random.randrange(3)}.{random.randrange(256)}", random.choice((5060, 5062)))
        key = (random.choice((UDP, TCP)), end)
        if random.random() < 0.6:
            assert teach(rows, *key)
            known.add(key)
        else:
            rows.forget(*key)
            known.discard(key)
        assert len(rows) == len(known)
    for key in list(known):
        rows.forget(*key)
        rows.touch(*key, 2000.0)
        known.discard(key)
        assert len(rows) == len(known)


def huge_areas() -> int:
    """How many areas of this process's memory are to have huge pages, as the kernel says."""
    flags = [line.split() for line in Path("/proc/self/smaps").read_text().splitlines() if line[:8] == "VmFlags:"]
    return sum("hg" in words for words in flags)


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").is_dir(), reason="the kernel has no transparent huge pages"
)
def test_a_large_table_is_to_have_huge_pages() -> None:
    rows, before = new_rows(), huge_areas()
    ends = [Endpoint(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 5060) for number in range(15_000)]
    for end in ends[:13_000]:
        assert teach(rows, UDP, end)
    assert huge_areas() == before
    for end in ends[13_000:]:
        assert teach(rows, UDP, end)
    assert huge_areas() == before + 1
    for end in ends:
        rows.forget(UDP, end)
    assert len(rows) == 0


def test_what_has_no_room_or_is_no_ipv4_address_is_not_known() -> None:
    rows = new_rows()
    for host in ("2001:db8::1", "", "10.0.0", "10.0.0.1.", "10.0.0.256", "010.0.0.1", "10..0.1", "1000.0.0.1"):
        assert not teach(rows, UDP, Endpoint(host, 5060))
        rows.forget(UDP, Endpoint(host, 5060))
        rows.touch(UDP, Endpoint(host, 5060), 1.0)
        assert not rows.is_registrar(Endpoint(host, 5060))
    for number in range(20):
        assert teach(rows, UDP, Endpoint(f"10.0.0.{number}", 5060), f"lan{number}") == (number < 16)
    rows.clear()
    for number in range(300):
        server = Endpoint(f"203.0.{number >> 8}.{number & 255}", 5060)
        assert teach(rows, UDP, Endpoint("10.0.0.1", 5060), server=server) == (number < 256)
        assert rows.is_registrar(server) == (number < 256)
    assert len(rows) == 1


def test_equal_names_are_one_interface() -> None:
    rows = new_rows()
    for number in range(20):
        name = "".join(["la", "n0"])
        assert teach(rows, UDP, Endpoint(f"10.0.0.{number}", 5060), name)


def test_rows_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError):
        new_rows().teach(UDP, SERVER, 1, "lan0", SERVER, object(), object(), (b"", b""), 1.0)
