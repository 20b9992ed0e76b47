# What other machine code calls of codec/quick_edits.py: the addresses in a Via and a Contact.

# One address of a Contact: where its host and port stand, its port, its own lifetime in seconds (-1 without one),
# whether it asks for TCP, and where the next one of the list begins, NULL after the last.
cdef struct Address:
    char *start
    char *host_end
    char *end
    int port
    bint over_tcp
    long expires_s
    char *following

# The host that is looked for in a message's text, with the port that goes with it, and whether by TCP.
cdef struct Host:
    char *text
    char *name
    Py_ssize_t size
    int port
    bint over_tcp

cdef bint is_host(Address *address, Host *host) noexcept
cdef bint sent_by(Host *host, char *at, Address *address) noexcept
cdef bint read_contact(char *at, Address *address) noexcept
cdef bint names(Host *host, char *at) noexcept
cdef bint is_elsewhere(Host *host, char *head, char *limit) noexcept
cdef char *line_end(char *at) noexcept
cdef char *read_port(char *at, char *end, int *port) noexcept
