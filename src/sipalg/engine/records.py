"""What is to outlive the process: contacts, dialogs and mappings as plain values, and which of them have changed.

Beside a packet's way. A commit leaves the places that it wrote behind, which costs next to nothing; whoever keeps the
records (the live process's journal) asks now and then which ones are others by now, and for their values. Tables that
follow from others (holders, timers, ends by public port) are in no record: resuming makes them anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from sipalg.codec.message import CONTACT, VIA
from sipalg.engine.policy import LINGER_S
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
#: A contact's record follows its renewals when they have moved its end by this part of what it has left.
_RENEWED: Final = 0.1
#: How far the end of a mapping that nobody holds may be behind in its record: it lives on for ten times as long.
_BEHIND_S: Final = 0.1 * LINGER_S


class Records:
    """The records of one engine, by key; `passage` has the tables that they are read from."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        mappings, contacts, calls, peers = passage.mappings, passage.contacts, passage.calls, passage.peers
        self._tables: dict[Kind, dict[Any, Any]] = {
            "mapping": mappings.entries,
            "contact": contacts.expires_at,
            "removal": contacts.leaving,
            "dialog": calls.dialogs,
            "aware": passage.nat_aware,
        }
        #: The tables that records are made of, by their identity.
        self._noted: dict[int, Noted] = {}
        for kind, table in self._tables.items():
            self._noted[id(table)] = Noted(kind, False, 0.0)
        for whole in (mappings.lease_until, mappings.parting, peers.hosts, peers.flows):
            self._noted[id(whole)] = Noted("mapping", False, 0.0)
        for part in (peers.remotes, passage.headers.bare):
            self._noted[id(part)] = Noted("mapping", True, 0.0)
        self._noted[id(mappings.idle_until)] = Noted("mapping", False, _BEHIND_S)
        #: When each contact ends, as its record was last read.
        self._ends: dict[RecordKey, float] = {}

    def watch(self) -> None:
        """Have changes noted from now on; `take_changed` is to be called regularly then."""
        self._passage.transaction.noted = self._noted

    def take_changed(self) -> list[RecordKey]:
        """The records that were made, changed or ended since the last call, each once."""
        self.watch()
        transaction = self._passage.transaction
        changed, transaction.changed = transaction.changed, {}
        return [key for key in changed if key[0] != "contact" or self._is_news(key)]

    def all(self) -> list[RecordKey]:
        """The keys of all records, in the order in which they are to be resumed."""
        return [(kind, key) for kind in KINDS for key in self._tables[kind]]

    def value(self, record: RecordKey) -> Plain | None:
        """What a record says now; None if there is no such thing (any more)."""
        kind, key = record
        found = self._tables[kind].get(key)
        if found is None:
            return None
        if kind == "mapping":
            return self._mapping(key)
        if kind == "dialog":
            held, refused = (*found.flows, *found.retiring), self._passage.calls.refused_flows
            return {**found._asdict(), "refused": [flow for flow in held if flow in refused]}
        if kind == "contact":
            self._ends[record] = found
            lifetime = self._passage.contacts.lifetimes.get(key)
            return {"until": found, "granted_s": 0 if lifetime is None else lifetime.granted_s}
        return {} if kind == "aware" else {"until": found}

    def _mapping(self, key: Any) -> Plain:
        """A mapping, and what hangs on it: its peers, the flows made for it, where its phone writes no port."""
        mappings, peers = self._passage.mappings, self._passage.peers
        entry = mappings.entries[key]
        flows = peers.flows.get(key, ())
        return {
            "public": entry.mapping.public,
            "purpose": entry.mapping.purpose,
            "adopted": entry.mapping.adopted,
            "interface": entry.in_interface,
            "idle_until": mappings.idle_until[key],
            "lease_until": mappings.lease_until[key],
            "parting": key in mappings.parting,
            "bare": [kind for kind in _BARE_KINDS if (key, kind) in self._passage.headers.bare],
            "peers": [peers.remotes[key, host] for host in peers.hosts.get(key, ())],
            "flows": [flow.remote for flow in flows],
            "refused": [flow.remote for flow in flows if flow in self._passage.calls.refused_flows],
        }

    def _is_news(self, record: RecordKey) -> bool:
        """Whether a contact is new, has ended, or ends much later than its record says.

        Phones renew their registrations all the time; a record that is a little behind lets a contact end a little
        early, should it not be renewed any more.
        """
        until = self._passage.contacts.expires_at.get(record[1])
        known = self._ends.get(record)
        if until is None:
            return self._ends.pop(record, None) is not None
        return known is None or not 0 <= until - known < _RENEWED * (until - self._passage.transaction.now)


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
