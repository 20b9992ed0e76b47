"""The shortest way of a message: of a registered phone's that only refreshes what stands, in machine code.

Nearly all that passes a router with phones are refreshed registrations, the 401s and 200s to them, and OPTIONS. Of
such a message the header is read once, its phone's row is looked up by the packet's address, its addresses are edited,
and the two times that it moves are written into the engine's own rows. Nothing is decided here that `passage` wouldn't
decide likewise: whatever isn't as usual (another field, another lifetime, a timer that is to be set) goes that way,
and a phone's row is forgotten as soon as anything of its mapping or its contact changes (`shortcut`). The first on a
packet's way, where the build has it. Cython compiles it (pure-Python mode); interpreted there is only the other way.
Sources: RFC 3261 §10 and §11, RFC 3581 §4.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.dict import PyDict_Size
from cython.cimports.cpython.list import PyList_GET_SIZE
from cython.cimports.cpython.ref import PyObject
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memchr, memcpy, memset
from cython.cimports.sipalg.codec.quick import Body, header_end
from cython.cimports.sipalg.codec.quick_edits import (
    Address,
    Host,
    is_elsewhere,
    is_host,
    names,
    read_contact,
    sent_by,
)
from cython.cimports.sipalg.codec.search import Marks, filled, is_digit
from cython.cimports.sipalg.engine.express_rows import (
    ContactObject,
    Row,
    Rows,
    TransactionObject,
    address_of,
    prefetch,
)
from cython.cimports.sipalg.engine.express_texts import (
    Edit,
    Passing,
    answers,
    came_from,
    colon_of,
    is_own,
    kind_of,
    note_edit,
    read_target,
    sort_edits,
    target_end,
    write,
    write_number,
    write_private,
)
from cython.cimports.sipalg.engine.express_times import asks, is_recorded, renews

from sipalg.codec.message import CONTACT, FIELD_NAMES, VIA
from sipalg.engine.policy import COUNTED, MAX_HEADER_LINES, NOTHING_TO_EDIT
from sipalg.engine.verdict import ACCEPT, REPLACE

_LONG_HEADER_BYTES = cython.declare(cython.Py_ssize_t, 3 * MAX_HEADER_LINES)
_TCP = cython.declare(cython.int, 6)
#: What isn't a response's status.
_REGISTER = cython.declare(cython.int, 700)
_OPTIONS = cython.declare(cython.int, 701)
_KINDS = cython.declare(cython.int, 702)
_MOST_EDITS = cython.declare(cython.int, 8)
#: The longest host that messages may name, for the room in `Passing`.
_MOST_HOST_BYTES = cython.declare(cython.int, 255)
#: Rules by their numbers in `Edit`: those of a Via's parameters are in `express_texts`.
_RULES = (FIELD_NAMES[VIA], FIELD_NAMES[CONTACT], "via-received", "via-rport", "request-uri")
_VIA = cython.declare(cython.int, 0)
_CONTACT = cython.declare(cython.int, 1)
_TARGET = cython.declare(cython.int, 4)


@cython.cclass
class Express(Rows):
    """The rows of the phones that are registered, and the counts of what went this way."""

    def __cinit__(self, transaction, leaving: dict, refused: dict, hosts: dict, beat, touch, note):
        """The engine's transaction and tables, and whom to tell what is more than two times.

        `beat(key, host, now)` notes a keep-alive, `touch(entry, now)` moves the end of a mapping, once in a tenth of
        sip-timeout, and `note(contact)` has a contact's record written.
        """
        self.transaction = transaction
        self.leaving = leaving
        self.refused = refused
        self.hosts = hosts
        self.beat = beat
        self.touch_entry = touch
        self.note = note

    def configure(self, enabled: bool, inside: frozenset, public_host: bytes, quiet_s: float, timeout_s: float):
        """Begin anew by other settings: `public_host` is what messages name, `quiet_s` how long no touch is noted."""
        self.clear()
        self.enabled = enabled and 0 < len(public_host) <= _MOST_HOST_BYTES and public_host[0] != 91
        self.inside = inside
        self.public_host = public_host
        self.quiet_s = quiet_s
        self.timeout_s = timeout_s

    # What a message goes through.

    def decide(self, verdict: type, datagram, now: cython.double):
        """The verdict on a message that goes this way; None for any other."""
        passing: cython.pointer(Passing) = cython.address(self.passing)
        parts = cython.cast(tuple, datagram)
        payload: bytes = parts[0]
        source = cython.cast(tuple, parts[1])
        destination = cython.cast(tuple, parts[2])
        if self.count == 0 or not self.is_free():
            return None
        first: cython.long = address_of(source[0])
        second: cython.long = address_of(destination[0])
        if first < 0 or second < 0:
            return None
        passing.text = PyBytes_AS_STRING(payload)
        passing.size = PyBytes_GET_SIZE(payload)
        passing.source = cython.cast(uint32_t, first)
        passing.destination = cython.cast(uint32_t, second)
        passing.source_port = source[1]
        passing.destination_port = destination[1]
        passing.protocol = parts[3]
        passing.now = now
        count: cython.int = self.look(passing, parts[4])
        if count < 0:
            return None
        if count == 0:
            return filled(verdict, (ACCEPT, payload, (), (), NOTHING_TO_EDIT, 0))
        result: bytes = PyBytes_FromStringAndSize(cython.NULL, passing.size + passing.grown)
        write(passing, PyBytes_AS_STRING(result))
        changes: list = []
        i: cython.int
        edit: cython.pointer(Edit)
        for i in range(count):
            edit = cython.address(passing.edits[i])
            changes.append((edit.offset, edit.size, edit.text[: edit.text_size], _RULES[edit.rule]))
        return filled(verdict, (REPLACE, result, tuple(changes), (), "", 0))

    @cython.cfunc
    @cython.exceptval(check=False)
    def is_free(self) -> cython.bint:
        """Whether no message is under way in the engine."""
        held = cython.cast(cython.pointer(TransactionObject), cython.cast(cython.pointer(PyObject), self.transaction))
        return (
            PyList_GET_SIZE(cython.cast(object, held.commands)) == 0
            and PyList_GET_SIZE(cython.cast(object, held.log)) == 0
            and PyList_GET_SIZE(cython.cast(object, held.events)) == 0
        )

    @cython.cfunc
    @cython.exceptval(-2, check=False)
    def look(self, passing: cython.pointer(Passing), in_interface) -> cython.int:
        """Follow one message, and find its edits: their number, -1 if it is to go the other way."""
        marks = cython.declare(Marks)
        body = cython.declare(Body)
        text: cython.p_char = passing.text
        end: cython.p_char = text + passing.size
        number: cython.int = self.interface_number(in_interface)
        row: cython.pointer(Row)
        far: uint64_t
        done: cython.bint
        if number < 0 or not self.enabled:
            return -1
        outward: cython.bint = self.is_inside[number]
        if outward:
            row = self.find(passing.protocol, passing.source, passing.source_port)
            far = cython.cast(uint64_t, passing.destination) << 16 | passing.destination_port
        else:
            row = self.find(passing.protocol, passing.destination, passing.destination_port)
            far = cython.cast(uint64_t, passing.source) << 16 | passing.source_port
        if row == cython.NULL or self.registrars[row.registrar] != far or (outward and row.interface != number):
            return -1
        prefetch(row.home)
        prefetch(row.contact)
        prefetch(cython.cast(cython.p_char, row.home) + 64)
        prefetch(cython.cast(cython.p_char, row.contact) + 64)
        newline: cython.p_char = cython.cast(cython.p_char, memchr(text, 10, passing.size))
        if newline == cython.NULL or newline - text < 12 or passing.size > 65535:
            return -1
        kind: cython.int = kind_of(text, newline - 1 if (newline - 1)[0] == 13 else newline)
        if kind < 0:
            return -1
        memset(cython.address(marks), 0, cython.sizeof(Marks))
        memset(cython.address(body), 0, cython.sizeof(Body))
        blank: cython.p_char = header_end(text, newline, end, cython.address(marks), cython.address(body))
        if blank == cython.NULL or blank + (1 if blank[0] == 10 else 2) != end or body.length != 0:
            return -1
        if blank - newline > _LONG_HEADER_BYTES or marks.contacts or marks.twice:
            return -1
        passing.count = 0
        passing.grown = 0
        if outward:
            done = self._outward(passing, row, kind, newline, cython.address(marks))
        else:
            done = self._inward(passing, row, kind, newline, blank, cython.address(marks))
        if not done or not sort_edits(passing):
            return -1
        if outward and row.idle_until < passing.now + self.quiet_s:
            self._touch(row, passing.now)
        if kind == _OPTIONS:
            server: uint64_t = far >> 16
            held = cython.cast(cython.pointer(ContactObject), row.contact)
            self.beat(
                cython.cast(object, held.entry).key,
                f"{server >> 24}.{server >> 16 & 255}.{server >> 8 & 255}.{server & 255}",
                passing.now,
            )
        self.methods[kind] += 1
        if passing.count == 0:
            self.unedited += 1
        i: cython.int
        for i in range(passing.count):
            self.rules[passing.edits[i].rule] += 1
        return passing.count

    @cython.cfunc
    @cython.exceptval(-1)
    def _outward(
        self,
        passing: cython.pointer(Passing),
        row: cython.pointer(Row),
        kind: cython.int,
        newline: cython.p_char,
        marks: cython.pointer(Marks),
    ) -> cython.bint:
        """What a phone sends: its address becomes the public one."""
        own = cython.declare(Host)
        public = cython.declare(Host)
        address = cython.declare(Address)
        named: cython.bint = False
        if marks.others or PyDict_Size(self.refused) != 0:
            return False
        colon: cython.int = colon_of(passing.private_text, write_private(row.host, row.port, passing.private_text))
        self._fill(cython.address(own), passing, passing.private_text, colon, row.port)
        size: cython.int = self._write_public(row, passing.public_text)
        if kind >= _REGISTER and marks.via:
            if sent_by(cython.address(own), passing.text + marks.via, cython.address(address)):
                note_edit(passing, address.start, address.end, passing.public_text, size, _VIA)
            elif names(cython.address(own), passing.text + marks.via):
                return False
        address.expires_s = 0
        if marks.contact:
            named = (
                read_contact(passing.text + marks.contact, cython.address(address))
                and address.following == cython.NULL
                and is_own(cython.address(address), cython.address(own))
            )
            if named:
                note_edit(passing, address.start, address.end, passing.public_text, size, _CONTACT)
            else:
                host: cython.int = cython.cast(cython.int, PyBytes_GET_SIZE(self.public_host))
                self._fill(cython.address(public), passing, passing.public_text, host, row.public_port)
                if names(cython.address(own), passing.text + marks.contact):
                    return False
                if names(cython.address(public), passing.text + marks.contact):
                    return False
        if kind == _REGISTER:
            return named and asks(passing, row, marks, address.expires_s)
        if kind == _OPTIONS:
            return self._leads_outside(passing.text + 8, newline)
        return kind > 100 and answers(passing, marks, b"OPTIONS", 7)

    @cython.cfunc
    @cython.exceptval(-1)
    def _inward(
        self,
        passing: cython.pointer(Passing),
        row: cython.pointer(Row),
        kind: cython.int,
        newline: cython.p_char,
        blank: cython.p_char,
        marks: cython.pointer(Marks),
    ) -> cython.bint:
        """What comes for a phone: the public address becomes its own again."""
        public = cython.declare(Host)
        address = cython.declare(Address)
        found: cython.int = 0
        lifetime_s: cython.long = 0
        at: cython.p_char
        if kind == _REGISTER:
            return False
        end: cython.p_char = write_private(row.host, row.port, passing.private_text)
        size: cython.int = cython.cast(cython.int, end - passing.private_text)
        colon: cython.int = colon_of(passing.private_text, end)
        host: cython.int = cython.cast(cython.int, PyBytes_GET_SIZE(self.public_host))
        self._write_public(row, passing.public_text)
        self._fill(cython.address(public), passing, passing.public_text, host, row.public_port)
        if marks.others and is_elsewhere(cython.address(public), newline, blank):
            return False
        if kind == _OPTIONS:
            at = passing.text + 8
            if not read_target(at, target_end(newline), cython.address(address)):
                return False
            if is_host(cython.address(address), cython.address(public)):
                if not is_own(cython.address(address), cython.address(public)):
                    return False
                note_edit(passing, address.start, address.end, passing.private_text, size, _TARGET)
        elif marks.via:
            at = passing.text + marks.via
            if sent_by(cython.address(public), at, cython.address(address)):
                note_edit(passing, address.start, address.end, passing.private_text, size, _VIA)
                if not came_from(passing, cython.address(public), address.end, colon, size):
                    return False
            elif names(cython.address(public), at):
                return False
        at = passing.text + marks.contact if marks.contact else cython.cast(cython.p_char, cython.NULL)
        while at != cython.NULL:
            if not read_contact(at, cython.address(address)):
                if names(cython.address(public), passing.text + marks.contact):
                    return False
                break
            if is_host(cython.address(address), cython.address(public)):
                if not is_own(cython.address(address), cython.address(public)) or passing.count >= _MOST_EDITS:
                    return False
                note_edit(passing, address.start, address.end, passing.private_text, size, _CONTACT)
                lifetime_s = address.expires_s
                found += 1
            at = address.following
        if kind <= 100 or kind == _OPTIONS or answers(passing, marks, b"OPTIONS", 7):
            return True
        if not answers(passing, marks, b"REGISTER", 8):
            return False
        if not 200 <= kind < 300:
            return True
        if found != 1 or PyDict_Size(self.leaving) != 0:
            return False
        if not renews(passing, row, marks, lifetime_s, self.timeout_s):
            return False
        if not is_recorded(row, passing.now):
            self.note(cython.cast(object, row.contact))
        return True

    @cython.cfunc
    def _touch(self, row: cython.pointer(Row), now: cython.double):
        """Have a mapping live on from now."""
        entry = cython.cast(object, cython.cast(cython.pointer(ContactObject), row.contact).entry)
        self.touch_entry(entry, now)
        row.idle_until = entry.idle_until

    @cython.cfunc
    @cython.exceptval(-1)
    def _leads_outside(self, at: cython.p_char, newline: cython.p_char) -> cython.bint:
        """Whether a Request-URI surely names no inside host."""
        address = cython.declare(Address)
        if not read_target(at, target_end(newline), cython.address(address)):
            return False
        if not is_digit(address.start[0]):
            return True
        return address.start[: address.host_end - address.start] not in self.hosts

    @cython.cfunc
    @cython.exceptval(check=False)
    def _fill(
        self,
        host: cython.pointer(Host),
        passing: cython.pointer(Passing),
        name: cython.p_char,
        size: cython.Py_ssize_t,
        port: cython.int,
    ) -> cython.void:
        host.text = passing.text
        host.name = name
        host.size = size
        host.port = port
        host.over_tcp = passing.protocol == _TCP

    @cython.cfunc
    @cython.exceptval(check=False)
    def _write_public(self, row: cython.pointer(Row), to: cython.p_char) -> cython.int:
        """Write a phone's public address as messages name it; its length."""
        size: cython.int = cython.cast(cython.int, PyBytes_GET_SIZE(self.public_host))
        memcpy(to, PyBytes_AS_STRING(self.public_host), size)
        to[size] = 58
        return cython.cast(cython.int, write_number(to + size + 1, row.public_port) - to)

    def take_counts(self) -> tuple:
        """How many messages by method or status, edits by rule, and messages without any went this way; from 0 on."""
        i: cython.int
        methods: dict = {}
        rules: dict = {}
        for i in range(702):
            if self.methods[i]:
                name = b"REGISTER" if i == _REGISTER else b"OPTIONS" if i == _OPTIONS else COUNTED.get(i, b"other")
                methods[name] = self.methods[i]
                self.methods[i] = 0
        for i in range(5):
            if self.rules[i]:
                rules[_RULES[i]] = self.rules[i]
                self.rules[i] = 0
        unedited = self.unedited
        self.unedited = 0
        return methods, rules, unedited
