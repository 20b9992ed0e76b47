"""Who may take the shortest way: what machine code is told of a phone, and when it has to forget it.

`express` follows a phone's refreshes by itself, from the first answer of its registrar on that changed nothing but
times. Here is what has to hold of its mapping and its contact for that, looked at once: whatever changes any of it is
in a transaction's log, and the phone goes the other way until its registrar answers again. Beside a packet's way; in
the interpreted build there is no machine code, and all of this stays unused.
"""

from __future__ import annotations

from typing import Protocol

from sipalg.codec.address import FIRST_UNPRIVILEGED_PORT
from sipalg.codec.machine import machine_code
from sipalg.codec.message import CONTACT, VIA
from sipalg.engine.passage import Passage
from sipalg.engine.policy import NOTHING_TO_EDIT
from sipalg.engine.rows import Contact, Entry, Home
from sipalg.engine.transaction import Written
from sipalg.engine.verdict import Datagram, Endpoint, Verdict

Counts = tuple[dict[bytes, int], dict[str, int], int]


class Express(Protocol):
    """What `express.Express` is."""

    def configure(
        self, enabled: bool, inside: frozenset[str], public_host: bytes, quiet_s: float, timeout_s: float, /
    ) -> None:
        """Begin anew by other settings."""

    def clear(self) -> None:
        """Forget all phones."""

    def teach(
        self,
        protocol: int,
        private: Endpoint,
        public_port: int,
        in_interface: str,
        registrar: Endpoint,
        contact: Contact,
        home: Home,
        names: tuple[bytes, bytes],
        idle_until: float,
        /,
    ) -> bool:
        """Note a phone; False if there is no room."""

    def forget(self, protocol: int, private: Endpoint, /) -> None:
        """Forget a phone, if it is known."""

    def touch(self, protocol: int, private: Endpoint, idle_until: float, /) -> None:
        """Note when a phone's mapping ends unless somebody holds it, if the phone is known."""

    def is_registrar(self, end: Endpoint, /) -> bool:
        """Whether a phone is registered there."""

    def decide(self, verdict: type[Verdict], datagram: Datagram, now: float, /) -> Verdict | None:
        """Follow a message; None if it is to go the other way."""

    def take_counts(self) -> Counts:
        """Messages, edits by rule and messages without any since the last call."""


class Shortcut:
    """Keeps what `express` knows true; it is None in the interpreted build."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self._entries = passage.mappings.entries
        self._contacts = passage.contacts
        self._bare = passage.headers.bare
        self._tended = passage.peers.tended
        self.express = _make(passage)
        self.change()

    def decide(self, datagram: Datagram, now: float) -> Verdict | None:
        """The verdict on a message that goes the shortest way; None for any other."""
        return None if self.express is None else self.express.decide(Verdict, datagram, now)

    def change(self) -> None:
        """Go by the settings in force; no phone is known."""
        settings = self._passage.settings
        timeout_s = settings.sip_timeout_s
        if self.express is not None:
            self.express.configure(
                bool(settings.nat_address) and not settings.disabled,
                settings.inside_interfaces,
                self._passage.headers.advertised,
                0.9 * timeout_s,
                timeout_s,
            )

    def learn(self, registrar: Endpoint) -> None:
        """Take note of the phone whose contact its registrar has just granted, if one was, and all is as usual."""
        contact, self._contacts.granted = self._contacts.granted, None
        if contact is None or self.express is None or self._passage.transaction.commands:
            return
        entry, (_, aor, host) = contact.entry, contact.line
        # Without a Call-ID and an address of record nothing would tell a line from one that can't be read.
        usual = contact.stands and host == registrar.host and entry.home.asked_id
        if usual and self._is_usual(entry, registrar):
            protocol, private = entry.key
            names = (entry.home.asked_id, aor)
            place = (protocol, private, entry.public_port, entry.in_interface, registrar)
            self.express.teach(*place, contact, entry.home, names, entry.idle_until)

    def _is_usual(self, entry: Entry, registrar: Endpoint) -> bool:
        """Whether a mapping's messages to and from its registrar need nothing but their own edits."""
        passage, key = self._passage, entry.key
        protocol, private = key
        if entry.purpose != "sip" or entry.adopted or entry.parting or private.port < FIRST_UNPRIVILEGED_PORT:
            return False
        if entry.public_host in (entry.private_host, b"") or entry.public_host != passage.headers.advertised:
            return False
        if (key, VIA) in self._bare or (key, CONTACT) in self._bare or key in passage.nat_aware:
            return False
        if (key, registrar) in self._tended or (protocol, registrar) in self._entries:
            return False
        return registrar.host in entry.peer_hosts() and not passage.is_exempt(registrar.host)

    def forget(self, log: list[Written]) -> None:
        """Forget the phones that a transaction has changed something of."""
        express = self.express
        if express is None:
            return
        for place, key, before in log:
            if isinstance(place, Entry):
                # No other mapping is ever told to it.
                if place.purpose != "sip":
                    continue
                protocol, private = place.key
                if not place.is_as_it_was(before):
                    express.forget(protocol, private)
                elif not place.ended_at(before):
                    express.touch(protocol, private, place.idle_until)
            elif isinstance(place, Contact):
                # Its times are read where they are.
                if not place.stands:
                    express.forget(*place.entry.key)
            elif place is self._entries:
                express.forget(*key)
                if express.is_registrar(key[1]):
                    express.clear()
            elif place is self._bare or place is self._tended:
                express.forget(*key[0])

    def forget_source(self, datagram: Datagram) -> None:
        """Forget the phone that a message came from."""
        if self.express is not None:
            self.express.forget(datagram.protocol, datagram.source)

    def add_counts(self, methods: dict[bytes, int], rules: dict[str, int], reasons: dict[str, int]) -> None:
        """Add what went the shortest way since the last call to these counts."""
        if self.express is None:
            return
        its_methods, its_rules, unedited = self.express.take_counts()
        for method, count in its_methods.items():
            methods[method] = methods.get(method, 0) + count
        for rule, count in its_rules.items():
            rules[rule] = rules.get(rule, 0) + count
        if unedited:
            reasons[NOTHING_TO_EDIT] = reasons.get(NOTHING_TO_EDIT, 0) + unedited


def _make(passage: Passage) -> Express | None:
    """The shortest way through these tables; None in the interpreted build."""
    make = machine_code("sipalg.engine.express", "Express")
    return make and make(
        passage.transaction,
        passage.contacts.leaving,
        passage.direct.refused,
        passage.mappings.hosts,
        passage.beat,
        passage.touch,
        passage.transaction.note_row,
    )
