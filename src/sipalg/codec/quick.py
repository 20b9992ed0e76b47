"""The codec's readers in machine code, for messages written as nearly all are: what each finds, or None.

Each function stands for one in the codec, which is asked wherever this one says None: at a folded line, at a quote, or
where a name is in another form. So it has to know only what is usual, and what the others say holds
(`tests/codec/test_quick.py`). Cython compiles it, in its pure-Python mode; it can't be imported interpreted.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import uint16_t
from cython.cimports.libc.string import memchr, memcpy, memset
from cython.cimports.sipalg.codec.quick import Body
from cython.cimports.sipalg.codec.search import (
    Marks,
    Span,
    behind_name,
    filled,
    is_digit,
    is_topmost_via,
    is_word,
    next_line,
    origin,
    over_blanks,
)

_NO_SPAN = (0, 0)
_NEWLINE = cython.declare(cython.int, 10)


def frame(data: bytes, starts, message: type):
    """A message without folded lines, as `message.parse` frames it, with `marks` where the header's fields are."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(data)
    at: cython.p_char = cython.cast(cython.p_char, memchr(text, _NEWLINE, size))
    if at == cython.NULL or size > 65535:
        return None
    head: cython.Py_ssize_t = at - text
    if head <= 1:
        return None
    start = starts[PyBytes_FromStringAndSize(text, head + 1)]
    if start is None:
        return None
    marks = cython.declare(Marks)
    body = cython.declare(Body)
    memset(cython.address(marks), 0, cython.sizeof(Marks))
    memset(cython.address(body), 0, cython.sizeof(Body))
    at = header_end(text, at, text + size, cython.address(marks), cython.address(body))
    if at == cython.NULL:
        return None
    head_end: cython.Py_ssize_t = at - text
    begin: cython.Py_ssize_t = head_end + (1 if at[0] == 10 else 2)
    noted: bytes = PyBytes_FromStringAndSize(cython.cast(cython.p_char, cython.address(marks)), cython.sizeof(Marks))
    method, status, uri, target = start
    if begin == size and at[0] == 13 and body.last_says_empty:
        values = (data, method, status, uri, head, head_end, size, size, _NO_SPAN, 0, False, target, noted)
        return filled(message, values)
    length = _NO_SPAN
    body_end: cython.Py_ssize_t = size
    if body.digits != cython.NULL:
        body_end = begin + body.length
        if body_end > size:
            return None
        length = (body.digits - text, body.digits_end - text)
    encoded: object = cython.cast(cython.bint, body.encoded)
    values = (data, method, status, uri, head, head_end, begin, body_end, length, body.kind, encoded, target, noted)
    return filled(message, values)


@cython.cfunc
@cython.exceptval(check=False)
def header_end(
    text: cython.p_char,
    at: cython.p_char,
    end: cython.p_char,
    marks: cython.pointer(Marks),
    body: cython.pointer(Body),
) -> cython.p_char:
    """Note each line from the newline on that ends the start line; where the blank line begins, or NULL."""
    while at != cython.NULL:
        at += 1
        if at == end:
            return cython.NULL
        if at[0] == 10 or (at[0] == 13 and at[1] == 10):
            return at
        if at[0] == 32 or at[0] == 9 or not _mark(marks, body, text, at, end):
            return cython.NULL
        at = cython.cast(cython.p_char, memchr(at, _NEWLINE, end - at))
    return cython.NULL


