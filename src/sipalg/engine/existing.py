"""Mappings that no message made: the administrator's port forwards, standing flows, what an earlier process left.

Beside a packet's way: the driver tells of them at start, and whenever the administrator's rules or the router's
address change. From then on a message meets them as it meets any other mapping.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sipalg.engine import outside
from sipalg.engine.passage import Passage
from sipalg.engine.rows import Entry
from sipalg.engine.verdict import Endpoint, Mapping


class Restored(NamedTuple):
    """A mapping that an earlier process left in the kernel's maps, with its element's time left.

    `in_interface` is where its phone is, "" if that isn't known yet; `peers` are the addresses that the kernel lets in
    to it.
    """

    mapping: Mapping
    remaining_s: float
    in_interface: str = ""
    peers: tuple[str, ...] = ()


def adopt(passage: Passage, mapping: Mapping, in_interface: str, remote: Endpoint | None, *, admit: bool) -> None:
    """Take over a mapping; `remote` is a standing flow's other end, which is let in with `admit`, and its flow tended.

    A port forward (`mapping.adopted`) is the administrator's word: our own mappings of its private address or public
    port make way. A standing flow's mapping is left out if another one stands in its way.
    """
    if not _is_here(passage, mapping):
        return
    transaction = passage.transaction
    table = passage.mappings
    key = (mapping.protocol, mapping.private)
    entry = table.entries.get(key)
    if mapping.adopted:
        other = table.by_public.get(table.key_of(mapping))
        for standing in (entry, other):
            if standing is not None and standing.mapping != mapping and standing.key in table.entries:
                end(passage, standing)
        entry = table.entries.get(key)
    if entry is None and table.key_of(mapping) not in table.by_public:
        entry = table.add(transaction, mapping, in_interface)
        if mapping.adopted:
            table.hold(transaction, key)
    if entry is not None and entry.public == mapping.public and remote is not None:
        if admit:
            passage.peers.admit(transaction, entry, remote)
        transaction.put(passage.peers.tended, (key, remote), -passage.settings.sip_timeout_s)
        passage.peers.tend(transaction, entry, remote)


def disown(passage: Passage, mapping: Mapping) -> None:
    """End the mapping of a port forward that the administrator has taken away; another one's is left alone."""
    entry = passage.mappings.entries.get((mapping.protocol, mapping.private))
    if entry is not None and entry.mapping == mapping:
        end(passage, entry)


def restore(passage: Passage, found: Iterable[Restored]) -> None:
    """Take note of the mappings that the kernel has, which stays: their peers are to go when they go.

    There may be a hundred thousand, so nothing of it is logged to be undone.
    """
    table, transaction, port = passage.mappings, passage.transaction, passage.settings.ports[0]
    #: One object for equal peers. Nothing but their addresses is known of them.
    known: dict[tuple[str, ...], tuple[Endpoint, ...]] = {}
    for mapping, remaining_s, in_interface, hosts in found:
        entry = table.restore(transaction, mapping, in_interface, remaining_s)
        if entry is None or not hosts:
            continue
        peers = known.get(hosts)
        if peers is None:
            peers = known[hosts] = tuple([Endpoint(host, port) for host in hosts])
        entry.peers = peers


def end_all(passage: Passage) -> None:
    """End every call and every mapping."""
    transaction = passage.transaction
    for dialog in list(passage.calls.dialogs.values()):
        passage.calls.end(transaction, dialog)
    for entry in list(passage.mappings.entries.values()):
        end(passage, entry)


def end_lost(passage: Passage, *, ipv6: bool) -> None:
    """End all that has to do with one family's public addresses, which were lost; an event tells of each phone."""
    transaction = passage.transaction
    for entry in list(passage.mappings.entries.values()):
        if (":" in entry.key[1].host) == ipv6:
            transaction.tell("address-lost", private=entry.key[1], public=entry.public)
            end(passage, entry)


def end(passage: Passage, entry: Entry) -> None:
    """End a mapping, whoever holds it: its calls end with it, so that none lets go of the mapping that comes next."""
    for dialog in [dialog for dialog in passage.calls.dialogs.values() if entry.key in dialog.keys]:
        passage.calls.end(passage.transaction, dialog)
    passage.mappings.drop(passage.transaction, entry)
    passage.forget(entry)


def _is_here(passage: Passage, mapping: Mapping) -> bool:
    """Whether a mapping has its host's public address; who found it may have looked before that was lost."""
    return mapping.public.host == outside.nat_host(passage.settings, mapping.private.host)
