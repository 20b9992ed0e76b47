"""Verdicts on their way into the kernel: sent here, or by a thread of their own while the next packets are decided.

The end of a packet's way: within our `send` the kernel takes each packet through the rest of its hooks and out by its
interface, some 15 % of what a call costs. The thread never needs Python's lock, and sends parcels in the order in
which they were handed over, so packets stay in order. `batch` fills them, and says when that pays (ADR 0050).
Cython compiles this file, in its pure-Python mode; it can't be imported interpreted, where `nfqueue` sends all.
"""

import cython
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.sipalg.datapath.sender import (
    __ATOMIC_ACQUIRE,
    __ATOMIC_RELEASE,
    SIG_SETMASK,
    Parcel,
    Shared,
    __atomic_add_fetch,
    __atomic_load_n,
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
from cython.cimports.sipalg.datapath.sockets import send

#: As many as `Shared` has: one that is filled, one that is sent, and some between.
_PARCELS = cython.declare(cython.int, 4)
#: A verdict's bytes at most come on top of what one `send` carries (`batch`).
_PARCEL_BYTES = cython.declare(cython.int, (1 << 17) + 0x10100)


@cython.cclass
class Sender:
    """Parcels of verdicts for one socket. One thread fills them and calls these; the other is its own."""

    def __cinit__(self, fd: cython.int):
        i: cython.int
        self.shared = cython.cast(cython.pointer(Shared), calloc(1, cython.sizeof(Shared)))
        if not self.shared:
            raise MemoryError
        self.shared.fd = fd
        sem_init(cython.address(self.shared.ready), 0, 0)
        sem_init(cython.address(self.shared.free), 0, _PARCELS - 1)
        for i in range(_PARCELS):
            self.shared.parcels[i].data = cython.cast(cython.p_uchar, malloc(_PARCEL_BYTES))
            if not self.shared.parcels[i].data:
                raise MemoryError
        self.parcel = cython.address(self.shared.parcels[0])

    def __dealloc__(self):
        i: cython.int
        if self.shared:
            self.finish()
            sem_destroy(cython.address(self.shared.ready))
            sem_destroy(cython.address(self.shared.free))
            for i in range(_PARCELS):
                free(self.shared.parcels[i].data)
            free(self.shared)

    @cython.cfunc
    @cython.exceptval(check=False)
    def reserve(self, size: cython.int) -> cython.p_uchar:
        """Where the next verdict of the parcel goes; there has to be room."""
        parcel: cython.pointer(Parcel) = self.parcel
        at: cython.p_uchar = parcel.data + parcel.size
        parcel.size += size
        parcel.count += 1
        parcel.begins[parcel.count] = parcel.size
        return at

    @cython.cfunc
    @cython.exceptval(check=False)
    def idle(self) -> cython.bint:
        """Whether all that was handed over has been sent."""
        return __atomic_load_n(cython.address(self.shared.sent), __ATOMIC_ACQUIRE) == self.posted

    @cython.cfunc
    @cython.exceptval(check=False)
    def send_here(self) -> cython.void:
        """Send the parcel, and begin it anew; only while the thread is idle, or packets would change their order."""
        _send(self.shared, self.parcel)
        self.parcel.count = 0
        self.parcel.size = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def send_beside(self) -> cython.void:
        """Hand the parcel over, and begin the next one, which may have to be waited for."""
        if not self.runs:
            self._start()
            if not self.runs:
                self.send_here()
                return
        self.posted += 1
        sem_post(cython.address(self.shared.ready))
        if sem_trywait(cython.address(self.shared.free)) != 0:
            with cython.nogil:
                while sem_wait(cython.address(self.shared.free)) != 0:
                    pass  # a signal
        self.parcel = cython.address(self.shared.parcels[self.posted % _PARCELS])
        self.parcel.count = 0
        self.parcel.size = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def finish(self) -> cython.void:
        """Have all that was handed over sent, and the thread end."""
        if self.runs:
            # An empty parcel is its end.
            self.parcel.count = 0
            self.parcel.size = 0
            sem_post(cython.address(self.shared.ready))
            with cython.nogil:
                pthread_join(self.thread, cython.NULL)
            self.runs = False

    @cython.cfunc
    @cython.exceptval(check=False)
    def refused(self) -> cython.long:
        """The verdicts that the kernel refused to take."""
        return __atomic_load_n(cython.address(self.shared.refused), __ATOMIC_ACQUIRE)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _start(self) -> cython.void:
        """Start the thread, which takes no signals: these are for Python's main thread."""
        all_signals = cython.declare(sigset_t)
        before = cython.declare(sigset_t)
        sigfillset(cython.address(all_signals))
        pthread_sigmask(SIG_SETMASK, cython.address(all_signals), cython.address(before))
        self.runs = pthread_create(cython.address(self.thread), cython.NULL, _run, self.shared) == 0
        pthread_sigmask(SIG_SETMASK, cython.address(before), cython.NULL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _run(argument: cython.p_void) -> cython.p_void:
    """The thread: send the parcels in turn, until one is empty."""
    shared: cython.pointer(Shared) = cython.cast(cython.pointer(Shared), argument)
    parcel: cython.pointer(Parcel)
    while True:
        while sem_wait(cython.address(shared.ready)) != 0:
            pass
        parcel = cython.address(shared.parcels[shared.sent % _PARCELS])
        if parcel.count == 0:
            return cython.NULL
        _send(shared, parcel)
        __atomic_add_fetch(cython.address(shared.sent), 1, __ATOMIC_RELEASE)
        sem_post(cython.address(shared.free))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _send(shared: cython.pointer(Shared), parcel: cython.pointer(Parcel)) -> cython.void:
    """Send a parcel at once; where that doesn't get through, each verdict goes alone."""
    i: cython.int
    if parcel.count == 0 or send(shared.fd, parcel.data, parcel.size, 0) >= 0:
        return
    for i in range(parcel.count):
        if send(shared.fd, parcel.data + parcel.begins[i], parcel.begins[i + 1] - parcel.begins[i], 0) < 0:
            __atomic_add_fetch(cython.address(shared.refused), 1, __ATOMIC_RELEASE)
