"""An earlier process's records become this engine's state: contacts and calls go on as if nothing had been.

Before the first packet, and after what the kernel holds has become the engine's. A record is taken as far as it still
is true: its mapping has the same public end, or can have it again, and its time isn't over. What can't be read, or
contradicts what is there, is left out and counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT, MAX_PORT, is_literal
from sipalg.codec.machine import new
from sipalg.engine.dialogs import Dialog, DialogKey, Offer
from sipalg.engine.media import Ends, MediaEnd
from sipalg.engine.outside import nat_host
from sipalg.engine.passage import Passage
from sipalg.engine.records import KINDS, Plain
from sipalg.engine.rows import Entry, MappingKey
from sipalg.engine.verdict import TCP, UDP, Endpoint, Flow, Mapping, Purpose

_PURPOSES: Final[dict[str, Purpose]] = {"sip": "sip", "media": "media", "direct": "direct"}
#: What reading a value of another form than expected raises.
_UNREADABLE: Final = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


class PlainRecord(NamedTuple):
    """A record as it was kept: its kind, its key in one row, and its value."""

    kind: str
    key: tuple[Any, ...]
    value: Plain


def resume(passage: Passage, records: Iterable[PlainRecord], standing: Collection[Flow]) -> None:
    """Go on with what the records say; `standing` are the media flows that the kernel still has.

    The kernel's own mappings and the port forwards are in the tables already. The commands open again what it has
    lost.
    """
    passage.contacts.be_lenient(passage.transaction.now)
    by_kind: dict[str, list[PlainRecord]] = {kind: [] for kind in KINDS}
    for record in records:
        by_kind.get(record.kind, []).append(record)
    resuming = _Resuming(passage, standing, by_kind["contact"], by_kind["dialog"])
    counts = dict.fromkeys(KINDS, 0)
    left_out = 0
    for kind in KINDS:
        count = 0
        for record in by_kind[kind]:
            try:
                if kind == "mapping":
                    taken = resuming.mapping(record)
                elif kind == "contact":
                    taken = resuming.contact(record)
                elif kind == "removal":
                    taken = resuming.removal(record)
                elif kind == "dialog":
                    taken = resuming.dialog(record)
                else:
                    passage.note_nat_aware(_mapping_key(record.key))
                    taken = True
            except _UNREADABLE:
                taken = False
            if taken:
                count += 1
            else:
                left_out += 1
            # Nothing of it is undone, and what 100,000 phones were before would take as much as what they are.
            if passage.transaction.log:
                passage.transaction.settle()
        counts[kind] = count
    if by_kind["mapping"]:
        passage.transaction.tell(
            "state-resumed", contacts=counts["contact"], calls=counts["dialog"], left_out=left_out
        )


class _Resuming:
    """One resumption: `_resumed` are the mappings that records and tables agree on.

    What the usual record of a phone changes isn't logged, since nothing is undone: mappings in the table already, and
    contacts.
    """

    def __init__(
        self,
        passage: Passage,
        standing: Collection[Flow],
        contacts: Sequence[PlainRecord],
        dialogs: Sequence[PlainRecord],
    ) -> None:
        self._passage = passage
        self._transaction = passage.transaction
        self._now = passage.transaction.now
        self._standing = frozenset(standing)
        self._resumed: set[Entry] = set()
        #: By how much later each dialog's flows are looked at than those of the one before: not all at once.
        self._apart_s = passage.settings.flow_check_s / max(1, len(dialogs))
        self._contacts = contacts
        self._dialogs = dialogs
        #: The mappings that contacts and dialogs hold whose time isn't over; None until somebody asks, since the
        #: kernel has kept most mappings.
        self._needed: set[MappingKey] | None = None
        #: The peers so far, by what records say: nearly all phones have the same ones.
        self._peers: dict[tuple[Any, Any], Endpoint] = {}

    def _is_needed(self, key: MappingKey) -> bool:
        if self._needed is None:
            self._needed = self._find_needed()
        return key in self._needed

    def _find_needed(self) -> set[MappingKey]:
        needed = set()
        for record in self._contacts:
            try:
                if record.value["until"] > self._now:
                    needed.add(_mapping_key(record.key[:3]))
            except _UNREADABLE:
                continue
        for record in self._dialogs:
            try:
                if record.value["expires_at"] > self._now:
                    needed.update(_key(one) for one in record.value["keys"])
            except _UNREADABLE:
                continue
        return needed

    def mapping(self, record: PlainRecord) -> bool:
        """Agree on a mapping that the kernel has kept, or open it again if somebody needs it."""
        passage, transaction, table = self._passage, self._transaction, self._passage.mappings
        value: Any = record.value
        host, port = value["public"]
        purpose, adopted = _PURPOSES[value["purpose"]], bool(value["adopted"])
        idle_until, lease_until = _number(value["idle_until"]), _number(value["lease_until"])
        peers = [self._peer(one) for one in value["peers"]]
        remotes, refused = [_endpoint(one) for one in value["flows"]], [_endpoint(one) for one in value["refused"]]
        interface, parting, bare = str(value["interface"]), value["parting"], [int(kind) for kind in value["bare"]]
        entry = self._standing_entry(record.key)
        if entry is None:
            key = _mapping_key(record.key)
            mapping = Mapping(*key, _endpoint((host, port)), purpose, adopted)
            wanted = self._is_needed(key) or idle_until > self._now
            ours = host == nat_host(passage.settings, key[1].host) and mapping.public.port >= FIRST_UNPRIVILEGED_PORT
            free = ours and table.key_of(mapping) not in table.by_public
            if adopted or not (wanted and free):
                return False
            entry = table.add(transaction, mapping, interface)
        elif (entry.public_port, entry.nat_host, entry.purpose, entry.adopted) != (port, host, purpose, adopted):
            return False
        else:
            entry.in_interface = interface or entry.in_interface
            entry.lease_until = lease_until
        self._resumed.add(entry)
        entry.idle_until = idle_until
        entry.parting = entry.parting or bool(parting)
        table.rouse(transaction, entry)
        for kind in bare:
            transaction.put(passage.headers.bare, (entry.key, kind), True)
        for remote in peers:
            # The kernel knows peers by their address only.
            passage.peers.correct(transaction, entry, remote)
        if remotes:
            key, public = entry.key, entry.public
            transaction.put(passage.peers.flows, key, tuple([Flow(*key, public, remote) for remote in remotes]))
            for remote in refused:
                passage.calls.refused_flows[Flow(*key, public, remote)] = True
            transaction.wake(self._now, ("peers", key))
        return True

    def _standing_entry(self, key: Sequence[Any]) -> Entry | None:
        """The entry of a mapping's key in one row, where there is one: what equals its key is as good as that."""
        protocol, host, port = key
        return self._passage.mappings.entries.get((protocol, new(Endpoint, (host, port))))

    def _is_resumed(self, key: MappingKey) -> bool:
        entry = self._passage.mappings.entries.get(key)
        return entry is not None and entry in self._resumed

    def _peer(self, plain: Any) -> Endpoint:
        host, port = plain
        found = self._peers.get((host, port))
        if found is None:
            found = self._peers[host, port] = _endpoint(plain)
        return found

    def contact(self, record: PlainRecord) -> bool:
        """Go on with a contact whose mapping is what it was."""
        protocol, host, port, aor, registrar = record.key
        entry = self._passage.mappings.entries.get((protocol, new(Endpoint, (host, port))))
        until = _number(record.value["until"])
        if entry is None or until <= self._now or entry not in self._resumed:
            return False
        granted_s = int(_number(record.value.get("granted_s", 0)))
        self._passage.contacts.resume(self._transaction, _bytes(aor), str(registrar), entry, until, granted_s)
        return True

    def removal(self, record: PlainRecord) -> bool:
        """Go on waiting for the answer to a REGISTER that takes contacts back."""
        phone, call_id, number = record.key
        asked = (str(phone), _bytes(call_id), int(number))
        until = _number(record.value["until"])
        self._transaction.put(self._passage.contacts.leaving, asked, until)
        self._transaction.wake(until, ("leaving", asked))
        return True

    def dialog(self, record: PlainRecord) -> bool:
        """Go on with a dialog whose signalling mapping is what it was, with those of its flows that can be.

        If none of its flows stands, it probably ended when nobody kept records any more. It gets two looks at its
        flows then, which stand again: any message, or media, gives it its time back. Media doesn't do so for one with
        a session timer, which ends soon enough by that.
        """
        host, call_id, inside, outside = record.key
        key: DialogKey = (str(host), _bytes(call_id), _bytes(inside), _bytes(outside))
        dialog = _dialog(key, record.value)
        refused = tuple(_flow(one) for one in record.value["refused"])
        first, *others = dialog.keys
        if not self._is_resumed(first) or dialog.expires_at <= self._now:
            return False
        flows, retiring = self._true(dialog.flows), self._true(dialog.retiring)
        wake_at = self._now + self._apart_s * len(self._passage.calls.dialogs)
        expires_at = dialog.expires_at
        # Flows that the kernel refused never stood, and tell nothing.
        asked = set(flows).difference(refused)
        if not self._standing.issuperset(asked):
            wake_at = self._now
            if not dialog.session_s and not self._standing.intersection(asked):
                expires_at = min(expires_at, self._now + 2.0 * self._passage.settings.flow_check_s)
        keys = (first, *(other for other in others if self._is_resumed(other)))
        dialog.flows, dialog.retiring, dialog.keys, dialog.expires_at = flows, retiring, keys, expires_at
        self._passage.calls.refused_flows.update(dict.fromkeys(self._true(refused), True))
        self._passage.calls.resume(self._transaction, dialog, wake_at)
        return True

    def _true(self, flows: tuple[Flow, ...]) -> tuple[Flow, ...]:
        """Those flows whose mappings are what they were."""
        entries = self._passage.mappings.entries
        return tuple(
            flow
            for flow in flows
            if self._is_resumed((flow.protocol, flow.private))
            and entries[flow.protocol, flow.private].public == flow.public
        )


