"""The menus and their commands: one table that grammar, help, completion and execution all read.

To add a menu is to add rows here and, for what its commands do, a function in `execute.ACTIONS`. A packet never comes
here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sipalg.control.settings.properties import PROPERTIES, Property
from sipalg.sniffer.settings import PROPERTIES as SNIFFER
from sipalg.sniffer.settings import plain_name, seconds

#: A menu's place: the names from the root on.
Path = tuple[str, ...]


class Argument(NamedTuple):
    """Something that a command takes: `values` is what is allowed, for people."""

    name: str
    help: str
    values: str = ""
    #: The words that there are, where it is one of some; each may be abbreviated.
    choices: tuple[str, ...] = ()
    #: Raises ValueError with one line for what can't be.
    check: Callable[[str], Any] | None = None


class Column(NamedTuple):
    """A column of a menu's table; `right` for numbers, `brief` for those that a plain `print` has."""

    name: str
    brief: bool = True
    right: bool = False
    #: What `where` compares by its size is a "time" as `1h30m`, or a "number"; a "string" is always shown in quotes.
    kind: str = "text"


class Flag(NamedTuple):
    """A letter in front of a row, and the property that it stands for."""

    letter: str
    name: str


class Command(NamedTuple):
    """A command of a menu."""

    name: str
    help: str
    #: Names the function that does it.
    action: str
    #: Arguments that may come without a name, in this order, each once.
    unnamed: tuple[Argument, ...] = ()
    #: Those of them without which the command can't be.
    required: int = 0
    #: Arguments `name=value`.
    named: tuple[Argument, ...] = ()
    #: Words that stand alone; `--` in front of one is taken too.
    words: tuple[Argument, ...] = ()
    #: May conditions on the rows follow, after `where`?
    where: bool = False
    #: Does it change something, so that it needs at least one named argument?
    needs_named: bool = False


class Menu(NamedTuple):
    """One menu: what is below it follows from the others' places."""

    path: Path
    help: str
    commands: tuple[Command, ...] = ()
    #: The entries that there always are, by name.
    items: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    columns: tuple[Column, ...] = ()
    #: The command of the control socket that answers with the entries, where they aren't `items`.
    source: str = ""
    #: What is the same for all entries.
    constant: tuple[tuple[str, str], ...] = ()


_PRINT_WORDS: Final = (
    Argument("brief", "a table, as without a word"),
    Argument("detail", "all properties, as name=value"),
    Argument("terse", "all properties, a line an entry"),
    Argument("as-value", "all properties, with semicolons between them"),
    Argument("count-only", "only how many entries there are"),
    Argument("without-paging", "as it is: nothing is ever paged"),
)
#: Those that make sense where there is only one entry.
_ONE_PRINT_WORDS: Final = tuple(one for one in _PRINT_WORDS if one.name in ("as-value", "without-paging"))
_NUMBERS: Final = Argument("numbers", "an entry: its name, its number, or [find …]")
_ALTERNATIVES: Final = re.compile(r"[\w-]+(?: or [\w-]+)+")


def _setting(one: Property) -> Argument:
    choices = tuple(one.values.split(" or ")) if _ALTERNATIVES.fullmatch(one.values) else ()
    if one.kind == "flag":
        choices = (*choices, "true", "false")
    explained = one.help if one.live else f"{one.help}; can't be changed while sipalg runs"
    return Argument(one.key, explained, one.values, choices, one.parse)


def _column(one: Property) -> Column:
    is_ports = one.key == "ports"
    return Column(one.key, brief=is_ports, right=is_ports, kind=one.kind if one.kind in ("time", "number") else "text")


_SETTINGS: Final = tuple(map(_setting, PROPERTIES.values()))
_VALUE_NAME: Final = Argument("value-name", "the property to show", "a property's name", ("name", *PROPERTIES))

_EXPORT: Final = Command(
    "export",
    "print the settings as commands that make them",
    "export",
    words=(Argument("verbose", "with those that have their default"), Argument("terse", "each command with its menu")),
)
_FILE: Final = Argument("file-name", "the file to write", "a plain name", check=plain_name)
_NAME: Final = Argument("name", "the file", "a plain name", check=plain_name)
_SNIFFER: Final = tuple(Argument(one.key, one.help, one.values, one.choices, one.check) for one in SNIFFER.values())
#: What the sniffer tells of a run, by RouterOS's words or such, and what its state calls it.
RUN: Final = (
    ("packets", "packets"),
    ("dropped", "dropped"),
    ("memory-packets", "memory_packets"),
    ("file", "file"),
    ("file-packets", "file_packets"),
    ("file-size", "file_bytes"),
    ("streamed", "streamed"),
    ("ended", "ending"),
)
_FACT_NAME: Final = _VALUE_NAME._replace(choices=(*SNIFFER, "running", *(name for name, _ in RUN)))
#: `quick` has filters of its own, named without `filter-`.
_QUICK: Final = (
    *(
        one._replace(name=one.name.removeprefix("filter-"))
        for one in _SNIFFER
        if one.name.startswith("filter-") and one.name != "filter-stream"
    ),
    Argument("duration", "how long, at most", "a time, such as 10s or 1m", check=seconds),
)
_NOW: Final = Argument("now", "end standing calls and mappings too, instead of serving them to their end")


def _print(help_: str) -> Command:
    return Command("print", help_, "print", words=_PRINT_WORDS, where=True)


