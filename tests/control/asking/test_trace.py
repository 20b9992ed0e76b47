from __future__ import annotations

import io
import json
import signal
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipalg import cli
from sipalg.capture.reading import open_capture
from sipalg.capture.records import read_blocks
from sipalg.codec.datagram import checksums_right, parse_udp
from sipalg.control.asking import trace
from sipalg.control.asking.trace import notes, packets, shown
from sipalg.control.socket.client import ControlError

BEFORE = b"REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.20.9\r\n\r\n"
AFTER = BEFORE.replace(b"192.168.20.9", b"75.1.1.1:1024")
PHONE, PUBLIC, SERVER = ["192.168.20.9", 5060], ["75.1.1.1", 1024], ["198.51.100.2", 5060]


def line(**changed: Any) -> dict[str, Any]:
    return {
        "time_ns": 1_700_000_000_123_456_789, "interface": "lan0", "action": "replace", "reason": "", "made": True,
        "before": {"source": PHONE, "destination": SERVER, "payload": b64encode(BEFORE).decode()},
        "after": {"source": PUBLIC, "destination": SERVER, "payload": b64encode(AFTER).decode()},
        "edits": [{"rule": "via", "old": "192.168.20.9", "new": "75.1.1.1:1024"}],
    } | changed  # fmt: skip


REFUSED = line(action="drop", reason="direct-media-refused", after=None, edits=[])


def test_both_sides_are_whole_packets() -> None:
    before, after = packets(line())
    assert after is not None
    for packet, source, payload in ((before, PHONE, BEFORE), (after, PUBLIC, AFTER)):
        parsed = parse_udp(packet.frame)
        assert not isinstance(parsed, str)
        assert checksums_right(packet.frame)
        assert (list(parsed.source), list(parsed.destination), parsed.payload) == (source, SERVER, payload)
    assert (before.interface, before.comment) == ("before", "")
    assert (after.interface, after.comment) == ("after", "via: 192.168.20.9 → 75.1.1.1:1024")


def test_what_was_done_in_words() -> None:
    assert list(notes(line(edits=[], reason="exempt"))) == ["as it came: exempt"]
    assert list(notes(line(edits=[]))) == ["as it came"]
    assert list(notes(REFUSED)) == ["not sent on: direct-media-refused"]
    assert list(notes(line(made=False))) == [
        "observed only: nothing is changed", "would be changed: via: 192.168.20.9 → 75.1.1.1:1024",
    ]  # fmt: skip


def test_what_strangers_sent_moves_no_cursor() -> None:
    evil = line(before={"source": PHONE, "destination": SERVER, "payload": b64encode(b"\x1b[2J SIP/2.0").decode()})
    evil["edits"][0]["old"] = "\x1b[31m\n"
    assert all(text.isprintable() for text in shown(evil))


def test_a_message_for_a_terminal() -> None:
    first, second = shown(line())
    assert first.split(maxsplit=1)[1] == (
        "REGISTER sip:x SIP/2.0  192.168.20.9:5060 → 198.51.100.2:5060 becomes 75.1.1.1:1024 → 198.51.100.2:5060"
    )
    assert second == "  via: 192.168.20.9 → 75.1.1.1:1024"


@pytest.fixture
def alg(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """An ALG that traces these lines to one client, and then goes."""
    threads = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "sock"))
    listener.listen()

    def begin(*lines: dict[str, Any]) -> Path:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(999)
                for one in ({"version": 1, "ok": True, "stream": "trace"}, *lines):
                    connection.sendall(json.dumps(one).encode() + b"\n")

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return tmp_path / "sock"

    yield begin
    for thread in threads:
        thread.join()
    listener.close()


