"""Who may signal to a phone: the servers that it sent requests to, by the mapping that it sent them from.

A stranger's INVITE rings nobody, since the kernel lets packets in to a sip mapping only from peers noted here. A port
that the phone names but doesn't send from (Cisco phones, phones that listen elsewhere) has no flow of its own yet:
one is established towards the server, as for media. On a packet's way this follows the mapping of the sender.
"""

from __future__ import annotations

from typing import Final

from sipalg.engine.policy import LINGER_S, MAX_PEERS_PER_MAPPING
from sipalg.engine.rows import Entry, MappingKey
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import AdmitPeer, CheckFlow, DismissPeer, EndFlow, Endpoint, EstablishFlow, Flow

#: Sets of peers that are remembered, so that equal ones are one object.
_SAME: Final = 1024


class Peers:
    """Who is let in to each mapping, which has them as `Entry.peers`, and the `flows` made for it."""

    def __init__(self, settings: Settings, refused_flows: dict[Flow, bool]) -> None:
        self.settings = settings
        self._refused_flows = refused_flows
        #: One object for equal peers: most phones have the same servers.
        self._same: dict[tuple[Endpoint, ...], tuple[Endpoint, ...]] = {}
        self.flows: dict[MappingKey, tuple[Flow, ...]] = {}
        #: Flows that were there before sipalg, so that the kernel's timeout policy doesn't apply to them, and when
        #: they were last refreshed.
        self.tended: dict[tuple[MappingKey, Endpoint], float] = {}

    def admit(self, transaction: Transaction, entry: Entry, remote: Endpoint) -> None:
        """Let `remote`'s address in to the mapping, once. Its port is 0 if there is no flow that ends with it."""
        for peer in entry.peers:
            if peer.host == remote.host:
                return
        if len(entry.peers) >= MAX_PEERS_PER_MAPPING:
            transaction.tell("too-many-peers", private=entry.key[1], peer=remote)
            return
        self._set(transaction, entry, (*entry.peers, remote))
        transaction.commands.append(AdmitPeer(entry.mapping, remote.host, self._lease_s(transaction, entry)))
        transaction.tell("peer-admitted", private=entry.key[1], peer=remote.host)

    def dismiss_one(self, transaction: Transaction, entry: Entry, host: str) -> None:
        """Let an address in no more; what flows already goes on until it is silent."""
        self._set(transaction, entry, tuple([peer for peer in entry.peers if peer.host != host]))
        transaction.commands.append(DismissPeer(entry.mapping, host))

    def correct(self, transaction: Transaction, entry: Entry, remote: Endpoint) -> None:
        """Let a peer in with the port that is known of it, or note that port of one that is let in already."""
        for peer in entry.peers:
            if peer.host == remote.host:
                break
        else:
            self.admit(transaction, entry, remote)
            return
        if peer != remote:
            peers = [remote if peer.host == remote.host else peer for peer in entry.peers]
            self._set(transaction, entry, tuple(peers))

    def establish(self, transaction: Transaction, entry: Entry, remote: Endpoint) -> None:
        """Make the flow between a port that the phone named but didn't send from, and the server it named it to."""
        flow = Flow(*entry.key, entry.public, remote)
        flows = self.flows.get(entry.key, ())
        if flow in flows or len(flows) >= MAX_PEERS_PER_MAPPING:
            return
        transaction.put(self.flows, entry.key, (*flows, flow))
        if flow not in self._refused_flows:
            transaction.commands.append(EstablishFlow(flow, self.settings.sip_timeout_s, fixed=True))
        transaction.wake(transaction.now + 0.5 * self.settings.sip_timeout_s, ("peers", entry.key))

    def tend(self, transaction: Transaction, entry: Entry, remote: Endpoint) -> None:
        """Refresh a flow older than sipalg on its packets, at most every tenth of sip-timeout."""
        place = (entry.key, remote)
        last = self.tended.get(place)
        if last is None or transaction.now - last < 0.1 * self.settings.sip_timeout_s:
            return
        transaction.put(self.tended, place, transaction.now)
        flow = Flow(*entry.key, entry.public, remote)
        transaction.commands.append(CheckFlow(flow, self.settings.sip_timeout_s, fixed=True))

    def forget(self, flow: Flow) -> None:
        """Tend a flow no more that the kernel won't have."""
        self.tended.pop(((flow.protocol, flow.private), flow.remote), None)

    def look_after(self, transaction: Transaction, key: MappingKey) -> None:
        """Handle the timer of a mapping's own flows: they are kept for as long as the mapping."""
        flows = self.flows.get(key)
        if flows:
            transaction.commands.extend(CheckFlow(flow, self.settings.sip_timeout_s, fixed=True) for flow in flows)
            transaction.wake(transaction.now + 0.5 * self.settings.sip_timeout_s, ("peers", key))

    def retime(self, transaction: Transaction) -> None:
        """Give the flows that were made here another sip-timeout, now; those that are tended the driver adopts."""
        for key in self.flows:
            self.look_after(transaction, key)

    def renew(self, transaction: Transaction, entry: Entry) -> None:
        """Give a mapping's peers a new lease along with the mapping itself."""
        transaction.commands.extend(
            AdmitPeer(entry.mapping, peer.host, self._lease_s(transaction, entry)) for peer in entry.peers
        )

    def dismiss(self, transaction: Transaction, entry: Entry) -> None:
        """Forget an ended mapping's peers, and end its flows: a new mapping must not meet an old flow."""
        key = entry.key
        mapping = entry.mapping
        for peer in entry.peers:
            transaction.commands.append(DismissPeer(mapping, peer.host))
            if peer.port:
                transaction.commands.append(EndFlow(Flow(mapping.protocol, mapping.private, mapping.public, peer)))
        for place in [place for place in self.tended if place[0] == key]:
            transaction.commands.append(EndFlow(Flow(mapping.protocol, mapping.private, mapping.public, place[1])))
            transaction.remove(self.tended, place)
        for flow in self.flows.get(key, ()):
            transaction.commands.append(EndFlow(flow))
            transaction.remove(self._refused_flows, flow)
        transaction.remove(self.flows, key)

    def _lease_s(self, transaction: Transaction, entry: Entry) -> float:
        """How long a peer is let in unrefreshed: as long as its mapping's element, since both are renewed together.

        That isn't twice sip-timeout where this was another when the mapping was renewed last.
        """
        return max(LINGER_S, entry.lease_until - transaction.now)

    def _set(self, transaction: Transaction, entry: Entry, peers: tuple[Endpoint, ...]) -> None:
        """Set a mapping's peers."""
        if len(self._same) >= _SAME:
            self._same.clear()
        transaction.keep(entry)
        entry.peers = self._same.setdefault(peers, peers)
