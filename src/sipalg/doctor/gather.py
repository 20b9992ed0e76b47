"""Gathers the doctor's facts: from /proc, netlink, the rule set, the connection tracker and the running ALG.

Reads only, and goes on where something may not be read: that is noted with the reason, and the check that needs it
says nothing. Off every packet's way; the packet loop is asked two questions over its control socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final, TypeVar

from sipalg.capture import arguments
from sipalg.control.service.takeover import InsideNetworks
from sipalg.control.settings.file import SettingsError, SettingsMissingError, load
from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import with_texts
from sipalg.control.socket.client import ControlError, NotRunningError, SilentError, ask
from sipalg.datapath import addresses, ctnetlink, netlink, preflight
from sipalg.datapath.addresses import Address, Interface
from sipalg.datapath.admin_rules import AdminRulesError, read_admin_rules
from sipalg.datapath.ctnetlink import Tracked
from sipalg.datapath.nat_address import NatAddress, find
from sipalg.datapath.netlink import NetlinkSocket
from sipalg.datapath.ports import local_port_range
from sipalg.doctor.facts import USUAL_SIP_PORTS, Facts, SeenFlow, Unseen

_NETFILTER: Final = Path("/proc/sys/net/netfilter")
_ADDRESSING: Final = Path("/proc/sys/net/ipv4/conf")
_ROUTES: Final = Path("/proc/thread-self/net/route")
_HELPER_MODULE: Final = Path("/sys/module/nf_conntrack_sip")
_CONNTRACK_NUMBERS: Final = ("udp_timeout", "udp_timeout_stream", "count", "max")

#: CTA_HELP and CTA_HELP_NAME (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
_HELP: Final = 5
_HELP_NAME: Final = 1

T = TypeVar("T")


def ask_daemon(socket: Path) -> Facts:
    """Return what the ALG behind the socket says of itself, its settings too; without one, settings are the defaults.

    An answer of another version that lacks settings counts as one that mayn't be asked.
    """
    try:
        answer = ask(socket, "status")
        mappings = ask(socket, "mappings").get("mappings", [])
        settings = _settings_at(socket, answer["status"])
    except NotRunningError as error:
        return Facts(Settings(), daemon="none", daemon_says=str(error))
    except SilentError as error:
        return Facts(Settings(), daemon="silent", daemon_says=str(error))
    except (ControlError, KeyError, ValueError) as error:
        unseen = (Unseen("what the running sipalg does", str(error)),)
        return Facts(Settings(), daemon="unknown", daemon_says=str(error), unseen=unseen)
    return Facts(
        settings,
        source=f"the running sipalg (pid {answer['status'].get('pid', '?')})",
        daemon="running",
        status=answer,
        mapped=frozenset(str(row.get("private")) for row in mappings),
    )


def look_at_file(known: Facts, path: Path) -> Facts:
    """Return `known` with what the settings file says; its settings where no running ALG has told others."""
    try:
        settings = load(path)
    except SettingsMissingError:
        return known
    except SettingsError as error:
        return replace(known, file_problem=str(error))
    return known if known.daemon == "running" else replace(known, settings=settings, source=str(path))


def _settings_at(socket: Path, state: dict[str, Any]) -> Settings:
    """Return the running ALG's settings; of one that has no such question yet, what its status tells."""
    try:
        return with_texts(Settings(), ask(socket, "settings")["settings"])
    except (NotRunningError, SilentError):
        raise
    except (ControlError, KeyError, ValueError):
        return settings_in(state)


def settings_in(state: dict[str, Any]) -> Settings:
    """Return the settings that a status tells. Raises KeyError and ValueError where it doesn't tell them."""
    advertised = state["advertised_address"]
    return Settings(
        inside=tuple(state["inside"]),
        outside=state["outside"],
        public=advertised if advertised and advertised != state["nat_address"] else None,
        ports=tuple(state["ports"]),
        media_ports=arguments.port_range(state["media_ports"]),
        queue_number=state["queue_number"],
        exempt=tuple(IPv4Network(text) for text in state["except"]),
        mode=state["mode"],
        sip_timeout_s=state["sip_timeout_s"],
    )


