# What datapath/sending.py needs of the C library, one more thread and what the two wait for; and what they share.

cdef extern from "signal.h" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t *signals)

cdef extern from "pthread.h" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t *thread, void *attributes, void *(*begin)(void *) noexcept nogil, void *argument)
    int pthread_join(pthread_t thread, void **result)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)

cdef extern from "semaphore.h" nogil:
    ctypedef struct sem_t:
        pass
    int sem_init(sem_t *semaphore, int shared, unsigned int value)
    int sem_destroy(sem_t *semaphore)
    int sem_post(sem_t *semaphore)
    int sem_wait(sem_t *semaphore)
    int sem_trywait(sem_t *semaphore)

cdef enum:
    # As many verdicts as one `send` carries, and as many such loads as may be on their way.
    MOST = 32
    TRAYS = 4

cdef struct Tray:
    unsigned char *at
    int bytes
    int count
    # Where each verdict begins, and where the last one ends.
    int begins[MOST + 1]

cdef struct Belt:
    int fd
    Tray trays[TRAYS]
    # Trays that the other thread is to send, and trays that it has sent.
    sem_t handed
    sem_t done
    int stop
    # Verdicts that didn't get through.
    long refused
