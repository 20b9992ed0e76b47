"""The settings split up: what the engine needs of them, what the table in the kernel, and what preflight looks at.

The three don't know each other's settings; here they are made from one. At start and at each change, off a packet's
way.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from sipalg.codec.address import Network
from sipalg.control.service.ipv6 import table_of
from sipalg.control.settings.model import Settings
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.nfqueue import QUEUES
from sipalg.datapath.nft_rules import TableSettings
from sipalg.datapath.preflight import Plan
from sipalg.engine.settings import Ipv6
from sipalg.engine.settings import Settings as EngineSettings

_TIMEOUTS: Final = Path("/proc/sys/net/netfilter")


def engine_settings(
    settings: Settings,
    nat_address: str,
    stream_timeout_s: float,
    exempt: tuple[Network, ...] | None = None,
    ipv6: Ipv6 | None = None,
) -> EngineSettings:
    """Return the engine's settings; `stream_timeout_s` is the kernel's timeout of UDP streams.

    `exempt` are all networks that aren't NATed where there are more of them than the settings name.
    """
    return EngineSettings(
        inside_interfaces=frozenset(settings.inside),
        nat_address=nat_address,
        advertised_address=settings.public or nat_address,
        ports=settings.ports,
        media_ports=settings.media_ports,
        sip_timeout_s=settings.sip_timeout_s,
        call_timeout_s=settings.call_timeout_s,
        flow_check_s=min(50.0, max(1.0, stream_timeout_s * 0.4)),
        exempt=settings.exempt if exempt is None else exempt,
        trusted_peers=settings.trusted_peers,
        direct_signalling=settings.direct_signalling,
        mode=settings.mode,
        direct_media=settings.direct_media,
        media_filter=settings.media_filter,
        inside_servers=settings.inside_servers,
        disabled=settings.disabled,
        ipv6=ipv6,
    )


def table_settings(
    settings: Settings,
    unreplied_timeout_s: float,
    exempt: tuple[Network, ...] | None = None,
    ipv6: Ipv6 | None = None,
) -> TableSettings:
    """Return the table's settings; `unreplied_timeout_s` is the kernel's timeout of UDP without an answer."""
    return TableSettings(
        outside=settings.outside,
        inside=settings.inside,
        queue_number=settings.queue_number,
        queues=QUEUES,
        ports=settings.ports,
        exempt=settings.exempt if exempt is None else exempt,
        trusted_peers=settings.trusted_peers,
        direct_signalling=settings.direct_signalling,
        direct_media=settings.direct_media,
        media_filter=settings.media_filter,
        observing=settings.mode == "observe",
        sip_timeout_s=settings.sip_timeout_s,
        unreplied_timeout_s=unreplied_timeout_s,
        ipv6=table_of(ipv6),
    )


def plan(settings: Settings) -> Plan:
    """Return what preflight is to look at; an observer is in nobody's way."""
    return Plan(
        inside=settings.inside,
        outside=settings.outside,
        ports=settings.ports,
        media_ports=PortRange(*settings.media_ports),
        queue_number=settings.queue_number,
        exempt=tuple(network for network in settings.exempt if isinstance(network, IPv4Network)),
        allow_offload=settings.allow_offload or settings.mode == "observe",
        public=settings.public,
    )


def stream_timeout_s() -> float:
    """Return the kernel's timeout of UDP streams in this namespace, seconds."""
    return _kernel_timeout("nf_conntrack_udp_timeout_stream", 120.0)


def unreplied_timeout_s() -> float:
    """Return the kernel's timeout of UDP flows without an answer in this namespace, seconds."""
    return _kernel_timeout("nf_conntrack_udp_timeout", 30.0)


def _kernel_timeout(name: str, default_s: float) -> float:
    try:
        return float((_TIMEOUTS / name).read_text())
    except (OSError, ValueError):
        return default_s
