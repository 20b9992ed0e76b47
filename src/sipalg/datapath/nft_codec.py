"""nf_tables' netlink language: tables, chains, sets, elements, objects, rules and the few expressions that we use.

Everything here makes bytes and knows nothing of SIP; nft_rules says which rules, nft_table sends them. Numbers are
those of include/uapi/linux/netfilter/nf_tables.h. Rules are written here rather than by a program because one
transaction then holds rules and elements, and because only the socket that owns a table may change it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from sipalg.datapath import netlink
from sipalg.datapath.netlink import Message, attribute, nested, text, u8, u16, u32

NF_TABLES: Final = 10  # NFNL_SUBSYS_NFTABLES
IPV4: Final = 2  # NFPROTO_IPV4
IPV6: Final = 10  # NFPROTO_IPV6

NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
NEW_CHAIN, DELETE_CHAIN = 3, 5
NEW_RULE, DELETE_RULE = 6, 8
NEW_SET, DELETE_SET = 9, 11
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = 12, 13, 14
NEW_OBJECT, GET_OBJECT, DELETE_OBJECT = 18, 19, 20

# NFTA_TABLE_…, and the flags of a table.
TABLE_FLAGS: Final = 2
TABLE_OWNER: Final = 7
OWNER: Final = 2
PERSIST: Final = 4

# NFTA_SET_ELEM_LIST_… and NFTA_SET_ELEM_…
LIST_ELEMENTS: Final = 3
ELEMENT_KEY: Final = 1
ELEMENT_DATA: Final = 2
ELEMENT_FLAGS: Final = 3
ELEMENT_TIMEOUT: Final = 4
ELEMENT_EXPIRATION: Final = 5
ELEMENT_USER_DATA: Final = 6
DATA_VALUE: Final = 1
_DATA_VERDICT: Final = 2
_INTERVAL_END: Final = 1

# NFT_SET_… flags.
INTERVAL: Final = 0x4
MAP: Final = 0x8
TIMEOUT: Final = 0x10
DYNAMIC: Final = 0x20  # NFT_SET_EVAL: rules may change it

# NFT_OBJECT_… and NFTA_OBJ_…
COUNTER: Final = 1
CT_TIMEOUT: Final = 7
OBJECT_NAME: Final = 2
OBJECT_TYPE: Final = 3
OBJECT_DATA: Final = 4

#: The data types that `nft list` shows keys by; concatenations take six bits each.
IPV4_ADDRESS: Final = 7
IPV6_ADDRESS: Final = 8
PROTOCOL: Final = 12
PORT: Final = 13
INTERFACE_NAME: Final = 41

# Registers of 32 bits, from NFT_REG32_00 on; NFT_REG_VERDICT is 0.
_REGISTER: Final = 8
INTERFACE_NAME_BYTES: Final = 16

_EQUAL, _NOT_EQUAL = 0, 1
_LIST_ELEMENT: Final = 1
#: User data for those who list a set: its keys are in the machine's byte order.
_KEY_IN_HOST_ORDER: Final = bytes((0, 4)) + struct.pack("=I", 1)

_MARK: Final = 3  # NFT_META_MARK
_LONGEST_S: Final = 1e9

_VERDICT_CODE = struct.Struct("!i")
_DROP, _ACCEPT, _JUMP, _GOTO, _RETURN = 0, 1, -3, -4, -5


def message(kind: int, flags: int, *attributes: bytes) -> Message:
    """Make a message of nf_tables' ip family; `nft_family` makes it another's."""
    return netlink.nfnetlink(NF_TABLES, kind, flags, *attributes, family=IPV4)


def new_table(name: str, flags: int) -> Message:
    """Make a table, or give one that exists these flags; OWNER takes over one that persisted."""
    return message(NEW_TABLE, netlink.CREATE, text(1, name), u32(TABLE_FLAGS, flags))


def delete_table(name: str) -> Message:
    """Delete a table with all that is in it."""
    return message(DELETE_TABLE, 0, text(1, name))


def get_table(name: str) -> Message:
    """Ask for a table; ENOENT when there is none."""
    return message(GET_TABLE, 0, text(1, name))


def new_chain(table: str, name: str) -> Message:
    """Make a chain that is only jumped to."""
    return message(NEW_CHAIN, netlink.CREATE, text(1, table), text(3, name))


def new_base_chain(table: str, name: str, kind: str, hook: int, priority: int) -> Message:
    """Make a chain on a hook (netfilter's number) with policy accept; `kind` is filter or nat."""
    place = nested(4, u32(1, hook), attribute(2, _VERDICT_CODE.pack(priority)))
    return message(NEW_CHAIN, netlink.CREATE, text(1, table), text(3, name), place, u32(5, 1), text(7, kind))


def flush_chain(table: str, chain: str) -> Message:
    """Delete all rules of a chain."""
    return message(DELETE_RULE, 0, text(1, table), text(2, chain))


def new_rule(table: str, chain: str, expressions: Sequence[bytes], comment: str) -> Message:
    """Append a rule; `comment`, at most 120 characters, is for those who list it."""
    note = comment.encode() + b"\0"
    return message(
        NEW_RULE,
        netlink.CREATE | netlink.APPEND,
        text(1, table),
        text(2, chain),
        nested(4, *expressions),
        attribute(7, bytes((0, len(note))) + note),
    )


def concatenated(*types: int) -> int:
    """Return the type number of a concatenation."""
    number = 0
    for one in types:
        number = number << 6 | one
    return number


def new_set(
    table: str,
    name: str,
    identity: int,
    flags: int,
    key: tuple[int, int],
    data: tuple[int, int] | None = None,
    size: int = 0,
) -> Message:
    """Make a set, or with `data` a map; `key` and `data` are (type, bytes), `identity` is unique in a transaction.

    `size` is how many elements it may have, 0 as many as there is memory for.
    """
    parts = [text(1, table), text(2, name), u32(3, flags), u32(4, key[0]), u32(5, key[1]), u32(10, identity)]
    if key[0] == INTERFACE_NAME:
        parts.append(attribute(13, _KEY_IN_HOST_ORDER))
    if data is not None:
        parts += [u32(6, data[0]), u32(7, data[1])]
    if size:
        parts.append(nested(9, u32(1, size)))
    return message(NEW_SET, netlink.CREATE, *parts)


def flush_set(table: str, name: str) -> Message:
    """Delete all elements of a set."""
    return message(DELETE_ELEMENT, 0, text(1, table), text(2, name))


def milliseconds(timeout_s: float) -> bytes:
    """Return a timeout as the kernel takes it: at least 1 ms, since 0 would be for good, and at most 30 years."""
    return int(min(max(timeout_s, 0.001), _LONGEST_S) * 1000).to_bytes(8, "big")


def element(
    key: bytes, data: bytes | None = None, timeout_s: float = 0.0, *, end: bool = False, user_data: bytes = b""
) -> bytes:
    """Make one element of an elements message; `end` marks the first key after an interval, 0 s lives for good.

    `user_data` is kept by the kernel and given back, as types, lengths and values of a byte each but the last.
    """
    parts = nested(ELEMENT_KEY, attribute(DATA_VALUE, key))
    if data is not None:
        parts += nested(ELEMENT_DATA, attribute(DATA_VALUE, data))
    if timeout_s > 0:
        parts += attribute(ELEMENT_TIMEOUT, milliseconds(timeout_s))
    if end:
        parts += u32(ELEMENT_FLAGS, _INTERVAL_END)
    if user_data:
        parts += attribute(ELEMENT_USER_DATA, user_data)
    return nested(_LIST_ELEMENT, parts)


def elements(kind: int, flags: int, table: str, name: str, members: Sequence[bytes]) -> Message:
    """Make a message that adds (NEW_ELEMENT) or deletes (DELETE_ELEMENT) elements of a set."""
    return message(kind, flags, text(1, table), text(2, name), nested(LIST_ELEMENTS, *members))


def get_elements(table: str, name: str) -> Message:
    """Ask for all elements of a set."""
    return message(GET_ELEMENT, netlink.DUMP, text(1, table), text(2, name))


def new_object(table: str, name: str, kind: int, *data: bytes) -> Message:
    """Make a named object; one that exists stays as it is."""
    return message(NEW_OBJECT, netlink.CREATE, text(1, table), text(2, name), u32(3, kind), nested(4, *data))


def delete_object(table: str, name: str, kind: int) -> Message:
    """Delete a named object that no rule refers to."""
    return message(DELETE_OBJECT, 0, text(1, table), text(2, name), u32(3, kind))


def get_objects(table: str, kind: int) -> Message:
    """Ask for all objects of a kind in a table."""
    return message(GET_OBJECT, netlink.DUMP, text(1, table), u32(3, kind))


def udp_timeouts(unreplied_s: float, replied_s: float, family: int = IPV4) -> tuple[bytes, ...]:
    """Return a ct timeout object's data: a family, UDP, and the two timeouts in whole seconds."""
    return u16(1, family), u8(2, 17), nested(3, u32(1, int(unreplied_s)), u32(2, int(replied_s)))


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(_LIST_ELEMENT, text(1, name), nested(2, *attributes))


def load_meta(key: int, register: int = 0) -> bytes:
    """Load a packet's meta datum (NFT_META_…) into a register."""
    return _expression("meta", u32(1, _REGISTER + register), u32(2, key))


def load_payload(base: int, offset: int, length: int, register: int = 0) -> bytes:
    """Load header bytes; `base` is 1 for the network header, 2 for the transport header."""
    return _expression("payload", u32(1, _REGISTER + register), u32(2, base), u32(3, offset), u32(4, length))


def load_ct(key: int) -> bytes:
    """Load a connection's datum (NFT_CT_…) into register 0."""
    return _expression("ct", u32(1, _REGISTER), u32(2, key))


def load_route(key: int) -> bytes:
    """Load a routing datum (NFT_RT_…) into register 0."""
    return _expression("rt", u32(1, _REGISTER), u32(2, key))


def load_value(value: bytes, register: int = 0) -> bytes:
    """Load these bytes into a register."""
    return _expression("immediate", u32(1, _REGISTER + register), nested(2, attribute(DATA_VALUE, value)))


def load_socket(*, mark: bool) -> bytes:
    """Load into register 0 the mark of the packet's local socket, 4 bytes, or else whether it is transparent, 1 byte.

    The rule ends here where there is none; for its mark, also where it is opening still or in TIME_WAIT.
    """
    return _expression("socket", u32(1, int(mark)), u32(2, _REGISTER))


def mask_byte(bits: int) -> bytes:
    """Keep these bits of register 0's first byte."""
    value = nested(4, attribute(DATA_VALUE, bytes((bits,))))
    return _expression(
        "bitwise", u32(1, _REGISTER), u32(2, _REGISTER), u32(3, 1), value, nested(5, attribute(1, b"\0"))
    )


def set_mark(bit: int) -> tuple[bytes, ...]:
    """Set one bit of the packet's mark, and leave the others as they are."""
    keep = nested(4, attribute(DATA_VALUE, struct.pack("=I", ~bit & 0xFFFFFFFF)))
    flip = nested(5, attribute(DATA_VALUE, struct.pack("=I", bit)))
    return (
        load_meta(_MARK),
        _expression("bitwise", u32(1, _REGISTER), u32(2, _REGISTER), u32(3, 4), keep, flip),
        _expression("meta", u32(2, _MARK), u32(3, _REGISTER)),
    )


def to_local_socket(address: bytes, port: int) -> tuple[bytes, ...]:
    """Hand the packet to the local transparent socket that it belongs to, or to the one that listens there (TPROXY).

    The rule ends here where there is neither.
    """
    loads = (load_value(address), load_value(port.to_bytes(2, "big"), 1))
    return (*loads, _expression("tproxy", u32(1, IPV4), u32(2, _REGISTER), u32(3, _REGISTER + 1)))


def note_in(name: str, timeout_s: float, *, renew: bool = False) -> bytes:
    """Add the key that begins in register 0 to a set, for some seconds; `renew` begins the time of a known one anew.

    The rule ends here where the set is full.
    """
    operation = u32(3, int(renew))
    return _expression("dynset", text(1, name), operation, u32(4, _REGISTER), attribute(6, milliseconds(timeout_s)))


def forget_in(name: str) -> bytes:
    """Take the key that begins in register 0 out of a set (NFT_DYNSET_OP_DELETE)."""
    return _expression("dynset", text(1, name), u32(3, 2), u32(4, _REGISTER))


def reset() -> bytes:
    """Answer the packet with a TCP reset, and drop it."""
    return _expression("reject", u32(1, 1))


def mask(bits: int) -> bytes:
    """Keep these bits of register 0, a number in the machine's byte order."""
    value = nested(4, attribute(DATA_VALUE, struct.pack("=I", bits)))
    zero = nested(5, attribute(DATA_VALUE, bytes(4)))
    return _expression("bitwise", u32(1, _REGISTER), u32(2, _REGISTER), u32(3, 4), value, zero)


def is_equal(value: bytes) -> bytes:
    """Go on where register 0 holds the value."""
    return _expression("cmp", u32(1, _REGISTER), u32(2, _EQUAL), nested(3, attribute(DATA_VALUE, value)))


def is_not_equal(value: bytes) -> bytes:
    """Go on where register 0 doesn't hold the value."""
    return _expression("cmp", u32(1, _REGISTER), u32(2, _NOT_EQUAL), nested(3, attribute(DATA_VALUE, value)))


def is_in(name: str, *, invert: bool = False) -> bytes:
    """Go on where the key that begins in register 0 is in the set (or isn't, inverted)."""
    flags = (u32(5, 1),) if invert else ()
    return _expression("lookup", text(1, name), u32(2, _REGISTER), *flags)


def look_up(name: str) -> bytes:
    """Replace the key that begins in register 0 by what the map holds for it; else the rule ends here."""
    return _expression("lookup", text(1, name), u32(2, _REGISTER), u32(3, _REGISTER))


def translate(*, destination: bool, family: int = IPV4, port_register: int = 1) -> bytes:
    """NAT to the address that begins in register 0 and the port in the register behind it."""
    kind = u32(1, 1 if destination else 0)
    return _expression("nat", kind, u32(2, family), u32(3, _REGISTER), u32(5, _REGISTER + port_register))


def _verdict(code: int, chain: str = "") -> bytes:
    verdict = attribute(1, _VERDICT_CODE.pack(code)) + (text(2, chain) if chain else b"")
    return _expression("immediate", u32(1, 0), nested(2, nested(_DATA_VERDICT, verdict)))


def jump(chain: str) -> bytes:
    """Go through a chain and come back."""
    return _verdict(_JUMP, chain)


def goto(chain: str) -> bytes:
    """Go through a chain instead of the rest of this one."""
    return _verdict(_GOTO, chain)


def leave() -> bytes:
    """Return from the chain; in a base chain, its policy."""
    return _verdict(_RETURN)


def use_object(kind: int, name: str) -> bytes:
    """Let a named object see the packet: count it, or give its new connection the timeouts."""
    return _expression("objref", u32(1, kind), text(2, name))


def drop() -> bytes:
    """Drop the packet."""
    return _verdict(_DROP)


def accept() -> bytes:
    """Let the packet go on to the next base chain."""
    return _verdict(_ACCEPT)


def no_track() -> bytes:
    """Keep the packet out of the connection tracker."""
    return _expression("notrack")


def queue(number: int, count: int = 1, *, bypass: bool) -> bytes:
    """Hand it to one of `count` queues, by its addresses; without a process it goes on if `bypass`, else nowhere."""
    return _expression("queue", u16(1, number), u16(2, count), u16(3, int(bypass)))


def xt_queue(number: int, count: int = 1, *, bypass: bool) -> bytes:
    """Do the same with the NFQUEUE target, revision 3 (struct xt_NFQ_info_v3), for kernels without `queue`."""
    info = struct.pack("=HHHxx", number, count, int(bypass))
    return _expression("target", text(1, "NFQUEUE"), u32(2, 3), attribute(3, info))