_ALL: Final = (
    Menu((), "the root", (_EXPORT,)),
    Menu(("ip",), "the Internet Protocol", (_EXPORT,)),
    Menu(("ip", "firewall"), "what is done to packets", (_EXPORT,)),
    Menu(
        ("ip", "firewall", "service-port"),
        "the ALG's settings",
        (
            _print("show the settings"),
            Command("set", "change settings", "set", (_NUMBERS,), 1, (_NUMBERS, *_SETTINGS), needs_named=True),
            Command("get", "show one setting's value", "get", (_NUMBERS, _VALUE_NAME), 2, (_NUMBERS, _VALUE_NAME)),
            Command("enable", "translate (disabled=no)", "enable", (_NUMBERS,), 1, (_NUMBERS,)),
            Command("disable", "plain NAT (disabled=yes)", "disable", (_NUMBERS,), 1, (_NUMBERS,), (_NOW,)),
            _EXPORT,
        ),
        items=("sip",),
        flags=(Flag("X", "disabled"), Flag("I", "invalid")),
        columns=(
            Column("name", kind="string"),
            *map(_column, (one for one in PROPERTIES.values() if one.key != "disabled")),
        ),
    ),
    Menu(
        ("ip", "firewall", "connection"),
        "SIP and media flows in the connection tracker",
        (_print("show the flows, with the time that each has left"),),
        flags=(
            Flag("S", "seen-reply"),
            Flag("A", "assured"),
            Flag("C", "confirmed"),
            Flag("D", "dying"),
            Flag("s", "srcnat"),
            Flag("d", "dstnat"),
        ),
        columns=(
            Column("protocol"),
            Column("src-address"),
            Column("dst-address"),
            Column("reply-src-address", brief=False),
            Column("reply-dst-address"),
            Column("timeout", kind="time"),
            Column("connection-type"),
            Column("orig-packets", brief=False, kind="number"),
            Column("repl-packets", brief=False, kind="number"),
        ),
        source="connections",
    ),
    Menu(("tool",), "tools", (_EXPORT,)),
    Menu(
        ("tool", "sniffer"),
        "captures what passes",
        (
            Command("print", "show the settings, and what a run has found", "sniffer-print", words=_ONE_PRINT_WORDS),
            Command("set", "change settings, for the next run", "sniffer-set", named=_SNIFFER, needs_named=True),
            Command("get", "show one of them", "sniffer-get", (_FACT_NAME,), 1, (_FACT_NAME,)),
            _EXPORT,
            Command("start", "begin to capture", "sniffer-start"),
            Command("stop", "capture no more", "sniffer-stop"),
            Command("save", "write the packets in memory to a file", "sniffer-save", (_FILE,), 1, (_FILE,)),
            Command("quick", "show packets as they pass, until Ctrl-C", "sniffer-quick", named=_QUICK),
            Command("reset", "give all settings their defaults", "sniffer-reset"),
        ),
    ),
    Menu(
        ("tool", "sniffer", "packet"),
        "the packets in memory",
        (_print("show the packets"),),
        columns=(
            Column("time", right=True, kind="number"),
            Column("interface"),
            Column("direction"),
            Column("src-mac", brief=False),
            Column("dst-mac", brief=False),
            Column("vlan", kind="number"),
            Column("src-address"),
            Column("dst-address"),
            Column("protocol"),
            Column("size", right=True, kind="number"),
        ),
        source="sniffer-packets",
    ),
    Menu(
        ("tool", "sniffer", "protocol"),
        "what was captured, by protocol",
        (_print("show protocols and their parts of all bytes"),),
        columns=(
            Column("protocol"),
            Column("ip-protocol"),
            Column("port"),
            Column("packets", right=True, kind="number"),
            Column("bytes", right=True, kind="number"),
            Column("share", right=True),
        ),
        source="sniffer-protocols",
    ),
    Menu(
        ("tool", "sniffer", "host"),
        "what was captured, by host",
        (_print("show what hosts sent/got: in the last second, in the best, in all"),),
        columns=(
            Column("address"),
            Column("rate", right=True),
            Column("peak-rate", right=True),
            Column("total", right=True),
        ),
        source="sniffer-hosts",
    ),
    Menu(
        ("tool", "sniffer", "connection"),
        "what was captured, by connection",
        (_print("show connections: there/back"),),
        columns=(
            Column("protocol"),
            Column("src-address"),
            Column("dst-address"),
            Column("packets", right=True),
            Column("bytes", right=True),
            Column("resends", right=True),
            Column("mss", right=True),
        ),
        source="sniffer-connections",
    ),
    Menu(
        ("file",),
        "the captures",
        (
            _print("list the captures"),
            Command("remove", "remove a capture", "file-remove", (_NAME,), 1, (_NAME,)),
        ),
        columns=(
            Column("name"),
            Column("type"),
            Column("size", right=True, kind="number"),
            Column("last-modified"),
        ),
        source="files",
    ),
    Menu(
        ("ip", "firewall", "nat"),
        "what the ALG's own table translates",
        (_print("show the rules that the mappings amount to"),),
        flags=(Flag("D", "dynamic"),),
        columns=(
            Column("chain"),
            Column("action"),
            Column("protocol"),
            Column("src-address"),
            Column("src-address-list", brief=False),
            Column("src-port", right=True, kind="number"),
            Column("dst-address"),
            Column("dst-port", right=True, kind="number"),
            Column("in-interface", brief=False),
            Column("out-interface", brief=False),
            Column("to-addresses"),
            Column("to-ports", right=True, kind="number"),
            Column("comment", brief=False, kind="string"),
        ),
        source="nat",
        constant=(("dynamic", "yes"),),
    ),
)

MENUS: Final[dict[Path, Menu]] = {menu.path: menu for menu in _ALL}


def children(path: Path) -> list[str]:
    """Return the names of the menus right below one."""
    return [other[-1] for other in MENUS if other and other[:-1] == path]


def matching(text: str, names: list[str]) -> list[str]:
    """Return which of the names a text may stand for: itself, or those that it begins."""
    return [text] if text in names else [name for name in names if text and name.startswith(text)]
