"""The engine's commands as elements of our table's sets, and those as netlink messages.

Between the executor and `nft_table`, on every command's way into the maps: which elements a mapping is made of, how
each is opened, renewed or closed, and what is left to try when the kernel refuses some. Pure code; compiled with the
packet path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sipalg.codec.machine import new
from sipalg.datapath import netlink, nft_codec, nft_family
from sipalg.datapath.netlink import Message
from sipalg.datapath.nft_family import IPV4, IPV6
from sipalg.datapath.nft_frames import ElementFrame
from sipalg.datapath.nft_rules import (
    DIRECT_MEDIA,
    DNAT_MAP,
    MEDIA_MAP,
    SIP_PEERS,
    SIP_PRIVATE,
    SIP_PUBLIC,
    SNAT_MAP,
    frames,
)
from sipalg.engine.verdict import AdmitPeer, CloseMapping, DismissPeer, OpenMapping, RefreshMapping

MapCommand = OpenMapping | RefreshMapping | CloseMapping | AdmitPeer | DismissPeer

_NEW: Final = nft_codec.NF_TABLES << 8 | nft_codec.NEW_ELEMENT
#: An element that is added only to be deleted in the same transaction, so that deleting never misses it.
_MOMENT_S: Final = 1.0

#: New, or there with the same value; the same, and its time begins anew; the same, but new; gone or absent.
OPEN: Final = "open"
RENEW: Final = "renew"
REPLACE: Final = "replace"
CLOSE: Final = "close"


class Step(NamedTuple):
    """One element of one set, opened, renewed, replaced or closed (`kind`), for the command at place `command`.

    `address_bytes` tells its family; `user_data` is what a mapping is for.
    """

    command: int
    set_name: str
    key: bytes
    data: bytes
    timeout_s: float
    kind: str
    address_bytes: int
    user_data: bytes = b""


class ElementWriter:
    """Makes the messages about elements of one table's sets; `renews` where the kernel gives elements other times."""

    def __init__(self, table: str, renews: bool) -> None:
        self._table = table
        self._renews = renews
        self._frames: dict[int, dict[str, ElementFrame]] = {
            family.address_bytes: frames(table, family) for family in (IPV4, IPV6)
        }

    def messages(self, step: Step) -> list[Message]:
        """Return the messages of one step."""
        _, name, key, data, timeout_s, kind, address_bytes, user_data = step
        body = self._frames[address_bytes][name].body(key, data, timeout_s, user_data)
        if kind == OPEN:
            return [new(Message, (_NEW, netlink.CREATE | netlink.EXCLUSIVE, body, 0))]
        add = new(Message, (_NEW, netlink.CREATE, body, 0))
        if kind == RENEW and self._renews:
            return [add]
        # Added first, which fails where it stands with another value, an element can be deleted for sure, and what
        # is added then begins its time anew, on every kernel.
        delete = nft_codec.elements(nft_codec.DELETE_ELEMENT, 0, self._table, name, [nft_codec.element(key)])
        if address_bytes == IPV6.address_bytes:
            delete = IPV6.message(delete)
        return [add, delete] if kind == CLOSE else [add, delete, add]


def steps_of(index: int, command: MapCommand) -> list[Step]:
    """Return the elements that a command is about; ValueError where its addresses are no IP literals of one family."""
    mapping = command.mapping
    protocol, private, public, purpose, adopted = mapping
    public_host = nft_family.address(public.host)
    size = len(public_host)
    inward = nft_family.key(protocol, public_host, public.port)
    if isinstance(command, AdmitPeer | DismissPeer):
        peer = inward + _of_size(command.peer, size)
        if isinstance(command, AdmitPeer):
            return [Step(index, SIP_PEERS, peer, b"", command.timeout_s, RENEW, size)]
        return [Step(index, SIP_PEERS, peer, b"", _MOMENT_S, CLOSE, size)]
    if isinstance(command, CloseMapping):
        kind, timeout_s = CLOSE, _MOMENT_S
    else:
        kind, timeout_s = (OPEN if isinstance(command, OpenMapping) else RENEW), command.timeout_s
    private_host = _of_size(private.host, size)
    outward = nft_family.key(protocol, private_host, private.port)
    there, back = nft_family.end(public_host, public.port), nft_family.end(private_host, private.port)
    kept = nft_family.KINDS[purpose, adopted]
    steps = [new(Step, (index, SNAT_MAP, outward, there, timeout_s, kind, size, kept))]
    if purpose == "direct":
        steps.append(new(Step, (index, DIRECT_MEDIA, outward, b"", timeout_s, kind, size, b"")))
    elif not adopted:
        name = DNAT_MAP if purpose == "sip" else MEDIA_MAP
        steps.append(new(Step, (index, name, inward, back, timeout_s, kind, size, b"")))
        if purpose == "sip":
            steps.append(new(Step, (index, SIP_PUBLIC, inward, b"", timeout_s, kind, size, b"")))
    if purpose == "sip":
        steps.append(new(Step, (index, SIP_PRIVATE, outward, b"", timeout_s, kind, size, b"")))
    return steps


def without_what_stands(steps: Sequence[Step], failed: set[int]) -> list[Step] | None:
    """Return what to try instead: to renew what could not be opened anew, and to leave what isn't ours to close.

    A mapping that stands is replaced, since renewing it would leave it what it was for. None when there is nothing
    left to try: something other than an opening or a closing failed.
    """
    if not failed or any(number < 0 or steps[number].kind in (RENEW, REPLACE) for number in failed):
        return None
    again = []
    for number, step in enumerate(steps):
        if step.kind == OPEN:
            again.append(step._replace(kind=REPLACE if step.user_data else RENEW))
        elif number not in failed:
            again.append(step)
    return again


def _of_size(host: str, size: int) -> bytes:
    address = nft_family.address(host)
    if len(address) != size:
        raise ValueError(f"not an address of the mapping's IP version: {host!r}")
    return address
