from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest
from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story

from sipalg import cli


def well(path: Path) -> Path:
    story = Story()
    story.register(names=PUBLIC)
    return story.write(path)


def ill(path: Path) -> Path:
    story = Story()
    story.call("192.168.20.100:4000", "207.252.1.148:9000")
    story.rtp("192.168.20.100:4000", "207.252.1.148:9000", 150)
    story.hang_up()
    return story.write(path)


def test_capture_in_which_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = well(tmp_path / "well.pcap")
    assert cli.main(["diagnose", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 2 packets, 2 SIP messages, 0 calls, 0 RTP streams",
        "verdict: ALG not needed",
        "phone 192.168.20.100: NAT aware",
        "  names public addresses in Contact (packet 1)",
        "  ALG not needed: a good one leaves its messages alone, a poor one would harm",
        "server 207.252.1.148:5060: where it sends by itself can't be told from this capture",
        "note: phone 192.168.20.100:5060 with 207.252.1.148:5060: registers for 100 s, no keep-alive seen; a NAT "
        "alone keeps UDP for 30, 120 or 180 s, and this is longer than 30 s (packet 2)",
        "  needs an ALG's sip-timeout (1 h is enough), or keep-alives below 30 s",
        "nothing is wrong in this capture",
    ]


def test_phones_that_matter_most_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    for number in range(12):
        story.register(f"192.168.20.{number + 1}:5060", names=PUBLIC)
    story.register()
    story.request("REGISTER", "75.142.151.49:1025", SERVER, via="75.142.151.49:1025", contact="192.168.20.9:5060")
    cli.main(["diagnose", str(story.write(tmp_path / "many.pcap"))])
    phones = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("phone ")]
    assert phones[:3] == ["phone 75.142.151.49", "phone 192.168.20.100", "phone 192.168.20.1"]


def test_nothing_of_a_strangers_moves_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    story.call("192.168.20.100:4000", "207.252.1.148:9000", call_id="one\x1b[2J")
    story.rtp("192.168.20.100:4000", "207.252.1.148:9000", 150)
    story.hang_up(call_id="one\x1b[2J")
    cli.main(["diagnose", str(story.write(tmp_path / "a.pcap"))])
    out = capsys.readouterr().out
    assert "call one\ufffd[2J: " in out
    assert "\x1b" not in out


def test_warnings_make_1_and_broken_calls_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    story.register()
    assert cli.main(["diagnose", str(story.write(tmp_path / "warning.pcap"))]) == 1
    assert "verdict: ALG needed" in capsys.readouterr().out
    assert cli.main(["diagnose", str(ill(tmp_path / "ill.pcap"))]) == 2
    assert "broken: call call: one-way audio" in capsys.readouterr().out


def test_json_has_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diagnose", "--json", str(ill(tmp_path / "ill.pcap"))]) == 2
    file = json.loads(capsys.readouterr().out)
    assert (file["exit_code"], file["alg"], file["packets"], file["rtp_packets"]) == (2, "needed", 155, 150)
    path = str(tmp_path / "ill.pcap")
    assert file["files"] == [{"file": path, "packets": 155, "first_packet": 1, "damage": "", "error": ""}]
    assert file["phones"][0]["aware"] == "not NAT aware"
    assert file["phones"][0]["why"][0]["packets"] == [1, 3, 154]
    (server,) = file["servers"]
    assert server == {
        "server": SERVER, "answers": "can't be told", "requests": 2, "retransmissions": 0, "unanswered": 0,
    }  # fmt: skip
    assert [finding["check"] for finding in file["findings"]] == ["one-way-audio"]
    assert [reason["check"] for reason in file["reasons"]] == ["alg-needed", "one-way-audio"]


def test_settings_are_what_the_capture_is_measured_against(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    story.register("10.9.0.20:5060", "10.1.0.5:5080", expires_s=300)
    path = str(story.write(tmp_path / "story.pcap"))
    options = ["--inside", "10.9.0.0/24", "--ports", "5080", "--sip-timeout", "00:02:00"]
    assert cli.main(["diagnose", path, *options]) == 1
    output = capsys.readouterr().out
    assert "phone 10.9.0.20: not NAT aware" in output
    assert "sip-timeout is 2 min" in output
    assert "speaks SIP on port" not in output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--sip-timeout", "soon"], "'soon' is no time; examples: 01:00:00, 1h, 90m, 1d2h, 3600"),
        (["--inside", "lan0"], "'lan0' is no IPv4 network; an example: 192.168.20.0/24"),
        ([], "the following arguments are required: FILE"),
    ],
)
def test_wrong_arguments(options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["diagnose", *options])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_what_is_no_capture_is_one_line_and_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a capture, but a text of some length")
    good = str(well(tmp_path / "well.pcap"))
    error = f"{path}: is no capture; give a pcap or pcapng file"
    assert cli.main(["diagnose", str(path), good]) == 2
    output = capsys.readouterr()
    assert output.err == f"sipalg diagnose: {error}\n"
    assert "verdict: ALG not needed" in output.out
    assert cli.main(["diagnose", "--json", str(path), good]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["exit_code"], found["alg"]) == (2, "not needed")
    assert [(one["file"], one["packets"], one["error"]) for one in found["files"]] == [
        (str(path), 0, error), (good, 2, ""),
    ]  # fmt: skip
    assert cli.main(["diagnose", "--json", str(path)]) == 2
    assert json.loads(capsys.readouterr().out)["files"][0]["error"] == error


