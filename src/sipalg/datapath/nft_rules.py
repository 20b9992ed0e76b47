"""Our table's rule set: which sets, chains and rules there are, for given settings and a given kernel.

Three ways of a packet lead through it: prerouting (one that comes for a public port becomes one for the phone),
forward after every filter chain (SIP goes to the queue), postrouting (what a phone sends leaves from the port that
its mapping says). What no element or port matches stays the administrator's rules' business. Only forward sees every
packet, so that its first rule is for media, the most of them. This module only writes; nft_table sends.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal, NamedTuple

from sipalg.codec.address import Network
from sipalg.datapath import nft_codec as nft
from sipalg.datapath.netlink import Message
from sipalg.datapath.nft_family import IPV4, IPV6, KIND_BYTES, Family, interval
from sipalg.datapath.nft_features import IPSEC_IN, IPSEC_OUT, Features
from sipalg.datapath.nft_forward import FLOWING_MEDIA, is_one_of
from sipalg.datapath.nft_frames import ElementFrame
from sipalg.datapath.reply import MARK
from sipalg.engine.verdict import TCP, UDP

SNAT_MAP: Final = "snat_map"
DNAT_MAP: Final = "dnat_map"
MEDIA_MAP: Final = "media_map"
SIP_PRIVATE: Final = "sip_private"
#: The keys of DNAT_MAP once more: before Linux 6.9 a rule can't ask a map whether it has a key, and only that.
SIP_PUBLIC: Final = "sip_public"
#: Who is let in to a mapping, by its public end: to sip mappings always, to media ones with `sip-direct-media=no` and
#: with `media-filter=yes`; then 0.0.0.0 is anybody, until the call is answered.
SIP_PEERS: Final = "sip_peers"
#: The protocols whose packets a process serves. Only what is in it goes to the queue, so that a process that hangs,
#: and renews nothing, is in nobody's way for longer than `SERVED_S`.
SERVED: Final = "served"
#: How long SIP waits for the next process when this one ends, in whatever way, before it is plain NAT: what a sender
#: doesn't get through in between it repeats, after 0.5, 1.5, 3.5 and 7.5 s (RFC 3261 §17.1).
SERVED_S: Final = 8.0
#: The keys of SNAT_MAP whose mappings are for direct media. No rule asks for them: an element says what it is.
DIRECT_MEDIA: Final = "direct_media"
_PROTOCOLS: Final = "protocols"
_SIP_PORTS: Final = "sip_ports"
_INSIDE: Final = "inside_ifaces"
EXCEPT: Final = "except"
_TRUSTED: Final = "trusted_peers"

#: The counter of packets that were given to the queue, whether somebody took them or not.
COUNTER_NAME: Final = "to_queue"
#: The counter of packets to a phone's public SIP port that no peer's rule let in: each a new flow's, as only those
#: meet NAT's chains.
STRANGERS_NAME: Final = "from_strangers"

#: Hooks and priorities: just after the administrator's dnat (-100), just before his snat (100), after his filters;
#: what must not be tracked is met before the connection tracker (-200).
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = 0, 1, 2, 3, 4
_BASE_CHAINS: Final = (
    ("prerouting", "nat", PREROUTING, -99),
    ("postrouting", "nat", POSTROUTING, 99),
    ("forward", "filter", FORWARD, 200),
    ("answers", "filter", OUTPUT, -300),
)
_NAT_CHAINS: Final = tuple(name for name, kind, *_ in _BASE_CHAINS if kind == "nat")
#: Where TCP goes on in the forward hook; nft_relay writes it. As a base chain it would cost each packet of UDP too.
TCP_CHAIN: Final = "tcp_forwarded"
#: None is a keyword of nft's, or what it lists could not be loaded again.
_PLAIN_CHAINS: Final = ("outbound", "inbound", "hairpin", "to_alg", TCP_CHAIN)

_MARK, _IIFNAME, _OIFNAME, _L4PROTO = 3, 6, 7, 16  # NFT_META_…
_CT_STATUS: Final = 2  # NFT_CT_STATUS
_STATUS_DNAT: Final = 0x20  # IPS_DST_NAT

#: A set: name, flags, type and size of its keys, and of a map's values.
_Set = tuple[str, int, tuple[int, int], tuple[int, int] | None]

_PORT = struct.Struct("!H")


def _sets(family: Family) -> tuple[_Set, ...]:
    """Return all sets; the first eight but `SERVED` hold mappings and peers, and outlive the process."""
    transport, end, address = family.transport_key, family.endpoint, family.address
    return (
        (SNAT_MAP, nft.MAP | nft.TIMEOUT, transport, end),
        (DNAT_MAP, nft.MAP | nft.TIMEOUT, transport, end),
        (MEDIA_MAP, nft.MAP | nft.TIMEOUT, transport, end),
        (SIP_PRIVATE, nft.TIMEOUT, transport, None),
        (SIP_PUBLIC, nft.TIMEOUT, transport, None),
        (SIP_PEERS, nft.TIMEOUT, family.peer_key, None),
        (SERVED, nft.TIMEOUT, (nft.PROTOCOL, 1), None),
        (DIRECT_MEDIA, nft.TIMEOUT, transport, None),
        (_PROTOCOLS, 0, (nft.PROTOCOL, 1), None),
        (_SIP_PORTS, 0, (nft.PORT, 2), None),
        (_INSIDE, 0, (nft.INTERFACE_NAME, nft.INTERFACE_NAME_BYTES), None),
        (EXCEPT, nft.INTERVAL, address, None),
        (_TRUSTED, nft.INTERVAL, address, None),
    )


def frames(table: str, family: Family = IPV4) -> dict[str, ElementFrame]:
    """Return, for each set of mappings or peers, what its elements' messages are made with."""
    found = {}
    for name, flags, key, data in _sets(family):
        if flags & nft.TIMEOUT and name != SERVED:
            user_bytes = KIND_BYTES if name == SNAT_MAP else 0
            found[name] = ElementFrame(table, name, key[1], data[1] if data else 0, family.number, user_bytes)
    return found


