"""A capture without tcpdump, for where tcpdump can't be: `python -m sipalg.lab.sniff INTERFACE FILE`.

tcpdump insists on becoming another user when it is started as root, and in an unprivileged user namespace there is
only one. This takes its place there and writes the same file: UDP and TCP over IPv4, each packet at once. On a
packet's way it stands beside one of the router's interfaces.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final

ETH_P_ALL: Final = 3  # <linux/if_ether.h>
_ETHERNET: Final = 1
_SNAPLEN_BYTES: Final = 262144
_BUFFER_BYTES: Final = 16 << 20
_FILE_HEADER: Final = Struct("<IHHiIII")
_RECORD: Final = Struct("<IIII")
#: TCP and UDP.
_KEPT: Final = (b"\x06", b"\x11")


def is_udp_or_tcp(frame: bytes) -> bool:
    """Whether an Ethernet frame holds UDP or TCP over IPv4, or over IPv6 without extension headers."""
    if frame[12:14] == b"\x08\x00":
        return frame[23:24] in _KEPT
    return frame[12:14] == b"\x86\xdd" and frame[20:21] in _KEPT


def write_header(file: BinaryIO) -> None:
    """Write a pcap file's header: microseconds, Ethernet (draft-ietf-opsawg-pcap, section 4)."""
    file.write(_FILE_HEADER.pack(0xA1B2C3D4, 2, 4, 0, 0, _SNAPLEN_BYTES, _ETHERNET))
    file.flush()


def write_frame(file: BinaryIO, frame: bytes, time_ns: int) -> None:
    """Write one frame with its time, so that a reader sees it at once (the same, section 5)."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    file.write(_RECORD.pack(seconds, rest_ns // 1000, len(frame), len(frame)) + frame)
    file.flush()


def sniff(interface: str, file: BinaryIO) -> None:
    """Write what passes an interface to a file, until a signal ends the process."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as packets:
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        packets.bind((interface, ETH_P_ALL))
        write_header(file)
        print(f"listening on {interface}", flush=True)
        while True:
            frame = packets.recv(_SNAPLEN_BYTES)
            if is_udp_or_tcp(frame):
                write_frame(file, frame, time.time_ns())


if __name__ == "__main__":
    with Path(sys.argv[2]).open("wb") as target:
        sniff(sys.argv[1], target)
