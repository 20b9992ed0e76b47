"""Registered phones and all that may befall them: scripts for which the shortest way must say what the other one says.

An input is read byte by byte as a script: refreshes as phones send them and registrars answer, usual and not, and in
between whatever changes what is known of a phone: time, late timers, calls, a kernel that refuses, other settings,
port forwards, flows older than sipalg, a restart. `check_ways` plays it in two engines of this process, one with the
shortest way and one without; `fuzz.builds` plays it in both builds. Of each step everything that can be seen counts:
the verdict, the rows with their times, the timers, the records and the counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Final

from sipalg.engine.alg import Alg
from sipalg.engine.existing import Restored
from sipalg.engine.records import plain_key
from sipalg.engine.resuming import PlainRecord
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import TCP, UDP, Command, Datagram, Endpoint, Mapping

#: The longest script: a step is a message or an event.
MOST_STEPS: Final = 200
_PUBLIC: Final = ("203.0.113.1", "203.0.113.1", "203.0.113.1", "203.0.113.2", "")
_PHONES: Final = (
    Endpoint("192.168.33.10", 5060),
    Endpoint("192.168.33.10", 5062),
    Endpoint("192.168.33.11", 5060),
)
#: The last one is a phone's own address, too.
_REGISTRARS: Final = (
    Endpoint("203.0.113.50", 5060),
    Endpoint("203.0.113.50", 5070),
    Endpoint("203.0.113.51", 5060),
    Endpoint("192.168.33.11", 5060),
)
_WAITS_S: Final = (0.0, 0.5, 0.5, 1.5, 1.5, 3.0, 3.0, 20.0, 31.9, 32.0, 40.0, 100.0, 270.0, 400.0, 1000.0, 3500.0, 9e3)
_TIMEOUTS_S: Final = (3600.0, 60.0, 300.0)

_FROM_PHONE: Final = (
    "REGISTER sip:example.org SIP/2.0|Via|From|To|Call-ID|CSeq REGISTER|Contact|Expires|Length",
    "REGISTER sip:example.org SIP/2.0|Via|From|To|Call-ID|CSeq REGISTER|Contact;expires=300|Length",
    "OPTIONS sip:example.org SIP/2.0|Via|From|To|Call-ID|CSeq OPTIONS|Contact|Length",
    "OPTIONS sip:{registrar} SIP/2.0|Via|From|To|Call-ID|CSeq OPTIONS|Length",
    "SIP/2.0 200 OK|Theirs|From|To|Call-ID|CSeq OPTIONS|Contact|Length",
    "INVITE sip:b@example.org SIP/2.0|Via|From|To|Call-ID|CSeq INVITE|Contact|Length",
    "MESSAGE sip:b@example.org SIP/2.0|Via|From|To|Call-ID|CSeq MESSAGE|Length",
)
_TO_PHONE: Final = (
    "SIP/2.0 200 OK|Ours|From|To|Call-ID|CSeq REGISTER|Their;expires=300|Length",
    "SIP/2.0 200 OK|Ours|From|To|Call-ID|CSeq REGISTER|Their|Expires|Length",
    "SIP/2.0 200 OK|Ours|From|To|Call-ID|CSeq REGISTER|Others;expires=9, <sip:a@{public}>;expires=300|Length",
    "SIP/2.0 401 Unauthorized|Ours|From|To|Call-ID|CSeq REGISTER|Length",
    "SIP/2.0 100 Trying|Ours|From|To|Call-ID|CSeq REGISTER|Length",
    "SIP/2.0 200 OK|Ours|From|To|Call-ID|CSeq OPTIONS|Length",
    "OPTIONS sip:a@{public};transport={low} SIP/2.0|Theirs|From|To|Call-ID|CSeq OPTIONS|Length",
    "SIP/2.0 200 OK|Ours|From|To|Call-ID|CSeq INVITE|Length",
    "SIP/2.0 200 OK|Ours|From|To|Call-ID|CSeq REGISTER|Length",
)
_LINES: Final = {
    "Via": "Via: SIP/2.0/{high} {own};branch=z9hG4bK1;rport",
    "Ours": "Via: SIP/2.0/{high} {public};branch=z9hG4bK1;received={public_host};rport={public_port}",
    "Theirs": "Via: SIP/2.0/{high} {registrar};branch=z9hG4bK2",
    "From": "From: <sip:a@example.org>;tag=a",
    "To": "To: <sip:a@example.org>",
    "Call-ID": "Call-ID: c{port}",
    "Contact": "Contact: <sip:a@{own}{over}>",
    "Their": "Contact: <sip:a@{public}{over}>",
    "Others": "Contact: <sip:x@198.51.100.7:5070>",
    "Expires": "Expires: 300",
    "Length": "Content-Length: 0",
}
#: What may stand in another's place, in what is sent.
_CHANGES: Final = (
    ("Via:", "v :"), ("Contact:", "m:"), ("Contact:", "CONTACT \t:"), ("Call-ID:", "i:"),
    ("Call-ID: c", "Call-ID: d"), ("expires=300", "expires=0"), ("expires=300", "expires=60"), (";expires=300", ""),
    ("expires=300", 'EXPIRES="300"'), ("Expires: 300", "Expires: 0"), ("Expires: 300", "Expires: 60"),
    ("Expires: 300\r\n", ""), ("300", "4294967295"), ("Content-Length", "Expires: 0\r\nContent-Length"),
    ("From:", "Expires: 30\r\nFrom:"), ("Expires: 300", "Expires:300 "), ("{own}", "{own_host}"),
    ("{public}", "{public_host}"), ("{own}", "{public}"), ("{public}", "{public_host}:9"),
    ("{own}", "{own_host}:05060"), ("{own}", "{own_host}:5062"), ("<sip:a@{own}", "<sips:a@{own}"),
    ("<sip:a@{own}{over}>", "*"), ("<sip:a@{own}{over}>", "<sip:a@192.168.33.99:5060>"), ("<sip:", '"a, b" <sip:'),
    ("Contact:", "Contact: <sip:z@{own}>\r\nContact:"),
    ("<sip:a@{own}{over}>", "<sip:a@{own}{over}>, <sip:b@{own}>"), (">", ';ob>;+sip.instance="<urn:x>"'),
    ("{over}", ";transport=tcp"), ("{over}", ";transport=ws"), ("{over}", ";lr"), ("{over}", ";maddr={public_host}"),
    ("{over}", ";maddr={own_host}"), ("{high} ", "{high}  "), ("UDP", "udp"), ("UDP", "TCP"),
    ("To: <sip:a@", "To: <sip:b@"), ("To: <sip:a@example.org>", "To: sip:a@example.org;tag=9"), ("To:", "t:"),
    ("To: <sip:a@example.org>", "To: <>"), ("To: <sip:a@example.org>\r\n", ""), ("Call-ID: c{port}\r\n", ""),
    ("Call-ID: c{port}", "Call-ID: "), ("To:", "To: x\r\nTo:"), ("CSeq: 1", "CSeq: 2"), ("CSeq: 1", "CSeq: x"),
    ("REGISTER\r\n", "OPTIONS\r\n"), ("REGISTER\r\n", "BYE\r\n"), ("CSeq:", "CSEQ :"), ("\r\n\r\n", "\r\n\r\nab"),
    ("Content-Length: 0\r\n", ""), ("Content-Length: 0", "Content-Length: 2"), ("Content-Length: 0", "l:00"),
    ("\r\n", "\n"), ("\r\n\r\n", "\r\n"), ("\r\n\r\n", "\r\n\r"), ("Length: 0", "Length: 0\r\n\t"),
    ("Content-Length", "Route: <sip:{public};lr>\r\nContent-Length"),
    ("Content-Length", "Path: <sip:{public};lr>\r\nContent-Length"),
    ("Content-Length", "Server: {public}\r\nContent-Length"),
    ("Content-Length", "Service-Route: <sip:{registrar};lr>\r\nContent-Length"),
    ("From:", "Via: SIP/2.0/UDP {own}\r\nFrom:"), ("From:", "Via: SIP/2.0/UDP {public};rport=5\r\nFrom:"),
    ("Via:", "Via: SIP/2.0/UDP 198.51.100.7\r\nVia:"), (";received={public_host}", ""),
    ("received={public_host}", "received=198.51.100.9"), ("rport=", "rport= 7"), ("rport", 'x="a;b";rport'),
    (";branch", ";received={public_host};branch"), (";branch", ";;branch"),
    (";branch", ", SIP/2.0/UDP {public};branch"), ("SIP/2.0 200", "SIP/2.0 202"), ("SIP/2.0 200", "SIP/2.0 302"),
    ("SIP/2.0 200 OK", "SIP/2.0 200"), ("SIP/2.0 4", "SIP/2.0 6"), (" SIP/2.0\r\n", " sip/2.0\r\n"),
    ("sip:example.org", "sip:{own}"), ("sip:example.org", "sip:a@192.168.33.11:5060"), ("sip:example.org", "tel:1"),
    ("sip:example.org", "sip:%61@{registrar};transport=tcp"), ("sip:a@", "sip:"), ("sip:a@", "sip:a:b@"),
    ("sip:a@{public}", "sip:phone.example"), ("sip:a@{public}", "sip:a@{public_host};x"), ("sip:", "SIP:"),
    ("a@", "a\xff@"), ("OK", "O\rK"), ("<sip:a@example.org>;tag=a", '"{public}" <sip:{public}>'),
    ("z9hG4bK1", "z9hG4bK{own}"), ("z9hG4bK1", "z9hG4bK{public}"),
)  # fmt: skip


class _Bytes:
    """An input, read to its end and zeros from there on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def __bool__(self) -> bool:
        return self._place < len(self._data)

    def number(self) -> int:
        """Return the next byte."""
        self._place += 1
        return self._data[self._place - 1] if self._place <= len(self._data) else 0

    def of(self, choices: tuple[Any, ...]) -> Any:
        """Return the choice that the next byte names."""
        return choices[self.number() % len(choices)]


