"""What the kernel has, by what it takes; with one that refuses what a test wants refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from sipalg.datapath import netlink
from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket
from sipalg.datapath.nft_features import Features, find_features, kernel_release, probe


class FakeKernel:
    """Answers each attempt by `answer`, which sees its messages."""

    def __init__(self) -> None:
        self.committed: list[bool] = []
        self.answer: Callable[[Sequence[Message]], dict[int, int]] = lambda _: {}

    def attempt(self, messages: Sequence[Message], commit: bool = True) -> dict[int, NetlinkError]:
        self.committed.append(commit)
        return {index: NetlinkError(code, index) for index, code in self.answer(messages).items()}


def found(kernel: FakeKernel) -> Features:
    return find_features(cast("NetlinkSocket", kernel))


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


def test_features_are_what_the_kernel_takes(kernel: FakeKernel) -> None:
    assert found(kernel)[:5] == (True, True, True, True, True)
    kernel.answer = lambda _: dict.fromkeys((4, 5, 6, 7, 8), errno.ENOENT)
    assert found(kernel)[:5] == (False, False, False, False, False)
    assert kernel.committed == [False, False]


@pytest.mark.parametrize("lacking", [10, 11])
def test_a_relay_needs_all_of_its_expressions(kernel: FakeKernel, lacking: int) -> None:
    assert found(kernel).relay
    kernel.answer = lambda _: {lacking: errno.ENOENT}
    assert not found(kernel).relay


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ({5: errno.ENOENT, 9: errno.ENOENT}, errno.EOPNOTSUPP),
        ({-1: errno.EPERM}, errno.EPERM),
        ({1: errno.ENOENT}, errno.ENOENT),
    ],
)
def test_a_kernel_that_cannot_do_it_is_refused(kernel: FakeKernel, errors: dict[int, int], code: int) -> None:
    kernel.answer = lambda _: errors
    with pytest.raises(NetlinkError) as caught:
        found(kernel)
    assert caught.value.errno == code


@pytest.mark.parametrize(
    ("release", "expected"), [("6.12.9-cloud", (6, 12)), ("5.10", (5, 10)), ("6", (0, 0)), ("x", (0, 0))]
)
def test_the_kernels_release(monkeypatch: pytest.MonkeyPatch, release: str, expected: tuple[int, int]) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    assert kernel_release() == expected


def test_the_probe_tries_each_feature_once() -> None:
    messages, tried = probe()
    assert tried == tuple(range(4, len(messages)))
    tables = {netlink.string(netlink.attributes(message.body, 4)[1]) for message in messages}
    assert len(tables) == 2
    assert "sipalg" not in tables
