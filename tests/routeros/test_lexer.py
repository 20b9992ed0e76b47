from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.routeros.lexer import GrammarError, Position, position, quote, tokenise


def texts(source: str) -> list[str]:
    return [token.text for token in tokenise(source)]


def test_slash_and_space_separate_and_values_keep_their_slashes() -> None:
    assert texts("/ip/firewall service-port") == ["/", "ip", "/", "firewall", "service-port"]
    assert texts("captures=/var/lib x=192.168.0.0/24") == ["captures", "=", "/var/lib", "x", "=", "192.168.0.0/24"]
    assert [token.kind for token in tokenise("a=/b/c /d")] == ["word", "operator", "value", "slash", "word"]


def test_quotes_and_escapes() -> None:
    assert texts(r'x="a b\"\\\n\r\t\$\?\_\41\a\b\f\v"') == ["x", "=", 'a b"\\\n\r\t$? A\a\b\f\v']
    (token,) = tokenise('"a"')
    assert (token.kind, token.quoted, token.start, token.end) == ("value", True, 0, 3)


def test_comments_continuations_and_ends() -> None:
    source = "# all of it\nset sip \\\n    ports=5060; print # no comment\n  # one\r\nx=\\\n  1"
    assert texts(source) == [
        "\n", "set", "sip", "ports", "=", "5060", ";", "print", "#", "no", "comment", "\n", "\n", "x", "=", "1",
    ]  # fmt: skip
    assert texts('"a\\\n   b"') == ["ab"]
    assert texts("# only") == []


def test_operators() -> None:
    assert texts('a!=b c>=1 d<=2 e~"x" !f g=<1') == [
        "a", "!=", "b", "c", ">=", "1", "d", "<=", "2", "e", "~", "x", "!", "f", "g", "=", "<1",
    ]  # fmt: skip
    assert [token.glued for token in tokenise("a =b")] == [False, False, True]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ('set "abc', 'expected closing quote (line 1 column 5): a text that begins with " ends with "'),
        (r'x "\q"', r"syntax error (line 1 column 4): in quotes there are"),
        ('x "\\', r"syntax error (line 1 column 4): in quotes there are"),
        ("a\nb \\c", r"syntax error (line 2 column 3): '\\' can't stand here"),
    ],
)
def test_what_cant_be_read_is_told_with_its_place(source: str, error: str) -> None:
    with pytest.raises(GrammarError) as raised:
        tokenise(source)
    assert str(raised.value).startswith(error)
    assert "(line" not in raised.value.without_place


def test_a_place_is_always_inside_its_line() -> None:
    assert position("ab\ncd", 0) == Position(1, 1)
    assert position("ab\ncd", 2) == Position(1, 2)
    assert position("ab\ncd", 4) == Position(2, 2)
    assert position("ab\ncd", 99) == Position(2, 2)
    assert position("", 5) == Position(1, 1)
    assert str(GrammarError("x", Position(1, 2))) == "x (line 1 column 2)"


@given(st.text())
def test_any_text_comes_back_from_its_quotes(text: str) -> None:
    *_, last = tokenise(f"x={quote(text)}")
    assert (last.kind, last.text) == ("value", text)


@given(st.text(alphabet=st.sampled_from('ab/=!<>~"[]; \t\n\\#?é_')))
def test_tokens_lie_in_order_and_nothing_else_is_raised(source: str) -> None:
    place = Position(1, 1)
    tokens = []
    try:
        tokens = tokenise(source)
    except GrammarError as error:
        place = error.position
    lines = source.split("\n")
    assert 1 <= place.line <= len(lines)
    assert 1 <= place.column <= max(1, len(lines[place.line - 1]))
    ends = [0, *(token.end for token in tokens)]
    assert all(end <= token.start < token.end for end, token in zip(ends, tokens, strict=False))
