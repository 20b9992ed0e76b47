"""The messages of the benchmarks, as they come to the router and as they must leave it, for any mapping.

Registrations, calls out, calls in and OPTIONS of the phones in `phones`, drawn by a seed. Both texts are rendered
from one template with holes; sipalg's code has no part in either. The start of every packet's way in the benchmarks,
and the judge at its end.
"""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from bench.messages import KINDS, build, transaction
from bench.phones import PUBLIC, Phone, make_phone, word
from bench.template import LENGTH, Template, View

_LOOP_MAGIC: Final = b"SIPLOOP1"


class Exchange(NamedTuple):
    """One request of a phone and the server's answer, by their kinds, for the closed loop."""

    request: str
    reply: str


#: What a closed loop sends, by the load's name.
EXCHANGES: Final = {
    "register": (Exchange("REGISTER auth", "200 REGISTER"),),
    "mixed": (
        Exchange("REGISTER auth", "200 REGISTER"),
        Exchange("REGISTER", "401"),
        Exchange("OPTIONS", "200 OPTIONS"),
    ),
}


class Corpus:
    """`count` phones (1–60,000) drawn by `seed`, and all that they and the server say."""

    def __init__(self, seed: int, count: int) -> None:
        self.phones = [make_phone(index, seed) for index in range(count)]
        self._templates: dict[tuple[int, str], Template] = {}

    def template(self, phone: Phone, kind: str) -> Template:
        """Return the message of this kind (a key of `messages.KINDS`) from or to this phone; built once."""
        key = (phone.index, kind)
        found = self._templates.get(key)
        if found is None:
            found = self._templates[key] = build(phone, kind)
        return found

    def before(self, phone: Phone, kind: str, outside: View, sequence: int) -> bytes:
        """Render the message as it comes to the router."""
        return self.template(phone, kind).render(inside(phone) if KINDS[kind].leaves else outside, sequence)

    def after(self, phone: Phone, kind: str, outside: View, sequence: int) -> bytes:
        """Render the message as it must leave the router."""
        return self.template(phone, kind).render(outside if KINDS[kind].leaves else inside(phone), sequence)

    def write_loop(self, path: Path, exchanges: tuple[Exchange, ...]) -> int:
        """Write the closed loop's file and return the number of its entries.

        Little-endian: magic, entries, phones; then for each entry its phone, transaction, address (4 bytes as on the
        wire), port, lengths of request and reply, and the two texts with the holes of `template` in them.
        """
        parts = [_LOOP_MAGIC, struct.pack("<II", len(self.phones) * len(exchanges), len(self.phones))]
        for phone in self.phones:
            address = bytes(int(part) for part in phone.private.host.split("."))
            for exchange in exchanges:
                request, reply = (self.template(phone, kind).head.replace(LENGTH, b"0") for kind in exchange)
                number = transaction(KINDS[exchange.request])
                parts.append(struct.pack("<II4sIII", phone.index, number, address, phone.private.port,
                                         len(request), len(reply)))  # fmt: skip
                parts += (request, reply)
        path.write_bytes(b"".join(parts))
        return len(self.phones) * len(exchanges)


def inside(phone: Phone) -> View:
    """How the inside sees the phone: as itself, at every place that an ALG restores."""
    return View(phone.private.host, phone.private.port, phone.private.host, phone.private.port, phone.media)


def outside(port: int, media: tuple[int, ...] = (), host: str = PUBLIC) -> View:
    """How the outside sees a phone whose signalling has the public `port` and whose streams have the ports `media`."""
    return View(host, port, host, port, media)


def garbage(seed: int, count: int) -> list[bytes]:
    """Payloads on a SIP port that are no SIP, or broken SIP: each must leave as it came."""
    random = Random(f"{seed}/garbage")
    makers = (
        lambda: random.randbytes(random.randint(1, 1200)),
        lambda: b"\r\n\r\n",
        lambda: b"\0" * random.randint(1, 8),
        lambda: b"\0\1\0\0\x21\x12\xa4\x42" + random.randbytes(12),
        lambda: b"GET /" + word(random, 1, 600).encode() + b" HTTP/1.1\r\nHost: 192.168.32.10:5060\r\n\r\n",
        lambda: b"REGISTER sip:a" + random.randbytes(random.randint(1, 300)),
        lambda: b"SIP/2.0 200 OK",
        lambda: b"\x80\x08" + random.randbytes(170),
    )
    return [random.choice(makers)() for _ in range(count)]
