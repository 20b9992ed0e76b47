"""What stands in the way, asked before anything is changed: privileges, interfaces, kernel, the rules that are there.

The first thing of a start, long before packets. An error means that the ALG can't work, or would do harm; a warning
means that it works, but perhaps not everywhere; advice is how it would work better. Everything is asked by reading, or
by requests that the kernel checks and throws away.
"""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from socket import AF_INET
from typing import Final, Literal, NamedTuple

from sipalg.datapath import addresses, ctnetlink, nat_address, netlink, nft_codec
from sipalg.datapath.addresses import Interface
from sipalg.datapath.admin_model import ChainKey, PortRange
from sipalg.datapath.admin_rules import AdminRules, AdminRulesError, read_admin_rules
from sipalg.datapath.nat_address import NatAddress
from sipalg.datapath.netlink import NETLINK_NETFILTER, Message, NetlinkError, NetlinkSocket
from sipalg.datapath.nfqueue import QUEUES
from sipalg.datapath.nft_features import find_features
from sipalg.datapath.ports import local_port_range, overlap
from sipalg.engine.verdict import UDP, Endpoint

_CAP_NET_ADMIN: Final = 12
_BROADCAST: Final = IPv4Address("255.255.255.255")
#: Where a rule is, as admin_nft says it.
_NFT_RULE: Final = re.compile(r"table (\S+) (\S+) chain (\S+) (handle \d+)")
_SYSCTLS: Final = "/proc/sys/"
_STATUS: Final = Path("/proc/thread-self/status")
_FORWARDING: Final = "/proc/sys/net/ipv4/conf/{}/forwarding"
_QUEUES: Final = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")

_PROCESSES: Final = Path("/proc")
_NETLINK_SOCKETS: Final = Path("/proc/thread-self/net/netlink")

_QUEUE_SUBSYSTEM: Final = 3
_QUEUE_VERDICT: Final = 1
_VERDICT_HEADER: Final = 2

#: An endpoint for documentation only (RFC 5737): a flow of it is in no connection tracker.
_NOBODY: Final = Endpoint("192.0.2.0", 9)

Severity = Literal["error", "warning", "advice"]
_SEVERITIES: Final = ("error", "warning", "advice")
#: IFNAMSIZ less its NUL; longer ones are alternative names (ip link property), which rules can't compare.
LONGEST_INTERFACE_NAME_BYTES: Final = 15
_MEDIA_PORTS: Final = PortRange(16384, 32767)


class Finding(NamedTuple):
    """One thing found: `code` for programs, `text` for people, in one line: what, where, and what would be right."""

    severity: Severity
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the ALG is asked to do, as far as it can be in the way of something."""

    inside: tuple[str, ...]
    outside: str
    ports: tuple[int, ...] = (5060, 5061)
    media_ports: PortRange = _MEDIA_PORTS
    queue_number: int = 5060
    exempt: tuple[IPv4Network, ...] = ()
    allow_offload: bool = False
    public: str | None = None
    own_table: str = "sipalg"


def check(plan: Plan) -> list[Finding]:
    """Return everything that stands in the plan's way, errors first; empty is a clear way. Changes nothing."""
    found = list(_privileges()) or list(_another(plan))
    if not found:
        found = [*_interfaces(plan), *look_at_kernel(), *look_at_queue(plan), *_local_ports(plan)]
        try:
            rules = read_admin_rules(plan.outside, plan.inside, plan.own_table, plan.ports)
        except AdminRulesError as error:
            found.append(Finding("error", "rules-unreadable", str(error)))
        else:
            found.extend(check_rules(plan, rules))
            used = nat_address.find(plan.outside, plan.inside, plan.public, rules)
            found.extend(check_nat_address(plan.outside, used))
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))


def _privileges() -> Iterator[Finding]:
    if not may_administer(_STATUS.read_text()):
        text = "no right to change the network: run it as root, or give it CAP_NET_ADMIN"
        yield Finding("error", "not-privileged", text)
    if shutil.which("nft") is None:
        yield Finding("error", "no-nft", "nft: program not found; install it (Debian: apt install nftables)")


