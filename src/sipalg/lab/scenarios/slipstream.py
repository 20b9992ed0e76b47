"""The scenario of attacks: a web page that wants a port of an inside host opened, by every trick that was published.

It is judged by what arrives: not a byte may have been changed on the way, and no knock at any port that was named may
be heard inside. Linux's own helper is the control that fails: it opens the port in the same run.
"""

from __future__ import annotations

from typing import Final

from sipalg.lab.scenario import Scenario
from sipalg.lab.slipstream import POST, TURN, Attack, invite, register
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS

#: Linux's helper for TCP, as nftables' wiki shows it for UDP.
_HELPER: Final = """
table ip helper_tcp {
    ct helper sip_tcp { type "sip" protocol tcp; l3proto ip; }
    chain prerouting { type filter hook prerouting priority filter; tcp dport 5060 ct helper set "sip_tcp"; }
}
"""
_OWN, _OTHER = ADDRESS["phone1"], ADDRESS["phone2"]
#: What is tried: its name, the transport, what a packet before it begins with, and the message.
_TRICKS: Final = (
    ("a page's POST", "tcp", POST, register(_OWN, "tcp")),
    ("a page's POST that names another host", "tcp", POST, register(_OTHER, "tcp")),
    ("a TURN user name", "tcp", TURN, register(_OWN, "tcp")),
    ("a page's POST with a call", "tcp", POST, invite(_OTHER, "tcp")),
    ("a fragment", "udp", POST, register(_OWN, "udp")),
    ("a fragment that names another host", "udp", POST, register(_OTHER, "udp")),
    ("a TURN user name in fragments", "udp", TURN, register(_OWN, "udp")),
    ("a fragment with a call", "udp", TURN, invite(_OWN, "udp")),
)


def slipstream(stage: Stage) -> None:
    """Every trick arrives as it was sent, and no knock is heard inside."""
    if stage.mode == "kernel":
        path = stage.net.directory / "helper.conf"
        path.write_text(_HELPER)
        stage.net.run("router", "nft", "-f", path)
    opened: list[str] = []
    changed: list[str] = []
    for name, transport, before, trick in _TRICKS:
        attack = Attack(stage.net)
        seen = attack.over_tcp(before, trick) if transport == "tcp" else attack.over_udp(before, trick)
        if not seen.endswith(trick) or not seen.startswith(before):
            changed.append(name)
        opened += [f"{name} opens {place}" for place in sorted(attack.reached)]
    stage.expect(not opened, "; ".join(opened))
    stage.expect(not changed, f"changed on the way: {', '.join(changed)}")
    if stage.mode == "sipalg":
        stage.expect(stage.alg.rows("mappings") == [], "a mapping was made")
        stage.expect(not stage.alg.status()["counters"]["edits"], "something was edited")
    stage.measured.append(f"{len(_TRICKS)} tricks, 0 pinholes, 0 edits")


SCENARIOS: Final = (
    Scenario(
        "slipstream",
        "a web page's POST, TURN user names and fragments that hold SIP: nothing is opened, nothing edited",
        slipstream,
        Needs(hosts=("phone1", "phone2", "server", "far1")),
        fails_in=frozenset({"kernel"}),
    ),
)
