"""The fuzz targets by name: what the driver, the corpus' replay and the documentation call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fuzz.builds import check_builds
from fuzz.captures import check_capture
from fuzz.engine import check_engine
from fuzz.kernel import check_netlink
from fuzz.parsers import check_message, check_sdp
from fuzz.people import check_control
from fuzz.streams import check_stream

#: name → a function of one input that raises where a rule is broken.
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "message": check_message,
    "sdp": check_sdp,
    "stream": check_stream,
    "engine": check_engine,
    "builds": check_builds,
    "netlink": check_netlink,
    "capture": check_capture,
    "control": check_control,
}
