"""The pages of the call browser: the table of calls, a ladder, a message, two messages' difference, the help.

Each takes keys by name and gives lines for a width and a height; what a key leads to is another page. Nothing here
knows a terminal. Pure, but for what a source reads. Off a packet's way: this is where people look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final, Protocol

from sipalg.analysis.ladder import before_after, draw, text_of_message, title_of
from sipalg.analysis.messages import SipMessage
from sipalg.analysis.selection import title_of_call
from sipalg.browse.sources import Row, Source
from sipalg.control.asking.columns import in_columns, text_of

#: A line in pieces: style (prompt_toolkit's words, "" for none) and text.
Line = list[tuple[str, str]]

HERE: Final = "reverse"
HEAD: Final = "bold"
GONE: Final = "ansired"
COME: Final = "ansigreen"
_RAW: Final = frozenset({"r", "f6"})
#: The least width at which a ladder has the message beside it.
_BESIDE_FROM: Final = 130
_BETWEEN: Final = " ┃ "
#: So many rows are put into columns together: thousands take too long to do it anew with each live packet.
_ROWS_AT_ONCE: Final = 500

HELP: Final = """\
Calls
  ↑ ↓ j k PgUp PgDn Home End   move
  Enter                        ladder of the call, or of those selected
  Space                        select
  /, F3 or F7                  only rows with a text or a method; empty: all
  r or F6                      all its messages, one after the other
  s or F2                      save the packets of it, or of those selected
  Esc                          filter off, then selection off, then leave
  q                            leave

Ladder
  Enter                        the message whole
  Space                        mark a message; on another one: compare the two
  r or F6                      all messages, one after the other
  s or F2                      save the packets of the calls in it

Message
  ← → p n                      the one before, the next one

Everywhere: F1, h or ? shows this, q or Esc goes back, F10 or Ctrl-C leaves."""


class Page(Protocol):
    """What is on the screen."""

    #: The most important keys.
    keys: str

    def title(self) -> str:
        """Return what it shows, in a line."""

    def calls(self) -> frozenset[str]:
        """Return the Call-IDs that would be saved."""

    def press(self, key: str) -> Page | None:
        """Take a key: a character, or a name such as `up`, `enter`, `pagedown`; return a page to go to."""

    def draw(self, width: int, height: int) -> list[Line]:
        """Return at most `height` lines."""


class Cursor:
    """A place in a list of which a part is seen."""

    def __init__(self) -> None:
        self.at = 0
        self._top = 0
        self._seen = 1

    def press(self, key: str, count: int) -> None:
        """Move, if the key says so."""
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -self._seen, "pagedown": self._seen}
        ends = {"home": 0, "g": 0, "end": count - 1, "G": count - 1}
        self.at = max(0, min(ends.get(key, self.at + steps.get(key, 0)), count - 1))

    def window(self, count: int, height: int) -> range:
        """Return which places are seen, the cursor's among them."""
        self._seen = max(1, height)
        self.at = max(0, min(self.at, count - 1))
        self._top = max(0, min(self._top, self.at, count - self._seen), self.at - self._seen + 1)
        return range(self._top, min(count, self._top + self._seen))


