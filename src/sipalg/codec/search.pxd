# What codec/quick.py calls of the C library beyond the standard.
cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <string.h>
    """
    void *memmem(const void *text, size_t size, const void *wanted, size_t wanted_size)
    void *memrchr(const void *text, int byte, size_t size)
