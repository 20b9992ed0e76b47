# What other machine code calls of engine/express_texts.py, and how a message's edits are noted.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipalg.codec.quick_edits cimport Address, Host
from sipalg.codec.search cimport Marks

cdef extern from "Python.h" nogil:
    Py_ssize_t _Py_HashBytes(const void *text, Py_ssize_t size)

# A span of the message, what is written in its place, and its rule's number.
cdef struct Edit:
    uint32_t offset
    uint32_t size
    char *text
    uint32_t text_size
    uint32_t rule

# One message with the packet's addresses, and what is to be replaced in it; by how much it grows.
cdef struct Passing:
    char *text
    Py_ssize_t size
    uint32_t source
    uint32_t destination
    uint16_t source_port
    uint16_t destination_port
    uint8_t protocol
    double now
    int count
    Py_ssize_t grown
    Edit edits[8]
    char private_text[24]
    char public_text[264]

cdef int kind_of(char *text, char *end) noexcept
cdef char *target_end(char *newline) noexcept
cdef uint64_t line_at(Passing *passing, Marks *marks) noexcept
cdef uint64_t line_of(char *call_id, Py_ssize_t call_id_size, char *aor, Py_ssize_t aor_size) noexcept
cdef bint answers(Passing *passing, Marks *marks, char *method, Py_ssize_t size) noexcept
cdef bint is_own(Address *address, Host *host) noexcept
cdef bint came_from(Passing *passing, Host *public, char *at, int colon, int size) noexcept
cdef void note_edit(Passing *passing, char *start, char *end, char *text, int size, int rule) noexcept
cdef bint sort_edits(Passing *passing) noexcept
cdef char *write_private(uint32_t host, uint32_t port, char *to) noexcept
cdef char *write_number(char *to, uint32_t number) noexcept
cdef void write(Passing *passing, char *to) noexcept
cdef int colon_of(char *text, char *end) noexcept
cdef bint read_target(char *at, char *end, Address *address) noexcept
