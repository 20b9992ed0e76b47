from __future__ import annotations

import pytest

from sipalg.routeros.conditions import hold, read, size
from sipalg.routeros.lexer import GrammarError, tokenise
from sipalg.routeros.menus import MENUS

CONNECTION = MENUS["ip", "firewall", "connection"]
ROW = {"protocol": "udp", "src-address": "192.168.20.10:5060", "timeout": "1m30s", "assured": "yes"}


def holds(source: str) -> bool:
    return hold(read(source, tokenise(source), CONNECTION), ROW)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", True),
        ("protocol=udp", True),
        ("protocol=tcp", False),
        ("protocol!=tcp", True),
        ('src-address~"^192\\\\.168"', True),
        ("src-address~10.9", False),
        ("src-=192.168.20.10:5060", True),
        ("assured", True),
        ("assured=true", True),
        ("!assured", False),
        ("!srcnat", True),
        ("srcnat=no", False),
        ("seen-reply", False),
        ("timeout<2m", True),
        ("timeout<=90", True),
        ("timeout>=00:01:30", True),
        ("timeout>1h", False),
        ("timeout=90s", True),
        ("time>1d", False),
        ("protocol = udp and assured", True),
        ("protocol=udp timeout>1h", False),
        ("protocol=tcp or assured", True),
        ("protocol=tcp or protocol=icmp", False),
        ("protocol=tcp || assured && timeout<2m", True),
        ('reply-dst-address=""', True),
        ("timeout", True),
        ("!timeout", False),
        ("reply-dst-address", False),
        ("!reply-dst-address and timeout", True),
    ],
)
def test_a_row_is_meant_or_not(source: str, expected: bool) -> None:
    assert holds(source) is expected


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("colour=red", "bad property colour (line 1 column 1): there are protocol"),
        ("s=1", "ambiguous property s (line 1 column 1): there are src-address, seen-reply, srcnat"),
        ("assured and", "syntax error (line 1 column 9): a condition is missing"),
        ("=1", "syntax error (line 1 column 1): a condition begins with"),
        ("!", "syntax error (line 1 column 1): a condition begins with"),
        ("protocol=", "syntax error (line 1 column 9): a value is missing behind ="),
        ('protocol~"("', "syntax error (line 1 column 10): no regular expression"),
        ("timeout<soon", "syntax error (line 1 column 9): < compares with a time"),
        ("and protocol=udp", "bad property and"),
    ],
)
def test_what_is_no_condition_is_told(source: str, error: str) -> None:
    with pytest.raises(GrammarError) as raised:
        holds(source)
    assert str(raised.value).startswith(error)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("15", "number", 15.0),
        ("1h", "number", None),
        ("", "time", None),
        ("1w1d1h1m1s", "time", 694861.0),
        ("01:00", "time", 3600.0),
        ("soon", "time", None),
        ("9" * 5000, "number", None),
    ],
)
def test_sizes(text: str, kind: str, expected: float | None) -> None:
    assert size(text, kind) == expected


def test_an_unusual_regular_expression_is_no_warning() -> None:
    assert not holds('protocol~"[[a]"')
