"""The packet socket: copies of frames that pass the filter, as Ethernet frames with the kernel's own times.

What the kernel took off is put back: a VLAN's tag, as libpcap does; a packet of an interface without link layer gets
an Ethernet header of zeros, so that all packets of a capture are of one kind. The filter is there before the first
packet can be. On a packet's way a copy is taken here. Sources: packet(7), <linux/if_packet.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import time
from collections.abc import Mapping
from typing import Final

from sipalg.capture.records import NS_PER_S, Captured
from sipalg.sniffer.program import ETHERNET, OUTGOING, filter_bytes, program
from sipalg.sniffer.settings import Settings

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_PACKET_AUXDATA: Final = 8
_SO_ATTACH_FILTER: Final = 26
_SO_RCVBUFFORCE: Final = 33
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("qq")
#: struct tpacket_auxdata: status, length on the wire, captured length, offsets, the tag and its kind.
_AUXDATA: Final = struct.Struct("IIIHHHH")
#: struct sockaddr_ll: family, protocol, interface; the rest is for sending.
_ADDRESS: Final = struct.Struct("=H2si12x")
_STATISTICS: Final = struct.Struct("II")
_VLAN_VALID: Final = 0x10
_TAG_KIND_VALID: Final = 0x40
_VLAN: Final = 0x8100
_TAG_BYTES: Final = 4
_ETHERNET_BYTES: Final = 14
#: A second of traffic at some hundred Mbit/s while the process doesn't run.
_BUFFER_BYTES: Final = 32 << 20
_ANCILLARY_BYTES: Final = 256


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class TapError(Exception):
    """Packets can't be captured: one line for people."""


def interfaces() -> dict[str, int]:
    """Return this network namespace's interfaces with their indices."""
    return {name: index for index, name in socket.if_nameindex()}


class Tap:
    """Packets that pass the settings' filter, and `also`. Raises TapError, and ProgramError for what can't be."""

    def __init__(self, settings: Settings, present: Mapping[str, int] | None = None, also: str = "") -> None:
        present = interfaces() if present is None else present
        wanted = settings.filters["filter-interface"]
        for one in wanted:
            if one.text != "all" and one.text not in present:
                raise TapError(f"filter-interface: there is no interface {one.text}; there are {', '.join(present)}")
        instructions = program(settings, present, also)
        self._most_bytes = settings.max_packet_bytes
        #: Packets that the kernel had no room for.
        self.dropped = 0
        try:
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
            )
        except PermissionError:
            raise TapError("capturing needs CAP_NET_RAW; run it as root") from None
        try:
            self._prepare(filter_bytes(instructions), len(instructions))
            # One interface's packets come from it alone; of several, the filter tells.
            only = wanted[0].text if len(wanted) == 1 and not wanted[0].negated and wanted[0].text != "all" else ""
            _bind(self._socket, present[only] if only else 0)
        except OSError as error:
            self._socket.close()
            if error.errno == errno.ENOMEM:
                raise TapError(
                    f"the kernel has no room for a filter of {len(instructions)} instructions; use fewer entries, "
                    "or raise net.core.optmem_max"
                ) from None
            raise TapError(f"can't capture: {error.strerror or error}") from None

    def fileno(self) -> int:
        """Return what to wait on."""
        return self._socket.fileno()

    def receive(self) -> Captured | None:
        """Return the next packet, or None while there is none."""
        while True:
            try:
                data, ancillary, _, (name, protocol, kind, hardware, _) = self._socket.recvmsg(
                    self._most_bytes, _ANCILLARY_BYTES
                )
            except BlockingIOError:
                return None
            except OSError as error:
                # An interface that goes down says so once.
                if error.errno in (errno.ENETDOWN, errno.EINTR):
                    continue
                return None
            time_ns, wire_bytes, tag = _read(ancillary, len(data))
            frame = data
            if hardware not in ETHERNET:
                frame = bytes(12) + protocol.to_bytes(2, "big") + frame
                wire_bytes += _ETHERNET_BYTES
            elif tag and len(frame) >= 12:
                frame = frame[:12] + tag + frame[12:]
                wire_bytes += _TAG_BYTES
            return Captured(time_ns, frame[: self._most_bytes], wire_bytes, name, kind == OUTGOING)

    def count_dropped(self) -> int:
        """Return how many packets the kernel had no room for so far."""
        answer = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        self.dropped += _STATISTICS.unpack(answer)[1]
        return self.dropped

    def close(self) -> None:
        """Capture no more."""
        self._socket.close()

    def _prepare(self, instructions: bytes, count: int) -> None:
        held = ctypes.create_string_buffer(instructions)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", count, ctypes.addressof(held)))
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)


def _bind(packets: socket.socket, index: int) -> None:
    """Begin to receive from an interface, or from all for 0, which socket.bind has no name for."""
    address = _ADDRESS.pack(socket.AF_PACKET, _ETH_P_ALL.to_bytes(2, "big"), index)
    if _LIBC.bind(packets.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _read(ancillary: list[tuple[int, int, bytes]], size_bytes: int) -> tuple[int, int, bytes]:
    """Return the time, the size on the wire, and the tag that was taken off."""
    time_ns, wire_bytes, tag = 0, size_bytes, b""
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(value) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            time_ns = seconds * NS_PER_S + nanoseconds
        elif (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA) and len(value) >= _AUXDATA.size:
            status, wire_bytes, _, _, _, control, tag_kind = _AUXDATA.unpack_from(value)
            if status & _VLAN_VALID:
                tag = struct.pack("!HH", tag_kind if status & _TAG_KIND_VALID else _VLAN, control)
    return time_ns or time.time_ns(), wire_bytes, tag
