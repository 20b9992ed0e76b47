"""Media flows in the kernel's connection tracker: made before the first packet, looked after, and ended.

A firewall that forwards `ct state established,related` lets a flow through once conntrack has an entry for it. So
the ALG makes the entry itself when both ends of a flow are known: that is the pinhole, and its NAT is the mapping.
No media packet ever comes to user space. Entries that stand in the way (early RTP that INPUT took, the phone's
previous call) are deleted, but never another inside host's.
"""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from sipalg.codec.machine import new
from sipalg.datapath import ctnetlink, flow_requests
from sipalg.datapath.ctnetlink import DESTINATION_NAT, FIXED_TIMEOUT, SOURCE_NAT, Tracked, Translated
from sipalg.datapath.flow_requests import FlowSocket
from sipalg.datapath.netlink import Message, NetlinkError
from sipalg.engine.verdict import UDP, Endpoint, Flow, Mapping

#: RTP that keeps coming makes the entry in its way again, between our deleting it and our next try.
_ATTEMPTS: Final = 4
#: Public endpoints up to which each is asked for by itself, instead of all flows of their addresses.
_FEW_ENDPOINTS: Final = 2
#: Requests in one system call: the kernel may have to answer each before we read.
_MOST_AT_ONCE: Final = 256
#: How far the kernel's clock and ours may be apart between its giving a timeout and our noting when.
_CLOCKS_APART_S: Final = 0.25


class FlowTakenError(Exception):
    """Somebody else's entry holds one of the flow's tuples; the text says whose. Another public port is needed."""


class FlowState(NamedTuple):
    """What `check` found: was the entry `there`, and has it carried packets since it was last given time."""

    there: bool
    traffic: bool


class Untrue:
    """What flows are untrue since mappings ended or began.

    Of a mapping that ended, what it translated, either way: a flow would keep its way to a phone that has the public
    endpoint no more. Of one that began, what came for its public endpoint before and reached the router itself: pings
    of a server, say, in whose flow its calls would be lost.
    """

    def __init__(self, ended: Iterable[Mapping], begun: Iterable[Mapping]) -> None:
        self._ended = {(mapping.public, mapping.private) for mapping in ended}
        self.ended_publics = {public for public, _ in self._ended}
        self.begun = {mapping.public for mapping in begun}

    def forget(self, opened: Iterable[Mapping], closed: Iterable[Mapping]) -> None:
        """Take out what mappings have made true since: those that are there again, and those that are gone again."""
        self._ended.difference_update((mapping.public, mapping.private) for mapping in opened)
        self.begun.difference_update(mapping.public for mapping in closed)

    def concerns(self, entry: Tracked) -> bool:
        """Tell whether mappings that ended translated the entry, or one that began would have."""
        if entry.protocol != UDP:
            return False
        if entry.status & (SOURCE_NAT | DESTINATION_NAT):
            # A hairpin flow is translated at both ends, by two mappings.
            left = entry.status & SOURCE_NAT and (entry.reply_destination, entry.original_source) in self._ended
            came = entry.status & DESTINATION_NAT and (entry.original_destination, entry.reply_source) in self._ended
            return bool(left or came)
        return entry.original_destination == entry.reply_source and entry.original_destination in self.begun


class _Given(NamedTuple):
    """What a flow's entry leaves as, the time that it was given, and when."""

    public: Endpoint
    timeout_s: int
    at: float


#: A flow by what packets from inside are known by: protocol, source and destination.
_Way = tuple[int, Endpoint, Endpoint]


class Requests(Protocol):
    """What this asks of `netlink.NetlinkSocket`."""

    def request(self, message: Message) -> list[Message]:
        """Ask one question; raises NetlinkError."""

    def pieces(self, message: Message) -> Iterator[list[Message]]:
        """Ask for a dump, and yield a buffer of it at a time; raises NetlinkError."""

    def refusals(self, messages: Sequence[Message]) -> dict[int, NetlinkError]:
        """Have independent things done; the errors of those that were refused, by their index."""

    def close(self) -> None:
        """Ask no more."""


