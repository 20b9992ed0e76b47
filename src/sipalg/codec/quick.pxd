# What other machine code calls of codec/quick.py: the lines of a header, each noted where it begins.
from sipalg.codec.search cimport Marks

# What a header says of the body: Content-Length's digits and what they mean, where Content-Type's value begins,
# whether there is a Content-Encoding, and whether the last line was a Content-Length of 0.
cdef struct Body:
    char *digits
    char *digits_end
    long length
    Py_ssize_t kind
    bint encoded
    bint last_says_empty

# Note the lines from the start line's newline on; where the blank line begins, NULL where only the codec can tell.
cdef char *header_end(char *text, char *newline, char *end, Marks *marks, Body *body) noexcept
