"""What one pass over a capture leaves: phones, servers, flows, calls and streams, each fact with its packets.

Collectors fill these, checks read them. Nothing here grows with the media: a stream is a few numbers, and of proofs
only the first packets are kept, with their count. On a packet's way offline this is where it ends. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sipalg.engine.verdict import Endpoint

#: How many packets' numbers are kept of one proof: enough to look at, in a line that can be read.
_MOST_PACKETS: Final = 4

#: Where a phone stands: behind a NAT and seen there, seen from outside, or with no NAT between it and its server.
INSIDE: Final = "inside"
OUTSIDE: Final = "outside"
LOCAL: Final = "local"


@dataclass(slots=True)
class Proof:
    """The packets that prove something: how many there were, the first of their numbers, and the last one."""

    count: int = 0
    packets: list[int] = field(default_factory=list)
    last: int = 0

    def add(self, number: int) -> None:
        """Note one more packet; a number that came last counts once."""
        if self.last == number:
            return
        self.count += 1
        self.last = number
        if len(self.packets) < _MOST_PACKETS:
            self.packets.append(number)

    def __bool__(self) -> bool:
        return bool(self.count)


@dataclass(slots=True)
class Phone:
    """A SIP device and what it says of itself, by the packets in which it does.

    `name` is its address where it is inside, `ADDRESS:PORT` where the NAT's public side is seen. "Private" is what
    can't be reached from outside, `named` is the first such address that it named.
    """

    name: str
    view: str
    #: Where both sides are in the capture: the phone inside whose public side this is, and the public sides of this.
    twin: str = ""
    outside: dict[str, Phone] = field(default_factory=dict)
    protocols: set[int] = field(default_factory=set)
    #: The hosts that it registers with.
    registrars: set[str] = field(default_factory=set)
    agent: str = ""
    sent: Proof = field(default_factory=Proof)
    via_private: Proof = field(default_factory=Proof)
    via_public: Proof = field(default_factory=Proof)
    contact_private: Proof = field(default_factory=Proof)
    contact_public: Proof = field(default_factory=Proof)
    media_private: Proof = field(default_factory=Proof)
    media_public: Proof = field(default_factory=Proof)
    named: str = ""
    #: Contacts with its public address and another port than its packets come from, and the first such end.
    port_wrong: Proof = field(default_factory=Proof)
    port_named: str = ""
    #: Requests that came through a proxy at its address, descriptions with candidates, requests whose Call-ID is
    #: another one inside.
    proxied: Proof = field(default_factory=Proof)
    candidates: Proof = field(default_factory=Proof)
    call_id_changed: Proof = field(default_factory=Proof)
    #: It asks for answers to its source (RFC 3581), asks a STUN server, offers candidates that aren't its own host's.
    rport: Proof = field(default_factory=Proof)
    stun: Proof = field(default_factory=Proof)
    ice: Proof = field(default_factory=Proof)
    #: Answers in which the server notes another address than the phone wrote: nothing between them changed the Via.
    seen_elsewhere: Proof = field(default_factory=Proof)
    #: Answers in which the server notes another address than the one that was captured outside: one more NAT.
    another_nat: Proof = field(default_factory=Proof)
    #: Answers in which `received` is the phone's own private address: something between them put it back.
    put_back: Proof = field(default_factory=Proof)
    #: Messages to or from it that something on the way has changed wrongly, by what is wrong.
    spoilt: dict[str, Proof] = field(default_factory=dict)
    #: Requests and answers of its own that a server sent to its source although its Contact is private.
    reached: Proof = field(default_factory=Proof)
    #: Packets that a server sent to the private address that the phone named.
    missed: Proof = field(default_factory=Proof)
    servers: set[Endpoint] = field(default_factory=set)


@dataclass(slots=True)
class Server:
    """A SIP server by its address and port, with what it was asked and how it answered."""

    end: Endpoint
    requests: int = 0
    #: Requests outside of any dialog, to it or from its own port: what follows inside one may go to anybody.
    opened: Proof = field(default_factory=Proof)
    resent: Proof = field(default_factory=Proof)
    unanswered: Proof = field(default_factory=Proof)
    #: Its packets, and those in which its own Contact or SDP names an address that its clients can't reach.
    sent: Proof = field(default_factory=Proof)
    contact_private: Proof = field(default_factory=Proof)
    media_private: Proof = field(default_factory=Proof)
    named: str = ""
    reached: Proof = field(default_factory=Proof)
    missed: Proof = field(default_factory=Proof)


@dataclass(slots=True)
class Flow:
    """What passed between one socket of a phone and one of a server, times in ns since 1970.

    `gap_ns` is the longest silence, between the packets `gap`. `kept_alive` counts what only keeps the flow open:
    datagrams without a message, OPTIONS, NOTIFY without a dialog. `granted_s` is the shortest lifetime that the server
    granted.
    """

    phone: Endpoint
    server: Endpoint
    protocol: int
    first_ns: int
    last_ns: int
    last: int
    gap_ns: int = 0
    gap: tuple[int, int] = (0, 0)
    registered: Proof = field(default_factory=Proof)
    refreshed: Proof = field(default_factory=Proof)
    kept_alive: Proof = field(default_factory=Proof)
    registered_ns: int = 0
    granted_s: int = 0
    granted: Proof = field(default_factory=Proof)


class MediaEnd(NamedTuple):
    """Where an SDP wants its media, and whether it wants and sends any (RFC 3264 §5.1)."""

    host: str
    port: int
    rtcp_host: str
    rtcp_port: int
    mux: bool
    receives: bool
    sends: bool


@dataclass(slots=True)
class Side:
    """One side of a call: the host that its signalling comes from, its latest SDP, and the media packets by way.

    `got` and `got_rtcp` count what came to it while the call stood.
    """

    host: str
    media: tuple[MediaEnd, ...] = ()
    #: Where it wanted to hear something last: what a hold names tells nothing of that.
    hears_at: tuple[MediaEnd, ...] = ()
    sdp: Proof = field(default_factory=Proof)
    #: Was its SDP ever on hold, or without audio? Then only silence while both sides talk proves something.
    quiet: bool = False
    #: Did it offer candidates? Where both sides do, media may go by other ends than the descriptions' own (RFC 8445).
    candidates: bool = False
    before: int = 0
    before_rtcp: int = 0
    got: int = 0
    got_rtcp: int = 0
    #: When the last RTP and the last RTCP came to it, ns since 1970, 0 if none did, and the last RTP's number.
    last_ns: int = 0
    last: int = 0
    last_rtcp_ns: int = 0


class Talk(NamedTuple):
    """A time in which both sides of an answered call wanted and sent audio, and the RTP that came to each in it."""

    start_ns: int
    end_ns: int
    caller_got: int
    called_got: int


@dataclass(slots=True)
class Call:
    """One INVITE dialog between two hosts. Times in ns since 1970, 0 where something didn't happen."""

    call_id: str
    caller: Side
    called: Side
    started: int
    #: Where the INVITE went.
    target: Endpoint
    invite: Proof = field(default_factory=Proof)
    #: The CSeq and the From tag of the INVITE that began it: the other side counts its own requests from any number.
    sequence: int = 0
    tag: str = ""
    answered: Proof = field(default_factory=Proof)
    answered_ns: int = 0
    answered_last_ns: int = 0
    #: The 2xx that is answered now, by CSeq, and when it came first.
    acked: Proof = field(default_factory=Proof)
    acked_private: Proof = field(default_factory=Proof)
    failed: int = 0
    failed_at: Proof = field(default_factory=Proof)
    bye: Proof = field(default_factory=Proof)
    bye_ns: int = 0
    bye_from: str = ""
    last_ns: int = 0
    redirected: Proof = field(default_factory=Proof)
    redirected_to: str = ""
    redirected_by: str = ""
    closed: bool = False
    #: When its last message came.
    said_ns: int = 0
    #: Since when the descriptions are as they are, and the times before in which both sides talked.
    described_ns: int = 0
    talks: list[Talk] = field(default_factory=list)

    @property
    def talked_s(self) -> float:
        """How long it stood, as far as the capture has it."""
        return ((self.bye_ns or self.last_ns) - self.answered_ns) / 1e9 if self.answered_ns else 0.0