@cython.cfunc
@cython.exceptval(check=False)
def _mark(
    marks: cython.pointer(Marks),
    body: cython.pointer(Body),
    text: cython.p_char,
    at: cython.p_char,
    end: cython.p_char,
) -> cython.bint:
    """Note what a line is; False where only the codec can tell what it says of the body."""
    first: cython.int = at[0] | 32
    second: cython.int = at[1] | 32
    value: cython.p_char = cython.NULL
    body.last_says_empty = False
    if first == 99:
        if second == 111 and is_word(at, end, b"conta", 5):
            value = behind_name(at, end, b"contact", 7, 0)
            if value != cython.NULL:
                _contact_at(marks, value - text)
        elif second == 115:
            value = behind_name(at, end, b"cseq", 4, 0)
            if value != cython.NULL:
                marks.twice |= marks.cseq != 0
                marks.cseq = value - text
        elif second == 97:
            value = behind_name(at, end, b"call-id", 7, 0)
            if value != cython.NULL:
                _call_id_at(marks, value - text)
        elif is_word(at, end, b"content", 7) and at[7] == 45:
            if at[8] | 32 == 108:
                value = behind_name(at, end, b"content-length", 14, 0)
                return value == cython.NULL or _length(body, value, end)
            if at[8] | 32 == 116:
                value = behind_name(at, end, b"content-type", 12, 0)
                if value != cython.NULL:
                    body.kind = over_blanks(value, end) - text
            elif behind_name(at, end, b"content-encoding", 16, 0) != cython.NULL:
                body.encoded = True
        else:
            value = behind_name(at, end, b"c", 1, 0)
            if value != cython.NULL:
                body.kind = over_blanks(value, end) - text
    elif first == 118:
        value = behind_name(at, end, b"via", 3, 118)
        if value != cython.NULL and not marks.via:
            marks.via = value - text
    elif first == 116:
        value = behind_name(at, end, b"to", 2, 116)
        if value != cython.NULL:
            marks.twice |= marks.recipient != 0
            marks.recipient = value - text
    elif first == 102:
        value = behind_name(at, end, b"from", 4, 102)
        if value != cython.NULL:
            marks.twice |= marks.sender != 0
            marks.sender = value - text
    elif first == 101:
        value = behind_name(at, end, b"expires", 7, 0)
        if value != cython.NULL:
            marks.expires = marks.expires or value - text
        elif behind_name(at, end, b"e", 1, 0) != cython.NULL:
            body.encoded = True
    elif first == 108:
        value = behind_name(at, end, b"l", 1, 0)
        return value == cython.NULL or _length(body, value, end)
    elif first == 105:
        value = behind_name(at, end, b"i", 1, 0)
        if value != cython.NULL:
            _call_id_at(marks, value - text)
    elif first == 109:
        value = behind_name(at, end, b"m", 1, 0)
        if value != cython.NULL:
            _contact_at(marks, value - text)
    elif first == 98 or first == 112 or first == 114:
        marks.others |= _is_editable(at, end)
    elif first == 115 or first == 120:
        value = behind_name(at, end, b"session-expires", 15, 120)
        if value != cython.NULL:
            marks.session_expires = marks.session_expires or cython.cast(uint16_t, value - text)
        else:
            marks.others |= _is_editable(at, end)
    return True


@cython.cfunc
@cython.exceptval(check=False)
def _contact_at(marks: cython.pointer(Marks), offset: cython.Py_ssize_t) -> cython.void:
    marks.contacts |= marks.contact != 0
    marks.contact = marks.contact or cython.cast(uint16_t, offset)


@cython.cfunc
@cython.exceptval(check=False)
def _call_id_at(marks: cython.pointer(Marks), offset: cython.Py_ssize_t) -> cython.void:
    marks.twice |= marks.call_id != 0
    marks.call_id = marks.call_id or cython.cast(uint16_t, offset)


@cython.cfunc
@cython.exceptval(check=False)
def _is_editable(at: cython.p_char, end: cython.p_char) -> cython.bint:
    """Whether a line is a Route, or one of the other fields that somebody may edit besides Via and Contact."""
    return (
        behind_name(at, end, b"route", 5, 114) != cython.NULL
        or behind_name(at, end, b"record-route", 12, 98) != cython.NULL
        or behind_name(at, end, b"path", 4, 0) != cython.NULL
        or behind_name(at, end, b"service-route", 13, 0) != cython.NULL
        or behind_name(at, end, b"refer-to", 8, 0) != cython.NULL
        or behind_name(at, end, b"referred-by", 11, 0) != cython.NULL
    )


@cython.cfunc
@cython.exceptval(check=False)
def _length(body: cython.pointer(Body), at: cython.p_char, end: cython.p_char) -> cython.bint:
    """Read the digits of Content-Length; False if it isn't plain, or there already."""
    at = over_blanks(at, end)
    if body.digits != cython.NULL:
        return False
    body.digits = at
    while is_digit(at[0]) and at - body.digits < 10:
        body.length = body.length * 10 + (at[0] - 48)
        at += 1
    body.digits_end = at
    at = over_blanks(at, end)
    body.last_says_empty = body.length == 0
    return 1 <= body.digits_end - body.digits <= 9 and (at[0] == 10 or (at[0] == 13 and at[1] == 10))


