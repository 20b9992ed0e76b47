"""What the administrator's firewall means for us: port forwards, exemptions, helpers, flow tables, what it lets in.

Read at start and whenever nftables says that the rule set changed, never on a packet's way. The administrator's rules
win: a port that one of them takes is taken, a destination that they don't translate isn't ours. Rules whose meaning
depends on more than `admin_model.Rule` can carry are listed as unevaluable, in words that a person can look up.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from sipalg.datapath.admin_conclusions import (
    AdminRules,
    Conclusions,
    Exemption,
    PortForward,
    SipHelper,
    TakenPorts,
)
from sipalg.datapath.admin_iptables import read_iptables
from sipalg.datapath.admin_ipv6 import read_ipv6_nat
from sipalg.datapath.admin_model import (
    Chain,
    ChainKey,
    PortRange,
    Unevaluable,
)
from sipalg.datapath.admin_nft import read_nft

__all__ = (
    "AdminRules",
    "AdminRulesError",
    "Exemption",
    "PortForward",
    "SipHelper",
    "TakenPorts",
    "Unevaluable",
    "evaluate",
    "read_admin_rules",
    "read_legacy_rules",
)

_LEGACY_TABLES: Final = Path("/proc/net/ip_tables_names")
_OLD_HELPER_SWITCH: Final = Path("/proc/sys/net/netfilter/nf_conntrack_helper")
_PROGRAM_TIMEOUT_S: Final = 20.0
#: A chain's packets and bytes.
_COUNTERS: Final = re.compile(r" \[\d+:\d+\]$")


class AdminRulesError(Exception):
    """The rule set can't be read at all: one line for people."""


def read_admin_rules(
    outside: str, inside: Sequence[str] = (), own_table: str = "sipalg", ports: Collection[int] = ()
) -> AdminRules:
    """Read this namespace's rule set with nft and, where iptables is in use, iptables-save.

    `outside` is the interface whose flows are asked about, `inside` those that phones are behind and `ports` the SIP
    servers' (for what the filter lets through), `own_table` a table to leave out. Raises AdminRulesError.
    """
    # Without what named sets and maps hold, which nobody here looks at: our own table's grow with each mapping.
    document = run_program("nft", "-j", "-t", "list", "ruleset")
    from_nft = from_legacy = from_ipv6 = ""
    if '"xt":' in document:
        from_nft = _save("iptables-nft-save")
        from_ipv6 = _save("ip6tables-nft-save", "ip6tables-save")
    if _legacy_in_use():
        from_legacy = _save("iptables-legacy-save")
        from_ipv6 += _save("ip6tables-legacy-save", "ip6tables-save")
    helper_on = _OLD_HELPER_SWITCH.exists() and _OLD_HELPER_SWITCH.read_text().strip() == "1"
    return evaluate(
        document,
        outside,
        inside,
        own_table,
        ports=ports,
        iptables_nft=from_nft,
        iptables_legacy=from_legacy,
        ip6tables=from_ipv6,
        automatic_helpers=helper_on,
    )


def read_legacy_rules() -> str:
    """Return the old iptables' rules without what changes by itself; "" where it isn't in use.

    The kernel tells nobody when they change, so whoever wants to know has to compare. Raises AdminRulesError.
    """
    saved = _save("iptables-legacy-save") if _legacy_in_use() else ""
    return "\n".join(_COUNTERS.sub("", line) for line in saved.splitlines() if not line.startswith("#"))


def _legacy_in_use() -> bool:
    try:
        return bool(_LEGACY_TABLES.read_text().strip())
    except PermissionError:
        right = "no right to see whether the old iptables has rules; be root, or have CAP_DAC_READ_SEARCH too"
        raise AdminRulesError(f"{_LEGACY_TABLES}: {right}") from None
    except OSError:
        return False


def _save(program: str, plain: str = "iptables-save") -> str:
    """Run the program of that name, or what the system calls `plain`; "" where there is neither."""
    found = next((name for name in (program, plain) if shutil.which(name)), "")
    return run_program(found) if found else ""


def run_program(*command: str) -> str:
    """Run a program that lists rules and return what it printed; AdminRulesError with its first line of complaint."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROGRAM_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise AdminRulesError(f"{command[0]}: program not found; install it (Debian: apt install nftables)") from None
    except subprocess.TimeoutExpired:
        raise AdminRulesError(f"{' '.join(command)}: no answer in {_PROGRAM_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise AdminRulesError(f"{' '.join(command)}: {complaint}")
    return done.stdout


def evaluate(
    document: str,
    outside: str,
    inside: Sequence[str] = (),
    own_table: str = "sipalg",
    *,
    ports: Collection[int] = (),
    iptables_nft: str = "",
    iptables_legacy: str = "",
    ip6tables: str = "",
    automatic_helpers: bool = False,
) -> AdminRules:
    """Draw the conclusions from what the programs printed; pure. Raises AdminRulesError if it isn't nft's JSON.

    `iptables_nft` is what iptables-save says of rules that nft shows too, `iptables_legacy` of those that it doesn't.
    """
    try:
        parsed = json.loads(document)
        nft = read_nft(parsed, own_table)
    except ValueError as error:
        raise AdminRulesError(f"nft -j list ruleset: its output isn't understood: {error}") from None
    save, legacy = read_iptables(iptables_nft, "iptables"), read_iptables(iptables_legacy, "iptables-legacy")
    chains = _merge(nft.rules.chains, save.chains, nft.xt_chains) | legacy.chains
    unread = [
        Unevaluable(f"table {family} {table} chain {name}", "rules of iptables, but no iptables-save to read them")
        for family, table, name in sorted(nft.xt_chains & chains.keys())
    ]
    helpers = [SipHelper((PortRange(5060, 5060),), str(_OLD_HELPER_SWITCH))] if automatic_helpers else []
    sets = (nft.rules, save, legacy)
    flow_tables = [table for rules in sets for table in rules.flow_tables]
    unevaluable = unread + [item for rules in sets for item in rules.unevaluable]
    drawn = Conclusions(chains, outside, inside, ports).draw(flow_tables, helpers, unevaluable)
    return replace(drawn, ipv6=read_ipv6_nat(parsed, outside, own_table, ip6tables))


def _merge(
    nft: dict[ChainKey, Chain], save: dict[ChainKey, Chain], xt_chains: frozenset[ChainKey]
) -> dict[ChainKey, Chain]:
    """Return nft's chains, with those of a table that nft can't show in full taken from iptables-save.

    A table's chains jump to each other, so that all that iptables knows of such a table come from there; chains that
    somebody else put into the same table stay nft's.
    """
    tables = {table for family, table, _ in xt_chains if family == "ip"}
    told = {key: chain for key, chain in save.items() if key[1] in tables}
    names = {key[1:] for key in told}
    kept = {key: chain for key, chain in nft.items() if key[0] != "ip" or key[1:] not in names}
    return kept | told
