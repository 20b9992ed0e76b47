from __future__ import annotations

import errno

import pytest

from sipalg.datapath import netlink, nft_codec, nft_guard
from sipalg.datapath.netlink import Message, NetlinkError
from sipalg.datapath.nft_guard import TableGuard, concerns

OWN, OTHER = 100, 200


def notification(message: Message, port: int = OTHER) -> Message:
    return message._replace(port=port)


GONE = notification(nft_codec.delete_table("sipalg"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (GONE, True),
        (notification(nft_codec.flush_chain("sipalg", "queue")), True),
        (notification(nft_codec.flush_set("sipalg", "except")), True),
        (notification(nft_codec.delete_table("sipalg"), OWN), False),
        (notification(nft_codec.delete_table("sipalg2")), False),
        (notification(nft_codec.delete_table("sip")), False),
        (notification(netlink.nfnetlink(10, 2, 0, netlink.text(1, "sipalg"), family=1)), False),
        (notification(netlink.nfnetlink(1, 2, 0, netlink.text(1, "sipalg"), family=2)), False),
        (notification(netlink.nfnetlink(10, 15, 0, family=2)), False),
        (Message(10 << 8, 0, b"", OTHER), False),
    ],
)
def test_only_what_others_do_to_our_table_counts(message: Message, expected: bool) -> None:
    assert concerns(message, "sipalg", OWN) is expected


class Notified:
    def __init__(self, groups: tuple[int, ...]) -> None:
        assert groups == (7,)
        self.waiting: list[Message] = []
        self.lost = False
        self.closed = False

    def receive(self) -> list[Message]:
        if self.lost:
            raise NetlinkError(errno.ENOBUFS)
        taken, self.waiting = self.waiting, []
        return taken

    def fileno(self) -> int:
        return 7

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> tuple[TableGuard, Notified]:
    monkeypatch.setattr(nft_guard, "NetlinkSocket", Notified)
    guard = TableGuard("sipalg", OWN)
    notified = guard._netlink
    assert isinstance(notified, Notified)
    return guard, notified


def test_each_change_is_told_once(guarded: tuple[TableGuard, Notified]) -> None:
    guard, notified = guarded
    assert not guard.changed()
    notified.waiting = [notification(nft_codec.delete_table("others")), GONE]
    assert guard.changed()
    assert not guard.changed()
    assert guard.fileno() == 7


def test_lost_notifications_may_have_been_a_change(guarded: tuple[TableGuard, Notified]) -> None:
    guard, notified = guarded
    notified.lost = True
    assert guard.changed()


def test_closing_stops_watching(guarded: tuple[TableGuard, Notified]) -> None:
    guard, notified = guarded
    guard.close()
    assert notified.closed
