"""More SIP than the process can do, through `sipalg run` as its users have it (docs/overload.md).

The process is stopped while the load comes, so it is overloaded for certain, however fast the machine is, and what the
queue holds at that moment is known. No test looks at a clock.
"""

from __future__ import annotations

import random
import re
import signal
import socket
import statistics
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.live.router import SERVER, Router, exchange, until

from sipalg.datapath.nfqueue import QUEUE_PACKETS, QUEUES
from sipalg.lab.topology import PUBLIC_ADDRESS, Topology

pytestmark = pytest.mark.lab

ROOM = QUEUES * QUEUE_PACKETS
PHONES = 120
QUEUES_LISTING = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
NUMBER = re.compile(rb"branch=z9hG4bK(\d+);")


class Phone(NamedTuple):
    """One phone, and what becomes of its message 0."""

    host: str
    end: socket.socket
    translated: bytes

    def message(self, number: int) -> bytes:
        return options(self.host, number)


def options(host: str, number: int) -> bytes:
    return (
        f"OPTIONS sip:{SERVER} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{number};rport\r\n"
        f"From: <sip:100@{SERVER}>;tag=1\r\nTo: <sip:100@{SERVER}>\r\nCall-ID: {host.replace('.', '-')}\r\n"
        f"CSeq: 1 OPTIONS\r\nContact: <sip:100@{host}:5060>\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@pytest.fixture(scope="module")
def ends(net: Topology) -> Iterator[dict[str, socket.socket]]:
    """Many phones' sockets, by their addresses."""
    hosts = [f"192.168.33.{100 + number}" for number in range(PHONES)]
    net.run("phone1", "ip", "-batch", "-", text="".join(f"address add {host}/24 dev eth0\n" for host in hosts))
    made = {}
    for host in hosts:
        made[host] = net.socket("phone1")
        made[host].bind((host, 5060))
    yield made
    for end in made.values():
        end.close()


class Heard:
    """All that comes to the server, while it comes."""

    def __init__(self, server: socket.socket) -> None:
        server.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
        self.messages: list[bytes] = []
        self._server = server
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        self._server.settimeout(None)
        while message := self._server.recv(4096):
            self.messages.append(message)

    def end(self) -> None:
        self._server.sendto(b"", (SERVER, 5060))
        self._thread.join()


class Overloaded:
    """The router with its process, and phones that have their mappings."""

    def __init__(self, router: Router, ends: dict[str, socket.socket], server: socket.socket) -> None:
        self.router = router
        self.process: subprocess.Popen[str] = router.run()
        self.phones = [Phone(host, end, exchange(end, server, options(host, 0))[0]) for host, end in ends.items()]
        self.heard = Heard(server)
        self.sent: Counter[str] = Counter()
        self._number = 0

    def send(self, phone: Phone) -> None:
        self._number += 1
        self.sent[phone.host] += 1
        phone.end.sendto(phone.message(self._number), (SERVER, 5060))

    def waiting(self) -> list[int]:
        """How many packets wait in each queue."""
        listing = self.router.net.inside("router", QUEUES_LISTING.read_text)
        return [int(line.split()[2]) for line in listing.splitlines()]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def judge(self) -> Counter[str]:
        """Wait for all that was sent; count each phone's translated messages. Every one has to be whole."""
        assert until(lambda: len(self.heard.messages) >= sum(self.sent.values()))
        by_call_id = {phone.host.replace(".", "-").encode(): phone for phone in self.phones}
        served: Counter[str] = Counter()
        came: Counter[str] = Counter()
        for message in self.heard.messages:
            head, _, rest = message.partition(b"Call-ID: ")
            phone = by_call_id[rest.partition(b"\r\n")[0]]
            found = NUMBER.search(head)
            assert found is not None
            came[phone.host] += 1
            if message == phone.translated.replace(b"branch=z9hG4bK0;", found[0]):
                served[phone.host] += 1
            else:
                assert message == phone.message(int(found[1]))
        assert came == self.sent
        assert until(lambda: not sum(self.waiting()))
        return served

    def passed_unseen(self) -> int:
        count = self.router.ask("status")["counters"]["queue"]["passed_unseen"]
        assert isinstance(count, int)
        return count


@pytest.fixture
def overloaded(router: Router, ends: dict[str, socket.socket], server: socket.socket) -> Iterator[Overloaded]:
    made = Overloaded(router, ends, server)
    for phone in made.phones:
        assert phone.host.encode() not in phone.translated
        assert phone.translated.count(f"{PUBLIC_ADDRESS}:".encode()) == 2
    yield made
    made.heard.end()


def test_above_what_it_can_do_all_pass_whole_phones_are_served_evenly_and_the_rest_is_counted(
    overloaded: Overloaded,
) -> None:
    draw = random.Random(3)
    overloaded.stop()
    for _ in range(ROOM * 3 // 2):
        overloaded.send(draw.choice(overloaded.phones))
    waiting = overloaded.waiting()
    # What waits, and so how long it waits, has a bound.
    assert len(waiting) == QUEUES
    assert max(waiting) == QUEUE_PACKETS
    overloaded.go_on()
    for number in range(ROOM // 4):
        overloaded.send(draw.choice(overloaded.phones))
        if number % 1000 == 0:
            assert max(overloaded.waiting()) <= QUEUE_PACKETS
    served = overloaded.judge()
    assert sum(waiting) <= sum(served.values()) < sum(overloaded.sent.values())
    shares = [served[phone.host] for phone in overloaded.phones]
    assert min(shares) >= statistics.median(shares) / 2
    assert overloaded.passed_unseen() == sum(overloaded.sent.values()) - sum(served.values())


def test_a_phone_that_floods_takes_room_from_those_in_its_queue_only(overloaded: Overloaded) -> None:
    flooding, *others = overloaded.phones
    overloaded.stop()
    for _ in range(ROOM + 1):
        overloaded.send(flooding)
    assert sorted(overloaded.waiting())[-2:] == [0, QUEUE_PACKETS]
    for phone in others:
        for _ in range(3):
            overloaded.send(phone)
    overloaded.go_on()
    served = overloaded.judge()
    assert served[flooding.host] == QUEUE_PACKETS
    shares = Counter(served[phone.host] for phone in others)
    # One queue of eight is the flooding phone's: there nobody else has room, in all others everybody has.
    assert set(shares) == {0, 3}
    assert shares[3] > len(others) / 2
    assert overloaded.passed_unseen() == ROOM + 1 - QUEUE_PACKETS + 3 * shares[0]
