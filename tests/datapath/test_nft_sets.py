from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Iterator
from typing import Any, Self, cast

import pytest

from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket
from sipalg.datapath.nft_sets import SetReader


class Kernel:
    """Answers with the question, once `together` sets have been asked for; refuses one set."""

    def __init__(self, together: int, refused: bytes = b"none") -> None:
        self.together = threading.Barrier(together, timeout=30)
        self.refused = refused
        self.closed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def request(self, message: Message) -> list[Message]:
        self.together.wait()
        if self.refused in message.body:
            raise NetlinkError(errno.ENOENT)
        return [message]


def reader(kernel: Kernel, *names: str) -> SetReader:
    return SetReader("sipalg", names, cast("Any", lambda: kernel))


@pytest.fixture(autouse=True)
def interval() -> Iterator[None]:
    """What the interpreter does between threads is as it was, in the end."""
    before = sys.getswitchinterval()
    yield
    assert sys.getswitchinterval() == before


def test_two_sets_are_read_at_the_same_time() -> None:
    kernel = Kernel(2)
    sets = reader(kernel, "one", "two", "three", "four")
    for name in ("two", "one", "four", "three"):
        assert name in sets.names
        (answer,) = sets.answers(name)
        assert name.encode() in answer.body
        assert name not in sets.names
    sets.close()
    assert kernel.closed == 4


def test_a_refusal_comes_where_the_set_is_asked_for() -> None:
    sets = reader(Kernel(2, refused=b"two"), "one", "two")
    assert len(sets.answers("one")) == 1
    with pytest.raises(NetlinkError):
        sets.answers("two")
    sets.close()


def test_sockets_are_netlink_s_own_unless_told() -> None:
    assert SetReader.__init__.__defaults__ == (NetlinkSocket,)
