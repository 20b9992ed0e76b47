"""Media flows in the kernel's connection tracker: made before the first packet, looked after, and ended.

A firewall that forwards `ct state established,related` lets a flow through once conntrack has an entry for it. So
the ALG makes the entry itself when both ends of a flow are known: that is the pinhole, and its NAT is the mapping.
No media packet ever comes to user space. Entries that stand in the way (early RTP that INPUT took, the phone's
previous call) are deleted, but never another inside host's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from socket import inet_aton
from types import TracebackType
from typing import Final, NamedTuple, Self

from sipalg.datapath import ctnetlink
from sipalg.datapath.ctnetlink import DESTINATION_NAT, FIXED_TIMEOUT, SOURCE_NAT, Entry, Translated
from sipalg.datapath.netlink import NetlinkError, NetlinkSocket
from sipalg.engine.verdict import Endpoint, Flow

#: RTP that keeps coming makes the entry in its way again, between our deleting it and our next try.
_ATTEMPTS: Final = 4


class FlowTakenError(Exception):
    """Somebody else's entry holds one of the flow's tuples; the text says whose. Another public port is needed."""


class FlowState(NamedTuple):
    """What `check` found: was the entry `there`, and its packets (private → remote, back) if accounting is on."""

    there: bool
    packets: tuple[int, int] | None


class Conntrack:
    """The connection tracker of the network namespace that this is made in, over one netlink socket.

    Every method raises NetlinkError where the kernel refuses for reasons that aren't the flow's (no privilege, table
    full). Hosts must be IPv4 literals.
    """

    def __init__(self) -> None:
        self._socket = NetlinkSocket()

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
        results = self._socket.acknowledge([ctnetlink.create(flow, timeout_s, fixed) for flow in flows])
        try:
            for flow, result in zip(flows, results, strict=True):
                if result == errno.EEXIST:
                    self._make_way(flow, timeout_s, fixed)
                elif result:
                    raise NetlinkError(result, detail=f"the kernel doesn't take the flow {_show(flow)}")
        except (FlowTakenError, NetlinkError):
            made = [flow for flow, result in zip(flows, results, strict=True) if not result]
            for flow in made:
                self.end(flow)
            raise

    def check(self, flow: Flow, timeout_s: float, *, fixed: bool = False) -> FlowState:
        """Give the flow's entry `timeout_s` from now, and make it where it is gone. Raises FlowTakenError.

        A fixed timeout can't be changed (EPERM since Linux 6.0) nor the bit be cleared, so such an entry is replaced.
        """
        entry = self.find(flow.protocol, flow.private, flow.remote)
        if entry is None or not _is_same(entry, flow):
            self.establish(flow, timeout_s, fixed=fixed)
            return FlowState(False, None)
        self._renew(entry, flow, timeout_s, fixed)
        return FlowState(True, entry.packets)

    def end(self, flow: Flow) -> None:
        """Delete the flow's entry; one that is gone, or that isn't this flow's, is left alone."""
        entry = self.find(flow.protocol, flow.private, flow.remote)
        if entry is not None and _is_same(entry, flow):
            self._delete([entry])

    def find(self, protocol: int, source: Endpoint, destination: Endpoint) -> Entry | None:
        """Return the entry that a packet source → destination belongs to, in whichever direction, or None."""
        try:
            answers = self._socket.request(ctnetlink.get(protocol, source, destination))
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return ctnetlink.decode_entry(answers[0].body) if answers else None

    def dump(self, protocol: int | None = None, reply_destination: str = "") -> Iterator[Entry]:
        """Yield all entries, or those of a protocol and those whose answers go to the address given."""
        for message in self._socket.request(ctnetlink.dump(protocol, reply_destination)):
            entry = ctnetlink.decode_entry(message.body)
            if (
                entry is not None
                and protocol in (None, entry.protocol)
                and reply_destination in ("", entry.reply_destination.host)
            ):
                yield entry

    def translated(self, public_host: str) -> Iterator[Translated]:
        """Yield all flows of inside hosts whose answers go to the address; made for speed, see ctnetlink."""
        messages = self._socket.request(ctnetlink.dump(reply_destination=public_host))
        return ctnetlink.translated((message.body for message in messages), inet_aton(public_host))

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
            for entry in self.dump()
            if (entry.reply_destination.host == public_host and entry.status & SOURCE_NAT)
            or (entry.original_destination.host == public_host and entry.status & DESTINATION_NAT)
        ]
        self._delete(doomed)
        return len(doomed)

    def _delete(self, entries: Sequence[Entry]) -> None:
        for result in self._socket.acknowledge([ctnetlink.delete(entry) for entry in entries]):
            if result not in (0, errno.ENOENT):
                raise NetlinkError(result)

    def _renew(self, entry: Entry, flow: Flow, timeout_s: float, fixed: bool) -> None:
        if fixed or entry.status & FIXED_TIMEOUT:
            self._replace([entry], flow, timeout_s, fixed)
            return
        result = self._socket.acknowledge([ctnetlink.change_timeout(flow, timeout_s)])[0]
        if result:
            # It ended since we looked.
            self._make_way(flow, timeout_s, fixed)

    def _make_way(self, flow: Flow, timeout_s: float, fixed: bool) -> None:
        """Make the entry although something holds one of its tuples."""
        for _ in range(_ATTEMPTS):
            blockers: list[Entry] = []
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

    def _replace(self, blockers: Sequence[Entry], flow: Flow, timeout_s: float, fixed: bool) -> bool:
        """Delete and create in one system call, so that packets hardly get between; False if they did."""
        messages = [ctnetlink.delete(entry) for entry in blockers]
        result = self._socket.acknowledge([*messages, ctnetlink.create(flow, timeout_s, fixed)])[-1]
        if result not in (0, errno.EEXIST):
            raise NetlinkError(result, detail=f"the kernel doesn't take the flow {_show(flow)}")
        return result == 0


def _is_same(entry: Entry, flow: Flow) -> bool:
    return (
        entry.original_source == flow.private
        and entry.original_destination == entry.reply_source == flow.remote
        and entry.reply_destination == flow.public
    )


def _owner(entry: Entry, flow: Flow) -> str:
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


def _show(flow: Flow) -> str:
    return f"{flow.private} as {flow.public} to {flow.remote}"
