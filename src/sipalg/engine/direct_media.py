"""Direct media: whether an inside host's message may name another inside host's address for media.

An inside server that hands a call over to the devices themselves re-INVITEs the outside with another device's
address. With `sip-direct-media=yes` that is translated where it belongs to a call that stands, or comes from one of
`inside-servers`; with `no` it is answered 488 and doesn't leave, so that the call goes on through the server. Anything
else passes as it came: nobody gets another host's port opened by asking. On a packet's way the passage asks here when
a description names such an address, and before that whether a message repeats or acknowledges what was refused.
Sources: RFC 3261 §14 (re-INVITE), §17.1.1.3 (the ACK's branch), §17.2.1 (32 s), RFC 3311 (UPDATE).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from sipalg.codec.address import (
    FIRST_UNPRIVILEGED_PORT,
    in_networks,
    ipv6_reference,
    is_ipv4,
    is_reference,
    literal,
    reference,
)
from sipalg.codec.message import Message, identify
from sipalg.codec.response import response_to, return_path
from sipalg.engine import outside
from sipalg.engine.calls import Calls
from sipalg.engine.mappings import Mappings
from sipalg.engine.policy import (
    DIRECT_MEDIA_REFUSED,
    LINGER_S,
    MAX_OUTSIDE_HOSTS,
    MAX_REFUSALS,
    OUTSIDE_HOSTS_S,
    REFUSAL_ACKNOWLEDGED,
    SDP_OF_ANOTHER,
)
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import UDP, Datagram, Endpoint, Reply

#: What names a refused request: its sender, method, branch, Call-ID and CSeq number.
RefusalKey = tuple[Endpoint, bytes, bytes, bytes, int]

_STATUS: Final = b"488 Not Acceptable Here"
#: The requests whose description is an offer that changes a call.
_OFFERS: Final = frozenset((b"INVITE", b"UPDATE"))
#: Those that may repeat or acknowledge what was refused.
_CONCERNED: Final = _OFFERS | {b"ACK"}


class Refusal(NamedTuple):
    """A message that is dropped: why, what is answered (None to an ACK), and how the request is known again."""

    reason: str
    reply: Reply | None
    key: RefusalKey


class Others(NamedTuple):
    """Which addresses are other inside hosts', and which of their ports a description may name."""

    is_inside: Callable[[bytes], bool]
    allows: Callable[[Endpoint], bool]


