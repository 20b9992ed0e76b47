"""The administrator's rule file: what each variant says."""

from __future__ import annotations

import pytest

from sipalg.lab.firewall import Firewall, rules


@pytest.mark.parametrize("firewall", ["strict", "loose", "forward", "server"])
def test_every_variant_flushes_first_and_drops_by_default(firewall: Firewall) -> None:
    text = rules(firewall)
    assert text.startswith("flush ruleset\n")
    assert "hook forward priority filter; policy drop;" in text
    assert 'oifname "wan0" masquerade' in text
    assert "ct helper" not in text


def test_the_exemption_comes_before_the_masquerade() -> None:
    text = rules()
    assert text.index("ip daddr 10.99.0.0/24 accept") < text.index("masquerade")


def test_only_loose_lets_in_what_dnat_let_in() -> None:
    assert "ct status dnat accept" in rules("loose")
    assert "ct status dnat accept" not in rules("strict")


def test_forward_leads_to_the_pbx() -> None:
    assert "udp dport 5060 dnat to 192.168.33.20:5060" in rules("forward")
    assert "dnat to" not in rules("strict")


def test_a_server_s_media_ports_are_forwarded_too() -> None:
    text = rules("server")
    assert 'iifname "wan0" udp dport { 5060, 16000-16099 } dnat to 192.168.33.20\n' in text
    assert 'iifname "wan0" ip daddr 192.168.33.20 udp dport { 5060, 16000-16099 } accept\n' in text


def test_the_kernel_s_helper_is_given_to_port_5060() -> None:
    text = rules(kernel_helper=True)
    assert 'type "sip" protocol udp;' in text
    assert 'udp dport 5060 ct helper set "sip"' in text


def test_each_way_of_ipv6_has_its_rules() -> None:
    assert "ip6" not in rules()
    assert "table ip6 filter" in rules(ipv6="as-it-is")
    assert "table ip6 nat" not in rules(ipv6="as-it-is")
    assert rules(ipv6="masquerade").count('oifname "wan0" masquerade') == 2
    text = rules(ipv6="prefix")
    assert "snat ip6 prefix to ip6 saddr map { 2001:db8:33::/64 : 2001:db8:133::/64" in text
    assert "dnat ip6 prefix to ip6 daddr map { 2001:db8:133::/64 : 2001:db8:33::/64" in text
    assert "l3proto ip6" in rules(kernel_helper=True, ipv6="as-it-is")