Ipv6Table = Literal["no", "as-it-is", "translated"]


class RelayRules(NamedTuple):
    """The relay for TCP: the port that it listens on, the bit by which its packets are marked."""

    port: int
    mark: int
    #: Whether new connections come to it, from inside and from outside; those that stand always do.
    outward: bool = True
    inward: bool = True
    #: Whether there ever was a connection for it: until then no packet is asked whether it is of one.
    in_use: bool = True


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What the rule set depends on. All but `name`, `outside` and the queues may change while it works."""

    #: The one outside interface.
    outside: str
    #: The interfaces that phones are behind.
    inside: tuple[str, ...]
    name: str = "sipalg"
    #: Is there a table for IPv6 too? Where that leaves as it is, it only brings packets to the queue.
    ipv6: Ipv6Table = "no"
    queue_number: int = 5060
    #: How many queues there are from that number on; which one a packet goes to is the hash of its two addresses.
    queues: int = 1
    #: The remote SIP servers' ports.
    ports: tuple[int, ...] = (5060, 5061)
    protocols: tuple[int, ...] = (UDP,)
    #: Remote networks that aren't NATed: never queued, never mapped.
    exempt: tuple[Network, ...] = ()
    #: Remote networks that may signal to any mapping.
    trusted_peers: tuple[Network, ...] = ()
    #: May anybody?
    direct_signalling: bool = False
    #: May media come from anybody while a call stands, or only from its own addresses?
    direct_media: bool = True
    #: Or from its own addresses once it is answered, and from anybody before?
    media_filter: bool = False
    #: Is it an observer that has the queue? Then no packet waits for another process.
    observing: bool = False
    #: How long new SIP flows live in the connection tracker.
    sip_timeout_s: float = 3600.0
    #: The same for those opened from outside that nobody answered yet (nf_conntrack_udp_timeout).
    unreplied_timeout_s: float = 30.0
    #: The relay for SIP over TCP, None where TCP is plain NAT.
    relay: RelayRules | None = None

    @property
    def families(self) -> tuple[Family, ...]:
        """The families that have a table."""
        return (IPV4,) if self.ipv6 == "no" else (IPV4, IPV6)


class Rule(NamedTuple):
    """One rule: its chain, its expressions and what it is for."""

    chain: str
    comment: str
    expressions: tuple[bytes, ...]


def interface_name(name: str) -> bytes:
    """Return an interface's name as rules compare it: 16 bytes, padded with NUL."""
    return name.encode().ljust(nft.INTERFACE_NAME_BYTES, b"\0")


