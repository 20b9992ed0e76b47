"""Whatever stands in a capture: `diagnose` reads what can be read, and never fails."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.analysis.diagnose.story import PHONE, SERVER, Story, sdp

from sipalg import cli

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"


def content(path: Path) -> bytes:
    story = Story()
    story.register()
    story.call(MEDIA, FAR_MEDIA)
    story.talk(MEDIA, FAR_MEDIA, 3)
    story.rtcp("192.168.20.100:4001", "207.252.1.148:9001")
    story.hang_up()
    story.request("INVITE", PHONE, SERVER, call_id="big", body=sdp(MEDIA, "a=candidate:1 typ relay"))
    return story.write(path).read_bytes()


def diagnosed(path: Path, data: bytes, capsys: pytest.CaptureFixture[str]) -> int:
    path.write_bytes(data)
    code = cli.main(["diagnose", str(path)])
    assert capsys.readouterr().err.count("\n") <= 1
    return code


def test_capture_cut_at_any_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = content(tmp_path / "whole.pcap")
    codes = {diagnosed(tmp_path / "cut.pcap", whole[:end], capsys) for end in range(0, len(whole), 13)}
    assert codes <= {0, 1, 2}


@pytest.mark.parametrize("seed", range(40))
def test_capture_with_bytes_changed_anywhere(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(seed)
    data = bytearray(content(tmp_path / "whole.pcap"))
    for _ in range(30):
        data[chance.randrange(len(data))] = chance.randrange(256)
    assert diagnosed(tmp_path / "changed.pcap", bytes(data), capsys) in (0, 1, 2)


@pytest.mark.parametrize("seed", range(40))
def test_messages_whose_lines_are_shuffled(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(seed)
    story = Story()
    lines = content(tmp_path / "whole.pcap").split(b"\r\n")
    for _ in range(40):
        text = b"\r\n".join(chance.choices(lines, k=chance.randrange(3, 14)))
        starts = (b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"REGISTER sip:b SIP/2.0\r\n", b"")
        first = chance.choice(starts)
        ends = (PHONE, SERVER) if chance.random() < 0.5 else (SERVER, PHONE)
        story.udp(*ends, first + text + chance.choice((b"", b"\r\n\r\n", b"\r\n\r\nv=0\r\n")))
    assert diagnosed(tmp_path / "shuffled.pcap", story.write(tmp_path / "a.pcap").read_bytes(), capsys) in (0, 1, 2)
