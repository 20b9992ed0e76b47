"""sipalg on the lab's router: started as its users do, asked over its control socket, signalled, ended, started anew.

It has a socket and a settings file in the lab's directory, never this machine's own. On a packet's way this is what
stands between the two sides that the stage sees; in the other modes it isn't there, and what asks for it is an error.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from sipalg.lab.programs import Program
from sipalg.lab.topology import LabError, Topology

#: How long a start, an end and an answer may take, on a machine that has much else to do.
READY_S: Final = 60.0
END_S: Final = 30.0
ANSWER_S: Final = 30.0

Table = Literal["mappings", "calls"]
#: What it knew at the end is what one asks for first when a scenario failed.
_KEPT: Final = ("status", "mappings", "calls")


class RouterAlg:
    """sipalg on one lab's router; `inside` are its inside interfaces, `options` go to `sipalg run`."""

    def __init__(self, net: Topology, inside: tuple[str, ...], options: tuple[str, ...]) -> None:
        self._net = net
        self._arguments = [*(word for name in inside for word in ("--inside", name)), "--outside", "wan0"]
        self._options = options
        self._program: Program | None = None
        self._starts = 0

    @property
    def socket(self) -> Path:
        """Where its control socket is."""
        return self._net.directory / "sipalg.sock"

    @property
    def settings(self) -> Path:
        """Where its settings file is, which is made when a command changes something."""
        return self._net.directory / "sipalg.toml"

    @property
    def journal(self) -> Path:
        """Where it keeps contacts and calls for the next process."""
        return self._net.directory / "sipalg.journal"

    def start(self) -> None:
        """Start it as its users do and wait until it says that it is ready; LabError if it doesn't."""
        argv: list[str | Path] = [sys.executable, "-m", "sipalg", "run", *self._arguments]
        argv += ["--socket", self.socket, "--config", self.settings, *self._options]
        # A log of its own each time: an earlier process was ready, too.
        self._starts += 1
        self._program = Program(self._net, "router", f"sipalg-{self._starts}", *argv)
        self._program.wait_for("^ready$", READY_S)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; SIGKILL waits for its end. LabError where there is none."""
        program = self._there()
        program.signal(number)
        if number == signal.SIGKILL:
            program.wait(END_S)

    def end(self, number: signal.Signals) -> None:
        """Have it end by a signal, and wait until it has; LabError if it doesn't."""
        program = self._there()
        program.signal(number)
        if program.wait(END_S) is None:
            raise LabError(f"sipalg doesn't end on {number.name}")

    def stop(self, keep: bool = False) -> None:
        """End it in whatever state it is, if it was started; with `keep` its tables are written to files before."""
        if self._program is None:
            return
        with suppress(LabError):
            for table in _KEPT if keep else ():
                (self._net.directory / f"{table}.json").write_text(json.dumps(self.ask(table), indent=1))
        self._program.stop()

    def log(self) -> str:
        """What it has logged since it was started last, "" where there is none."""
        return "" if self._program is None else self._program.text()

    def status(self) -> dict[str, Any]:
        """All that `sipalg status --json` prints."""
        return self.ask("status")

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """The rows of one of its tables."""
        rows: list[dict[str, Any]] = self.ask(table)[table]
        return rows

    def set(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Change settings, and return the answer; LabError if they are refused."""
        return self.ask("set", {"values": dict(values)})

    def tell(self, line: str) -> str:
        """Give it a RouterOS command as its users do and return what that says; LabError if it is refused."""
        argv = (sys.executable, "-m", "sipalg", "--socket", self.socket, "--config", self.settings, line)
        return self._net.run("router", *argv)

    def ask(self, command: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask over the control socket, as docs/control-protocol.md says; LabError without an answer, or for a refusal.

        Not by a process for each question: under load the processors are needed elsewhere.
        """
        request = {"version": 1, "command": command, "arguments": dict(arguments or {})}
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            try:
                connection.connect(str(self.socket))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile() as lines:
                    answer: dict[str, Any] = json.loads(lines.readline())
            except (OSError, ValueError) as error:
                raise LabError(f"sipalg doesn't answer: {error}") from None
        if answer.get("ok") is not True:
            raise LabError(f"sipalg refuses {command}: {answer.get('error')}")
        return answer

    def _there(self) -> Program:
        if self._program is None:
            raise LabError("this scenario is about sipalg and was started without it")
        return self._program
