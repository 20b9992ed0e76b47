"""Requests for media's flows in machine code: a message patched into a form, several put into one, and who answers.

Beside `ctnetlink` and `netlink`, which ask here first where the build has it: a call makes and ends two flows while
packets wait. What isn't IPv4 is None, for them to spell. Cython compiles it, in its pure-Python mode; it can't be
imported interpreted.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.tuple import PyTuple_GET_ITEM
from cython.cimports.cpython.unicode import PyUnicode_AsUTF8
from cython.cimports.libc.errno import EAGAIN, errno
from cython.cimports.libc.stdint import uint16_t, uint32_t
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.sipalg.datapath.sockets import AF_INET, MSG_DONTWAIT, MSG_PEEK, htonl, htons, inet_pton, recv

# Where a tuple's values stand behind its beginning: source, destination, protocol, their ports.
_SOURCE = cython.declare(cython.int, 12)
_DESTINATION = cython.declare(cython.int, 20)
_PROTOCOL = cython.declare(cython.int, 32)
_SOURCE_PORT = cython.declare(cython.int, 40)
_DESTINATION_PORT = cython.declare(cython.int, 48)
_TUPLE_BYTES = cython.declare(cython.int, 52)
# What a body begins with, and where a new flow's timeout and its NAT's two addresses and ports are.
_BEFORE = cython.declare(cython.int, 4)
_TIMEOUT = cython.declare(cython.int, 120)
_NAT_HOSTS = cython.declare(cython.int, 132)
_NAT_PORTS = cython.declare(cython.int, 152)
_APART = cython.declare(cython.int, 8)
_CREATED_BYTES = cython.declare(cython.int, 124)
_TRANSLATED_BYTES = cython.declare(cython.int, 164)


@cython.cfunc
def _end(endpoint: object, host: cython.p_char, port: cython.pointer(uint16_t)) -> cython.bint:
    """Read an endpoint as it stands in messages; False if it isn't IPv4's."""
    text: cython.p_const_char = PyUnicode_AsUTF8(cython.cast(object, PyTuple_GET_ITEM(endpoint, 0)))
    port[0] = htons(cython.cast(cython.int, cython.cast(object, PyTuple_GET_ITEM(endpoint, 1))))
    return inet_pton(AF_INET, text, host) == 1


@cython.cfunc
@cython.exceptval(check=False)
def _put(
    at: cython.p_char,
    protocol: cython.char,
    source: cython.p_char,
    source_port: uint16_t,
    destination: cython.p_char,
    destination_port: uint16_t,
) -> cython.void:
    """Write a tuple's values."""
    memcpy(at + _SOURCE, source, 4)
    memcpy(at + _DESTINATION, destination, 4)
    at[_PROTOCOL] = protocol
    memcpy(at + _SOURCE_PORT, cython.address(source_port), 2)
    memcpy(at + _DESTINATION_PORT, cython.address(destination_port), 2)


def patched(form: bytes, flow, seconds: uint32_t):
    """The body of a request about a flow: `form` is one about another, to make (with NAT or without) or to delete."""
    inside = cython.declare(cython.char[4])
    outside = cython.declare(cython.char[4])
    inside_port: uint16_t = 0
    outside_port: uint16_t = 0
    public_port: uint16_t = 0
    i: cython.int
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(form)
    protocol: cython.int = cython.cast(object, PyTuple_GET_ITEM(flow, 0))
    private = cython.cast(object, PyTuple_GET_ITEM(flow, 1))
    remote = cython.cast(object, PyTuple_GET_ITEM(flow, 3))
    if not _end(private, inside, cython.address(inside_port)):
        return None
    if not _end(remote, outside, cython.address(outside_port)):
        return None
    body: bytes = PyBytes_FromStringAndSize(PyBytes_AS_STRING(form), size)
    text: cython.p_char = PyBytes_AS_STRING(body)
    _put(text + _BEFORE, protocol, inside, inside_port, outside, outside_port)
    if size >= _CREATED_BYTES:
        _put(text + _BEFORE + _TUPLE_BYTES, protocol, outside, outside_port, inside, inside_port)
        seconds = htonl(seconds)
        memcpy(text + _TIMEOUT, cython.address(seconds), 4)
    if size == _TRANSLATED_BYTES:
        if not _end(cython.cast(object, PyTuple_GET_ITEM(flow, 2)), inside, cython.address(public_port)):
            return None
        for i in range(2):
            memcpy(text + _NAT_HOSTS + i * _APART, inside, 4)
            memcpy(text + _NAT_PORTS + i * _APART, cython.address(public_port), 2)
    return body


def joined(messages, sequence: uint32_t, more_flags: cython.int):
    """All messages with their headers, padded, numbered from `sequence` on."""
    size: cython.Py_ssize_t = 0
    length: cython.Py_ssize_t
    for message in messages:
        size += 16 + ((PyBytes_GET_SIZE(_body(message)) + 3) & ~3)
    data: bytes = PyBytes_FromStringAndSize(cython.NULL, size)
    at: cython.p_char = PyBytes_AS_STRING(data)
    memset(at, 0, size)
    words: cython.pointer(uint32_t)
    halves: cython.pointer(uint16_t)
    for message in messages:
        body: bytes = _body(message)
        length = PyBytes_GET_SIZE(body)
        words = cython.cast(cython.pointer(uint32_t), at)
        halves = cython.cast(cython.pointer(uint16_t), at + 4)
        words[0] = length + 16
        halves[0] = cython.cast(cython.int, cython.cast(object, PyTuple_GET_ITEM(message, 0)))
        halves[1] = cython.cast(cython.int, cython.cast(object, PyTuple_GET_ITEM(message, 1))) | more_flags
        words[2] = sequence
        memcpy(at + 16, PyBytes_AS_STRING(body), length)
        at += 16 + ((length + 3) & ~3)
        sequence += 1
    return data


@cython.cfunc
def _body(message) -> bytes:
    return cython.cast(object, PyTuple_GET_ITEM(message, 2))


def waits(descriptor: cython.int) -> cython.int:
    """Whether something can be received: 1 or 0; an error's number, negative, which is gone then."""
    byte: cython.char = 0
    if recv(descriptor, cython.address(byte), 1, MSG_PEEK | MSG_DONTWAIT) >= 0:
        return 1
    return 0 if errno == EAGAIN else -errno