def gather(known: Facts) -> Facts:
    """Return `known`, which has settings and what the ALG said, with everything else looked up."""
    settings = known.settings
    look = _Look(known.unseen)
    interfaces = look.at("interfaces", lambda: {one.name: one for one in addresses.interfaces().values()}) or {}
    own = look.at("addresses", addresses.addresses) or []
    inside = Inside(settings.inside, interfaces.values(), own)
    privileged = preflight.may_administer(Path("/proc/thread-self/status").read_text())
    rules = None
    if privileged:
        rules = look.at(
            "firewall rules", lambda: read_admin_rules(settings.outside, settings.inside, ports=settings.ports)
        )
    wanted = (settings.outside, settings.inside, settings.public)
    nat = look.at("addresses", lambda: find(*wanted, rules)) or NatAddress("")
    facts = replace(
        known,
        interfaces=interfaces,
        nat=nat,
        forwarding_off=tuple(_forwarding_off(settings)),
        default_routes=tuple(dict.fromkeys(default_routes(look.at("routes", _ROUTES.read_text) or ""))),
        reverse_path_filter=_reverse_path_filter(settings.outside),
        local_ports=look.at("local ports", local_port_range),
        conntrack={name: value for name in _CONNTRACK_NUMBERS if (value := _number(_NETFILTER, name)) is not None},
        helper_loaded=_HELPER_MODULE.exists(),
    )
    if not privileged:
        for what in ("firewall rules", "connection tracker", "kernel features"):
            look.miss(what, "needs root, or CAP_NET_ADMIN")
        return replace(facts, unseen=look.missed)
    kernel = list(look.at("kernel features", lambda: list(preflight.look_at_kernel())) or ())
    # Of one that hangs it is its own, too.
    if known.daemon not in ("running", "silent"):
        kernel += preflight.look_at_queue(known.plan)
    bodies = look.at("connection tracker", dump)
    return replace(
        facts,
        kernel=tuple(kernel),
        rules=rules,
        flows=None if bodies is None else tuple(seen_flows(bodies, settings.ports, nat.host, inside)),
        helped_flows=None if bodies is None else sum(map(has_sip_helper, bodies)),
        unseen=look.missed,
    )


class _Look:
    """Looks at one thing after the other, and keeps what can't be looked at."""

    def __init__(self, missed: tuple[Unseen, ...]) -> None:
        self.missed = missed

    def at(self, what: str, look: Callable[[], T]) -> T | None:
        try:
            return look()
        except AdminRulesError as error:
            self.miss(what, str(error))
        except OSError as error:
            self.miss(what, error.strerror or str(error))
        return None

    def miss(self, what: str, why: str) -> None:
        self.missed = (*self.missed, Unseen(what, why))


def default_routes(text: str) -> Iterator[str]:
    """Yield the interfaces of default routes in /proc/net/route's text, the preferred one first."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000":
            found.append((int(fields[6]), fields[0]))
    yield from (name for _, name in sorted(found))


class Inside:
    """Which addresses are those of hosts inside, and which are the router's own."""

    def __init__(self, names: Sequence[str], interfaces: Iterable[Interface], own: Sequence[Address]) -> None:
        self._networks = InsideNetworks(names, interfaces, own)
        self._own = {address.host for address in own}

    def leads_out(self, entry: Tracked, nat_address: str) -> bool:
        """Tell whether a flow goes from an inside host to one outside; hosts behind inside routers by their NAT."""
        source, remote = entry.original_source.host, entry.original_destination.host
        if source in self._own or remote in self._own or self._networks.interface_of(remote):
            return False
        return entry.reply_destination.host == nat_address or bool(self._networks.interface_of(source))


def dump() -> list[bytes]:
    """Return the connection tracker's entries as the kernel sends them."""
    with NetlinkSocket() as socket:
        return [message.body for message in socket.request(ctnetlink.dump())]


def seen_flows(bodies: Iterable[bytes], ports: Iterable[int], nat_address: str, inside: Inside) -> Iterator[SeenFlow]:
    """Yield the flows among conntrack's entries that lead out from one of the ports, or to one; or to a usual one."""
    wanted = {port.to_bytes(2, "big") for port in (*ports, *USUAL_SIP_PORTS)}
    for entry in ctnetlink.concerning(bodies, (), wanted):
        if inside.leads_out(entry, nat_address):
            answered = entry.reply_destination.host
            yield SeenFlow(entry.protocol, entry.original_source, entry.original_destination, answered)


def has_sip_helper(body: bytes) -> bool:
    """Tell whether one of conntrack's entries has the kernel's own SIP helper."""
    helper = netlink.attributes(body, 4).get(_HELP)
    if helper is None:
        return False
    return netlink.string(netlink.attributes(helper).get(_HELP_NAME, b"")).startswith("sip")


def _forwarding_off(settings: Settings) -> Iterator[str]:
    for name in (*settings.inside, settings.outside):
        if _number(_ADDRESSING / name, "forwarding", prefix="") == 0:
            yield name


def _reverse_path_filter(outside: str) -> int | None:
    """Return what holds for the interface: the larger of its own and of all's (ip-sysctl's rp_filter)."""
    values = [_number(_ADDRESSING / name, "rp_filter", prefix="") for name in ("all", outside)]
    return max((value for value in values if value is not None), default=None)


def _number(directory: Path, name: str, prefix: str = "nf_conntrack_") -> int | None:
    try:
        return int((directory / f"{prefix}{name}").read_text())
    except (OSError, ValueError):
        return None
