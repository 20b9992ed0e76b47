from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from sipalg.engine import mappings as module
from sipalg.engine.mappings import Mappings, public_key
from sipalg.engine.rows import Entry, MappingKey
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import TCP, UDP, CloseMapping, Endpoint, Mapping, OpenMapping, RefreshMapping

P, P2, N = "192.168.33.10", "192.168.33.11", "203.0.113.1"
KEY = (UDP, Endpoint(P, 5060))


class Table:
    """A mapping table with its transaction, and ports that others have."""

    def __init__(
        self, *taken: int, media_ports: tuple[int, int] = (16384, 16389), sip_timeout_s: float = 3600.0
    ) -> None:
        self.transaction = Transaction()
        settings = Settings(frozenset(("lan0",)), N, N, media_ports=media_ports, sip_timeout_s=sip_timeout_s)
        self.opened: dict[MappingKey, Entry] = {}
        self.mappings = Mappings(settings, lambda _protocol, port: port in taken)

    def open(self, port: int, host: str = P, protocol: int = UDP) -> int | None:
        entry = self.mappings.open(self.transaction, protocol, Endpoint(host, port), "sip", "lan0")
        self.opened |= self.mappings.entries
        return None if entry is None else entry.public_port

    def block(self, port: int, size: int = 2, host: str = P, *, even: bool = True) -> int | None:
        return self.mappings.open_block(self.transaction, UDP, Endpoint(host, port), size, "lan0", even=even)

    def at(self, now: float) -> module.Outcome:
        self.transaction.now = now
        self.transaction.commands.clear()
        return self.mappings.look_after(self.transaction, self.opened[KEY])


def test_the_phones_own_port_if_it_is_free_else_one_of_the_media_ports_in_turn() -> None:
    table = Table(5070)
    assert table.open(5060) == 5060
    assert table.open(5060) == 5060
    assert table.open(5060, P2) == 16384
    assert table.open(5070) == 16385
    assert table.open(900) == 16386, "never below 1024"
    assert table.open(5060, P2, TCP) == 5060, "TCP's ports are its own"


def test_no_free_port_at_all() -> None:
    table = Table(5060, *range(16384, 16390))
    assert table.open(5060) is None
    assert table.block(5060) is None
    assert table.transaction.commands == []


def test_blocks_are_even_and_consecutive() -> None:
    table = Table(10003, 16384)
    assert table.block(10000) == 10000
    assert table.block(10001, host=P2) == 16386
    assert table.block(10003, host=P2) == 16388
    assert table.block(10006, host=P2) == 10006
    assert table.block(10008, 1, even=False) == 10008
    assert table.block(10009, 1, even=False) == 10009
    assert table.block(10011) is None, "16384 is taken, the others are given"


def test_the_search_goes_once_around() -> None:
    table = Table(1024, media_ports=(16383, 16387))
    assert [table.block(1024, host=f"10.0.0.{host}") for host in range(3)] == [16384, 16386, None]
    table.mappings.drop(table.transaction, table.mappings.entries[UDP, Endpoint("10.0.0.0", 1024)])
    table.mappings.drop(table.transaction, table.mappings.entries[UDP, Endpoint("10.0.0.0", 1025)])
    assert table.block(1024, host=P) == 16384


def test_a_block_that_is_there_stays_and_is_filled_up() -> None:
    table = Table()
    assert table.block(10000, 1) == 10000
    assert table.block(10000) == 10000
    assert len(table.mappings.entries) == 2
    assert table.block(10000) == 10000
    assert len(table.transaction.commands) == 2


def test_a_block_isnt_edited_by_halves() -> None:
    table = Table()
    assert table.open(10001) == 10001
    assert table.block(10000) is None, "the second port is mapped, the first isn't"
    assert table.block(10002, 1) == 10002
    assert table.open(10003, P2) == 10003
    assert table.block(10002) is None, "the port beside the first is somebody else's"
    table = Table(10001)
    assert table.open(10000) == 10000
    assert table.open(10001) == 16384
    assert table.block(10000) is None, "both are mapped, and not side by side"


@pytest.mark.interpreted
def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MAPPINGS_PER_HOST", 2)
    table = Table()
    assert table.block(10000) == 10000
    assert table.open(5060) is None
    assert table.open(5060, P2) == 5060
    monkeypatch.setattr(module, "MAX_MAPPINGS", 3)
    assert table.open(5060, "10.0.0.1") is None


def test_a_refused_port_is_left_alone_for_a_while() -> None:
    table = Table()
    table.mappings.refuse(UDP, Endpoint(N, 5060), 0.0)
    assert table.open(5060) == 16384
    table.transaction.now = 33.0
    assert table.open(5060, P2) == 5060
    table.mappings.refuse(UDP, Endpoint(N, 7000), 33.0)
    assert list(table.mappings.refused) == [public_key(UDP, 7000, b"")]


def test_public_ends_are_told_apart() -> None:
    # A URI may name what is no port.
    ports = (1, 5060, 65_535, 65_536 + 5060, 99_999)
    ends = list(itertools.product((TCP, UDP), ports, (b"", b"2001:db8::1", b"2001:db8::2")))
    assert len({public_key(*end) for end in ends}) == len(ends)