class Play:
    """One engine under a script; `quickly` says whether it has the shortest way, if the build has it."""

    def __init__(self, data: bytes, *, quickly: bool) -> None:
        self._bytes = _Bytes(data)
        self._quickly = quickly
        kind = self._bytes.number()
        self._protocol = TCP if kind & 3 == 3 else UDP
        self._timeout_s = _TIMEOUTS_S[kind >> 2 & 3 if kind >> 2 & 3 < len(_TIMEOUTS_S) else 0]
        self._nat = _PUBLIC[0]
        self._exempt = False
        self._disabled = False
        self._now = 1000.0
        self._refusals = 0
        self._alg = self.engine(self._settings())
        #: Whether records are kept, and as soon as they change.
        self._watched, self._at_once = bool(kind & 16), bool(kind & 32)
        self._changed: list[Any] = []

    def steps(self) -> Iterator[tuple[object, ...]]:
        """Play the script; what can be seen after each step."""
        for _ in range(MOST_STEPS):
            if not self._bytes:
                break
            answer = self._step()
            yield (*answer, *self._seen())
        self._now += 1e6
        yield (self._alg.handle_timer(self._now), *self._seen(), self._alg.snapshot(self._now))

    def _settings(self) -> Settings:
        exempt = (ip_network("203.0.113.51/32"),) if self._exempt else ()
        return Settings(
            frozenset(("lan0", "lan1")),
            self._nat,
            self._nat,
            sip_timeout_s=self._timeout_s,
            exempt=exempt,
            disabled=self._disabled,
        )

    def engine(self, settings: Settings) -> Alg:
        """Return a new engine."""
        alg = Alg(settings, lambda _protocol, port: port % 7 == 0)
        if not self._quickly:
            alg.shortcut.express = None
        return alg

    def _step(self) -> tuple[object, ...]:
        kind = self._bytes.number() % 64
        alg, take = self._alg, self._bytes
        if kind < 36:
            return self._message()
        if kind < 48:
            return self._usual()
        if kind < 53:
            self._now += take.of(_WAITS_S)
            return () if kind == 52 else (alg.handle_timer(self._now),)
        if kind == 53:
            return self._change()
        if kind == 54:
            return self._kernel()
        if kind == 55:
            self._refusals = take.number() % 4
            return ()
        if kind == 56:
            return (alg.snapshot(self._now),)
        if kind == 57:
            return self._restart()
        if kind < 62:
            return self._write()
        # Timers at their own times.
        end = self._now + take.of(_WAITS_S)
        done: list[tuple[Command, ...]] = []
        while (due := alg.next_timer()) is not None and due <= end and len(done) < MOST_STEPS:
            self._now = max(self._now, due)
            done.append(alg.handle_timer(self._now))
        self._now = end
        return tuple(done)

    def _usual(self) -> tuple[object, ...]:
        """Have a phone refresh its registration, and its registrar answer, twice."""
        who = self._bytes.number()
        answers: list[object] = []
        phone, registrar = _PHONES[who % 3 if who & 64 else 0], _REGISTRARS[1 + (who >> 2 & 2) if who & 128 else 0]
        for _ in range(2):
            answers += self._receive(_FROM_PHONE[0], phone, registrar, "lan0")
            answers += self._receive(_TO_PHONE[0], phone, registrar, "wan0")
            self._now += 30.0
        return tuple(answers)

    def _message(self) -> tuple[object, ...]:
        take = self._bytes
        way = take.number()
        phone, registrar = _PHONES[way % 3 if way & 64 else 0], _REGISTRARS[way >> 3 & 3 if way & 128 else 0]
        leaves = bool(way & 4)
        text = take.of(_FROM_PHONE if leaves else _TO_PHONE)
        interface = ("lan1" if way & 32 else "lan0") if leaves else "wan0"
        changes = take.number()
        picked = [take.of(_CHANGES) for _ in range(changes & 3)]
        damage = (take.number(), take.number(), take.number()) if changes & 124 == 4 else None
        return self._receive(text, phone, registrar, interface, picked, damage, times=1 if changes & 128 else -1)

    def _receive(
        self,
        kind: str,
        phone: Endpoint,
        registrar: Endpoint,
        interface: str,
        changes: list[tuple[str, str]] | None = None,
        damage: tuple[int, int, int] | None = None,
        times: int = -1,
    ) -> tuple[object, ...]:
        """Hand a message in, and have the kernel carry out what comes of it."""
        text = self._text(kind, phone, registrar, changes or [], times)
        if damage is not None:
            place, byte, size = damage
            place = place * 4 % (len(text) + 1)
            text = text[:place] + bytes((byte,)) + text[place + size % 3 :]
        ends = (phone, registrar) if interface != "wan0" else (registrar, phone)
        datagram = Datagram(text, *ends, self._protocol, interface)
        alg = self._alg
        verdict = alg.receive_message(datagram, self._now)
        said = [verdict, verdict.edits]
        while verdict.commands:
            if self._refusals == 3:
                # Nobody reports; what comes next takes it back.
                self._refusals = 0
                break
            if not self._refusals:
                alg.commands_done(verdict.token, self._now)
                break
            self._refusals -= 1
            verdict = alg.commands_failed(verdict.token, 0, "refused", self._now)
            said.append(verdict)
        return tuple(said)

    def _text(
        self, kind: str, phone: Endpoint, registrar: Endpoint, changes: list[tuple[str, str]], times: int
    ) -> bytes:
        start, *names = kind.split("|")
        lines = [start]
        for name in names:
            word, semicolon, more = name.partition(";")
            line = f"CSeq: 1 {word[5:]}" if word.startswith("CSeq") else _LINES[word]
            lines.append(line + semicolon + more)
        text = "\r\n".join((*lines, "", ""))
        for before, after in changes:
            text = text.replace(before, after, times)
        public = self._alg.public_of(self._protocol, phone) or Endpoint(self._nat or "203.0.113.1", phone.port)
        high = "TCP" if self._protocol == TCP else "UDP"
        values = {"own": phone, "own_host": phone.host, "port": phone.port, "registrar": registrar, "high": high}
        values |= {"public": public, "public_host": public.host, "public_port": public.port, "low": high.lower()}
        values["over"] = ";transport=tcp" if self._protocol == TCP else ""
        for name, value in values.items():
            text = text.replace("{" + name + "}", str(value))
        return text.encode("latin-1")

    def _change(self) -> tuple[object, ...]:
        """Have a setting changed."""
        take = self._bytes
        what = take.number()
        if what % 4 == 0:
            self._timeout_s = take.of(_TIMEOUTS_S)
        elif what % 4 == 1:
            self._nat = take.of(_PUBLIC)
        elif what % 4 == 2:
            self._exempt = what & 24 == 24
        else:
            self._disabled = what & 24 == 24
        settings = replace(self._settings(), mode="observe" if what & 4 else "enforce")
        return (self._alg.change_settings(settings, self._now),)

    def _kernel(self) -> tuple[object, ...]:
        """Have something outside of messages changed: forwards, flows, mappings."""
        alg, take, now = self._alg, self._bytes, self._now
        what, phone = take.number() % 6, take.of(_PHONES)
        public = alg.public_of(self._protocol, phone) or Endpoint(self._nat or "203.0.113.1", phone.port)
        if what == 0:
            return (alg.adopt(Mapping(self._protocol, phone, public, "sip", adopted=True), now, "lan0"),)
        if what == 1:
            flow = Mapping(self._protocol, phone, public, "sip")
            return (alg.adopt(flow, now, "lan0", take.of(_REGISTRARS), admit=bool(take.number() & 1)),)
        if what == 2:
            return (alg.disown(Mapping(self._protocol, phone, public, "sip", adopted=True), now),)
        if what == 3:
            standing = [entry.mapping for entry in alg.mappings.entries.values()]
            return (alg.keep_only(standing[take.number() % (len(standing) + 1) :], now),)
        if what == 4:
            return (alg.end_all(now),)
        empty = Datagram(b"\r\n\r\n", phone, _REGISTRARS[0], self._protocol, "lan0")
        verdict = alg.receive_message(empty, now)
        alg.commands_done(verdict.token, now)
        return (verdict,)

    def _restart(self) -> tuple[object, ...]:
        """Let another engine take over, with the records and the kernel's mappings."""
        old, now = self._alg, self._now
        kept = [[record[0], plain_key(record), old.records.value(record)] for record in old.records.all()]
        records = [PlainRecord(kind, tuple(key), value) for kind, key, value in json.loads(json.dumps(kept))]
        self._alg = alg = self.engine(self._settings())
        for entry in old.mappings.entries.values():
            if entry.adopted:
                alg.adopt(entry.mapping, now, entry.in_interface)
        standing = [entry for entry in old.mappings.entries.values() if not entry.adopted]
        alg.restore(
            [Restored(one.mapping, max(1.0, one.lease_until - now), "", one.peer_hosts()) for one in standing], now
        )
        return (alg.resume(records, (), now),)

    def _seen(self) -> tuple[object, ...]:
        """Whatever the engine knows, to the last digit."""
        alg = self._alg
        entries = [
            (key, entry.adopted, entry.public_text, entry.wakes_at, entry.state()[:5], entry.peers, homes(entry.home))
            for key, entry in alg.mappings.entries.items()
        ]
        contacts = [
            (contact.key, contact.state(), contact.suspect_at, contact.recorded, contact.wakes_at)
            for contact in alg.contacts.all()
        ]
        tables = [*alg.contacts.leaving.items()], [*alg.peers.tended.items()], [*alg.nat_aware], [*alg.direct.refused]
        if self._watched:
            self._changed += alg.records.take_changed()
        written = self._write() if self._at_once else ()
        return entries, contacts, tables, alg.take_events(), written, alg.next_timer(), alg.counts()

    def _write(self) -> tuple[object, ...]:
        """Have the records that have changed written."""
        changed, self._changed = self._changed, []
        return tuple((record, self._alg.records.value(record)) for record in changed)


def homes(home: Any) -> tuple[object, ...]:
    """What is known of a host."""
    return (home.mappings, home.asked_id, home.asked_at, home.asked and [*home.asked.items()])


def check_ways(data: bytes) -> int:
    """Play a script with and without the shortest way; AssertionError where they differ. The number of steps."""
    number = 0
    with_it, without = Play(data, quickly=True).steps(), Play(data, quickly=False).steps()
    for number, (one, other) in enumerate(zip(with_it, without, strict=True)):
        assert one == other, f"step {number}: {one}\nwithout the shortest way: {other}"
    return number


def said(data: bytes) -> str:
    """Return all that this build says of a script, a line for each step."""
    return "\n".join(map(repr, Play(data, quickly=True).steps()))
