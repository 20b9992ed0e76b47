"""The contacts that phones have registered, and for how long: what keeps a mapping open for incoming calls.

A contact is an address of record at a registrar, reached through one mapping. It begins with the registrar's 2xx,
lives for the longest of what was granted and sip-timeout, and ends when it runs out or when the phone took it back.
On a packet's way this reads REGISTER and its answer, and edits nothing.
Source: RFC 3261 §10.2 and §10.3.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple, TypeVar

from sipalg.codec.address import reference
from sipalg.codec.fields import Place
from sipalg.codec.message import (
    CONTACT,
    Identity,
    Message,
    address_of_record,
    call_id_of,
    expires_s,
    find_field,
    has_star,
    identify,
)
from sipalg.engine.mappings import MappingKey, Mappings
from sipalg.engine.policy import (
    LINGER_S,
    MAX_CONTACT_S,
    MAX_CONTACTS_PER_MAPPING,
    MAX_NAME_BYTES,
    MAX_REGISTERS_PER_HOST,
    MAX_REMOVALS,
    patience_s,
)
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction

Key = TypeVar("Key")
Member = TypeVar("Member")

#: An address of record, as the messages write it, at a registrar's address, for a phone's address.
Line = tuple[str, bytes, str]
ContactKey = tuple[MappingKey, bytes, str]

_NOTHING: Final[dict[bytes, float]] = {}
#: What a Contact without any lifetime gets (RFC 3261 §10.2).
_DEFAULT_EXPIRES_S: Final = 3600


class Granted(NamedTuple):
    """One of a phone's own contacts in a registrar's list: its mapping, and its lifetime if it names one."""

    key: MappingKey
    lifetime_s: int | None


class Lifetime(NamedTuple):
    """What a registrar granted a contact last, and the longest time that passed between two of its grants, seconds."""

    granted_s: int
    longest_s: float


class Contacts:
    """Contacts: `expires_at` and `lifetimes` by contact, `lines` (mappings by line), `by_mapping` (the reverse).

    `leaving` are the REGISTERs that take contacts back, `asked` when each phone sent its last REGISTER of each
    Call-ID: nobody who can't know that is taken for a registrar.
    """

    def __init__(self, settings: Settings, mappings: Mappings) -> None:
        self.settings = settings
        self._mappings = mappings
        self.expires_at: dict[ContactKey, float] = {}
        self.lifetimes: dict[ContactKey, Lifetime] = {}
        self.lines: dict[Line, tuple[MappingKey, ...]] = {}
        self.by_mapping: dict[MappingKey, tuple[Line, ...]] = {}
        self.leaving: dict[tuple[str, bytes, int], float] = {}
        self.asked: dict[str, dict[bytes, float]] = {}
        #: Until then an earlier process may have seen the REGISTER, monotonic seconds.
        self._lenient_until = -math.inf

    def follow_request(self, transaction: Transaction, message: Message, places: list[Place], phone: str) -> None:
        """Note a REGISTER of an inside phone, above all one that takes contacts back.

        `places` are its own contacts. Only its 2xx carries it out. A REGISTER without Contacts is a query and changes
        nothing.
        """
        self._note_asked(transaction, message, phone)
        if places:
            for place in places:
                lifetime_s = place[8]
                if lifetime_s == 0 or (lifetime_s is None and expires_s(message) == 0):
                    break
            else:
                return
        elif not has_star(message):
            return
        asked = _asked(identify(message), phone)
        if len(self.leaving) >= MAX_REMOVALS or len(asked[1]) > MAX_NAME_BYTES:
            transaction.tell("too-many-removals", private=phone)
            return
        transaction.put(self.leaving, asked, transaction.now + LINGER_S)
        transaction.wake(transaction.now + LINGER_S, ("leaving", asked))

    def follow_answer(
        self, transaction: Transaction, message: Message, listed: list[Granted], phone: str, registrar: str
    ) -> None:
        """Take a 2xx to REGISTER at its word: what it lists of the phone's own contacts is registered.

        It counts only if the phone has sent a REGISTER with this Call-ID within the last 32 s, for as long as it waits
        for an answer itself (RFC 3261 §17.1.2.2, timer F).

        A contact ends here only if the phone asked for it: what a registrar merely doesn't list runs out, so that
        nobody who can only guess ends a registration. A 2xx without any Contact comes from a registrar that doesn't
        list, and renews, unless it answers a removal.
        """
        if not self._was_asked(message, phone, transaction.now):
            transaction.tell("unasked-answer", private=phone, registrar=registrar)
            return
        line = (phone, address_of_record(message), registrar)
        removal = bool(self.leaving) and _asked(identify(message), phone) in self.leaving
        kept = []
        for contact, lifetime_s in listed:
            if lifetime_s is None:
                general_s = expires_s(message)
                lifetime_s = _DEFAULT_EXPIRES_S if general_s is None else general_s
            if lifetime_s:
                kept.append(contact)
            self._grant(transaction, line, contact, lifetime_s)
        if removal:
            # Its answer may come again, after the phone has registered anew: it counts once.
            transaction.remove(self.leaving, _asked(identify(message), phone))
            for contact in self.lines.get(line, ()):
                if contact not in kept:
                    self._end(transaction, line, contact, parting=True)
        elif not listed and line in self.lines and find_field(message, CONTACT) is None:
            for contact in self.lines[line]:
                self._grant(transaction, line, contact, expires_s(message) or 0)

    def look_after(self, transaction: Transaction, line: Line, key: MappingKey) -> None:
        """Handle a contact's timer: end it where nothing renewed it."""
        expires_at = self.expires_at.get((key, line[1], line[2]))
        if expires_at is None:
            return
        if expires_at <= transaction.now:
            self._end(transaction, line, key, parting=False)
        else:
            transaction.wake(expires_at, ("contact", line, key))

    def forget_removal(self, transaction: Transaction, asked: tuple[str, bytes, int]) -> None:
        """Handle the timer of an asked removal: no answer came, or it has been acted on long ago."""
        until = self.leaving.get(asked, transaction.now)
        if until <= transaction.now:
            transaction.remove(self.leaving, asked)
        else:
            transaction.wake(until, ("leaving", asked))

    def resume(self, transaction: Transaction, line: Line, key: MappingKey, until: float, granted_s: int) -> None:
        """Go on with a contact that an earlier process knew until its time is over; `granted_s` is 0 if not known."""
        self._enter(transaction, line, key)
        transaction.wake(until, ("contact", line, key))
        transaction.put(self.expires_at, (key, line[1], line[2]), until)
        if granted_s > 0:
            self._learn(transaction, (key, line[1], line[2]), granted_s, 0.0)

    def retime(self, transaction: Transaction) -> None:
        """Let every contact live for another sip-timeout from now on; one that has longer keeps that."""
        least = transaction.now + self.settings.sip_timeout_s
        for contact, expires_at in self.expires_at.items():
            if expires_at < least:
                transaction.put(self.expires_at, contact, least)

    def forget_mapping(self, transaction: Transaction, key: MappingKey) -> None:
        """Drop every contact of a mapping that has ended."""
        for line in self.by_mapping.get(key, ()):
            transaction.remove(self.expires_at, (key, line[1], line[2]))
            transaction.remove(self.lifetimes, (key, line[1], line[2]))
            _take(transaction, self.lines, line, key)
        transaction.remove(self.by_mapping, key)
        if reference(key[1].host) not in self._mappings.hosts:
            transaction.remove(self.asked, key[1].host)

    def lifetime_of(self, key: MappingKey, registrar: str) -> Lifetime:
        """The shortest lifetime of a mapping's contacts at a registrar, the longest time between grants; 0 if none."""
        granted_s, longest_s = 0, 0.0
        for line in self.by_mapping.get(key, ()):
            known = self.lifetimes.get((key, line[1], registrar)) if line[2] == registrar else None
            if known is not None:
                granted_s = min(granted_s, known.granted_s) if granted_s else known.granted_s
                longest_s = max(longest_s, known.longest_s)
        return Lifetime(granted_s, longest_s)

    def be_lenient(self, now: float) -> None:
        """Take answers at their word for as long as the REGISTERs of an earlier process may be answered."""
        self._lenient_until = now + LINGER_S

    def _was_asked(self, message: Message, phone: str, now: float) -> bool:
        """Whether an answer's REGISTER was sent, as its Call-ID shows, which nobody who didn't see it can know."""
        if now <= self._lenient_until:
            return True
        return self.asked.get(phone, _NOTHING).get(call_id_of(message), -math.inf) >= now - LINGER_S

    def _note_asked(self, transaction: Transaction, message: Message, phone: str) -> None:
        """Note when a phone asked a registrar; of too many Call-IDs the one not used for longest is forgotten.

        It isn't undone with a message that the kernel refuses: that leaves all the same.
        """
        asked = self.asked.get(phone)
        if asked is None:
            asked = {}
            transaction.put(self.asked, phone, asked)
        call_id = call_id_of(message)
        if len(call_id) > MAX_NAME_BYTES:
            return
        if asked.pop(call_id, None) is None and len(asked) >= MAX_REGISTERS_PER_HOST:
            del asked[next(iter(asked))]
        asked[call_id] = transaction.now

    def _grant(self, transaction: Transaction, line: Line, key: MappingKey, lifetime_s: int) -> None:
        """Begin or renew a contact; a lifetime of 0 renews nothing."""
        if not lifetime_s:
            return
        contact = (key, line[1], line[2])
        expires_at = transaction.now + max(float(min(lifetime_s, MAX_CONTACT_S)), self.settings.sip_timeout_s)
        before = self.expires_at.get(contact)
        if before is None:
            before = expires_at
            lines = self.by_mapping.get(key, ())
            if len(lines) >= MAX_CONTACTS_PER_MAPPING or len(line[1]) > MAX_NAME_BYTES:
                transaction.tell("too-many-contacts", private=key[1], registrar=line[2])
                return
            self._enter(transaction, line, key)
            transaction.wake(expires_at, ("contact", line, key))
            aor = line[1].decode("utf-8", "replace")
            transaction.tell("registered", private=key[1], aor=aor, registrar=line[2], granted_s=lifetime_s)
        transaction.put(self.expires_at, contact, expires_at)
        known = self.lifetimes.get(contact)
        if known is None or lifetime_s != known[0] or expires_at - before > known[1]:
            self._learn(transaction, contact, lifetime_s, expires_at - before)
        if self._mappings.parting and key in self._mappings.parting:
            self._mappings.stay(transaction, key)

    def _enter(self, transaction: Transaction, line: Line, key: MappingKey) -> None:
        """Put a new contact into the tables beside `expires_at`, and have it hold its mapping."""
        transaction.put(self.by_mapping, key, (*self.by_mapping.get(key, ()), line))
        transaction.put(self.lines, line, (*self.lines.get(line, ()), key))
        self._mappings.hold(transaction, key)

    def _learn(self, transaction: Transaction, contact: ContactKey, lifetime_s: int, passed_s: float) -> None:
        """Note another lifetime, or a longer time since the grant before; what ran out in between isn't one."""
        known = self.lifetimes.get(contact)
        if known is None or known.granted_s != lifetime_s:
            transaction.put(self.lifetimes, contact, Lifetime(lifetime_s, 0.0))
            if lifetime_s >= self.settings.sip_timeout_s:
                at = transaction.now + patience_s(self.settings.sip_timeout_s)
                transaction.wake(at, ("lifetime", contact[0], contact[2]))
        elif passed_s <= lifetime_s:
            transaction.put(self.lifetimes, contact, Lifetime(lifetime_s, passed_s))

    def _end(self, transaction: Transaction, line: Line, key: MappingKey, *, parting: bool) -> None:
        """End a contact; its mapping is parting if the phone took its last contact back."""
        transaction.remove(self.expires_at, (key, line[1], line[2]))
        transaction.remove(self.lifetimes, (key, line[1], line[2]))
        _take(transaction, self.lines, line, key)
        _take(transaction, self.by_mapping, key, line)
        self._mappings.release(transaction, key, parting=parting and key not in self.by_mapping)
        transaction.tell("unregistered", private=key[1], aor=line[1].decode("utf-8", "replace"), registrar=line[2])


def _take(transaction: Transaction, table: dict[Key, tuple[Member, ...]], key: Key, member: Member) -> None:
    """Take one member out of a table's tuple, and the tuple out of the table if it was the last."""
    left = tuple(other for other in table[key] if other != member)
    if left:
        transaction.put(table, key, left)
    else:
        transaction.remove(table, key)


def _asked(identity: Identity, phone: str) -> tuple[str, bytes, int]:
    """What names a REGISTER transaction of a phone: its address, Call-ID and CSeq's number."""
    return (phone, identity.call_id, identity.number)
