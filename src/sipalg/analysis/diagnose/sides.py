"""Which end of a message is the phone, where it was captured, and which two ends are one phone's two sides of its NAT.

Inside that is easy: the phone has the private address. Outside both ends are public, so it is who registers, who comes
from an address that phones have, who names a private address although it comes from a public one, or who isn't at a
server's port. A request that is seen inside and outside, known by its branch, joins the two. On a packet's way offline
this stands before the collectors. Pure. Sources: RFC 3261 §8.1.1.7 (branches are unique) and §10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from sipalg.analysis.diagnose.facts import INSIDE, LOCAL, OUTSIDE
from sipalg.analysis.diagnose.networks import Networks
from sipalg.analysis.messages import SipMessage
from sipalg.codec.datagram import UDP
from sipalg.engine.verdict import Endpoint

#: Requests that the other side's capture may still show.
_MOST_REMEMBERED: Final = 8192

_Value = TypeVar("_Value")

#: What makes a request the same on both sides: branch, CSeq, method, and its end outside.
_Key = tuple[str, int, str, Endpoint]


class Ends(NamedTuple):
    """A message's phone and server, whether the phone sent it, and where that was seen.

    `twin` is the inside address of the phone whose public side this is, "" where it isn't known. `call_id` is the one
    that the same request has on the other side, "" where it wasn't seen.
    """

    phone: Endpoint
    server: Endpoint
    outbound: bool
    view: str
    twin: str = ""
    call_id: str = ""


class Sides:
    """Takes messages in order and tells their ends."""

    def __init__(self, networks: Networks, ports: tuple[int, ...]) -> None:
        self._networks = networks
        self._ports = frozenset(ports)
        #: Phones' ends that no address tells, and the hosts of those that are public.
        self._phones: set[Endpoint] = set()
        self._hosts: set[str] = set()
        self._twins: dict[Endpoint, str] = {}
        #: Requests of phones inside, and requests between two ends outside: who would be the phone, and the Call-ID.
        self._inside: dict[_Key, tuple[str, str]] = {}
        self._outside: dict[_Key, tuple[Endpoint, str]] = {}

    def ends(self, message: SipMessage, names_private: Callable[[], bool]) -> Ends | None:
        """Return a message's ends, None where neither is a phone.

        `names_private` tells whether it names a private address as its sender's, where that has to be known.
        """
        source, destination = message.source, message.destination
        is_inside, is_private = self._networks.is_inside, self._networks.is_private
        outbound = is_inside(source.host)
        if outbound != is_inside(destination.host):
            phone, server = (source, destination) if outbound else (destination, source)
            # A public address that is said to be inside is the router's: the capture is from outside.
            if is_private(phone.host):
                return self._seen_inside(message, Ends(phone, server, outbound, INSIDE))
            return self._seen_outside(message, Ends(phone, server, outbound, OUTSIDE))
        # A phone that speaks to a private address speaks to its own network, or its own host.
        local = is_private(source.host) and is_private(destination.host)
        found = self._joined(message) or self._told_apart(message, names_private, local=local)
        if found is None:
            self._remember(message)
            return None
        if found.view == LOCAL:
            return found
        return self._seen_outside(message, found)

    def _seen_inside(self, message: SipMessage, ends: Ends) -> Ends:
        if not message.method or not message.branch:
            return ends
        key = (message.branch, message.cseq, message.method, ends.server)
        other = self._outside.pop(key, None)
        if other is not None:
            self._twins[other[0]] = ends.phone.host
        _put(self._inside, key, (ends.phone.host, message.call_id))
        return ends

    def _seen_outside(self, message: SipMessage, ends: Ends) -> Ends:
        self._phones.add(ends.phone)
        self._hosts.add(ends.phone.host)
        call_id = ""
        if message.method and message.branch:
            key = (message.branch, message.cseq, message.method, ends.server)
            twin, call_id = self._inside.get(key, ("", ""))
            if twin:
                self._twins[ends.phone] = twin
            else:
                _put(self._outside, key, (ends.phone, message.call_id))
        return ends._replace(twin=self._twins.get(ends.phone, ""), call_id=call_id)

    def _joined(self, message: SipMessage) -> Ends | None:
        """Return the ends of a request that was seen inside: who sent it or gets it outside is the phone there."""
        if not message.method or not message.branch:
            return None
        source, destination = message.source, message.destination
        for phone, server in ((source, destination), (destination, source)):
            if (message.branch, message.cseq, message.method, server) in self._inside:
                return Ends(phone, server, phone == source, OUTSIDE)
        return None

    def _told_apart(self, message: SipMessage, names_private: Callable[[], bool], *, local: bool) -> Ends | None:
        source, destination = message.source, message.destination
        if message.method == "REGISTER" and source not in self._phones:
            self._phones.add(source)
        outbound: bool | None = None
        if source in self._phones or destination in self._phones:
            outbound = source in self._phones
        elif local:
            return None
        elif (source.host in self._hosts) != (destination.host in self._hosts):
            outbound = source.host in self._hosts
        elif (source.port not in self._ports or destination.port in self._ports) and names_private():
            outbound = True
        elif message.protocol == UDP and (source.port in self._ports) != (destination.port in self._ports):
            outbound = destination.port in self._ports
        if outbound is None:
            return None
        view = LOCAL if local else OUTSIDE
        if outbound:
            return Ends(source, destination, outbound=True, view=view)
        return Ends(destination, source, outbound=False, view=view)

    def _remember(self, message: SipMessage) -> None:
        """Keep a request between two strangers: its twin inside may come later."""
        if message.method and message.branch:
            source, destination = message.source, message.destination
            for phone, server in ((source, destination), (destination, source)):
                _put(self._outside, (message.branch, message.cseq, message.method, server), (phone, message.call_id))


def _put(memory: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    if len(memory) >= _MOST_REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value
