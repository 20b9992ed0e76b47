"""`sipmessage`, an independent SIP parser in Python, over the benchmarks' messages: what to compare the engine with.

It parses a message and reads what an ALG has to know of it: Via, From, To, Call-ID, CSeq and Contact. That is no more
than a part of what the engine does with a message, and none of the SDP. Beside a packet's way.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import time
from collections.abc import Sequence
from importlib import metadata
from statistics import median
from typing import Final, NamedTuple

from bench.corpus import Corpus, inside
from bench.template import SEQUENCE_FIRST

_PARSER: Final = importlib.import_module("sipmessage") if importlib.util.find_spec("sipmessage") else None
#: What is parsed.
KINDS: Final = ("REGISTER", "401", "200 REGISTER", "INVITE", "200 INVITE", "BYE", "OPTIONS", "ICE INVITE")


def version() -> str:
    """Return its version, "" where it isn't installed."""
    return metadata.version("sipmessage") if _PARSER is not None else ""


class Scale(NamedTuple):
    """One kind: µs a message that it reads, and the share (0–1) of the messages that it reads at all."""

    median_us: float
    readable: float


def measure(corpus: Corpus, rounds: int, kinds: Sequence[str] = KINDS) -> dict[str, Scale]:
    """Return the figures by kind, medians of the rounds; nothing where it isn't installed."""
    if _PARSER is None:
        return {}
    found = {}
    for kind in kinds:
        texts = [corpus.before(phone, kind, inside(phone), SEQUENCE_FIRST) for phone in corpus.phones]
        readable = [text for text in texts if _is_readable(text)]
        if readable:
            used_us = median(_batch_us(readable) for _ in range(rounds))
            found[kind] = Scale(used_us, len(readable) / len(texts))
    return found


def _read(text: bytes) -> None:
    assert _PARSER is not None
    message = _PARSER.Message.parse(text)
    _ = (message.via, message.from_address, message.to_address, message.call_id, message.cseq, message.contact)


def _is_readable(text: bytes) -> bool:
    """Whether it reads the message: it refuses, for one, a blank in front of a header's colon."""
    try:
        _read(text)
    except (KeyError, ValueError):
        return False
    return True


def _batch_us(texts: Sequence[bytes]) -> float:
    gc.collect()
    begin = time.thread_time_ns()
    for text in texts:
        _read(text)
    return (time.thread_time_ns() - begin) / len(texts) / 1000
