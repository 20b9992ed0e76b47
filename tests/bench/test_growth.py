"""Growth on a few phones: every message is right, and the table says what was measured."""

from __future__ import annotations

from bench.growth import Growth, Router, measure, table


def test_a_few_phones_and_calls() -> None:
    found = measure(20, 5)
    assert (found.phones, found.calls) == (20, 5)
    assert found.checked == 20 * 2 * 1000
    assert 0 < found.least_us <= found.median_us
    assert found.start_s > 0
    assert found.expiry_us == 0, "calls stand"
    assert measure(5).expiry_us > 0


def test_a_wrong_message_would_be_seen() -> None:
    router = Router(1)
    for make in (router.register, router.answer):
        router.feed(make(0)[0])
    datagram, expected = router.register(0)
    assert router.feed(datagram) == expected
    assert expected != datagram.payload


def test_the_table_has_a_row_for_each_size() -> None:
    rows = table(
        [Growth(100, 0, 1.0, 2.0, 900.0, 0.0, 0.1, 5.0, 40), Growth(1000, 10, 1.0, 3.0, 800.0, 1.0, 1.0, 6.0, 80)]
    )
    assert rows[2].startswith("| 100 | 0 | 2.0 | 1.0 | 1.00 | 900 ")
    assert rows[3].startswith("| 1,000 | 10 | 3.0 | 1.0 | 1.50 | 800 ")
