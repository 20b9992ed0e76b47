"""What the shortest way reads and writes: a start line, a Via's parameters, the edits of a message and its new text.

The functions of `express` that know no state, in machine code. Whatever isn't as usual is told as such, and goes the
other way. Cython compiles it (pure-Python mode).
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memchr, memcmp, memcpy
from cython.cimports.sipalg.codec.quick_edits import Address, Host, is_host, line_end, read_port
from cython.cimports.sipalg.codec.quick_names import address_of_record_at, cseq_at, word_at
from cython.cimports.sipalg.codec.search import Marks, Span, is_alphanumeric, is_digit, is_word, origin
from cython.cimports.sipalg.engine.express_texts import Edit, Passing, _Py_HashBytes

REGISTER = cython.declare(cython.int, 700)
OPTIONS = cython.declare(cython.int, 701)
_RECEIVED = cython.declare(cython.int, 2)
_RPORT = cython.declare(cython.int, 3)


@cython.cfunc
@cython.exceptval(check=False)
def kind_of(text: cython.p_char, end: cython.p_char) -> cython.int:
    """A response's status, or REGISTER or OPTIONS; -1 for what isn't one of these, or isn't plain."""
    at: cython.p_char
    if memcmp(text, b"SIP/2.0 ", 8) == 0:
        if not 49 <= text[8] <= 54 or not is_digit(text[9]) or not is_digit(text[10]):
            return -1
        if text + 11 != end and (end < text + 11 or text[11] != 32 or memchr(text, 13, end - text) != cython.NULL):
            return -1
        return (text[8] - 48) * 100 + (text[9] - 48) * 10 + (text[10] - 48)
    if memcmp(text, b"REGISTER ", 9) == 0:
        at = text + 9
    elif memcmp(text, b"OPTIONS ", 8) == 0:
        at = text + 8
    else:
        return -1
    end -= 8
    if end <= at or memcmp(end, b" SIP/2.0", 8) != 0:
        return -1
    while at < end:
        if 0 <= at[0] <= 32:
            return -1
        at += 1
    return REGISTER if text[0] == 82 else OPTIONS


@cython.cfunc
@cython.exceptval(check=False)
def target_end(newline: cython.p_char) -> cython.p_char:
    """Where a Request-URI ends, before the start line's ` SIP/2.0`."""
    return newline - 9 if (newline - 1)[0] == 13 else newline - 8


@cython.cfunc
@cython.exceptval(check=False)
def line_at(passing: cython.pointer(Passing), marks: cython.pointer(Marks)) -> uint64_t:
    """What tells Call-ID and address of record from all others; 0 where only the codec can read them."""
    call_id = cython.declare(Span)
    aor = cython.declare(Span)
    if not marks.call_id or not marks.recipient:
        return 0
    word_at(passing.text + marks.call_id, cython.address(call_id))
    if not address_of_record_at(passing.text + marks.recipient, cython.address(aor)):
        return 0
    return line_of(call_id.start, call_id.end - call_id.start, aor.start, aor.end - aor.start)


@cython.cfunc
@cython.exceptval(check=False)
def line_of(
    call_id: cython.p_char, call_id_size: cython.Py_ssize_t, aor: cython.p_char, aor_size: cython.Py_ssize_t
) -> uint64_t:
    """What tells two texts from all others, 64 bits by Python's own secret."""
    first: uint64_t = cython.cast(uint64_t, _Py_HashBytes(call_id, call_id_size))
    return first * cython.cast(uint64_t, 0x9E3779B97F4A7C15) + cython.cast(uint64_t, _Py_HashBytes(aor, aor_size))


@cython.cfunc
@cython.exceptval(check=False)
def answers(
    passing: cython.pointer(Passing), marks: cython.pointer(Marks), method: cython.p_char, size: cython.Py_ssize_t
) -> cython.bint:
    """Whether a response's CSeq has this method."""
    number: cython.long = 0
    word = cython.declare(Span)
    if not marks.cseq or not cseq_at(passing.text + marks.cseq, cython.address(number), cython.address(word)):
        return False
    return word.end - word.start == size and memcmp(word.start, method, size) == 0


@cython.cfunc
@cython.exceptval(check=False)
def is_own(address: cython.pointer(Address), host: cython.pointer(Host)) -> cython.bint:
    """Whether an address has the host, with its port and protocol."""
    return address.port == host.port and address.over_tcp == host.over_tcp and is_host(address, host)


@cython.cfunc
@cython.exceptval(check=False)
def came_from(
    passing: cython.pointer(Passing),
    public: cython.pointer(Host),
    at: cython.p_char,
    colon: cython.int,
    size: cython.int,
) -> cython.bint:
    """Note the edits of `received` and `rport`; False where they name another address."""
    received = cython.declare(Span)
    rport = cython.declare(Span)
    number: cython.int = 0
    end: cython.p_char = line_end(at)
    if end > at and (end - 1)[0] == 13:
        end -= 1
    if not origin(at, end, cython.address(received), cython.address(rport)):
        return False
    if received.start != cython.NULL:
        if received.end - received.start != public.size or memcmp(received.start, public.name, public.size) != 0:
            return False
        note_edit(passing, received.start, received.end, passing.private_text, colon, _RECEIVED)
    if rport.start != cython.NULL:
        read_port(rport.start, rport.end, cython.address(number))
        if number != public.port:
            return False
        note_edit(passing, rport.start, rport.end, passing.private_text + colon + 1, size - colon - 1, _RPORT)
    return True


