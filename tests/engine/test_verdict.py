from __future__ import annotations

from sipalg.engine.verdict import TCP, UDP, Edit, Endpoint, Mapping


def test_an_endpoint_reads_as_host_and_port() -> None:
    assert str(Endpoint("203.0.113.1", 5060)) == "203.0.113.1:5060"


def test_edits_sort_by_where_they_are() -> None:
    edits = [Edit(20, 1, b"", "a"), Edit(3, 9, b"x", "b")]
    assert [edit.offset for edit in sorted(edits)] == [3, 20]


def test_a_mapping_is_ours_if_nobody_says_that_it_was_adopted() -> None:
    mapping = Mapping(UDP, Endpoint("192.168.33.10", 5060), Endpoint("203.0.113.1", 5060), "sip")
    assert not mapping.adopted
    assert mapping != mapping._replace(protocol=TCP)
