"""RouterOS's command text cut into tokens, each with its place, and the one error that the whole grammar raises.

Pure: text in, tokens out. Words end at a slash as at a space, since both separate menus; but what directly follows
`=` is a value up to the next space, slashes and all. A packet never comes here: this is how people steer the ALG.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Kind = Literal["word", "slash", "operator", "value", "open", "close", "end"]

#: What one-letter escapes in quotes stand for (help.mikrotik.com, Scripting, "Constant Escape Sequences").
_ESCAPES: Final = dict(zip('"\\nrt$?_abfv', '"\\\n\r\t$? \a\b\f\v', strict=True))
_HEX: Final = re.compile(r"[0-9A-F]{2}")
_BLANK: Final = re.compile(r"[^\S\n]+")
#: A line that goes on in the next one; its indentation is nothing.
_CONTINUATION: Final = re.compile(r"\\\r?\n[^\S\n]*")
_OPERATOR: Final = re.compile(r"!=|>=|<=|[=<>~!]")
_WORD: Final = re.compile(r"[^\s/;\"\[\]=<>~!\\]+")
_VALUE: Final = re.compile(r"[^\s;\"\[\]\\]+")
#: What needs no quotes.
_PLAIN: Final = re.compile(r"[\w.,:/+@%*-]+")
_SINGLE: Final[dict[str, Kind]] = {"/": "slash", "[": "open", "]": "close", ";": "end", "\n": "end"}


class Position(NamedTuple):
    """A place in a text; lines and columns count from 1."""

    line: int
    column: int


class GrammarError(Exception):
    """What is wrong in a command, in RouterOS's words where it has them, where, and what would be right."""

    def __init__(self, what: str, position: Position, remedy: str = "") -> None:
        super().__init__(what, position, remedy)
        self.what = _printable(what)
        self.position = position
        self.remedy = _printable(remedy)

    def __str__(self) -> str:
        place = f"(line {self.position.line} column {self.position.column})"
        return f"{self.what} {place}{': ' if self.remedy else ''}{self.remedy}"

    @property
    def without_place(self) -> str:
        """The same without the place, for those who put it in front."""
        return f"{self.what}{': ' if self.remedy else ''}{self.remedy}"


class Token(NamedTuple):
    """One token: `text` as it is meant (quotes and escapes undone), `start` and `end` as offsets in the source.

    `glued` says that nothing stands between it and the token before. `quoted` is a value that stood in quotes.
    """

    kind: Kind
    text: str
    start: int
    end: int
    glued: bool = False
    quoted: bool = False


def _printable(text: str) -> str:
    """Return a text that can move no cursor."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def position(source: str, offset: int) -> Position:
    """Return the place of an offset. What stands behind a line's end is told as its last column."""
    offset = min(max(offset, 0), len(source))
    begin = source.rfind("\n", 0, offset) + 1
    end = source.find("\n", begin)
    length = (len(source) if end < 0 else end) - begin
    return Position(source.count("\n", 0, offset) + 1, max(1, min(offset - begin + 1, length)))


def tokenise(source: str) -> list[Token]:
    """Return the tokens; GrammarError for quotes that don't end and escapes that don't exist."""
    tokens: list[Token] = []
    offset = 0
    glued = False
    while offset < len(source):
        continuation = _CONTINUATION.match(source, offset)
        if continuation:
            offset = continuation.end()
            continue
        blank = _BLANK.match(source, offset)
        if blank:
            offset, glued = blank.end(), False
            continue
        if source[offset] == "#" and (not tokens or tokens[-1].kind == "end"):
            # A comment stands where a command would begin.
            newline = source.find("\n", offset)
            offset = len(source) if newline < 0 else newline
            continue
        after_operator = glued and bool(tokens) and tokens[-1].kind == "operator" and tokens[-1].text != "!"
        token = _token(source, offset, glued=glued, after_operator=after_operator)
        tokens.append(token)
        offset, glued = token.end, token.kind != "end"
    return tokens


def _token(source: str, offset: int, *, glued: bool, after_operator: bool) -> Token:
    """Return the token that begins here, which is no blank."""
    character = source[offset]
    if character == '"':
        text, end = _quoted(source, offset)
        return Token("value", text, offset, end, glued, quoted=True)
    operator = _OPERATOR.match(source, offset)
    if operator and not after_operator:
        return Token("operator", operator[0], offset, operator.end(), glued)
    if character in _SINGLE and not (after_operator and character == "/"):
        return Token(_SINGLE[character], character, offset, offset + 1, glued)
    found = (_VALUE if after_operator else _WORD).match(source, offset)
    if found is None:
        raise GrammarError("syntax error", position(source, offset), f"{character!r} can't stand here")
    return Token("value" if after_operator else "word", found[0], offset, found.end(), glued)


def _quoted(source: str, start: int) -> tuple[str, int]:
    """Return what the quotes at `start` hold, and the offset behind them."""
    pieces: list[str] = []
    offset = start + 1
    while offset < len(source):
        character = source[offset]
        if character == '"':
            return "".join(pieces), offset + 1
        continuation = _CONTINUATION.match(source, offset)
        if continuation:
            offset = continuation.end()
            continue
        if character == "\\":
            piece, offset = _escape(source, offset)
            pieces.append(piece)
            continue
        pieces.append(character)
        offset += 1
    raise GrammarError("expected closing quote", position(source, start), 'a text that begins with " ends with "')


def _escape(source: str, offset: int) -> tuple[str, int]:
    """Return what the escape at `offset` stands for, and the offset behind it."""
    following = source[offset + 1 : offset + 2]
    if following in _ESCAPES and following:
        return _ESCAPES[following], offset + 2
    code = _HEX.match(source, offset + 1)
    if code:
        return chr(int(code[0], 16)), offset + 3
    raise GrammarError(
        "syntax error", position(source, offset), r'in quotes there are \" \\ \n \r \t \$ \_ (a space) and \XX (hex)'
    )


def quote(text: str) -> str:
    """Return a value as it is typed: in quotes only where it needs them."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = {"\n": r"\n", "\r": r"\r", "\t": r"\t", '"': r"\"", "\\": r"\\", "$": r"\$", "?": r"\?"}
    return '"' + "".join(escaped.get(character, character) for character in text) + '"'
