"""What the doctor knows before it judges: the router's state, the running ALG's answer, and what nobody could look at.

Facts only; `gather` collects them, `router_checks` and `traffic_checks` say what they mean. None stands for what
couldn't be looked at, which is something else than empty. On a packet's way this is beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Final, Literal, NamedTuple

from sipalg.capture.arguments import PRIVATE_NETWORKS
from sipalg.control.service import parts
from sipalg.control.settings.model import Settings
from sipalg.datapath.addresses import Interface
from sipalg.datapath.admin_conclusions import AdminRules
from sipalg.datapath.admin_model import PortRange
from sipalg.datapath.nat_address import NatAddress
from sipalg.datapath.preflight import Finding, Plan
from sipalg.engine.verdict import Endpoint

#: Where SIP servers listen that don't use 5060 and 5061: what PBXs and providers document.
USUAL_SIP_PORTS: Final = frozenset({*range(5060, 5091), 5160, 5161, 5260, 6060})

#: Does a sipalg run? `silent` is one that holds its socket and doesn't answer, `unknown` one that mayn't be asked.
Daemon = Literal["running", "none", "silent", "unknown"]


class SeenFlow(NamedTuple):
    """A flow that conntrack has, from an inside endpoint to the outside; `leaves_as` is where its answers go."""

    protocol: int
    private: Endpoint
    remote: Endpoint
    leaves_as: str


class Unseen(NamedTuple):
    """Something that couldn't be looked at, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Facts:
    """One router at one moment."""

    #: The settings that are judged, and where they are from, for people.
    settings: Settings
    source: str = "the command line"
    #: Why the settings file can't be used; "" where it can, or where there is none.
    file_problem: str = ""
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    #: The address that SIP leaves by, and the rules that translate to another.
    nat: NatAddress = field(default_factory=lambda: NatAddress(""))
    #: The plan's interfaces on which IPv4 forwarding is off.
    forwarding_off: tuple[str, ...] = ()
    #: The interfaces that default routes lead through.
    default_routes: tuple[str, ...] = ()
    #: The outside interface's reverse path filter: 0 off, 1 strict, 2 loose (ip-sysctl's rp_filter).
    reverse_path_filter: int | None = None
    #: The ports that programs on the router are lent.
    local_ports: PortRange | None = None
    #: Numbers of /proc/sys/net/netfilter by name, without the `nf_conntrack_` before it.
    conntrack: Mapping[str, int] = field(default_factory=dict)
    #: Is the kernel's own SIP helper loaded?
    helper_loaded: bool = False
    #: Flows that the kernel's own SIP helper has now.
    helped_flows: int | None = None
    #: What preflight finds missing in the kernel, and who else has the queue.
    kernel: tuple[Finding, ...] = ()
    rules: AdminRules | None = None
    flows: tuple[SeenFlow, ...] | None = None
    daemon: Daemon = "none"
    #: Why it doesn't answer.
    daemon_says: str = ""
    #: The running ALG's answer to `status`, and the private ends of its mappings.
    status: Mapping[str, Any] = field(default_factory=dict)
    mapped: frozenset[str] = frozenset()
    unseen: tuple[Unseen, ...] = ()

    @property
    def nat_address(self) -> str:
        """The address that SIP leaves by; "" where the outside interface has none."""
        return self.nat.host

    @property
    def plan(self) -> Plan:
        """What preflight is to look at."""
        return parts.plan(self.settings)

    def through_the_nat(self) -> list[SeenFlow]:
        """Return the flows that leave as the outside's address."""
        return [flow for flow in self.flows or () if flow.leaves_as == self.nat_address]

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        """Return one of the status's lists of rows; empty where an older or newer ALG has none."""
        rows = self.status.get(name)
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def table(self, *names: str) -> Mapping[str, Any]:
        """Return a mapping inside of the status; empty where there is none."""
        found: object = self.status
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}


def is_private(host: str) -> bool:
    """Tell whether an address is one of RFC 1918's."""
    return any(IPv4Address(host) in network for network in PRIVATE_NETWORKS)