class Stream(NamedTuple):
    """Media from one end to another that nothing in the capture answers or explains."""

    source: str
    destination: str
    packets: int
    first: int


@dataclass(slots=True)
class Facts:
    """All of one capture."""

    frames: int = 0
    messages: int = 0
    media_packets: int = 0
    rtcp_packets: int = 0
    streams: int = 0
    last_ns: int = 0
    phones: dict[str, Phone] = field(default_factory=dict)
    servers: dict[Endpoint, Server] = field(default_factory=dict)
    flows: dict[tuple[Endpoint, Endpoint], Flow] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    #: How many calls there are by their Call-IDs, those too whose begin isn't in the capture.
    call_count: int = 0
    #: Requests that came back: with fewer Max-Forwards on the same way, or 482 and 483 that say so.
    loops: Proof = field(default_factory=Proof)
    #: UDP messages over RFC 3261's limit, and those that must have been cut into fragments.
    big: Proof = field(default_factory=Proof)
    fragmented: Proof = field(default_factory=Proof)
    #: Messages that claim a longer body than they have.
    cut_short: Proof = field(default_factory=Proof)
    #: Servers' ports that speak TLS.
    encrypted: dict[Endpoint, Proof] = field(default_factory=dict)
    #: Media that was sent to an address that can't be reached from where it came.
    to_private: list[Stream] = field(default_factory=list)
