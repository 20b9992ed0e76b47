"""The router's rules, as an administrator would write them: masquerade, and a forward chain that drops by default.

The rules are one file for `nft -f` that begins with `flush ruleset`, as Debian's /etc/nftables.conf does, so that
loading it again is what an administrator does in the middle of a call. On a packet's way this is what the ALG has to
live with: it adds a table of its own and never touches these.
"""

from __future__ import annotations

from typing import Final, Literal

from sipalg.lab.pbx import MEDIA_PORTS
from sipalg.lab.topology import ADDRESS, EXEMPT_NETWORK, Topology

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


def rules(firewall: Firewall = "strict", kernel_helper: bool = False) -> str:
    """Write the administrator's rule file.

    `firewall` chooses the forward chain and the port forwards to the PBX; `kernel_helper` gives
    Linux's own SIP helper to every flow towards port 5060, as nftables' wiki shows it.
    """
    extra, forward = _EXTRA[firewall], _FORWARDS.get(firewall, "")
    local = _RELAYED if firewall == "relay" else ""
    text = _RULES % {"exempt": EXEMPT_NETWORK, "extra": extra, "input": local, "forward": forward}
    return text + (_KERNEL_HELPER if kernel_helper else "")


def load(net: Topology, text: str) -> None:
    """Load a rule file on the router with `nft -f`, as its administrator would; raises LabError if nft refuses it."""
    path = net.directory / "nftables.conf"
    path.write_text(text)
    net.run("router", "nft", "-f", path)
