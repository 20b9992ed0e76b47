"""The call browser without its terminal: a stack of pages, a line to type in, and what keys do on every page.

A key in, lines out. The pages are sngrep's, and so are the keys. Pure, but for what a source reads and saves. Off a
packet's way: this is where people look.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sipalg.browse.pages import Line, Page, Table, help_page
from sipalg.browse.sources import Source
from sipalg.capture.pcap import CaptureError

_BAR: Final = "reverse"
_FAULT: Final = "bold ansired"
_BACK: Final = frozenset({"q", "escape"})
_LEAVE: Final = frozenset({"c-c", "f10"})
_HELP: Final = frozenset({"f1", "h", "?"})
_SAVE: Final = frozenset({"f2", "s"})
_FILTER: Final = frozenset({"f3", "f7", "/"})
_FILE: Final = "calls.pcap"
_LONGEST_TYPED: Final = 200
#: The bars above and below a page.
_BARS: Final = 2


class Browser:
    """What is shown and what keys do; `done` when a person has had enough."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._table = Table(source)
        self._pages: list[Page] = [self._table]
        self.done = False
        self._notice: tuple[str, str] = ("", "")
        #: What is typed, and what for: "" while nothing is.
        self._asked = ""
        self._typed = ""
        #: The file that is there already, and is replaced if its name is entered once more.
        self._replaced = ""

    @property
    def page(self) -> Page:
        """The page that is seen."""
        return self._pages[-1]

    def press(self, key: str) -> None:
        """Take a key: a character, or a name such as `up`, `enter`, `escape`, `f2`."""
        told, self._notice = self._notice[1], ("", "")
        if key in _LEAVE:
            self.done = True
        elif self._asked:
            self._type(key)
        elif key == "escape" and (told or (self.page is self._table and self._table.clear())):
            # Escape takes back the message, the filter, the selection; it leaves where none of them is.
            return
        elif key in _BACK:
            self._pages.pop()
            if not self._pages:
                self._pages, self.done = [self._table], True
        elif key in _HELP:
            self._pages.append(help_page(self.page.calls()))
        elif key in _SAVE:
            if self.page.calls():
                self._asked, self._typed, self._replaced = "save", _FILE, ""
        elif key in _FILTER and self.page is self._table:
            self._asked, self._typed = "filter", self._table.wanted
        else:
            self._go(key)

    def draw(self, width: int, height: int) -> list[Line]:
        """Return exactly `height` lines: a bar, the page, a bar."""
        room = max(1, height - _BARS)
        try:
            body = self.page.draw(width, room)[:room]
        except CaptureError as error:
            body = [[(_FAULT, str(error))]]
        body += [[("", "")]] * (room - len(body))
        return [[(_BAR, self.page.title().ljust(width))], *body, self._bottom(width)]

    def _bottom(self, width: int) -> Line:
        if self._asked:
            what = f"save {_count(self.page.calls())} as" if self._asked == "save" else "filter"
            return [("bold", f"{what}: "), ("", self._typed), (_BAR, " "), ("", f"  {self._notice[1]}")]
        style, notice = self._notice
        return [(style, notice)] if notice else [(_BAR, self.page.keys.ljust(width))]

    def _go(self, key: str) -> None:
        try:
            page = self.page.press(key)
        except CaptureError as error:
            self._notice = (_FAULT, str(error))
            return
        if page is not None:
            self._pages.append(page)

    def _type(self, key: str) -> None:
        """Take a key of a line that is typed."""
        if key == "escape":
            self._asked = ""
        elif key == "backspace":
            self._typed = self._typed[:-1]
        elif key == "c-u":
            self._typed = ""
        elif key == "enter":
            if self._asked == "save":
                self._save()
            else:
                self._asked = ""
        elif len(key) == 1 and key.isprintable() and len(self._typed) < _LONGEST_TYPED:
            self._typed += key
        if self._asked == "filter":
            # As it is typed, so that one sees what it finds.
            self._table.wanted = self._typed

    def _save(self) -> None:
        path = Path(self._typed)
        if not self._typed:
            self._asked = ""
            return
        if path.exists() and self._replaced != self._typed:
            self._replaced = self._typed
            self._notice = ("", "is there already; Enter replaces it")
            return
        self._asked = ""
        try:
            count = self._source.save(self.page.calls(), path)
        except CaptureError as error:
            self._notice = (_FAULT, str(error))
            return
        packets = f"{count} packet{'' if count == 1 else 's'}"
        self._notice = ("bold", f"{path}: {packets} of {_count(self.page.calls())}")


def _count(calls: frozenset[str]) -> str:
    return f"{len(calls)} call{'' if len(calls) == 1 else 's'}"
