# What datapath/batch.py calls of engine/express.py.
from libc.stdint cimport uint64_t
from sipalg.codec.quick_edits cimport Host
from sipalg.codec.search cimport Marks
from sipalg.engine.express_rows cimport Row, Rows
from sipalg.engine.express_texts cimport Passing

cdef class Express(Rows):
    cdef object transaction
    cdef dict leaving
    cdef dict refused
    cdef dict hosts
    cdef object beat
    cdef object touch_entry
    cdef object note
    cdef bint enabled
    cdef bytes public_host
    cdef double quiet_s
    cdef double timeout_s
    cdef uint64_t methods[702]
    cdef uint64_t rules[5]
    cdef uint64_t unedited
    cdef Passing passing
    cdef bint is_free(self) noexcept
    cdef int look(self, Passing *passing, in_interface) except -2
    cdef bint _outward(self, Passing *passing, Row *row, int kind, char *newline, Marks *marks) except? -1
    cdef bint _inward(self, Passing *passing, Row *row, int kind, char *newline, char *blank, Marks *marks) except? -1
    cdef _touch(self, Row *row, double now)
    cdef bint _leads_outside(self, char *at, char *newline) except? -1
    cdef void _fill(self, Host *host, Passing *passing, char *name, Py_ssize_t size, int port) noexcept
    cdef int _write_public(self, Row *row, char *to) noexcept
