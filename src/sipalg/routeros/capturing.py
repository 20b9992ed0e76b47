"""`/tool sniffer` and `/file`: what their commands do, and their tables' rows.

The sniffer is a process of its own, and its files lie in the directory that the setting `captures` names. A packet's
copy may come here, to be looked at.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from sipalg.capture.records import NS_PER_S, Captured
from sipalg.control.asking.columns import text_of
from sipalg.routeros.grammar import Call
from sipalg.routeros.menus import RUN
from sipalg.routeros.router import RefusedError, Router
from sipalg.sniffer.directory import CapturesError
from sipalg.sniffer.filters import entries
from sipalg.sniffer.frames import Seen, look
from sipalg.sniffer.program import ProgramError
from sipalg.sniffer.runs import Runs
from sipalg.sniffer.settings import seconds, settings_of
from sipalg.sniffer.tap import Tap, TapError, interfaces

#: Lines for people, the same as JSON, did it change something, do the lines come one by one.
Found = tuple[Iterable[str], Any, bool, bool]
Row = dict[str, str]

_LEFT_OUT: Final = {
    "sniffer-protocols": "protocols",
    "sniffer-hosts": "hosts",
    "sniffer-connections": "connections",
}
#: The columns of `quick`.
_QUICK_HEAD: Final = (
    f"{'INTERFACE':15} {'TIME':>10} {'NUM':>6} DIR {'SRC-ADDRESS':>21} {'DST-ADDRESS':>21} {'PROTOCOL':9} SIZE"
)
_LOOK_EACH_S: Final = 0.2


def settings(router: Router) -> dict[str, str]:
    """Return the sniffer's settings as texts. Raises RefusedError."""
    try:
        return _runs(router).settings()
    except CapturesError as error:
        raise RefusedError(str(error)) from None


def _facts(router: Router) -> dict[str, str]:
    """Return the settings, whether it runs, and what a run has found; `file` is the run's, whatever is set now."""
    runs = _runs(router)
    texts, state = runs.settings(), runs.state()
    facts = {**texts, "running": "yes" if state.get("running") else "no"}
    if state:
        facts.update({name: str(state.get(key, "")) for name, key in RUN})
    return facts


def _print(call: Call, router: Router) -> Found:
    facts = _facts(router)
    if "as-value" in call.words:
        return [";".join(f"{key}={text and text_of('', text)}" for key, text in facts.items())], facts, False, False
    width = max(map(len, facts))
    return [f"{key:>{width}}: {text}".rstrip() for key, text in facts.items()], facts, False, False


def _get(call: Call, router: Router) -> Found:
    text = _facts(router).get(call.values["value-name"], "")
    return [text], text, False, False


def _set(call: Call, router: Router) -> Found:
    found = _changed(_runs(router), router, call.values)
    if "filter-interface" in call.values:
        _warn_of_absent(router, call.values["filter-interface"])
    return found


def _warn_of_absent(router: Router, wanted: str) -> None:
    """Say which interfaces aren't there: they may come later, as PPP's do, but until then nothing can be captured."""
    present = interfaces()
    absent = [one.text for one in entries(wanted) if one.text != "all" and one.text not in present]
    if absent:
        there = f"there are {', '.join(present)}"
        router.tell(f"filter-interface: there is no interface {', '.join(absent)} now; {there}; start needs it")


def _reset(_call: Call, router: Router) -> Found:
    return _changed(_runs(router), router, None)


def _changed(runs: Runs, router: Router, values: Mapping[str, str] | None) -> Found:
    changed = runs.reset() if values is None else runs.set(values)
    if changed and runs.pid():
        router.tell("the sniffer is running; what was changed is for its next start")
    return (), {"changed": list(changed)}, bool(changed), False


def _start(_call: Call, router: Router) -> Found:
    runs = _runs(router)
    runs.start()
    return (), {"pid": runs.pid()}, True, False


def _stop(_call: Call, router: Router) -> Found:
    runs = _runs(router)
    ran = bool(runs.pid())
    state = runs.stop()
    if not ran:
        router.tell("the sniffer isn't running")
    if state:
        router.tell(_summary(state))
    return (), {key: state.get(key) for _, key in RUN}, ran, False


def _save(call: Call, router: Router) -> Found:
    name = call.values["file-name"]
    count = _runs(router).save(name)
    return (), {"file": name, "packets": count}, True, False


def _summary(state: Mapping[str, Any]) -> str:
    """Say what a run found, in one line."""
    parts = [f"{state.get('packets', 0)} packets captured, {state.get('dropped', 0)} dropped by the kernel"]
    if state.get("file"):
        full = ", its limit" if state.get("file_full") else ""
        parts.append(f"{state['file']} has {state['file_packets']} of them in {state['file_bytes']} bytes{full}")
    if state.get("problem"):
        parts.append(f"the file got no more: {state['problem']}")
    if state.get("streamed") or state.get("stream_failed"):
        parts.append(f"{state['streamed']} streamed, {state['stream_failed']} not")
    if state.get("ending") == "killed":
        parts.append("it was killed")
    return "; ".join(parts)


def _quick(call: Call, _router: Router) -> Found:
    values = dict(call.values)
    limit = values.pop("duration", None)
    wanted = settings_of({f"filter-{key}": text for key, text in values.items()})
    try:
        tap = Tap(wanted)
    except (TapError, ProgramError) as error:
        raise RefusedError(str(error)) from None
    return _passing(tap, seconds(limit) if limit else None), None, False, True


