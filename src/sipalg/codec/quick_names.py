"""What a message's fields name, in machine code: dialog, transaction, address of record, lifetime; or None.

Each function stands for one in `message`, which is asked wherever this one says None, and begins where `quick.frame`
found the field. Cython compiles it, in its pure-Python mode; it can't be imported interpreted.
"""

import cython
from cython.cimports.libc.string import memchr
from cython.cimports.sipalg.codec.search import (
    Marks,
    behind_quote,
    filled,
    is_digit,
    is_space,
    is_word,
    marks_of,
    memrchr,
    over_blanks,
    over_space,
    parameter_value,
    text_of,
)


@cython.cfunc
def _word(at: cython.p_char) -> bytes:
    """What stands there without space; None if there is nothing. Every line has its end."""
    at = over_blanks(at, at + 65536)
    end: cython.p_char = at
    while not is_space(end[0]):
        end += 1
    return at[: end - at] if end > at else None


@cython.cfunc
def _line_end(at: cython.p_char) -> cython.p_char:
    """Where a value ends: at the first CR or LF."""
    while at[0] != 13 and at[0] != 10:
        at += 1
    return at


def identity(message, kind: type):
    """Call-ID, CSeq's number and method, and both tags, as `message.identify` finds them."""
    marks: cython.pointer(Marks) = marks_of(message)
    if marks == cython.NULL or marks.twice:
        return None
    if not marks.call_id or not marks.cseq or not marks.sender or not marks.recipient:
        return None
    text: cython.p_char = text_of(message)
    call_id = _word(text + marks.call_id)
    cseq = _cseq(text + marks.cseq)
    if call_id is None or cseq is None:
        return None
    from_tag = _tag(text + marks.sender)
    to_tag = _tag(text + marks.recipient)
    if from_tag is None or to_tag is None:
        return None
    return filled(kind, (call_id, cseq[0], cseq[1], from_tag, to_tag, False))


@cython.cfunc
def _tag(at: cython.p_char) -> bytes:
    """The tag of a From's or To's value; None where a CR alone stands in it."""
    end: cython.p_char = _line_end(at)
    if end[0] == 13 and end[1] != 10:
        return None
    bracket: cython.p_char = cython.cast(cython.p_char, memrchr(at, 62, end - at))
    if bracket != cython.NULL:
        at = bracket
    first: cython.p_char
    while True:
        at = cython.cast(cython.p_char, memchr(at, 59, end - at))
        if at == cython.NULL:
            return b""
        at = over_space(at + 1, end)
        if is_word(at, end, b"tag", 3):
            first = parameter_value(at + 3, end)
            if first != cython.NULL:
                at = first
                while at < end and at[0] != 59 and at[0] != 44 and not is_space(at[0]):
                    at += 1
                if at > first:
                    return first[: at - first]


@cython.cfunc
def _cseq(at: cython.p_char):
    """Number and method of a CSeq's value; None if that isn't plain."""
    number: cython.long = 0
    at = over_blanks(at, at + 65536)
    start: cython.p_char = at
    while is_digit(at[0]) and at - start < 11:
        number = number * 10 + (at[0] - 48)
        at += 1
    if not 1 <= at - start <= 10 or (at[0] != 32 and at[0] != 9):
        return None
    method = _word(at)
    return None if method is None else (number, method)


def call_id_of(message):
    """Call-ID, as `message.call_id_of` reads it."""
    marks: cython.pointer(Marks) = marks_of(message)
    if marks == cython.NULL or not marks.call_id or marks.twice:
        return None
    return _word(text_of(message) + marks.call_id)


def cseq_method(message):
    """CSeq's method, as `message.cseq_method` reads it."""
    marks: cython.pointer(Marks) = marks_of(message)
    if marks == cython.NULL or not marks.cseq or marks.twice:
        return None
    cseq = _cseq(text_of(message) + marks.cseq)
    return None if cseq is None else cseq[1]


def address_of_record(message):
    """To's URI, as `message.address_of_record` reads it."""
    marks: cython.pointer(Marks) = marks_of(message)
    if marks == cython.NULL or not marks.recipient or marks.twice:
        return None
    at: cython.p_char = text_of(message) + marks.recipient
    end: cython.p_char = _line_end(at)
    if end[0] == 13 and end[1] != 10:
        return None
    at = over_blanks(at, end)
    first: cython.p_char = at
    quoted: cython.bint = False
    while at < end and at[0] != 60:
        if at[0] == 34:
            quoted = True
            at = behind_quote(at, end)
            if at == cython.NULL:
                return None
        else:
            at += 1
    if at < end:
        first = at + 1
        at = first
        while at < end and at[0] != 62 and at[0] != 60:
            at += 1
        return None if at == end or at[0] == 60 else first[: at - first]
    at = first
    while at < end and not is_space(at[0]) and at[0] != 59 and at[0] != 44 and at[0] != 62:
        at += 1
    return None if quoted or at == first else first[: at - first]


def expires_s(message) -> cython.long:
    """The Expires field in seconds, as `message.expires_s` reads it; -1 without one, -2 where only that can tell."""
    marks: cython.pointer(Marks) = marks_of(message)
    value: cython.long = 0
    if marks == cython.NULL:
        return -2
    if not marks.expires:
        return -1
    at: cython.p_char = text_of(message) + marks.expires
    at = over_blanks(at, at + 65536)
    first: cython.p_char = at
    while is_digit(at[0]) and at - first < 10:
        value = value * 10 + (at[0] - 48)
        at += 1
    return value if 1 <= at - first <= 9 else -2
