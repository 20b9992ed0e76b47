# What datapath/batch.py calls of the C library.
from libc.stdint cimport uint32_t

cdef extern from "sys/uio.h" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "sys/socket.h" nogil:
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen

    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    int MSG_DONTWAIT
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    ssize_t send(int fd, const void *data, size_t size, int flags)

cdef extern from "arpa/inet.h" nogil:
    uint32_t htonl(uint32_t value)
    uint32_t ntohl(uint32_t value)
