"""Our table's rules for SIP over TCP: which connections come to the relay, and that the administrator judges them.

A new connection's first SYN goes through the forward hook as ever; if the administrator's filter lets it by, it is
noted here and dropped, and its repetition a second later is handed to the relay's listening socket. From then on the
connection's packets are those of local sockets, and find them by mark and routing rule. A process that is gone renews
nothing, so that new connections are plain NAT soon; what is left of its own gets a reset. Until a first connection was
noted no packet meets more of this than the forward hook's comparison of protocols. nft_table sends all this.
Source: Documentation/networking/tproxy.rst, net/netfilter/nft_tproxy.c, nft_socket.c.
"""

from __future__ import annotations

import socket
from typing import Final

from sipalg.datapath import nft_codec as nft
from sipalg.datapath.netlink import Message, text, u32
from sipalg.datapath.nft_features import IPSEC_IN, IPSEC_OUT, Features
from sipalg.datapath.nft_rules import (
    BY_DESTINATION,
    BY_SOURCE,
    EXCEPT,
    FORWARD,
    FROM_INSIDE,
    INPUT,
    IS_SERVED,
    LOAD_PROTOCOL,
    PREROUTING,
    SERVED,
    SIP_PRIVATE,
    TCP_CHAIN,
    TO_INSIDE,
    TRANSLATED,
    Rule,
    TableSettings,
    interface_name,
)
from sipalg.engine.verdict import TCP

#: Connections whose first SYN the administrator's filter has let by, for as long as it is repeated.
JUDGED: Final = "tcp_judged"
#: Connections of the relay as their phones see them: what the relay leaves behind is known by it.
RELAYED: Final = "tcp_relayed"
_PORTS: Final = "tcp_ports"
#: SIP over TLS (RFC 3261 §19.1.2): nobody can read it here, so it isn't taken.
TLS_PORT: Final = 5061
#: A SYN is repeated after 1, 3 and 7 s (tcp_syn_retries, RFC 6298 §2); after that the connection is judged anew.
_JUDGED_S: Final = 10.0
#: How long a relayed connection is remembered after its last packet: as RFC 5382 REQ-5 has it, 2 hours 4 minutes.
_RELAYED_S: Final = 7440.0
#: New connections at once, and connections in all; beyond, they are plain NAT.
_MOST_JUDGED: Final = 4096
_MOST_RELAYED: Final = 65536

#: SYNs handed to the relay's socket, from inside and from outside, and those of them that came through the
#: administrator's INPUT chain.
TO_RELAY_NAMES: Final = ("tcp_to_relay_from_inside", "tcp_to_relay_from_outside")
AT_RELAY_NAMES: Final = ("tcp_at_relay_from_inside", "tcp_at_relay_from_outside")
#: First SYNs that were noted: as soon as there is one, there is a use for the relay.
NOTED_NAME: Final = "tcp_noted"
#: New connections to the port of SIP over TLS, left alone.
TLS_NAME: Final = "tcp_tls_untouched"

_LISTENS_AT: Final = "127.0.0.1"
_CONNECTION: Final = (nft.concatenated(nft.IPV4_ADDRESS, nft.PORT, nft.IPV4_ADDRESS, nft.PORT), 16)
_SETS: Final = (
    (JUDGED, nft.TIMEOUT | nft.DYNAMIC, _CONNECTION, _MOST_JUDGED),
    (RELAYED, nft.TIMEOUT | nft.DYNAMIC, _CONNECTION, _MOST_RELAYED),
    (_PORTS, 0, (nft.PORT, 2), 0),
)
#: Identities of sets are unique in a transaction, and nft_rules counts from 1.
_FIRST_IDENTITY: Final = 100
#: After every destination NAT (-100), where a packet has the addresses that the forward hook sees too.
_AT_PREROUTING: Final = ("tcp_relay", "filter", PREROUTING, -90)
_AT_INPUT: Final = ("tcp_input", "filter", INPUT, 200)
#: An earlier version's, in place of TCP_CHAIN.
_EARLIER: Final = ("tcp_forward", "filter", FORWARD, 200)
_JUDGE: Final = "tcp_judge"

_THIS_CONNECTION: Final = (
    nft.load_payload(1, 12, 4),
    nft.load_payload(2, 0, 2, 1),
    nft.load_payload(1, 16, 4, 2),
    nft.load_payload(2, 2, 2, 3),
)
_OF_TCP: Final = (LOAD_PROTOCOL, nft.is_equal(bytes((TCP,))))
_NOT_TCP: Final = (LOAD_PROTOCOL, nft.is_not_equal(bytes((TCP,))))
#: TCP's flags without PSH, URG and those of ECN: FIN, SYN, RST, ACK.
_FLAGS: Final = (nft.load_payload(2, 13, 1), nft.mask_byte(0x17))
_SYN: Final = b"\x02"
_FIRST: Final = (*_FLAGS, nft.is_equal(_SYN))
_NOT_FIRST: Final = (*_FLAGS, nft.is_not_equal(_SYN))
_TRANSPARENT: Final = (nft.load_socket(mark=False), nft.is_equal(b"\1"))
_TO_PORTS: Final = (nft.load_payload(2, 2, 2), nft.is_in(_PORTS))
_SOURCE: Final = nft.load_payload(1, 12, 4)
_DESTINATION: Final = nft.load_payload(1, 16, 4)


