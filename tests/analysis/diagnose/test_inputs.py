from __future__ import annotations

import os
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story

from sipalg.analysis.diagnose.command import Diagnosis, diagnose
from sipalg.analysis.diagnose.findings import Wanted
from sipalg.analysis.diagnose.inputs import Input
from sipalg.analysis.diagnose.networks import Networks

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"
HEADER_BYTES = 24
WANTED = Wanted((5060, 5061), 3600.0, Networks())


def told() -> Story:
    """A call with one-way audio, 155 packets."""
    story = Story()
    story.register()
    story.call(MEDIA, FAR_MEDIA)
    story.rtp(MEDIA, FAR_MEDIA, 148)
    story.hang_up()
    return story


def records(path: Path) -> list[bytes]:
    data, at, found = path.read_bytes(), HEADER_BYTES, []
    while at < len(data):
        size_bytes = 16 + int(struct.unpack_from("<I", data, at + 8)[0])
        found.append(data[at : at + size_bytes])
        at += size_bytes
    return found


def written(path: Path, whole: Path, some: list[bytes]) -> Path:
    path.write_bytes(whole.read_bytes()[:HEADER_BYTES] + b"".join(some))
    return path


def what(diagnosis: Diagnosis) -> tuple[object, ...]:
    return diagnosis[1:]


@pytest.mark.parametrize("cut", [0, 1, 4, 80, 154, 155])
def test_files_of_a_ring_say_what_the_whole_says(cut: int, tmp_path: Path) -> None:
    whole = told().write(tmp_path / "whole.pcap")
    all_ = records(whole)
    first = written(tmp_path / "first.pcap", whole, all_[:cut])
    second = written(tmp_path / "second.pcap", whole, all_[cut:])
    # The order in which they are given doesn't matter.
    found = diagnose([second, first], WANTED)
    assert what(found) == what(diagnose([whole], WANTED))
    assert found.facts.media_packets == 148
    assert {(one.path, one.packets) for one in found.inputs} == {(str(first), cut), (str(second), 155 - cut)}
    if 0 < cut < 155:
        assert found.inputs == (Input(str(second), 155 - cut, cut + 1), Input(str(first), cut, 1))


def test_files_whose_times_overlap_are_merged_packet_by_packet(tmp_path: Path) -> None:
    whole = told().write(tmp_path / "whole.pcap")
    all_ = records(whole)
    paths = [written(tmp_path / f"{n}.pcap", whole, all_[n::3]) for n in range(3)]
    found = diagnose(paths, WANTED)
    assert what(found) == what(diagnose([whole], WANTED))
    assert found.inputs == tuple(Input(str(path), len(all_[n::3])) for n, path in enumerate(paths))


@pytest.mark.skipif(shutil.which("mergecap") is None, reason="mergecap isn't installed")
def test_numbers_are_mergecaps(tmp_path: Path) -> None:
    inside, outside = Story(), Story()
    for number in range(20):
        outside.now += 0.003
        inside.request("OPTIONS", PHONE, SERVER, call_id=f"c{number}")
        outside.request("OPTIONS", PUBLIC, SERVER, call_id=f"c{number}", contact="75.142.151.49:9")
    paths = [inside.write(tmp_path / "inside.pcap"), outside.write(tmp_path / "outside.pcap")]
    merged = tmp_path / "merged.pcapng"
    subprocess.run(["mergecap", "-w", merged, *paths], check=True, capture_output=True)
    assert what(diagnose(paths, WANTED)) == what(diagnose([merged], WANTED))


def test_both_sides_in_two_files_are_one_phone(tmp_path: Path) -> None:
    inside, outside = Story(), Story()
    inside.request("REGISTER", PHONE, SERVER)
    outside.wait(0.001)
    outside.request("REGISTER", PUBLIC, SERVER)
    found = diagnose([outside.write(tmp_path / "out.pcap"), inside.write(tmp_path / "in.pcap")], WANTED)
    assert [(phone.phone, phone.seen_as) for phone in found.phones] == [("192.168.20.100", (PUBLIC,))]


def test_what_cant_be_read_is_noted_and_the_others_are_read(tmp_path: Path) -> None:
    whole = told().write(tmp_path / "whole.pcap")
    strange = tmp_path / "strange.pcap"
    strange.write_bytes(whole.read_bytes()[:20] + struct.pack("<I", 147) + whole.read_bytes()[HEADER_BYTES:])
    text, cut = tmp_path / "notes.txt", tmp_path / "cut.pcap"
    text.write_text("not a capture")
    cut.write_bytes(whole.read_bytes()[:-1])
    for files in ([text, strange, cut, tmp_path / "none.pcap"], [tmp_path / "none.pcap", cut, strange, text]):
        found = diagnose(files, WANTED)
        said = {Path(one.path).name: (one.packets, bool(one.damage), one.error) for one in found.inputs}
        assert said["notes.txt"] == (0, False, f"{text}: is no capture; give a pcap or pcapng file")
        assert said["strange.pcap"][2].startswith(f"{strange}: link type 147 isn't one that is read here")
        assert said["none.pcap"][2].endswith("No such file or directory; give a pcap or pcapng file")
        assert said["cut.pcap"] == (154, True, "")
        assert (found.exit_code, found.facts.media_packets) == (2, 148)


def test_several_may_come_through_pipes(tmp_path: Path) -> None:
    whole = told().write(tmp_path / "whole.pcap")
    all_ = records(whole)
    pipe, file = tmp_path / "pipe", written(tmp_path / "second.pcap", whole, all_[60:])
    os.mkfifo(pipe)
    content = written(tmp_path / "first.pcap", whole, all_[:60]).read_bytes()
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    found = diagnose([pipe, file], WANTED)
    writer.join()
    assert what(found) == what(diagnose([whole], WANTED))
