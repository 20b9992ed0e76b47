"""What the router itself has against SIP: interfaces, addresses, kernel, firewall rules, the connection tracker.

Pure functions from facts to findings, off every packet's way. Each one is silent where all is well, and where its
facts couldn't be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from sipalg.datapath import preflight
from sipalg.datapath.preflight import Finding
from sipalg.doctor.facts import Facts, is_private

#: Between a customer's router and a carrier's NAT (RFC 6598).
_CARRIERS: Final = IPv4Network("100.64.0.0/10")

#: A request is sent again after at most 4 s (RFC 3261 §17.1.2.2, T2); a flow that ends before is opened each time.
_SHORTEST_UDP_TIMEOUT_S: Final = 5
#: Media flows are looked at in less than half of this; below, that is work without end.
_SHORTEST_STREAM_TIMEOUT_S: Final = 15
#: Parts of the connection tracker's table that are in use.
_NEARLY_FULL: Final = 0.9

_STRICT: Final = 1


def settings_file(facts: Facts) -> Iterator[Finding]:
    """Yield whether the settings file keeps the next start from happening."""
    if facts.file_problem:
        running = facts.daemon == "running"
        text = f"{facts.file_problem}; {'the next' if running else 'a'} start will be refused"
        yield Finding("warning" if running else "error", "settings-file", text)


def interfaces(facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong with the interfaces that the settings name."""
    yield from preflight.check_interfaces(facts.plan, dict(facts.interfaces))
    outside = facts.settings.outside
    if outside in facts.interfaces and not facts.nat_address:
        yield preflight.no_address(outside, running=facts.daemon in ("running", "silent"))
    if facts.default_routes and outside not in facts.default_routes and outside in facts.interfaces:
        routes = ", ".join(facts.default_routes)
        text = f"the default route leads through {routes}, not through {outside}; is {outside} the outside?"
        yield Finding("warning", "default-route-elsewhere", text)


def forwarding(facts: Facts) -> Iterator[Finding]:
    """Yield where IPv4 forwarding is off."""
    if facts.forwarding_off:
        off = ", ".join(facts.forwarding_off)
        text = f"IPv4 forwarding is off on {off}: turn it on with sysctl -w net.ipv4.ip_forward=1"
        yield Finding("error", "forwarding-off", text)


def double_nat(facts: Facts) -> Iterator[Finding]:
    """Yield whether another NAT has to be ahead, which the outside address tells."""
    written = facts.settings.public or facts.nat_address
    if not written or _servers_are_near(facts):
        return
    if facts.settings.public:
        what, right = f"--public {written}", "name the address that the internet sees"
    else:
        what, right = f"{facts.settings.outside}'s address {written}", ""
    if _is_carriers(written):
        right = right or "ask the carrier for a public address, or use a server inside of its network"
        text = f"{what} is a carrier's (100.64.0.0/10): its NAT is ahead, and calls from beyond don't get in; {right}"
        yield Finding("warning", "carrier-nat", text)
    elif is_private(written):
        right = right or (
            "make that router a bridge, or let it forward everything one to one and name its address with --public"
        )
        text = f"{what} is private: another router's NAT is ahead, and what is written reaches nobody beyond; {right}"
        yield Finding("warning", "double-nat", text)


def _servers_are_near(facts: Facts) -> bool:
    """Tell whether all registrars that phones are at have addresses of that kind too, and so no NAT is between."""
    registrars = [str(row.get("registrar", "")) for row in facts.rows("contacts")]
    return bool(registrars) and all(is_private(host) or _is_carriers(host) for host in registrars)


def _is_carriers(host: str) -> bool:
    return IPv4Address(host) in _CARRIERS


def reverse_path(facts: Facts) -> Iterator[Finding]:
    """Yield whether answers may be dropped that come in by another way than they would go out."""
    if facts.reverse_path_filter == _STRICT and len(facts.default_routes) > 1:
        outside = facts.settings.outside
        text = (
            f"rp_filter is strict on {outside} and there are several default routes: what comes in by another one "
            f"than it would leave by is dropped; sysctl -w net.ipv4.conf.{outside}.rp_filter=2"
        )
        yield Finding("warning", "reverse-path-filter", text)


def kernel(facts: Facts) -> Iterator[Finding]:
    """Yield what the kernel lacks, and who else holds the packet queue."""
    yield from facts.kernel


def rules(facts: Facts) -> Iterator[Finding]:
    """Yield what the administrator's rules have against it."""
    if facts.rules is None:
        return
    for finding in preflight.check_rules(facts.plan, facts.rules):
        # A start goes on, since rules may come later; somebody who asks the doctor has calls that don't work.
        yield finding._replace(severity="error") if finding.code == "forward-closed" else finding
    yield from preflight.check_nat_address(facts.settings.outside, facts.nat)


def kernel_helper(facts: Facts) -> Iterator[Finding]:
    """Yield what the kernel's own SIP helper still does where no rule that was found gives it flows."""
    told = facts.rules is not None and facts.rules.sip_helpers
    if facts.helped_flows and not told:
        text = (
            f"{facts.helped_flows} flows have the kernel's own SIP helper, which edits them too, though no rule gives "
            "it any: end them with conntrack -D -p udp --dport 5060"
        )
        yield Finding("error", "helped-flows", text)
    elif facts.helper_loaded and facts.rules is None:
        text = "the kernel's own SIP helper is loaded; if a rule gives it flows, both edit: modprobe -r nf_nat_sip"
        yield Finding("warning", "helper-loaded", text)


def media_ports(facts: Facts) -> Iterator[Finding]:
    """Yield whether programs on the router are lent the ports that media should have."""
    if facts.local_ports is not None:
        yield from preflight.check_local_ports(facts.plan.media_ports, facts.local_ports)


def timeouts(facts: Facts) -> Iterator[Finding]:
    """Yield which of the connection tracker's UDP timeouts are too short."""
    for name, least_s, why in (
        ("udp_timeout", _SHORTEST_UDP_TIMEOUT_S, "a request's flow ends before it is sent again"),
        ("udp_timeout_stream", _SHORTEST_STREAM_TIMEOUT_S, "media flows end in every short silence"),
    ):
        value_s = facts.conntrack.get(name)
        if value_s is not None and value_s < least_s:
            usual = 30 if name == "udp_timeout" else 120
            text = f"nf_conntrack_{name} is {value_s} s: {why}; sysctl -w net.netfilter.nf_conntrack_{name}={usual}"
            yield Finding("warning", "conntrack-timeout", text)


def conntrack_table(facts: Facts) -> Iterator[Finding]:
    """Yield whether the connection tracker's table is full or nearly so."""
    count, most = facts.conntrack.get("count", 0), facts.conntrack.get("max", 0)
    if not most or count < most * _NEARLY_FULL:
        return
    full = count >= most
    what = "full: packets of new flows are dropped" if full else "nearly full"
    text = f"conntrack's table is {what} ({count} of {most}); sysctl -w net.netfilter.nf_conntrack_max={most * 2}"
    yield Finding("error" if full else "warning", "conntrack-full", text)


CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    settings_file,
    interfaces,
    forwarding,
    kernel,
    rules,
    kernel_helper,
    double_nat,
    reverse_path,
    media_ports,
    timeouts,
    conntrack_table,
)
