"""The control socket's commands that change something: `set`, `disable`, `reload`; and `settings`, which shows it.

Between two packets. A change is in force before it is written to the file, which is done beside the loop, since disks
are slow; the answer comes after that and says so. Before anything is changed, the file is asked whether it can be. A
file that was lost meanwhile is made anew with all that is in force, since one change alone can't be started with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sipalg.control.service.background import Background
from sipalg.control.service.changes import ChangeRefusedError
from sipalg.control.settings import file as settings_file
from sipalg.control.settings.file import SettingsError
from sipalg.control.settings.options import Options, resolve
from sipalg.control.settings.properties import PROPERTIES, differing, texts, with_texts
from sipalg.control.socket.server import Command, Reply

if TYPE_CHECKING:
    from sipalg.control.service.running import Service

_LOG = logging.getLogger("sipalg")


class Commands:
    """The commands of one service."""

    def __init__(self, service: Service, background: Background) -> None:
        self._service = service
        self._background = background
        #: How often something was to be written.
        self._saves = 0
        #: What was changed for this process only, and so isn't for the file.
        self._unsaved: set[str] = set()

    def table(self) -> dict[str, Command]:
        """Return the commands by name."""
        return {"settings": self._settings, "set": self._set, "disable": self._disable, "reload": self._reload}

    def reload(self, done: Callable[[list[str] | str], None]) -> None:
        """Read the file again and go by it; `done` gets the keys that changed, or the line that says why not.

        After everything that is being written to it. A file that can't be used leaves all as it is.
        """
        saves = self._saves

        def work() -> Callable[[], None]:
            try:
                found = resolve(self._service.options)
            except SettingsError as error:
                line = str(error)
                return lambda: done(line)
            return lambda: finish(found)

        def finish(found: Options) -> None:
            if self._saves != saves:
                # What was read is older than what was changed meanwhile.
                self.reload(done)
            else:
                done(self._go_by(found))

        self._background.do(work)

    def _settings(self, arguments: Mapping[str, Any], reply: Reply) -> None:
        if _refuses(arguments, {}, reply):
            return
        options = self._service.options
        reply.give(
            {
                "settings": texts(options.settings),
                "from": {key: options.source_of(key) for key in PROPERTIES},
                "file": str(options.file),
            }
        )

    def _set(self, arguments: Mapping[str, Any], reply: Reply) -> None:
        values = arguments.get("values")
        if _refuses(arguments, {"values": dict, "save": bool}, reply):
            return
        if not isinstance(values, dict) or not values or not all(isinstance(text, str) for text in values.values()):
            reply.refuse('values has to be an object of texts, such as {"ports": "5060,5061"}')
            return
        self._change(values, reply, save=arguments.get("save", True))

    def _disable(self, arguments: Mapping[str, Any], reply: Reply) -> None:
        if _refuses(arguments, {"now": bool}, reply):
            return
        end = (lambda: self._service.changes.end_all()._asdict()) if arguments.get("now") else None
        self._change({"disabled": "yes"}, reply, save=True, then=end)

    def _reload(self, arguments: Mapping[str, Any], reply: Reply) -> None:
        def done(outcome: list[str] | str) -> None:
            if isinstance(outcome, str):
                reply.refuse(outcome)
            else:
                reply.give({"changed": outcome})

        if not _refuses(arguments, {}, reply):
            self.reload(done)

    def _change(
        self,
        values: Mapping[str, str],
        reply: Reply,
        *,
        save: bool,
        then: Callable[[], dict[str, int]] | None = None,
    ) -> None:
        """Change settings, all or none, have them written, and answer."""
        service = self._service
        file = service.options.file
        try:
            wanted = with_texts(service.settings, values)
            in_force = {key: text for key, text in differing(wanted).items() if key not in self._unsaved}
            if save:
                settings_file.merged(file, values, in_force)
            changed = service.changes.apply(wanted)
        except (ValueError, SettingsError, ChangeRefusedError) as error:
            reply.refuse(str(error))
            return
        answer: dict[str, Any] = {"changed": changed, "saved": None}
        if then is not None:
            answer["ended"] = then()
        said = "is given on the command line too, which wins at the next start"
        notes = [f"{key} {said}" for key in values if key in service.options.given]
        self._note_source(values, save=save)
        if not save:
            self._unsaved.update(values)
            reply.give({**answer, "notes": notes} if notes else answer)
            return
        self._unsaved.difference_update(values)

        def work() -> Callable[[], None]:
            missing = settings_file.is_missing(file)
            try:
                answer["saved"] = str(settings_file.save(file, values, in_force))
                if missing:
                    notes.append(f"there was no {file}: it is made, with all that is in force and isn't a default")
            except SettingsError as error:
                answer["not_saved"] = str(error)
            return finish

        self._saves += 1

        def finish() -> None:
            if notes:
                answer["notes"] = notes
            if answer["saved"] is None:
                self._note_source(values, save=False)
                _LOG.error("settings-not-saved why=%r consequence=lost-at-the-next-start", answer["not_saved"])
            reply.give(answer)

        self._background.do(work)

    def _note_source(self, values: Mapping[str, str], *, save: bool) -> None:
        """Note where the values come from by now: a command comes after the command line."""
        options = self._service.options
        if save:
            given, unsaved = (
                {key: text for key, text in table.items() if key not in values}
                for table in (options.given, options.unsaved)
            )
            named = options.named | set(values)
            self._service.options = replace(options, given=given, unsaved=unsaved, named=named)
        else:
            self._service.options = replace(options, unsaved={**options.unsaved, **values})

    def _go_by(self, found: Options) -> list[str] | str:
        """Go by what was read; the keys that changed, or why it can't be."""
        service = self._service
        try:
            changed = service.changes.apply(found.settings)
        except ChangeRefusedError as error:
            return str(error)
        service.options = replace(service.options, named=found.named)
        return changed


def _refuses(arguments: Mapping[str, Any], known: Mapping[str, type], reply: Reply) -> bool:
    """Refuse arguments that a command doesn't have, or of another kind; tell whether there are any."""
    for name, value in arguments.items():
        if name not in known:
            reply.refuse(f"there is no argument {name!r}; there are: {', '.join(known) or 'none'}")
            return True
        if not isinstance(value, known[name]):
            kinds = {bool: "true or false", dict: "an object"}
            reply.refuse(f"{name} has to be {kinds[known[name]]}")
            return True
    return False
