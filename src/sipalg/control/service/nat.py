"""The control socket's answer to `nat`: what our table does, as the rules that its maps and sets amount to.

One row for each thing that an element does, in the order in which the kernel tries them: what isn't translated, what
leaves from which port, who is let in to which phone. The administrator's own rules aren't here. Off a packet's way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sipalg.engine.alg import Alg
from sipalg.engine.verdict import ANYBODY_IPV4, TCP, UDP, Mapping

_PROTOCOLS: Final = {UDP: "udp", TCP: "tcp"}
#: How many mappings' rows come in one piece of the answer.
_MAPPINGS_IN_A_PIECE: Final = 100

Row = dict[str, Any]


def nat(alg: Alg, outside: str) -> Iterator[list[Row]]:
    """Yield rows, some at a time; keys are the words of /ip firewall nat with underscores."""
    untouched = {"chain": "srcnat", "action": "accept", "out_interface": outside, "comment": "except"}
    yield [{**untouched, "dst_address": str(network)} for network in alg.settings.exempt]
    mappings = [(entry.mapping, entry.peer_hosts()) for entry in alg.mappings.entries.values()]
    for rows in (_outward, _inward):
        for start in range(0, len(mappings), _MAPPINGS_IN_A_PIECE):
            piece = mappings[start : start + _MAPPINGS_IN_A_PIECE]
            yield [row for mapping, peers in piece for row in rows(alg, outside, mapping, peers)]


def _outward(_alg: Alg, outside: str, mapping: Mapping, _peers: tuple[str, ...]) -> list[Row]:
    """Return the rule that pins what leaves."""
    return [
        {
            "chain": "srcnat",
            "action": "src-nat",
            "protocol": _PROTOCOLS[mapping.protocol],
            "src_address": mapping.private.host,
            "src_port": str(mapping.private.port),
            "out_interface": outside,
            "to_addresses": mapping.public.host,
            "to_ports": str(mapping.public.port),
            "comment": mapping.purpose,
        }
    ]


def _inward(alg: Alg, outside: str, mapping: Mapping, peers: tuple[str, ...]) -> list[Row]:
    """Return the rules that let in.

    None for a port forward, which the administrator's rules let in themselves, and for direct media, whose flows are
    made one by one.
    """
    if mapping.adopted or mapping.purpose == "direct":
        return []
    settings = alg.settings
    from_whom: list[Row] = [{} if peer in (ANYBODY_IPV4, "::") else {"src_address": peer} for peer in peers]
    is_sip = mapping.purpose == "sip"
    if settings.direct_signalling if is_sip else settings.direct_media and not settings.media_filter:
        from_whom = [{}]
    elif is_sip and settings.trusted_peers:
        from_whom.append({"src_address_list": "trusted-peers"})
    return [
        {
            "chain": "dstnat",
            "action": "dst-nat",
            "protocol": _PROTOCOLS[mapping.protocol],
            **source,
            "dst_address": mapping.public.host,
            "dst_port": str(mapping.public.port),
            "in_interface": outside,
            "to_addresses": mapping.private.host,
            "to_ports": str(mapping.private.port),
            "comment": mapping.purpose,
        }
        for source in from_whom
    ]