@cython.cfunc
@cython.exceptval(check=False)
def note_edit(
    passing: cython.pointer(Passing),
    start: cython.p_char,
    end: cython.p_char,
    text: cython.p_char,
    size: cython.int,
    rule: cython.int,
) -> cython.void:
    """Have a span of the message replaced by a text that stays where it is."""
    edit: cython.pointer(Edit) = cython.address(passing.edits[passing.count])
    edit.offset = cython.cast(uint32_t, start - passing.text)
    edit.size = cython.cast(uint32_t, end - start)
    edit.text = text
    edit.text_size = size
    edit.rule = rule
    passing.grown += size - (end - start)
    passing.count += 1


@cython.cfunc
@cython.exceptval(check=False)
def sort_edits(passing: cython.pointer(Passing)) -> cython.bint:
    """Put the edits in order; False if two overlap."""
    i: cython.int
    j: cython.int
    edit = cython.declare(Edit)
    for i in range(1, passing.count):
        edit = passing.edits[i]
        j = i
        while j > 0 and passing.edits[j - 1].offset > edit.offset:
            passing.edits[j] = passing.edits[j - 1]
            j -= 1
        passing.edits[j] = edit
    for i in range(1, passing.count):
        if passing.edits[i - 1].offset + passing.edits[i - 1].size > passing.edits[i].offset:
            return False
    return True


@cython.cfunc
@cython.exceptval(check=False)
def write_private(host: uint32_t, port: uint32_t, to: cython.p_char) -> cython.p_char:
    """Write a phone's address and port; where they end."""
    shift: cython.int
    for shift in range(24, -1, -8):
        to = write_number(to, host >> shift & 255)
        to[0] = 46
        to += 1
    (to - 1)[0] = 58
    return write_number(to, port)


@cython.cfunc
@cython.exceptval(check=False)
def write_number(to: cython.p_char, number: uint32_t) -> cython.p_char:
    """Write a number's decimal digits; where they end."""
    if number >= 10:
        to = write_number(to, number // 10)
    to[0] = cython.cast(cython.char, 48 + number % 10)
    return to + 1


@cython.cfunc
@cython.exceptval(check=False)
def write(passing: cython.pointer(Passing), to: cython.p_char) -> cython.void:
    """Write the message with its edits made: `size` and `grown` bytes."""
    i: cython.int
    position: cython.Py_ssize_t = 0
    edit: cython.pointer(Edit)
    for i in range(passing.count):
        edit = cython.address(passing.edits[i])
        memcpy(to, passing.text + position, edit.offset - position)
        to += edit.offset - position
        memcpy(to, edit.text, edit.text_size)
        to += edit.text_size
        position = edit.offset + edit.size
    memcpy(to, passing.text + position, passing.size - position)


@cython.cfunc
@cython.exceptval(check=False)
def colon_of(text: cython.p_char, end: cython.p_char) -> cython.int:
    """Where the port's colon stands in an address that ends there."""
    end -= 1
    while end[0] != 58:
        end -= 1
    return cython.cast(cython.int, end - text)


@cython.cfunc
@cython.exceptval(check=False)
def read_target(at: cython.p_char, end: cython.p_char, address: cython.pointer(Address)) -> cython.bint:
    """Read a Request-URI, as `uri.parse_one` does; False if it is no SIP URI over UDP or TCP. No port reads as 0."""
    first: cython.p_char
    address.over_tcp = False
    address.port = 0
    if end - at < 5 or not is_word(at, end, b"sip", 3) or at[3] != 58:
        return False
    if memchr(at, 60, end - at) != cython.NULL or memchr(at, 62, end - at) != cython.NULL:
        return False
    at += 4
    first = cython.cast(cython.p_char, memchr(at, 64, end - at))
    at = at if first == cython.NULL else first + 1
    address.start = at
    while at < end and (is_alphanumeric(at[0]) or at[0] == 46 or at[0] == 95 or at[0] == 45):
        at += 1
    address.host_end = at
    if at == address.start:
        return False
    if at < end and at[0] == 58:
        at = read_port(at + 1, end, cython.address(address.port))
        if at == cython.NULL:
            return False
    address.end = at
    if at < end and at[0] != 59 and at[0] != 63:
        return False
    while at < end:
        if at[0] == 59:
            if is_word(at + 1, end, b"maddr", 5):
                return False
            if is_word(at + 1, end, b"transport", 9):
                if is_word(at + 10, end, b"=tcp", 4):
                    address.over_tcp = True
                elif not is_word(at + 10, end, b"=udp", 4):
                    return False
                if at + 14 < end and at[14] != 59 and at[14] != 63:
                    return False
        at += 1
    return True
