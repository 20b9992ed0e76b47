"""A session description read in machine code, in one pass: what `sdp.parse` finds in it, or None.

Written as nearly all are: IPv4 addresses or names, plain ports, one blank between words. Where a line that may hold an
address is in another form, only the codec can tell what it is. Cython compiles it, in its pure-Python mode; it can't
be imported interpreted. On a packet's way this stands in front of `sdp`'s own reader.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.string import memchr, memcmp
from cython.cimports.sipalg.codec.search import filled, is_digit, is_space

_NO_SPAN = (0, 0)
_NO_TEXT = b""
_ONE = 1


@cython.cfunc
def _behind_words(at: cython.p_char, end: cython.p_char, count: cython.int) -> cython.p_char:
    """Behind some words with one blank after each; NULL where they aren't written so."""
    while count:
        if at == end or is_space(at[0]):
            return cython.NULL
        while at < end and not is_space(at[0]):
            at += 1
        if at == end or at[0] != 32:
            return cython.NULL
        at += 1
        count -= 1
    return at


@cython.cfunc
def _behind_number(at: cython.p_char, end: cython.p_char) -> cython.p_char:
    """Behind a number with one blank after it; NULL where there is none."""
    first: cython.p_char = at
    while at < end and is_digit(at[0]):
        at += 1
    return at + 1 if at > first and at < end and at[0] == 32 else cython.NULL


@cython.cfunc
def _address(kind: type, text: cython.p_char, at: cython.p_char, end: cython.p_char):
    """The address behind `IN IP4 ` up to the line's end; None in any other form."""
    first: cython.p_char = at + 7
    if end - at < 8 or memcmp(at, cython.cast(cython.p_char, b"IN IP4 "), 7) != 0:
        return None
    at = first
    while at < end:
        # What ends it, what follows it, and what makes an IPv6 address of it.
        if is_space(at[0]) or at[0] == 47 or at[0] == 58 or at[0] == 91:
            return None
        at += 1
    return filled(kind, (first[: end - first], (first - text, end - text), True))


@cython.cfunc
def _port(at: cython.p_char, end: cython.p_char) -> cython.long:
    """A port's number; -1 where it isn't one of 1 to 5 digits that is in range."""
    value: cython.long = 0
    if not 1 <= end - at <= 5:
        return -1
    while at < end:
        if not is_digit(at[0]):
            return -1
        value = value * 10 + (at[0] - 48)
        at += 1
    return value if value <= 65535 else -1


def parse(
    data: bytes, start: cython.Py_ssize_t, stop: cython.Py_ssize_t, description: type, section: type, address: type
):
    """The description in `data[start:stop]`, of the three kinds that `sdp` has for it."""
    text: cython.p_char = PyBytes_AS_STRING(data)
    if not 0 <= start <= stop <= PyBytes_GET_SIZE(data) or stop - start < 3:
        return None
    at: cython.p_char = text + start
    limit: cython.p_char = text + stop
    end: cython.p_char
    next_line: cython.p_char
    word: cython.p_char
    number: cython.long
    if memcmp(at, cython.cast(cython.p_char, b"v=0"), 3) != 0:
        return None
    origins: list = []
    sections: list = []
    candidates: list = []
    connections: list = []
    session = None
    # What the m= line of the section that is being read says; None before the first.
    media = None
    rtcp = None
    mux: cython.bint = False
    while True:
        next_line = cython.cast(cython.p_char, memchr(at, 10, limit - at))
        if next_line == cython.NULL:
            break
        at = next_line + 1
        if limit - at < 2 or (at[1] != 61 and at[1] != 58):
            continue
        if at[0] != 97 and at[0] != 99 and at[0] != 109 and at[0] != 111:
            continue
        end = cython.cast(cython.p_char, memchr(at, 10, limit - at))
        if end == cython.NULL:
            end = limit
        elif end > at and end[-1] == 13:
            end -= 1
        if at[1] == 58:
            if at[0] == 99 or at[0] == 109:
                return None
        elif at[0] == 97:
            if end - at < 6 or at[2] != 114 or memcmp(at, cython.cast(cython.p_char, b"a=rtcp"), 6) != 0:
                word = cython.NULL
                if end - at >= 12 and memcmp(at, cython.cast(cython.p_char, b"a=candidate:"), 12) == 0:
                    word = at + 12
                elif end - at >= 20 and memcmp(at, cython.cast(cython.p_char, b"a=remote-candidates:"), 20) == 0:
                    word = at + 20
                if word != cython.NULL:
                    candidates.append(word - text)
            elif end - at > 6 and at[6] == 58:
                word = at + 7
                while word < end and is_digit(word[0]):
                    word += 1
                number = _port(at + 7, word)
                if number < 0:
                    return None
                if word == end:
                    rtcp = (number, (at + 7 - text, end - text), _NO_TEXT, _NO_SPAN)
                else:
                    named = _address(address, text, word + 1, end) if word[0] == 32 else None
                    if named is None:
                        return None
                    rtcp = (number, (at + 7 - text, word - text), named[0], named[1])
            elif end - at >= 10 and memcmp(at + 6, cython.cast(cython.p_char, b"-mux"), 4) == 0:
                if end - at == 10:
                    mux = True
                elif is_space(at[10]):
                    return None
            elif end - at > 6 and at[6] == 61:
                return None
        elif at[0] == 99:
            named = _address(address, text, at + 2, end)
            if named is None:
                return None
            if media is not None:
                connections.append(named)
            elif session is None:
                session = named
            else:
                return None
        elif at[0] == 109:
            word = _behind_words(at + 2, end, 1)
            if word == cython.NULL:
                return None
            kind = at[2 : word - at - 1]
            if media is not None:
                sections.append(_section(section, media, connections, rtcp, mux))
            # Neither attribute means anything at session level.
            connections, rtcp, mux = [], None, False
            at = word
            while word < end and is_digit(word[0]):
                word += 1
            number = _port(at, word)
            if number < 0 or word == end or word[0] != 32:
                return None
            span = (at - text, word - text)
            word += 1
            at = word
            while word < end and not is_space(word[0]):
                word += 1
            if word == at or (word < end and word[0] != 32):
                return None
            media = (kind, number, span, at[: word - at])
        else:
            word = _behind_words(at + 2, end, 1)
            if word != cython.NULL:
                word = _behind_number(word, end)
            if word != cython.NULL:
                word = _behind_number(word, end)
            named = None if word == cython.NULL else _address(address, text, word, end)
            if named is None:
                return None
            origins.append(named)
    if media is not None:
        sections.append(_section(section, media, connections, rtcp, mux))
    return filled(description, (origins, session, sections, candidates))


@cython.cfunc
def _section(kind: type, media: tuple, connections: list, rtcp, mux: cython.bint):
    """One section, of what its lines say."""
    if rtcp is None:
        rtcp = (0, _NO_SPAN, _NO_TEXT, _NO_SPAN)
    return filled(
        kind,
        (media[0], media[1], media[2], _ONE, media[3], connections, rtcp[0], rtcp[1], rtcp[2], rtcp[3], bool(mux)),
    )