def _passing(tap: Tap, limit_s: float | None) -> Iterator[str]:
    """Yield a line a packet until the time is over or Ctrl-C is pressed; then how many there were."""
    begin = time.time()
    end = float("inf") if limit_s is None else time.monotonic() + limit_s
    count = 0
    pressed: list[int] = []
    # Wherever it is pressed, also while a line is written, the end is told.
    before = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        yield _QUICK_HEAD
        while not pressed and time.monotonic() < end:
            select.select([tap], [], [], _LOOK_EACH_S)
            while not pressed and time.monotonic() < end and (packet := tap.receive()) is not None:
                count += 1
                yield _quick_line(packet, count, begin)
        yield f"{count} packets, {tap.count_dropped()} dropped"
    finally:
        signal.signal(signal.SIGINT, before)
        tap.close()


def _quick_line(packet: Captured, number: int, begin: float) -> str:
    seen = look(packet.frame)
    way = "->" if packet.outgoing else "<-"
    ends = _ends(seen, packet.frame)
    protocol = seen.ip_protocol or seen.protocol
    return (
        f"{packet.interface:15} {packet.time_ns / NS_PER_S - begin:10.3f} {number:6} {way:3}"
        f" {ends[0]:>21} {ends[1]:>21} {protocol:9} {packet.wire_bytes:4}"
    )


def _ends(seen: Seen, frame: bytes) -> tuple[str, str]:
    """Return who sent it to whom: addresses with ports, or stations where there are none."""
    if not seen.source:
        return frame[6:12].hex(":"), frame[:6].hex(":")
    pairs = ((seen.source, seen.source_port), (seen.destination, seen.destination_port))
    texts = [f"[{host}]" if ":" in host and port else host for host, port in pairs]
    source, destination = (f"{text}:{port}" if port else text for text, (_, port) in zip(texts, pairs, strict=True))
    return source, destination


def _remove(call: Call, router: Router) -> Found:
    runs, name = _runs(router), call.values["name"]
    if runs.writes(name):
        raise RefusedError(f"{name} is being written by the sniffer; stop it first")
    runs.captures.remove(name)
    return (), {"removed": name}, True, False


def _told(action: Callable[[Call, Router], Found]) -> Callable[[Call, Router], Found]:
    """Make errors about captures into refusals."""

    def act(call: Call, router: Router) -> Found:
        try:
            return action(call, router)
        except (CapturesError, ValueError) as error:
            raise RefusedError(str(error)) from None

    return act


ACTIONS: Final = {
    "sniffer-print": _told(_print),
    "sniffer-get": _told(_get),
    "sniffer-set": _told(_set),
    "sniffer-start": _told(_start),
    "sniffer-stop": _told(_stop),
    "sniffer-save": _told(_save),
    "sniffer-quick": _told(_quick),
    "sniffer-reset": _told(_reset),
    "file-remove": _told(_remove),
}


def rows(source: str, router: Router) -> list[Row]:
    """Return a table's rows. Raises RefusedError."""
    try:
        runs = _runs(router)
        found = ROWS[source](runs)
        left_out = runs.state().get("left_out", {}).get(_LEFT_OUT.get(source, ""), 0)
    except CapturesError as error:
        raise RefusedError(str(error)) from None
    if left_out:
        router.tell(f"{left_out} packets are of none of these: the table is full")
    return found


def _packet_rows(runs: Runs) -> list[Row]:
    packets = runs.packets()
    begin_ns = packets[0].time_ns if packets else 0
    return [_packet_row(packet, begin_ns) for packet in packets]


def _packet_row(packet: Captured, begin_ns: int) -> Row:
    seen = look(packet.frame)
    ends = _ends(seen, packet.frame)
    return {
        "time": f"{(packet.time_ns - begin_ns) / NS_PER_S:.3f}",
        "interface": packet.interface,
        "direction": "tx" if packet.outgoing else "rx",
        "src-mac": packet.frame[6:12].hex(":").upper(),
        "dst-mac": packet.frame[:6].hex(":").upper(),
        "vlan": str(seen.vlan or ""),
        "src-address": ends[0] if seen.source else "",
        "dst-address": ends[1] if seen.source else "",
        "protocol": f"{seen.protocol}:{seen.ip_protocol}" if seen.ip_protocol else seen.protocol,
        "size": str(packet.wire_bytes),
    }


def _state_rows(key: str) -> Callable[[Runs], list[Row]]:
    return lambda runs: list(runs.state().get(key, ()))


def _file_rows(runs: Runs) -> list[Row]:
    return [
        {
            "name": one.name,
            "type": f".{one.name.rpartition('.')[2]} file" if "." in one.name else "file",
            "size": str(one.size_bytes),
            "last-modified": datetime.fromtimestamp(one.written).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        }
        for one in runs.captures.list()
    ]


ROWS: Final[Mapping[str, Callable[[Runs], list[Row]]]] = {
    "sniffer-packets": _packet_rows,
    "sniffer-protocols": _state_rows("protocols"),
    "sniffer-hosts": _state_rows("hosts"),
    "sniffer-connections": _state_rows("connections"),
    "files": _file_rows,
}


def _runs(router: Router) -> Runs:
    return Runs(router.captures())