def test_lines_are_shown(alg: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", "--socket", str(alg(line(), REFUSED))]) == 1
    output = capsys.readouterr()
    assert output.out.count("REGISTER sip:x SIP/2.0") == 2
    assert output.err == "sipalg: the ALG has ended, after 2 messages\n"


def test_lines_as_json(alg: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", "--json", "--count", "2", "--socket", str(alg(line(), REFUSED))]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["time"] == "2023-11-14T22:13:20.123456789Z"
    assert first["before"] == {
        "source": "192.168.20.9:5060",
        "destination": "198.51.100.2:5060",
        "text": BEFORE.decode(),
    }
    assert (first["after"]["source"], first["edits"][0]["rule"]) == ("75.1.1.1:1024", "via")
    assert (second["after"], second["reason"]) == (None, "direct-media-refused")


def test_an_alg_that_breaks_off_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path, _command: str) -> Iterator[dict[str, Any]]:
        yield {"ok": True}
        yield line()
        raise ControlError("sipalg (pid 7) broke the connection: Connection reset by peer")

    monkeypatch.setattr(trace, "follow", broken)
    assert cli.main(["trace"]) == 1
    assert capsys.readouterr().err == "sipalg: the ALG has ended, after 1 message\n"


def test_one_file_has_both_sides(alg: Callable[..., Path], tmp_path: Path) -> None:
    target = tmp_path / "both.pcapng"
    assert cli.main(["trace", str(target), "--socket", str(alg(line(), REFUSED))]) == 1
    found = read_blocks(io.BytesIO(target.read_bytes()))
    assert [(one.interface, one.comment) for one in found] == [
        ("before", ""),
        ("after", "via: 192.168.20.9 → 75.1.1.1:1024"),
        ("before", "not sent on: direct-media-refused"),
    ]


def test_two_files_correspond_by_number(
    alg: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(tmp_path / name) for name in ("before.pcap", "after.pcap")]
    left_out = {"event": "events-left-out", "time": 1, "facts": {"count": "7"}}
    socket_path = alg(line(), REFUSED, left_out, line(edits=[]))
    assert cli.main(["trace", *names, "--socket", str(socket_path)]) == 1
    sides = []
    for name in names:
        with open_capture(Path(name)) as source:
            sides.append([parse_udp(frame.data) for frame in source])
    assert [[one.payload for one in side if not isinstance(one, str)] for side in sides] == [[BEFORE] * 2, [AFTER] * 2]
    assert capsys.readouterr().err == (
        "sipalg: the ALG has ended, after 3 messages, 7 came faster than they were read and are missing\n"
    )


def test_it_ends_after_so_many(alg: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", "--count", "2", "--socket", str(alg(line(), line(), line()))]) == 0
    assert capsys.readouterr().err == "sipalg: 2 messages\n"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C ends this process, which a shell's background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well_with_whole_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()
        target = tmp_path / "both.pcapng"

        # The signal is for the thread that reads; taken in by another one, it wouldn't wake that.
        reader = threading.get_ident()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(999)
                connection.sendall(b'{"version": 1, "ok": true}\n' + json.dumps(line()).encode() + b"\n")
                while not target.exists() or len(read_blocks(io.BytesIO(target.read_bytes()))) < 2:
                    pass
                signal.pthread_kill(reader, number)
                connection.recv(999)

        thread = threading.Thread(target=serve)
        thread.start()
        assert cli.main(["trace", str(target), "--socket", str(tmp_path / "sock")]) == 0
        thread.join()
    assert capsys.readouterr().err == "sipalg: 1 message\n"


def test_what_cannot_be_is_one_line(
    alg: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["trace", "--socket", str(tmp_path / "none")]) == 2
    assert cli.main(["trace", str(tmp_path / "no" / "file"), "--socket", str(alg(line()))]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith("sipalg: no sipalg is running behind")
    assert error[1].endswith("No such file or directory; give a file that can be written")
    assert len(error) == 2


@pytest.mark.parametrize("words", [["a", "b", "c"], ["a", "a"], ["a", "./a"], ["--json", "a"],
                                  ["--count", "0"], ["--count", "x"], ["--count", "1000000000"]])  # fmt: skip
def test_arguments_that_cannot_be(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["trace", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk_is_told(alg: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", "/dev/full", "--socket", str(alg(line()))]) == 2
    assert capsys.readouterr().err == "sipalg: /dev/full: No space left on device\n"
