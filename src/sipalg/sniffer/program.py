"""The filter that the kernel runs for the sniffer: libpcap's programs behind tests of what isn't in the packet.

libpcap compiles what its language can say. Interface, direction, processor and a VLAN tag that the kernel has taken
off the frame are tested by instructions of ours in front, from the kernel's own words for them (SKF_AD_*,
<linux/filter.h>). Then there are three ways: an Ethernet frame whose tag was taken off, one as it is, and a packet of
an interface without link layer. On a packet's way this decides whether a copy is made at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Final, NamedTuple

import pcapy

from sipalg.sniffer import filters
from sipalg.sniffer.filters import Entry
from sipalg.sniffer.settings import Settings

#: code, jump if true, jump if false, k.
Instruction = tuple[int, int, int, int]

_INSTRUCTION: Final = Struct("=HBBI")
#: <linux/bpf_common.h>: LD|W|ABS, ALU|AND|K, JMP|JEQ|K, JMP|JA, RET|K.
_LOAD: Final = 0x20
_AND: Final = 0x54
_JUMP_IF_EQUAL: Final = 0x15
_JUMP: Final = 0x05
_RETURN: Final = 0x06
#: SKF_AD_OFF, and what stands there.
_ANCILLARY: Final = 0xFFFFF000
_PACKET_TYPE: Final = _ANCILLARY + 4
_INTERFACE: Final = _ANCILLARY + 8
_HARDWARE: Final = _ANCILLARY + 28
_CPU: Final = _ANCILLARY + 36
_VLAN_TAG: Final = _ANCILLARY + 44
_VLAN_PRESENT: Final = _ANCILLARY + 48
#: PACKET_OUTGOING, <linux/if_packet.h>.
OUTGOING: Final = 4
#: ARPHRD_*, <linux/if_arp.h>: Ethernet; loopback has its header too. Below: those whose packets begin with IP.
_ARPHRD_ETHER: Final = 1
_ARPHRD_LOOPBACK: Final = 772
ETHERNET: Final = (_ARPHRD_ETHER, _ARPHRD_LOOPBACK)
_PLAIN_IP: Final = (512, 519, 768, 769, 776, 778, 823, 65534)
#: What a tag in a frame begins with: 802.1Q, 802.1ad and the old way; libpcap's `vlan` takes the same.
_TAGS: Final = (0x8100, 0x88A8, 0x9100)
#: BPF_MAXINSNS.
_MOST_INSTRUCTIONS: Final = 4096
_REJECT: Final[Instruction] = (_RETURN, 0, 0, 0)


class ProgramError(Exception):
    """The filters can't be made into a program: one line for people."""


class Literal(NamedTuple):
    """A number that something is, or is not."""

    negated: bool
    number: int


def program(settings: Settings, interfaces: Mapping[str, int], also: str = "") -> list[Instruction]:
    """Return the filter; `interfaces` has the index of each that the settings name. Raises ProgramError.

    `also` is an expression of libpcap's that has to hold besides.
    """
    snaplen = settings.max_packet_bytes
    made = [
        *_interface_test(settings, interfaces),
        *_test([_load(_CPU)], _literals(settings.filters["filter-cpu"], filters.cpu), settings.operator),
        *_direction_test(settings.direction),
    ]
    exclude = [filters.stream_of(*settings.server)] if settings.server and settings.filter_stream else []
    wanted = filters.expression(settings.filters, settings.operator, exclude)
    if also:
        wanted = f"({wanted}) and ({also})" if wanted else also
    vlans = _literals(settings.filters["filter-vlan"], filters.vlan)
    tagged = [
        *_test([_load(_VLAN_TAG), (_AND, 0, 0, 0xFFF)], vlans, settings.operator),
        *compiled(pcapy.DLT_EN10MB, wanted, snaplen),
    ]
    as_it_is = compiled(pcapy.DLT_EN10MB, _with_tag_in_frame(wanted, vlans, settings.operator), snaplen)
    ethernet: list[Instruction] = [
        _load(_VLAN_PRESENT),
        (_JUMP_IF_EQUAL, 0, 1, 0),
        (_JUMP, 0, 0, len(tagged)),
        *tagged,
        *as_it_is,
    ]
    kinds = [(_JUMP_IF_EQUAL, len(ETHERNET) - index, 0, kind) for index, kind in enumerate(ETHERNET)]
    made += [_load(_HARDWARE), *kinds, (_JUMP, 0, 0, len(ethernet)), *ethernet]
    return _checked([*made, *_plain_ip(settings, wanted, vlans, snaplen)])


