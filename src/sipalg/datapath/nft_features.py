"""What this kernel's nf_tables has of that which some kernels lack, found out by trying without commit.

Asked once, at start. The kernel is asked and not modelled; the one exception is the release from which adding an
element that stands renews its time, since that can't be tried without changing something.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Final, NamedTuple

from sipalg.datapath import nft_codec as nft
from sipalg.datapath.netlink import Message, NetlinkError, NetlinkSocket

_PREROUTING, _FORWARD = 0, 2
_SECPATH: Final = 25  # NFT_META_SECPATH
_RT_XFRM: Final = 4  # NFT_RT_XFRM

#: Goes on where the packet goes into a tunnel of IPsec's, or came out of one.
IPSEC_OUT: Final = (nft.load_route(_RT_XFRM), nft.is_equal(b"\1"))
IPSEC_IN: Final = (nft.load_meta(_SECPATH), nft.is_equal(b"\1"))

#: Since this release, adding an element that stands renews its time; before, it did nothing.
_TIMEOUT_UPDATE: Final = (6, 12)


class Features(NamedTuple):
    """What this kernel has of that which some lack."""

    #: A table that survives `flush ruleset` and its owner (6.9).
    owner_persist: bool
    #: nft's queue expression, else the xt NFQUEUE target is taken.
    queue_expression: bool
    #: Timeout policies as objects.
    ct_timeout: bool
    #: `rt ipsec` (5.0), and `meta secpath`.
    route_ipsec: bool
    secpath: bool
    #: Adding an element that stands renews its time (6.12).
    timeout_update: bool
    #: What the relay for TCP needs: TPROXY, matching by socket, sets that rules take from, resets.
    relay: bool = True


def find_features(sock: NetlinkSocket) -> Features:
    """Find out what the kernel has, by trying without commit; raises NetlinkError as NftTable does."""
    messages, tried = probe()
    errors = sock.attempt(messages, commit=False)
    for index in range(-1, tried[0]):
        if index in errors:
            raise errors[index]
    owner, queue, timeout, route, secpath, target, tproxy, reject = (index not in errors for index in tried)
    if not queue and not target:
        detail = "the kernel has neither nft's queue expression nor the NFQUEUE target"
        raise NetlinkError(errno.EOPNOTSUPP, -1, detail)
    renews = kernel_release() >= _TIMEOUT_UPDATE
    return Features(owner, queue, timeout, route, secpath, renews, tproxy and reject)


def kernel_release() -> tuple[int, int]:
    """Return the kernel's major and minor number; (0, 0) when its release doesn't begin with them."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


_PROBE: Final = "sipalg_probe"


def probe() -> tuple[tuple[Message, ...], tuple[int, ...]]:
    """Return messages that find out Features when they are tried without commit, and the index of each feature's."""
    chains = (("forward", _FORWARD), ("prerouting", _PREROUTING))
    made = (nft.new_base_chain(_PROBE, name, "filter", hook, 200) for name, hook in chains)
    known = nft.new_set(_PROBE, "known", 1, nft.TIMEOUT | nft.DYNAMIC, (nft.IPV4_ADDRESS, 4), size=1)
    common = (nft.new_table(_PROBE, 0), *made, known)
    forget = (nft.load_payload(1, 12, 4), nft.forget_in("known"))
    tproxy = (nft.load_socket(mark=False), *nft.to_local_socket(bytes(4), 1))
    one_each = (
        nft.new_table(_PROBE + "_owner", nft.OWNER | nft.PERSIST),
        nft.new_rule(_PROBE, "forward", (nft.queue(0, bypass=True),), "queue"),
        nft.new_object(_PROBE, "timeout", nft.CT_TIMEOUT, *nft.udp_timeouts(30, 180)),
        nft.new_rule(_PROBE, "forward", IPSEC_OUT, "rt ipsec"),
        nft.new_rule(_PROBE, "forward", IPSEC_IN, "meta secpath"),
        nft.new_rule(_PROBE, "forward", (nft.xt_queue(0, bypass=True),), "xt NFQUEUE"),
        nft.new_rule(_PROBE, "prerouting", tproxy, "tproxy"),
        nft.new_rule(_PROBE, "forward", (*forget, nft.reset()), "reject"),
    )
    return common + one_each, tuple(range(len(common), len(common) + len(one_each)))
