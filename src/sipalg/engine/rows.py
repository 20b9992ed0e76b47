"""The engine's rows: an inside host, a mapping and a contact, each one record with everything that hangs on it.

There is one of each for every registered phone, so with 100,000 of them every table more is 100 bytes and a place in
memory that is in no cache when a message asks for it. They change in place, behind :meth:`Transaction.keep`; whoever
needs a value that stays takes it out. On a packet's way this is what the look-up of an address gives.
"""

from __future__ import annotations

import math
from typing import Any, Final

from sipalg.codec.machine import new
from sipalg.engine.policy import LINGER_S
from sipalg.engine.transaction import Row
from sipalg.engine.verdict import Endpoint, Mapping, Purpose

#: A mapping is found by its protocol and private address.
MappingKey = tuple[int, Endpoint]
#: An address of record, as the messages write it, at a registrar's address, for a phone's address.
Line = tuple[str, bytes, str]
ContactKey = tuple[MappingKey, bytes, str]

_NEVER: Final = -math.inf
#: A contact's record follows its renewals when they have moved its end by this part of what it has left.
_RENEWED: Final = 0.1
#: How far the end of a mapping that nobody holds may be behind in its record: it lives on for ten times as long.
_BEHIND_S: Final = 0.1 * LINGER_S


class Home(Row):
    """An inside host: `text` as messages write it, its number of mappings, and when it asked registrars lately.

    `asked_at` is when the REGISTER with the Call-ID `asked_id` was sent last; `asked` has those of other Call-IDs.
    What was asked isn't undone with a message that the kernel refuses: that leaves all the same.
    """

    __slots__ = ("asked", "asked_at", "asked_id", "mappings", "text")

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.text = text
        self.mappings = 0
        self.asked_id = b""
        self.asked_at = _NEVER
        self.asked: dict[bytes, float] | None = None

    def state(self) -> tuple[Any, ...]:
        """What a message may change."""
        return (self.mappings,)

    def go_back(self, state: tuple[Any, ...]) -> None:
        """Be as it was."""
        (self.mappings,) = state

    def note_asked(self, call_id: bytes, now: float, limit: int) -> None:
        """Note a REGISTER; of more than `limit` Call-IDs the one not used for longest is forgotten."""
        if call_id != self.asked_id:
            if self.asked_id:
                others = self.asked
                if others is None:
                    others = self.asked = {}
                others.pop(call_id, None)
                others[self.asked_id] = self.asked_at
                if len(others) >= limit:
                    del others[next(iter(others))]
            self.asked_id = call_id
        self.asked_at = now

    def when_asked(self, call_id: bytes) -> float:
        """When a REGISTER with this Call-ID was sent last, monotonic seconds; -infinity if it wasn't."""
        if call_id == self.asked_id:
            return self.asked_at
        return _NEVER if self.asked is None else self.asked.get(call_id, _NEVER)


