"""The codec's readers in machine code, for messages written as nearly all are: what each finds, or None.

Each function stands for one in the codec, which is asked wherever this one says None: at a folded line, at a quote, or
where a name is in another form. So it has to know only what is usual, and what the others say holds
(`tests/codec/test_quick.py`). Cython compiles it, in its pure-Python mode; it can't be imported interpreted.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.libc.string import memchr, memcpy
from cython.cimports.sipalg.codec.search import memmem, memrchr

_new = tuple.__new__
_NO_SPAN = (0, 0)
_NEWLINE = cython.declare(cython.int, 10)
#: What `_value_of` says where there is no such field, and where only the codec can tell.
_NONE = cython.declare(cython.Py_ssize_t, -1)
_UNUSUAL = cython.declare(cython.Py_ssize_t, -2)


def frame(data: bytes, starts, message: type):
    """A message without a body whose last line says so, as `message.parse` frames it."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(data)
    newline: cython.p_char = cython.cast(cython.p_char, memchr(text, _NEWLINE, size))
    if newline == cython.NULL or size > 65535:
        return None
    head: cython.Py_ssize_t = newline - text
    blank: cython.Py_ssize_t = size - 3
    if head <= 1 or blank <= head or text[blank] != 10 or text[blank + 1] != 13 or text[blank + 2] != 10:
        return None
    start = starts[PyBytes_FromStringAndSize(text, head + 1)]
    if start is None:
        return None
    # An earlier blank line, of either kind, ends the header sooner.
    at: cython.p_char = newline
    last: cython.p_char = newline
    end: cython.p_char = text + blank
    while at < end:
        if at[1] == 10 or (at[1] == 13 and at[2] == 10):
            return None
        last = at
        at = cython.cast(cython.p_char, memchr(at + 1, _NEWLINE, end + 1 - (at + 1)))
    if not _says_empty(last + 1, end):
        return None
    method, status, uri, target = start
    return _new(message, (data, method, status, uri, head, blank + 1, size, size, _NO_SPAN, 0, False, target))


@cython.cfunc
def _says_empty(at: cython.p_char, end: cython.p_char) -> cython.bint:
    """Whether the line is a Content-Length of 0."""
    at = _behind_name(at, end, b"content-length", 14, 108)
    if at == cython.NULL:
        return False
    while at < end and (at[0] == 32 or at[0] == 9):
        at += 1
    digits: cython.p_char = at
    while at < end and at[0] == 48:
        at += 1
    if at == digits:
        return False
    while at < end and (at[0] == 32 or at[0] == 9):
        at += 1
    return at + 1 == end and at[0] == 13


@cython.cfunc
def _behind_name(
    at: cython.p_char, end: cython.p_char, name: cython.p_char, size: cython.Py_ssize_t, compact: cython.int
) -> cython.p_char:
    """Behind the colon of a line that has this name (in lower case), or its compact form; NULL for any other."""
    i: cython.Py_ssize_t = 0
    if at >= end:
        return cython.NULL
    while i < size and at + i < end and (at[i] == name[i] or (97 <= name[i] <= 122 and (at[i] | 32) == name[i])):
        i += 1
    if i < size:
        if not compact or (at[0] | 32) != compact:
            return cython.NULL
        i = 1
    at += i
    while at < end and (at[0] == 32 or at[0] == 9):
        at += 1
    return at + 1 if at < end and at[0] == 58 else cython.cast(cython.p_char, cython.NULL)


