"""iptables-save's text: what is understood, and what is said not to be."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath.admin_conclusions import AdminRules
from sipalg.datapath.admin_model import FlowTable
from sipalg.datapath.admin_rules import evaluate
from sipalg.engine.verdict import TCP, UDP, Endpoint


def read(saves: Iterable[str]) -> AdminRules:
    return evaluate('{"nftables": []}', "wan0", ["lan0"], iptables_legacy="\n".join(saves))


def nat_table(*lines: str) -> str:
    return "\n".join(["*nat", ":PREROUTING ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]", *lines, "COMMIT"])


def test_iptables_forwards_exemptions_helpers_and_filter() -> None:
    nat = nat_table(
        ":DOCKER - [0:0]",
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        '-A PREROUTING -i wan0 -p udp -m udp --dport 5090 -m comment --comment "the PBX" -j DNAT '
        "--to-destination 192.168.20.9:5060",
        "-A PREROUTING -i wan0 -p udp -m multiport --dports 80,90:91 -j REDIRECT --to-ports 8080",
        "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        "-A POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT",
        "-A POSTROUTING -d 10.9.0.0/16 -j ACCEPT",
        "-A POSTROUTING -o wan0 -j MASQUERADE",
    )
    other = "\n".join([
        "*raw", ":PREROUTING ACCEPT [0:0]", "-A PREROUTING -p udp -m udp --dport 5060 -j CT --helper sip", "COMMIT",
        "*filter", ":FORWARD DROP [0:0]", "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -j LOG", "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT", "COMMIT",
    ])
    rules = read(saves=[nat, other])
    assert [(f.protocol, f.public.port, f.private) for f in rules.forwards] == [
        (TCP, 8080, Endpoint("172.17.0.2", 80)),
        (UDP, 5090, Endpoint("192.168.20.9", 5060)),
    ]
    assert [t.ports for t in rules.taken] == [(8080, 8080), (5090, 5090), (80, 80), (90, 91)]
    assert [str(e.destination) for e in rules.exemptions] == ["10.9.0.0/16"]
    assert rules.source_nat == ("iptables-legacy -t nat, line 11",)
    assert [h.ports for h in rules.sip_helpers] == [((5060, 5060),)]
    assert (rules.forward_policy, rules.dnat_accepted) == ("drop", "yes")
    assert rules.unevaluable == ()


def test_iptables_that_cant_be_evaluated() -> None:
    for condition in ("-m set --match-set phones dst", "! -s 10.0.0.0/8", "-d a.example", '-m comment --comment "a'):
        rules = read(saves=[nat_table(f"-A PREROUTING {condition} -j DNAT --to-destination 10.0.0.1")])
        assert not rules.taken
        assert not rules.forwards
        assert len(rules.unevaluable) == 1
    for target in ("DNAT --to-destination 10.0.0.1-10.0.0.9", "NETMAP --to 10.0.0.0/24"):
        rules = read(saves=[nat_table(f"-A PREROUTING -p udp -m udp --dport 7 -j {target}")])
        assert [t.ports for t in rules.taken] == [(7, 7)]
        assert rules.forwards == ()


def test_rules_of_chains_that_arent_there() -> None:
    assert len(read(saves=["*nat\n-A NOWHERE -j ACCEPT\n-A 'x"]).unevaluable) == 2


def test_flow_offload_of_iptables() -> None:
    save = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j FLOWOFFLOAD\nCOMMIT"
    assert read(saves=[save]).flow_tables == (FlowTable("iptables-legacy -t filter, line 3", (), used=True),)


def test_more_of_iptables() -> None:
    rules = read(saves=[nat_table(
        "-A PREROUTING -d 203.0.113.1/32 -p 17 -m udp --dport 7 -j DNAT --to-destination 10.0.0.1:8-9",
        "-A PREROUTING -d 203.0.113.1/32 -p udp -m udp --dport 9 -j DNAT --to-destination 10.0.0.1:x",
        "-A PREROUTING -p icmp -j DNAT --to-destination 10.0.0.1",
        "-A PREROUTING -m addrtype --dst-type MULTICAST -p udp -m udp --dport 11 -j DNAT --to-destination 10.0.0.1",
        "-A PREROUTING -p udp -m udp --dport 90000 -j DNAT --to-destination 10.0.0.1",
        "-A PREROUTING",
        "-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE",
        "-A POSTROUTING -s 192.168.20.0/24 -m iprange --dst-range 10.0.0.0-10.0.0.255 -j RETURN",
        "-A POSTROUTING -s 192.168.20.0/24 -o wan0 -j SNAT --to-source 203.0.113.1",
        "-A POSTROUTING -m policy --dir out --pol none -j ACCEPT",
    ), "\n".join(["*filter", ":FORWARD DROP [0:0]", "-A FORWARD -m conntrack --ctstatus DNAT -j ACCEPT",
                  "-A FORWARD -m conntrack --ctstatus SEEN_REPLY -j ACCEPT", "-A FORWARD -p all -j REJECT"])])
    assert [t.ports for t in rules.taken] == [(7, 7), (9, 9), (11, 11)]
    assert rules.forwards == ()
    assert [(str(e.destination), str(e.sources[0])) for e in rules.exemptions] == [
        ("192.168.122.0/24", "192.168.122.0/24"),
        ("10.0.0.0/24", "192.168.20.0/24"),
    ]
    assert len(rules.unevaluable) == 4
    assert rules.dnat_accepted == "yes"


words_of_iptables = ["!", "-p", "udp", "--dport", "7", "-j", "DNAT", "--to-destination", "1.2.3.4:x", "-d", "'"]


@given(st.lists(st.sampled_from(words_of_iptables)))
def test_any_iptables_words_are_read_without_raising(words: list[str]) -> None:
    assert isinstance(read(saves=[nat_table(" ".join(["-A PREROUTING", *words]), "-A", ":")]), AdminRules)
