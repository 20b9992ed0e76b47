from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.analysis.exchange import CALL_ID, NAT, START_NS, Packet, conversation, message, through, write
from tests.capture import libpcap

from sipalg import cli
from sipalg.analysis.compare import load
from sipalg.capture.pcap import CaptureWriter
from sipalg.capture.tally import nanoseconds

DECK = Path(__file__).parents[3] / "shared/deck"
CORPUS = Path(__file__).parents[3] / "shared/corpora/pcaps"


def compared(paths: tuple[Path, Path], *options: str) -> int:
    return cli.main(["compare", str(paths[0]), str(paths[1]), *options])


def test_a_good_alg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(write(tmp_path, conversation())) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Changed: Request-URI, Via, Contact, o=, c=, m=, Content-Length\nCall-ID: the same\n" in out
    assert out.endswith(
        "\nResult: good ALG. The device changes the addresses that have to be changed, and nothing else.\n"
    )
    assert len(re.findall("^Pair ", out, re.MULTILINE)) == 2
    assert "\n5 more pairs differ; --show changed has them\nPairs: " in out
    compared(write(tmp_path, conversation()), "--show", "changed")
    shown = capsys.readouterr().out
    assert len(re.findall("^Pair ", shown, re.MULTILINE)) == 7
    assert "more pairs" not in shown
    assert "m=audio [-14254-] RTP/AVP 0 101" in shown


def test_voice_is_counted_by_the_reader(tmp_path: Path) -> None:
    packets = conversation()
    voice = next(packet for packet in reversed(packets) if packet.near and packet.near[0] == 0x80)
    before, _ = write(tmp_path, [*packets, *[voice] * 9])
    side, damage = load(before)
    assert damage == ""
    rtp = [stream.tally for stream in side.media.all if not stream.is_rtcp]
    assert sorted(tally.count for tally in rtp) == [5, 14]
    assert all(tally.clock is not nanoseconds for tally in rtp)
    last = len(packets) + 8
    assert side.span == (START_NS, START_NS + last * 250_000_000)


def test_a_poor_alg_with_packets_and_what_breaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alg = re.compile(re.escape(CALL_ID.encode()))
    paths = write(tmp_path, through(conversation(), lambda data, out: alg.sub(b"x@y", data) if out else data))
    assert compared(paths, "--show", "none") == 1
    out = capsys.readouterr().out
    assert "poor  call-id-changed  before #3, #6, #20; after #3, #6, #20\n" in out
    assert "      A Call-ID is a name, not an address (RFC 3261 §8.1.1.4)." in out
    assert "Pair " not in out.replace("Pairs", "")
    assert "Call-ID: the same" not in out
    assert "Result: poor ALG." in out


def test_the_same_side_twice_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, _ = write(tmp_path, conversation())
    assert compared((before, before)) == 0
    assert capsys.readouterr().out.endswith(
        "Result: no ALG. Neither messages nor packets' addresses differ: no NAT is between, or both are of one side.\n"
    )