def test_several_files_are_one_capture_in_the_order_of_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, later = well(tmp_path / "b.pcap"), Story()
    later.wait(60)
    later.register(names=PUBLIC, cseq=2)
    second = later.write(tmp_path / "a.pcap")
    assert cli.main(["diagnose", str(second), str(first)]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        f"{first}: 2 packets, 1 to 2",
        f"{second}: 2 packets, 3 to 4",
        "2 files as one, packets numbered as mergecap does: 4 packets, 4 SIP messages, 0 calls, 0 RTP streams",
        "verdict: ALG not needed",
    ]


def test_cut_capture_says_so_and_what_could_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ill(tmp_path / "ill.pcap")
    path.write_bytes(path.read_bytes()[:-10])
    assert cli.main(["diagnose", str(path)]) == 2
    output = capsys.readouterr()
    assert output.err == f"sipalg diagnose: {path}, packet 155: is cut off: the file ends in its middle\n"
    assert "154 packets" in output.out


def test_a_cut_capture_isnt_taken_for_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = well(tmp_path / "well.pcap")
    assert cli.main(["diagnose", str(path)]) == 0
    path.write_bytes(path.read_bytes()[:-10])
    assert cli.main(["diagnose", str(path)]) == 1
    assert "is cut off" in capsys.readouterr().err


def test_link_type_that_nobody_reads_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ill(tmp_path / "ill.pcap")
    content = bytearray(path.read_bytes())
    content[20] = 147
    path.write_bytes(content)
    assert cli.main(["diagnose", str(path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"sipalg diagnose: {path}: link type 147 isn't one that is read here")


def test_compressed_capture_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ill(tmp_path / "ill.pcap")
    assert cli.main(["diagnose", "--json", str(path)]) == 2
    plain = json.loads(capsys.readouterr().out)
    packed = tmp_path / "ill.pcap.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert cli.main(["diagnose", "--json", str(packed)]) == 2
    files = [{**plain["files"][0], "file": str(packed)}]
    assert json.loads(capsys.readouterr().out) == {**plain, "files": files}


def test_capture_without_sip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    story.udp(PHONE, "198.51.100.53:53", b"a question")
    assert cli.main(["diagnose", str(story.write(tmp_path / "dns.pcap"))]) == 2
    advice = "check the interface and the filter that it was captured with"
    assert capsys.readouterr().out.splitlines()[1:] == [f"no SIP is in this capture: {advice}"]


def test_capture_whose_inside_cant_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    story.request("OPTIONS", "203.0.113.7:5060", SERVER)
    story.response(200, "OPTIONS", SERVER, "203.0.113.7:5060")
    assert cli.main(["diagnose", str(story.write(tmp_path / "both.pcap"))]) == 0
    assert "say with --inside which networks" in capsys.readouterr().out


def test_many_findings_of_one_kind_are_cut_short_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    for number in range(12):
        story.register(f"192.168.20.{number + 1}:5060", expires_s=7200)
    assert cli.main(["diagnose", str(story.write(tmp_path / "many.pcap"))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "2 more phones; --json has them" in lines
    assert "warning: 2 more like that; --json has them" in lines


def test_what_makes_the_exit_code_is_shown_where_only_a_phone_is_in_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    story.register()
    path = str(story.write(tmp_path / "warning.pcap"))
    assert cli.main(["diagnose", path]) == 1
    assert "\n  warning: ALG needed: without one, whoever answers" in capsys.readouterr().out
    assert cli.main(["diagnose", "--json", path]) == 1
    (reason,) = json.loads(capsys.readouterr().out)["reasons"]
    assert (reason["severity"], reason["check"]) == ("warning", "alg-needed")
    assert reason["text"].startswith("phone 192.168.20.100: ALG needed")


def test_alg_at_work_stands_in_the_first_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    story.register(received="192.168.20.100")
    path = str(story.write(tmp_path / "good.pcap"))
    assert cli.main(["diagnose", path]) == 0
    assert "\nverdict: ALG needed, and one is at work\n" in capsys.readouterr().out
    assert cli.main(["diagnose", "--json", path]) == 0
    file = json.loads(capsys.readouterr().out)
    assert (file["alg"], file["phones"][0]["at_work"]) == ("needed", True)
    story.register("192.168.20.101:5060")
    assert cli.main(["diagnose", str(story.write(tmp_path / "one-without.pcap"))]) == 1
    assert "\nverdict: ALG needed\n" in capsys.readouterr().out


def test_only_the_signalling_is_well_where_there_is_no_rtp(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    story.call("75.142.151.49:4000", "207.252.1.148:9000", names=PUBLIC)
    assert cli.main(["diagnose", str(story.write(tmp_path / "port-5060.pcap"))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing is wrong in this capture's signalling"


def test_lines_are_as_wide_as_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ill(tmp_path / "ill.pcap")
    cli.main(["diagnose", "ill.pcap"])
    piped = capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    cli.main(["diagnose", "ill.pcap"])
    shown = capsys.readouterr().out
    assert max(map(len, piped.splitlines())) > 80
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.split() == piped.split()
    assert any(line.startswith("    ") for line in shown.splitlines())
