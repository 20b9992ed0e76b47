"""Calls: their signalling from INVITE to BYE, the descriptions of both sides, and how much media came to each.

One record a Call-ID and pair of hosts, since a proxy shows the same call twice. Media is measured at the ends that the
descriptions name, as the difference between two looks at the counters, so that ports may be used again. On a packet's
way offline this stands behind the messages. Sources: RFC 3261 §13 and §14, RFC 3264.
"""

from __future__ import annotations

from typing import Final

from sipalg.analysis.diagnose.facts import Call, Facts, MediaEnd, Side, Talk
from sipalg.analysis.diagnose.networks import Networks
from sipalg.analysis.diagnose.words import SdpWords
from sipalg.analysis.messages import SipMessage
from sipalg.analysis.rtp import Heard, Streams, Way
from sipalg.codec.uri import parse_one
from sipalg.engine.verdict import Endpoint

_METHODS: Final = frozenset(("INVITE", "ACK", "BYE", "PRACK", "UPDATE", "CANCEL"))
#: Statuses after which the caller tries again.
_CHALLENGES: Final = frozenset((401, 407))

_Key = tuple[str, str, str]


class Calls:
    """Takes messages in order, writes calls into `facts`; `finish` measures those that are left."""

    def __init__(self, facts: Facts, networks: Networks, media: Streams) -> None:
        self._facts = facts
        self._networks = networks
        self._media = media
        self._calls: dict[_Key, Call] = {}
        self._by_caller: dict[tuple[str, Endpoint], Call] = {}

    def take(self, message: SipMessage, sdp: SdpWords | None) -> None:
        """Note one message."""
        if message.cseq_method not in _METHODS:
            return
        hosts = sorted((message.source.host, message.destination.host))
        key = (message.call_id, hosts[0], hosts[1])
        call = self._calls.get(key)
        if call is None and message.method == "ACK":
            # It goes to the answer's Contact, which may be anybody's (RFC 3261 §13.2.2.4).
            call = self._by_caller.get((message.call_id, message.source))
        if call is None:
            if message.method != "INVITE" or message.to_tag:
                # What began before the capture did can't be judged.
                return
            call = self._calls[key] = self._by_caller[message.call_id, message.source] = _begin(message)
            self._facts.calls.append(call)
        call.last_ns = call.said_ns = max(call.last_ns, message.time_ns)
        sender = _sender(call, message)
        if message.method:
            self._request(call, message, sdp)
        elif message.cseq_method == "INVITE":
            _response(call, message)
        if sdp is not None and message.cseq_method != "BYE":
            self._describe(call, sender, sdp, message)

    def finish(self) -> None:
        """Measure what isn't over, up to the capture's end."""
        for call in self._calls.values():
            if not call.closed:
                call.last_ns = self._facts.last_ns
                self._measure(call, call.last_ns)
        self._calls.clear()
        self._by_caller.clear()

    def _request(self, call: Call, message: SipMessage, sdp: SdpWords | None) -> None:
        if message.method == "INVITE":
            if not message.to_tag:
                call.invite.add(message.number)
                call.sequence, call.tag = message.cseq, message.from_tag
                call.failed = 0
            elif sdp is not None:
                self._redirected(call, message, sdp)
        elif message.method == "ACK":
            if call.answered and _is_of_the_first(call, message):
                call.acked.add(message.number)
                target = parse_one(message.frame.data[slice(*message.frame.uri)])
                if target is not None and self._networks.is_private(target.host.decode("ascii", "replace")):
                    call.acked_private.add(message.number)
        elif message.method == "BYE" and not call.bye:
            call.bye.add(message.number)
            call.bye_ns, call.bye_from = message.time_ns, message.source.host
            self._measure(call, message.time_ns)
            call.closed = True

    def _redirected(self, call: Call, message: SipMessage, sdp: SdpWords) -> None:
        """Note a re-INVITE that moves its side's media to another host (RouterOS's sip-direct-media)."""
        sender = _sender(call, message)
        before = {end.host for end in sender.media}
        for end in sdp.ends:
            if before and end.receives and end.host not in before and end.host != message.source.host:
                call.redirected.add(message.number)
                call.redirected_to, call.redirected_by = end.host, message.source.host

    def _describe(self, call: Call, sender: Side, sdp: SdpWords, message: SipMessage) -> None:
        sender.sdp.add(message.number)
        # A call that was on hold for a while may be silent in that time.
        sender.quiet |= not _talks(sdp.ends)
        sender.candidates |= sdp.candidates
        if sdp.ends == sender.media or call.closed:
            return
        self._measure(call, message.time_ns)
        sender.media, call.described_ns = sdp.ends, message.time_ns
        if any(end.receives for end in sdp.ends):
            sender.hears_at = sdp.ends
        for end in sdp.ends:
            self._media.announce(Endpoint(end.host, end.port))
            self._media.announce(Endpoint(end.rtcp_host, end.rtcp_port))
        self._begin_measuring(call)

    def _begin_measuring(self, call: Call) -> None:
        for side, far in _sides(call):
            rtp, rtcp = self._heard(call, side, far)
            side.before, side.before_rtcp = rtp.packets, rtcp.packets

    def _measure(self, call: Call, now_ns: int) -> None:
        """Add what came since the last look, and the talk if that is what it was."""
        before = call.caller.got, call.called.got
        for side, far in _sides(call):
            rtp, rtcp = self._heard(call, side, far)
            if rtp.packets > side.before:
                side.last_ns, side.last = rtp.last_ns, rtp.last
            if rtcp.packets > side.before_rtcp:
                side.last_rtcp_ns = max(side.last_rtcp_ns, rtcp.last_ns)
            side.got += rtp.packets - side.before
            side.got_rtcp += rtcp.packets - side.before_rtcp
            side.before, side.before_rtcp = rtp.packets, rtcp.packets
        if call.answered_ns and _talks(call.caller.media) and _talks(call.called.media):
            start_ns = max(call.described_ns, call.answered_ns)
            got = call.caller.got - before[0], call.called.got - before[1]
            call.talks.append(Talk(start_ns, now_ns, *got))

    def _heard(self, call: Call, side: Side, far: Side) -> tuple[Heard, Heard]:
        """Return the RTP and the RTCP that came to a side so far.

        That also which came from one of the far ends to another port of its host: a server that answers to the source
        doesn't heed what the SDP says. And what came from anywhere to the port that the side's own media leaves from,
        as a NAT translates its SDP's end to that one. Between two sockets of one host nothing tells whose another
        port is.
        """
        host = side.host if side.host != far.host else ""
        rtp, far_rtp = ({Endpoint(end.host, end.port) for end in some.media} for some in (side, far))
        rtcp, far_rtcp = ({Endpoint(end.rtcp_host, end.rtcp_port) for end in some.media} for some in (side, far))
        voice = Way(rtp, far_rtp, host, call.started)
        # RTCP may share RTP's port (RFC 5761).
        reports = Way(rtcp | rtp, far_rtcp | far_rtp, host, call.started)
        return self._media.came(voice, is_rtcp=False), self._media.came(reports, is_rtcp=True)


