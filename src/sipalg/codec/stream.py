"""SIP messages in a byte stream: where one ends and the next begins, however the bytes come, by Content-Length.

Over TCP this comes before everything else on a message's way: the relay hands in what it has read and gets whole
messages and the bytes between them back, in order and nothing left out. A stream that doesn't begin as SIP, or whose
next message can't be framed, is handed through untouched from that byte on; it is never cut, and never held for good.
Sources: RFC 3261 §7.5 and §18.3 (framing), §20.14 (Content-Length is a must over streams), RFC 5626 §3.5.1 (CRLFs).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: The longest message that is framed: what a UDP datagram could carry, so that the engine's work is bounded alike.
MAX_MESSAGE_BYTES: Final = 65535
#: The longest start line: a Request-URI has some hundred bytes, with embedded headers some thousand.
MAX_START_LINE_BYTES: Final = 8192

#: Why the rest of a stream isn't looked at.
NOT_SIP: Final = "not-sip"
TOO_LONG: Final = "message-too-long"
NO_LENGTH: Final = "content-length-missing"
BAD_LENGTH: Final = "content-length-malformed"
GIVEN_UP: Final = "given-up"

_START: Final = re.compile(
    rb"(?:[!#-'*+.0-9A-Z_`a-z~^|-]+ [^\s]+ (?i:SIP)/2\.0|(?i:SIP)/2\.0 [1-6][0-9][0-9](?: [^\r\n]*)?)\r?"
)
#: Whether a first line that isn't whole yet can become one of SIP's.
_BEGINNING: Final = re.compile(
    rb"[!#-'*+.0-9A-Z_`a-z~^|-]+(?: [^\s]*(?: [SIPsip/20.]*\r?)?)?"
    rb"|(?i:SIP)/(?:2(?:\.(?:0(?: [^\r\n]*\r?)?)?)?)?"
)
_END: Final = re.compile(rb"\n\r?\n")
#: A Content-Length and its digits, b"" where anything else stands there; folded as the header's frame has it.
_LENGTH: Final = re.compile(
    rb"\n(?:[Cc](?i:ontent-length)|[Ll])[ \t]*:[ \t]*+(?:\r?\n[ \t]++)*(?:([0-9]{1,9})(?=[ \t]*\r?\n(?![ \t]))|())"
)
_LINE_ENDS: Final = b"\r\n"


class Piece(NamedTuple):
    """Some bytes of the stream: one whole message, or bytes that nobody edits."""

    data: bytes
    is_message: bool


class Framer:
    """One direction of one connection. `broken` is why the rest isn't framed, "" as long as it is."""

    def __init__(self) -> None:
        self.broken = ""
        #: How many messages came so far.
        self.messages = 0
        self._held = b""
        #: How far the held bytes have been searched in vain for the end of the header.
        self._searched = 0
        #: How long the held message is as a whole, 0 while its header isn't.
        self._wanted = 0

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished message waits here: at most MAX_MESSAGE_BYTES and what was handed in last."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Piece]:
        """Take the stream's next bytes; returns what is whole now."""
        if self.broken:
            return [Piece(data, False)] if data else []
        self._held += data
        pieces: list[Piece] = []
        while self._held:
            size = self._next()
            if size < 0:
                pieces.append(Piece(self._held, False))
                self._held = b""
            elif size:
                is_message = self._held[0] not in _LINE_ENDS
                pieces.append(Piece(self._held[:size], is_message))
                self.messages += is_message
                self._held = self._held[size:]
                self._searched = self._wanted = 0
            else:
                break
        return pieces

    def give_up(self, reason: str = GIVEN_UP) -> bytes:
        """Frame no more, and return what was held: at the stream's end, or when nobody waits for the rest."""
        self.broken = self.broken or reason
        held, self._held = self._held, b""
        return held

    def _next(self) -> int:
        """The size of the first piece held, 0 if it isn't whole, -1 if there is none: then `broken` says why."""
        held = self._held
        if held[0] in _LINE_ENDS:
            return len(held) - len(held.lstrip(_LINE_ENDS))
        if not self._wanted:
            self._wanted = self._find_end(held)
        return -1 if self.broken else self._wanted if self._wanted <= len(held) else 0

    def _find_end(self, held: bytes) -> int:
        """The size of the message that `held` begins with, 0 while its header isn't whole."""
        if not self._searched and not self._begins_as_sip(held):
            return 0
        end = _END.search(held, max(0, self._searched - 3))
        if end is None or end.end() > MAX_MESSAGE_BYTES:
            self._searched = len(held)
            if len(held) > MAX_MESSAGE_BYTES:
                self.broken = TOO_LONG
            return 0
        lengths = _LENGTH.findall(held, 0, end.start() + 2)
        if len(lengths) != 1 or not lengths[0][0]:
            self.broken = BAD_LENGTH if lengths else NO_LENGTH
            return 0
        size = end.end() + int(lengths[0][0])
        if size > MAX_MESSAGE_BYTES:
            self.broken = TOO_LONG
        return size

    def _begins_as_sip(self, held: bytes) -> bool:
        """Whether there is a whole start line; one that is none of SIP's, and can't become one, breaks the stream."""
        line, newline, _ = held.partition(b"\n")
        wanted = _START if newline else _BEGINNING
        if len(line) > MAX_START_LINE_BYTES or not wanted.fullmatch(line):
            self.broken = NOT_SIP
            return False
        return bool(newline)