def _dialog(key: DialogKey, value: Plain) -> Dialog:
    """Read a dialog; records of earlier versions say nothing of what the INVITE asked."""
    settled = value["settled"]
    keys = tuple(_key(one) for one in value["keys"])
    dialog = Dialog(key, keys, _number(value["expires_at"]), int(value["invite"]), str(value["peer"]))
    dialog.local, dialog.remote = _ends(value["local"]), _ends(value["remote"])
    dialog.settled = (_ends(settled[0]), _ends(settled[1]))
    dialog.offer, dialog.asked = _offer(value["offer"]), _offer(value.get("asked"))
    dialog.flows = tuple(_flow(one) for one in value["flows"])
    dialog.retiring = tuple(_flow(one) for one in value["retiring"])
    dialog.confirmed = bool(value["confirmed"])
    dialog.session_s = _number(value["session_s"])
    dialog.hanging_up = bool(value["hanging_up"])
    dialog.acknowledged = bool(value["acknowledged"])
    dialog.sources = tuple(map(str, value["sources"]))
    dialog.asked_inside = bool(value.get("asked_inside"))
    dialog.forks_until = _number(value.get("forks_until", 0.0))
    return dialog


def _offer(plain: Any) -> Offer | None:
    if plain is None:
        return None
    inside, in_request, asked_inside, number, ends, answered = plain
    return Offer(bool(inside), bool(in_request), bool(asked_inside), int(number), _ends(ends), bool(answered))


