"""What is to outlive the process: contacts, dialogs and mappings as plain values, and which of them have changed.

Beside a packet's way. A commit leaves the places that it wrote behind, which costs next to nothing; whoever keeps the
records (the live process's journal) asks now and then which ones are others by now, and for their values. Tables that
follow from others (holders, timers, ends by public port) are in no record: resuming makes them anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from sipalg.codec.message import CONTACT, VIA
from sipalg.engine.transaction import Noted

if TYPE_CHECKING:
    from sipalg.engine.passage import Passage

Kind = Literal["mapping", "contact", "removal", "dialog", "aware"]
#: A record's kind, and the key that its table has for it.
RecordKey = tuple[Kind, Any]
#: What JSON can say. Bytes are text of the same code points; a time is what the engine's clock says then.
Plain = dict[str, Any]

#: In what order records are resumed: a contact needs its mapping, and so does a dialog.
KINDS: Final[tuple[Kind, ...]] = ("mapping", "contact", "removal", "dialog", "aware")
#: The kinds of fields in which a phone may leave its port off.
_BARE_KINDS: Final = (VIA, CONTACT)


class Records:
    """The records of one engine, by key; `passage` has the tables that they are read from."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        mappings, contacts, calls, peers = passage.mappings, passage.contacts, passage.calls, passage.peers
        self._tables: dict[Kind, dict[Any, Any]] = {
            "mapping": mappings.entries,
            "removal": contacts.leaving,
            "dialog": calls.dialogs,
            "aware": passage.nat_aware,
        }
        #: The tables that records are made of, by their identity.
        self._noted: dict[int, Noted] = {}
        for kind, table in self._tables.items():
            self._noted[id(table)] = Noted(kind)
        self._noted[id(peers.flows)] = Noted("mapping")
        self._noted[id(passage.headers.bare)] = Noted("mapping", by_first_part=True)

    def watch(self) -> None:
        """Have changes noted from now on; `take_changed` is to be called regularly then."""
        self._passage.transaction.noted = self._noted

    def take_changed(self) -> list[RecordKey]:
        """The records that were made, changed or ended since the last call, each once, what came and went as well."""
        self.watch()
        transaction = self._passage.transaction
        changed, transaction.changed = transaction.changed, {}
        transaction.turn += 1
        return list(changed)

    def all(self) -> list[RecordKey]:
        """The keys of all records, in the order in which they are to be resumed."""
        keys: list[RecordKey] = []
        for kind in KINDS:
            keys += [(kind, key) for key in self._tables.get(kind, ())]
            if kind == "contact":
                keys += [(kind, contact.key) for contact in self._passage.contacts.all()]
        return keys

    def value(self, record: RecordKey) -> Plain | None:
        """What a record says now; None if there is no such thing (any more)."""
        kind, key = record
        if kind == "contact":
            contact = self._passage.contacts.find(key)
            if contact is None:
                return None
            contact.recorded = contact.expires_at
            return {"until": contact.expires_at, "granted_s": contact.granted_s}
        found = self._tables[kind].get(key)
        if found is None:
            return None
        if kind == "mapping":
            return self._mapping(key)
        if kind == "dialog":
            held, refused = (*found.flows, *found.retiring), self._passage.calls.refused_flows
            return {**found.values(), "refused": [flow for flow in held if flow in refused]}
        return {} if kind == "aware" else {"until": found}

    def _mapping(self, key: Any) -> Plain:
        """A mapping, and what hangs on it: its peers, the flows made for it, where its phone writes no port."""
        entry = self._passage.mappings.entries[key]
        flows = self._passage.peers.flows.get(key, ())
        return {
            "public": entry.public,
            "purpose": entry.purpose,
            "adopted": entry.adopted,
            "interface": entry.in_interface,
            "idle_until": entry.idle_until,
            "lease_until": entry.lease_until,
            "parting": entry.parting,
            "bare": [kind for kind in _BARE_KINDS if (key, kind) in self._passage.headers.bare],
            "peers": list(entry.peers),
            "flows": [flow.remote for flow in flows],
            "refused": [flow.remote for flow in flows if flow in self._passage.calls.refused_flows],
        }


def plain_key(record: RecordKey) -> list[Any]:
    """A record's key as JSON can say it, without its kind."""
    kind, key = record
    if kind in ("mapping", "aware"):
        return _plain(key)
    if kind == "contact":
        mapping, aor, registrar = key
        return [*_plain(mapping), aor.decode("latin-1"), registrar]
    return [part.decode("latin-1") if isinstance(part, bytes) else part for part in key]


def _plain(key: Any) -> list[Any]:
    """A mapping's key in one row."""
    protocol, (host, port) = key
    return [protocol, host, port]
