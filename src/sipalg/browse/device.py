"""SIP on the router's own interfaces for `sipalg calls --device`: what the kernel is asked for, and taking it.

The kernel's filter leaves voice out: a datagram comes here only if it begins as text does. TCP comes from SIP's usual
ports alone, since most of a router's TCP is something else. On a packet's way copies are taken here. Sources: RFC 3261
§7 (a message begins with text), RFC 3550 §5.1 (RTP doesn't).
"""

from __future__ import annotations

import select
import signal
from collections.abc import Callable, Sequence
from typing import Final

from sipalg.browse.live import LiveCalls
from sipalg.capture.pcap import CaptureError
from sipalg.sniffer.program import ProgramError
from sipalg.sniffer.settings import settings_of
from sipalg.sniffer.tap import Tap, TapError

#: UDP over IPv4 and IPv6 whose first byte is ASCII's; later pieces of fragmented packets; TCP of SIP.
SIP_LIKE: Final = (
    "udp[8] < 128 or (ip6[6] = 17 and ip6[48] < 128) or ip[6:2] & 0x1fff != 0 or ip6[6] = 44"
    " or tcp portrange 5060-5080"
)
#: tcpdump's word for all interfaces, beside RouterOS's.
_ANY: Final = "any"
_AT_ONCE: Final = 64
_LOOK_EACH_S: Final = 0.2


class Device:
    """Some interfaces, or all; `calls` has what was heard there. Raises CaptureError."""

    def __init__(self, names: Sequence[str]) -> None:
        wanted = ",".join("all" if name == _ANY else name for name in names)
        try:
            settings = settings_of({"filter-interface": wanted, "max-packet-size": "65535"})
            self._tap = Tap(settings, also=SIP_LIKE)
        except (ValueError, ProgramError, TapError) as error:
            raise CaptureError(f"--device: {str(error).removeprefix('filter-interface: ')}") from None
        self.calls = LiveCalls(", ".join(names))

    def fileno(self) -> int:
        """Return what to wait on."""
        return self._tap.fileno()

    def take(self) -> None:
        """Take what has come, but not for long."""
        for _ in range(_AT_ONCE):
            packet = self._tap.receive()
            if packet is None:
                break
            self.calls.take(packet)
        self.calls.dropped = self._tap.count_dropped()

    def close(self) -> None:
        """Hear no more."""
        self._tap.close()


def listen(device: Device, begun: Callable[[], None]) -> None:
    """Take packets until Ctrl-C or SIGTERM; `begun` is called when they would be heard."""
    pressed: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda one, _frame: pressed.append(one)) for number in numbers]
    try:
        begun()
        while not pressed:
            if select.select([device], [], [], _LOOK_EACH_S)[0]:
                device.take()
        device.take()
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
