"""A header's edits in machine code, for fields written as nearly all are: the same edits, or None.

`of_sender` and `of_recipient` stand for the steps of `engine.rewrite` that find a phone's own address in a header's
lines and say what is written in its place. Wherever one says None those are asked: at a folded line, a list of
another form, a port left off, an address that isn't quite the phone's. Nothing is remembered here: reading a Contact
anew costs less than finding it among a thousand phones' that are in no cache. Cython compiles it (pure-Python mode).
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.string import memchr, memcmp
from cython.cimports.sipalg.codec.quick_edits import Address, Host
from cython.cimports.sipalg.codec.search import (
    Marks,
    Span,
    behind_quote,
    is_alphanumeric,
    is_digit,
    is_space,
    is_word,
    marks_of,
    memmem,
    next_line,
    origin,
    over_blanks,
    over_space,
    text_of,
)


def of_sender(message, own: bytes, port: cython.int, text: bytes):
    """The edits that write `text` for `own` with this UDP port, and the lifetimes of the sender's own Contacts.

    For a message of a phone's, whose only address with its `own` host is this one, with the port written.
    """
    marks: cython.pointer(Marks) = marks_of(message)
    edits: list = []
    lifetimes: list = []
    address = cython.declare(Address)
    host = cython.declare(Host)
    host.over_tcp = False
    if not _is_plain(message, marks, own, port, cython.address(host)):
        return None
    if marks.via and not cython.cast(tuple, message)[2]:
        if sent_by(cython.address(host), host.text + marks.via, cython.address(address)):
            edits.append(_change(cython.address(host), address.start, address.end, text, "via"))
        elif names(cython.address(host), host.text + marks.via):
            return None
    if marks.contact:
        at: cython.p_char = host.text + marks.contact
        alone: cython.bint = read_contact(at, cython.address(address)) and address.following == cython.NULL
        alone = alone and address.port == port and not address.over_tcp
        if alone and is_host(cython.address(address), cython.address(host)):
            edits.append(_change(cython.address(host), address.start, address.end, text, "contact"))
            lifetimes.append(_lifetime(cython.address(address)))
        elif names(cython.address(host), at):
            return None
    return edits, lifetimes


def of_recipient(message, public: bytes, port: cython.int, text: bytes, mapping):
    """The edits that give a phone its address `text` back for its `public` one, and its own Contacts' lifetimes.

    Each lifetime with `mapping`. For a response, its topmost Via is the phone's; in both, whatever has the `public`
    host is this address with its port written. The Request-URI isn't looked at.
    """
    marks: cython.pointer(Marks) = marks_of(message)
    edits: list = []
    lifetimes: list = []
    address = cython.declare(Address)
    host = cython.declare(Host)
    host.over_tcp = False
    at: cython.p_char
    if not _is_plain(message, marks, public, port, cython.address(host)):
        return None
    if marks.via and cython.cast(tuple, message)[2]:
        at = host.text + marks.via
        if sent_by(cython.address(host), at, cython.address(address)):
            edits.append(_change(cython.address(host), address.start, address.end, text, "via"))
            if not _came_from(cython.address(host), edits, address.end, text):
                return None
        elif names(cython.address(host), at):
            return None
    at = host.text + marks.contact
    while at != host.text and at != cython.NULL:
        if not read_contact(at, cython.address(address)):
            if names(cython.address(host), host.text + marks.contact):
                return None
            break
        if is_host(cython.address(address), cython.address(host)):
            if address.port != port or address.over_tcp:
                return None
            edits.append(_change(cython.address(host), address.start, address.end, text, "contact"))
            lifetimes.append((mapping, _lifetime(cython.address(address))))
        at = address.following
    return edits, lifetimes


@cython.cfunc
def _is_plain(
    message, marks: cython.pointer(Marks), name: bytes, port: cython.int, host: cython.pointer(Host)
) -> cython.bint:
    """Whether a header's own Via and one Contact are all that may have the host, which isn't an IPv6 address."""
    host.text = text_of(message)
    host.name = PyBytes_AS_STRING(name)
    host.size = PyBytes_GET_SIZE(name)
    host.port = port
    if marks == cython.NULL or marks.contacts or host.size == 0 or host.name[0] == 91:
        return False
    if marks.others:
        head: cython.p_char = host.text + cython.cast(cython.Py_ssize_t, cython.cast(tuple, message)[4])
        limit: cython.p_char = host.text + cython.cast(cython.Py_ssize_t, cython.cast(tuple, message)[5])
        return not is_elsewhere(host, head, limit)
    return True


@cython.cfunc
@cython.exceptval(check=False)
def is_elsewhere(host: cython.pointer(Host), head: cython.p_char, limit: cython.p_char) -> cython.bint:
    """Whether a field that somebody may edit besides Via and Contact has the host, or a folded line."""
    line = cython.declare(Span)
    line.end = head
    while next_line(cython.address(line), head, limit, host.name, host.size):
        if line.start == cython.NULL:
            return True
        first: cython.int = line.start[0] | 32
        if first == 114 or first == 112 or first == 115 or first == 98:
            return True
    return False


@cython.cfunc
@cython.exceptval(check=False)
def names(host: cython.pointer(Host), at: cython.p_char) -> cython.bint:
    """Whether the rest of a line names the host, so that the codec has to look."""
    end: cython.p_char = line_end(at)
    return memmem(at, end - at, host.name, host.size) != cython.NULL


@cython.cfunc
@cython.exceptval(check=False)
def line_end(at: cython.p_char) -> cython.p_char:
    """The newline that every marked line has."""
    return cython.cast(cython.p_char, memchr(at, 10, 65536))


@cython.cfunc
def _lifetime(address: cython.pointer(Address)):
    return None if address.expires_s < 0 else address.expires_s


@cython.cfunc
def _change(host: cython.pointer(Host), start: cython.p_char, end: cython.p_char, text: bytes, rule: str) -> tuple:
    return (start - host.text, end - start, text, rule)


@cython.cfunc
@cython.exceptval(check=False)
def is_host(address: cython.pointer(Address), host: cython.pointer(Host)) -> cython.bint:
    """Whether an address has the host, whatever its port."""
    return address.host_end - address.start == host.size and memcmp(address.start, host.name, host.size) == 0


@cython.cfunc
@cython.exceptval(check=False)
def sent_by(host: cython.pointer(Host), at: cython.p_char, address: cython.pointer(Address)) -> cython.bint:
    """Whether a Via was sent by this host and port over its protocol, and where they stand."""
    end: cython.p_char = line_end(at)
    at = over_blanks(at, end)
    if not is_word(at, end, b"sip/2.0/", 8) or memcmp(at + 3, b"/2.0/", 5) != 0:
        return False
    if not is_word(at + 8, end, b"tcp" if host.over_tcp else b"udp", 3) or at[11] != 32:
        return False
    at = over_blanks(at + 11, end)
    address.start = at
    if end - at <= host.size or memcmp(at, host.name, host.size) != 0 or at[host.size] != 58:
        return False
    address.end = read_port(at + host.size + 1, end, cython.address(address.port))
    if address.end == cython.NULL or address.port != host.port:
        return False
    # Behind it is a parameter, or nothing.
    return address.end[0] == 59 or (address.end[0] == 13 and address.end + 1 == end)


@cython.cfunc
@cython.exceptval(check=False)
def read_port(at: cython.p_char, end: cython.p_char, port: cython.p_int) -> cython.p_char:
    """Read one to five digits; returns where they end, NULL if there are others."""
    first: cython.p_char = at
    port[0] = 0
    while at < end and is_digit(at[0]) and at - first < 6:
        port[0] = port[0] * 10 + (at[0] - 48)
        at += 1
    return at if 1 <= at - first <= 5 else cython.cast(cython.p_char, cython.NULL)


@cython.cfunc
@cython.exceptval(check=False)
def read_contact(at: cython.p_char, address: cython.pointer(Address)) -> cython.bint:
    """Read one address of a Contact, as `uri.parse_list` does; False if it is no SIP URI of UDP or TCP with a port."""
    end: cython.p_char = line_end(at)
    bracketed: cython.bint = False
    stop: cython.p_char
    address.over_tcp = False
    at = over_space(at, end)
    if at < end and at[0] == 34:
        at = behind_quote(at, end)
        if at == cython.NULL:
            return False
        at = over_space(at, end)
        bracketed = True
    elif not is_word(at, end, b"sip", 3):
        bracketed = True
        while at < end and at[0] != 60:
            if at[0] == 34 or at[0] == 62 or at[0] == 44 or at[0] == 59 or at[0] == 58 or at[0] == 64:
                return False
            at += 1
    if bracketed:
        if at >= end or at[0] != 60:
            return False
        at += 1
    if not is_word(at, end, b"sip", 3) or at + 3 >= end or at[3] != 58:
        return False
    at = _behind_user(at + 4, end, bracketed)
    address.start = at
    while at < end and (is_alphanumeric(at[0]) or at[0] == 46 or at[0] == 95 or at[0] == 45):
        at += 1
    address.host_end = at
    if at == address.start or at >= end or at[0] != 58:
        return False
    at = read_port(at + 1, end, cython.address(address.port))
    if at == cython.NULL or at >= end:
        return False
    address.end = at
    if bracketed:
        at = _behind_parameters(at, end, cython.address(address.over_tcp))
        if at == cython.NULL:
            return False
    elif at[0] != 59 and not is_space(at[0]):
        return False
    stop = _behind_address(at, end, bracketed)
    if stop == cython.NULL:
        return False
    address.expires_s = _expires_s(at, stop)
    address.following = stop + 1 if stop < end else cython.cast(cython.p_char, cython.NULL)
    return True


@cython.cfunc
@cython.exceptval(check=False)
def _behind_user(at: cython.p_char, end: cython.p_char, bracketed: cython.bint) -> cython.p_char:
    """Where a URI's host begins: behind its first @, if there is one before whatever can't be in a user's part."""
    first: cython.p_char = at
    while at < end and at[0] != 64:
        if at[0] == 60 or at[0] == 62 or is_space(at[0]):
            return first
        if not bracketed and (at[0] == 44 or at[0] == 59 or at[0] == 63):
            return first
        at += 1
    return at + 1 if at < end else first


