"""What a message's fields name, in machine code: dialog, transaction, address of record, lifetime; or None.

Each function stands for one in `message`, which is asked wherever this one says None, and begins where `quick.frame`
found the field. Cython compiles it, in its pure-Python mode; it can't be imported interpreted.
"""

import cython
from cython.cimports.libc.string import memchr
from cython.cimports.sipalg.codec.search import (
    Marks,
    Span,
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
@cython.exceptval(check=False)
def word_at(at: cython.p_char, word: cython.pointer(Span)) -> cython.void:
    """Find what stands there without space. Every line has its end."""
    at = over_blanks(at, at + 65536)
    word.start = at
    while not is_space(at[0]):
        at += 1
    word.end = at


@cython.cfunc
def _text(span: cython.pointer(Span)) -> bytes:
    """A span's text; None if there is nothing."""
    return span.start[: span.end - span.start] if span.end > span.start else None


@cython.cfunc
@cython.exceptval(check=False)
def _line_end(at: cython.p_char) -> cython.p_char:
    """Where a value ends: at the first CR or LF. Every line has its end."""
    newline: cython.p_char = cython.cast(cython.p_char, memchr(at, 10, 65536))
    end: cython.p_char = cython.cast(cython.p_char, memchr(at, 13, newline - at))
    return newline if end == cython.NULL else end


def identity(message, kind: type):
    """Call-ID, CSeq's number and method, and both tags, as `message.identify` finds them."""
    marks: cython.pointer(Marks) = marks_of(message)
    if marks == cython.NULL or marks.twice:
        return None
    if not marks.call_id or not marks.cseq or not marks.sender or not marks.recipient:
        return None
    text: cython.p_char = text_of(message)
    span = cython.declare(Span)
    number: cython.long = 0
    word_at(text + marks.call_id, cython.address(span))
    call_id = _text(cython.address(span))
    if call_id is None or not cseq_at(text + marks.cseq, cython.address(number), cython.address(span)):
        return None
    method = _text(cython.address(span))
    from_tag = _tag(text + marks.sender)
    to_tag = _tag(text + marks.recipient)
    if from_tag is None or to_tag is None:
        return None
    return filled(kind, (call_id, number, method, from_tag, to_tag, False))


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
@cython.exceptval(check=False)
def cseq_at(at: cython.p_char, number: cython.p_long, method: cython.pointer(Span)) -> cython.bint:
    """Read number and method of a CSeq's value; False if it isn't plain."""
    number[0] = 0
    at = over_blanks(at, at + 65536)
    start: cython.p_char = at
    while is_digit(at[0]) and at - start < 11:
        number[0] = number[0] * 10 + (at[0] - 48)
        at += 1
    if not 1 <= at - start <= 10 or (at[0] != 32 and at[0] != 9):
        return False
    word_at(at, method)
    return method.end > method.start


def call_id_of(message):
    """Call-ID, as `message.call_id_of` reads it."""
    marks: cython.pointer(Marks) = marks_of(message)
    span = cython.declare(Span)
    if marks == cython.NULL or not marks.call_id or marks.twice:
        return None
    word_at(text_of(message) + marks.call_id, cython.address(span))
    return _text(cython.address(span))


def cseq_method(message):
    """CSeq's method, as `message.cseq_method` reads it."""
    marks: cython.pointer(Marks) = marks_of(message)
    number: cython.long = 0
    span = cython.declare(Span)
    if marks == cython.NULL or not marks.cseq or marks.twice:
        return None
    if not cseq_at(text_of(message) + marks.cseq, cython.address(number), cython.address(span)):
        return None
    return _text(cython.address(span))


def address_of_record(message):
    """To's URI, as `message.address_of_record` reads it."""
    marks: cython.pointer(Marks) = marks_of(message)
    span = cython.declare(Span)
    if marks == cython.NULL or not marks.recipient or marks.twice:
        return None
    if not address_of_record_at(text_of(message) + marks.recipient, cython.address(span)):
        return None
    return span.start[: span.end - span.start]


@cython.cfunc
@cython.exceptval(check=False)
def address_of_record_at(at: cython.p_char, uri: cython.pointer(Span)) -> cython.bint:
    """Find the URI of a To's value; False where only the codec can tell."""
    end: cython.p_char = _line_end(at)
    quoted: cython.bint = False
    if end[0] == 13 and end[1] != 10:
        return False
    at = over_blanks(at, end)
    uri.start = at
    while at < end and at[0] != 60:
        if at[0] == 34:
            quoted = True
            at = behind_quote(at, end)
            if at == cython.NULL:
                return False
        else:
            at += 1
    if at < end:
        uri.start = at + 1
        at = uri.start
        while at < end and at[0] != 62 and at[0] != 60:
            at += 1
        uri.end = at
        return at < end and at[0] == 62
    at = uri.start
    while at < end and not is_space(at[0]) and at[0] != 59 and at[0] != 44 and at[0] != 62:
        at += 1
    uri.end = at
    return not quoted and at > uri.start


def expires_s(message) -> cython.long:
    """The Expires field in seconds, as `message.expires_s` reads it; -1 without one, -2 where only that can tell."""
    marks: cython.pointer(Marks) = marks_of(message)
    if marks == cython.NULL:
        return -2
    return expires_at(text_of(message) + marks.expires) if marks.expires else -1


def session_expires_s(message) -> cython.long:
    """Session-Expires in seconds, as `message.session_expires_s` reads it; as `expires_s`."""
    marks: cython.pointer(Marks) = marks_of(message)
    if marks == cython.NULL:
        return -2
    return expires_at(text_of(message) + marks.session_expires) if marks.session_expires else -1


def has_no_others(message) -> cython.bint:
    """Whether no field that somebody may edit is there besides Via and Contact; False where that isn't known."""
    marks: cython.pointer(Marks) = marks_of(message)
    return marks != cython.NULL and not marks.others


@cython.cfunc
@cython.exceptval(check=False)
def expires_at(at: cython.p_char) -> cython.long:
    """The seconds of an Expires' value; -2 where only the codec can tell."""
    value: cython.long = 0
    at = over_blanks(at, at + 65536)
    first: cython.p_char = at
    while is_digit(at[0]) and at - first < 10:
        value = value * 10 + (at[0] - 48)
        at += 1
    return value if 1 <= at - first <= 9 else -2
