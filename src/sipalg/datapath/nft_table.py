"""Our nf_tables table, live: made or taken over, its elements written as the engine commands, read back, removed.

The long-living socket here owns the table where the kernel knows owners that may leave (6.9): then no other process
can flush or change it, and when this one dies it stays as it is until the next takes it over with all its mappings.
On other kernels a guard tells when somebody took it away. Every change is one transaction, all or none.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from sipalg.datapath import netlink, nft_codec, nft_elements, nft_relay, nft_rules
from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket
from sipalg.datapath.nft_elements import Elements
from sipalg.datapath.nft_family import IPV4, IPV6, Family
from sipalg.datapath.nft_features import Features, find_features
from sipalg.datapath.nft_guard import TableGuard
from sipalg.datapath.nft_rules import (
    DIRECT_MEDIA,
    DNAT_MAP,
    MEDIA_MAP,
    SIP_PEERS,
    SIP_PRIVATE,
    SNAT_MAP,
    TableSettings,
)
from sipalg.datapath.nft_sets import SetReader
from sipalg.datapath.nft_steps import ElementWriter, MapCommand, Step, steps_of, without_what_stands

#: What these errors say is that a table of this name stands which isn't made as ours is: another version's.
_OTHER_LAYOUT: Final = frozenset({errno.EEXIST, errno.EBUSY, errno.EINVAL, errno.EOPNOTSUPP})
#: Timeout policies that may be left from other settings: when one is deleted, the kernel drops what waits in the
#: namespace's queues (nft_ct_timeout_obj_destroy calls nf_queue_nf_hook_drop), and what it gave to flows falls back.
_MOST_STALE_POLICIES: Final = 16
#: The sets with an element a phone that are read.
_LARGE_SETS: Final = (SNAT_MAP, SIP_PEERS)


class NftTable:
    """The table of one ALG. Every method may raise NetlinkError; nothing was changed then."""

    def __init__(self, settings: TableSettings, features: Features | None = None) -> None:
        """Find out what the kernel has (unless `features` says so); changes nothing yet.

        Raises NetlinkError: EPERM without the right to, EOPNOTSUPP when the kernel can't hand packets to a queue.
        """
        self.settings = settings
        self._netlink = NetlinkSocket()
        self._ahead: SetReader | None = None
        #: Readable when somebody may have changed the table, and None where nobody can.
        self.guard: TableGuard | None = None
        try:
            self.features = find_features(self._netlink) if features is None else features
            self._writer = ElementWriter(settings.name, self.features.timeout_update)
            if not self.features.owner_persist:
                self.guard = TableGuard(settings.name, self._netlink.port_id)
        except OSError:
            self._netlink.close()
            raise

    def install(self, commands: Sequence[MapCommand] = ()) -> None:
        """Make the table, or take over the one that stands and bring it to our settings; its mappings stay.

        `commands` are run in the same transaction: that is how a table that somebody removed comes back whole. Raises
        NetlinkError EPERM when another process owns a table of this name. Timeout policies of other settings stay, up
        to some number: flows have them, and to take one away costs every packet that waits in any queue.
        """
        try:
            self._own()
            self._bring_to_our_form(commands)
        except NetlinkError as error:
            if error.index >= 0 or error.errno not in _OTHER_LAYOUT or not self.exists():
                raise
            # A table of another version: what it holds can't be kept.
            self._run([*self._deletions(), *self._structure()], commands)

    def _own(self) -> None:
        """Become the owner of a table that stands: a transaction that does can't add base chains to it as well."""
        if self.features.owner_persist and self.exists():
            self._run([nft_codec.new_table(self.settings.name, nft_codec.OWNER | nft_codec.PERSIST)], ())

    def change(self, settings: TableSettings) -> None:
        """Bring the standing table to other settings (of the same `name`) in one transaction; its mappings stay."""
        before, self.settings = self.settings, settings
        try:
            # Whatever is refused: the table is never made anew for it, as its mappings would be lost.
            self._bring_to_our_form(())
        except NetlinkError:
            self.settings = before
            raise

    def _bring_to_our_form(self, commands: Sequence[MapCommand]) -> None:
        wanted = {name for name, *_ in nft_rules.timeout_policies(self.settings)}
        stale: list[tuple[Family, str]] = []
        for family in self.settings.families:
            found = sorted(set(self._timeout_names(family)) - wanted)
            stale += [(family, name) for name in found] if len(found) > _MOST_STALE_POLICIES else []
        delete = IPV6.message(nft_codec.delete_table(self.settings.name))
        gone = [delete] if IPV6 not in self.settings.families and self.exists(IPV6) else []
        try:
            self._run(gone + self._structure(stale), commands)
        except NetlinkError as error:
            if error.index >= 0 or error.errno not in _OTHER_LAYOUT or gone or not self.exists(IPV6):
                raise
            # NAT's chains can't be added to one that stands without; no mapping of the way before is true any more.
            self._run([delete, *self._structure(stale)], commands)

    def _structure(self, stale: Sequence[tuple[Family, str]] = ()) -> list[Message]:
        """Return what makes the table, or brings it to our form."""
        made = nft_rules.structure(self.settings, self.features, stale)
        return made + nft_relay.structure(self.settings, self.features)

    def end_queue(self) -> list[Message]:
        """Return the messages that bring nothing to this process any more; the table stays without it."""
        left = nft_rules.without_queue(self.settings, self.features)
        return left + nft_relay.without_relay(self.settings, self.features)

    def apply(self, commands: Sequence[MapCommand]) -> None:
        """Run all commands or none.

        Raises NetlinkError with the `index` of the first command that failed: EEXIST when an element stands with
        another value, ENOENT when the table is gone. Opening what stands with the same value renews it, refreshing
        what has run out opens it, and closing what is gone is no error.
        """
        self._run([], commands)

    def serve(self) -> None:
        """Have SIP come to the queue for some more seconds (`nft_rules.SERVED_S`), instead of passing unseen."""
        self._netlink.transaction(nft_rules.served(self.settings))

    def exists(self, family: Family = IPV4) -> bool:
        """Tell whether a table of our name stands, whoever made it."""
        try:
            return bool(self._netlink.request(family.message(nft_codec.get_table(self.settings.name))))
        except NetlinkError as error:
            if error.errno in (errno.ENOENT, errno.EAFNOSUPPORT):
                return False
            raise

    def read_ahead(self) -> None:
        """Begin to read what `elements` will return; as much else can be done meanwhile as there are processors."""
        if self.exists():
            self._ahead = SetReader(self.settings.name, _LARGE_SETS)

    def elements(self) -> Elements:
        """Read back the mappings and peers that stand, to go on with them after a restart; nothing without table."""
        try:
            found = [self._elements(family) for family in (IPV4, IPV6) if self.exists(family)]
        finally:
            if self._ahead is not None:
                self._ahead.close()
            self._ahead = None
        mappings = tuple(mapping for one in found for mapping in one.mappings)
        return Elements(mappings, tuple(peer for one in found for peer in one.peers))

    def _elements(self, family: Family) -> Elements:
        snat = self._dump(family, SNAT_MAP)
        if nft_elements.say_their_kind(snat):
            mappings = nft_elements.mappings_of(snat)
        else:
            let_in = {one[0] for name in (DNAT_MAP, MEDIA_MAP) for one in self._dump(family, name)}
            signalling = {one[0] for one in self._dump(family, SIP_PRIVATE)}
            mappings = nft_elements.mappings_of(snat, let_in, signalling, self._direct_media(family))
        peers = nft_elements.peers_of(self._dump(family, SIP_PEERS), family.address_bytes)
        return Elements(tuple(mappings), tuple(peers))

    def packets_to_queue(self) -> int:
        """Count the packets that were given to the queue since the table was made, whether anybody took them or not.

        Less those that were received, it is how many went by as plain NAT. 0 without table.
        """
        return self._counters().get(nft_rules.COUNTER_NAME, 0)

    def tcp_counters(self) -> dict[str, int]:
        """Count first packets of TCP, by nft_relay's names: given to the relay, arrived there, of TLS."""
        names = (*nft_relay.TO_RELAY_NAMES, *nft_relay.AT_RELAY_NAMES, nft_relay.TLS_NAME)
        counts = self._counters()
        return {name: counts.get(name, 0) for name in names}

    def tcp_noted(self) -> bool:
        """Tell whether a new connection over TCP was ever noted for the relay. False without table."""
        try:
            return any(map(_packets, self._netlink.request(nft_relay.ask_for_noted(self.settings.name))))
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return False
            raise

    def packets_from_strangers(self) -> int:
        """Count the packets to a phone's public SIP port whose sender is no peer of it, as above. 0 without table."""
        return self._counters().get(nft_rules.STRANGERS_NAME, 0)

    def remove(self) -> None:
        """Remove the table with all its mappings. One that is gone is no error."""
        deletions = self._deletions()
        if deletions:
            self._netlink.transaction(deletions)

    def _deletions(self) -> list[Message]:
        """Return the messages that delete the tables that stand."""
        delete = nft_codec.delete_table(self.settings.name)
        return [family.message(delete) for family in (IPV4, IPV6) if self.exists(family)]

    def close(self) -> None:
        """Let go of the table, which stays as it is (also without an owner, where the kernel has owners)."""
        if self.guard is not None:
            self.guard.close()
        self._netlink.close()

    def _run(self, before: list[Message], commands: Sequence[MapCommand]) -> None:
        """Run `before` and the commands as one transaction."""
        steps: list[Step] = []
        for index, command in enumerate(commands):
            try:
                steps += steps_of(index, command)
            except ValueError as error:
                raise NetlinkError(errno.EAFNOSUPPORT, index, str(error)) from None
        while True:
            messages = list(before)
            owners = [-1] * len(before)
            for number, step in enumerate(steps):
                of_step = self._writer.messages(step)
                messages += of_step
                owners += [number] * len(of_step)
            errors = self._netlink.attempt(messages)
            if not errors:
                return
            again = without_what_stands(steps, {owners[index] for index in errors if 0 <= index < len(owners)})
            if again is None:
                raise self._failure(errors, owners, steps)
            steps = again

    def _failure(self, errors: dict[int, NetlinkError], owners: list[int], steps: list[Step]) -> NetlinkError:
        first = min(errors)
        error = errors[first]
        owner = owners[first] if 0 <= first < len(owners) else -1
        if owner < 0:
            return NetlinkError(error.errno or errno.EIO, -1, str(error.strerror))
        number = errno.EEXIST if error.errno == errno.EBUSY else error.errno or errno.EIO
        return NetlinkError(number, steps[owner].command, f"{steps[owner].set_name}: {error.strerror}")

    def _dump(self, family: Family, name: str) -> list[nft_elements.Listed]:
        """Return key, value and remaining seconds of each element of a set."""
        found: list[nft_elements.Listed] = []
        ahead = self._ahead
        if ahead is not None and family == IPV4 and name in ahead.names:
            answers = ahead.answers(name)
        else:
            answers = self._netlink.request(family.message(nft_codec.get_elements(self.settings.name, name)))
        for message in answers:
            members = netlink.attributes(message.body, 4).get(nft_codec.LIST_ELEMENTS, b"")
            found += nft_elements.read(members)
        return found

    def _direct_media(self, family: Family) -> set[bytes]:
        """Return the keys of the mappings for direct media; a table of an earlier version has none."""
        try:
            return {one[0] for one in self._dump(family, DIRECT_MEDIA)}
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return set()
            raise

    def _counters(self) -> dict[str, int]:
        """Return the tables' counters of packets by name."""
        counts: defaultdict[str, int] = defaultdict(int)
        for message in (one for family in self.settings.families for one in self._objects(family, nft_codec.COUNTER)):
            name = netlink.attributes(message.body, 4).get(nft_codec.OBJECT_NAME, b"")
            counts[netlink.string(name)] += _packets(message)
        return counts

    def _objects(self, family: Family, kind: int) -> list[Message]:
        return self._netlink.request(family.message(nft_codec.get_objects(self.settings.name, kind)))

    def _timeout_names(self, family: Family) -> list[str]:
        """Return the names of the timeout policies that the table has."""
        if not self.features.ct_timeout:
            return []
        found = [netlink.attributes(message.body, 4) for message in self._objects(family, nft_codec.CT_TIMEOUT)]
        return [netlink.string(one.get(nft_codec.OBJECT_NAME, b"")) for one in found]


def _packets(counter: Message) -> int:
    """Read how many packets a counter has seen."""
    data = netlink.attributes(counter.body, 4).get(nft_codec.OBJECT_DATA, b"")
    return netlink.number(netlink.attributes(data).get(2, b""))