def fields_with(data: bytes, head: cython.Py_ssize_t, head_end: cython.Py_ssize_t, wanted: bytes, lines):
    """The editable fields in whose lines `wanted` occurs, as `fields.fields_with` finds them."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    limit: cython.p_char = text + head_end
    needle: cython.p_char = PyBytes_AS_STRING(wanted)
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(wanted)
    found: list = []
    via_due: cython.bint = True
    line = cython.declare(Span)
    line.end = text + head
    stop: cython.p_char
    if size == 0 or needle[0] == 91 or head_end > PyBytes_GET_SIZE(data):
        return None
    while next_line(cython.address(line), text + head, limit, needle, size):
        if line.start == cython.NULL:
            return None
        stop = line.end
        if line.start[0] | 32 == 118:
            stop = cython.cast(cython.p_char, memchr(line.start, 59, line.end - line.start))
            if stop == cython.NULL:
                stop = line.end
        places = lines[PyBytes_FromStringAndSize(line.start, stop - line.start)]
        if places:
            if places[0][0] != 1:
                found.append((line.start - text, places))
            elif via_due:
                via_due = False
                if is_topmost_via(text + head, line.start, limit):
                    found.append((line.start - text, places))
    return found


def received_and_rport(data: bytes, start: cython.Py_ssize_t, end: cython.Py_ssize_t):
    """The spans of a Via's `received` and `rport`, as `headers.received_and_rport` finds them."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    received = cython.declare(Span)
    rport = cython.declare(Span)
    if not 0 <= start <= end <= PyBytes_GET_SIZE(data):
        return None
    if not origin(text + start, text + end, cython.address(received), cython.address(rport)):
        return None
    return (
        _NO_SPAN if received.start == cython.NULL else (received.start - text, received.end - text),
        _NO_SPAN if rport.start == cython.NULL else (rport.start - text, rport.end - text),
    )


def is_doubled(data: bytes, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
    """Whether two semicolons stand side by side there."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    if not 0 <= start <= end <= PyBytes_GET_SIZE(data):
        return False
    at: cython.p_char = text + start
    limit: cython.p_char = text + end
    while True:
        at = cython.cast(cython.p_char, memchr(at, 59, limit - at))
        if at == cython.NULL or at + 1 == limit:
            return False
        at += 1
        if at[0] == 59:
            return True


def made(kind: type, values: tuple):
    """A NamedTuple of these values, as its own constructor makes it."""
    return filled(kind, values)


def edited(data: bytes, changes: list):
    """The message with its changes made, as `changes.edited` makes them."""
    return _edited(data, changes)


@cython.cfunc
def _edited(data: bytes, changes: list):
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(data)
    position: cython.Py_ssize_t = 0
    offset: cython.Py_ssize_t
    length: cython.Py_ssize_t
    text: cython.p_char = PyBytes_AS_STRING(data)
    for change in changes:
        offset = change[0]
        length = change[1]
        if offset < position or length < 0 or offset + length > PyBytes_GET_SIZE(data):
            return None
        size += len(cython.cast(bytes, change[2])) - length
        position = offset + length
    result: bytes = PyBytes_FromStringAndSize(cython.NULL, size)
    to: cython.p_char = PyBytes_AS_STRING(result)
    position = 0
    for change in changes:
        offset = change[0]
        memcpy(to, text + position, offset - position)
        to += offset - position
        replacement: bytes = change[2]
        memcpy(to, PyBytes_AS_STRING(replacement), PyBytes_GET_SIZE(replacement))
        to += PyBytes_GET_SIZE(replacement)
        position = offset + cython.cast(cython.Py_ssize_t, change[1])
    memcpy(to, text + position, PyBytes_GET_SIZE(data) - position)
    return result


def replaced(verdict: type, data: bytes, changes: list, counts: dict):
    """The verdict that sends a message on with its changes made, none of which overlap, counted by their rules."""
    i: cython.Py_ssize_t
    for i in range(1, len(changes)):
        if changes[i][0] <= changes[i - 1][0]:
            changes.sort()
            break
    payload = _edited(data, changes)
    if payload is None:
        return None
    for change in changes:
        rule = change[3]
        counts[rule] = counts.get(rule, 0) + 1
    return filled(verdict, ("replace", payload, tuple(changes), (), "", 0))
