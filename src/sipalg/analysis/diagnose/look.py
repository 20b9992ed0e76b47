"""The one pass over a capture: frames to segments, media counted, SIP messages to all collectors.

What is known for media is counted by the reader itself (`capture.tally`), so that nothing is made of nine tenths of
the packets. On a packet's way offline this is all of it, from the file to the facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sipalg.analysis.diagnose.calls import Calls
from sipalg.analysis.diagnose.facts import INSIDE, OUTSIDE, Facts, Phone, Proof, Stream
from sipalg.analysis.diagnose.findings import Wanted
from sipalg.analysis.diagnose.signalling import Signalling
from sipalg.analysis.diagnose.stun import is_stun_request
from sipalg.analysis.diagnose.transactions import Transactions
from sipalg.analysis.diagnose.words import sdp_of
from sipalg.analysis.dialogs import CALL, kind_of
from sipalg.analysis.messages import Messages, SipMessage
from sipalg.analysis.rtp import Streams
from sipalg.capture.decode import Decoder, Segment
from sipalg.capture.reading import Frame
from sipalg.codec.datagram import UDP
from sipalg.codec.message import LENGTH_BEYOND
from sipalg.engine.verdict import Endpoint

#: How a TLS handshake begins (RFC 8446 §5.1).
_TLS: Final = b"\x16\x03"


class Look:
    """Takes segments in order; `facts` is whole after `finish`."""

    def __init__(self, wanted: Wanted, media: Streams) -> None:
        self.facts = Facts()
        self._networks = wanted.networks
        self._media = media
        self._messages = Messages()
        self._signalling = Signalling(self.facts, wanted.networks, wanted.ports)
        self._transactions = Transactions(self.facts)
        self._calls = Calls(self.facts, wanted.networks, media)
        self._is_call: dict[str, bool] = {}

    def take(self, segment: Segment) -> None:
        """Note one segment."""
        if segment.protocol == UDP:
            if self._media.take(segment):
                return
        elif segment.payload[:2] == _TLS:
            self.facts.encrypted.setdefault(segment.destination, Proof()).add(segment.number)
        messages = list(self._messages.take(segment))
        for message in messages:
            self._message(message)
        if segment.protocol == UDP and not messages:
            self._beside(segment)

    def _message(self, message: SipMessage) -> None:
        facts = self.facts
        facts.messages += 1
        if message.call_id not in self._is_call or message.method == "INVITE":
            self._is_call[message.call_id] = kind_of(message) == CALL
        facts.last_ns = max(facts.last_ns, message.time_ns)
        if message.problem == LENGTH_BEYOND:
            facts.cut_short.add(message.number)
        sdp = sdp_of(message)
        ends = self._signalling.take(message, sdp)
        # What was seen inside already isn't asked twice.
        if ends is None or not ends.twin or ends.view == INSIDE:
            self._transactions.take(message, facts.servers[ends.server] if ends and ends.outbound else None)
        self._calls.take(message, sdp)

    def _beside(self, segment: Segment) -> None:
        """Note what is neither media nor a message. A NAT renews a flow for any datagram, whatever is in it."""
        self._signalling.keep_alive(segment.source, segment.destination, segment.number, segment.time_ns)
        if is_stun_request(segment.payload):
            self._signalling.stun(segment.source, segment.number)

    def finish(self, frames: int, last_ns: int) -> Facts:
        """Return the facts, `frames` packets in all, the last of them at `last_ns`."""
        facts, media = self.facts, self._media
        for message in self._messages.rest():
            self._message(message)
        facts.frames, facts.last_ns = frames, max(last_ns, facts.last_ns)
        self._calls.finish()
        self._transactions.finish()
        facts.call_count = sum(self._is_call.values())
        facts.streams = sum(not stream.is_rtcp for stream in media.all)
        facts.media_packets, facts.rtcp_packets = media.packets(is_rtcp=False), media.packets(is_rtcp=True)
        self._join_views()
        self._find_lost_media()
        return facts

    def _join_views(self) -> None:
        """Give what was sent to a private address, seen outside, to the phone that named it there.

        Such packets look as if a phone inside got them; but it never says anything.
        """
        phones = self.facts.phones
        named_by: dict[str, list[Phone]] = {}
        for phone in phones.values():
            if phone.view == OUTSIDE and phone.named:
                named_by.setdefault(phone.named, []).append(phone)
        ghosts = {name for name in named_by if name in phones and _is_ghost(phones[name])}
        for key in [key for key in self.facts.flows if key[0].host in ghosts]:
            flow = self.facts.flows.pop(key)
            self.facts.servers[flow.server].missed.add(flow.last)
            for phone in named_by[key[0].host]:
                phone.missed.add(flow.last)
        for name in ghosts:
            del phones[name]

    def _find_lost_media(self) -> None:
        """Find media to private addresses from which nothing ever came.

        Inside, a NAT may just have delivered it to somebody who listens: it counts if a description names its end, or
        if what is captured is the outside.
        """
        views = {phone.view for phone in self.facts.phones.values() if phone.sent}
        outside = views == {OUTSIDE}
        voices = [stream for stream in self._media.all if not stream.is_rtcp]
        speaking = {stream.source.host for stream in voices}
        speaking |= {name for name, phone in self.facts.phones.items() if phone.sent}
        is_private = self._networks.is_private
        found: dict[tuple[Endpoint, Endpoint], Stream] = {}
        for stream in voices:
            host = stream.destination.host
            if not is_private(host) or host in speaking or is_private(stream.source.host):
                continue
            if not outside and not self._media.is_announced(stream.destination):
                continue
            # Whoever changes its SSRC is told of once.
            ends = stream.source, stream.destination
            before = found.get(ends, Stream(str(ends[0]), str(ends[1]), 0, stream.first))
            found[ends] = before._replace(packets=before.packets + stream.tally.count)
        self.facts.to_private += found.values()


def _is_ghost(phone: Phone) -> bool:
    return phone.view == INSIDE and not phone.sent


def look(frames: Iterable[Frame], wanted: Wanted, media: Streams) -> Look:
    """Take all frames; the facts are whole after `finish`."""
    looking = Look(wanted, media)
    take, last_ns = looking.take, 0
    for segment in Decoder().segments(frames):
        last_ns = segment.time_ns
        take(segment)
    looking.facts.last_ns = max(last_ns, looking.facts.last_ns)
    return looking