def test_only_one_of_the_two_comes_through_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared((Path("-"), Path("-"))) == 2
    assert capsys.readouterr().err == (
        "sipalg compare: -: standard input can be one of the two captures; give a file for the other\n"
    )
    before, after = write(tmp_path, conversation())
    argv = [sys.executable, "-m", "sipalg", "compare", str(before), "-", "--show", "none"]
    done = subprocess.run(argv, input=after.read_bytes(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_all_pairs_and_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write(tmp_path, conversation())
    assert compared(paths, "--show", "all") == 0
    assert len(re.findall("^Pair ", capsys.readouterr().out, re.MULTILINE)) == 8


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packets = conversation()
    near, _ = message("OPTIONS sip:x SIP/2.0\nVia: SIP/2.0/UDP {own};branch=o\nFrom: <sip:a>;tag=o\nCall-ID: o\n"
                      "CSeq: 1 OPTIONS\nContent-Length: {length}")
    packets[3:3] = [Packet(True, near, None)]
    assert compared(write(tmp_path, packets), "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["result"], result["proxy"]) == ("poor", False)
    assert [(f["rule"], f["packets"]) for f in result["findings"]] == [("lost", {"before": [4], "after": []})]
    assert [pair["message"] for pair in result["pairs"]][:2] == ["REGISTER", "200 REGISTER"]
    assert [one["packet"] for one in result["only_before"]] == [4]


def test_what_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = write(tmp_path, conversation())
    nothing = tmp_path / "nothing.pcap"
    nothing.write_bytes(b"no capture")
    assert compared((before, nothing)) == 2
    assert capsys.readouterr().err == f"sipalg compare: {nothing}: is no capture; give a pcap or pcapng file\n"
    with CaptureWriter(nothing, 1) as writer:
        writer.commit()
    assert compared((nothing, after)) == 2
    assert "has no SIP message" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    near, far = write(other, [Packet(True, *message("OPTIONS sip:x SIP/2.0\nCall-ID: z\nCSeq: 1 OPTIONS"))])
    assert compared((before, far)) == 2
    assert "the one ended before the other began, and no message nor phone's registration" in capsys.readouterr().err
    assert compared((before, near)) == 2
    assert "no message of the one is in the other; give two captures of the same time" in capsys.readouterr().err


def test_a_damaged_capture_is_compared_as_far_as_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = write(tmp_path, conversation())
    after.write_bytes(after.read_bytes()[:-10])
    assert compared((before, after), "--show", "none") == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"sipalg compare: {after}")
    assert err.count("\n") == 1
    assert "Result: good ALG" in out


def test_the_wrong_way_round_is_said_and_judged_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = write(tmp_path, conversation())
    assert compared((after, before), "--show", "none") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{before} is of the inside: it is taken as BEFORE, and {after} as AFTER\n\nPairs: 8")
    assert compared((after, before), "--json") == 0
    swapped = json.loads(capsys.readouterr().out)
    assert compared((before, after), "--json") == 0
    assert swapped == {**json.loads(capsys.readouterr().out), "swapped": True}
    assert swapped["files"] == {"before": str(before), "after": str(after)}


def another_day(data: bytes) -> bytes:
    """The same phone's messages of another time: no name of a call or a transaction is the same."""
    return re.sub(rb"(branch=|tag=|Call-ID: |CSeq: )(?=\S)", rb"\g<1>9", data)


def two_days(directory: Path, alg: Callable[[bytes], bytes] = bytes) -> tuple[Path, Path]:
    """BEFORE's capture of one day, and AFTER's of the other."""
    before, _ = write(directory, conversation())
    days = [replace(packet, far=packet.far and alg(another_day(packet.far))) for packet in conversation()]
    (directory / "later").mkdir()
    return before, write(directory / "later", days)[1]


def test_captures_one_after_the_other_are_judged_by_what_the_phone_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = two_days(tmp_path)
    assert compared(paths) == 0
    out = capsys.readouterr().out
    assert "paired by phone and kind of message: not the same message" in out
    assert "Pairs: 3, each of two messages of one phone, since no message is in both captures\n" in out
    assert "Changed: Via, Contact, o=, c=\n" in out
    assert "Call-ID: the same" not in out
    assert "Result: good ALG, by the addresses alone. Where the phone wrote its private address, the right" in out
    assert "The captures aren't of the same time: only the addresses in other messages" in out
    assert compared((paths[1], paths[0]), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["swapped"], result["same_time"], result["result"]) == (True, False, "good")


def contact_left(data: bytes) -> bytes:
    return re.sub(rb"(Contact: [^\r]*@)[0-9.:]+", rb"\g<1>192.168.20.100:5060", data)


def another_port(data: bytes) -> bytes:
    return data.replace(b"75.142.151.49:1024", b"75.142.151.49:5060")


def no_alg(data: bytes) -> bytes:
    return data.replace(b"75.142.151.49:1024", b"192.168.20.100:5060").replace(NAT.encode(), b"192.168.20.100")


@pytest.mark.parametrize(
    ("alg", "result", "rules", "why"),
    [
        (contact_left, "poor", ["contact-private"], "The device leaves private addresses where it changes others."),
        (another_port, "poor", ["via-wrong", "contact-wrong"], "The device writes addresses or ports that aren't the"),
        (no_alg, "none", [], "Private addresses go out as they are. The captures aren't of the same time"),
    ],
)
def test_a_poor_alg_between_captures_of_different_times(
    alg: Callable[[bytes], bytes],
    result: str,
    rules: list[str],
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert compared(two_days(tmp_path, alg), "--json") == (result == "poor")
    judged = json.loads(capsys.readouterr().out)
    assert ([finding["rule"] for finding in judged["findings"]], judged["result"]) == (rules, result)
    assert judged["why"].startswith(why)


def test_a_nat_aware_phone_on_two_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, after = two_days(tmp_path)
    before, _ = write(tmp_path, [replace(packet, near=packet.far) for packet in conversation()])
    assert compared((before, after), "--show", "none") == 0
    assert "Result: no ALG, by the addresses alone. No private address was in the messages" in capsys.readouterr().out


def test_another_phones_registration_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A PBX between makes messages of its own: they are no phone's on another day."""
    def pbx(data: bytes) -> bytes:
        return data.replace(b"User-Agent: Cisco", b"User-Agent: PBX").replace(b"<sip:525@", b"<sip:pbx@")

    paths = two_days(tmp_path, pbx)
    assert compared(paths) == 2
    assert "capture both sides at the same time" in capsys.readouterr().err


def test_the_lectures_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not DECK.exists():
        pytest.skip(f"{DECK} isn't there")
    packets = [
        Packet(True, (DECK / f"{name}-before.sip").read_bytes(), (DECK / f"{name}-after.sip").read_bytes())
        for name in ("register", "invite")
    ]
    assert compared(write(tmp_path, packets), "--show", "none") == 0
    out = capsys.readouterr().out
    assert "Changed: Via, Contact, o=, c=, m=, Content-Length\nCall-ID: the same\n" in out
    assert "Result: good ALG." in out


def _senders(capture: Path) -> list[str]:
    """The addresses that SIP comes from, most first."""
    argv = ["tshark", "-r", str(capture), "-Y", "sip && ip && udp", "-T", "fields", "-e", "ip.src"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    return sorted({host for host in listed if "," not in host}, key=lambda host: (-listed.count(host), host))[:4]


@pytest.mark.parametrize(
    "capture", sorted(CORPUS.rglob("*.*cap*")), ids=lambda path: path.relative_to(CORPUS).as_posix()
)
def test_sipalg_hears_no_false_word(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every capture of the corpus through sipalg's own router, each sender of SIP once as the one behind the NAT."""
    if not Path("/usr/bin/tshark").exists():
        pytest.skip("tshark isn't installed")
    result = tmp_path / "after.pcap"
    for host in _senders(capture):
        argv = ["rewrite", str(capture), str(result), "--inside", f"{host}/32", "--public", "198.51.100.7"]
        assert cli.main(argv) == 0
        capsys.readouterr()
        code = compared((capture, result), "--show", "none")
        out, err = capsys.readouterr()
        assert (code, err) == (0, "") or (code == 2 and "has no SIP message" in err), out


def test_the_command_reads_a_capture_that_libpcap_reads(tmp_path: Path) -> None:
    before, after = write(tmp_path, conversation())
    assert len(libpcap.read(before)[1]) == 20
    argv = [sys.executable, "-m", "sipalg", "compare", str(before), str(after), "--show", "none"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