def may_administer(status: str) -> bool:
    """Tell from a /proc/…/status whether its process has CAP_NET_ADMIN in its user namespace."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False


def _another(plan: Plan) -> Iterator[Finding]:
    """Yield whose the table is, where it has an owner that lives: nothing else need be asked then."""
    with NetlinkSocket() as socket:
        try:
            tables = socket.request(nft_codec.get_table(plan.own_table))
        except NetlinkError:
            # There is none, or no nf_tables at all, which look_at_kernel says better.
            return
    for table in tables:
        owner = netlink.number(netlink.attributes(table.body, 4).get(nft_codec.TABLE_OWNER, b""))
        if owner:
            pid = _holder(owner)
            which = f" (pid {pid})" if pid else ""
            text = f"table ip {plan.own_table} belongs to another running sipalg{which}; stop it first"
            yield Finding("error", "table-owned", text)


def _holder(port: int) -> int:
    """Return the pid of the sipalg that has the netlink socket with this port; 0 where none is found."""
    number = socket_inode(_NETLINK_SOCKETS.read_text(), port)
    wanted = f"socket:[{number}]"
    for process in _PROCESSES.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"sipalg" in (process / "cmdline").read_bytes():
                for descriptor in (process / "fd").iterdir():
                    if str(descriptor.readlink()) == wanted:
                        return int(process.name)
    return 0


def socket_inode(listing: str, port: int) -> int:
    """Return the inode of netfilter's socket with a netlink port, 0 for none, from /proc/net/netlink's text."""
    for line in listing.splitlines():
        fields = line.split()
        if fields[1:3] == [str(NETLINK_NETFILTER), str(port % (1 << 32))]:
            return int(fields[-1])
    return 0


def _interfaces(plan: Plan) -> Iterator[Finding]:
    known = {interface.name: interface for interface in addresses.interfaces().values()}
    yield from check_interfaces(plan, known)
    paths = {name: Path(_FORWARDING.format(name)) for name in (*plan.inside, plan.outside) if name in known}
    off = [name for name, path in paths.items() if path.exists() and path.read_text().strip() == "0"]
    if off:
        text = f"IPv4 forwarding is off on {_list(off)}: turn it on with sysctl -w net.ipv4.ip_forward=1"
        yield Finding("error", "forwarding-off", text)
    if plan.outside in known and not addresses.primary_address(plan.outside):
        yield no_address(plan.outside)


def no_address(outside: str, *, running: bool = False) -> Finding:
    """Say what follows from an outside interface without an address; one that runs already waits for the next."""
    then = "SIP passes untranslated, and goes on by itself" if running else "sipalg doesn't start; start it"
    return Finding("error", "no-address", f"{outside} has no IPv4 address: {then} when it has one")


def check_interfaces(plan: Plan, known: dict[str, Interface]) -> Iterator[Finding]:
    """Yield what is wrong with the interfaces that the plan names, given those that there are."""
    if not plan.inside:
        yield Finding("error", "no-inside", "no inside interface: name the one that the phones are behind (--inside)")
    listed = ", ".join(sorted(known)) or "none"
    for side, name in (*(("inside", name) for name in plan.inside), ("outside", plan.outside)):
        if len(name.encode()) > LONGEST_INTERFACE_NAME_BYTES:
            text = f"{side} {name}: is no interface name, which has at most 15 bytes; there are: {listed}"
            yield Finding("error", "no-interface", text)
        elif name not in known:
            text = f"{side} {name}: no such interface; there are: {listed}"
            yield Finding("error", "no-interface", text)
        elif not known[name].up:
            yield Finding("warning", "interface-down", f"{side} {name}: is down; ip link set {name} up")
    if plan.outside in plan.inside:
        text = f"{plan.outside} is both inside and outside: --inside is where the phones are, --outside the NAT's side"
        yield Finding("error", "same-interface", text)


def look_at_kernel() -> Iterator[Finding]:
    """Yield what this kernel lacks, asked by requests that it checks and throws away. Raises OSError."""
    with NetlinkSocket() as socket:
        if not _answers(socket, ctnetlink.get(UDP, _NOBODY, _NOBODY), errno.ENOENT):
            text = "the kernel's connection tracker doesn't answer: load nf_conntrack_netlink (modprobe)"
            yield Finding("error", "no-conntrack", text)
        # A verdict for a queue that isn't bound is refused with ENODEV where there are queues at all.
        header = netlink.attribute(_VERDICT_HEADER, struct.pack("!II", 1, 1))
        verdict = netlink.nfnetlink(_QUEUE_SUBSYSTEM, _QUEUE_VERDICT, 0, header, family=AF_INET, resource=65535)
        if not _answers(socket, verdict, errno.ENODEV, errno.EPERM):
            text = "the kernel can't hand packets to a program: load nfnetlink_queue (modprobe)"
            yield Finding("error", "no-queue", text)
        try:
            features = find_features(socket)
        except NetlinkError as error:
            text = f"the kernel's nf_tables lacks what is needed (NFQUEUE, maps): {error.strerror}"
            yield Finding("error", "no-nftables", text)
            return
    if not features.ct_timeout:
        text = "the kernel has no ct timeouts (CONFIG_NF_CONNTRACK_TIMEOUT); SIP flows are refreshed one by one"
        yield Finding("advice", "no-ct-timeout", text)


def _answers(socket: NetlinkSocket, message: Message, *expected: int) -> bool:
    return socket.acknowledge([message])[0] in (0, *expected)


def look_at_queue(plan: Plan) -> Iterator[Finding]:
    """Yield who else holds one of the plan's queues."""
    try:
        listing = _QUEUES.read_text()
    except OSError:
        # No queues yet; or it is for root's eyes only, and binding the queue will tell.
        return
    for number in range(plan.queue_number, plan.queue_number + QUEUES):
        owner = queue_owner(listing, number)
        if owner:
            pid = _holder(owner)
            whose = f"another running sipalg (pid {pid})" if pid else "another program"
            text = f"queue {number} belongs to {whose}; stop it, or choose another number with --queue"
            yield Finding("error", "queue-in-use", text)
            return


