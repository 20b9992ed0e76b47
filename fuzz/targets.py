"""The fuzz targets by name: what the driver, the corpus' replay and the documentation call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fuzz.captures import check_capture
from fuzz.engine import check_engine
from fuzz.parsers import check_message, check_sdp

#: name → a function of one input that raises where a rule is broken.
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "message": check_message,
    "sdp": check_sdp,
    "engine": check_engine,
    "capture": check_capture,
}
