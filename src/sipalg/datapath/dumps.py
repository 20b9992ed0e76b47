"""A dump's answer received whole in machine code, without Python's lock: the kernel's work, beside Python's.

Beside `netlink`, which asks here where the build has it. At start sets of a hundred thousand elements are listed, in
hundreds of buffers, while the process reads its journal. Cython compiles it, in its pure-Python mode; it can't be
imported interpreted.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.libc.errno import EINTR, EIO, ENOMEM, errno
from cython.cimports.libc.stdint import uint16_t, uint32_t
from cython.cimports.libc.stdlib import free, realloc
from cython.cimports.sipalg.datapath.sockets import recv

# What fits in any netlink message, and what is there at first.
_ROOM = cython.declare(cython.Py_ssize_t, 1 << 17)
_FIRST = cython.declare(cython.Py_ssize_t, 1 << 20)
# NLMSG_ERROR and NLMSG_DONE.
_ERROR = cython.declare(cython.int, 2)
_DONE = cython.declare(cython.int, 3)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _is_last(at: cython.p_char, end: cython.p_char, sequence: uint32_t) -> cython.bint:
    """Whether a buffer has the end of the answer with this sequence number."""
    length: uint32_t
    kind: cython.int
    while end - at >= 16:
        length = cython.cast(cython.pointer(uint32_t), at)[0]
        if length < 16 or length > cython.cast(uint32_t, end - at):
            return False
        kind = cython.cast(cython.pointer(uint16_t), at + 4)[0]
        if kind in (_ERROR, _DONE) and cython.cast(cython.pointer(uint32_t), at + 8)[0] == sequence:
            return True
        at += (length + 3) & ~cython.cast(uint32_t, 3)
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _receive(
    descriptor: cython.int, sequence: uint32_t, data: cython.pp_char, used: cython.pointer(cython.Py_ssize_t)
) -> cython.int:
    """Receive to the end; 0, or an error's number. What `data` points to is the caller's to free."""
    size: cython.Py_ssize_t = 0
    count: cython.Py_ssize_t
    grown: cython.p_char
    while True:
        if size - used[0] < _ROOM:
            size = _FIRST if size == 0 else 2 * size
            grown = cython.cast(cython.p_char, realloc(data[0], size))
            if grown == cython.NULL:
                return ENOMEM
            data[0] = grown
        count = recv(descriptor, data[0] + used[0], size - used[0], 0)
        if count < 0 and errno == EINTR:
            continue
        if count <= 0:
            return errno if count < 0 else EIO
        used[0] += count
        if _is_last(data[0] + used[0] - count, data[0] + used[0], sequence):
            return 0


def received(descriptor: cython.int, sequence: uint32_t):
    """What comes until the answer with this sequence number is whole. Raises OSError."""
    data: cython.p_char = cython.NULL
    used: cython.Py_ssize_t = 0
    failed: cython.int
    with cython.nogil:
        failed = _receive(descriptor, sequence, cython.address(data), cython.address(used))
    try:
        if failed:
            raise OSError(failed, "a dump can't be received")
        return PyBytes_FromStringAndSize(data, used)
    finally:
        free(data)