def queue_owner(listing: str, number: int) -> int:
    """Return the netlink port that holds a queue, 0 for none, from the text of /proc/net/netfilter/nfnetlink_queue."""
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) > 1 and fields[0] == str(number):
            return int(fields[1])
    return 0


def _local_ports(plan: Plan) -> Iterator[Finding]:
    yield from check_local_ports(plan.media_ports, local_port_range())


def check_local_ports(media: PortRange, local: PortRange) -> Iterator[Finding]:
    """Yield what is wrong with media-ports, given the ports that the kernel lends to programs on the router."""
    both = overlap(media, local)
    if both is None:
        return
    where = f"media-ports {media.low}-{media.high} and net.ipv4.ip_local_port_range {local.low}-{local.high}"
    if both == media:
        text = f"{where} leave no port: choose media-ports outside of it"
        yield Finding("error", "media-ports-local", text)
    else:
        text = f"{where} overlap: {both.low}-{both.high} won't be used"
        yield Finding("warning", "media-ports-overlap", text)


def check_nat_address(outside: str, found: NatAddress) -> Iterator[Finding]:
    """Yield where the administrator's NAT uses another address than we do. Pure."""
    for text in nat_address.in_words(outside, found):
        yield Finding("warning", "nat-address", text)


def check_rules(plan: Plan, rules: AdminRules) -> Iterator[Finding]:
    """Yield what the administrator's rules have against the plan. Pure."""
    for helper in rules.sip_helpers:
        ports = [port for port in plan.ports if not helper.ports or any(a <= port <= b for a, b in helper.ports)]
        if ports:
            text = (
                f"{helper.where}: the kernel's own SIP helper has port {_list(ports)}, and both would edit; "
                f"{_how_to_remove(helper.where)}"
            )
            yield Finding("error", "kernel-helper", text)
    ours = {*plan.inside, plan.outside}
    for table in rules.flow_tables:
        devices = sorted(ours.intersection(table.devices)) if table.devices else sorted(ours)
        if table.used and devices:
            them = f"{{ {_list(plan.ports)} }}"
            text = (
                f"{table.where}: takes flows on {_list(devices)} past the ALG; in its rule, "
                f"before flow add: udp dport != {them} udp sport != {them} (or --allow-offload)"
            )
            yield Finding("warning" if plan.allow_offload else "error", "flow-table", text)
    if not rules.source_nat:
        text = f'no rule translates what leaves through {plan.outside}: oifname "{plan.outside}" masquerade is missing'
        if rules.inside_source_nat:
            text = (
                f"no rule translates what leaves through {plan.outside}, but {rules.inside_source_nat[0]} what leaves "
                f"through {_list(plan.inside)}: are --inside and --outside swapped?"
            )
        yield Finding("warning", "no-source-nat", text)
    for destination, sources, where in rules.exemptions:
        # What never leaves a network of the router's own (libvirt writes such rules) is nobody's SIP server.
        local = destination in sources or destination.is_multicast or destination.network_address == _BROADCAST
        # What nobody's packets are translated to is as good as given with --except (see takeover.exempt_networks).
        if sources and not local and not any(destination.subnet_of(network) for network in plan.exempt):
            text = (
                f"{where}: {destination} isn't translated for {_list(sources)}; "
                f"add --except {destination} if that is where all phones are"
            )
            yield Finding("warning", "exemption", text)
    yield from _ways_out(plan, rules)
    if rules.dnat_accepted != "yes":
        yield Finding("advice", "dnat-not-accepted", _how_to_let_in(plan.outside, rules))
    media = plan.media_ports
    for taken in rules.taken:
        if taken.protocol == UDP and overlap(taken.ports, media) == media:
            text = f"{taken.where}: forwards all of media-ports {media.low}-{media.high}; no port is left for calls"
            yield Finding("warning", "media-ports-forwarded", text)
    for item in rules.unevaluable:
        yield Finding("warning", "rule-not-understood", f"{item.where}: {item.what}")


