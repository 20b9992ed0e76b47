# What the machine code of codec/quick.py, quick_names.py and quick_edits.py shares: the C library's searches beyond
# the standard, and steps over a header's text.
cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <string.h>
    """
    void *memmem(const void *text, size_t size, const void *wanted, size_t wanted_size)
    void *memrchr(const void *text, int byte, size_t size)

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM
from cpython.type cimport PyType_GenericAlloc
from libc.stdint cimport uint16_t
from libc.string cimport memchr

# Where the values of a header's fields begin, behind their colons and counted from the message's first byte; 0 for one
# that isn't there. Of Vias the topmost one, of all others the first.
cdef struct Marks:
    uint16_t via
    uint16_t contact
    uint16_t call_id
    uint16_t cseq
    uint16_t sender
    uint16_t recipient
    uint16_t expires
    uint16_t session_expires
    # There is another field that somebody may edit; a second Contact; a second one of those that name a dialog.
    uint16_t others
    uint16_t contacts
    uint16_t twice

# What `quick.frame` noted of a message's header; NULL if another framed it.
cdef inline Marks *marks_of(object message):
    noted = <object> PyTuple_GET_ITEM(message, 12)
    return <Marks *> PyBytes_AS_STRING(noted) if PyBytes_GET_SIZE(noted) == sizeof(Marks) else NULL

# The first byte of a message.
cdef inline char *text_of(object message):
    return PyBytes_AS_STRING(<object> PyTuple_GET_ITEM(message, 0))

# A NamedTuple of this kind; its own constructor costs several times as much.
cdef inline object filled(type kind, tuple values):
    cdef Py_ssize_t i
    made = PyType_GenericAlloc(kind, PyTuple_GET_SIZE(values))
    for i in range(PyTuple_GET_SIZE(values)):
        value = <object> PyTuple_GET_ITEM(values, i)
        Py_INCREF(value)
        PyTuple_SET_ITEM(made, i, value)
    return made

# Behind the colon of a line that has this name (in lower case), or its compact form; NULL for any other.
cdef inline char *behind_name(char *at, char *end, char *name, Py_ssize_t size, int compact) noexcept nogil:
    cdef Py_ssize_t i = 0
    if at >= end:
        return NULL
    while i < size and at + i < end and (at[i] == name[i] or (97 <= name[i] <= 122 and (at[i] | 32) == name[i])):
        i += 1
    if i < size:
        if not compact or (at[0] | 32) != compact:
            return NULL
        i = 1
    at += i
    while at < end and (at[0] == 32 or at[0] == 9):
        at += 1
    return at + 1 if at < end and at[0] == 58 else NULL

cdef inline char *over_blanks(char *at, char *limit) noexcept nogil:
    while at < limit and (at[0] == 32 or at[0] == 9):
        at += 1
    return at

# White space as a pattern sees it.
cdef inline bint is_space(char byte) noexcept nogil:
    return byte == 32 or 9 <= byte <= 13

cdef inline char *over_space(char *at, char *limit) noexcept nogil:
    while at < limit and is_space(at[0]):
        at += 1
    return at

# Whether a word in lower case stands here, in letters of either case.
cdef inline bint is_word(char *at, char *limit, char *word, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i < size and at + i < limit and at[i] | 32 == word[i]:
        i += 1
    return i == size

cdef inline bint is_digit(char byte) noexcept nogil:
    return 48 <= byte <= 57

cdef inline bint is_alphanumeric(char byte) noexcept nogil:
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122

# Behind a quoted text; NULL if it doesn't end, or where something in it is escaped.
cdef inline char *behind_quote(char *at, char *end) noexcept nogil:
    at += 1
    while at < end and at[0] != 34:
        if at[0] == 92:
            return NULL
        at += 1
    return at + 1 if at < end else NULL

# A line, or a value in it; where there is none, it begins with NULL.
cdef struct Span:
    char *start
    char *end

# Go to the next line with a text in it, from the end of the last; False if there is none. A folded one begins with NULL.
cdef inline bint next_line(Span *line, char *head, char *limit, char *wanted, Py_ssize_t size) noexcept nogil:
    cdef char *at = <char *> memmem(line.end, limit - line.end, wanted, size)
    cdef char *begin
    cdef char *end
    if at == NULL:
        return False
    begin = <char *> memrchr(head, 10, at - head)
    end = <char *> memchr(at, 10, limit - at)
    line.start = NULL
    if begin != NULL and end != NULL:
        line.end = end
        if begin[1] != 32 and begin[1] != 9 and (end + 1 >= limit or (end[1] != 32 and end[1] != 9)):
            line.start = begin + 1
    return True

# Whether no line before `begin` is a Via.
cdef inline bint is_topmost_via(char *head, char *begin, char *limit) noexcept nogil:
    cdef char *at = head
    while at + 1 < begin:
        if behind_name(at + 1, limit, b"via", 3, 118) != NULL:
            return False
        at = <char *> memchr(at + 1, 10, begin - (at + 1))
        if at == NULL:
            return True
    return True

# Where a parameter's value begins behind its name; NULL if it has none.
cdef inline char *parameter_value(char *at, char *limit) noexcept nogil:
    at = over_space(at, limit)
    return NULL if at == limit or at[0] != 61 else over_space(at + 1, limit)

# Find the values of a Via's `received` and `rport` behind its sent-by. False where only the codec can tell.
cdef inline bint origin(char *at, char *limit, Span *received, Span *rport) noexcept nogil:
    cdef char *first
    received.start = NULL
    rport.start = NULL
    if memchr(at, 44, limit - at) != NULL or memchr(at, 34, limit - at) != NULL:
        return False
    while True:
        at = <char *> memchr(at, 59, limit - at)
        if at == NULL:
            return True
        at = over_space(at + 1, limit)
        if at == limit or at[0] | 32 != 114:
            continue
        if is_word(at + 1, limit, b"eceived", 7):
            first = parameter_value(at + 8, limit)
            if first == NULL:
                continue
            at = first
            while at < limit and (is_alphanumeric(at[0]) or at[0] == 46 or at[0] == 95 or at[0] == 45):
                at += 1
            if at < limit and (at[0] == 58 or at[0] == 91):
                return False
            if at > first and received.start == NULL:
                received.start = first
                received.end = at
        elif is_word(at + 1, limit, b"port", 4):
            first = parameter_value(at + 5, limit)
            if first == NULL:
                continue
            at = first
            while at < limit and is_digit(at[0]):
                at += 1
            if 1 <= at - first <= 5 and rport.start == NULL:
                rport.start = first
                rport.end = at
