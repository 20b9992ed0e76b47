"""The phones that the shortest way knows: a table of rows, one line of the processor's cache for each.

A row is found by the packet's protocol and private address without touching anything else. It says what the engine's
rows say of the mapping, and holds those of the host and the contact, whose times are read and written where they are.
Who may be wrong about a phone is forgotten (`shortcut`). Cython compiles it (pure-Python mode).
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF, Py_INCREF, PyObject
from cython.cimports.cpython.unicode import PyUnicode_AsUTF8AndSize
from cython.cimports.libc.stdint import uint8_t, uint16_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.posix.stdlib import posix_memalign
from cython.cimports.sipalg.codec.search import is_digit
from cython.cimports.sipalg.engine.express_rows import (
    MADV_HUGEPAGE,
    ContactObject,
    HomeObject,
    Row,
    madvise,
    prefetch,
)
from cython.cimports.sipalg.engine.express_texts import line_of

_MOST_INTERFACES = cython.declare(cython.int, 16)
_MOST_REGISTRARS = cython.declare(cython.int, 256)
_FIRST_ROWS = cython.declare(cython.int, 64)
# From 32,768 places on, the table has pages of its own of this size: one place in it is then found without a walk
# through the page tables, which is most of what a look-up costs there.
_HUGE_PAGE_BYTES = cython.declare(cython.int, 1 << 21)


@cython.cclass
class Rows:
    """The rows, and the interfaces and registrars that they name by numbers."""

    def __cinit__(self):
        # Python's own secret is in it, so that nobody outside can choose addresses that meet.
        self.secret = hash(b"rows") & 0xFFFFFFFFFFFFFFFF | 1
        self.inside = frozenset()
        self._make_room(_FIRST_ROWS)

    def __dealloc__(self):
        self._let_go()
        free(self.rows)

    def clear(self):
        """Forget all rows."""
        i: cython.int
        self._let_go()
        for i in range(self.interface_count):
            Py_DECREF(cython.cast(object, self.interfaces[i]))
        self.interface_count = 0
        self.registrar_count = 0

    def __len__(self):
        return self.count

    def teach(
        self,
        protocol: cython.int,
        private,
        public_port: cython.int,
        in_interface: str,
        registrar,
        contact,
        home,
        names,
        idle_until: cython.double,
    ) -> bool:
        """Note a phone whose contact stands; `names` are its REGISTER's Call-ID and address of record."""
        sizes = (type(home).__basicsize__, type(contact).__basicsize__)
        if sizes != (cython.sizeof(HomeObject), cython.sizeof(ContactObject)):
            raise TypeError("rows of another build")
        number: cython.int = self.interface_number(in_interface)
        host: cython.long = address_of(private[0])
        server: cython.int = self._registrar_number(address_of(registrar[0]), registrar[1])
        if number < 0 or host < 0 or server < 0:
            return False
        port: cython.int = private[1]
        call_id: bytes = names[0]
        aor: bytes = names[1]
        row: cython.pointer(Row) = self.find(protocol, cython.cast(uint32_t, host), port)
        if row == cython.NULL:
            # Fuller, and looking for one that isn't there would read dozens of places.
            if 5 * (self.count + 1) > 4 * (self.mask + 1):
                self._make_room(2 * (self.mask + 1))
            self.count += 1
            row = self._free_place(protocol, cython.cast(uint32_t, host), port)
        else:
            _let_row_go(row)
        row.host = cython.cast(uint32_t, host)
        row.port = port
        row.protocol = protocol
        row.public_port = public_port
        row.interface = number
        row.registrar = server
        row.idle_until = idle_until
        row.line = line_of(
            PyBytes_AS_STRING(call_id), PyBytes_GET_SIZE(call_id), PyBytes_AS_STRING(aor), PyBytes_GET_SIZE(aor)
        )
        Py_INCREF(home)
        Py_INCREF(contact)
        Py_INCREF(call_id)
        row.home = cython.cast(cython.pointer(PyObject), home)
        row.contact = cython.cast(cython.pointer(PyObject), contact)
        row.call_id = cython.cast(cython.pointer(PyObject), call_id)
        return True

    def forget(self, protocol: cython.int, private):
        """Forget the phone with this address, if it is known."""
        host: cython.long = address_of(private[0])
        row: cython.pointer(Row) = cython.NULL
        if host >= 0:
            row = self.find(protocol, cython.cast(uint32_t, host), private[1])
        if row == cython.NULL:
            return
        _let_row_go(row)
        row.protocol = 0
        self.count -= 1
        # Those behind it in the same run move up, so that each is found from its own place on.
        hole: uint64_t = row - self.rows
        at: uint64_t = hole
        home: uint64_t
        while True:
            at = (at + 1) & self.mask
            row = self.rows + at
            if row.protocol == 0:
                return
            home = self._place(row.protocol, row.host, row.port)
            if ((at - home) & self.mask) >= ((at - hole) & self.mask):
                memcpy(self.rows + hole, row, cython.sizeof(Row))
                row.protocol = 0
                hole = at

    def touch(self, protocol: cython.int, private, idle_until: cython.double):
        """Note when a phone's mapping ends unless somebody holds it, if the phone is known."""
        host: cython.long = address_of(private[0])
        row: cython.pointer(Row) = cython.NULL
        if host >= 0:
            row = self.find(protocol, cython.cast(uint32_t, host), private[1])
        if row != cython.NULL:
            row.idle_until = idle_until

    def is_registrar(self, end) -> bool:
        """Whether any phone is registered there, by host and port."""
        host: cython.long = address_of(end[0])
        return host >= 0 and self._known_registrar(host, end[1]) >= 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def find(self, protocol: uint8_t, host: uint32_t, port: uint16_t) -> cython.pointer(Row):
        """The row of a phone; NULL if it isn't known."""
        at: uint64_t = self._place(protocol, host, port)
        row: cython.pointer(Row) = self.rows + at
        while row.protocol != 0:
            if row.host == host and row.port == port and row.protocol == protocol:
                return row
            at = (at + 1) & self.mask
            row = self.rows + at
        return cython.NULL

    @cython.cfunc
    @cython.exceptval(check=False)
    def expect(self, protocol: uint8_t, host: uint32_t, port: uint16_t) -> cython.void:
        """Have the processor fetch the place where a row is looked for first."""
        prefetch(self.rows + self._place(protocol, host, port))

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def _place(self, protocol: uint8_t, host: uint32_t, port: uint16_t) -> uint64_t:
        key: uint64_t = cython.cast(uint64_t, protocol) << 48 | cython.cast(uint64_t, port) << 32 | host
        key = (key ^ self.secret) * cython.cast(uint64_t, 0x9E3779B97F4A7C15)
        return (key >> 32 ^ key) & self.mask

    @cython.cfunc
    @cython.exceptval(check=False)
    def _free_place(self, protocol: uint8_t, host: uint32_t, port: uint16_t) -> cython.pointer(Row):
        at: uint64_t = self._place(protocol, host, port)
        while self.rows[at].protocol != 0:
            at = (at + 1) & self.mask
        return self.rows + at

    @cython.cfunc
    def _make_room(self, size: uint64_t):
        """Have room for `size` places, a power of two."""
        before: cython.pointer(Row) = self.rows
        had: uint64_t = self.mask + 1 if before != cython.NULL else 0
        i: uint64_t
        place: cython.p_void = cython.NULL
        large: cython.bint = size * cython.sizeof(Row) >= _HUGE_PAGE_BYTES
        if posix_memalign(cython.address(place), _HUGE_PAGE_BYTES if large else 64, size * cython.sizeof(Row)) != 0:
            raise MemoryError
        if large:
            # Where the kernel has none, small pages are as right.
            madvise(place, size * cython.sizeof(Row), MADV_HUGEPAGE)
        memset(place, 0, size * cython.sizeof(Row))
        self.rows = cython.cast(cython.pointer(Row), place)
        self.mask = size - 1
        for i in range(had):
            if before[i].protocol != 0:
                memcpy(
                    self._free_place(before[i].protocol, before[i].host, before[i].port),
                    before + i,
                    cython.sizeof(Row),
                )
        free(before)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _let_go(self) -> cython.void:
        i: uint64_t
        for i in range(self.mask + 1 if self.rows != cython.NULL else 0):
            if self.rows[i].protocol != 0:
                _let_row_go(self.rows + i)
                self.rows[i].protocol = 0
        self.count = 0

    @cython.cfunc
    @cython.exceptval(-2, check=False)
    def interface_number(self, name) -> cython.int:
        """An interface's number, -1 if there are too many."""
        i: cython.int
        for i in range(self.interface_count):
            if self.interfaces[i] == cython.cast(cython.pointer(PyObject), name):
                return i
        for i in range(self.interface_count):
            if cython.cast(object, self.interfaces[i]) == name:
                return i
        if self.interface_count == _MOST_INTERFACES:
            return -1
        Py_INCREF(name)
        self.interfaces[self.interface_count] = cython.cast(cython.pointer(PyObject), name)
        self.is_inside[self.interface_count] = name in self.inside
        self.interface_count += 1
        return self.interface_count - 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _known_registrar(self, host: cython.long, port: cython.int) -> cython.int:
        """A registrar's number, -1 if it has none."""
        i: cython.int
        end: uint64_t = cython.cast(uint64_t, host) << 16 | cython.cast(uint16_t, port)
        for i in range(self.registrar_count):
            if self.registrars[i] == end:
                return i
        return -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _registrar_number(self, host: cython.long, port: cython.int) -> cython.int:
        """A registrar's number, from now on; -1 if there are too many."""
        number: cython.int = self._known_registrar(host, port)
        if number >= 0 or host < 0 or self.registrar_count == _MOST_REGISTRARS:
            return number
        self.registrars[self.registrar_count] = cython.cast(uint64_t, host) << 16 | cython.cast(uint16_t, port)
        self.registrar_count += 1
        return self.registrar_count - 1


@cython.cfunc
@cython.exceptval(check=False)
def _let_row_go(row: cython.pointer(Row)) -> cython.void:
    Py_DECREF(cython.cast(object, row.home))
    Py_DECREF(cython.cast(object, row.contact))
    Py_DECREF(cython.cast(object, row.call_id))


@cython.cfunc
@cython.exceptval(-2)
def address_of(host: str) -> cython.long:
    """An IPv4 address as a number, first byte highest; -1 for any other text."""
    size: cython.Py_ssize_t = 0
    text: cython.p_char = cython.cast(cython.p_char, PyUnicode_AsUTF8AndSize(host, cython.address(size)))
    end: cython.p_char = text + size
    value: cython.long = 0
    part: cython.long
    first: cython.p_char
    i: cython.int
    for i in range(4):
        part = 0
        first = text
        while text < end and is_digit(text[0]) and text - first < 4:
            part = part * 10 + (text[0] - 48)
            text += 1
        if text == first or part > 255 or (first[0] == 48 and text - first > 1):
            return -1
        value = value << 8 | part
        if i < 3:
            if text == end or text[0] != 46:
                return -1
            text += 1
    return value if text == end else -1