def fields_with(data: bytes, head: cython.Py_ssize_t, head_end: cython.Py_ssize_t, wanted: bytes, lines):
    """The editable fields in whose lines `wanted` occurs, as `fields.fields_with` finds them."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    limit: cython.p_char = text + head_end
    needle: cython.p_char = PyBytes_AS_STRING(wanted)
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(wanted)
    found: list = []
    via_due: cython.bint = True
    end: cython.p_char = text + head
    begin: cython.p_char
    stop: cython.p_char
    if size == 0 or needle[0] == 91 or head_end > PyBytes_GET_SIZE(data):
        return None
    while True:
        at: cython.p_char = cython.cast(cython.p_char, memmem(end, limit - end, needle, size))
        if at == cython.NULL:
            return found
        begin = cython.cast(cython.p_char, memrchr(text + head, _NEWLINE, at - (text + head)))
        end = cython.cast(cython.p_char, memchr(at, _NEWLINE, limit - at))
        if begin == cython.NULL or end == cython.NULL:
            return None
        begin += 1
        if begin[0] == 32 or begin[0] == 9 or (end + 1 < limit and (end[1] == 32 or end[1] == 9)):
            return None
        stop = end
        if begin[0] | 32 == 118:
            stop = cython.cast(cython.p_char, memchr(begin, 59, end - begin))
            if stop == cython.NULL:
                stop = end
        places = lines[PyBytes_FromStringAndSize(begin, stop - begin)]
        if places:
            if places[0][0] != 1:
                found.append((begin - text, places))
            elif via_due:
                via_due = False
                if _is_topmost_via(text + head, begin, limit):
                    found.append((begin - text, places))


@cython.cfunc
def _is_topmost_via(head: cython.p_char, begin: cython.p_char, limit: cython.p_char) -> cython.bint:
    """Whether no line before `begin` is a Via."""
    at: cython.p_char = head
    while at + 1 < begin:
        if _behind_name(at + 1, limit, b"via", 3, 118) != cython.NULL:
            return False
        at = cython.cast(cython.p_char, memchr(at + 1, _NEWLINE, begin - (at + 1)))
        if at == cython.NULL:
            return True
    return True


def received_and_rport(data: bytes, start: cython.Py_ssize_t, end: cython.Py_ssize_t):
    """The spans of a Via's `received` and `rport`, as `headers.received_and_rport` finds them."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    if not 0 <= start <= end <= PyBytes_GET_SIZE(data):
        return None
    if memchr(text + start, 44, end - start) != cython.NULL or memchr(text + start, 34, end - start) != cython.NULL:
        return None
    received = rport = _NO_SPAN
    limit: cython.p_char = text + end
    at: cython.p_char = text + start
    first: cython.p_char
    while True:
        at = cython.cast(cython.p_char, memchr(at, 59, limit - at))
        if at == cython.NULL:
            return received, rport
        at = _over_space(at + 1, limit)
        if at == limit or at[0] | 32 != 114:
            continue
        if _is_word(at + 1, limit, b"eceived", 7):
            first = _value(at + 8, limit)
            if first == cython.NULL:
                continue
            at = first
            while at < limit and (_is_alphanumeric(at[0]) or at[0] == 46 or at[0] == 95 or at[0] == 45):
                at += 1
            if at < limit and (at[0] == 58 or at[0] == 91):
                return None
            if at > first and received is _NO_SPAN:
                received = (first - text, at - text)
        elif _is_word(at + 1, limit, b"port", 4):
            first = _value(at + 5, limit)
            if first == cython.NULL:
                continue
            at = first
            while at < limit and 48 <= at[0] <= 57:
                at += 1
            if 1 <= at - first <= 5 and rport is _NO_SPAN:
                rport = (first - text, at - text)


@cython.cfunc
def _value(at: cython.p_char, limit: cython.p_char) -> cython.p_char:
    """Where a parameter's value begins behind its name; NULL if it has none."""
    at = _over_space(at, limit)
    if at == limit or at[0] != 61:
        return cython.NULL
    return _over_space(at + 1, limit)


@cython.cfunc
def _over_space(at: cython.p_char, limit: cython.p_char) -> cython.p_char:
    while at < limit and (at[0] == 32 or 9 <= at[0] <= 13):
        at += 1
    return at


@cython.cfunc
def _is_word(at: cython.p_char, limit: cython.p_char, word: cython.p_char, size: cython.Py_ssize_t) -> cython.bint:
    i: cython.Py_ssize_t = 0
    while i < size and at + i < limit and at[i] | 32 == word[i]:
        i += 1
    return i == size


@cython.cfunc
def _is_alphanumeric(byte: cython.char) -> cython.bint:
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122


