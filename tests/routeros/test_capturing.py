"""`/tool sniffer` and `/file` without a capture; captures are in tests/live/test_runs.py."""

from __future__ import annotations

import io
import json
import signal
import socket
from pathlib import Path

import pytest
from tests.sniffer.packets import ethernet, udp

from sipalg.capture.reading import open_capture
from sipalg.capture.records import Captured, Pcapng, read_blocks
from sipalg.routeros import capturing
from sipalg.routeros.execute import Result, Surroundings, perform
from sipalg.routeros.grammar import Call, read
from sipalg.routeros.lexer import GrammarError
from sipalg.routeros.router import RefusedError, Router
from sipalg.sniffer.process import MEMORY_FILE, STATE_FILE
from sipalg.sniffer.runs import Runs
from sipalg.sniffer.settings import DEFAULTS, Settings
from sipalg.sniffer.tap import TapError

FRAME = ethernet(udp("192.168.20.100", 5060, "207.252.1.148", 5060), vlan=20)


@pytest.fixture
def captures(file: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "captures"
    with file.open("a") as settings:
        settings.write(f'captures = "{directory}"\n')
    return directory


def do(router: Router, line: str) -> Result:
    (call,) = read(line)
    assert isinstance(call, Call)
    return perform(call, router, Surroundings("2026-01-01"))


def lines(router: Router, line: str) -> list[str]:
    return list(do(router, line).lines)


def test_settings_are_set_shown_and_reset(router: Router, captures: Path) -> None:
    result = do(router, "/tool sniffer set file-name=before-ALG.pcap file-limit=4096 filter-port=!sip,5061 only=yes")
    assert result.json == {"changed": ["only-headers", "file-name", "file-limit", "filter-port"]}
    assert result.changed
    shown = lines(router, "/tool/sniffer/print")
    assert "                      file-name: before-ALG.pcap" in shown
    assert "                     file-limit: 4096KiB" in shown
    assert "                    filter-port: !sip,5061" in shown
    assert shown[-1] == "                        running: no"
    assert len({line.index(":") for line in shown}) == 1
    assert do(router, "/tool sniffer reset").json["changed"]
    assert Runs(captures).settings() == dict(DEFAULTS)
    assert not do(router, "/tool sniffer reset").changed


def test_an_interface_that_isnt_there_is_said_and_may_come_later(
    router: Router, captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(router, "tell", said.append)
    result = do(router, "/tool sniffer set filter-interface=lo,!nolan,all")
    assert result.json == {"changed": ["filter-interface"]}
    (told,) = said
    assert told.startswith("filter-interface: there is no interface nolan now; there are ")
    assert "lo" in told
    assert Runs(captures).settings()["filter-interface"] == "lo,!nolan,all"
    do(router, "/tool sniffer set filter-interface=lo")
    assert said == [told]


def test_the_runs_file_is_told_whatever_is_set_now(router: Router, captures: Path) -> None:
    do(router, "/tool sniffer set file-name=later.pcap")
    state = {"file": "before-ALG.pcap", "running": False, "packets": 3}
    Runs(captures).captures.put_hidden(STATE_FILE, json.dumps(state).encode())
    assert "                           file: before-ALG.pcap" in lines(router, "/tool sniffer print")
    assert lines(router, "/tool sniffer get file") == ["before-ALG.pcap"]
    assert lines(router, "/tool sniffer get file-name") == ["later.pcap"]
    (line,) = lines(router, "/tool sniffer print as-value")
    assert "file-name=later.pcap;" in line
    assert ";file=before-ALG.pcap;" in line
    assert lines(router, "/export")[-2:] == ["/tool sniffer", "set file-name=later.pcap"]
    assert "/tool sniffer" not in lines(router, "/ip export")


def test_settings_that_cannot_be_read_are_told(router: Router, captures: Path) -> None:
    captures.write_text("no directory")
    with pytest.raises(RefusedError, match="Not a directory"):
        do(router, "/tool export")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/tool sniffer set filter-port=5060x", "invalid value of filter-port (line 1 column 31): '5060x' is no port"),
        ("/tool sniffer set file-name=../x", "'../x' is no plain file name"),
        ("/tool sniffer set file=x", "ambiguous parameter file (line 1 column 19): it may be file-name or file-limit"),
        ("/tool sniffer set", "nothing to set"),
        ("/tool sniffer save", "missing value(s) of argument(s) file-name"),
        ("/tool sniffer set only-headers=perhaps", "input does not match any value of only-headers"),
        ("/tool sniffer quick duration=forever", "'forever' is no duration"),
        ("/file remove", "missing value(s) of argument(s) name"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(line: str, told: str) -> None:
    with pytest.raises(GrammarError) as error:
        read(line)
    assert told in str(error.value)


def test_tables_of_the_last_run(router: Router, captures: Path, told: list[str]) -> None:
    kind = Pcapng()
    packets = [
        Captured(1_000_000_000, FRAME, 60, "vlan20", False),
        Captured(2_500_000_000, b"?" * 20, 20, "lan0", True),
    ]
    runs = Runs(captures)
    runs.captures.put_hidden(MEMORY_FILE, kind.header() + b"".join(map(kind.packet, packets)))
    protocol = {"protocol": "ip", "ip-protocol": "", "port": "", "packets": "1", "bytes": "60", "share": "100.00%"}
    state = {
        "protocols": [protocol],
        "hosts": [], "connections": [], "left_out": {"protocols": 0, "hosts": 5}, "packets": 2, "dropped": 1,
        "ending": "stopped", "running": False,
    }  # fmt: skip
    runs.captures.put_hidden(STATE_FILE, json.dumps(state).encode())
    _, _, first, second = lines(router, "/tool sniffer packet print")
    assert first.split() == [
        "0", "0.000", "vlan20", "rx", "20", "192.168.20.100:5060", "207.252.1.148:5060", "ip:udp", "60",
    ]  # fmt: skip
    assert second.split() == ["1", "1.500", "lan0", "tx", "0x3f3f", "20"]
    assert lines(router, "/tool sniffer packet print count-only where size>50") == ["1"]
    assert do(router, "/tool sniffer packet print").json[0]["dst-mac"] == "02:00:00:00:00:02"
    assert lines(router, "/tool sniffer protocol print")[-1].split() == ["0", "ip", "1", "60", "100.00%"]
    assert told == []
    assert lines(router, "/tool sniffer host print")[1:] == ["#  ADDRESS  RATE  PEAK-RATE  TOTAL"]
    assert told == ["5 packets are of none of these: the table is full"]
    assert "                        dropped: 1" in lines(router, "/tool sniffer print")
    assert do(router, "/tool sniffer save file-name=m.pcapng").json == {"file": "m.pcapng", "packets": 2}
    assert [row.split()[1] for row in lines(router, "/file print")[2:]] == ["m.pcapng"]
    assert read_blocks(io.BytesIO((captures / "m.pcapng").read_bytes())) == runs.packets()
    do(router, "/tool sniffer save file-name=m.pcap")
    with open_capture(captures / "m.pcap") as source:
        assert [frame.data for frame in source] == [packet.frame for packet in runs.packets()]
    assert (captures / "m.pcap").read_bytes()[:4] == b"\xd4\xc3\xb2\xa1"
    do(router, "/file remove m.pcap")
    assert do(router, "/file remove m.pcapng").json == {"removed": "m.pcapng"}
    assert [line for line in lines(router, "/file print") if line.startswith("0")] == []


def test_stop_tells_what_was_found(router: Router, captures: Path, told: list[str]) -> None:
    state = {
        "packets": 9, "dropped": 2, "file": "a.pcap", "file_packets": 8, "file_bytes": 900, "file_full": True,
        "problem": "No space left on device", "streamed": 3, "stream_failed": 1, "ending": "killed", "running": False,
    }  # fmt: skip
    Runs(captures).captures.put_hidden(STATE_FILE, json.dumps(state).encode())
    assert not do(router, "/tool sniffer stop").changed
    assert told == [
        "the sniffer isn't running",
        "9 packets captured, 2 dropped by the kernel; a.pcap has 8 of them in 900 bytes, its limit; "
        "the file got no more: No space left on device; 3 streamed, 1 not; it was killed",
    ]


def test_a_sniffer_that_doesnt_start_in_time(
    router: Router, captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipalg.sniffer.runs._PATIENCE_S", 0.0)
    with pytest.raises(RefusedError, match="the sniffer didn't start within 0 seconds; try again"):
        do(router, "/tool sniffer start")
    assert not Runs(captures).pid()


def test_nothing_to_save_and_nothing_to_remove(router: Router, captures: Path) -> None:
    with pytest.raises(RefusedError, match="no packets in memory; run the sniffer first"):
        do(router, "/tool sniffer save x")
    with pytest.raises(RefusedError, match="no such file x"):
        do(router, "/file remove x")
    assert not captures.exists()


def test_a_directory_that_cannot_be(router: Router, captures: Path) -> None:
    captures.write_text("a file")
    for line in ("/file print", "/tool sniffer print", "/tool sniffer start", "/tool sniffer host print"):
        with pytest.raises(RefusedError, match="captures"):
            do(router, line)


class FakeTap:
    """Gives what it has, then has Ctrl-C pressed."""

    def __init__(self, packets: list[Captured]) -> None:
        self._packets = packets
        self._ends = socket.socketpair()
        self._ends[1].send(b"x")
        self.closed = False

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def receive(self) -> Captured | None:
        if self._packets:
            return self._packets.pop(0)
        signal.raise_signal(signal.SIGINT)
        return None

    def count_dropped(self) -> int:
        return 4

    def close(self) -> None:
        for end in self._ends:
            end.close()
        self.closed = True


def test_quick_shows_a_line_a_packet_and_how_many_there_were(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    arp = ethernet(bytes(28), kind=0x0806)
    ipv6 = ethernet(udp("2001:db8::1", 5060, "2001:db8::2", 5060))
    packets = [
        Captured(0, FRAME, 60, "vlan20", False),
        Captured(0, arp, 42, "lan0", True),
        Captured(0, ipv6, 63, "lan0", True),
    ]
    tap = FakeTap(packets)
    asked: list[Settings] = []

    def make(settings: Settings) -> FakeTap:
        asked.append(settings)
        return tap

    monkeypatch.setattr(capturing, "Tap", make)
    before = signal.getsignal(signal.SIGINT)
    result = do(router, "/tool sniffer quick port=sip interface=vlan20 duration=1h")
    assert result.live
    head, first, second, third, last = result.lines
    assert head.split()[0] == "INTERFACE"
    assert first.split()[2:] == ["1", "<-", "192.168.20.100:5060", "207.252.1.148:5060", "udp", "60"]
    assert second.split()[2:] == ["2", "->", "02:00:00:00:00:01", "02:00:00:00:00:02", "arp", "42"]
    assert third.split()[4:6] == ["[2001:db8::1]:5060", "[2001:db8::2]:5060"]
    assert last == "3 packets, 4 dropped"
    assert tap.closed
    assert signal.getsignal(signal.SIGINT) is before
    assert [one.text for one in asked[0].filters["filter-port"]] == ["sip"]


def test_quick_that_cannot_be(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_settings: object) -> None:
        raise TapError("capturing needs CAP_NET_RAW; run it as root")

    monkeypatch.setattr(capturing, "Tap", refuse)
    with pytest.raises(RefusedError, match="CAP_NET_RAW"):
        do(router, "/tool sniffer quick")
