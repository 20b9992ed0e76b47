"""What the traffic and the running ALG say: is SIP seen, on which ports, by which phones, and what went wrong.

Pure functions from facts to findings, off every packet's way. Most of them need a running ALG or the connection
tracker's entries, and are silent where there are none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Any, Final

from sipalg import __version__
from sipalg.capture.arguments import MOST_PORTS
from sipalg.control.asking.columns import duration
from sipalg.control.service import timeouts
from sipalg.datapath.preflight import Finding
from sipalg.doctor.facts import USUAL_SIP_PORTS, Facts, SeenFlow
from sipalg.engine.policy import ANOTHER_PORT
from sipalg.engine.verdict import TCP, UDP

#: A phone that is there says something within this time.
_QUIET_S: Final = 120
#: The port of SIP over TLS, which nobody reads on its way (RFC 3261 §19.1.2).
_TLS_PORT: Final = 5061
#: So many of a kind are named; the rest is a number.
_MOST_NAMED: Final = 5
#: What a row says of a phone's silences.
_SILENCE: Final = frozenset({"private", "server", "because", "expected_s", "sip_timeout_needed_s"})
#: Where a port is below this, it is some other service's.
_FIRST_UNPRIVILEGED: Final = 1024


def daemon(facts: Facts) -> Iterator[Finding]:
    """Yield whether an ALG runs, and whether it translates."""
    if facts.daemon == "silent":
        text = f"{facts.daemon_says}: it hangs, and SIP passes as plain NAT; restart it (systemctl restart sipalg)"
        yield Finding("error", "daemon-silent", text)
    elif facts.daemon == "none":
        text = "no sipalg is running, SIP passes as plain NAT; start it with `sipalg run` or as a service"
        yield Finding("warning", "not-running", text)
    state = facts.table("status")
    if facts.settings.disabled:
        text = "it is disabled: no new call is translated; sipalg /ip firewall service-port enable sip"
        yield Finding("warning", "disabled", text)
    if facts.settings.mode == "observe":
        yield Finding("warning", "observing", "it only observes and changes nothing; run it with --mode enforce")
    version = state.get("version")
    if version is not None and version != __version__:
        text = f"version {version} is running, and {__version__} is installed; restart it, calls go on"
        yield Finding("advice", "older-version", text)


def no_traffic(facts: Facts) -> Iterator[Finding]:
    """Yield whether a running ALG has seen no SIP."""
    uptime_s = facts.table("status").get("uptime_s")
    if not isinstance(uptime_s, (int, float)) or uptime_s < _QUIET_S:
        return
    if not sum(_numbers(facts.table("counters", "messages")).values()):
        ports = ", ".join(map(str, facts.settings.ports))
        inside = ", ".join(facts.settings.inside)
        text = (
            f"no SIP was seen in {duration(uptime_s)} from {inside} to servers' ports {ports}: "
            "are the phones there, and do they use UDP and these ports?"
        )
        yield Finding("warning", "no-traffic", text)


def other_ports(facts: Facts) -> Iterator[Finding]:
    """Yield to which ports that aren't in `ports` phones seem to speak SIP."""
    phones: dict[int, set[str]] = {}
    for flow in facts.through_the_nat():
        if flow.protocol == UDP and str(flow.private) not in facts.mapped and _looks_like_sip(flow, facts):
            phones.setdefault(flow.remote.port, set()).add(flow.private.host)
    for port, hosts in sorted(phones.items()):
        with_it = ",".join(map(str, [*facts.settings.ports, port]))
        right = f"if that is SIP, set ports={with_it}"
        if len(facts.settings.ports) >= MOST_PORTS:
            right = f"if that is SIP, put it into ports in the place of another, {MOST_PORTS} are possible"
        text = f"port {port}/udp outside is used by {_named(hosts)} and isn't in ports; {right}"
        yield Finding("warning", "other-port", text)


def elsewhere(facts: Facts) -> Iterator[Finding]:
    """Yield by which other ways phones' SIP leaves the router, where nothing is translated."""
    others: dict[str, set[str]] = {}
    untranslated: dict[str, set[str]] = {}
    for flow in facts.flows or ():
        away = flow.protocol == UDP and flow.remote.port in facts.settings.ports and not _is_exempt(flow, facts)
        if away and flow.leaves_as == flow.private.host:
            untranslated.setdefault(flow.remote.host, set()).add(flow.private.host)
        elif away and facts.nat_address and flow.leaves_as != facts.nat_address:
            others.setdefault(flow.leaves_as, set()).add(flow.private.host)
    for address, hosts in sorted(others.items()):
        outside = facts.settings.outside
        text = (
            f"SIP of {_named(hosts)} leaves as {address} and not through {outside}: route it through {outside}, or "
            f"name the interface with {address} as the outside"
        )
        yield Finding("warning", "leaves-elsewhere", text)
    for server, hosts in sorted(untranslated.items()):
        text = (
            f"SIP of {_named(hosts)} to {server} isn't translated by the NAT rules: name its network with --except if "
            "that is meant, or translate it"
        )
        yield Finding("warning", "leaves-untranslated", text)


