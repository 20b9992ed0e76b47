"""The call browser on a terminal: prompt_toolkit's screen and keys around `browser`.

Keys come from the terminal also where the capture comes through standard input. Live packets are taken in between
keys, in the same loop. Off a packet's way: this is where people look.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from prompt_toolkit.application import Application
from prompt_toolkit.data_structures import Size
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output import Output

from sipalg.browse.browser import Browser

#: What prompt_toolkit calls keys that have names of their own here.
_NAMES: Final = {"c-m": "enter", "c-j": "enter", "c-h": "backspace", "c-f": "pagedown", "c-b": "pageup"}
#: How long the terminal's own sequences, which begin with Escape, may take to come.
_ESCAPE_S: Final = 0.05
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
#: Live calls are drawn so often.
_DRAW_EACH_S: Final = 0.5


class Screen:
    """A browser on a terminal, which is found if `keys` and `output` are None."""

    def __init__(
        self, browser: Browser, keys: Input | None = None, output: Output | None = None, *, live: bool = False
    ) -> None:
        self._browser = browser
        bindings = KeyBindings()
        bindings.add(Keys.Any, eager=True)(self._pressed)
        bindings.add(Keys.BracketedPaste, eager=True)(self._pasted)
        control = FormattedTextControl(self._text, show_cursor=False, focusable=True)
        self.app: Application[None] = Application(
            Layout(Window(control, wrap_lines=False)),
            key_bindings=bindings,
            full_screen=True,
            input=keys or create_input(always_prefer_tty=True),
            output=output,
            refresh_interval=_DRAW_EACH_S if live else None,
        )
        self.app.ttimeoutlen = _ESCAPE_S

    def run(self, descriptor: int | None = None, take: Callable[[], None] = lambda: None) -> None:
        """Show it until the end; `take` is called whenever there is something to read from the descriptor."""
        asyncio.run(self._run(descriptor, take))

    async def _run(self, descriptor: int | None, take: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        # A terminal that is left as it was set would be of no use to anybody.
        for number in _ENDING:
            loop.add_signal_handler(number, self._end)
        if descriptor is not None:
            loop.add_reader(descriptor, take)
        try:
            await self.app.run_async()
        finally:
            if descriptor is not None:
                loop.remove_reader(descriptor)
            for number in _ENDING:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        # Signals and keys may come faster than it ends.
        if self.app.is_running and not self.app.is_done:
            self.app.exit()

    def _pressed(self, event: KeyPressEvent) -> None:
        key = str(getattr(event.key_sequence[0].key, "value", event.key_sequence[0].key))
        self._browser.press(_NAMES.get(key, key))
        if self._browser.done:
            self._end()

    def _pasted(self, event: KeyPressEvent) -> None:
        for character in event.data:
            self._browser.press(character)

    def _text(self) -> StyleAndTextTuples:
        size: Size = self.app.output.get_size()
        lines = self._browser.draw(size.columns, size.rows)
        return [piece for number, line in enumerate(lines) for piece in [("", "\n" if number else ""), *line]]