@cython.cfunc
@cython.exceptval(check=False)
def _behind_parameters(at: cython.p_char, end: cython.p_char, over_tcp: cython.pointer(cython.bint)) -> cython.p_char:
    """Behind the bracket after a URI's parameters; NULL where one says where else, or how requests are to be sent.

    That is for any protocol but UDP and TCP, of which `over_tcp` tells.
    """
    if at[0] != 59 and at[0] != 63 and at[0] != 62:
        return cython.NULL
    while at < end and at[0] != 62:
        if at[0] == 60:
            return cython.NULL
        if at[0] == 59:
            if is_word(at + 1, end, b"maddr", 5):
                return cython.NULL
            if is_word(at + 1, end, b"transport", 9):
                at += 10
                if at + 4 >= end or at[0] != 61:
                    return cython.NULL
                if is_word(at + 1, end, b"tcp", 3):
                    over_tcp[0] = True
                elif not is_word(at + 1, end, b"udp", 3):
                    return cython.NULL
                at += 4
                if at[0] != 59 and at[0] != 63 and at[0] != 62:
                    return cython.NULL
                continue
        at += 1
    return at + 1 if at < end else cython.cast(cython.p_char, cython.NULL)


@cython.cfunc
@cython.exceptval(check=False)
def _behind_address(at: cython.p_char, end: cython.p_char, bracketed: cython.bint) -> cython.p_char:
    """Where an address ends with its parameters: a comma, or the line's end; NULL where only the codec can tell."""
    while at < end and at[0] != 44:
        if at[0] == 34:
            at = behind_quote(at, end)
            if at == cython.NULL:
                return cython.NULL
        elif not bracketed and (at[0] == 60 or at[0] == 62):
            return cython.NULL
        else:
            at += 1
    return at