def test_found_by_public_and_private_address() -> None:
    table = Table()
    table.open(5060)
    entry = table.mappings.entries[KEY]
    assert table.mappings.of_public(UDP, 5060) == entry
    assert table.mappings.of_public(TCP, 5060) is None
    assert table.mappings.of_private(UDP, P.encode(), 5060) == entry
    assert table.mappings.of_private(UDP, P.encode(), 5061) is None
    assert table.mappings.mappings_of(P.encode()) == 1


def test_unheld_it_ends_sip_timeout_after_the_phone_last_spoke() -> None:
    table = Table()
    table.open(5060)
    table.transaction.now = 300.0
    table.mappings.touch(table.transaction, table.mappings.entries[KEY])
    assert table.mappings.entries[KEY].idle_until == 3600.0, "written at most every tenth"
    table.transaction.now = 1000.0
    table.mappings.touch(table.transaction, table.mappings.entries[KEY])
    assert table.mappings.entries[KEY].idle_until == 4600.0
    assert table.at(3600.0) == "none"
    assert table.at(4600.0) == "ended"
    assert table.mappings.entries == {}
    assert isinstance(table.transaction.commands[0], CloseMapping)
    assert table.at(5000.0) == "none"


@pytest.mark.parametrize("sip_timeout_s", [3600.0, 33.3, 0.1, 7.7])
def test_held_it_is_refreshed_in_the_middle_of_its_lease_for_good(sip_timeout_s: float) -> None:
    table = Table(sip_timeout_s=sip_timeout_s)
    table.transaction.now = 0.1
    table.open(5060)
    table.mappings.hold(table.transaction, KEY)
    for _ in range(200):
        due = table.transaction.next_due()
        assert due is not None
        assert due < table.mappings.entries[KEY].lease_until, "before the kernel forgets it"
        for _ in table.transaction.take_due(due):
            table.at(due)
        again = table.transaction.next_due()
        assert again is not None
        assert again > due
    assert KEY in table.mappings.entries


def test_it_is_refreshed_where_the_phone_spoke_late() -> None:
    table = Table()
    table.open(5060)
    for now in (3500.0, 7000.0):
        table.transaction.now = now
        table.mappings.touch(table.transaction, table.mappings.entries[KEY])
        assert table.at(now + 100.0) in ("none", "refreshed")
    assert table.mappings.entries[KEY].lease_until > 7200.0


def test_holders_are_counted() -> None:
    table = Table()
    table.open(5060)
    for _ in range(2):
        table.mappings.hold(table.transaction, KEY)
    table.mappings.release(table.transaction, KEY)
    assert table.at(3600.0) == "refreshed"
    assert [type(command) for command in table.transaction.commands] == [RefreshMapping]
    table.mappings.release(table.transaction, KEY)
    assert table.at(3631.0) == "none"
    assert table.at(3632.0) == "ended"


def test_what_isnt_there_can_be_neither_held_nor_released() -> None:
    table = Table()
    table.mappings.hold(table.transaction, KEY)
    table.mappings.release(table.transaction, KEY)
    assert table.mappings.entries == {}
    table.open(5060)
    table.mappings.release(table.transaction, KEY)
    assert table.mappings.entries[KEY].uses == 0


def test_a_phone_that_took_its_contact_back_leaves_in_32_seconds() -> None:
    table = Table()
    table.open(5060)
    table.mappings.hold(table.transaction, KEY)
    table.mappings.release(table.transaction, KEY, parting=True)
    table.transaction.now = 10.0
    table.mappings.touch(table.transaction, table.mappings.entries[KEY])
    assert table.mappings.entries[KEY].idle_until == 42.0, "what is said meanwhile doesn't bring it back for an hour"
    table.mappings.stay(table.transaction, table.mappings.entries[KEY])
    table.mappings.touch(table.transaction, table.mappings.entries[KEY])
    assert table.mappings.entries[KEY].idle_until == 3610.0


def test_one_that_stands_in_the_kernel_isnt_opened_again_and_ends_with_it() -> None:
    table = Table()
    mapping = Mapping(UDP, Endpoint(P, 5060), Endpoint(N, 7000), "sip")
    entry = table.mappings.restore(table.transaction, mapping, "", 50.0)
    assert entry is not None
    table.opened[KEY] = entry
    assert table.transaction.commands == []
    assert table.mappings.restore(table.transaction, mapping, "", 60.0) is None
    assert table.at(49.0) == "none"
    assert table.at(50.0) == "ended"


def test_media_mappings_linger_32_seconds_if_nobody_takes_them() -> None:
    table = Table()
    table.block(10000)
    assert table.transaction.commands[0] == OpenMapping(
        Mapping(UDP, Endpoint(P, 10000), Endpoint(N, 10000), "media"), 7200.0
    )
    assert table.transaction.next_due() == 32.0


def test_texts_follow_the_advertised_address() -> None:
    table = Table()
    table.open(5060)
    table.mappings.settings = Settings(frozenset(("lan0",)), N, "198.51.100.1")
    table.mappings.advertise_anew()
    assert table.mappings.entries[KEY].public_text == b"198.51.100.1:5060"
    assert table.mappings.entries[KEY].private_text == b"192.168.33.10:5060"


def test_another_message_of_the_same_transaction_may_ask_for_the_ports_again() -> None:
    asked: list[Callable[[], object]] = []
    table = Table()
    table.block(10001)
    before = dict(table.mappings._cursor)
    table.transaction.commit()
    table.block(10003)
    asked.append(table.transaction.rollback)
    for undo in asked:
        undo()
    assert table.mappings._cursor == before, "a try that failed moves no search"