def timeout_policies(settings: TableSettings) -> tuple[tuple[str, float, float], ...]:
    """Return name, unreplied and replied seconds of the timeout policies, first for flows opened from inside.

    The name tells the values, because objects can't be changed, only replaced. The kernel takes a UDP flow for replied
    only when it has packets both ways two seconds after its first (nf_conntrack_udp_packet), which a REGISTER and its
    200 never are: so from inside both values are sip-timeout, or a registered phone would be reachable for 30 s. What
    was opened from outside lives that long only once it was answered.
    """
    both = (settings.sip_timeout_s, settings.sip_timeout_s), (settings.unreplied_timeout_s, settings.sip_timeout_s)
    return tuple((f"sip-{int(unreplied)}-{int(replied)}", unreplied, replied) for unreplied, replied in both)


LOAD_PROTOCOL: Final = nft.load_meta(_L4PROTO)
#: The key of IPv4's maps.
BY_SOURCE: Final = IPV4.by_source()
BY_DESTINATION: Final = IPV4.by_destination()
_SOURCE_PORT: Final = nft.load_payload(2, 0, 2)
_DESTINATION_PORT: Final = nft.load_payload(2, 2, 2)
FROM_INSIDE: Final = (nft.load_meta(_IIFNAME), nft.is_in(_INSIDE))
TO_INSIDE: Final = (nft.load_meta(_OIFNAME), nft.is_in(_INSIDE))
TRANSLATED: Final = (nft.load_ct(_CT_STATUS), nft.mask(_STATUS_DNAT), nft.is_not_equal(bytes(4)))
IS_SERVED: Final = (LOAD_PROTOCOL, nft.is_in(SERVED))
_OUR_REPLY: Final = (nft.load_meta(_MARK), nft.is_equal(struct.pack("=I", MARK)))