class Entry(Row):
    """A mapping as the engine holds it, with the texts that messages need; `in_interface` is where its phone is.

    What `verdict.Mapping` says of it is in its own fields (`nat_host` is the public address in the kernel): the value
    itself is made where somebody wants it, since 100,000 of them would be 20 MB that no message looks at.
    `uses` is its number of holders; `idle_until` when it ends without any, `lease_until` when the kernel lets go of it
    unrefreshed; `parting` says that its phone took its last contact back. `peers` are the servers that are let in.
    `public_host` is what messages are to name. `for_sip` says that messages may come to it: a sip mapping, or a port
    forward, whatever that is for. `as_it_is`: the public address is the private one, as IPv6's may be.
    """

    __slots__ = (
        "adopted",
        "as_it_is",
        "contacts",
        "for_sip",
        "home",
        "idle_until",
        "in_interface",
        "key",
        "lease_until",
        "nat_host",
        "parting",
        "peers",
        "private_host",
        "private_text",
        "public_host",
        "public_port",
        "public_text",
        "purpose",
        "uses",
    )

    def __init__(self, mapping: Mapping, in_interface: str, home: Home, public_host: bytes) -> None:
        super().__init__()
        self.key: MappingKey = (mapping.protocol, mapping.private)
        self.nat_host = mapping.public.host
        self.purpose: Purpose = mapping.purpose
        self.adopted = mapping.adopted
        self.in_interface = in_interface
        self.home = home
        self.private_host = home.text
        self.private_text = b"%b:%d" % (home.text, mapping.private.port)
        self.public_port = mapping.public.port
        self.for_sip = mapping.purpose == "sip" or mapping.adopted
        self.as_it_is = mapping.public == mapping.private
        self.uses = 0
        self.idle_until = 0.0
        self.lease_until = 0.0
        self.parting = False
        self.contacts: tuple[Contact, ...] = ()
        self.peers: tuple[Endpoint, ...] = ()
        self.name(public_host)

    def name(self, public_host: bytes) -> None:
        """Have messages name this host."""
        self.public_host = public_host
        self.public_text = b"%b:%d" % (public_host, self.public_port)

    @property
    def public(self) -> Endpoint:
        """The public end in the kernel."""
        return new(Endpoint, (self.nat_host, self.public_port))

    @property
    def mapping(self) -> Mapping:
        """The mapping as a value."""
        protocol, private = self.key
        return new(Mapping, (protocol, private, self.public, self.purpose, self.adopted))

    @property
    def private_port(self) -> bytes:
        """The private port as messages write it."""
        return self.private_text[len(self.private_host) + 1 :]

    def peer_hosts(self) -> tuple[str, ...]:
        """The addresses of its peers."""
        return tuple([peer.host for peer in self.peers])

    def state(self) -> tuple[Any, ...]:
        """What a message may change."""
        return (
            self.purpose, self.in_interface, self.uses, self.idle_until, self.lease_until, self.parting,
            self.contacts, self.peers,
        )

    def go_back(self, state: tuple[Any, ...]) -> None:
        """Be as it was."""
        self.purpose, self.in_interface, self.uses, self.idle_until, self.lease_until, *others = state
        self.parting, self.contacts, self.peers = others

    def is_as_it_was(self, before: tuple[Any, ...]) -> bool:
        """Whether nothing but times, contacts and holders has changed."""
        same = self.purpose == before[0] and self.peers is before[7] and self.parting == before[5]
        return same and bool(self.in_interface == before[1])

    def ended_at(self, before: tuple[Any, ...]) -> bool:
        """Whether it ended, unless somebody held it, when it ends now."""
        return bool(before[3] == self.idle_until)

    def record(self) -> tuple[str, Any]:
        """Kind and key of its record."""
        return ("mapping", self.key)

    def is_news(self, before: tuple[Any, ...], _now: float, _turn: int, /) -> bool:
        """Whether anything has changed that its record says; an end that moves, only where it passes another step."""
        idle_until: float = before[3]
        if idle_until != self.idle_until and idle_until // _BEHIND_S != self.idle_until // _BEHIND_S:
            return True
        if before[4] != self.lease_until or before[5] != self.parting or before[7] != self.peers:
            return True
        return bool(before[1] != self.in_interface or before[0] != self.purpose)


class Contact(Row):
    """A contact: an address of record at a registrar, reached through a mapping, until `expires_at`.

    `granted_s` is what the registrar granted last, `longest_s` the longest time that passed between two of its grants;
    0 if not known. `suspect_at` is when its flow's silences are to be looked at, `recorded` the end that its record
    was written with, -infinity if there is none; `stands` is False until it is in the tables, and when it has ended.
    """

    __slots__ = ("entry", "expires_at", "granted_s", "line", "longest_s", "recorded", "stands", "suspect_at")

    def __init__(self, entry: Entry, line: Line, expires_at: float) -> None:
        super().__init__()
        self.entry = entry
        self.line = line
        self.expires_at = expires_at
        self.granted_s = 0
        self.longest_s = 0.0
        self.suspect_at = math.inf
        self.recorded = _NEVER
        self.stands = False

    @property
    def key(self) -> ContactKey:
        """What tells it from all others."""
        return (self.entry.key, self.line[1], self.line[2])

    def state(self) -> tuple[Any, ...]:
        """What a message may change."""
        return (self.expires_at, self.granted_s, self.longest_s, self.stands)

    def go_back(self, state: tuple[Any, ...]) -> None:
        """Be as it was."""
        self.expires_at, self.granted_s, self.longest_s, self.stands = state

    def record(self) -> tuple[str, Any]:
        """Kind and key of its record."""
        return ("contact", self.key)

    def is_news(self, _before: tuple[Any, ...], now: float, _turn: int, /) -> bool:
        """Whether it is new, has ended, or ends much later than its record says.

        Phones renew their registrations all the time; a record that is a little behind lets a contact end a little
        early, should it not be renewed any more.
        """
        return not self.stands or not 0 <= self.expires_at - self.recorded < _RENEWED * (self.expires_at - now)