def _how_to_remove(where: str) -> str:
    """Return the command that removes a rule, or switches a kernel setting off."""
    found = _NFT_RULE.fullmatch(where)
    if found:
        return f"remove it with nft delete rule {' '.join(found.groups())}"
    if where.startswith(_SYSCTLS):
        return f"switch it off with sysctl -w {where.removeprefix(_SYSCTLS).replace('/', '.')}=0"
    return "remove it"


def _how_to_let_in(outside: str, rules: AdminRules) -> str:
    """Return what a firewall keeps out that doesn't accept what destination NAT let in, and how to change that."""
    commands = []
    for family, table, chain in rules.closed_chains:
        if family.startswith("iptables"):
            commands.append(f"iptables -I {chain} -i {outside} -m conntrack --ctstate DNAT -j ACCEPT")
        else:
            commands.append(f"nft insert rule {family} {table} {chain} iifname {outside} ct status dnat accept")
    certainly = "keeps" if rules.dnat_accepted == "no" else "perhaps keeps"
    beginning = "" if rules.closed_ways else "ordinary calls work as it is; but "
    places = _list([_place(chain) for chain in rules.closed_chains])
    return (
        f"{beginning}{places} {certainly} out media from addresses that the call didn't announce, and calls from "
        "servers that no phone has spoken to (--trusted-peers); to let these in as well, and with them whatever "
        f"anybody sends to a media port while a call has it: {'; '.join(commands)}"
    )


def _ways_out(plan: Plan, rules: AdminRules) -> Iterator[Finding]:
    """Yield the chains that let no phone's SIP out, with the rule that does."""
    for key in dict.fromkeys(way.chain for way in rules.closed_ways):
        inside = [way.interface for way in rules.closed_ways if way.chain == key]
        family, table, chain = key
        if family.startswith("iptables"):
            to = f"-o {plan.outside} -p udp -m multiport --dports {','.join(map(str, plan.ports))} -j ACCEPT"
            commands = [f"iptables -I {chain} -i {name} {to}" for name in inside]
        else:
            to = f"oifname {plan.outside} udp dport {{ {_list(plan.ports)} }} accept"
            commands = [f"nft 'insert rule {family} {table} {chain} iifname {name} {to}'" for name in inside]
        text = (
            f"{_place(key)}: the forward chain doesn't accept SIP from {_list(inside)} to {plan.outside}, so that "
            f"phones can't register or call; {'; '.join(commands)}"
        )
        yield Finding("warning", "forward-closed", text)


def _place(key: ChainKey) -> str:
    family, table, chain = key
    return f"{family} chain {chain}" if family.startswith("iptables") else f"table {family} {table} chain {chain}"


def _list(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)
