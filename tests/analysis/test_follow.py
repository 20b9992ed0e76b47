from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests.analysis.exchange import conversation, write

from sipalg import cli
from sipalg.analysis.udp_streams import as_ascii

CORPUS = Path(__file__).parents[3] / "shared/corpora/pcaps"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write(tmp_path, conversation())[0]


def test_the_list(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["follow", str(capture)]) == 0
    head, first, voice, _ = capsys.readouterr().out.splitlines()
    assert re.split("  +", head) == ["Stream", "Client", "Server", "Packets", "Begins with"]
    assert re.split("  +", first) == [
        "0", "192.168.20.100:5060", "207.252.1.148:5060", "4 client pkts, 4 server pkts, 6 turns",
        "REGISTER sip:207.252.1.148 SIP/2.0",
    ]
    assert "5 client pkts, 5 server pkts, 9 turns" in voice


def test_a_stream(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["follow", str(capture), "--stream", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "Stream 0: client 192.168.20.100:5060, server 207.252.1.148:5060",
        "#1 client, 391 bytes",
        "REGISTER sip:207.252.1.148 SIP/2.0",
        "Via: SIP/2.0/UDP 192.168.20.100:5060;branch=z9hG4bK-8fb0e171",
    ]
    assert lines[-1] == "4 client pkts, 4 server pkts, 6 turns."


def test_raw_is_the_bytes(capture: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert cli.main(["follow", str(capture), "--stream", "2", "--raw"]) == 0
    near = [packet.near for packet in conversation() if packet.near and packet.ports[0] == 14255]
    assert capfdbinary.readouterr().out == b"".join(near)


def test_json(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["follow", str(capture), "--stream", "0", "--json"]) == 0
    stream = json.loads(capsys.readouterr().out)
    assert {key: value for key, value in stream.items() if key != "packets"} == {
        "stream": 0, "client": "192.168.20.100:5060", "server": "207.252.1.148:5060",
        "client_packets": 4, "server_packets": 4, "turns": 6,
    }
    assert [packet["from"] for packet in stream["packets"]][:3] == ["client", "server", "client"]
    assert cli.main(["follow", str(capture), "--json"]) == 0
    assert [row["stream"] for row in json.loads(capsys.readouterr().out)["streams"]] == [0, 1, 2]


def test_what_isnt_there(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["follow", str(capture), "--stream", "7"]) == 2
    assert capsys.readouterr().err == (
        f"sipalg follow: {capture}: has no UDP stream 7; give a number from 0 to 2\n"
    )
    assert cli.main(["follow", str(capture), "--raw"]) == 2
    assert "--stream N" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["follow", str(capture), "--stream", "x"])
    assert "no stream's number" in capsys.readouterr().err
    capture.write_bytes(capture.read_bytes()[:24])
    assert cli.main(["follow", str(capture)]) == 2
    assert "has no UDP packet" in capsys.readouterr().err
    assert cli.main(["follow", str(capture / "no")]) == 2


def test_a_damaged_file_is_read_as_far_as_it_goes(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture.write_bytes(capture.read_bytes()[:-7])
    assert cli.main(["follow", str(capture), "--stream", "0"]) == 1
    out, err = capsys.readouterr()
    assert out.endswith("3 client pkts, 4 server pkts, 5 turns.\n")
    assert err.count("\n") == 1


def tshark(*arguments: str | Path) -> str:
    argv = ["tshark", "-o", "sdp.establish_conversation:FALSE", *arguments]
    return subprocess.run(argv, capture_output=True, check=True).stdout.decode("latin-1")


def _told_by_tshark(capture: Path, number: int) -> list[tuple[bool, str]]:
    """The packets of `follow,udp,ascii`, each with whether the server sent it."""
    shown = tshark("-r", capture, "-q", "-z", f"follow,udp,ascii,{number}").split("\n", 6)[6]
    packets = []
    while match := re.match(r"(\t?)([0-9]+)\n", shown):
        size = int(match[2])
        packets.append((bool(match[1]), shown[match.end() : match.end() + size]))
        shown = shown[match.end() + size :].removeprefix("\n")
    return packets


#: What Wireshark takes for packets of a stream beside the one that a packet is of, by file, cause and packet number:
#: what an ICMP error quotes went over the wire long before, and tunnels aren't opened. A UDP length of 0 makes it no
#: datagram to Wireshark; here it has all that is there, as in a packet that the sender's card was to cut.
BEYOND = {
    "MichalCab+ISA/sip.pcap": {"icmp": {173, 174}},
    "MichalCab+ISA/sip.pcap.pcapng": {"icmp": {173, 174}},
    "arkime+arkime/tests/pcap/arkime_synthetic.pcap": {
        "icmp": {466, 467}, "ip": {618, 619, 914}, "ipv6": {915}, "geneve": {622, 623}, "no length": {818},
    },
    "arkime+arkime/tests/pcap/gtp-iphone.pcap": {
        "gtp": {1, 2, 5, 6, 7, 31, 34, 48, 49, 50, 53, 54, *range(56, 80), *range(81, 85), *range(88, 92)},
    },
    "javier-pastor+ptavi-p5/sip.cap": {"icmp": {930, 931, 943, 945, 948, 949}},
}
#: Of which stream such a packet is by its ends.
NO_LENGTH = {818: "91"}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark isn't installed")
@pytest.mark.parametrize("path", sorted(CORPUS.rglob("*.*cap*")), ids=lambda path: path.relative_to(CORPUS).as_posix())
def test_wireshark_counts_the_same(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stream by stream as many packets, numbered in the same order; what differs is listed above."""
    columns = ("-e", "frame.number", "-e", "frame.protocols", "-e", "udp.stream")
    own: Counter[str] = Counter()
    beyond: dict[str, set[int]] = {}
    for line in tshark("-r", path, "-T", "fields", *columns, "-Y", "udp").splitlines():
        number, layers, streams = (column.split(cut) for column, cut in zip(line.split("\t"), " :,", strict=True))
        at = layers.index("udp")
        # What its own IP packet holds comes first; what is quoted or carried is behind ICMP or another IP header.
        around = [layer for layer in layers[:at] if layer in ("ip", "ipv6", "icmp")]
        if streams == [""]:
            beyond.setdefault("no length", set()).add(int(number[0]))
            streams = [NO_LENGTH[int(number[0])]]
        own.update(streams[: len(around) == 1])
        if len(streams) > (len(around) == 1):
            cause = around[1] if len(around) > 1 else layers[at + 1]
            beyond.setdefault(cause, set()).add(int(number[0]))
    assert beyond == BEYOND.get(path.relative_to(CORPUS).as_posix(), {})
    code = cli.main(["follow", str(path), "--json"])
    out = capsys.readouterr().out
    rows = json.loads(out)["streams"] if out else []
    assert code == (0 if own else 2)
    assert [row["stream"] for row in rows] == list(range(len(own)))
    assert [row["client_packets"] + row["server_packets"] for row in rows] == list(own.values())
    if not beyond:
        assert [str(row["stream"]) for row in rows] == list(own)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark isn't installed")
def test_wireshark_follows_the_same(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        packets = _told_by_tshark(capture, number)
        assert cli.main(["follow", str(capture), "--stream", str(number), "--json"]) == 0
        ours = json.loads(capsys.readouterr().out)["packets"]
        assert [server for server, _ in packets] == [packet["from"] == "server" for packet in ours]
        assert [text for _, text in packets] == [packet["text"].replace("\t", ".") for packet in ours]


def test_ascii_is_what_is_written(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["follow", str(capture), "--stream", "2"]) == 0
    payload = next(packet.near for packet in conversation() if packet.near and packet.ports[0] == 14255)
    assert as_ascii(payload) in capsys.readouterr().out