class Table:
    """A row a call."""

    keys = "Enter ladder  Space select  / filter  s save  h help  q quit"

    def __init__(self, source: Source) -> None:
        self._source = source
        self.cursor = Cursor()
        self.selected = set[str]()
        self.wanted = ""
        self._seen: tuple[int, str] | None = None
        self._rows: list[Row] = []
        #: All texts of all rows, as of which version, for the filter.
        self._texts: tuple[int, list[str]] = (-1, [])
        #: The lines of some rows: for which width, from which row on, the heads first.
        self._lines: tuple[int, int, list[str]] = (0, 0, [])

    def rows(self) -> list[Row]:
        """Return the rows that are shown."""
        now = (self._source.version, self.wanted)
        if now != self._seen:
            self._rows = self._source.rows()
            if self.wanted:
                if self._texts[0] != self._source.version:
                    methods = self._source.methods()
                    self._texts = (self._source.version, [_texts(row, methods) for row in self._rows])
                wanted = self.wanted.lower()
                self._rows = [row for row, text in zip(self._rows, self._texts[1], strict=True) if wanted in text]
            self._seen, self._lines = now, (0, 0, [])
        return self._rows

    def clear(self) -> bool:
        """Take the filter back, or where there is none the selection; return whether there was any."""
        if self.wanted:
            self.wanted = ""
        elif self.selected:
            self.selected.clear()
        else:
            return False
        return True

    def title(self) -> str:
        """How many calls of what."""
        rows, of = len(self.rows()), len(self._source.rows())
        some = f"{rows} of {of}, with {self.wanted!r}" if self.wanted else str(of)
        selected = f", {len(self.selected)} selected" if self.selected else ""
        return f"Calls of {self._source.name}: {some}{selected}"

    def calls(self) -> frozenset[str]:
        """Return the calls that are selected, else the one at the cursor."""
        rows = self.rows()
        if self.selected or not rows:
            return frozenset(self.selected)
        return frozenset({rows[min(self.cursor.at, len(rows) - 1)]["call_id"]})

    def press(self, key: str) -> Page | None:
        """Select, move, or go to a ladder."""
        rows = self.rows()
        if key == "enter":
            return Ladder(self._source, self.calls()) if self.calls() else None
        if key in _RAW and self.calls():
            return Raw(self._source.messages(self.calls()), self.calls())
        if key == " " and rows:
            self.selected ^= {rows[min(self.cursor.at, len(rows) - 1)]["call_id"]}
            key = "down"
        self.cursor.press(key, len(rows))
        return None

    def draw(self, width: int, height: int) -> list[Line]:
        """The rows below their heads."""
        rows = self.rows()
        if not rows:
            return [[("", "No call has this text." if self.wanted else "No SIP yet.")]]
        seen = self.cursor.window(len(rows), height - 1)
        first = seen.start // _ROWS_AT_ONCE * _ROWS_AT_ONCE
        if self._lines[:2] != (width, first) or not self._lines[2]:
            some = rows[first : seen.stop + _ROWS_AT_ONCE]
            self._lines = (width, first, list(in_columns(some, max(1, width - 1))))
        head, *texts = self._lines[2]
        lines: list[Line] = [[(HEAD, f" {head}")]]
        for place in seen:
            chosen = rows[place]["call_id"] in self.selected
            colour = GONE if rows[place]["failure"] else ""
            style = HERE if place == self.cursor.at else f"{HEAD} {colour}" if chosen else colour
            lines.append([(style, f"{'*' if chosen else ' '}{texts[place - first]}".ljust(width))])
        return lines


class Ladder:
    """Who sent what to whom, of some calls."""

    keys = "Enter message  Space compare  s save  h help  q back"

    def __init__(self, source: Source, call_ids: frozenset[str]) -> None:
        self._source = source
        self._call_ids = call_ids
        self.cursor = Cursor()
        self.mark: int | None = None
        self._version = -1
        self._messages: list[SipMessage] = []
        self._lines: tuple[int, list[str]] = (0, [])

    def messages(self) -> list[SipMessage]:
        """Return the messages; live ones grow."""
        if self._version != self._source.version:
            self._messages = self._source.messages(self._call_ids)
            self._version, self._lines = self._source.version, (0, [])
        return self._messages

    def title(self) -> str:
        """Which call, or how many."""
        rows = [row for row in self._source.rows() if row["call_id"] in self._call_ids]
        return title_of_call(rows[0]) if len(rows) == 1 else f"{len(rows)} calls"

    def calls(self) -> frozenset[str]:
        """The calls in it."""
        return self._call_ids

    def press(self, key: str) -> Page | None:
        """Mark, move, or go to a message."""
        messages = self.messages()
        if not messages:
            return None
        at = min(self.cursor.at, len(messages) - 1)
        if key == "enter":
            return Whole(self.messages, self._call_ids, at)
        if key in _RAW:
            return Raw(messages, self._call_ids)
        if key != " ":
            self.cursor.press(key, len(messages))
            return None
        if self.mark is None or self.mark == at or self.mark >= len(messages):
            self.mark = at if self.mark is None else None
            return None
        other, self.mark = self.mark, None
        return Difference(messages[other], messages[at], self._call_ids)

    def draw(self, width: int, height: int) -> list[Line]:
        """The arrows below the hosts; on a wide terminal the message at the cursor beside them."""
        messages = self.messages()
        if not messages:
            return [[("", "Its messages have gone to make room for newer ones.")]]
        left = width if width < _BESIDE_FROM else width * 3 // 5
        if self._lines[0] != left:
            self._lines = (left, draw(messages, left - 2))
        head, *texts = self._lines[1]
        lines: list[Line] = [[(HEAD, f"  {head}")]]
        for place in self.cursor.window(len(messages), height - 1):
            style = HERE if place == self.cursor.at else _colour(messages[place])
            lines.append([(style, f"{'*' if place == self.mark else ' '} {texts[place]}")])
        return lines if left == width else _beside(lines, messages[self.cursor.at], (left, width), height)


