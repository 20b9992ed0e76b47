# What other machine code calls of codec/quick_names.py: what fields name, as spans of the text.
from sipalg.codec.search cimport Span

cdef void word_at(char *at, Span *word) noexcept
cdef bint cseq_at(char *at, long *number, Span *method) noexcept
cdef bint address_of_record_at(char *at, Span *uri) noexcept
cdef long expires_at(char *at) noexcept
