"""The mapping table: one allocator of public ports for all phones, and who still holds which mapping.

A mapping is made when a message first names a private transport address, held by contacts and dialogs, and ended
32 s after the last holder let go; a sip mapping that nobody holds lives for sip-timeout after the phone last spoke,
since the kernel's flow does too. On a packet's way this is where a private address gets its public one.
Sources: RFC 4787 §4 (REQ-1 endpoint-independent mapping, REQ-4 port parity, §4.2.3 contiguity), design of the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, MAX_PORT, is_reference, literal, reference
from sipalg.codec.memory import SAME
from sipalg.engine import outside
from sipalg.engine.policy import LINGER_S, MAX_MAPPINGS, MAX_MAPPINGS_PER_HOST, MEDIA_LEASE_S
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

#: A NamedTuple's own constructor costs twice as much, and a media port is looked up in every description.
new: Final = tuple.__new__

#: A mapping is found by its protocol and private address, or by its protocol and public address. Of IPv4 there is
#: only one of those, which is left out here: b"" in its place.
MappingKey = tuple[int, Endpoint]
PublicKey = tuple[int, int, bytes]
PortsTaken = Callable[[int, int], bool]
#: What came of a mapping's timer.
Outcome = Literal["none", "refreshed", "ended"]


class Entry(NamedTuple):
    """A mapping as the engine holds it, with the texts that messages need; `in_interface` is where its phone is.

    `public_host` is what messages are to name. `for_sip` says that messages may come to it: a sip mapping, or a port
    forward, whatever that is for. `as_it_is`: the public address is the private one, as IPv6's may be.
    """

    mapping: Mapping
    key: MappingKey
    in_interface: str
    private_host: bytes
    private_port: bytes
    private_text: bytes
    public_port: int
    public_text: bytes
    for_sip: bool
    public_host: bytes
    as_it_is: bool


class Mappings:
    """All mappings. Tables by key: `entries`, `uses` (number of holders), `idle_until`, `lease_until`, `parting`."""

    def __init__(self, settings: Settings, ports_taken: PortsTaken) -> None:
        self.settings = settings
        self.ports_taken = ports_taken
        self.entries: dict[MappingKey, Entry] = {}
        self.by_public: dict[PublicKey, MappingKey] = {}
        #: Number of mappings by inside host, as messages write it; also the quick answer to "is it one of ours?".
        self.hosts: dict[bytes, int] = {}
        self.uses: dict[MappingKey, int] = {}
        self.idle_until: dict[MappingKey, float] = {}
        self.lease_until: dict[MappingKey, float] = {}
        #: Mappings whose last contact was taken back by its phone: what comes later holds them for 32 s only.
        self.parting: dict[MappingKey, bool] = {}
        #: Ports of phones' connections, and the address that each stands for (`streams.home_of`).
        self.aliases: dict[MappingKey, Endpoint] = {}
        #: Ports that the kernel refused, and until when they aren't tried again.
        self.refused: dict[PublicKey, float] = {}
        #: Where the search in media-ports goes on: behind the block that was given last.
        self._cursor: dict[str, int] = {"next": settings.media_ports[0]}

    def of_public(self, protocol: int, port: int, host: bytes = b"") -> Entry | None:
        """The mapping that a public port belongs to: of the IPv4 address, or of the IPv6 `host` that messages name."""
        key = self.by_public.get((protocol, port, host if is_reference(host) else b""))
        return None if key is None else self.entries[key]

    def of_end(self, protocol: int, public: Endpoint) -> Entry | None:
        """The mapping with this public end in the kernel, whatever messages name."""
        entry = self.of_public(protocol, public.port, outside.advertised(self.settings, public.host))
        return entry if entry is not None and entry.mapping.public == public else None

    def key_of(self, mapping: Mapping) -> PublicKey:
        """The key of a mapping's public end."""
        return (mapping.protocol, mapping.public.port, outside.space(self.settings, mapping.public.host))

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
            if entry is not None and entry.mapping.purpose != purpose:
                if purpose == "direct" and _signals(entry):
                    return None
                if entry.mapping.purpose == "direct":
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
            keys = [(protocol, base + step, space) for step, _ in missing]
            if not all(self._free(key, transaction.now, shared=shared) for key in keys):
                return None
        for step, private in missing:
            public = new(Endpoint, (public_host, base + step))
            mapping = new(Mapping, (protocol, private, public, purpose, False))
            self.add(transaction, mapping, in_interface)
        return base

    def add(
        self,
        transaction: Transaction,
        mapping: Mapping,
        in_interface: str,
        remaining_s: float | None = None,
    ) -> Entry:
        """Put a mapping whose public port is known into the tables.

        `remaining_s` is given for one that stands in the kernel already, where nothing is to be opened; if nobody
        takes hold of it, it ends there and here at the same time.
        """
        entry = self._entry(mapping, in_interface)
        key, host = entry.key, entry.private_host
        lease_s = self._lease_s(mapping)
        idle_s = self.settings.sip_timeout_s if mapping.purpose == "sip" else LINGER_S
        transaction.put(self.entries, key, entry)
        transaction.put(self.by_public, self.key_of(mapping), key)
        transaction.put(self.hosts, host, self.hosts.get(host, 0) + 1)
        transaction.put(self.idle_until, key, transaction.now + (idle_s if remaining_s is None else remaining_s))
        transaction.put(self.lease_until, key, transaction.now + (lease_s if remaining_s is None else remaining_s))
        if remaining_s is None:
            transaction.commands.append(new(OpenMapping, (mapping, lease_s)))
        transaction.tell("mapping-opened", private=mapping.private, public=mapping.public, purpose=mapping.purpose)
        self._wake(transaction, key)
        return entry

    def _widen(self, transaction: Transaction, entry: Entry) -> None:
        """Make a mapping for direct media one that anybody's media come in by: its own phone names it now."""
        mapping = entry.mapping._replace(purpose="media")
        transaction.put(self.entries, entry.key, entry._replace(mapping=mapping))
        transaction.put(self.lease_until, entry.key, transaction.now + MEDIA_LEASE_S)
        transaction.commands += (CloseMapping(entry.mapping), OpenMapping(mapping, MEDIA_LEASE_S))

    def move(self, transaction: Transaction, entry: Entry, in_interface: str) -> Entry:
        """Note where a mapping's phone is: one taken over at start isn't known until it speaks."""
        moved = entry._replace(in_interface=in_interface)
        transaction.put(self.entries, entry.key, moved)
        return moved

    def rouse(self, transaction: Transaction, key: MappingKey) -> None:
        """Set a mapping's timer after its times were set from elsewhere."""
        self._wake(transaction, key)

    def hold(self, transaction: Transaction, key: MappingKey) -> None:
        """Add a holder: a contact or a dialog. A mapping that is gone has none."""
        if key in self.entries:
            uses = self.uses.get(key, 0)
            transaction.put(self.uses, key, uses + 1)
            if not uses and self.idle_until[key] >= self.lease_until[key]:
                # One that an earlier process left may be about to run out in the kernel, before its timer is due.
                self._wake(transaction, key)

    def release(self, transaction: Transaction, key: MappingKey, *, parting: bool = False) -> None:
        """Take a holder away; `parting` says that the phone itself took its last contact back.

        Without holders the mapping lives 32 s more, and a sip mapping for as long as the phone's last packet gave it,
        unless it is parting.
        """
        uses = self.uses.get(key, 0) - 1
        if uses < 0:
            return
        transaction.put(self.uses, key, uses)
        if parting:
            transaction.put(self.parting, key, True)
        until = transaction.now + LINGER_S
        if parting or self.idle_until[key] < until:
            transaction.put(self.idle_until, key, until)
        if uses == 0:
            self._wake(transaction, key)

    def touch(self, transaction: Transaction, key: MappingKey) -> None:
        """Note that the phone spoke from this sip mapping: written at most every tenth of sip-timeout."""
        timeout_s = LINGER_S if self.parting and key in self.parting else self.settings.sip_timeout_s
        if self.idle_until[key] < transaction.now + 0.9 * timeout_s:
            transaction.put(self.idle_until, key, transaction.now + timeout_s)
            self._wake(transaction, key)

    def stay(self, transaction: Transaction, key: MappingKey) -> None:
        """Take back that a mapping is parting: a contact was granted again."""
        transaction.remove(self.parting, key)

    def retime(self, transaction: Transaction) -> None:
        """Begin another sip-timeout now for every mapping of sip, but for those that part anyway."""
        for key, entry in self.entries.items():
            if entry.mapping.purpose == "sip" and key not in self.parting:
                transaction.put(self.idle_until, key, transaction.now + self.settings.sip_timeout_s)
                self._wake(transaction, key)

    def renew(self, transaction: Transaction, entry: Entry) -> None:
        """Give a mapping its whole lease in the kernel again."""
        lease_s = self._lease_s(entry.mapping)
        transaction.put(self.lease_until, entry.key, transaction.now + lease_s)
        transaction.commands.append(RefreshMapping(entry.mapping, lease_s))

    def look_after(self, transaction: Transaction, key: MappingKey) -> Outcome:
        """Handle a mapping's timer: end it if nobody needs it, else refresh its lease where half of it is over."""
        entry = self.entries.get(key)
        if entry is None:
            return "none"
        if not self.uses.get(key) and self.idle_until[key] <= transaction.now:
            self.drop(transaction, entry)
            return "ended"
        refresh = self._outlives_lease(key) and self._lease_middle(key) <= transaction.now
        if refresh:
            self.renew(transaction, entry)
        self._wake(transaction, key)
        return "refreshed" if refresh else "none"

    def drop(self, transaction: Transaction, entry: Entry) -> None:
        """Take a mapping out of all tables and close it in the kernel."""
        key = entry.key
        transaction.remove(self.entries, key)
        transaction.remove(self.by_public, self.key_of(entry.mapping))
        left = self.hosts[entry.private_host] - 1
        if left:
            transaction.put(self.hosts, entry.private_host, left)
        else:
            transaction.remove(self.hosts, entry.private_host)
        transaction.remove(self.uses, key)
        transaction.remove(self.idle_until, key)
        transaction.remove(self.lease_until, key)
        transaction.remove(self.parting, key)
        transaction.commands.append(CloseMapping(entry.mapping))
        transaction.tell("mapping-closed", private=entry.mapping.private, public=entry.mapping.public)

    def refuse(self, protocol: int, public: Endpoint, now: float) -> None:
        """Remember that the kernel wouldn't have this public end, so that the next try takes another."""
        for key in [key for key, until in self.refused.items() if until <= now]:
            del self.refused[key]
        self.refused[protocol, public.port, outside.space(self.settings, public.host)] = now + LINGER_S

    def _entry(self, mapping: Mapping, in_interface: str) -> Entry:
        """A mapping with its texts made, so that a message costs none."""
        host = SAME[reference(mapping.private.host)]
        private_port = b"%d" % mapping.private.port
        port = mapping.public.port
        advertised = SAME[outside.advertised(self.settings, mapping.public.host)]
        values = (
            mapping,
            (mapping.protocol, mapping.private),
            in_interface,
            host,
            private_port,
            b"%b:%b" % (host, private_port),
            port,
            b"%b:%d" % (advertised, port),
            mapping.purpose == "sip" or mapping.adopted,
            advertised,
            mapping.public == mapping.private,
        )
        return new(Entry, values)

    def advertise_anew(self) -> None:
        """Make the texts again after the advertised address has changed."""
        for key, entry in self.entries.items():
            self.entries[key] = self._entry(entry.mapping, entry.in_interface)
        self.by_public.clear()
        self.by_public.update({self.key_of(entry.mapping): key for key, entry in self.entries.items()})

    def _lease_s(self, mapping: Mapping) -> float:
        """How long an element lives in the kernel unrefreshed: long, so that the hot path never has to refresh."""
        return 2.0 * self.settings.sip_timeout_s if mapping.purpose == "sip" else MEDIA_LEASE_S

    def _outlives_lease(self, key: MappingKey) -> bool:
        """Whether the mapping is needed for longer than the kernel would keep it."""
        return bool(self.uses.get(key)) or self.idle_until[key] > self.lease_until[key]

    def _wake(self, transaction: Transaction, key: MappingKey) -> None:
        """Set the mapping's timer to the middle of its lease if it is needed for longer than that, else to its end."""
        at = self.idle_until[key]
        if at > self.lease_until[key] or self.uses.get(key):
            at = self._lease_middle(key)
        transaction.wake(at, ("mapping", key))

    def _lease_middle(self, key: MappingKey) -> float:
        """When the mapping's lease is to be refreshed; one formula, so that a due timer always finds it due."""
        return self.lease_until[key] - 0.5 * self._lease_s(self.entries[key].mapping)

    def _free(self, key: PublicKey, now: float, *, shared: bool = True) -> bool:
        """Whether nobody has this public end: no mapping of ours, no refusal, nobody else on a `shared` address."""
        return (
            FIRST_UNPRIVILEGED_PORT <= key[1] <= MAX_PORT
            and key not in self.by_public
            and self.refused.get(key, 0.0) <= now
            and not (shared and self.ports_taken(key[0], key[1]))
        )

    def _free_block(
        self, transaction: Transaction, protocol: int, first: Endpoint, size: int, *, even: bool
    ) -> int | None:
        """Find `size` consecutive free public ports: the phone's own ports, else some of media-ports.

        Who has a public address for itself keeps its ports.
        """
        if (
            self.hosts.get(reference(first.host), 0) + size > MAX_MAPPINGS_PER_HOST
            or len(self.entries) + size > MAX_MAPPINGS
        ):
            return None
        now, port = transaction.now, first.port
        host = outside.space(self.settings, outside.nat_host(self.settings, first.host))
        shared = outside.shares_address(self.settings, first.host)
        own = ((protocol, port + step, host) for step in range(size))
        if not (shared and even and port % 2) and all(self._free(key, now, shared=shared) for key in own):
            return port
        for base in self._candidates(size, even) if shared else ():
            if all(self._free((protocol, base + step, host), now) for step in range(size)):
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
    return entry.mapping.purpose == "sip" and not entry.mapping.adopted
