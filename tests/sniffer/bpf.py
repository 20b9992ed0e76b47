"""The kernel's part: classic BPF, run on a frame and what the kernel knows besides (a model of net/core/filter.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ANCILLARY = 0xFFFFF000
MASK = 0xFFFFFFFF
PACKET_TYPE, INTERFACE, HARDWARE, CPU, VLAN_TAG, VLAN_PRESENT = (ANCILLARY + one for one in (4, 8, 28, 36, 44, 48))
SIZES = {0x00: 4, 0x08: 2, 0x10: 1}


class _OutOfPacketError(Exception):
    pass


def run(program: Sequence[tuple[int, int, int, int]], frame: bytes, known: Mapping[int, int]) -> int:
    """How many bytes the program takes of the frame; 0: not at all."""
    try:
        return _run(program, frame, known)
    except _OutOfPacketError:
        return 0


def _load(frame: bytes, at: int, size: int, known: Mapping[int, int]) -> int:
    if at >= ANCILLARY:
        return known[at]
    if at + size > len(frame):
        raise _OutOfPacketError
    return int.from_bytes(frame[at : at + size], "big")


def _run(program: Sequence[tuple[int, int, int, int]], frame: bytes, known: Mapping[int, int]) -> int:
    a = x = at = 0
    memory = [0] * 16
    while True:
        code, when_true, when_false, k = program[at]
        at += 1
        kind, mode = code & 7, code & 0xE0
        if kind == 0:
            if mode == 0x00:
                a = k
            elif mode == 0x20:
                a = _load(frame, k, SIZES[code & 0x18], known)
            elif mode == 0x40:
                a = _load(frame, (x + k) & MASK, SIZES[code & 0x18], known)
            elif mode == 0x60:
                a = memory[k]
            else:
                assert mode == 0x80
                a = len(frame)
        elif kind == 1:
            if mode == 0x00:
                x = k
            elif mode == 0x60:
                x = memory[k]
            elif mode == 0x80:
                x = len(frame)
            else:
                assert mode == 0xA0
                x = (_load(frame, k, 1, known) & 15) * 4
        elif kind in (2, 3):
            memory[k] = a if kind == 2 else x
        elif kind == 4:
            operand = x if code & 8 else k
            results = {
                0x00: a + operand, 0x10: a - operand, 0x20: a * operand, 0x40: a | operand, 0x50: a & operand,
                0x60: a << (operand & 31), 0x70: a >> (operand & 31), 0x80: -a, 0xA0: a ^ operand,
            }  # fmt: skip
            a = results[code & 0xF0] & MASK
        elif kind == 5:
            operand = x if code & 8 else k
            if code & 0xF0 == 0:
                at += k
                continue
            holds = {0x10: a == operand, 0x20: a > operand, 0x30: a >= operand, 0x40: bool(a & operand)}[code & 0xF0]
            at += when_true if holds else when_false
        elif kind == 6:
            return a if code & 0x18 == 0x10 else k
        elif code & 0xF8 == 0:
            x = a
        else:
            a = x
