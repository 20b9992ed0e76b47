"""When and by whom verdicts are sent: by the engine's thread, or at full load by a thread of their own.

A verdict's `send` is no quick call: in it the kernel takes the packet on its whole way out of the router, which is a
third of what a packet costs. While many packets wait, that is done beside the engine, on another processor: verdicts
are put onto trays, and trays are handed to a thread that knows nothing of Python and does nothing but send them, in
their order. With less to do the engine's thread sends by itself, so that no packet waits for a thread to wake up, but
never while an earlier tray is on its way. The last piece of a packet's way in the compiled build, behind `batch`;
Cython compiles this file.
"""

import cython
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.sipalg.datapath.sockets import send
from cython.cimports.sipalg.datapath.threads import (
    MOST,
    SIG_SETMASK,
    TRAYS,
    Belt,
    Tray,
    pthread_create,
    pthread_join,
    pthread_sigmask,
    sem_destroy,
    sem_init,
    sem_post,
    sem_trywait,
    sem_wait,
    sigfillset,
    sigset_t,
)

#: What one `send` carries at most, so that the buffer of a process without privileges holds it.
_SEND_BYTES = cython.declare(cython.int, 1 << 17)
#: A verdict and the largest packet.
_LARGEST_BYTES = cython.declare(cython.int, 0x10100)


@cython.cclass
class Sender:
    """The trays of a queue; all but the sending thread's own work is done by the engine's thread."""

    def __cinit__(self, fd: cython.int, alone: cython.bint):
        """`fd` is the bound socket; `alone`: there is no second processor, so there is to be no second thread."""
        i: cython.int
        self.belt.fd = fd
        self.helper = -1 if alone else 0
        for i in range(TRAYS):
            self.belt.trays[i].at = cython.cast(cython.p_uchar, malloc(_SEND_BYTES + _LARGEST_BYTES))
            if not self.belt.trays[i].at:
                raise MemoryError
        if sem_init(cython.address(self.belt.handed), 0, 0) or sem_init(cython.address(self.belt.done), 0, 0):
            raise MemoryError

    def __dealloc__(self):
        i: cython.int
        if self.helper == 1:
            self.settle()
            self.belt.stop = 1
            sem_post(cython.address(self.belt.handed))
            pthread_join(self.thread, cython.NULL)
        sem_destroy(cython.address(self.belt.handed))
        sem_destroy(cython.address(self.belt.done))
        for i in range(TRAYS):
            free(self.belt.trays[i].at)

    @cython.cfunc
    @cython.exceptval(check=False)
    def reserve(self, size: cython.int) -> cython.p_uchar:
        """Make room for one more verdict of so many bytes, and return where it is to be put."""
        tray: cython.pointer(Tray) = cython.address(self.belt.trays[self.filling])
        if tray.count == MOST or tray.bytes + size > _SEND_BYTES:
            self.pass_on(True)
            tray = cython.address(self.belt.trays[self.filling])
        at: cython.p_uchar = tray.at + tray.bytes
        tray.bytes += size
        tray.count += 1
        tray.begins[tray.count] = tray.bytes
        return at

    @cython.cfunc
    @cython.exceptval(check=False)
    def pass_on(self, more: cython.bint) -> cython.void:
        """Have all verdicts so far sent; with `more`, as far as there is a second thread, by that."""
        tray: cython.pointer(Tray) = cython.address(self.belt.trays[self.filling])
        if not tray.count:
            return
        while self.ahead and sem_trywait(cython.address(self.belt.done)) == 0:
            self.ahead -= 1
        if more and self.helper == 0:
            self._begin()
        if self.ahead or (more and self.helper == 1):
            self._hand_over()
        else:
            _send(cython.address(self.belt), tray)

    @cython.cfunc
    @cython.exceptval(check=False)
    def settle(self) -> cython.void:
        """Wait until what was handed over is sent."""
        with cython.nogil:
            while self.ahead:
                if sem_wait(cython.address(self.belt.done)) == 0:
                    self.ahead -= 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _hand_over(self) -> cython.void:
        sem_post(cython.address(self.belt.handed))
        self.ahead += 1
        self.filling = (self.filling + 1) % TRAYS
        with cython.nogil:
            while self.ahead == TRAYS:
                if sem_wait(cython.address(self.belt.done)) == 0:
                    self.ahead -= 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _begin(self) -> cython.void:
        """Start the thread, which is to get no signals: they are Python's, whose thread waits for descriptors."""
        everything = cython.declare(sigset_t)
        before = cython.declare(sigset_t)
        sigfillset(cython.address(everything))
        pthread_sigmask(SIG_SETMASK, cython.address(everything), cython.address(before))
        failed: cython.int = pthread_create(
            cython.address(self.thread), cython.NULL, _serve, cython.cast(cython.p_void, cython.address(self.belt))
        )
        pthread_sigmask(SIG_SETMASK, cython.address(before), cython.NULL)
        self.helper = -1 if failed else 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _serve(argument: cython.p_void) -> cython.p_void:
    """Send what is handed over, tray by tray, until told to stop: the second thread's whole life."""
    belt: cython.pointer(Belt) = cython.cast(cython.pointer(Belt), argument)
    at: cython.int = 0
    while True:
        while sem_wait(cython.address(belt.handed)) != 0:
            pass
        if belt.stop:
            return cython.NULL
        _send(belt, cython.address(belt.trays[at]))
        at = (at + 1) % TRAYS
        sem_post(cython.address(belt.done))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _send(belt: cython.pointer(Belt), tray: cython.pointer(Tray)) -> cython.void:
    """Send a tray's verdicts at once; where that doesn't get through, each goes alone. Leaves the tray empty."""
    i: cython.int
    if send(belt.fd, tray.at, tray.bytes, 0) < 0:
        for i in range(tray.count):
            if send(belt.fd, tray.at + tray.begins[i], tray.begins[i + 1] - tray.begins[i], 0) < 0:
                belt.refused += 1
    tray.count = 0
    tray.bytes = 0
