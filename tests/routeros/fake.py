"""A running ALG as commands see it: a control socket that answers from a table of settings."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import texts, with_texts

CONNECTION = {
    "protocol": "udp",
    "src": "192.168.20.100:5060",
    "dst": "207.252.1.148:5060",
    "reply_src": "207.252.1.148:5060",
    "reply_dst": "75.142.151.49:1024",
    "timeout_s": 3598,
    "flags": ["seen-reply", "confirmed", "srcnat"],
    "purpose": "sip",
}
NAT = {
    "chain": "srcnat", "action": "src-nat", "protocol": "udp", "src_address": "192.168.20.100", "src_port": "5060",
    "out_interface": "ether1-gateway", "to_addresses": "75.142.151.49", "to_ports": "1024", "comment": "sip",
}  # fmt: skip


class FakeAlg:
    """Listens at `path` in a thread of its own, for as long as it is entered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = Settings(("vlan20",), "ether1-gateway")
        self.asked: list[dict[str, Any]] = []
        self.saved: str | None = "/etc/sipalg/sipalg.toml"
        self.nat_address = "75.142.151.49"
        self.missing: list[str] = []
        self.mode = "enforce"
        self.refuses = ""
        #: It ends the connection without an answer.
        self.silent = False
        #: What comes with the answer to a change.
        self.besides: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.path.unlink()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as lines:
                question = json.loads(lines.readline())
                self.asked.append(question)
                if self.silent:
                    continue
                answer: dict[str, Any] = {"version": 1, "ok": not self.refuses, "error": self.refuses}
                lines.write(json.dumps({**answer, **self._answer(question)}).encode() + b"\n")

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        arguments = question.get("arguments", {})
        if self.refuses:
            return {}
        match question["command"]:
            case "settings":
                return {"settings": texts(self.settings)}
            case "metrics":
                return {"status": {"nat_address": self.nat_address, "missing_interfaces": self.missing}}
            case "set":
                return self._set(arguments["values"])
            case "disable":
                return self._set({"disabled": "yes"})
            case "connections":
                return {"connections": [CONNECTION]}
            case _:
                return {"mode": self.mode, "nat": [NAT]}

    def _set(self, values: dict[str, str]) -> dict[str, Any]:
        before, self.settings = texts(self.settings), with_texts(self.settings, values)
        after = texts(self.settings)
        changed = [key for key in after if after[key] != before[key]]
        return {"changed": changed, "saved": self.saved, **self.besides}