class DirectMedia:
    """What is allowed and what was refused: `refused` has the answers of the last 32 s, and until when they count."""

    def __init__(self, settings: Settings, mappings: Mappings, calls: Calls) -> None:
        self.settings = settings
        self._mappings = mappings
        self._calls = calls
        self.refused: dict[RefusalKey, tuple[float, Reply]] = {}
        #: No port of anybody's: what a description is read with first.
        self.nobody = Others(self._is_inside, lambda _: False)
        self._asked: Callable[[str], bool] = lambda _: False
        #: Addresses that weren't inside when that was asked, and until when they aren't asked about again.
        self._outside: dict[bytes, float] = {}

    def change(self, settings: Settings) -> None:
        """Go by other settings from the next message on."""
        self.settings = settings
        self._outside.clear()

    def set_inside(self, is_inside: Callable[[str], bool]) -> None:
        """Have `is_inside` asked whether an IP literal is an inside host's, for those that have no mapping."""
        self._asked = is_inside
        self._outside.clear()

    def is_inside_lately(self, host: bytes, now: float) -> bool:
        """Whether an address that the outside names for media is an inside host's; for 10 s an outside one stays so.

        The kernel is asked, and media servers are few.
        """
        if host in self._mappings.hosts:
            return True
        if self._outside.get(host, -math.inf) > now:
            return False
        if self._is_inside(host) or self._is_translated(host):
            return True
        if len(self._outside) >= MAX_OUTSIDE_HOSTS:
            self._outside.clear()
        self._outside[host] = now + OUTSIDE_HOSTS_S
        return False

    def answer_again(self, message: Message, datagram: Datagram) -> Refusal | None:
        """What a message of an inside host gets that repeats a refused request, or is the ACK to its refusal."""
        if message.method not in _CONCERNED:
            return None
        key = _key(message, datagram, b"INVITE" if message.method == b"ACK" else message.method)
        known = self.refused.get(key)
        if known is None:
            return None
        if message.method == b"ACK":
            return Refusal(REFUSAL_ACKNOWLEDGED, None, key)
        return Refusal(DIRECT_MEDIA_REFUSED, known[1], key)

    def judge(self, message: Message, datagram: Datagram) -> Others | Refusal | str:
        """Decide on a message from inside that names another inside host's address for media.

        The ports that it may name, the refusal, or the reason why it passes as it came.
        """
        identity = identify(message)
        source = datagram.source.host
        asks = message.status == 0
        inside_tag, outside_tag = identity.from_tag, identity.to_tag
        changes_call = message.method in _OFFERS and bool(outside_tag)
        if not self.settings.direct_media:
            return (self._refusal(message, datagram) if changes_call else None) or SDP_OF_ANOTHER
        if not asks:
            inside_tag, outside_tag = outside_tag, inside_tag
        if in_networks(source, self.settings.inside_servers):
            return Others(self._is_inside, self._is_free)
        dialog = self._calls.dialogs.get((source, identity.call_id, inside_tag, outside_tag))
        if dialog is None or dialog.hanging_up:
            return SDP_OF_ANOTHER
        if changes_call and dialog.acknowledged:
            return Others(self._is_inside, self._is_free)
        # An answer, or an ACK, may go on naming what the call has already.
        held = dialog.keys
        return Others(self._is_inside, lambda private: (UDP, private) in held)

    def remember(self, transaction: Transaction, refusal: Refusal) -> None:
        """Keep a refusal for as long as its request may be repeated; beyond the limit the oldest is forgotten."""
        if refusal.reply is None or refusal.key in self.refused:
            return
        if len(self.refused) >= MAX_REFUSALS:
            transaction.remove(self.refused, next(iter(self.refused)))
        until = transaction.now + LINGER_S
        transaction.put(self.refused, refusal.key, (until, refusal.reply))
        transaction.wake(until, ("refusal", refusal.key))
        call = refusal.key[3].decode("utf-8", "replace")
        transaction.tell(DIRECT_MEDIA_REFUSED, call=call, private=refusal.reply.destination, to=refusal.reply.source)

    def forget(self, transaction: Transaction, key: RefusalKey) -> None:
        """Handle a refusal's timer."""
        until = self.refused[key][0] if key in self.refused else transaction.now
        if until <= transaction.now:
            transaction.remove(self.refused, key)
        else:
            transaction.wake(until, ("refusal", key))

    def _refusal(self, message: Message, datagram: Datagram) -> Refusal | None:
        """The 488 to a request; None if the request lacks what every response has to repeat."""
        path = return_path(message)
        host = outside.advertised_for(self.settings, reference(datagram.source.host))
        text = b"sip-direct-media=no: offer the server's own address for media"
        response = response_to(message, _STATUS, b'Warning: 399 %b "%b"' % (host, text))
        if path is None or response is None:
            return None
        source, destination = datagram.source, datagram.destination
        # Another phone was asked by its public address.
        phone = self._mappings.entries.get((datagram.protocol, destination))
        asked = destination if phone is None else phone.mapping.public
        reply = Reply(response, asked, Endpoint(source.host, path[1] or source.port))
        return Refusal(DIRECT_MEDIA_REFUSED, reply, _key(message, datagram, message.method))

    def _is_inside(self, host: bytes) -> bool:
        """Whether an address of a description is an inside host's, as far as is known."""
        return host in self._mappings.hosts or (
            (is_ipv4(host) or (is_reference(host) and ipv6_reference(host) == host)) and self._asked(literal(host))
        )

    def _is_translated(self, host: bytes) -> bool:
        """Whether an address is one that a prefix gives to an inside host, whether there is such a host or not."""
        ipv6 = self.settings.ipv6
        return ipv6 is not None and in_networks(literal(host), tuple(outside for _, outside in ipv6.prefixes))

    def _is_free(self, private: Endpoint) -> bool:
        """Whether a port may be another host's for media: none of the system's, none that signals."""
        entry = self._mappings.entries.get((UDP, private))
        return private.port >= FIRST_UNPRIVILEGED_PORT and (
            entry is None or entry.adopted or entry.purpose != "sip"
        )


def _key(message: Message, datagram: Datagram, method: bytes) -> RefusalKey:
    """What names a request, and the ACK to its refusal too."""
    identity = identify(message)
    path = return_path(message)
    return (datagram.source, method, path[0] if path else b"", identity.call_id, identity.number)
