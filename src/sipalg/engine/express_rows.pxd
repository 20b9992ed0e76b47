# The layout of the shortest way's rows, and of the engine's own, which mypyc makes: its header says where things are.
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "__native_core.h" nogil:
    ctypedef struct HomeObject "sipalg___engine___rows___HomeObject":
        PyObject *asked_id "_asked_id"
        double asked_at "_asked_at"
    ctypedef struct ContactObject "sipalg___engine___rows___ContactObject":
        double wakes_at "_wakes_at"
        PyObject *entry "_entry"
        double expires_at "_expires_at"
        Py_ssize_t granted_s "_granted_s"
        double longest_s "_longest_s"
        double suspect_at "_suspect_at"
        double recorded "_recorded"
    ctypedef struct TransactionObject "sipalg___engine___transaction___TransactionObject":
        PyObject *log "_log"
        PyObject *commands "_commands"
        PyObject *events "_events"

cdef extern from "<sys/mman.h>" nogil:
    int MADV_HUGEPAGE
    int madvise(void *place, size_t size, int advice)

cdef extern from * nogil:
    void prefetch "__builtin_prefetch" (const void *place, ...)

# A registered phone: its address (protocol 0: an empty place), what its mapping says, what tells its contact's Call-ID
# and address of record, and the engine's rows. One line of the processor's cache.
cdef struct Row:
    uint32_t host
    uint16_t port
    uint16_t public_port
    uint8_t protocol
    uint8_t interface
    uint16_t registrar
    uint64_t line
    double idle_until
    PyObject *home
    PyObject *contact
    PyObject *call_id
    uint64_t unused

cdef class Rows:
    cdef Row *rows
    cdef uint64_t mask
    cdef uint64_t count
    cdef uint64_t secret
    cdef object inside
    cdef PyObject *interfaces[16]
    cdef bint is_inside[16]
    cdef int interface_count
    cdef uint64_t registrars[256]
    cdef int registrar_count
    cdef Row *find(self, uint8_t protocol, uint32_t host, uint16_t port) noexcept
    cdef void expect(self, uint8_t protocol, uint32_t host, uint16_t port) noexcept
    cdef int interface_number(self, name) except -2
    cdef int _known_registrar(self, long host, int port) noexcept
    cdef int _registrar_number(self, long host, int port) noexcept
    cdef uint64_t _place(self, uint8_t protocol, uint32_t host, uint16_t port) noexcept
    cdef Row *_free_place(self, uint8_t protocol, uint32_t host, uint16_t port) noexcept
    cdef _make_room(self, uint64_t size)
    cdef void _let_go(self) noexcept

cdef long address_of(str host) except? -2
