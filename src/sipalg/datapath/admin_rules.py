"""What the administrator's firewall means for us: port forwards, exemptions, helpers, flow tables, what it lets in.

Read at start and whenever nftables says that the rule set changed, never on a packet's way. The administrator's rules
win: a port that one of them takes is taken, a destination that they don't translate isn't ours. Rules whose meaning
depends on more than `admin_model.Rule` can carry are listed as unevaluable, in words that a person can look up.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
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
from sipalg.datapath.admin_iptables import IPTABLES, read_iptables
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
)

_LEGACY_TABLES: Final = Path("/proc/net/ip_tables_names")
_OLD_HELPER_SWITCH: Final = Path("/proc/sys/net/netfilter/nf_conntrack_helper")
_PROGRAM_TIMEOUT_S: Final = 20.0


class AdminRulesError(Exception):
    """The rule set can't be read at all: one line for people."""


def read_admin_rules(outside: str, inside: Sequence[str] = (), own_table: str = "sipalg") -> AdminRules:
    """Read this namespace's rule set with nft and, where iptables is in use, iptables-save.

    `outside` is the interface whose flows are asked about, `inside` those that phones are behind (for what the filter
    lets through to them), `own_table` a table to leave out. Raises AdminRulesError.
    """
    document = run_program("nft", "-j", "list", "ruleset")
    saves = []
    if '"xt":' in document and shutil.which("iptables-save"):
        saves.append(run_program("iptables-save"))
    if _LEGACY_TABLES.exists() and _LEGACY_TABLES.read_text().strip():
        program = "iptables-legacy-save" if shutil.which("iptables-legacy-save") else "iptables-save"
        saves.append(run_program(program))
    helper_on = _OLD_HELPER_SWITCH.exists() and _OLD_HELPER_SWITCH.read_text().strip() == "1"
    return evaluate(document, saves, outside, inside, own_table, automatic_helpers=helper_on)


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
    iptables_saves: Sequence[str],
    outside: str,
    inside: Sequence[str] = (),
    own_table: str = "sipalg",
    *,
    automatic_helpers: bool = False,
) -> AdminRules:
    """Draw the conclusions from what the programs printed; pure. Raises AdminRulesError if it isn't nft's JSON."""
    try:
        nft = read_nft(json.loads(document), own_table)
    except ValueError as error:
        raise AdminRulesError(f"nft -j list ruleset: its output isn't understood: {error}") from None
    sets = [nft.rules, *(read_iptables(text) for text in iptables_saves)]
    told_by_iptables = {key[1] for rules in sets[1:] for key in rules.chains}
    chains: dict[ChainKey, Chain] = {}
    unevaluable = [item for rules in sets for item in rules.unevaluable]
    for rules in sets:
        for key, chain in rules.chains.items():
            if key[:2] in nft.xt_tables and key[0] != IPTABLES:
                if key[0] == "ip" and key[1] in told_by_iptables:
                    continue
                unevaluable.append(
                    Unevaluable(f"table {key[0]} {key[1]} chain {key[2]}", "iptables rules, and no iptables-save")
                )
            chains[key] = chain
    helpers = [SipHelper((PortRange(5060, 5060),), str(_OLD_HELPER_SWITCH))] if automatic_helpers else []
    flow_tables = [table for rules in sets for table in rules.flow_tables]
    return Conclusions(chains, outside, inside).draw(flow_tables, helpers, unevaluable)
