"""The contacts that phones have registered, and for how long: what keeps a mapping open for incoming calls.

A contact is an address of record at a registrar, reached through one mapping. It begins with the registrar's 2xx,
lives for the longest of what was granted and sip-timeout, and ends when it runs out or when the phone took it back.
On a packet's way this reads REGISTER and its answer, and edits nothing.
Source: RFC 3261 §10.2 and §10.3.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

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
from sipalg.engine.mappings import Mappings
from sipalg.engine.policy import (
    LINGER_S,
    MAX_CONTACT_S,
    MAX_CONTACTS_PER_MAPPING,
    MAX_NAME_BYTES,
    MAX_REGISTERS_PER_HOST,
    MAX_REMOVALS,
    patience_s,
)
from sipalg.engine.rows import Contact, ContactKey, Entry, Home, Line
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction

#: What a Contact without any lifetime gets (RFC 3261 §10.2).
_DEFAULT_EXPIRES_S: Final = 3600


#: One of a phone's own contacts in a registrar's list: its mapping, and its lifetime in seconds if it names one.
Granted = tuple[Entry, int | None]


class Lifetime(NamedTuple):
    """What a registrar granted a contact last, and the longest time that passed between two of its grants, seconds."""

    granted_s: int
    longest_s: float


class Contacts:
    """Contacts, by `lines`; each mapping has its own, too. `leaving` are the REGISTERs that take contacts back."""

    def __init__(self, settings: Settings, mappings: Mappings) -> None:
        self.settings = settings
        self._mappings = mappings
        self.lines: dict[Line, tuple[Contact, ...]] = {}
        self.leaving: dict[tuple[str, bytes, int], float] = {}
        #: The contact that the last answer granted by itself, for whoever asks; taken with it.
        self.granted: Contact | None = None
        #: Until then an earlier process may have seen the REGISTER, monotonic seconds.
        self._lenient_until = -math.inf

    def all(self) -> Iterator[Contact]:
        """Every contact that stands."""
        for contacts in self.lines.values():
            yield from contacts

    def find(self, key: ContactKey) -> Contact | None:
        """The contact with this key; None if there is none."""
        entry = self._mappings.entries.get(key[0])
        return None if entry is None else self._of((key[0][1].host, key[1], key[2]), entry)

    def follow_request(
        self, transaction: Transaction, message: Message, named: list[int | None], entry: Entry
    ) -> None:
        """Note a REGISTER of an inside phone, above all one that takes contacts back.

        `named` are the lifetimes of its own contacts, in seconds, None for one without. Only its 2xx carries it out.
        A REGISTER without Contacts is a query and changes nothing.
        """
        call_id = call_id_of(message)
        home = entry.home
        if call_id == home.asked_id:
            home.asked_at = transaction.now
        elif len(call_id) <= MAX_NAME_BYTES:
            home.note_asked(call_id, transaction.now, MAX_REGISTERS_PER_HOST)
        if named:
            for lifetime_s in named:
                if lifetime_s == 0 or (lifetime_s is None and expires_s(message) == 0):
                    break
            else:
                return
        elif not has_star(message):
            return
        phone = entry.key[1].host
        asked = _asked(identify(message), phone)
        if len(self.leaving) >= MAX_REMOVALS or len(asked[1]) > MAX_NAME_BYTES:
            transaction.tell("too-many-removals", private=phone)
            return
        transaction.put(self.leaving, asked, transaction.now + LINGER_S)
        transaction.wake(transaction.now + LINGER_S, ("leaving", asked))

    def follow_answer(
        self, transaction: Transaction, message: Message, listed: list[Granted], recipient: Entry, registrar: str
    ) -> None:
        """Take a 2xx to REGISTER at its word: what it lists of the phone's own contacts is registered.

        It counts only if the phone has sent a REGISTER with this Call-ID within the last 32 s, for as long as it waits
        for an answer itself (RFC 3261 §17.1.2.2, timer F).

        A contact ends here only if the phone asked for it: what a registrar merely doesn't list runs out, so that
        nobody who can only guess ends a registration. A 2xx without any Contact comes from a registrar that doesn't
        list, and renews, unless it answers a removal.
        """
        phone = recipient.key[1].host
        if not self._was_asked(message, recipient.home, transaction.now):
            transaction.tell("unasked-answer", private=phone, registrar=registrar)
            return
        line = (phone, address_of_record(message), registrar)
        removal = bool(self.leaving) and _asked(identify(message), phone) in self.leaving
        kept = []
        for entry, lifetime_s in listed:
            if lifetime_s is None:
                general_s = expires_s(message)
                lifetime_s = _DEFAULT_EXPIRES_S if general_s is None else general_s
            if lifetime_s:
                kept.append(entry)
            self._grant(transaction, line, entry, lifetime_s)
        if len(kept) == 1:
            self.granted = self._of(line, kept[0])
        if removal:
            # Its answer may come again, after the phone has registered anew: it counts once.
            transaction.remove(self.leaving, _asked(identify(message), phone))
            for contact in self.lines.get(line, ()):
                if contact.entry not in kept:
                    self._end(transaction, contact, parting=True)
        elif not listed and line in self.lines and find_field(message, CONTACT) is None:
            for contact in self.lines[line]:
                self._grant(transaction, line, contact.entry, expires_s(message) or 0)

    def look_after(self, transaction: Transaction, contact: Contact) -> bool:
        """Handle a contact's timer: end it where nothing renewed it. True if its flow is to be looked at."""
        if self._of(contact.line, contact.entry) is not contact:
            # It has ended, or the kernel refused the message that it came with.
            return False
        if contact.expires_at <= transaction.now:
            self._end(transaction, contact, parting=False)
            return False
        suspect = contact.suspect_at <= transaction.now
        if suspect:
            contact.suspect_at = math.inf
        self._wake(transaction, contact)
        return suspect

    def forget_removal(self, transaction: Transaction, asked: tuple[str, bytes, int]) -> None:
        """Handle the timer of an asked removal: no answer came, or it has been acted on long ago."""
        until = self.leaving.get(asked, transaction.now)
        if until <= transaction.now:
            transaction.remove(self.leaving, asked)
        else:
            transaction.wake(until, ("leaving", asked))

    def resume(
        self, transaction: Transaction, aor: bytes, registrar: str, entry: Entry, until: float, granted_s: int
    ) -> None:
        """Go on, for good, with a contact that an earlier process knew; `granted_s` is 0 if not known.

        `until` is to be in the future. There must be no such contact yet.
        """
        line = (entry.key[1].host, aor, sys.intern(registrar))
        others = self.lines.get(line, ())
        contact = Contact(entry, line, until)
        contact.stands = True
        alone = (contact,)
        self.lines[line] = (*others, contact) if others else alone
        entry.contacts = (*entry.contacts, contact) if entry.contacts else alone
        self._mappings.take_hold(transaction, entry)
        if granted_s > 0:
            contact.granted_s = granted_s
            self._suspect(transaction, contact)
        self._wake(transaction, contact)

    def retime(self, transaction: Transaction) -> None:
        """Let every contact live for another sip-timeout from now on; one that has longer keeps that."""
        least = transaction.now + self.settings.sip_timeout_s
        for contact in self.all():
            if contact.expires_at < least:
                transaction.keep(contact)
                contact.expires_at = least

    def forget_mapping(self, transaction: Transaction, entry: Entry) -> None:
        """Drop every contact of a mapping that has ended."""
        for contact in entry.contacts:
            self._take(transaction, contact)
        # A mapping and its contacts would keep each other from being freed.
        transaction.keep(entry)
        entry.contacts = ()

    def lifetime_of(self, entry: Entry | None, registrar: str) -> Lifetime:
        """The shortest lifetime of a mapping's contacts at a registrar, the longest time between grants; 0 if none."""
        granted_s, longest_s = 0, 0.0
        for contact in () if entry is None else entry.contacts:
            if contact.granted_s and contact.line[2] == registrar:
                granted_s = min(granted_s, contact.granted_s) if granted_s else contact.granted_s
                longest_s = max(longest_s, contact.longest_s)
        return Lifetime(granted_s, longest_s)

    def be_lenient(self, now: float) -> None:
        """Take answers at their word for as long as the REGISTERs of an earlier process may be answered."""
        self._lenient_until = now + LINGER_S

    def _was_asked(self, message: Message, home: Home, now: float) -> bool:
        """Whether an answer's REGISTER was sent, as its Call-ID shows, which nobody who didn't see it can know."""
        return now <= self._lenient_until or home.when_asked(call_id_of(message)) >= now - LINGER_S

    def _of(self, line: Line, entry: Entry) -> Contact | None:
        """The contact of a line that is reached through a mapping, which most have one of."""
        if len(entry.contacts) == 1:
            alone = entry.contacts[0]
            return alone if alone.line == line else None
        for contact in self.lines.get(line, ()):
            if contact.entry is entry:
                return contact
        return None

    def _grant(self, transaction: Transaction, line: Line, entry: Entry, lifetime_s: int) -> None:
        """Begin or renew a contact; a lifetime of 0 renews nothing."""
        if not lifetime_s:
            return
        expires_at = transaction.now + max(float(min(lifetime_s, MAX_CONTACT_S)), self.settings.sip_timeout_s)
        before = expires_at
        contact = self._of(line, entry)
        if contact is None:
            if len(entry.contacts) >= MAX_CONTACTS_PER_MAPPING or len(line[1]) > MAX_NAME_BYTES:
                transaction.tell("too-many-contacts", private=entry.key[1], registrar=line[2])
                return
            contact = self._enter(transaction, line, entry, expires_at)
            aor = line[1].decode("utf-8", "replace")
            transaction.tell("registered", private=entry.key[1], aor=aor, registrar=line[2], granted_s=lifetime_s)
        else:
            before = contact.expires_at
            transaction.keep(contact)
            contact.expires_at = expires_at
        if lifetime_s != contact.granted_s or expires_at - before > contact.longest_s:
            self._learn(transaction, contact, lifetime_s, expires_at - before)
        self._wake(transaction, contact)
        if entry.parting:
            self._mappings.stay(transaction, entry)

    def _enter(self, transaction: Transaction, line: Line, entry: Entry, expires_at: float) -> Contact:
        """Put a new contact into the tables, and have it hold its mapping."""
        # Texts that all phones of a registrar, or a phone's mapping, have already.
        line = (entry.key[1].host, line[1], sys.intern(line[2]))
        contact = Contact(entry, line, expires_at)
        transaction.keep(contact)
        contact.stands = True
        alone = (contact,)
        others = self.lines.get(line, ())
        self._mappings.hold(transaction, entry.key)
        entry.contacts = (*entry.contacts, contact) if entry.contacts else alone
        transaction.put(self.lines, line, (*others, contact) if others else alone)
        return contact

    def _wake(self, transaction: Transaction, contact: Contact) -> None:
        """Set a contact's timer to its end, or to when its flow's silences are to be looked at."""
        at = min(contact.expires_at, contact.suspect_at)
        if at < contact.wakes_at:
            transaction.wake(at, contact)

    def _learn(self, transaction: Transaction, contact: Contact, lifetime_s: int, passed_s: float) -> None:
        """Note another lifetime, or a longer time since the grant before; what ran out in between isn't one."""
        transaction.keep(contact)
        if contact.granted_s != lifetime_s:
            contact.granted_s = lifetime_s
            contact.longest_s = 0.0
            self._suspect(transaction, contact)
        elif passed_s <= lifetime_s:
            contact.longest_s = passed_s

    def _suspect(self, transaction: Transaction, contact: Contact) -> None:
        """Have a contact's flow looked at whose lifetime is longer than the flow's may be silent."""
        timeout_s = self.settings.sip_timeout_s
        if contact.granted_s >= timeout_s:
            contact.suspect_at = min(transaction.now + patience_s(timeout_s), contact.suspect_at)

    def _end(self, transaction: Transaction, contact: Contact, *, parting: bool) -> None:
        """End a contact; its mapping is parting if the phone took its last contact back."""
        entry, line = contact.entry, contact.line
        self._take(transaction, contact)
        transaction.keep(entry)
        entry.contacts = tuple([other for other in entry.contacts if other is not contact])
        self._mappings.release(transaction, entry.key, parting=parting and not entry.contacts)
        aor = line[1].decode("utf-8", "replace")
        transaction.tell("unregistered", private=entry.key[1], aor=aor, registrar=line[2])

    def _take(self, transaction: Transaction, contact: Contact) -> None:
        """Take a contact out of its line, and the line out of the table if it was the last."""
        transaction.keep(contact)
        contact.stands = False
        left = tuple([other for other in self.lines[contact.line] if other is not contact])
        if left:
            transaction.put(self.lines, contact.line, left)
        else:
            transaction.remove(self.lines, contact.line)


def _asked(identity: Identity, phone: str) -> tuple[str, bytes, int]:
    """What names a REGISTER transaction of a phone: its address, Call-ID and CSeq's number."""
    return (phone, identity.call_id, identity.number)