@cython.cfunc
def _value_of(
    data: bytes,
    head: cython.Py_ssize_t,
    head_end: cython.Py_ssize_t,
    name: cython.p_char,
    size: cython.Py_ssize_t,
    compact: cython.int,
) -> cython.Py_ssize_t:
    """Where the value of the first field of this name begins, blanks left out; `_NONE` or `_UNUSUAL`."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    limit: cython.p_char = text + head_end
    at: cython.p_char = text + head
    value: cython.p_char
    if head_end > PyBytes_GET_SIZE(data) or head < 0:
        return _UNUSUAL
    while at != cython.NULL and at + 1 < limit:
        value = _behind_name(at + 1, limit, name, size, compact)
        if value != cython.NULL:
            while value < limit and (value[0] == 32 or value[0] == 9):
                value += 1
            return _UNUSUAL if value == limit or value[0] == 13 or value[0] == 10 else value - text
        at = cython.cast(cython.p_char, memchr(at + 1, _NEWLINE, limit - (at + 1)))
    return _NONE


@cython.cfunc
def _word_end(data: bytes, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The end of what has no space in it, as a pattern sees it."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    while start < end and text[start] != 32 and not 9 <= text[start] <= 13:
        start += 1
    return start


@cython.cfunc
def _plain_end(data: bytes, start: cython.Py_ssize_t, head_end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The end of a value that is on one line; `_UNUSUAL` for a folded one, or one without a line end."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    end: cython.Py_ssize_t = start
    while end < head_end and text[end] != 13 and text[end] != 10:
        end += 1
    after: cython.Py_ssize_t = end + 1 if end < head_end and text[end] == 13 else end
    if after >= head_end or text[after] != 10:
        return _UNUSUAL
    if after + 1 < head_end and (text[after + 1] == 32 or text[after + 1] == 9):
        return _UNUSUAL
    return end


def identity(data: bytes, head: cython.Py_ssize_t, head_end: cython.Py_ssize_t):
    """Call-ID, CSeq's number and method, From's and To's values behind the colon, as `message.identify` finds them."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    limit: cython.p_char = text + head_end
    at: cython.p_char = text + head
    value: cython.p_char
    end: cython.Py_ssize_t
    start: cython.Py_ssize_t
    call_id = from_value = to_value = cseq = None
    if head_end > PyBytes_GET_SIZE(data):
        return None
    while at != cython.NULL and at + 1 < limit:
        first: cython.int = at[1] | 32
        value = cython.NULL
        if first == 105 or first == 99:
            value = _behind_name(at + 1, limit, b"call-id", 7, 105)
            if value != cython.NULL:
                start = _over_blanks(value, limit) - text
                end = _word_end(data, start, head_end)
                if call_id is not None or end == start:
                    return None
                call_id = data[start:end]
            elif first == 99:
                value = _behind_name(at + 1, limit, b"cseq", 4, 0)
                if value != cython.NULL:
                    if cseq is not None:
                        return None
                    cseq = _cseq(data, _over_blanks(value, limit) - text, head_end)
                    if cseq is None:
                        return None
        elif first == 102:
            value = _behind_name(at + 1, limit, b"from", 4, 102)
            if value != cython.NULL:
                end = _plain_end(data, value - text, head_end)
                if from_value is not None or end < 0:
                    return None
                from_value = data[value - text : end]
        elif first == 116:
            value = _behind_name(at + 1, limit, b"to", 2, 116)
            if value != cython.NULL:
                end = _plain_end(data, value - text, head_end)
                if to_value is not None or end < 0:
                    return None
                to_value = data[value - text : end]
        at = cython.cast(cython.p_char, memchr(at + 1, _NEWLINE, limit - (at + 1)))
    if call_id is None or cseq is None or from_value is None or to_value is None:
        return None
    return call_id, cseq[0], cseq[1], from_value, to_value


@cython.cfunc
def _over_blanks(at: cython.p_char, limit: cython.p_char) -> cython.p_char:
    while at < limit and (at[0] == 32 or at[0] == 9):
        at += 1
    return at


@cython.cfunc
def _cseq(data: bytes, start: cython.Py_ssize_t, head_end: cython.Py_ssize_t):
    """Number and method of a CSeq's value; None if that isn't plain."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    number: cython.long = 0
    at: cython.Py_ssize_t = start
    while at < head_end and 48 <= text[at] <= 57 and at - start < 11:
        number = number * 10 + (text[at] - 48)
        at += 1
    if not 1 <= at - start <= 10 or at == head_end or (text[at] != 32 and text[at] != 9):
        return None
    while at < head_end and (text[at] == 32 or text[at] == 9):
        at += 1
    end: cython.Py_ssize_t = _word_end(data, at, head_end)
    return (number, data[at:end]) if end > at else None


def call_id_of(data: bytes, head: cython.Py_ssize_t, head_end: cython.Py_ssize_t):
    """Call-ID, as `message.call_id_of` reads it."""
    start: cython.Py_ssize_t = _value_of(data, head, head_end, b"call-id", 7, 105)
    if start < 0:
        return b"" if start == _NONE else None
    end: cython.Py_ssize_t = _word_end(data, start, head_end)
    return data[start:end] if end > start else None


def cseq_method(data: bytes, head: cython.Py_ssize_t, head_end: cython.Py_ssize_t):
    """CSeq's method, as `message.cseq_method` reads it."""
    start: cython.Py_ssize_t = _value_of(data, head, head_end, b"cseq", 4, 0)
    if start < 0:
        return b"" if start == _NONE else None
    cseq = _cseq(data, start, head_end)
    return None if cseq is None else cseq[1]


def to_value(data: bytes, head: cython.Py_ssize_t, head_end: cython.Py_ssize_t):
    """To's value, as `message.address_of_record` takes it."""
    start: cython.Py_ssize_t = _value_of(data, head, head_end, b"to", 2, 116)
    if start < 0:
        return None
    end: cython.Py_ssize_t = _plain_end(data, start, head_end)
    return None if end < 0 else data[start:end]


def expires_s(data: bytes, head: cython.Py_ssize_t, head_end: cython.Py_ssize_t) -> cython.long:
    """The Expires field in seconds, as `message.expires_s` reads it; -1 without one, -2 where only that can tell."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    start: cython.Py_ssize_t = _value_of(data, head, head_end, b"expires", 7, 0)
    value: cython.long = 0
    if start < 0:
        return start
    at: cython.Py_ssize_t = start
    while at < head_end and 48 <= text[at] <= 57 and at - start < 10:
        value = value * 10 + (text[at] - 48)
        at += 1
    return value if 1 <= at - start <= 9 else -2


def edited(data: bytes, changes: list):
    """The message with its changes made, as `message.edited` makes them."""
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