def rules(settings: TableSettings, features: Features, family: Family = IPV4) -> tuple[Rule, ...]:
    """Return all rules of one family's table in their order."""
    by_source, by_destination = family.by_source(), family.by_destination()
    source, destination = family.load_source(), family.load_destination()
    dnat, snat = family.translate(destination=True), family.translate(destination=False)
    outside = interface_name(settings.outside)
    from_outside = (nft.load_meta(_IIFNAME), nft.is_equal(outside))
    to_outside = (nft.load_meta(_OIFNAME), nft.is_equal(outside))
    names = [interface_name(name) for name in settings.inside]
    from_inside, to_inside = (is_one_of(nft.load_meta(key), names, _INSIDE) for key in (_IIFNAME, _OIFNAME))
    other_protocols = is_one_of(LOAD_PROTOCOL, [bytes((one,)) for one in settings.protocols], _PROTOCOLS, invert=True)
    ipsec_out = [Rule("", "never what goes into a tunnel", (*IPSEC_OUT, nft.leave()))] if features.route_ipsec else []
    ipsec_in = [Rule("", "never what came out of a tunnel", (*IPSEC_IN, nft.leave()))] if features.secpath else []
    to_dnat_map = (*by_destination, nft.look_up(DNAT_MAP), dnat)
    to_nobody = (*by_destination, nft.is_in(SIP_PUBLIC), nft.use_object(nft.COUNTER, STRANGERS_NAME))
    to_media_map = (*by_destination, nft.look_up(MEDIA_MAP), dnat)
    count = nft.use_object(nft.COUNTER, COUNTER_NAME)
    exempt = any(map(family.holds, settings.exempt))
    to_exempt, from_exempt = (
        [Rule("", "networks that aren't NATed", (address, nft.is_in(EXCEPT), nft.leave()))] if exempt else []
        for address in (destination, source)
    )
    queue = (nft.queue if features.queue_expression else nft.xt_queue)(
        settings.queue_number, settings.queues, bypass=settings.observing
    )
    opened_inside, opened_outside = (_to_queue(name, features) for name, *_ in timeout_policies(settings))
    peer = (*family.by_peer(), nft.is_in(SIP_PEERS))
    anybody = Rule("", "media of a call, from anybody", (*from_outside, *to_media_map))
    its_own = Rule("", "media of a call, from its own addresses", (*from_outside, *peer, *to_media_map))
    unanswered = (*family.from_anybody(), nft.is_in(SIP_PEERS))
    early = Rule("", "media of a call before its answer, from anybody", (*from_outside, *unanswered, *to_media_map))
    of_calls = [its_own, early] if settings.media_filter else [its_own]
    over_tcp = Rule("", "SIP over TCP", (LOAD_PROTOCOL, nft.is_equal(bytes((TCP,))), nft.goto(TCP_CHAIN)))
    by_chain = {
        "prerouting": [
            *ipsec_in,
            Rule("", "known peers reach the phone", (*from_outside, *peer, *to_dnat_map)),
            Rule("", "trusted peers reach the phone", (*from_outside, source, nft.is_in(_TRUSTED), *to_dnat_map)),
            Rule("", "others don't, and are counted", (*from_outside, *to_nobody)),
            Rule("", "one phone reaches another by its public address", (*FROM_INSIDE, *to_dnat_map)),
            *([anybody] if settings.direct_media and not settings.media_filter else of_calls),
            Rule("", "media between phones by public addresses", (*FROM_INSIDE, *to_media_map)),
        ],
        "postrouting": [
            *ipsec_out,
            # On the way out only: a network that isn't NATed there may hold the phones that talk by public addresses.
            Rule("", "networks that aren't NATed", (*to_outside, destination, nft.is_in(EXCEPT), nft.leave())),
            Rule("", "leave from the mapping's port", (*to_outside, *by_source, nft.look_up(SNAT_MAP), snat)),
            Rule(
                "",
                "the same to a phone by its public address",
                (*TO_INSIDE, *TRANSLATED, *by_source, nft.look_up(SNAT_MAP), snat),
            ),
        ],
        "forward": [
            Rule("", "media that flow", (*FLOWING_MEDIA, nft.accept())),
            *([over_tcp] if settings.relay and family == IPV4 else []),
            Rule("", "other protocols", (*other_protocols, nft.leave())),
            *ipsec_out,
            *ipsec_in,
            # The interface that is known is asked for first: that is no look-up in a set.
            Rule("", "from phones", (*to_outside, *from_inside, nft.goto("outbound"))),
            Rule("", "to phones", (*from_outside, *to_inside, nft.goto("inbound"))),
            Rule("", "between phones", (*FROM_INSIDE, *TO_INSIDE, *TRANSLATED, nft.goto("hairpin"))),
        ],
        "answers": [Rule("", "the ALG's own answers", (*_OUR_REPLY, nft.no_track()))],
        "outbound": [
            *to_exempt,
            Rule("", "to SIP servers", (_DESTINATION_PORT, nft.is_in(_SIP_PORTS), *opened_inside)),
            Rule("", "from a phone's SIP port", (*by_source, nft.is_in(SIP_PRIVATE), *opened_inside)),
        ],
        "inbound": [
            *from_exempt,
            Rule("", "from SIP servers", (_SOURCE_PORT, nft.is_in(_SIP_PORTS), *opened_outside)),
            Rule("", "to a phone's SIP port", (*by_destination, nft.is_in(SIP_PRIVATE), *opened_outside)),
        ],
        "hairpin": [
            Rule("", "from a phone's SIP port", (*by_source, nft.is_in(SIP_PRIVATE), *opened_inside)),
            Rule("", "to a phone's SIP port", (*by_destination, nft.is_in(SIP_PRIVATE), *opened_inside)),
        ],
        "to_alg": [
            Rule("", "to the ALG, or the next if it comes soon", (*IS_SERVED, count, queue)),
            Rule("", "served by none: on as it is", (count,)),
        ],
    }
    if not _translates(settings, family):
        by_chain = {chain: of_chain for chain, of_chain in by_chain.items() if chain not in _NAT_CHAINS}
    return tuple(rule._replace(chain=chain) for chain, of_chain in by_chain.items() for rule in of_chain)


def _to_queue(policy: str, features: Features) -> tuple[bytes, ...]:
    """Return the end of a rule that sends a packet to the queue, and gives the flow that it may open its timeouts."""
    timeouts = (nft.use_object(nft.CT_TIMEOUT, policy),) if features.ct_timeout else ()
    return (*timeouts, nft.goto("to_alg"))


def _translates(settings: TableSettings, family: Family) -> bool:
    return family == IPV4 or settings.ipv6 == "translated"


def structure(
    settings: TableSettings, features: Features, stale_timeouts: Sequence[tuple[Family, str]] = ()
) -> list[Message]:
    """Return the messages that make the tables, or bring those that stand to these settings; their elements stay.

    `stale_timeouts` are names of timeout policies that a table has and that are to go.
    """
    messages = []
    for family in settings.families:
        messages += _structure(settings, features, family, [name for of, name in stale_timeouts if of == family])
        messages += settings_elements(settings, family)
    return messages + served(settings)