def rules(settings: TableSettings, features: Features) -> tuple[Rule, ...]:
    """Return the rules in their order, none without a relay."""
    relay = settings.relay
    if relay is None:
        return ()
    mark = nft.set_mark(relay.mark)
    hand_over = (*nft.to_local_socket(socket.inet_aton(_LISTENS_AT), relay.port), *mark, nft.accept())
    at_relay = (nft.load_meta(3), nft.mask(relay.mark), nft.is_not_equal(bytes(4)))
    from_outside = (nft.load_meta(6), nft.is_equal(interface_name(settings.outside)))
    open_to = (relay.outward, relay.inward)
    sides = tuple(zip((FROM_INSIDE, from_outside), TO_RELAY_NAMES, AT_RELAY_NAMES, open_to, strict=True))
    ipsec_in = [Rule("", "never what came out of a tunnel", (*IPSEC_IN, nft.leave()))] if features.secpath else []
    by_chain = {
        "tcp_relay": [
            Rule("", "other protocols", (*_NOT_TCP, nft.leave())),
            *ipsec_in,
            *_standing(settings),
            *(
                Rule(
                    "",
                    "let by: to the relay",
                    (*side, *_FIRST, *_THIS_CONNECTION, nft.is_in(JUDGED), _count(to_relay), *hand_over),
                )
                for side, to_relay, _, is_open in sides
                if is_open
            ),
        ],
        TCP_CHAIN: [*_forward(features), *_new(settings)],
        "tcp_input": [
            Rule(
                "", "came through the filter of local packets", (*_OF_TCP, *side, *at_relay, *_FIRST, _count(arrived))
            )
            for side, _, arrived, _ in sides
        ],
        _JUDGE: [
            Rule(
                "",
                "its repetition goes to the relay",
                (*_THIS_CONNECTION, nft.note_in(JUDGED, _JUDGED_S), _count(NOTED_NAME), nft.drop()),
            )
        ],
    }
    if not relay.in_use:
        del by_chain["tcp_relay"]
    return _in_chains(by_chain)


def _standing(settings: TableSettings) -> list[Rule]:
    """Return the rules by which packets find the sockets that they are for."""
    if settings.relay is None:
        return []
    bit = settings.relay.mark
    # The relay's sockets bear the same bit as its packets: other programs may have transparent sockets too.
    ours = (nft.load_socket(mark=True), nft.mask(bit), nft.is_not_equal(bytes(4)))
    note = (*_THIS_CONNECTION, nft.note_in(RELAYED, _RELAYED_S, renew=True))
    take = (*nft.set_mark(bit), nft.accept())
    # One that is opening or in TIME_WAIT has no mark that could be asked for.
    partly = (*_NOT_FIRST, *_TRANSPARENT, *_THIS_CONNECTION)
    return [
        Rule("", "note the relay's connections", (*ours, *note)),
        Rule("", "the relay's connections", (*ours, *take)),
        Rule("", "those that are opening", (*partly, nft.is_in(JUDGED), *take)),
        Rule("", "those that have ended", (*partly, nft.is_in(RELAYED), *take)),
    ]


def _forward(features: Features) -> list[Rule]:
    """Return the rules for what is forwarded and isn't a new connection."""
    ipsec = [Rule("", "never what goes into a tunnel", (*IPSEC_OUT, nft.leave()))] if features.route_ipsec else []
    ipsec += [Rule("", "never what came out of a tunnel", (*IPSEC_IN, nft.leave()))] if features.secpath else []
    # What begins here is none of the relay's: its phone may have had one of the same ports before.
    begins = (*_FIRST, *_THIS_CONNECTION, nft.forget_in(RELAYED))
    left_behind = (*FROM_INSIDE, *_NOT_FIRST, *_THIS_CONNECTION, nft.is_in(RELAYED), nft.reset())
    return [
        *ipsec,
        Rule("", "of a relay that is gone", left_behind),
        Rule("", "anew", begins),
        Rule("", "not a first packet", (*_NOT_FIRST, nft.leave())),
    ]


