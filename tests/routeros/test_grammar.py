"""The grammar: what is typed becomes what is meant, or one error that says what and where."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import PROPERTIES, texts, with_texts
from sipalg.routeros.grammar import Call, Move, read
from sipalg.routeros.lexer import GrammarError, quote
from sipalg.routeros.menus import MENUS, children

SERVICE_PORT = ("ip", "firewall", "service-port")
P = "/ip firewall service-port "


def call(source: str, path: tuple[str, ...] = ()) -> Call:
    (*_, last) = read(source, path)
    assert isinstance(last, Call)
    return last


def refusal(source: str, path: tuple[str, ...] = ()) -> str:
    with pytest.raises(GrammarError) as raised:
        read(source, path)
    return str(raised.value)


def test_the_lectures_line() -> None:
    found = call(P + "set sip ports=5060,5061 sip-direct-media=yes sip-timeout=01:00:00 disabled=no")
    assert found.menu is MENUS[SERVICE_PORT]
    assert found.command.name == "set"
    assert found.items is not None
    assert found.items.names == ("sip",)
    assert found.values == {
        "ports": "5060,5061", "sip-direct-media": "yes", "sip-timeout": "01:00:00", "disabled": "no",
    }  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [
        "/ip firewall service-port print",
        "/ip/firewall/service-port/print",
        "/ip/firewall service-port print",
        "ip firewall service-port print",
        "/ip fire serv pr",
        "/i f s p",
        "/ip firewall nat .. service-port print",
        "/ip firewall nat\n.. service-port\nprint",
        "/ip firewall service-port; print",
        "/ip firewall nat; /ip firewall service-port print",
        "  /ip firewall \\\n   service-port print  ",
        "# a comment\n/ip firewall service-port print\n# another",
    ],
)
def test_menus_are_separated_abbreviated_and_left(source: str) -> None:
    found = call(source)
    assert (found.menu.path, found.command.name) == (SERVICE_PORT, "print")


def test_a_menu_alone_is_where_the_rest_begins() -> None:
    moves = read("/ip firewall\n/\nip\n..")
    assert [move.path for move in moves if isinstance(move, Move)] == [("ip", "firewall"), (), ("ip",), ()]
    assert call("print", SERVICE_PORT).menu.path == SERVICE_PORT
    # A command with its menu doesn't move.
    assert refusal("/ip firewall nat print\nprint").startswith("bad command name print (line 2 column 1)")


@pytest.mark.parametrize(
    ("begin", "found"),
    [
        ("set sip", None),
        ("set 0", None),
        ("set numbers=sip", None),
        ("set [find name=sip]", "sip"),
        ('set [ find where name="sip" ]', "sip"),
        ("set numbers=[find name=sip]", "sip"),
        ("set [find]", ""),
    ],
)
def test_an_entry_by_name_number_or_condition(begin: str, found: str | None) -> None:
    meant = call(P + begin + " sip-t=30m ports=5060")
    assert meant.values == {"sip-timeout": "30m", "ports": "5060"}
    assert meant.items is not None
    if found is None:
        assert meant.items.names == ("sip",)
    else:
        assert meant.items.found is not None
        assert [[one.value for one in together] for together in meant.items.found] == ([[found]] if found else [])
    assert call(P + "set sip-t=30m ports=5060 sip").values == meant.values


def test_values_are_abbreviated_and_quoted() -> None:
    found = call(P + 'set sip disabled=y sip-direct-media=true mode=obs ports="5060" except="" public=')
    assert found.values == {
        "disabled": "yes", "sip-direct-media": "true", "mode": "observe", "ports": "5060", "except": "", "public": "",
    }  # fmt: skip


def test_words_stand_alone_or_behind_dashes() -> None:
    assert call(P + "disable sip --now").words == {"now"}
    assert call(P + "disable now sip").words == {"now"}
    assert call(P + "print detail count-only").words == {"detail", "count-only"}
    assert call(P + "get sip ports").values == {"value-name": "ports"}
    assert call(P + "get value-name=ports numbers=0").values == {"value-name": "ports"}


def test_conditions_follow_where() -> None:
    found = call("/ip firewall connection print detail where timeout<1m")
    assert [one.name for one in found.where[0]] == ["timeout"]
    assert found.words == {"detail"}


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("/ip foo", "bad command name foo (line 1 column 5): there are firewall, export"),
        ("/tools sniffer start", "bad command name tools (line 1 column 2)"),
        ("/ip firewal1 print", "bad command name firewal1 (line 1 column 5): did you mean firewall?"),
        ("\n/ip foo", "bad command name foo (line 2 column 5)"),
        ("..", "bad command name .. (line 1 column 1): this is the root"),
        (P + "e sip", "ambiguous command name e (line 1 column 27): it may be enable or export"),
        (P + "print foo", "expected end of command (line 1 column 33): print takes brief, detail"),
        (P + "enable sip foo", "expected end of command (line 1 column 38)"),
        (P + "set sip foo ports=1", "expected end of command (line 1 column 35): foo is no name=value"),
        (P + "set sip ports=1 ]", "expected end of command (line 1 column 43): ] can't stand here"),
        (P + "disable", "missing value(s) of argument(s) numbers (line 1 column 27): such as disable sip"),
        (P + "get sip", "missing value(s) of argument(s) value-name (line 1 column 27): such as get sip ports"),
        (P + "set sip", "nothing to set (line 1 column 27): a name=value is expected"),
        (P + "set h323 ports=1", "no such item h323 (line 1 column 31): there is sip"),
        (P + "set 1 ports=1", "no such item 1 (line 1 column 31)"),
        (P + "set sip,0,x ports=1", "no such item x"),
        (P + "set numbers= ports=1", "no such item (line 1 column 38)"),
        (P + "set sip portz=1", "bad parameter portz (line 1 column 35): did you mean ports?"),
        (P + "set sip colour=1", "bad parameter colour (line 1 column 35): there are numbers, inside"),
        (P + "print portz=1", "bad parameter portz (line 1 column 33): print takes no name=value"),
        (P + "set sip s=1", "ambiguous parameter s (line 1 column 35): it may be sip-direct-media or"),
        (P + "set sip ports=1 ports=2", "syntax error (line 1 column 43): ports is given twice"),
        (P + "set sip ports=1,2,3,4,5,6,7,8,9", "invalid value of ports (line 1 column 41): 9 ports are too many"),
        (P + "set sip ports=5060-5070", "invalid value of ports (line 1 column 41): '5060-5070': ranges aren't taken"),
        (P + "set sip ports=0", "invalid value of ports (line 1 column 41): '0' is no port"),
        (P + "set sip ports=", "invalid value of ports (line 1 column 40)"),
        (P + "set sip sip-timeout=abc", "invalid value of sip-timeout (line 1 column 47): 'abc' is no time"),
        (P + "set sip disabled=maybe", "input does not match any value of disabled (line 1 column 44): it is yes"),
        (P + "get sip sip", "ambiguous value of value-name, more than one possible value matches input"),
        (P + "set [find name=sip ports=1", "expected closing bracket (line 1 column 31)"),
        (P + "set [print] ports=1", "syntax error (line 1 column 32): only [find …] is taken in brackets"),
        (P + "set [] ports=1", "syntax error (line 1 column 31): only [find …]"),
        (P + "print [find]", "expected end of command (line 1 column 33)"),
        (P + "print where", "syntax error (line 1 column 33): conditions follow where"),
        ("=", "syntax error (line 1 column 1): a menu's or a command's name is expected"),
        ('/ip "firewall"', "syntax error (line 1 column 5)"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(source: str, error: str) -> None:
    assert refusal(source).startswith(error)
    assert "\n" not in refusal(source)


NAMES = sorted(
    {name for path in MENUS for name in (*children(path), *path)}
    | {command.name for menu in MENUS.values() for command in menu.commands}
    | {one.name for menu in MENUS.values() for command in menu.commands for one in (*command.named, *command.words)}
)
PIECES = [
    *NAMES, *'/=!<>~"[];\\# \n', "..", "where", "find", "sip", "0", "yes", "5060", "1h", "and", "or", "-", '="', P,
]  # fmt: skip


def check(source: str) -> None:
    told = ""
    try:
        places = [statement.position for statement in read(source)]
    except GrammarError as error:
        places = [error.position]
        told = str(error)
    lines = source.split("\n")
    assert told.isprintable()
    for line, column in places:
        assert 1 <= line <= len(lines)
        assert 1 <= column <= max(1, len(lines[line - 1]))


@given(st.text())
def test_any_text_is_read_or_refused(source: str) -> None:
    check(source)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join), st.booleans())
def test_any_text_of_the_grammars_pieces_is_read_or_refused(source: str, in_menu: bool) -> None:
    check(P + source if in_menu else source)


@given(
    st.builds(
        Settings,
        ports=st.lists(st.integers(1, 65535), min_size=1, max_size=8, unique=True).map(tuple),
        direct_media=st.booleans(),
        sip_timeout_s=st.integers(10, 30 * 86400).map(float),
        disabled=st.booleans(),
        mode=st.sampled_from(["enforce", "observe"]),
        call_timeout_s=st.integers(10, 30 * 86400).map(float),
        queue_number=st.integers(0, 65528),
        inside=st.sampled_from([("lan0",), ("lan0", "vlan20")]),
        outside=st.sampled_from(["wan0", "ether1-gateway"]),
        exempt=st.sets(st.sampled_from([IPv4Network("10.0.0.0/8"), IPv4Network("192.0.2.1/32")])).map(tuple),
        captures=st.text(st.sampled_from('ab "\\$?;[]=#é/.')).map(lambda name: Path(f"/{name}x")),
    )
)
def test_what_is_written_is_read_again(settings: Settings) -> None:
    line = P + "set sip " + " ".join(f"{key}={quote(text)}" for key, text in texts(settings).items())
    found = call(line)
    assert set(found.values) == set(PROPERTIES)
    assert with_texts(Settings(), found.values) == settings
