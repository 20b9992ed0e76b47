"""The router's rules, as an administrator would write them: masquerade, and a forward chain that drops by default.

The rules are one file for `nft -f` that begins with `flush ruleset`, as Debian's /etc/nftables.conf does, so that
loading it again is what an administrator does in the middle of a call. On a packet's way this is what the ALG has to
live with: it adds a table of its own and never touches these.
"""

from __future__ import annotations

from typing import Final, Literal

from sipalg.lab.pbx import MEDIA_PORTS
from sipalg.lab.topology import ADDRESS, EXEMPT_NETWORK, PREFIXES6, Ipv6, Topology

#: strict: only established and related come in; loose: what DNAT was asked to let in may come in too; relay: and what
#: is marked for the TCP relay may reach the router itself; forward: the
#: PBX's SIP port as well; server: also its media ports, as a PBX that writes its public address needs them.
Firewall = Literal["strict", "loose", "relay", "forward", "server"]

_MEDIA: Final = "{}-{}".format(*MEDIA_PORTS)
_EXTRA: Final[dict[Firewall, str]] = {
    "strict": "",
    "loose": "ct status dnat accept",
    "relay": "ct status dnat accept",
    "forward": f'iifname "wan0" ip daddr {ADDRESS["pbx"]} udp dport 5060 accept',
    "server": f'iifname "wan0" ip daddr {ADDRESS["pbx"]} udp dport {{ 5060, {_MEDIA} }} accept',
}
#: What is forwarded to the PBX, port for port.
_FORWARDS: Final[dict[Firewall, str]] = {
    "forward": f'iifname "wan0" udp dport 5060 dnat to {ADDRESS["pbx"]}:5060',
    "server": f'iifname "wan0" udp dport {{ 5060, {_MEDIA} }} dnat to {ADDRESS["pbx"]}',
}

#: What sipalg asks for where the INPUT filter drops what it marks.
_RELAYED: Final = "meta mark & 0x02000000 == 0x02000000 accept"

_RULES: Final = """\
flush ruleset

table ip filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname { "lan0", "lan1" } accept
        iifname "wan0" ip saddr %(exempt)s accept
        %(extra)s
    }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname { "lo", "lan0", "lan1" } accept
        %(input)s
    }
}

table ip nat {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        %(forward)s
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "wan0" ip daddr %(exempt)s accept
        oifname "wan0" masquerade
    }
}
"""

#: The same for IPv6; what comes for the router itself is its neighbours' business as well.
_RULES6: Final = """
table ip6 filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname { "lan0", "lan1" } accept
        meta l4proto ipv6-icmp accept
    }
}
"""
_PREFIXES_OUT: Final = ", ".join(f"{inside} : {outside}" for inside, outside in PREFIXES6.items())
_PREFIXES_BACK: Final = ", ".join(f"{outside} : {inside}" for inside, outside in PREFIXES6.items())
_NAT6: Final[dict[Ipv6, str]] = {
    "masquerade": 'oifname "wan0" masquerade',
    "prefix": f'oifname "wan0" snat ip6 prefix to ip6 saddr map {{ {_PREFIXES_OUT} }}',
}
_BACK6: Final[dict[Ipv6, str]] = {
    "prefix": f'iifname "wan0" dnat ip6 prefix to ip6 daddr map {{ {_PREFIXES_BACK} }}',
}
_NAT_RULES6: Final = """
table ip6 nat {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        %s
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        %s
    }
}
"""

_KERNEL_HELPER: Final = """
table ip helper {
    ct helper sip {
        type "sip" protocol udp;
        l3proto ip
    }
    chain prerouting {
        type filter hook prerouting priority filter;
        udp dport 5060 ct helper set "sip"
    }
}
"""


_HELPER6: Final = _KERNEL_HELPER.replace("table ip ", "table ip6 ").replace("l3proto ip\n", "l3proto ip6\n")


def rules(firewall: Firewall = "strict", kernel_helper: bool = False, ipv6: Ipv6 = "") -> str:
    """Write the administrator's rule file.

    `firewall` chooses the forward chain and the port forwards to the PBX; `kernel_helper` gives
    Linux's own SIP helper to every flow towards port 5060, as nftables' wiki shows it; `ipv6` says how IPv6 leaves.
    """
    extra, forward = _EXTRA[firewall], _FORWARDS.get(firewall, "")
    local = _RELAYED if firewall == "relay" else ""
    text = _RULES % {"exempt": EXEMPT_NETWORK, "extra": extra, "input": local, "forward": forward}
    text += _KERNEL_HELPER if kernel_helper else ""
    if ipv6:
        text += _RULES6 + (_HELPER6 if kernel_helper else "")
    return text + (_NAT_RULES6 % (_BACK6.get(ipv6, ""), _NAT6[ipv6]) if ipv6 in _NAT6 else "")


def load(net: Topology, text: str) -> None:
    """Load a rule file on the router with `nft -f`, as its administrator would; raises LabError if nft refuses it."""
    path = net.directory / "nftables.conf"
    path.write_text(text)
    net.run("router", "nft", "-f", path)
