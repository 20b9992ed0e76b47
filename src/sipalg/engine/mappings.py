"""The mapping table: one allocator of public ports for all phones, and who still holds which mapping.

A mapping is made when a message first names a private transport address, held by contacts and dialogs, and ended
32 s after the last holder let go; a sip mapping that nobody holds lives for sip-timeout after the phone last spoke,
since the kernel's flow does too. On a packet's way this is where a private address gets its public one.
Sources: RFC 4787 §4 (REQ-1 endpoint-independent mapping, REQ-4 port parity, §4.2.3 contiguity), design of the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, MAX_PORT, is_reference, literal, reference
from sipalg.codec.machine import new
from sipalg.codec.memory import SAME
from sipalg.engine import outside
from sipalg.engine.policy import LINGER_S, MAX_MAPPINGS, MAX_MAPPINGS_PER_HOST, MEDIA_LEASE_S
from sipalg.engine.rows import Entry, Home, MappingKey
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import (
    CloseMapping,
    Endpoint,
    Mapping,
    OpenMapping,
    Purpose,
    RefreshMapping,
)

#: A mapping is found by its protocol and public address, too. Of IPv4 there is only one of those: protocol and port
#: in one number. Of IPv6 the address is in the key.
PublicKey = int | tuple[int, bytes]
PortsTaken = Callable[[int, int], bool]
#: What came of a mapping's timer.
Outcome = Literal["none", "refreshed", "ended"]


def public_key(protocol: int, port: int, space: bytes) -> PublicKey:
    """The key of a public end; `space` is what `outside.space` says of its address.

    The protocol stands below the port, since a URI may name a port of five digits that is none.
    """
    number = port << 8 | protocol
    return (number, space) if space else number


class Mappings:
    """All mappings: `entries` by private address, `by_public`, and the `hosts` inside that they are of."""

    def __init__(self, settings: Settings, ports_taken: PortsTaken) -> None:
        self.settings = settings
        self.ports_taken = ports_taken
        self.entries: dict[MappingKey, Entry] = {}
        self.by_public: dict[PublicKey, Entry] = {}
        #: By the host as messages write it: also the quick answer to "is it one of ours?".
        self.hosts: dict[bytes, Home] = {}
        #: Ports of phones' connections, and the address that each stands for (`streams.home_of`).
        self.aliases: dict[MappingKey, Endpoint] = {}
        #: Ports that the kernel refused, and until when they aren't tried again.
        self.refused: dict[PublicKey, float] = {}
        #: Where the search in media-ports goes on: behind the block that was given last.
        self._cursor: dict[str, int] = {"next": settings.media_ports[0]}

    def of_public(self, protocol: int, port: int, host: bytes = b"") -> Entry | None:
        """The mapping that a public port belongs to: of the IPv4 address, or of the IPv6 `host` that messages name."""
        return self.by_public.get(public_key(protocol, port, host if is_reference(host) else b""))

    def of_end(self, protocol: int, public: Endpoint) -> Entry | None:
        """The mapping with this public end in the kernel, whatever messages name."""
        entry = self.of_public(protocol, public.port, outside.advertised(self.settings, public.host))
        return entry if entry is not None and entry.public == public else None

    def key_of(self, mapping: Mapping) -> PublicKey:
        """The key of a mapping's public end."""
        public = mapping.public
        return public_key(mapping.protocol, public.port, outside.space(self.settings, public.host))

    def of_private(self, protocol: int, host: bytes, port: int) -> Entry | None:
        """The mapping of a private address as a message writes it."""
        return self.entries.get((protocol, Endpoint(literal(host), port)))

    def open(
        self, transaction: Transaction, protocol: int, private: Endpoint, purpose: Purpose, in_interface: str
    ) -> Entry | None:
        """Return the mapping of a private address, made if there is none; None if no port is to be had."""
        private = self.aliases.get((protocol, private), private) if self.aliases else private
        entry = self.entries.get((protocol, private))
        if entry is not None:
            return None if purpose == "direct" and _signals(entry) else entry
        if self.settings.disabled and purpose == "sip":
            return None
        base = self._free_block(transaction, protocol, private, 1, even=False)
        if base is None:
            return None
        mapping = Mapping(protocol, private, Endpoint(outside.nat_host(self.settings, private.host), base), purpose)
        return self.add(transaction, mapping, in_interface)

    def open_block(
        self,
        transaction: Transaction,
        protocol: int,
        first: Endpoint,
        size: int,
        in_interface: str,
        *,
        even: bool,
        purpose: Purpose = "media",
    ) -> int | None:
        """Map `size` consecutive media ports from `first` on to consecutive public ones, the first even if asked.

        Returns the first public port. None if no block is free, or if some of the ports are mapped already in another
        order: a description that is edited by halves would be worse than none. For direct media also if another host
        signals on one of them.
        """
        host, first_port = first
        base: int | None = None
        missing = []
        narrow = []
        for step in range(size):
            private = new(Endpoint, (host, first_port + step)) if step else first
            entry = self.entries.get((protocol, private))
            if entry is None:
                missing.append((step, private))
            elif step == 0:
                base = entry.public_port
            elif base is None or entry.public_port != base + step:
                return None
            if entry is not None and entry.purpose != purpose:
                if purpose == "direct" and _signals(entry):
                    return None
                if entry.purpose == "direct":
                    narrow.append(entry)
        for entry in narrow:
            self._widen(transaction, entry)
        if not missing:
            return base
        public_host = outside.nat_host(self.settings, host)
        if base is None:
            base = self._free_block(transaction, protocol, first, size, even=even)
            if base is None:
                return None
        else:
            space, shared = outside.space(self.settings, public_host), outside.shares_address(self.settings, host)
            now = transaction.now
            if not all(self._free(protocol, base + step, space, now, shared=shared) for step, _ in missing):
                return None
        for step, private in missing:
            public = new(Endpoint, (public_host, base + step))
            mapping = new(Mapping, (protocol, private, public, purpose, False))
            self.add(transaction, mapping, in_interface)
        return base

    def add(self, transaction: Transaction, mapping: Mapping, in_interface: str) -> Entry:
        """Put a mapping whose public port is known into the tables."""
        entry = self._entry(transaction, mapping, in_interface)
        lease_s = self._lease_s(mapping.purpose)
        idle_s = self.settings.sip_timeout_s if mapping.purpose == "sip" else LINGER_S
        entry.idle_until = transaction.now + idle_s
        entry.lease_until = transaction.now + lease_s
        transaction.keep(entry)
        transaction.put(self.entries, entry.key, entry)
        transaction.put(self.by_public, self.key_of(mapping), entry)
        transaction.commands.append(new(OpenMapping, (mapping, lease_s)))
        transaction.tell("mapping-opened", private=mapping.private, public=mapping.public, purpose=mapping.purpose)
        self.rouse(transaction, entry)
        return entry

    def restore(
        self, transaction: Transaction, mapping: Mapping, in_interface: str, remaining_s: float
    ) -> Entry | None:
        """Put a mapping that stands in the kernel into the tables, for good; None if another one is in its way.

        If nobody takes hold of it, it ends there and here at the same time.
        """
        public = self.key_of(mapping)
        if public in self.by_public or (mapping.protocol, mapping.private) in self.entries:
            return None
        host = reference(mapping.private.host)
        home = self.hosts.get(host)
        if home is None:
            home = self.hosts[host] = Home(host)
        home.mappings += 1
        entry = Entry(mapping, in_interface, home, self._public_host(mapping))
        entry.idle_until = entry.lease_until = transaction.now + remaining_s
        self.entries[entry.key] = self.by_public[public] = entry
        transaction.note(self.entries, entry.key)
        transaction.tell("mapping-opened", private=mapping.private, public=mapping.public, purpose=mapping.purpose)
        self.rouse(transaction, entry)
        return entry

    def _widen(self, transaction: Transaction, entry: Entry) -> None:
        """Make a mapping for direct media one that anybody's media come in by: its own phone names it now."""
        before = entry.mapping
        transaction.keep(entry)
        entry.purpose = "media"
        entry.lease_until = transaction.now + MEDIA_LEASE_S
        transaction.commands += (CloseMapping(before), OpenMapping(entry.mapping, MEDIA_LEASE_S))

    def move(self, transaction: Transaction, entry: Entry, in_interface: str) -> None:
        """Note where a mapping's phone is: one taken over at start isn't known until it speaks."""
        transaction.keep(entry)
        entry.in_interface = in_interface

    def rouse(self, transaction: Transaction, entry: Entry) -> None:
        """Set a mapping's timer: to the middle of its lease if it is needed for longer than that, else to its end."""
        at = entry.idle_until
        if at > entry.lease_until or entry.uses:
            at = self._lease_middle(entry)
        transaction.wake(at, entry)

    def hold(self, transaction: Transaction, key: MappingKey) -> None:
        """Add a holder: a contact or a dialog. A mapping that is gone has none."""
        entry = self.entries.get(key)
        if entry is not None:
            transaction.keep(entry)
            self.take_hold(transaction, entry)

    def take_hold(self, transaction: Transaction, entry: Entry) -> None:
        """Add a holder for good, or behind a `keep`."""
        entry.uses += 1
        if entry.uses == 1 and entry.idle_until >= entry.lease_until:
            # One that an earlier process left may be about to run out in the kernel, before its timer is due.
            self.rouse(transaction, entry)

    def release(self, transaction: Transaction, key: MappingKey, *, parting: bool = False) -> None:
        """Take a holder away; `parting` says that the phone itself took its last contact back.

        Without holders the mapping lives 32 s more, and a sip mapping for as long as the phone's last packet gave it,
        unless it is parting: then what comes later gives it 32 s only.
        """
        entry = self.entries.get(key)
        if entry is None or not entry.uses:
            return
        transaction.keep(entry)
        entry.uses -= 1
        entry.parting = entry.parting or parting
        until = transaction.now + LINGER_S
        if parting or entry.idle_until < until:
            entry.idle_until = until
        if not entry.uses:
            self.rouse(transaction, entry)

    def touch(self, transaction: Transaction, entry: Entry) -> None:
        """Note that the phone spoke from this sip mapping: written at most every tenth of sip-timeout."""
        timeout_s = LINGER_S if entry.parting else self.settings.sip_timeout_s
        if entry.idle_until < transaction.now + 0.9 * timeout_s:
            transaction.keep(entry)
            entry.idle_until = transaction.now + timeout_s
            self.rouse(transaction, entry)

    def stay(self, transaction: Transaction, entry: Entry) -> None:
        """Take back that a mapping is parting: a contact was granted again."""
        transaction.keep(entry)
        entry.parting = False

    def retime(self, transaction: Transaction) -> None:
        """Begin another sip-timeout now for every mapping of sip, but for those that part anyway."""
        for entry in self.entries.values():
            if entry.purpose == "sip" and not entry.parting:
                transaction.keep(entry)
                entry.idle_until = transaction.now + self.settings.sip_timeout_s
                self.rouse(transaction, entry)

    def renew(self, transaction: Transaction, entry: Entry) -> None:
        """Give a mapping its whole lease in the kernel again."""
        lease_s = self._lease_s(entry.purpose)
        transaction.keep(entry)
        entry.lease_until = transaction.now + lease_s
        transaction.commands.append(RefreshMapping(entry.mapping, lease_s))

    def look_after(self, transaction: Transaction, entry: Entry) -> Outcome:
        """Handle a mapping's timer: end it if nobody needs it, else refresh its lease where half of it is over."""
        if self.entries.get(entry.key) is not entry:
            return "none"
        if not entry.uses and entry.idle_until <= transaction.now:
            self.drop(transaction, entry)
            return "ended"
        outlives = entry.uses > 0 or entry.idle_until > entry.lease_until
        refresh = outlives and self._lease_middle(entry) <= transaction.now
        if refresh:
            self.renew(transaction, entry)
        self.rouse(transaction, entry)
        return "refreshed" if refresh else "none"

    def drop(self, transaction: Transaction, entry: Entry) -> None:
        """Take a mapping out of all tables and close it in the kernel."""
        transaction.keep(entry)
        transaction.remove(self.entries, entry.key)
        mapping = entry.mapping
        transaction.remove(self.by_public, self.key_of(mapping))
        home = entry.home
        transaction.keep(home)
        home.mappings -= 1
        if not home.mappings:
            transaction.remove(self.hosts, home.text)
        transaction.commands.append(CloseMapping(mapping))
        transaction.tell("mapping-closed", private=mapping.private, public=mapping.public)

    def refuse(self, protocol: int, public: Endpoint, now: float) -> None:
        """Remember that the kernel wouldn't have this public end, so that the next try takes another."""
        for key in [key for key, until in self.refused.items() if until <= now]:
            del self.refused[key]
        self.refused[public_key(protocol, public.port, outside.space(self.settings, public.host))] = now + LINGER_S

    def _entry(self, transaction: Transaction, mapping: Mapping, in_interface: str) -> Entry:
        """A new mapping, counted as one of its host's."""
        host = reference(mapping.private.host)
        home = self.hosts.get(host)
        if home is None:
            home = Home(host)
            transaction.put(self.hosts, host, home)
        transaction.keep(home)
        home.mappings += 1
        return Entry(mapping, in_interface, home, self._public_host(mapping))

    def _public_host(self, mapping: Mapping) -> bytes:
        return SAME[outside.advertised(self.settings, mapping.public.host)]

    def advertise_anew(self) -> None:
        """Make the texts again after the advertised address has changed."""
        self.by_public.clear()
        for entry in self.entries.values():
            mapping = entry.mapping
            entry.name(self._public_host(mapping))
            self.by_public[self.key_of(mapping)] = entry

    def _lease_s(self, purpose: Purpose) -> float:
        """How long an element lives in the kernel unrefreshed: long, so that the hot path never has to refresh."""
        return 2.0 * self.settings.sip_timeout_s if purpose == "sip" else MEDIA_LEASE_S

    def _lease_middle(self, entry: Entry) -> float:
        """When the mapping's lease is to be refreshed; one formula, so that a due timer always finds it due."""
        return entry.lease_until - 0.5 * self._lease_s(entry.purpose)

    def mappings_of(self, host: bytes) -> int:
        """How many mappings an inside host has."""
        home = self.hosts.get(host)
        return 0 if home is None else home.mappings

    def _free(self, protocol: int, port: int, space: bytes, now: float, *, shared: bool = True) -> bool:
        """Whether nobody has this public end: no mapping of ours, no refusal, nobody else on a `shared` address."""
        key = public_key(protocol, port, space)
        return (
            FIRST_UNPRIVILEGED_PORT <= port <= MAX_PORT
            and key not in self.by_public
            and self.refused.get(key, 0.0) <= now
            and not (shared and self.ports_taken(protocol, port))
        )

    def _free_block(
        self, transaction: Transaction, protocol: int, first: Endpoint, size: int, *, even: bool
    ) -> int | None:
        """Find `size` consecutive free public ports: the phone's own ports, else some of media-ports.

        Who has a public address for itself keeps its ports.
        """
        if (
            self.mappings_of(reference(first.host)) + size > MAX_MAPPINGS_PER_HOST
            or len(self.entries) + size > MAX_MAPPINGS
        ):
            return None
        now, port = transaction.now, first.port
        host = outside.space(self.settings, outside.nat_host(self.settings, first.host))
        shared = outside.shares_address(self.settings, first.host)
        own = (self._free(protocol, port + step, host, now, shared=shared) for step in range(size))
        if not (shared and even and port % 2) and all(own):
            return port
        for base in self._candidates(size, even) if shared else ():
            if all(self._free(protocol, base + step, host, now) for step in range(size)):
                transaction.put(self._cursor, "next", base + size)
                return base
        return None

    def _candidates(self, size: int, even: bool) -> Iterator[int]:
        """The starts of blocks in media-ports, once around, beginning behind the one given last."""
        low, high = self.settings.media_ports
        step = 2 if even else 1
        low += low % 2 if even else 0
        first = max(self._cursor["next"], low)
        first += (first - low) % step
        yield from range(first, high - size + 2, step)
        yield from range(low, min(first, high - size + 2), step)


def _signals(entry: Entry) -> bool:
    """Whether a mapping is for signalling, and not the administrator's own port forward."""
    return entry.purpose == "sip" and not entry.adopted
