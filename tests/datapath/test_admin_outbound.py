"""What a forward chain lets out, and that what isn't certain counts as let out."""

from __future__ import annotations

import pytest

from sipalg.datapath.admin_outbound import ClosedWay
from sipalg.datapath.admin_rules import evaluate

TABLE = "iptables-legacy"
STATES = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
FORWARD = ClosedWay("lan0", (TABLE, "filter", "FORWARD"))


def closed(*lines: str, policy: str = "DROP", inside: tuple[str, ...] = ("lan0",)) -> tuple[ClosedWay, ...]:
    text = "\n".join(["*filter", f":FORWARD {policy} [0:0]", ":own - [0:0]", ":more - [0:0]", *lines, "COMMIT"])
    return evaluate('{"nftables": []}', "wan0", inside, ports=(5060, 5061), iptables_legacy=text).closed_ways


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (STATES,),
        (STATES, "-A FORWARD -i wan0 -o lan0 -m conntrack --ctstate DNAT -j ACCEPT"),
        # Nothing that goes out was sent elsewhere by the router.
        ("-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT",),
        ("-A FORWARD -i lan0 -o wan1 -j ACCEPT", "-A FORWARD -i lan1 -j ACCEPT", "-A FORWARD ! -i lan+ -j ACCEPT"),
        ("-A FORWARD -p tcp -j ACCEPT", "-A FORWARD -p udp -m udp --dport 53 -j ACCEPT"),
        ("-A FORWARD -j LOG", "-A FORWARD -i lan0 -j DROP", "-A FORWARD -j ACCEPT"),
        ("-A FORWARD -p udp -m multiport --dports 5000:5100 -j REJECT --reject-with x", "-A FORWARD -j ACCEPT"),
        ("-A FORWARD -j own", "-A own -i lan0 -j DROP", "-A FORWARD -j ACCEPT"),
        ("-A FORWARD -j own", "-A own -j RETURN", "-A own -j ACCEPT"),
        ("-A FORWARD -g own", "-A own -p tcp -j ACCEPT", "-A FORWARD -j ACCEPT"),
        # A drop that is met by some of it only keeps nothing from the next rule.
        ("-A FORWARD -s 10.0.0.0/8 -j own", "-A own -j DROP", "-A FORWARD -j DROP", "-A FORWARD -j ACCEPT"),
    ],
)
def test_what_lets_nothing_out(lines: tuple[str, ...]) -> None:
    assert closed(*lines) == (FORWARD,)


@pytest.mark.parametrize(
    "lines",
    [
        (STATES, "-A FORWARD -i lan0 -o wan0 -j ACCEPT"),
        ("-A FORWARD -j ACCEPT",),
        ("-A FORWARD -i lan+ -p udp -m udp --dport 5060 -j ACCEPT",),
        ("-A FORWARD -d 198.51.100.9/32 -j ACCEPT",),
        ("-A FORWARD -m mark --mark 0x1 -j ACCEPT",),
        ("-A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",),
        ("-A FORWARD -j NFQUEUE --queue-num 1",),
        ("-A FORWARD -j own", "-A own -g more", "-A more -i lan0 -j ACCEPT"),
        # Some of it is dropped, or leaves the chain before all is.
        ("-A FORWARD -s 192.168.20.66/32 -j DROP", "-A FORWARD -i lan0 -j ACCEPT"),
        ("-A FORWARD -j own", "-A own -s 192.168.20.0/24 -j RETURN", "-A own -j DROP", "-A FORWARD -j ACCEPT"),
        ("-A FORWARD -j own", "-A own -s 10.0.0.0/8 -g more", "-A own -j DROP", "-A FORWARD -j ACCEPT"),
        # Chains that lead into each other.
        ("-A FORWARD -j own", "-A own -j own"),
    ],
)
def test_what_may_let_something_out(lines: tuple[str, ...]) -> None:
    assert closed(*lines) == ()


def test_a_policy_that_accepts_needs_a_rule_that_drops() -> None:
    assert closed(policy="ACCEPT") == ()
    assert closed("-A FORWARD -g own", "-A own -j RETURN", "-A FORWARD -j DROP", policy="ACCEPT") == ()
    # One port of several may be closed.
    assert closed("-A FORWARD -p udp -m udp --dport 5060 -j DROP", policy="ACCEPT") == ()
    assert closed("-A FORWARD -p udp -m udp --dport 5060:5061 -j DROP", policy="ACCEPT") == (FORWARD,)


def test_each_inside_interface_has_its_own_way() -> None:
    assert closed("-A FORWARD -i lan1 -j ACCEPT", inside=("lan0", "lan1")) == (FORWARD,)


def test_nobody_is_asked_about_without_ports() -> None:
    text = "*filter\n:FORWARD DROP\n"
    assert evaluate('{"nftables": []}', "wan0", ("lan0",), iptables_legacy=text).closed_ways == ()
