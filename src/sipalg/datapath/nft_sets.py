"""Several sets of a table read at once: the kernel's work, on as many processors as there are.

At start, beside a packet's way. To list a set of a hundred thousand elements takes the kernel half a second, since it
walks the set from its beginning for each 32 KiB of the answer (nft_rhash_walk in net/netfilter/nft_set_hash.c). So
each set has a thread and a socket of its own, and the process does something else until they are needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from sipalg.datapath import nft_codec
from sipalg.datapath.netlink import Message, NetlinkSocket
from sipalg.datapath.nft_family import IPV4

#: How many threads read: the process itself has something to do, and most routers have few processors.
_AT_ONCE: Final = 2
#: For how long another thread may keep the interpreter to itself while these wait for it: an answer's share of time.
_SWITCH_S: Final = 0.0005


class SetReader:
    """Reads the sets `names` of the IPv4 table; asked for each once, it waits for that one."""

    def __init__(
        self, table: str, names: Sequence[str], open_socket: Callable[[], NetlinkSocket] = NetlinkSocket
    ) -> None:
        self._open_socket = open_socket
        self._before_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        pool = ThreadPoolExecutor(_AT_ONCE, "read-set")
        self._waiting: dict[str, Future[list[Message]]] = {
            name: pool.submit(self._read, IPV4.message(nft_codec.get_elements(table, name))) for name in names
        }
        pool.shutdown(wait=False)

    @property
    def names(self) -> Sequence[str]:
        """The sets that nobody has asked for yet."""
        return tuple(self._waiting)

    def answers(self, name: str) -> list[Message]:
        """Return what the kernel says of one of `names`. Raises OSError, NetlinkError among them."""
        return self._waiting.pop(name).result()

    def close(self) -> None:
        """Wait for no more of them."""
        self._waiting.clear()
        sys.setswitchinterval(self._before_s)

    def _read(self, question: Message) -> list[Message]:
        with self._open_socket() as netlink:
            return netlink.request(question)