@cython.cfunc
@cython.exceptval(check=False)
def _expires_s(at: cython.p_char, end: cython.p_char) -> cython.long:
    """The lifetime among a field's parameters, -1 without one."""
    value: cython.long
    first: cython.p_char
    while True:
        at = cython.cast(cython.p_char, memchr(at, 59, end - at))
        if at == cython.NULL:
            return -1
        at = over_space(at + 1, end)
        if is_word(at, end, b"expires", 7):
            first = over_space(at + 7, end)
            if first < end and first[0] == 61:
                first = over_space(first + 1, end)
                if first < end and first[0] == 34:
                    first += 1
                at = first
                value = 0
                while at < end and is_digit(at[0]) and at - first < 9:
                    value = value * 10 + (at[0] - 48)
                    at += 1
                if at > first:
                    return value


@cython.cfunc
def _came_from(host: cython.pointer(Host), edits: list, at: cython.p_char, text: bytes) -> cython.bint:
    """Append the edits of `received` and `rport` with the parts of `text`; False where they name another address."""
    received = cython.declare(Span)
    rport = cython.declare(Span)
    number: cython.int = 0
    end: cython.p_char = line_end(at)
    if end > at and (end - 1)[0] == 13:
        end -= 1
    if not origin(at, end, cython.address(received), cython.address(rport)):
        return False
    if received.start != cython.NULL and (
        received.end - received.start != host.size or memcmp(received.start, host.name, host.size) != 0
    ):
        return False
    if rport.start != cython.NULL:
        read_port(rport.start, rport.end, cython.address(number))
        if number != host.port:
            return False
    colon: cython.Py_ssize_t = PyBytes_GET_SIZE(text)
    while colon > 0 and PyBytes_AS_STRING(text)[colon] != 58:
        colon -= 1
    if received.start != cython.NULL:
        edits.append(_change(host, received.start, received.end, text[:colon], "via-received"))
    if rport.start != cython.NULL:
        change = _change(host, rport.start, rport.end, text[colon + 1 :], "via-rport")
        edits.insert(len(edits) - (received.start > rport.start), change)
    return True