class Whole:
    """One message as it was sent."""

    keys = "← → the one before, the next  s save  q back"

    def __init__(self, messages: Callable[[], list[SipMessage]], call_ids: frozenset[str], at: int) -> None:
        self._messages = messages
        self._call_ids = call_ids
        self._at = at
        self._text = Text("", [], call_ids)

    def title(self) -> str:
        """Which message of how many."""
        messages = self._messages()
        return f"Message {self._at + 1} of {len(messages)}"

    def calls(self) -> frozenset[str]:
        """The calls that it was found in."""
        return self._call_ids

    def press(self, key: str) -> Page | None:
        """Go to another message, or move in this one."""
        step = {"left": -1, "p": -1, "right": 1, "n": 1}.get(key, 0)
        if step:
            self._at = max(0, min(self._at + step, len(self._messages()) - 1))
            self._text = Text("", [], self._call_ids)
        self._text.press(key)
        return None

    def draw(self, width: int, height: int) -> list[Line]:
        """When it was sent from where to where, and all of it."""
        messages = self._messages()
        if self._at >= len(messages):
            return []
        message = messages[self._at]
        texts = _lines_of(message)
        head = [(HEAD, title_of(message)), ("", ""), (_colour(message), texts[0] if texts else "")]
        self._text.lines = [*head, *(("", text) for text in texts[1:])]
        return self._text.draw(width, height)


class Text:
    """Lines to read, folded where they are too long."""

    keys = "↑ ↓ move  q back"

    def __init__(self, title: str, lines: Sequence[tuple[str, str]], call_ids: frozenset[str]) -> None:
        self._title = title
        self.lines = lines
        self._call_ids = call_ids
        self._top = 0
        self._page = 1

    def title(self) -> str:
        """What it is."""
        return self._title

    def calls(self) -> frozenset[str]:
        """The calls that it was found in."""
        return self._call_ids

    def press(self, key: str) -> Page | None:
        """Move."""
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -self._page, "pagedown": self._page, " ": self._page}
        ends = {"home": 0, "g": 0, "end": 1 << 30, "G": 1 << 30}
        self._top = max(0, ends.get(key, self._top + steps.get(key, 0)))
        return None

    def draw(self, width: int, height: int) -> list[Line]:
        """A part of it."""
        folded: list[Line] = [[(style, piece)] for style, text in self.lines for piece in _folded(text, width)]
        self._page = max(1, height)
        self._top = max(0, min(self._top, len(folded) - height))
        return folded[self._top : self._top + height]


class Raw(Text):
    """All messages whole, one after the other."""

    def __init__(self, messages: Sequence[SipMessage], call_ids: frozenset[str]) -> None:
        lines: list[tuple[str, str]] = []
        for message in messages:
            first, *rest = _lines_of(message) or [""]
            lines += [(HEAD, title_of(message)), ("", ""), (_colour(message), first), *(("", text) for text in rest)]
            lines.append(("", ""))
        super().__init__(f"{len(messages)} messages", lines, call_ids)


class Difference(Text):
    """What is different in two messages, lines of the first alone red, of the second alone green."""

    def __init__(self, before: SipMessage, after: SipMessage, call_ids: frozenset[str]) -> None:
        styles = {"-": GONE, "+": COME}
        heads = [(GONE, f"- {title_of(before)}"), (COME, f"+ {title_of(after)}"), ("", "")]
        found = before_after(text_of_message(before), text_of_message(after))
        super().__init__(
            f"{before.name} and {after.name}",
            [*heads, *((styles.get(line[:1], ""), line) for line in found)],
            call_ids,
        )


def help_page(call_ids: frozenset[str]) -> Text:
    """The keys and what they do."""
    return Text("Keys", [("", line) for line in HELP.splitlines()], call_ids)


def _folded(text: str, width: int) -> Iterator[str]:
    """Yield a line in pieces that fit, cut behind a blank where there is one."""
    rest = text.expandtabs(8)
    while len(rest) > width:
        cut = rest.rfind(" ", width // 2, width) + 1 or max(1, width)
        yield rest[:cut]
        rest = rest[cut:]
    yield rest


def _texts(row: Row, methods: Mapping[str, str]) -> str:
    texts = [text_of(key, value) for key, value in row.items()]
    return "\n".join([*texts, text_of("methods", methods.get(row["call_id"]))]).lower()


def _colour(message: SipMessage) -> str:
    """Requests, provisional answers, those that agree, those that say no."""
    status = message.status
    return "ansiblue" if not status else "ansiyellow" if status < 200 else COME if status < 300 else GONE


def _beside(lines: list[Line], message: SipMessage, widths: tuple[int, int], height: int) -> list[Line]:
    """Put a message beside a ladder's lines; `widths` are the ladder's and that of both."""
    left, both = widths
    room = both - left - len(_BETWEEN)
    texts = [piece for text in (title_of(message), "", *_lines_of(message)) for piece in _folded(text, room)]
    found: list[Line] = []
    for line, text, _ in zip_longest(lines, texts[:height], range(height)):
        style, shown = line[0] if line else ("", "")
        found.append([(style, shown[:left].ljust(left)), ("", _BETWEEN + (text or ""))])
    return found


def _lines_of(message: SipMessage) -> list[str]:
    return text_of_message(message).splitlines()
