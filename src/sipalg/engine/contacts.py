"""The contacts that phones have registered, and for how long: what keeps a mapping open for incoming calls.

A contact is an address of record at a registrar, reached through one mapping. It begins with the registrar's 2xx,
lives for the longest of what was granted and sip-timeout, and ends when it runs out, when the registrar no longer
lists it, or when the phone took it back. On a packet's way this reads REGISTER and its answer, and edits nothing.
Source: RFC 3261 §10.2 and §10.3.
"""

from __future__ import annotations

from typing import Final

from sipalg.codec.message import EXPIRES, Message, address_of_record, expires_s
from sipalg.codec.uri import UriSpan
from sipalg.engine.mappings import MappingKey, Mappings
from sipalg.engine.policy import LINGER_S, MAX_CONTACTS_PER_MAPPING
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction

#: An address of record, as the messages write it, at a registrar's address, for a phone's address.
Line = tuple[str, bytes, str]
ContactKey = tuple[MappingKey, bytes, str]

#: What a Contact without any lifetime gets (RFC 3261 §10.2).
_DEFAULT_EXPIRES_S: Final = 3600


class Contacts:
    """Contacts and their ends: `expires_at` by contact, `lines` the mappings by line, `leaving` asked removals."""

    def __init__(self, settings: Settings, mappings: Mappings) -> None:
        self.settings = settings
        self._mappings = mappings
        self.expires_at: dict[ContactKey, float] = {}
        self.lines: dict[Line, tuple[MappingKey, ...]] = {}
        self.numbers: dict[MappingKey, int] = {}
        self.leaving: dict[tuple[str, bytes, int], float] = {}

    @staticmethod
    def may_leave(message: Message, spans: list[UriSpan]) -> bool:
        """Whether a REGISTER could take contacts back: cheaper to ask than to find out, and mostly no."""
        if not spans:
            return True
        for span in spans:
            if b"=0" in span.field_parameters:
                return True
        for kind, start, _, _ in message.fields:
            if kind == EXPIRES:
                return message.data[start : start + 1] == b"0"
        return False

    def follow_request(
        self, transaction: Transaction, message: Message, spans: list[UriSpan], asked: tuple[str, bytes, int]
    ) -> None:
        """Note a REGISTER that takes contacts back; `asked` is the phone's address, the Call-ID and CSeq's number.

        Only its 2xx carries it out. `spans` are the Contacts; none at all means `*`, or a query that changes nothing.
        """
        general_s = expires_s(message)
        lifetimes = [general_s if span.expires_s is None else span.expires_s for span in spans] or [general_s]
        if all(lifetime_s == 0 for lifetime_s in lifetimes):
            transaction.put(self.leaving, asked, transaction.now + LINGER_S)
            transaction.wake(transaction.now + LINGER_S, ("leaving", asked))

    def follow_answer(
        self,
        transaction: Transaction,
        message: Message,
        spans: list[UriSpan],
        asked: tuple[str, bytes, int],
        registrar: str,
        protocol_and_keys: list[MappingKey | None],
    ) -> None:
        """Take a 2xx to REGISTER at its word: what it lists is registered, what it no longer lists isn't.

        `protocol_and_keys` holds the mapping of this phone for each of `spans`, None for another's contact. A 2xx that
        lists nothing at all and wasn't asked to remove anything comes from a registrar that doesn't list: it renews.
        """
        line = (asked[0], address_of_record(message), registrar)
        known = self.lines.get(line, ())
        general_s = expires_s(message)
        listed = []
        for span, key in zip(spans, protocol_and_keys, strict=True):
            if key is not None:
                own_s = span.expires_s
                lifetime_s = own_s if own_s is not None else general_s
                if lifetime_s != 0:
                    listed.append(key)
                    self._grant(transaction, line, key, _DEFAULT_EXPIRES_S if lifetime_s is None else lifetime_s)
        if not spans and asked not in self.leaving:
            if general_s:
                for key in known:
                    self._grant(transaction, line, key, general_s)
            return
        for key in known:
            if key not in listed:
                self._end(transaction, line, key, parting=True)

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
        if self.leaving.get(asked, transaction.now) <= transaction.now:
            transaction.remove(self.leaving, asked)

    def forget_mapping(self, transaction: Transaction, key: MappingKey) -> None:
        """Drop every contact of a mapping that has ended."""
        for line, keys in [item for item in self.lines.items() if key in item[1]]:
            transaction.remove(self.expires_at, (key, line[1], line[2]))
            self._unlist(transaction, line, keys, key)
        transaction.remove(self.numbers, key)

    def _grant(self, transaction: Transaction, line: Line, key: MappingKey, lifetime_s: int) -> None:
        """Begin or renew a contact."""
        contact = (key, line[1], line[2])
        expires_at = transaction.now + max(float(lifetime_s), self.settings.sip_timeout_s)
        if contact not in self.expires_at:
            number = self.numbers.get(key, 0)
            if number >= MAX_CONTACTS_PER_MAPPING:
                transaction.tell("too-many-contacts", private=key[1], registrar=line[2])
                return
            transaction.put(self.numbers, key, number + 1)
            transaction.put(self.lines, line, (*self.lines.get(line, ()), key))
            self._mappings.hold(transaction, key)
            transaction.wake(expires_at, ("contact", line, key))
            aor = line[1].decode("utf-8", "replace")
            transaction.tell("registered", private=key[1], aor=aor, registrar=line[2], granted_s=lifetime_s)
        transaction.put(self.expires_at, contact, expires_at)
        if key in self._mappings.parting:
            self._mappings.stay(transaction, key)

    def _end(self, transaction: Transaction, line: Line, key: MappingKey, *, parting: bool) -> None:
        """End a contact; its mapping is parting if the phone took its last contact back."""
        transaction.remove(self.expires_at, (key, line[1], line[2]))
        self._unlist(transaction, line, self.lines[line], key)
        number = self.numbers[key] - 1
        transaction.put(self.numbers, key, number)
        self._mappings.release(transaction, key, parting=parting and number == 0)
        transaction.tell("unregistered", private=key[1], aor=line[1].decode("utf-8", "replace"), registrar=line[2])

    def _unlist(
        self, transaction: Transaction, line: Line, keys: tuple[MappingKey, ...], key: MappingKey
    ) -> None:
        """Take one mapping out of a line's."""
        left = tuple(other for other in keys if other != key)
        if left:
            transaction.put(self.lines, line, left)
        else:
            transaction.remove(self.lines, line)
