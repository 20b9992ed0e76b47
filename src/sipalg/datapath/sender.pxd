# What datapath/batch.py calls of datapath/sender.py, and what that calls of the C library.
cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass
    int sem_init(sem_t *semaphore, int shared, unsigned int value)
    int sem_destroy(sem_t *semaphore)
    int sem_post(sem_t *semaphore)
    int sem_wait(sem_t *semaphore)
    int sem_trywait(sem_t *semaphore)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t *signals)

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t *thread, void *attributes, void *(*run)(void *) noexcept, void *argument)
    int pthread_join(pthread_t thread, void **result)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)

# The compiler's own.
cdef extern from * nogil:
    int __ATOMIC_ACQUIRE
    int __ATOMIC_RELEASE
    long __atomic_load_n(long *at, int order)
    long __atomic_add_fetch(long *at, long value, int order)

# Verdicts that one `send` carries.
cdef struct Parcel:
    unsigned char *data
    int size
    int count
    # Where each verdict begins, and where the last one ends.
    int begins[33]

# What both threads work on: parcels are filled and sent in turn.
cdef struct Shared:
    int fd
    Parcel parcels[4]
    # Parcels that wait for being sent, and those that can be filled besides the one that is.
    sem_t ready
    sem_t free
    # Parcels sent beside, and verdicts that the kernel refused.
    long sent
    long refused

cdef class Sender:
    # The parcel that is being filled.
    cdef Parcel *parcel
    cdef Shared *shared
    cdef long posted
    cdef pthread_t thread
    cdef bint runs
    cdef unsigned char *reserve(self, int size) noexcept
    cdef bint idle(self) noexcept
    cdef void send_here(self) noexcept
    cdef void send_beside(self) noexcept
    cdef void finish(self) noexcept
    cdef void _start(self) noexcept
    cdef long refused(self) noexcept
