# What datapath/sending.py has for datapath/batch.py.
from sipalg.datapath.threads cimport Belt, pthread_t

cdef class Sender:
    cdef Belt belt
    cdef pthread_t thread
    # 0: not begun, 1: runs, -1: there is to be none.
    cdef int helper
    # The tray that is being filled, and how many before it the other thread has.
    cdef int filling
    cdef int ahead

    cdef unsigned char *reserve(self, int size) noexcept
    cdef void pass_on(self, bint more) noexcept
    cdef void settle(self) noexcept
    cdef void _hand_over(self) noexcept
    cdef void _begin(self) noexcept
