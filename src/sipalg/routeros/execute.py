"""What each command does: statements of the grammar, carried out on a router, become lines or JSON.

`ACTIONS` has a function for each action that the table of menus names. Nothing is read from a clock or written to a
terminal here. A packet never comes here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sipalg import __version__
from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import texts
from sipalg.routeros import capturing, listing
from sipalg.routeros.capturing import Found
from sipalg.routeros.conditions import hold
from sipalg.routeros.grammar import Call, Items
from sipalg.routeros.listing import Row
from sipalg.routeros.menus import MENUS, Menu
from sipalg.routeros.router import Change, RefusedError, Router
from sipalg.sniffer.settings import DEFAULTS


class _Section(NamedTuple):
    """Settings that an export has: of which menu and entry, how they are read, and what they are by default."""

    menu: Menu
    name: str
    settings: Callable[[Router], Mapping[str, str]]
    defaults: Mapping[str, str]


_SECTIONS: Final = (
    _Section(MENUS["ip", "firewall", "service-port"], "sip", Router.settings, texts(Settings())),
    _Section(MENUS["tool", "sniffer"], "", capturing.settings, DEFAULTS),
)


class Surroundings(NamedTuple):
    """What a command may depend on besides the router: the date as an export's head has it, and how wide lines are.

    `columns` is the terminal's width, None for a file or a pipe, whose tables have whole rows for `grep`.
    """

    date: str
    columns: int | None = None

    @property
    def width(self) -> int:
        """Where exports and details are broken."""
        return listing.WIDTH if self.columns is None else self.columns


class Result(NamedTuple):
    """What a command gives: lines for people, the same as JSON, whether it changed something, and whether to last."""

    lines: Iterable[str] = ()
    json: Any = None
    changed: bool = False
    #: Is what it changed written, where it has to be?
    saved: bool = True
    #: Do the lines come one by one, as things happen?
    live: bool = False


def perform(call: Call, router: Router, around: Surroundings) -> Result:
    """Carry a command out. Raises RefusedError, and nothing is changed then."""
    return ACTIONS[call.command.action](call, router, around)


def _print(call: Call, router: Router, around: Surroundings) -> Result:
    menu = call.menu
    rows = [row for row in _rows(menu, router) if hold(call.where, row.values)]
    if "count-only" in call.words:
        return Result([str(len(rows))], len(rows))
    json = listing.as_json(menu, rows)
    if "as-value" in call.words:
        return Result(listing.as_value(menu, rows), json)
    if "terse" in call.words:
        return Result(listing.terse(menu, rows), json)
    if "detail" in call.words:
        return Result(listing.detail(menu, rows, around.width), json)
    return Result(listing.table(menu, rows, around.columns), json)


def _set(call: Call, router: Router, _around: Surroundings) -> Result:
    _check_items(call, router)
    return _changed(router.set(call.values))


def _enable(call: Call, router: Router, _around: Surroundings) -> Result:
    _check_items(call, router)
    return _changed(router.set({"disabled": "no"}))


def _disable(call: Call, router: Router, _around: Surroundings) -> Result:
    _check_items(call, router)
    return _changed(router.disable(now="now" in call.words))


def _get(call: Call, router: Router, _around: Surroundings) -> Result:
    name = call.values["value-name"]
    values = [row.values[name] for row in _meant(call, _rows(call.menu, router))]
    return Result(values, values[0])


def _export(call: Call, router: Router, around: Surroundings) -> Result:
    below = [section for section in _SECTIONS if section.menu.path[: len(call.menu.path)] == call.menu.path]
    sections = []
    for section in below:
        settings = section.settings(router)
        if "verbose" not in call.words:
            settings = {key: text for key, text in settings.items() if text != section.defaults.get(key)}
        sections.append(listing.Section(section.menu, section.name, settings))
    head = f"{around.date} by sipalg {__version__}"
    lines = list(listing.export(head, sections, one_line="terse" in call.words, width=around.width))
    return Result(lines, "\n".join([*lines, ""]))


def _capturing(action: Callable[[Call, Router], Found]) -> Callable[[Call, Router, Surroundings], Result]:
    """Fit an action of the sniffer's in with the others."""

    def act(call: Call, router: Router, _around: Surroundings) -> Result:
        lines, json, changed, live = action(call, router)
        return Result(lines, json, changed, live=live)

    return act


#: By action. A new menu's commands have theirs here.
ACTIONS: Final[dict[str, Callable[[Call, Router, Surroundings], Result]]] = {
    "print": _print,
    "set": _set,
    "enable": _enable,
    "disable": _disable,
    "get": _get,
    "export": _export,
    **{name: _capturing(action) for name, action in capturing.ACTIONS.items()},
}


def _rows(menu: Menu, router: Router) -> list[Row]:
    """Return all of a menu's entries; each has every flag."""
    if menu.source in capturing.ROWS:
        found = capturing.rows(menu.source, router)
    elif menu.source:
        found = router.rows(menu.source)
    else:
        settings = router.service_port()
        found = [{"name": name, **settings} for name in menu.items]
    common = {**{flag.name: "no" for flag in menu.flags}, **dict(menu.constant)}
    return [Row(number, {**common, **values}) for number, values in enumerate(found)]


def _meant(call: Call, rows: Sequence[Row]) -> list[Row]:
    """Return the entries that a command names. Raises RefusedError where conditions find none."""
    items = call.items or Items()
    if items.found is None:
        return [row for row in rows if row.values["name"] in items.names]
    found = [row for row in rows if hold(items.found, row.values)]
    if not found:
        raise RefusedError(f"no such item: what {call.command.name} is to find isn't there")
    return found


def _check_items(call: Call, router: Router) -> None:
    """Names were checked when they were read; conditions need the entries. Raises RefusedError."""
    if call.items is not None and call.items.found is not None:
        _meant(call, _rows(call.menu, router))


def _changed(change: Change) -> Result:
    json: dict[str, Any] = {"changed": list(change.changed), "saved": change.saved}
    if change.ended:
        json["ended"] = dict(change.ended)
    return Result((), json, changed=bool(change.changed or change.ended), saved=change.saved is not None)
