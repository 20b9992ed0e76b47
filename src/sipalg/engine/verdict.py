"""What goes into the engine and what comes out of it: the engine's contract in types.

A driver (the live datapath, the offline rewriter, `explain`, a test) hands in one :class:`Datagram`, gets one
:class:`Verdict` back, runs its commands as one transaction and then obeys its action. Everything here is immutable
and knows neither sockets nor the kernel. On a packet's way this is the line between datapath and engine.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

UDP: Final = 17
TCP: Final = 6

ACCEPT: Final = "accept"
REPLACE: Final = "replace"
#: Only where a setting asks for it: direct media that is refused, and the ACK to its refusal.
DROP: Final = "drop"
Action = Literal["accept", "replace", "drop"]

#: In place of a peer's address: media may come from everywhere, which nobody can send from (RFC 6890).
ANYBODY_IPV4: Final = ".".join("0000")


def anybody(host: str) -> str:
    """What names every peer of `host`'s IP version in place of one: the unspecified address."""
    return "::" if ":" in host else ANYBODY_IPV4


#: What a mapping is for. `sip` mappings let in known peers only; `media` ones let in anybody while the call is up, or
#: with `sip-direct-media=no` the call's own addresses; `direct` ones nobody: their flows are made one by one.
Purpose = Literal["sip", "media", "direct"]


class Endpoint(NamedTuple):
    """A transport address: an IP literal in its canonical text and a port, 0–65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Datagram(NamedTuple):
    """One packet's payload as the forward hook sees it.

    The inside end of the packet always shows its private address here, in both directions: outbound packets are seen
    before source NAT, inbound ones after destination NAT. `protocol` is 17 (UDP) or 6 (TCP).
    """

    payload: bytes
    source: Endpoint
    destination: Endpoint
    protocol: int
    in_interface: str


class Edit(NamedTuple):
    """`length` bytes at `offset` of the message as it came are replaced; `rule` says by which rule, for people."""

    offset: int
    length: int
    replacement: bytes
    rule: str


#: An edit as a plain tuple of the same values: the engine makes some for every packet, and seldom anybody reads them.
Change = tuple[int, int, bytes, str]


class Mapping(NamedTuple):
    """A private transport address and the public one that the kernel's NAT uses for it.

    `public.host` is the `nat_address`; what is written into messages is the settings' advertised address with this
    port. An `adopted` mapping stands in the administrator's own rules as a port forward: those let the packets in, and
    only its way out is ours to pin.
    """

    protocol: int
    private: Endpoint
    public: Endpoint
    purpose: Purpose
    adopted: bool = False


class Flow(NamedTuple):
    """One 5-tuple that conntrack is to hold: private ↔ remote, seen from the remote end as public ↔ remote."""

    protocol: int
    private: Endpoint
    public: Endpoint
    remote: Endpoint


class OpenMapping(NamedTuple):
    """Write the mapping into the maps; `timeout_s` is how long it lives in the kernel if nobody refreshes it."""

    mapping: Mapping
    timeout_s: float


class RefreshMapping(NamedTuple):
    """Give a mapping that stands in the maps `timeout_s` seconds from now."""

    mapping: Mapping
    timeout_s: float


class CloseMapping(NamedTuple):
    """Take the mapping out of the maps. A mapping that is no longer there is no error."""

    mapping: Mapping


class AdmitPeer(NamedTuple):
    """Let packets from `peer` (an IP literal, any port) in to the mapping's public address.

    Of a media mapping with `media-filter` the peer may be `anybody`, before the call is answered.
    """

    mapping: Mapping
    peer: str
    timeout_s: float


class DismissPeer(NamedTuple):
    """The reverse of AdmitPeer. A peer that is no longer there is no error."""

    mapping: Mapping
    peer: str


class EstablishFlow(NamedTuple):
    """Make the conntrack entry, with what stands in its way deleted first; fails if another inside host holds it.

    `fixed` asks for a timeout that the kernel doesn't shorten at the next packet (IPS_FIXED_TIMEOUT): for signalling.
    """

    flow: Flow
    timeout_s: float
    fixed: bool = False


class CheckFlow(NamedTuple):
    """Give the flow's entry `timeout_s` seconds, `fixed` as above; make it again where it is gone."""

    flow: Flow
    timeout_s: float
    fixed: bool = False


class EndFlow(NamedTuple):
    """Delete the flow's conntrack entry. One that is gone is no error."""

    flow: Flow


class Reply(NamedTuple):
    """Send a datagram as if it came from `source`, a host outside, to an inside host; untracked by conntrack.

    It goes with a `drop`, in place of the message that isn't sent on. If it can't be sent, that one has to be.
    """

    payload: bytes
    source: Endpoint
    destination: Endpoint


Command = (
    OpenMapping | RefreshMapping | CloseMapping | AdmitPeer | DismissPeer | EstablishFlow | CheckFlow | EndFlow | Reply
)


class Verdict(NamedTuple):
    """The engine's answer to one datagram; `changes` are the edits that made `payload`, in order of their offsets.

    Run `commands` first, all or none, then report with `Alg.commands_done(token, now)` or
    `Alg.commands_failed(token, index, reason, now)` (which returns the verdict to obey instead). Without commands
    nothing is to be reported. `payload` is what is to be sent; with `accept` and `drop` it is the payload as it came.
    `reason` is why nothing was edited, or "" where something was.
    """

    action: Action
    payload: bytes
    changes: tuple[Change, ...]
    commands: tuple[Command, ...]
    reason: str
    token: int

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The changes with their fields' names, for whoever shows them."""
        return tuple(Edit(*change) for change in self.changes)


class Event(NamedTuple):
    """Something a person would want in the log: a name like `mapping-opened` and its facts, in order."""

    name: str
    facts: tuple[tuple[str, str], ...]