def _structure(
    settings: TableSettings, features: Features, family: Family, stale_timeouts: Sequence[str]
) -> list[Message]:
    name = settings.name
    messages = [nft.new_table(name, nft.OWNER | nft.PERSIST if features.owner_persist else 0)]
    for identity, (set_name, flags, key, data) in enumerate(_sets(family), start=1):
        messages.append(nft.new_set(name, set_name, identity, flags, key, data))
    messages.extend(nft.new_object(name, counter, nft.COUNTER) for counter in (COUNTER_NAME, STRANGERS_NAME))
    if features.ct_timeout:
        for policy, unreplied_s, replied_s in timeout_policies(settings):
            timeouts = nft.udp_timeouts(unreplied_s, replied_s, family.number)
            messages.append(nft.new_object(name, policy, nft.CT_TIMEOUT, *timeouts))
    # One of NAT's without rules would have the kernel look at every new flow. One that is left from other settings
    # finds mappings with equal ends, and does nothing.
    base = [chain for chain in _BASE_CHAINS if _translates(settings, family) or chain[0] not in _NAT_CHAINS]
    messages.extend(nft.new_base_chain(name, *chain) for chain in base)
    messages.extend(nft.new_chain(name, chain) for chain in _PLAIN_CHAINS)
    messages.extend(nft.flush_chain(name, chain) for chain, *_ in base)
    messages.extend(nft.flush_chain(name, chain) for chain in _PLAIN_CHAINS)
    messages.extend(nft.delete_object(name, stale, nft.CT_TIMEOUT) for stale in stale_timeouts)
    messages.extend(
        nft.new_rule(name, rule.chain, rule.expressions, rule.comment) for rule in rules(settings, features, family)
    )
    return family.messages(messages)


def served(settings: TableSettings) -> list[Message]:
    """Return the messages that bring packets to the queue, or have them be sent again, for `SERVED_S` from now on."""
    relayed = {TCP} if settings.relay is not None else set()
    keys = [bytes((protocol,)) for protocol in sorted({*settings.protocols} | relayed)]
    add = nft.elements(nft.NEW_ELEMENT, 0, settings.name, SERVED, [nft.element(key, None, SERVED_S) for key in keys])
    delete = nft.elements(nft.DELETE_ELEMENT, 0, settings.name, SERVED, [nft.element(key) for key in keys])
    # Before Linux 6.12 adding what stands leaves its time as it is.
    return [message for family in settings.families for message in family.messages([add, delete, add])]


def without_queue(settings: TableSettings, features: Features) -> list[Message]:
    """Return the messages that take the rules away which bring packets to the queue; NAT and its elements stay.

    What would have gone there is dropped while SERVED still holds: a message that its sender repeats to the next
    process is better than one that leaves as it is, with addresses that nobody can answer to. Of what an observer got,
    nothing is dropped.
    """
    name = settings.name
    forward = [chain for chain, _, hook, _ in _BASE_CHAINS if hook == FORWARD]
    chains = (*forward, *_PLAIN_CHAINS)
    waiting = [Rule("to_alg", "to the next ALG, if it comes soon", (*IS_SERVED, nft.drop()))]
    # Whether the table has timeout policies is nothing that matters then.
    features = features._replace(ct_timeout=False)
    messages = []
    for family in settings.families:
        left = [rule for rule in rules(settings, features, family) if rule.chain in chains and rule.chain != "to_alg"]
        left += [] if settings.observing else waiting
        flushes = [nft.flush_chain(name, chain) for chain in chains]
        kept = [nft.new_rule(name, rule.chain, rule.expressions, rule.comment) for rule in left]
        messages += family.messages(flushes + kept)
    return messages


def settings_elements(settings: TableSettings, family: Family = IPV4) -> list[Message]:
    """Return the messages that replace the contents of the sets which hold settings, in one family's table."""
    everybody = IPv4Network("0.0.0.0/0") if family == IPV4 else IPv6Network("::/0")
    exempt = [network for network in settings.exempt if family.holds(network)]
    trusted = [network for network in settings.trusted_peers if family.holds(network)]
    contents = (
        (_PROTOCOLS, [nft.element(bytes((protocol,))) for protocol in sorted(set(settings.protocols))]),
        (_SIP_PORTS, [nft.element(_PORT.pack(port)) for port in sorted(set(settings.ports))]),
        (_INSIDE, [nft.element(interface_name(name)) for name in sorted(set(settings.inside))]),
        (EXCEPT, interval(exempt)),
        (_TRUSTED, interval([everybody] if settings.direct_signalling else trusted)),
    )
    messages = []
    for name, members in contents:
        messages.append(nft.flush_set(settings.name, name))
        if members:
            messages.append(nft.elements(nft.NEW_ELEMENT, 0, settings.name, name, members))
    return family.messages(messages)