def streams(facts: Facts) -> Iterator[Finding]:
    """Yield which phones speak SIP over TCP past the relay, or over TLS."""
    ports, nat_address = facts.settings.ports, facts.nat_address
    # The relay's connections leave from the router itself.
    flows = [flow for flow in facts.through_the_nat() if flow.private.host != nat_address]
    found = [flow for flow in flows if flow.protocol == TCP and flow.remote.port in ports]
    for tls in (False, True):
        hosts = {flow.private.host for flow in found if (flow.remote.port == _TLS_PORT) == tls}
        if hosts and tls:
            text = f"no ALG can read TLS, which {_named(hosts)} may use; the server has to know about NAT, or use UDP"
            yield Finding("advice", "tls", text)
        elif hosts:
            text = f"SIP over TCP of {_named(hosts)} isn't translated: set tcp=relay, or choose UDP as their transport"
            if facts.settings.tcp == "relay":
                text = (
                    f"connections of {_named(hosts)} to SIP servers passed the TCP relay by, and aren't translated: "
                    "those older than sipalg are when the phones connect anew; else `sipalg status` warns of a reason"
                )
            yield Finding("warning", "tcp", text)


def nat_ahead(facts: Facts) -> Iterator[Finding]:
    """Yield whether servers see phones' requests come from elsewhere than is written: another NAT is ahead.

    A NAT with an ALG that edits without mistakes, and undoes it on the way back, can't be told from none.
    """
    seen = _numbers(facts.table("counters", "seen_as"))
    written = facts.table("status").get("advertised_address") or "what is written"
    for name in sorted(seen):
        where = name if name == ANOTHER_PORT.decode() else f"address {name}"
        text = (
            f"servers see {where} (received, rport) instead of {written}: another NAT is ahead, perhaps with an ALG; "
            "switch that off, and let it forward one to one, with its address named by --public"
        )
        yield Finding("warning", "nat-ahead", text)


def short_timeout(facts: Facts) -> Iterator[Finding]:
    """Yield for which phones sip-timeout is too short, as the running ALG has learned of them."""
    rows = [row for row in facts.rows("phones") if row.keys() >= _SILENCE]
    for text in timeouts.warnings(rows, facts.settings.sip_timeout_s):
        yield Finding("warning", "short-sip-timeout", text)


def nat_aware(facts: Facts) -> Iterator[Finding]:
    """Yield which phones write public addresses themselves."""
    aware = [str(row.get("private", "?")) for row in facts.rows("phones") if row.get("nat_aware") is True]
    if aware:
        text = f"no ALG is needed by {_named(aware)}: they write the public address themselves"
        yield Finding("advice", "nat-aware", text)


def troubles(facts: Facts) -> Iterator[Finding]:
    """Yield what the running ALG itself warns of and remarks."""
    for severity, name in (("warning", "warnings"), ("advice", "notes")):
        said = facts.status.get(name)
        for text in said if isinstance(said, list) else ():
            yield Finding("warning" if severity == "warning" else "advice", "daemon-says", str(text))
    refused = sum(_numbers(facts.table("counters", "commands_that_the_kernel_refused")).values())
    if refused:
        text = f"the kernel refused {refused} mappings or flows; the log says which (`command-failed`) and why"
        yield Finding("warning", "kernel-refused", text)


def _looks_like_sip(flow: SeenFlow, facts: Facts) -> bool:
    """Tell it from its ports: the server's is one that SIP servers use, or the phone's is SIP's own."""
    port = flow.remote.port
    if port in facts.settings.ports or port < _FIRST_UNPRIVILEGED:
        return False
    if _is_exempt(flow, facts):
        return False
    return port in USUAL_SIP_PORTS or flow.private.port in facts.settings.ports


def _is_exempt(flow: SeenFlow, facts: Facts) -> bool:
    return any(IPv4Address(flow.remote.host) in network for network in facts.settings.exempt)


def _numbers(table: Any) -> Counter[str]:
    return Counter({key: value for key, value in table.items() if isinstance(value, int)})


def _named(names: set[str] | list[str]) -> str:
    """Return the first few, and how many more there are."""
    listed = sorted(names)
    more = len(listed) - _MOST_NAMED
    return ", ".join(listed[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    daemon,
    no_traffic,
    other_ports,
    elsewhere,
    streams,
    nat_ahead,
    short_timeout,
    nat_aware,
    troubles,
)
