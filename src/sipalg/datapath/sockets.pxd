# What datapath/batch.py and quick_flows.py call of the C library.
from libc.stdint cimport uint16_t, uint32_t

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

    int AF_INET
    int MSG_DONTWAIT
    int MSG_PEEK
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    ssize_t recv(int fd, void *data, size_t size, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)

cdef extern from "arpa/inet.h" nogil:
    uint16_t htons(uint16_t value)
    int inet_pton(int family, const char *text, void *address)
    uint32_t htonl(uint32_t value)
    uint32_t ntohl(uint32_t value)