def _new(settings: TableSettings) -> list[Rule]:
    """Return the rules for a new connection that the administrator's filter has let by, none if none is wanted."""
    relay = settings.relay
    if relay is None or not (relay.outward or relay.inward):
        return []
    outside = interface_name(settings.outside)
    from_outside = (nft.load_meta(6), nft.is_equal(outside))
    outward = (*FROM_INSIDE, nft.load_meta(7), nft.is_equal(outside))
    inward = (*from_outside, *TO_INSIDE)
    around = (*FROM_INSIDE, *TO_INSIDE, *TRANSLATED)
    tls = (nft.load_payload(2, 2, 2), nft.is_equal(TLS_PORT.to_bytes(2, "big")))
    judge = nft.goto(_JUDGE)
    from_phones = [
        Rule("", "to SIP servers", (*outward, *_TO_PORTS, judge)),
        Rule("", "from a phone's SIP port", (*outward, *BY_SOURCE, nft.is_in(SIP_PRIVATE), judge)),
        Rule("", "to a phone's SIP port from inside", (*around, *BY_DESTINATION, nft.is_in(SIP_PRIVATE), judge)),
    ]
    to_phones = [Rule("", "to a phone's SIP port", (*inward, *BY_DESTINATION, nft.is_in(SIP_PRIVATE), judge))]
    return [
        Rule("", "TLS, which nobody can read", (*tls, _count(TLS_NAME), nft.leave())),
        Rule("", "no process: plain NAT", (LOAD_PROTOCOL, nft.is_in(SERVED, invert=True), nft.leave())),
        Rule("", "networks that aren't NATed", (*outward, _DESTINATION, nft.is_in(EXCEPT), nft.leave())),
        Rule("", "networks that aren't NATed", (*from_outside, _SOURCE, nft.is_in(EXCEPT), nft.leave())),
        *(from_phones if relay.outward else []),
        *(to_phones if relay.inward else []),
    ]


def _count(name: str) -> bytes:
    return nft.use_object(nft.COUNTER, name)


def _in_chains(by_chain: dict[str, list[Rule]]) -> tuple[Rule, ...]:
    return tuple(rule._replace(chain=chain) for chain, of_chain in by_chain.items() for rule in of_chain)


def structure(settings: TableSettings, features: Features) -> list[Message]:
    """Return the messages that add all this to the table, or bring it to these settings; without a relay it is empty.

    They come behind those of `nft_rules.structure`, in the same transaction.
    """
    name = settings.name
    messages = [
        nft.new_set(name, set_name, _FIRST_IDENTITY + place, flags, key, size=size)
        for place, (set_name, flags, key, size) in enumerate(_SETS)
    ]
    counters = (*TO_RELAY_NAMES, *AT_RELAY_NAMES, NOTED_NAME, TLS_NAME)
    messages += [nft.new_object(name, counter, nft.COUNTER) for counter in counters]
    # A base chain costs each packet of its hook something, of media too.
    hooked = (_AT_PREROUTING, _AT_INPUT) if _in_use(settings) else (_AT_INPUT,)
    for chain in (_AT_PREROUTING, _AT_INPUT, _EARLIER):
        messages += [nft.new_base_chain(name, *chain), nft.flush_chain(name, chain[0])]
        messages += [] if chain in hooked else [nft.message(nft.DELETE_CHAIN, 0, text(1, name), text(3, chain[0]))]
    messages += [nft.new_chain(name, _JUDGE), nft.flush_chain(name, _JUDGE), nft.flush_chain(name, TCP_CHAIN)]
    messages += _written(name, rules(settings, features))
    messages.append(nft.flush_set(name, _PORTS))
    ports = [nft.element(port.to_bytes(2, "big")) for port in sorted({*settings.ports} - {TLS_PORT})]
    if ports:
        messages.append(nft.elements(nft.NEW_ELEMENT, 0, name, _PORTS, ports))
    return messages


def without_relay(settings: TableSettings, features: Features) -> list[Message]:
    """Return the messages that bring no connection to a relay any more: its process ends.

    A new connection's first SYN is dropped while SERVED still holds, since the next process may be there when it is
    repeated. What is left of the relay's own connections still finds its sockets, or gets a reset.
    """
    by_chain: dict[str, list[Rule]] = {TCP_CHAIN: _forward(features), _JUDGE: [], _AT_INPUT[0]: []}
    if _in_use(settings):
        by_chain["tcp_relay"] = [Rule("", "other protocols", (*_NOT_TCP, nft.leave())), *_standing(settings)]
    if not settings.observing:
        by_chain[TCP_CHAIN] += _new(settings)
        by_chain[_JUDGE] = [Rule("", "to the next ALG, if it comes soon", (*IS_SERVED, nft.drop()))]
    left = _in_chains(by_chain) if settings.relay is not None else ()
    return [*(nft.flush_chain(settings.name, chain) for chain in by_chain), *_written(settings.name, left)]


def ask_for_noted(table: str) -> Message:
    """Ask for the counter of first SYNs that were noted."""
    return nft.message(nft.GET_OBJECT, 0, text(1, table), text(2, NOTED_NAME), u32(3, nft.COUNTER))


def _in_use(settings: TableSettings) -> bool:
    return settings.relay is not None and settings.relay.in_use


def _written(name: str, of_chains: tuple[Rule, ...]) -> list[Message]:
    return [nft.new_rule(name, rule.chain, rule.expressions, rule.comment) for rule in of_chains]