def _sides(call: Call) -> tuple[tuple[Side, Side], tuple[Side, Side]]:
    return (call.caller, call.called), (call.called, call.caller)


def _talks(ends: tuple[MediaEnd, ...]) -> bool:
    """Whether a side wants audio and sends it: it isn't on hold, nor has it put the other there."""
    return any(end.receives and end.sends for end in ends)


def _sender(call: Call, message: SipMessage) -> Side:
    """Whose message it is: by the host, and by the port where both are on one."""
    if call.caller.host == call.called.host:
        return call.called if message.source == call.target else call.caller
    return call.caller if message.source.host == call.caller.host else call.called


def _begin(message: SipMessage) -> Call:
    caller, called = Side(message.source.host), Side(message.destination.host)
    return Call(message.call_id, caller, called, message.number, message.destination)


def _is_of_the_first(call: Call, message: SipMessage) -> bool:
    """Whether an ACK or a response belongs to the INVITE that began the call, and to no re-INVITE of either side."""
    return message.cseq == call.sequence and message.from_tag == call.tag


def _response(call: Call, message: SipMessage) -> None:
    status = message.status
    if not _is_of_the_first(call, message) or status < 200:
        return
    if status < 300:
        call.answered_ns = call.answered_ns or message.time_ns
        call.answered_last_ns = message.time_ns
        call.answered.add(message.number)
    elif status not in _CHALLENGES:
        call.failed = status
        call.failed_at.add(message.number)
