from __future__ import annotations

import errno

from sipalg.datapath.netlink_error import NetlinkError


def test_an_error_says_why_and_which() -> None:
    error = NetlinkError(errno.EEXIST, 3)
    assert (error.errno, error.index, error.strerror) == (errno.EEXIST, 3, "File exists")
    assert NetlinkError(errno.EPERM).index == 0
    assert str(NetlinkError(errno.EINVAL, detail="no such set")) == "[Errno 22] no such set"
