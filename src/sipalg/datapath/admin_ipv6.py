"""What the administrator's rules do to phones' IPv6 on its way out: nothing, mostly; or one address; or a prefix.

Off a packet's way, beside `admin_conclusions`, which is about IPv4. Read are the rules of nat chains at postrouting,
in their order, with the chains that they jump to; what a rule asks that isn't known here makes it uncertain, and it is
listed, for a person to decide. Sources: libnftables-json(5), ip6tables-extensions(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network
from typing import Final, NamedTuple

from sipalg.datapath.admin_model import interface_matches
from sipalg.datapath.admin_nft import Json

_FAMILIES: Final = ("ip6", "inet")
_DEEPEST_JUMP: Final = 8


class Ipv6Nat(NamedTuple):
    """How IPv6 leaves through the outside interface.

    `address` is what `sources` (empty: all) are translated to, "" for the interface's own; None where nothing is.
    `prefixes` go before it. `unevaluable` says where rules are that couldn't be read.
    """

    address: str | None = None
    sources: tuple[IPv6Network, ...] = ()
    prefixes: tuple[tuple[IPv6Network, IPv6Network], ...] = ()
    unevaluable: tuple[str, ...] = ()


#: What no rule translates.
AS_IT_IS: Final = Ipv6Nat()


class _Conditions(NamedTuple):
    """What a rule asks: `sure` if all of it is known here, `sources` None if it says nothing of them."""

    sure: bool = True
    sources: tuple[IPv6Network, ...] | None = None


def read_ipv6_nat(document: Json, outside: str, own_table: str, saved: str = "") -> Ipv6Nat:
    """Read nft's JSON and what ip6tables-save printed (of rules that nft can't show, and of the old ip6tables)."""
    found = Ipv6Nat()
    entries = document.get("nftables") if isinstance(document, dict) else None
    chains = _Chains(entries if isinstance(entries, list) else (), own_table)
    for key in chains.postrouting():
        found = _through(chains, key, outside, found, _Conditions(), 0)
    for line in saved.splitlines():
        found = _of_saved(line, outside, found)
    return found


class _Chains:
    """The rules of each chain, and the base chains that translate on the way out."""

    def __init__(self, entries: Iterable[Json], own_table: str) -> None:
        self._rules: dict[tuple[str, str, str], list[list[Json]]] = {}
        self._base: list[tuple[int, tuple[str, str, str]]] = []
        for entry in entries:
            for kind, item in entry.items() if isinstance(entry, dict) else ():
                if not isinstance(item, dict) or item.get("family") not in _FAMILIES or item.get("table") == own_table:
                    continue
                table = (str(item.get("family")), str(item.get("table")))
                if kind == "chain" and (item.get("hook"), item.get("type")) == ("postrouting", "nat"):
                    priority = item.get("prio")
                    self._base.append((priority if isinstance(priority, int) else 0, (*table, str(item.get("name")))))
                elif kind == "rule":
                    expressions = item.get("expr")
                    rule = expressions if isinstance(expressions, list) else []
                    self._rules.setdefault((*table, str(item.get("chain"))), []).append(rule)

    def postrouting(self) -> Iterator[tuple[str, str, str]]:
        """Yield the base chains as packets meet them."""
        return (key for _, key in sorted(self._base))

    def rules(self, key: tuple[str, str, str]) -> list[list[Json]]:
        """Return a chain's rules."""
        return self._rules.get(key, [])


def _through(
    chains: _Chains, key: tuple[str, str, str], outside: str, found: Ipv6Nat, on_the_way: _Conditions, depth: int
) -> Ipv6Nat:
    for rule in chains.rules(key):
        conditions: _Conditions | None = on_the_way
        for expression in rule:
            ((name, value),) = expression.items() if isinstance(expression, dict) else (("", None),)
            if name == "match" and isinstance(value, dict):
                conditions = None if conditions is None else _match(conditions, value, outside)
            if conditions is None:
                break
            if name in ("jump", "goto") and isinstance(value, dict) and depth < _DEEPEST_JUMP:
                target = (*key[:2], str(value.get("target")))
                found = _through(chains, target, outside, found, conditions, depth + 1)
            elif name == "masquerade":
                found = _with_address(found, "", conditions, key)
            elif name == "snat":
                found = _snat(found, value, conditions, key)
    return found