def _plain_ip(settings: Settings, wanted: str, vlans: Sequence[Literal], snaplen: int) -> list[Instruction]:
    """Return the part for interfaces without link layer; A still holds the kind of interface."""
    ethernet = any(settings.filters[key] for key in filters.ETHERNET_ONLY)
    if ethernet or (vlans and not _untagged_passes(vlans, settings.operator)):
        return [_REJECT]
    body = compiled(pcapy.DLT_RAW, wanted, snaplen)
    return [*_test([], [Literal(False, kind) for kind in _PLAIN_IP], "or"), *body]


def filter_bytes(instructions: Sequence[Instruction]) -> bytes:
    """Return a program as SO_ATTACH_FILTER's array."""
    return b"".join(_INSTRUCTION.pack(*one) for one in instructions)


def compiled(link_type: int, text: str, snaplen: int) -> list[Instruction]:
    """Return libpcap's program for an expression; one that nothing can fulfil rejects. Raises ProgramError."""
    try:
        return [_instruction(one) for one in pcapy.compile(link_type, snaplen, text, 1, 0xFFFFFFFF).get_bpf()]
    except (pcapy.PcapError, pcapy.BPFError) as error:
        if "rejects all" in str(error):
            return [_REJECT]
        raise ProgramError(f"libpcap can't make a filter of these settings: {error}") from None


def _instruction(one: tuple[int, int, int, int]) -> Instruction:
    code, when_true, when_false, k = one
    return code, when_true, when_false, k & 0xFFFFFFFF


def _with_tag_in_frame(wanted: str, vlans: Sequence[Literal], operator: str) -> str:
    """Return the expression for frames as they are, where a tag may stand in the frame.

    libpcap reads all behind the word `vlan` with the offsets that a tag makes (pcap-filter(7)), so it comes last.
    """
    if not wanted and not vlans:
        return ""
    tests = f" {operator} ".join(f"ether[14:2] & 0xfff {'!=' if one.negated else '='} {one.number}" for one in vlans)
    inside = " and ".join(["vlan", *(f"({part})" for part in (tests, wanted) if part)])
    if vlans and not _untagged_passes(vlans, operator):
        return inside
    # Else what isn't so in a frame without tag would hold for each that has one.
    untagged = " and ".join([*(f"not ether proto {kind}" for kind in _TAGS), *([f"({wanted})"] if wanted else [])])
    return f"({untagged}) or ({inside})"


def _untagged_passes(vlans: Sequence[Literal], operator: str) -> bool:
    """What has no tag is in none of the VLANs."""
    return (any if operator == "or" else all)(one.negated for one in vlans)


def _literals(wanted: Sequence[Entry], read: Callable[[str], int]) -> list[Literal]:
    return [Literal(one.negated, read(one.text)) for one in wanted]


def _load(k: int) -> Instruction:
    return _LOAD, 0, 0, k


def _test(load: Sequence[Instruction], literals: Sequence[Literal], operator: str) -> list[Instruction]:
    """Return a test that goes on behind itself where the literals hold, and rejects where not; none for none."""
    if not literals:
        return []
    found = list(load)
    for index, one in enumerate(literals):
        left = len(literals) - index - 1
        if operator == "or":
            # The first that holds jumps behind the rejection.
            jumps = (0, left + 1) if one.negated else (left + 1, 0)
        else:
            # The first that doesn't hold jumps to the rejection.
            jumps = (left + 1, 0) if one.negated else (0, left + 1)
        found.append((_JUMP_IF_EQUAL, *jumps, one.number))
    return [*found, _REJECT] if operator == "or" else [*found, (_JUMP, 0, 0, 1), _REJECT]


def _interface_test(settings: Settings, interfaces: Mapping[str, int]) -> list[Instruction]:
    wanted = settings.filters["filter-interface"]
    if any(one.text == "all" and not one.negated for one in wanted):
        return []
    literals = [Literal(one.negated, interfaces.get(one.text, 0)) for one in wanted]
    return _test([_load(_INTERFACE)], literals, settings.operator)


def _direction_test(direction: str) -> list[Instruction]:
    if direction == "any":
        # On loopback each packet goes out and comes in: once is enough.
        skip: Instruction = (_JUMP_IF_EQUAL, 0, 3, _ARPHRD_LOOPBACK)
        return [_load(_HARDWARE), skip, _load(_PACKET_TYPE), (_JUMP_IF_EQUAL, 0, 1, OUTGOING), _REJECT]
    return _test([_load(_PACKET_TYPE)], [Literal(direction == "rx", OUTGOING)], "or")


def _checked(made: list[Instruction]) -> list[Instruction]:
    if len(made) > _MOST_INSTRUCTIONS:
        raise ProgramError(
            f"the filters need {len(made)} instructions, and the kernel takes {_MOST_INSTRUCTIONS}; use fewer entries"
        )
    return made
