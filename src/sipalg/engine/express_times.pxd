# What other machine code calls of engine/express_times.py.
from sipalg.codec.search cimport Marks
from sipalg.engine.express_rows cimport Row
from sipalg.engine.express_texts cimport Passing

cdef bint asks(Passing *passing, Row *row, Marks *marks, long lifetime_s) noexcept
cdef bint renews(
    Passing *passing, Row *row, Marks *marks, long lifetime_s, double timeout_s
) noexcept
cdef bint is_recorded(Row *row, double now) noexcept
