from __future__ import annotations

from sipalg.control.settings.properties import PROPERTIES
from sipalg.routeros.menus import MENUS, children, matching
from sipalg.sniffer.settings import PROPERTIES as SNIFFER

SERVICE_PORT = MENUS["ip", "firewall", "service-port"]


def test_every_menu_hangs_on_another() -> None:
    assert all(path[:-1] in MENUS for path in MENUS if path)
    assert children(()) == ["ip", "tool", "file"]
    assert children(("ip", "firewall")) == ["service-port", "connection", "nat"]


def test_no_menu_has_a_name_twice() -> None:
    for menu in MENUS.values():
        names = [*children(menu.path), *(command.name for command in menu.commands)]
        assert len(names) == len(set(names))
        for command in menu.commands:
            words = [one.name for one in (*command.named, *command.words)]
            assert len(words) == len(set(words))
            assert command.required <= len(command.unnamed)


def test_all_settings_are_properties_of_the_service_port() -> None:
    (set_,) = (command for command in SERVICE_PORT.commands if command.name == "set")
    assert [one.name for one in set_.named] == ["numbers", *PROPERTIES]
    shown = {column.name for column in SERVICE_PORT.columns} | {flag.name for flag in SERVICE_PORT.flags}
    assert shown == {"name", "invalid", *PROPERTIES}


def test_settings_that_are_times_and_numbers_compare_as_such() -> None:
    kinds = {column.name: column.kind for column in SERVICE_PORT.columns}
    assert {name for name, kind in kinds.items() if kind == "time"} == {"sip-timeout", "call-timeout"}
    assert (kinds["queue"], kinds["ports"], kinds["name"]) == ("number", "text", "string")


def test_choices_are_those_that_the_setting_takes() -> None:
    (set_,) = (command for command in SERVICE_PORT.commands if command.name == "set")
    chosen = {one.name: one.choices for one in set_.named if one.choices}
    assert chosen["mode"] == ("enforce", "observe")
    assert chosen["disabled"] == ("yes", "no", "true", "false")
    assert "ports" not in chosen
    for name, choices in chosen.items():
        for choice in choices:
            PROPERTIES[name].parse(choice)


def test_a_name_may_be_begun() -> None:
    assert matching("a", ["a", "ab"]) == ["a"]
    assert matching("ab", ["abc", "abd"]) == ["abc", "abd"]
    assert matching("", ["abc"]) == []


def test_the_sniffer_has_all_its_properties_and_quick_its_filters() -> None:
    commands = {command.name: command for command in MENUS["tool", "sniffer"].commands}
    assert {one.name for one in commands["set"].named} == set(SNIFFER)
    assert {f"filter-{one.name}" for one in commands["quick"].named} - {"filter-duration"} == {
        key for key in SNIFFER if key.startswith("filter-")
    } - {"filter-stream"}
    assert list(commands) == ["print", "set", "get", "export", "start", "stop", "save", "quick", "reset"]