def _ends(plain: Any) -> Ends:
    return tuple(MediaEnd(_maybe(rtp), _maybe(rtcp), bool(mux), bool(held)) for rtp, rtcp, mux, held in plain)


def _maybe(plain: Any) -> Endpoint | None:
    return None if plain is None else _endpoint(plain)


def _endpoint(plain: Any) -> Endpoint:
    host, port = plain
    if not (is_literal(str(host)) and 0 <= int(port) <= MAX_PORT):
        raise ValueError
    return Endpoint(str(host), int(port))


def _flow(plain: Any) -> Flow:
    protocol, *ends = plain
    private, public, remote = (_endpoint(end) for end in ends)
    return Flow(_protocol(protocol), private, public, remote)


def _key(plain: Any) -> MappingKey:
    protocol, private = plain
    return _protocol(protocol), _endpoint(private)


def _mapping_key(plain: Any) -> MappingKey:
    protocol, *private = plain
    return _protocol(protocol), _endpoint(private)


def _protocol(plain: Any) -> int:
    if plain not in (UDP, TCP):
        raise ValueError
    return int(plain)


def _number(plain: Any) -> float:
    """A time; JSON's NaN and Infinity are none."""
    value = float(plain)
    # Of those alone this isn't nothing.
    if value - value != 0.0:
        raise ValueError
    return value


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