def _match(conditions: _Conditions, match: dict[str, Json], outside: str) -> _Conditions | None:
    """Return the conditions with one more; None where no IPv6 packet through the outside interface meets it."""
    left, right, operator = match.get("left"), match.get("right"), match.get("op")
    ((kind, detail),) = left.items() if isinstance(left, dict) and len(left) == 1 else (("", None),)
    fields = detail if isinstance(detail, dict) else {}
    values = right.get("set") if isinstance(right, dict) and "set" in right else right
    several = values if isinstance(values, list) else [values]
    if kind == "meta" and fields.get("key") in ("oifname", "oif"):
        met = any(isinstance(one, str) and interface_matches(one, outside) for one in several)
        return conditions if met == (operator in ("==", "in")) else None
    if kind == "meta" and fields.get("key") == "nfproto":
        return conditions if "ipv6" in several else None
    if kind == "payload" and fields.get("protocol") == "ip":
        return None
    if kind == "payload" and (fields.get("protocol"), fields.get("field")) == ("ip6", "saddr") and operator == "==":
        sources = [_network(one) for one in several]
        known = tuple(one for one in sources if one is not None)
        if len(known) == len(sources):
            return conditions._replace(sources=known)
    return conditions._replace(sure=False)


def _network(value: Json) -> IPv6Network | None:
    prefix = value.get("prefix") if isinstance(value, dict) else None
    text = f"{prefix.get('addr')}/{prefix.get('len')}" if isinstance(prefix, dict) else str(value)
    try:
        return IPv6Network(text)
    except ValueError:
        return None


def _with_address(found: Ipv6Nat, address: str, conditions: _Conditions, where: tuple[str, ...]) -> Ipv6Nat:
    """Take note of a rule that translates to one address; the first that a packet meets counts."""
    if not conditions.sure:
        return _uncertain(found, where)
    if found.address is not None and (found.address != address or not found.sources):
        return found
    return found._replace(address=address, sources=(*found.sources, *(conditions.sources or ())))


def _snat(found: Ipv6Nat, value: Json, conditions: _Conditions, where: tuple[str, ...]) -> Ipv6Nat:
    target = value.get("addr") if isinstance(value, dict) else None
    if isinstance(target, str):
        return _with_address(found, target, conditions, where)
    pairs: list[tuple[Json, Json]] = []
    if isinstance(target, dict) and "map" in target:
        mapping = target["map"]
        data = mapping.get("data") if isinstance(mapping, dict) else None
        members = data.get("set") if isinstance(data, dict) else None
        listed = members if isinstance(members, list) else []
        pairs = [(one[0], one[1]) for one in listed if isinstance(one, list) and len(one) == 2]
        prefixes = [(_network(inside), _network(outside)) for inside, outside in pairs]
    else:
        outside = _network(target)
        prefixes = [(inside, outside) for inside in conditions.sources or ()]
    known = [
        (inside, outside)
        for inside, outside in prefixes
        if inside is not None and outside is not None and inside.prefixlen == outside.prefixlen
    ]
    if not conditions.sure or not known or len(known) != len(prefixes):
        return _uncertain(found, where)
    return found._replace(prefixes=(*found.prefixes, *known))


def _uncertain(found: Ipv6Nat, where: tuple[str, ...]) -> Ipv6Nat:
    text = f"table {where[0]} {where[1]} chain {where[2]}"
    return found if text in found.unevaluable else found._replace(unevaluable=(*found.unevaluable, text))


def _of_saved(line: str, outside: str, found: Ipv6Nat) -> Ipv6Nat:
    """Take note of one line of ip6tables-save: those of POSTROUTING that translate."""
    words = line.split()
    if words[:2] != ["-A", "POSTROUTING"] or "-j" not in words:
        return found
    where = ("ip6tables", "nat", "POSTROUTING")
    options = dict(zip(words[2::2], words[3::2], strict=False))
    target = options.get("-j")
    source = _network(options["-s"]) if "-s" in options else None
    if target not in ("MASQUERADE", "SNAT", "NETMAP") or not interface_matches(options.get("-o", outside), outside):
        return found
    known = {"-o", "-s", "-j", "--to-source", "--to"}
    sure = set(options) <= known and ("-s" not in options or source is not None) and "!" not in words
    conditions = _Conditions(sure, None if source is None else (source,))
    if target == "NETMAP":
        return _snat(found, _prefix_target(options.get("--to", "")), conditions, where)
    return _with_address(found, options.get("--to-source", ""), conditions, where)


def _prefix_target(text: str) -> Json:
    address, _, length = text.partition("/")
    return {"addr": {"prefix": {"addr": address, "len": length}}}
