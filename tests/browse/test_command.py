"""`sipalg calls`, with files and without."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from sipalg import cli
from sipalg.browse import command, device, screen
from sipalg.browse.device import Device
from sipalg.browse.live import LiveCalls
from sipalg.capture.reading import open_capture
from sipalg.capture.records import Captured
from sipalg.codec.datagram import fill_checksums, host_bytes
from sipalg.control.asking import tables

PHONE, SERVER = "192.168.33.10", "203.0.113.50"


def sip(start: str, cseq: str, call_id: str) -> bytes:
    ends = f"From: <sip:alice@{PHONE}>;tag=1\r\nTo: <sip:bob@{SERVER}>\r\n"
    return f"{start}\r\n{ends}Call-ID: {call_id}\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n".encode()


MESSAGES = [
    (PHONE, SERVER, sip("REGISTER sip:x SIP/2.0", "1 REGISTER", "first@x")),
    (SERVER, PHONE, sip("SIP/2.0 403 Never", "1 REGISTER", "first@x")),
    (PHONE, SERVER, sip("INVITE sip:bob@x SIP/2.0", "1 INVITE", "second@x")),
]


def frame(source: str, destination: str, payload: bytes) -> bytes:
    body = struct.pack("!HHHH", 5060, 5999, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0x4000, 64, 17, 0)
    return bytes(12) + b"\x08\x00" + fill_checksums(head + host_bytes(source) + host_bytes(destination) + body)


def content() -> bytes:
    found = struct.pack("<IHHQII", 0xA1B2C3D4, 2, 4, 0, 262144, 1)
    for number, (source, destination, payload) in enumerate(MESSAGES):
        data = frame(source, destination, payload)
        found += struct.pack("<IIII", 1_700_000_000, number * 1000, len(data), len(data)) + data
    return found


@pytest.fixture
def capture(tmp_path: Path) -> str:
    (tmp_path / "a.pcap").write_bytes(content())
    return str(tmp_path / "a.pcap")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["calls", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_table(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, capture)
    assert (code, err) == (0, "")
    head, first, second = out.splitlines()
    assert head.split("  ")[0] == "#"
    assert "first failure" in head
    assert first.split()[:4] == ["1", "registration", f"alice@{PHONE}", f"bob@{SERVER}"]
    assert first.split()[4:8] == [f"{PHONE}:5060", f"{SERVER}:5999", "rejected", "403"]
    assert "no answer" in second


def test_what_matters_is_readable_at_80_columns(
    capture: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    head, first, second = run(capsys, capture)[1].splitlines()
    assert head.split("  ")[-1] == "private"
    assert first.split()[1:] == [f"alice@{PHONE}", f"bob@{SERVER}", "rejected", "403", "Never", PHONE]
    assert second.split()[1:] == [f"alice@{PHONE}", f"bob@{SERVER}", "calling", "no", "answer", PHONE]
    monkeypatch.setenv("COLUMNS", "200")
    head = run(capsys, capture)[1].splitlines()[0]
    assert head.split("  ")[-1].strip() == "call id"
    assert "SIP packets" in head


def test_table_as_json(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(run(capsys, capture, "--json")[1])
    assert [(row["number"], row["call_id"], row["failure"]) for row in answer["calls"]] == [
        (1, "first@x", "403 Never"),
        (2, "second@x", "no answer"),
    ]
    assert answer["damage"] == []


def test_ladder(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, capture, "--call", "first@x")[1].splitlines()
    assert lines[0] == f"registration 1, alice@{PHONE} → bob@{SERVER}: rejected, 403 Never, Call-ID first@x"
    assert lines[1].split() == [PHONE, SERVER]
    assert ["REGISTER" in lines[2], "403 Never" in lines[3], len(lines)] == [True, True, 4]


def test_message_whole(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, capture, "--call", "1", "--message", "2")[1]
    assert out.splitlines()[0].startswith("packet 2, ")
    assert MESSAGES[1][2].decode().replace("\r\n", "\n") in out


def test_difference(capture: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = run(capsys, capture, "--call", "1", "--diff", "1", "2")[1]
    assert "\n- REGISTER sip:x SIP/2.0\n" in out
    assert "\n+ SIP/2.0 403 Never\n" in out
    assert "\n  Call-ID: first@x\n" in out
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "\x1b[32m+ SIP/2.0 403 Never\x1b[0m\n" in run(capsys, capture, "--call", "1", "--diff", "1", "2")[1]


@pytest.mark.parametrize(
    ("choice", "numbers"), [([], [1, 2]), (["--message", "2"], [2]), (["--diff", "2", "1"], [2, 1])]
)
def test_call_as_json(choice: list[str], numbers: list[int], capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(run(capsys, capture, "--call", "1", "--json", *choice)[1])
    assert answer["call"]["state"] == "rejected"
    assert [message["number"] for message in answer["messages"]] == numbers


@pytest.mark.parametrize(
    ("choice", "said"), [(["--call", "2"], "1 packet of 1 call"), ([], "3 packets of 2 calls")]
)
def test_export(
    choice: list[str], said: str, capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.pcap"
    assert run(capsys, capture, "--export", str(out), *choice) == (0, f"{out}: {said}\n", "")
    again = json.loads(run(capsys, str(out), "--json")[1])["calls"]
    assert sum(row["sip_packets"] for row in again) == int(said[0])


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeInput]:
    with create_pipe_input() as keys, create_app_session(output=DummyOutput()):
        monkeypatch.setattr(screen, "create_input", lambda **_: keys)
        yield keys


def test_looking_through_a_file(
    terminal: PipeInput,
    capture: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    out = tmp_path / "out.pcap"
    terminal.send_text(f"ks\x15{out}\rq")
    Path(capture).write_bytes(content()[:-1])
    code, said, err = run(capsys, capture, "-i")
    assert (code, said) == (1, "")
    assert "packet 3: is cut off" in err
    with open_capture(out) as source:
        assert len(list(source)) == 2
    assert run(capsys, "-i") == (2, "", "sipalg calls: --interactive is for captures: give a file\n")


class Radio(Device):
    """A device that hears two messages, and then its end."""

    def __init__(self, names: Sequence[str]) -> None:
        self.calls = LiveCalls(", ".join(names))
        self.calls.dropped = 5
        self.reading, self.writing = os.pipe()
        os.write(self.writing, b"x")

    def fileno(self) -> int:
        return self.reading

    def take(self) -> None:
        if os.read(self.reading, 1):
            for ends in MESSAGES[:2]:
                packet = frame(*ends)
                self.calls.take(Captured(0, packet, len(packet), "lan0"))
            os.write(self.writing, b"x")
        signal.raise_signal(signal.SIGTERM)

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


@pytest.mark.parametrize("as_json", [False, True])
def test_listening_without_a_terminal(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "Device", Radio)
    code, out, err = run(capsys, "-d", "lan0", "--device", "wan0", *["--json"] * as_json)
    assert (code, err) == (0, "sipalg calls: listening to lan0, wan0; Ctrl-C ends it\n")
    if as_json:
        answer = json.loads(out)
        assert ([row["failure"] for row in answer["calls"]], answer["dropped"]) == (["403 Never"], 5)
    else:
        assert "403 Never" in out.splitlines()[1]
    monkeypatch.setattr(Radio, "take", lambda _: signal.raise_signal(signal.SIGINT))
    assert run(capsys, "-d", "lan0")[1] == "No SIP came.\n"


def test_looking_through_what_comes(
    terminal: PipeInput, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    took = []

    def take(radio: Radio) -> None:
        took.append(os.read(radio.reading, 1))
        terminal.send_text("\rq\x03")

    monkeypatch.setattr(device, "Device", Radio)
    monkeypatch.setattr(Radio, "take", take)
    assert run(capsys, "-d", "lan0") == (0, "", "")
    assert took == [b"x"]


def test_two_things_to_show_are_refused(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["calls", capture, "--call", "1", "--message", "1", "--diff", "1", "2"])
    assert "argument --diff: not allowed with argument --message" in capsys.readouterr().err


def test_export_as_pcapng_keeps_where_packets_were_seen(
    capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, raw = tmp_path / "out.pcapng", tmp_path / "raw.pcap"
    packet = frame(*MESSAGES[2])[14:]
    head = struct.pack("<IHHQII", 0xA1B2C3D4, 2, 4, 0, 262144, 101)
    raw.write_bytes(head + struct.pack("<IIII", 1_700_000_001, 0, len(packet), len(packet)) + packet)
    code, said, _ = run(capsys, capture, str(raw), "--export", str(out))
    assert (code, said) == (0, f"{out}: 4 packets of 2 calls\n")
    with open_capture(out) as source:
        assert [(one.link_type, one.interface) for one in source] == [(1, 0)] * 3 + [(101, 1)]
        assert [one.name for one in source.interfaces] == ["a.pcap", "raw.pcap"]


def test_export_and_json(capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.pcap"
    answer = json.loads(run(capsys, capture, "--export", str(out), "--json")[1])
    assert len(answer["calls"]) == 2
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--call", "1"], "--call is for captures: give a file"),
        (["FILE", "--message", "1"], "--message is for one call: choose it with --call"),
        (["FILE", "--diff", "1", "2"], "--diff is for one call: choose it with --call"),
        (["FILE", "--socket", "/x"], "--socket is for the running ALG's calls: leave it or the files out"),
        (["FILE", "-i"], "--interactive needs a terminal"),
        (["FILE", "-i", "--json"], "--interactive shows all by itself: leave --json out"),
        (["FILE", "-i", "--call", "1"], "--interactive shows all by itself: leave --call out"),
        (["FILE", "-d", "lan0"], "--device listens: leave the files out"),
        (["-d", "lan0", "--svg", "/x"], "--device listens: leave --svg out"),
        (["-d", "lan0", "--socket", "/x"], "--device listens: leave --socket out"),
        (["-d", "a/b"], "--device: 'a/b' is no interface name; examples: all, ether1"),
        (["FILE", "--call", "9"], "--call 9: there is no such call; a number from 1 to 2, or a Call-ID"),
        (["FILE", "--call", "1", "--message", "3"], "message 3: there is no such message; the call has 1 to 2"),
        (
            ["FILE", "--call", "1", "--svg", "/x", "--html", "/../x"],
            "--svg and --html are the same file, /../x: give each its own",
        ),
        (["/nowhere"], "/nowhere: No such file or directory; give a pcap or pcapng file"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], said: str, capture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given_ = [capture if argument == "FILE" else argument for argument in arguments]
    assert run(capsys, *given_) == (2, "", f"sipalg calls: {said}\n")


def test_no_sip_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pcap").write_bytes(content()[:24])
    path = str(tmp_path / "a.pcap")
    code, out, said = run(capsys, path)
    assert (code, out) == (2, "")
    assert said.startswith(f"sipalg calls: {path}: no SIP in it; check the interface and the filter")
    code, out, said_too = run(capsys, path, "--json")
    assert (code, json.loads(out), said_too) == (2, {"calls": [], "damage": []}, said)


def test_file_named_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pcap").write_bytes(content())
    (tmp_path / "b.pcap").symlink_to(tmp_path / "a.pcap")
    twice = "is named twice, and all in it would count twice; give each file once\n"
    for name in ("calls", "diagnose"):
        assert cli.main([name, str(tmp_path / "a.pcap"), str(tmp_path / "b.pcap")]) == 2
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", f"sipalg {name}: {tmp_path / 'b.pcap'}: {twice}")


def test_damaged_file_is_shown_as_far_as_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(content()[:-1])
    code, out, err = run(capsys, str(path))
    assert (code, len(out.splitlines())) == (1, 2)
    assert err == f"sipalg calls: {path}, packet 3: is cut off: the file ends in its middle\n"


@given(at=st.integers(0, 1200), put=st.binary(max_size=8), cut=st.integers(0, 1300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_is_a_traceback(
    at: int, put: bytes, cut: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = content()
    path = tmp_path / "a.pcap"
    path.write_bytes((whole[:at] + put + whole[at + len(put) :])[:cut])
    for choice in ([], ["--call", "1"], ["--json"]):
        code, _, err = run(capsys, str(path), *choice)
        assert code in (0, 1, 2)
        assert err.count("\n") <= 1
        assert bool(err) == bool(code)


def test_without_files_the_running_alg_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "ask", lambda path, command: {"calls": [{"path": str(path), "command": command}]})
    assert run(capsys, "--socket", "/x")[1].splitlines()[1].split() == ["/x", "calls"]


def test_picture_and_page(capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, html = tmp_path / "out.svg", tmp_path / "out.html"
    said = f"{svg}: the ladder of 2 messages\n{html}: 1 call\n"
    assert run(capsys, capture, "--call", "1", "--svg", str(svg), "--html", str(html)) == (0, said, "")
    assert svg.read_text().startswith("<svg ")
    assert "403 Never" in html.read_text()
    assert run(capsys, capture, "--html", str(html))[1] == f"{html}: 2 calls\n"
    assert "second@x" in html.read_text()


@pytest.mark.parametrize("option", ["--svg", "--html"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.pcap", "is read from; give the name of another file to write"),
        (".", "is no regular file; give the name of a file to write"),
        ("none/a", "No such file or directory; give a file in a folder that can be written to"),
    ],
)
def test_file_that_cannot_be_written(
    option: str, name: str, said: str, capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    assert run(capsys, capture, "--call", "1", option, str(path)) == (2, "", f"sipalg calls: {path}: {said}\n")
    assert Path(capture).read_bytes() == content()


def test_page_of_very_many_calls_is_refused(
    capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MOST_CALLS_OF_A_PAGE", 1)
    path = tmp_path / "out.html"
    said = "sipalg calls: --html: 2 calls are too many for a page; choose one with --call\n"
    assert run(capsys, capture, "--html", str(path)) == (2, "", said)
    assert run(capsys, capture, "--html", str(path), "--call", "1")[0] == 0


def test_pipe_is_read_as_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(path.write_bytes, content())
        assert "403 Never" in run(capsys, str(path), "--call", "1")[1]
        writing.result()


def test_picture_is_of_one_call(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, capture, "--svg", "/x")[2] == "sipalg calls: --svg is for one call: choose it with --call\n"


def test_a_table_does_not_wait_for_the_browser() -> None:
    code = "import sys, sipalg.browse.command; sys.exit('prompt_toolkit' in sys.modules or 'pcapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
