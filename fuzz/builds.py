"""Both builds under any sequence of messages: they read the same of each, and decide the same.

An input is a script as for the engine, or, where its first byte is above 127, one of refreshes: of these the compiled
build follows many by its shortest way, which the interpreted one hasn't. This process plays it in its own build, asks
a second process that runs the other one, and compares what they say, word for word. Where there is no compiled build,
only the first one plays.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from fuzz import refreshes
from fuzz.engine import LONG_S, Script, steps
from sipalg import builds
from sipalg.codec import fields, headers, message

_ROOT: Final = Path(__file__).resolve().parent.parent
#: What is looked for in headers: the first phone, the router, and a host in brackets.
_HOSTS: Final = (b"192.168.33.10", b"203.0.113.1", b"[2001:db8::1]")
#: Sizes are told in so many bytes, lowest first.
_SIZE_BYTES: Final = 4


class _Other:
    """A process that runs the other build and answers scripts with what it says of them."""

    def __init__(self, build: str) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-m", "fuzz.builds"),
            cwd=_ROOT,
            env={**os.environ, builds.VARIABLE: build},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self.end)

    def ask(self, data: bytes) -> str:
        """Return its answer; AssertionError if it has died of the script."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        to.write(len(data).to_bytes(_SIZE_BYTES, "little") + data)
        to.flush()
        head = back.read(_SIZE_BYTES)
        if len(head) < _SIZE_BYTES:
            self.end()
            _others.clear()
            raise AssertionError(f"the other build died of {data!r}, exit code {self._process.returncode}")
        return back.read(int.from_bytes(head, "little")).decode()

    def end(self) -> None:
        """Let it end and wait for that."""
        self._process.communicate()


_others: Final[dict[str, _Other]] = {}


def other_build() -> str:
    """Return the name of the build that this process doesn't run, "" where there is none."""
    if builds.running() == builds.COMPILED:
        return builds.PURE
    return "" if isinstance(builds.compiled_files(), str) else builds.COMPILED


def check_builds(data: bytes) -> None:
    """Play the script in both builds; AssertionError where they differ."""
    own = said(data)
    build = other_build()
    if not build:
        return
    if build not in _others:
        _others[build] = _Other(build)
    other = _others[build].ask(data)
    if other != own:
        pairs = zip(own.splitlines(), other.splitlines(), strict=False)
        first, second = next((pair for pair in pairs if pair[0] != pair[1]), ("an end", "another"))
        raise AssertionError(f"the {builds.running()} build says {first}\nthe {build} one {second}")


def said(data: bytes) -> str:
    """Return all that this build says of a script, a line for each."""
    if data[:1] >= b"\x80":
        return refreshes.said(data)
    script = Script(direct_media=len(data) % 2 == 0)
    lines = []
    for step in steps(data):
        script.wait(step.wait_s)
        lines += [f"{name}: {answer!r}" for name, answer in _read(step.payload)]
        try:
            script.receive(step.payload, step.way, refuse=step.refuse)
        except AssertionError as error:
            # That is for the engine's own target; here both have to say it.
            lines.append(f"broken: {error}")
    lines.append(f"state: {script.alg.snapshot(script.now)!r}")
    script.wait(LONG_S)
    lines += [f"said: {word!r}" for word in script.said]
    lines.append(f"counts: {script.alg.counts()!r}")
    return "\n".join(lines)


def _read(payload: bytes) -> list[tuple[str, object]]:
    """Return what the codec's readers find in a payload, each with its name."""
    framed = message.parse(payload)
    if isinstance(framed, str):
        return [("parse", framed)]
    found: list[tuple[str, object]] = [
        ("parse", framed._replace(marks=b"")),
        ("identify", message.identify(framed)),
        ("call_id_of", message.call_id_of(framed)),
        ("cseq_method", message.cseq_method(framed)),
        ("address_of_record", message.address_of_record(framed)),
        ("expires_s", message.expires_s(framed)),
        ("session_expires_s", message.session_expires_s(framed)),
        ("has_star", message.has_star(framed)),
    ]
    found += [("fields_with", fields.fields_with(framed, host)) for host in _HOSTS]
    span = message.find_field(framed, message.VIA)
    if span is not None:
        found.append(("received_and_rport", headers.received_and_rport(payload, *span)))
    return found


def main() -> None:
    """Answer scripts from stdin until it ends: a size and so many bytes, there and back."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(_SIZE_BYTES):
        answer = said(source.read(int.from_bytes(head, "little"))).encode()
        sink.write(len(answer).to_bytes(_SIZE_BYTES, "little") + answer)
        sink.flush()


if __name__ == "__main__":
    main()
