"""The service manager's socket, which here is ours."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipalg.control.service.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


def test_the_manager_hears_ready_alive_and_stopping(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready("translating lan0 to wan0")
    assert manager.recv(999) == f"READY=1\nSTATUS=translating lan0 to wan0\nMAINPID={os.getpid()}".encode()
    notifier.alive()
    assert manager.recv(999) == b"WATCHDOG=1"
    before_us = time.monotonic_ns() // 1000
    notifier.reloading()
    reloading, _, usec = manager.recv(999).partition(b"\nMONOTONIC_USEC=")
    assert reloading == b"RELOADING=1"
    assert before_us <= int(usec) <= time.monotonic_ns() // 1000
    notifier.stopping()
    assert manager.recv(999) == b"STOPPING=1"
    notifier.close()
    notifier.close()
    notifier.alive()
    with pytest.raises(BlockingIOError):
        manager.recv(999)


def test_an_abstract_socket_is_meant_by_an_at_sign() -> None:
    name = f"sipalg-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name})
        notifier.alive()
        assert receiver.recv(99) == b"WATCHDOG=1"
        notifier.close()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_socket_nothing_is_sent(environment: dict[str, str]) -> None:
    notifier = Notifier({**environment, "WATCHDOG_USEC": "1000000"})
    notifier.ready("")
    assert notifier.watchdog_interval_s is None


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notifier.ready("")
    notifier.close()


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(environment: dict[str, str], interval_s: float | None) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/nobody", **environment})
    assert notifier.watchdog_interval_s == interval_s
    notifier.close()
