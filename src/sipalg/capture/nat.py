"""The router's NAT, offline: which public transport address a private one has, and back.

It is what the kernel is to the live ALG. The engine's commands fill the same two maps that live stand in nf_tables
(`snat_map`, `dnat_map`, with the peers that a signalling mapping admits), and whatever has no mapping gets a public
port of its own: endpoint-independent, with the private port kept where it is free (RFC 4787, REQ-1 and REQ-3). A
packet that left opens the way for its answers, as conntrack does. On a packet's way this stands where PREROUTING and
POSTROUTING stand. Pure: no file, no clock; times are seconds, and `now` never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sipalg.engine.verdict import (
    AdmitPeer,
    CheckFlow,
    CloseMapping,
    Command,
    DismissPeer,
    EndFlow,
    Endpoint,
    EstablishFlow,
    Flow,
    Mapping,
    OpenMapping,
    RefreshMapping,
)

#: ICMP, whose echo identifier stands in for the port.
ICMP: Final = 1

#: Why a packet to the public address has no way in.
NOT_MAPPED: Final = "not-mapped"
NOT_ADMITTED: Final = "peer-not-admitted"

_LOWEST_FREE_PORT: Final = 1024
_HIGHEST_PORT: Final = 65535

#: A transport address of one protocol: the key of all tables here.
_Key = tuple[int, Endpoint]


class _Standing(NamedTuple):
    """A mapping and the time at which the kernel would drop it."""

    mapping: Mapping
    expires: float


class Nat:
    """The mappings that the engine ordered, the plain NAT's own, and the flows that passed."""

    def __init__(self, public_host: str, *, direct_media: bool = True) -> None:
        #: The inside host whose message the ALG is looking at.
        self.asking = ""
        self._public_host = public_host
        #: Whether media mappings let in anybody, or their calls' own addresses.
        self._direct_media = direct_media
        self._by_private: dict[_Key, _Standing] = {}
        self._by_public: dict[_Key, _Standing] = {}
        self._peers: dict[tuple[_Key, str], float] = {}
        self._plain_public: dict[_Key, Endpoint] = {}
        self._plain_private: dict[_Key, Endpoint] = {}
        #: (protocol, port that plain NAT gave) → where to look next: thousands of flows may have their ports in a row.
        self._onward: dict[tuple[int, int], int] = {}
        #: (protocol, public) → remote → private: conntrack's reply tuples.
        self._answers: dict[_Key, dict[Endpoint, Endpoint]] = {}
        #: Every mapping that the engine ever opened, in order and once each, for the summary.
        self._history: dict[Mapping, None] = {}

    def run(self, commands: Iterable[Command], now: float) -> None:
        """Do what the engine ordered. Here nothing can fail."""
        for command in commands:
            match command:
                case OpenMapping(mapping, timeout_s) | RefreshMapping(mapping, timeout_s):
                    self.open(mapping, now + timeout_s)
                case CloseMapping(mapping):
                    self._close(mapping)
                case AdmitPeer(mapping, peer, timeout_s):
                    self._peers[(mapping.protocol, mapping.public), peer] = now + timeout_s
                case DismissPeer(mapping, peer):
                    self._peers.pop(((mapping.protocol, mapping.public), peer), None)
                case EstablishFlow(flow, _) | CheckFlow(flow, _):
                    self._answers_of(flow)[flow.remote] = flow.private
                case EndFlow(flow):
                    self._answers_of(flow).pop(flow.remote, None)

    def open(self, mapping: Mapping, expires: float) -> None:
        """Write a mapping into both maps; it stands until `expires`."""
        public = (mapping.protocol, mapping.public)
        before = self._by_public.get(public)
        plain = self._plain_private.pop(public, None)
        if plain is not None:
            del self._plain_public[mapping.protocol, plain]
            del self._onward[mapping.protocol, mapping.public.port]
        if mapping.private not in (plain, None if before is None else before.mapping.private):
            # The flows of whoever had this port before end with it.
            self._answers.pop(public, None)
        self._by_private[mapping.protocol, mapping.private] = _Standing(mapping, expires)
        self._by_public[public] = _Standing(mapping, expires)
        self._history[mapping] = None

    def outbound(self, protocol: int, private: Endpoint, remote: Endpoint, now: float) -> Endpoint | None:
        """Return the public address that a packet leaves from, and open the way for its answers.

        None if all ports are taken.
        """
        public = self.public_of(protocol, private, now) or self._new_plain(protocol, private, now)
        if public is not None:
            self._answers.setdefault((protocol, public), {})[remote] = private
        return public

    def public_of(self, protocol: int, private: Endpoint, now: float) -> Endpoint | None:
        """Return the public address that a private one has, None if it has none."""
        standing = self._by_private.get((protocol, private))
        if standing is not None and standing.expires > now:
            return standing.mapping.public
        return self._plain_public.get((protocol, private))

    def inbound(self, protocol: int, public: Endpoint, remote: Endpoint, now: float) -> Endpoint | str:
        """Return the private address that a packet for a public one goes to, or the reason why it has none."""
        key = (protocol, public)
        private = self._answers.get(key, {}).get(remote)
        if private is not None:
            return private
        standing = self._by_public.get(key)
        if standing is not None and standing.expires > now:
            anybody = standing.mapping.purpose == "media" and self._direct_media
            if anybody or self._peers.get((key, remote.host), now) > now:
                return standing.mapping.private
            return NOT_ADMITTED
        return self._plain_private.get(key, NOT_MAPPED)

    def is_signalling(self, protocol: int, private: Endpoint, now: float) -> bool:
        """Return whether the private address has a standing mapping for SIP: the set `sip_private`."""
        standing = self._by_private.get((protocol, private))
        return standing is not None and standing.mapping.purpose == "sip" and standing.expires > now

    def is_taken(self, protocol: int, port: int) -> bool:
        """Return whether the plain NAT gave this public port to anything but :attr:`asking`'s same port.

        It is the engine's `ports_taken`. The same port of the host that the ALG is working for may become a mapping:
        its flows then stay where they are.
        """
        holder = self._plain_private.get((protocol, Endpoint(self._public_host, port)))
        return holder is not None and holder != Endpoint(self.asking, port)

    def history(self) -> list[Mapping]:
        """Return every mapping that was opened, in order and once each."""
        return list(self._history)

    def _close(self, mapping: Mapping) -> None:
        for table, key in (
            (self._by_private, (mapping.protocol, mapping.private)),
            (self._by_public, (mapping.protocol, mapping.public)),
        ):
            standing = table.get(key)
            if standing is not None and standing.mapping == mapping:
                del table[key]

    def _answers_of(self, flow: Flow) -> dict[Endpoint, Endpoint]:
        return self._answers.setdefault((flow.protocol, flow.public), {})

    def _new_plain(self, protocol: int, private: Endpoint, now: float) -> Endpoint | None:
        """Give a private address a public port: its own if that is free, else the next free one above."""
        for port in self._candidates(protocol, private.port):
            public = Endpoint(self._public_host, port)
            standing = self._by_public.get((protocol, public))
            if (protocol, public) not in self._plain_private and (standing is None or standing.expires <= now):
                self._plain_public[protocol, private] = public
                self._plain_private[protocol, public] = private
                self._onward[protocol, port] = port + 1
                return public
        return None

    def _candidates(self, protocol: int, port: int) -> Iterator[int]:
        """Yield the port itself, then the unprivileged ones from it upwards and around that plain NAT hasn't given."""
        yield port
        first = max(port, _LOWEST_FREE_PORT)
        for begin, end in ((first, _HIGHEST_PORT + 1), (_LOWEST_FREE_PORT, first)):
            port = self._skip(protocol, begin)
            while port < end:
                yield port
                port = self._skip(protocol, port + 1)

    def _skip(self, protocol: int, port: int) -> int:
        """Return the next port from this one on that plain NAT hasn't given; the ways there are made shorter."""
        passed = []
        while (following := self._onward.get((protocol, port))) is not None:
            passed.append(port)
            port = following
        self._onward.update(((protocol, each), port) for each in passed)
        return port