class Conntrack:
    """The connection tracker of the network namespace that this is made in, over one netlink socket.

    Every method raises NetlinkError where the kernel refuses for reasons that aren't the flow's (no privilege, table
    full). Hosts must be IP literals; what is searched for all flows is of one family.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, requests: Requests | None = None) -> None:
        self._socket: Requests = FlowSocket() if requests is None else requests
        self._clock = clock
        #: What flows without a fixed timeout were given last; those that `end` takes are forgotten.
        self._given: dict[_Way, _Given] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; the entries stay."""
        self._socket.close()

    def establish(self, flow: Flow, timeout_s: float, *, fixed: bool = False) -> None:
        """Make the flow's entry: private ↔ remote, translated to public, seen in both directions and assured.

        Without packets it lives `timeout_s`; each packet sets it back to the kernel's own timeout for the protocol,
        unless `fixed`. An entry that is exactly this flow just gets its time. Raises FlowTakenError.
        """
        self.establish_all([flow], timeout_s, fixed=fixed)

    def establish_all(self, flows: Sequence[Flow], timeout_s: float, *, fixed: bool = False) -> None:
        """As `establish`, for several flows in one system call; all or none.

        The kernel's EXCL makes and verifies at once: it refuses if either tuple is in use, and with a range of one
        port its NAT can choose nothing else. Only what it refuses is looked at.
        """
        refused = self._socket.refusals([flow_requests.create(flow, timeout_s, fixed) for flow in flows])
        if refused:
            self._make_all(flows, refused, timeout_s, fixed)
        self._note(flows, timeout_s, fixed)

    def _make_all(
        self, flows: Sequence[Flow], refused: dict[int, NetlinkError], timeout_s: float, fixed: bool
    ) -> None:
        """Make way for the flows that the kernel refused at first; take all back where that can't be."""
        made = [flow for index, flow in enumerate(flows) if index not in refused]
        try:
            for index, error in refused.items():
                flow = flows[index]
                if error.errno != errno.EEXIST:
                    raise NetlinkError(error.errno or errno.EIO, detail=_not_taken(flow))
                self._make_way(flow, timeout_s, fixed)
                made.append(flow)
        except (FlowTakenError, NetlinkError):
            self.end_flows(made)
            raise

    def check(self, flow: Flow, timeout_s: float, *, fixed: bool = False) -> FlowState:
        """Give the flow's entry `timeout_s` from now, and make it where it is gone. Raises FlowTakenError.

        A fixed timeout can't be changed (EPERM since Linux 6.0) nor the bit be cleared, so such an entry is replaced.
        Traffic is told without the kernel's counters, which are off by default: each packet sets the entry's time to
        the kernel's own timeout, and then what is left isn't what was given less what has passed. Of fixed ones
        nothing can be told.
        """
        entry = self.find(flow.protocol, flow.private, flow.remote)
        if entry is None or not _is_same(entry, flow):
            self.establish(flow, timeout_s, fixed=fixed)
            return FlowState(False, False)
        traffic = self._was_renewed(entry, flow)
        self._renew(entry, flow, timeout_s, fixed)
        self._note([flow], timeout_s, fixed)
        return FlowState(True, traffic)

    def end(self, flow: Flow) -> None:
        """Delete the flow's entry; one that is gone, or that isn't this flow's, is left alone."""
        self.end_flows((flow,))

    def end_flows(self, flows: Sequence[Flow]) -> None:
        """As `end`, for several flows; those that were made here, as most are, in one system call.

        What we made last for a way is what packets on it belong to, or what came after leaves as the same: only of
        other flows the entry has to be looked at. All are tried before the first refusal is raised.
        """
        refused: list[OSError] = []
        doomed = []
        for flow in flows:
            way = (flow.protocol, flow.private, flow.remote)
            given = self._given.get(way)
            if given is not None and given.public == flow.public:
                del self._given[way]
                doomed.append(flow_requests.delete_flow(flow))
                continue
            try:
                entry = self.find(*way)
            except OSError as error:
                refused.append(error)
                continue
            if entry is not None and _is_same(entry, flow):
                doomed.append(ctnetlink.delete(entry))
        for first in range(0, len(doomed), _MOST_AT_ONCE):
            try:
                self._delete(doomed[first : first + _MOST_AT_ONCE])
            except OSError as refusal:
                refused.append(refusal)
        if refused:
            raise refused[0]

    def find(self, protocol: int, source: Endpoint, destination: Endpoint) -> Tracked | None:
        """Return the entry that a packet source → destination belongs to, in whichever direction, or None."""
        try:
            answers = self._socket.request(ctnetlink.get(protocol, source, destination))
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return ctnetlink.decode_entry(answers[0].body) if answers else None

    def dump(self, protocol: int | None = None, reply_destination: str = "") -> Iterator[Tracked]:
        """Yield all of IPv4's entries, or those of a protocol and those whose answers go to the address given."""
        for entry in self._entries(ctnetlink.dump(protocol, reply_destination)):
            if protocol in (None, entry.protocol) and reply_destination in ("", entry.reply_destination.host):
                yield entry

    def concerning(
        self, protocol: int, ends: Iterable[Endpoint], ports: Iterable[int], *, ipv6: bool = False
    ) -> Iterator[Tracked]:
        """Yield a protocol's entries with one of the ends in either tuple, or begun from or to one of the ports.

        They are IPv4's, or with `ipv6` that family's. Many times as fast as `dump` over those that are of no
        concern.
        """
        bodies = (message.body for message in self._socket.request(ctnetlink.dump(protocol, ipv6=ipv6)))
        packed_ends = {ctnetlink.packed(end) for end in ends}
        found = ctnetlink.concerning(bodies, packed_ends, {port.to_bytes(2, "big") for port in ports})
        return (entry for entry in found if entry.protocol == protocol)

    def translated(self, public_host: str) -> Iterator[Translated]:
        """Yield all flows that hold a port of the address for another host; made for speed, see ctnetlink.

        Those whose answers go to the address, and those that came in to it and were forwarded.
        """
        address = ctnetlink.address(public_host)
        answered = self._socket.request(ctnetlink.dump(destination=public_host))
        let_in = self._socket.request(ctnetlink.dump(destination=public_host, original=True))
        return itertools.chain(
            ctnetlink.translated((message.body for message in answered), address),
            ctnetlink.let_in((message.body for message in let_in), address),
        )

    def source_nat_of(self, protocol: int, private: Endpoint, remote: Endpoint) -> Endpoint | None:
        """Return the endpoint that the flow private → remote leaves from: `private` itself where it isn't translated.

        None if conntrack has no such flow (also while its first packet waits in a queue: only what left is in the
        table). A flow that began outside and came in by destination NAT leaves from the address that it was sent to.
        """
        entry = self.find(protocol, private, remote)
        if entry is None:
            return None
        return entry.reply_destination if entry.original_source == private else entry.original_destination

    def end_all(self, public_host: str) -> int:
        """Delete every flow that leaves as the address, which was lost, or came in through it; return how many."""
        doomed = [
            entry
            for entry in self._entries(ctnetlink.dump(ipv6=":" in public_host))
            if (entry.reply_destination.host == public_host and entry.status & SOURCE_NAT)
            or (entry.original_destination.host == public_host and entry.status & DESTINATION_NAT)
        ]
        self.delete(doomed)
        self._given = {way: given for way, given in self._given.items() if given.public.host != public_host}
        return len(doomed)

    def find_untrue(self, untrue: Untrue) -> list[Tracked]:
        """Return the UDP flows that mappings which ended, or began, have made untrue.

        The whole table is walked for them, some milliseconds. Other hosts' flows are left out.
        """
        found: dict[Tracked, None] = {}
        came_in = untrue.ended_publics | untrue.begun
        # What answers to a public endpoint left from it, which only a mapping that ended can make untrue.
        for original, publics in ((False, untrue.ended_publics), (True, came_in)):
            ports = {public.port.to_bytes(2, "big") for public in publics}
            asked = publics if len(publics) <= _FEW_ENDPOINTS else {public._replace(port=0) for public in publics}
            for host, port in asked:
                for messages in self._socket.pieces(ctnetlink.dump(UDP, host, port, original=original)):
                    for message in messages:
                        if not ctnetlink.may_have_port(message.body, ports, original=original):
                            continue
                        entry = ctnetlink.decode_entry(message.body)
                        if entry is not None and untrue.concerns(entry):
                            found[entry] = None
        return list(found)

    def _entries(self, question: Message) -> Iterator[Tracked]:
        for message in self._socket.request(question):
            entry = ctnetlink.decode_entry(message.body)
            if entry is not None:
                yield entry

    def _was_renewed(self, entry: Tracked, flow: Flow) -> bool:
        """Tell whether the kernel has given the entry another timeout since we did."""
        given = self._given.get((flow.protocol, flow.private, flow.remote))
        if given is None or given.public != flow.public:
            return False
        left_s = given.timeout_s - (self._clock() - given.at)
        # The kernel tells whole seconds, rounded down.
        return not entry.timeout_s - _CLOCKS_APART_S <= left_s <= entry.timeout_s + 1 + _CLOCKS_APART_S

    def _note(self, flows: Sequence[Flow], timeout_s: float, fixed: bool) -> None:
        """Remember what flows were given now."""
        now, seconds = self._clock(), flow_requests.whole_seconds(timeout_s)
        for protocol, private, public, remote in flows:
            if fixed:
                self._given.pop((protocol, private, remote), None)
            else:
                self._given[protocol, private, remote] = new(_Given, (public, seconds, now))

    def delete(self, entries: Sequence[Tracked]) -> None:
        """Delete exactly these entries; one that is gone is no error."""
        for first in range(0, len(entries), _MOST_AT_ONCE):
            self._delete([ctnetlink.delete(entry) for entry in entries[first : first + _MOST_AT_ONCE]])

    def _delete(self, messages: Sequence[Message]) -> None:
        for error in self._socket.refusals(messages).values():
            if error.errno != errno.ENOENT:
                raise error

    def _renew(self, entry: Tracked, flow: Flow, timeout_s: float, fixed: bool) -> None:
        if fixed or entry.status & FIXED_TIMEOUT:
            self._replace([entry], flow, timeout_s, fixed)
            return
        if self._socket.refusals([flow_requests.change_timeout(flow, timeout_s)]):
            # It ended since we looked.
            self._make_way(flow, timeout_s, fixed)

    def _make_way(self, flow: Flow, timeout_s: float, fixed: bool) -> None:
        """Make the entry although something holds one of its tuples."""
        for _ in range(_ATTEMPTS):
            blockers: list[Tracked] = []
            for source, destination in ((flow.private, flow.remote), (flow.remote, flow.public)):
                entry = self.find(flow.protocol, source, destination)
                if entry is None or entry in blockers:
                    continue
                if _is_same(entry, flow) and not fixed and not entry.status & FIXED_TIMEOUT:
                    self._renew(entry, flow, timeout_s, fixed)
                    return
                reason = _owner(entry, flow)
                if reason:
                    raise FlowTakenError(reason)
                blockers.append(entry)
            if self._replace(blockers, flow, timeout_s, fixed):
                return
        raise FlowTakenError(f"packets keep making another entry for {_show(flow)}")

    def _replace(self, blockers: Sequence[Tracked], flow: Flow, timeout_s: float, fixed: bool) -> bool:
        """Delete and create in one system call, so that packets hardly get between; False if they did."""
        messages = [ctnetlink.delete(entry) for entry in blockers]
        refused = self._socket.refusals([*messages, flow_requests.create(flow, timeout_s, fixed)])
        error = refused.get(len(messages))
        if error is not None and error.errno != errno.EEXIST:
            raise NetlinkError(error.errno or errno.EIO, detail=_not_taken(flow))
        return error is None


def _is_same(entry: Tracked, flow: Flow) -> bool:
    return (
        entry.original_source == flow.private
        and entry.original_destination == entry.reply_source == flow.remote
        and entry.reply_destination == flow.public
    )


def _owner(entry: Tracked, flow: Flow) -> str:
    """Say whose entry stands in the flow's way, or "" where it may go.

    What may go: anything of this phone's own host, and what came in from outside and reached the router itself
    (early RTP) or this phone.
    """
    if entry.original_source.host == flow.private.host:
        return ""
    inbound = entry.original_source == flow.remote
    if inbound and entry.reply_source.host in (flow.private.host, entry.original_destination.host):
        return ""
    holder = entry.reply_source if inbound else entry.original_source
    return f"{flow.public} towards {flow.remote} is in use by {holder}"


def _not_taken(flow: Flow) -> str:
    return f"the kernel doesn't take the flow {_show(flow)}"


def _show(flow: Flow) -> str:
    return f"{flow.private} as {flow.public} to {flow.remote}"
