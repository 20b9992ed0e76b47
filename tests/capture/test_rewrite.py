from __future__ import annotations

import gzip
import json
import lzma
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from sipalg import cli
from sipalg.capture import progress
from sipalg.capture.link import find_packet
from sipalg.capture.pcap import CaptureWriter
from sipalg.capture.reading import Frame, open_capture
from sipalg.codec.datagram import addresses, checksums_right, parse_udp

P, N, S = "192.168.20.100", "75.142.151.49", "207.252.1.148"
HEADER = bytes(12) + b"\x08\x00"
TIME_NS = 1_700_000_000_000_001_000

Build = Callable[..., bytes]
Cut = Callable[[bytes, int], list[bytes]]


def register(host: str) -> bytes:
    return (
        "REGISTER sip:207.252.1.148 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host};branch=z9hG4bK-8fb0e171\r\n"
        "From: <sip:525@207.252.1.148>;tag=191914b06beeo0\r\n"
        "To: <sip:525@207.252.1.148>\r\n"
        "Call-ID: 6894e30c-b1c8d357@192.168.20.100\r\n"
        "CSeq: 1373 REGISTER\r\n"
        f"Contact: <sip:525@{host}>;expires=3600\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def registered(host: str) -> bytes:
    return register(host).replace(b"REGISTER sip:207.252.1.148 SIP/2.0", b"SIP/2.0 200 OK")


def invite(host: str, media: str, padding: int = 0) -> bytes:
    address, port = media.split(":")
    body = (
        f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    ).encode()
    return (
        "INVITE sip:*98@207.252.1.148 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host};branch=z9hG4bK-7badf56d\r\n"
        "From: <sip:525@207.252.1.148>;tag=f95367fa52060ce5o0\r\n"
        "To: <sip:*98@207.252.1.148>\r\n"
        "Call-ID: 9c8a315e-419d32d1@192.168.20.100\r\n"
        "CSeq: 101 INVITE\r\n"
        f"Contact: <sip:525@{host}>\r\n"
        f"Content-Type: application/sdp\r\nX: {'x' * padding}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@pytest.fixture
def conversation(udp: Build, tcp: Build, ping: Build, fragmented: Cut) -> list[bytes]:
    """What a capture on the inside interface shows of a registration and a call, and what else goes on there."""
    asked = invite(f"{P}:5060", f"{P}:14254", padding=2000)
    return [
        udp(f"{P}:5060", f"{S}:5060", register(f"{P}:5060")),
        udp(f"{S}:5060", f"{N}:5060", registered(f"{N}:5060")),
        udp(f"{P}:5060", f"{S}:5060", invite(f"{P}:5060", f"{P}:14254")),
        *fragmented(udp(f"{P}:5060", f"{S}:5060", asked), 1480),
        udp(f"{P}:14254", f"{S}:20000", b"\x80\0rtp"),
        udp(f"{S}:20000", f"{N}:14254", b"\x80\0rtp"),
        tcp(f"{P}:40000", f"{S}:443", b"hello"),
        ping(P, S, 5),
        udp(f"{P}:68", "192.168.20.1:67", b"dhcp"),
    ]


def write(path: Path, packets: list[bytes]) -> Path:
    with CaptureWriter(path, 1) as writer:
        for number, packet in enumerate(packets):
            writer.write(TIME_NS + number * 20_000_000, HEADER + packet, len(HEADER + packet))
        writer.commit()
    return path


def read(path: Path) -> list[Frame]:
    with open_capture(path) as source:
        return list(source)


def run(capture: Path, result: Path, *more: str) -> int:
    return cli.main(["rewrite", str(capture), str(result), "--inside", "192.168.20.0/24", "--public", N, *more])


def test_capture_of_the_inside_becomes_one_of_the_outside(
    tmp_path: Path, conversation: list[bytes], udp: Build, tcp: Build, ping: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = write(tmp_path / "in.pcap", conversation)
    assert run(capture, tmp_path / "out.pcap") == 0
    before, after = read(capture), read(tmp_path / "out.pcap")
    assert [packet.time_ns for packet in after] == [packet.time_ns for packet in before]
    assert all(checksums_right(packet.data[14:]) for packet in after)
    sent = [packet.data[14:] for packet in after]
    assert sent[0] == udp(f"{N}:5060", f"{S}:5060", register(f"{N}:5060"))
    assert sent[1] == udp(f"{S}:5060", f"{P}:5060", registered(f"{P}:5060"))
    assert sent[2] == udp(f"{N}:5060", f"{S}:5060", invite(f"{N}:5060", f"{N}:14254"))
    fragments = sent[3][28:] + sent[4][20:]
    assert fragments == invite(f"{N}:5060", f"{N}:14254", padding=2000)
    assert sent[5] == udp(f"{N}:14254", f"{S}:20000", b"\x80\0rtp")
    assert sent[6] == udp(f"{S}:20000", f"{P}:14254", b"\x80\0rtp")
    assert sent[7] == tcp(f"{N}:40000", f"{S}:443", b"hello")
    assert sent[8] == ping(N, S, 5)
    assert sent[9] == conversation[9]
    summary = capsys.readouterr().err
    assert f"{tmp_path}/out.pcap: 10 packets, 9 of them translated\n" in summary
    assert "SIP: 4 messages edited, 0 passed as they came\n" in summary
    assert "1 packets left as they were (inside-to-inside 1)\n" in summary
    assert "  inside-to-inside: both ends are inside: it never goes through the NAT\n" in summary
    assert f"mapping: {P}:14254 ↔ {N}:14254 udp, media\n" in summary


def test_summary_as_json(tmp_path: Path, conversation: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    capture = write(tmp_path / "in.pcap", [*conversation, conversation[0][:-9]])
    assert run(capture, tmp_path / "out.pcap", "--json") == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["packets"] == 11
    assert summary["sip"] == {"edited": 4, "passed": {"cut-by-the-capture": 1}}
    assert summary["cut"] == 1
    assert summary["untouched"] == {"inside-to-inside": 1}
    assert summary["damage"] == ""
    assert summary["mappings"][0] == {
        "protocol": "udp",
        "private": f"{P}:5060",
        "public": f"{N}:5060",
        "purpose": "sip",
    }


def test_inside_that_sent_nothing_is_said(
    tmp_path: Path, conversation: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    capture = write(tmp_path / "in.pcap", conversation)
    out = tmp_path / "out.pcap"
    assert cli.main(["rewrite", str(capture), str(out), "--inside", "10.0.0.0/8", "--public", N]) == 2
    complaint = capsys.readouterr().err
    assert "no packet comes from --inside 10.0.0.0/8; 192.168.20.100 sent the most" in complaint
    assert complaint.count("\n") == 1
    assert not out.exists()
    assert run(capture, out) == 0
    assert "no packet comes" not in capsys.readouterr().err


def test_excepted_network_isnt_translated(
    tmp_path: Path, conversation: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    capture = write(tmp_path / "in.pcap", conversation)
    assert run(capture, tmp_path / "out.pcap", "--except", "207.252.1.0/24", "--except", "198.51.100.7") == 0
    assert read(tmp_path / "out.pcap") == read(capture)
    assert "exempt 9" in capsys.readouterr().err


def test_ports_and_media_ports_are_the_engines(tmp_path: Path, udp: Build) -> None:
    packets = [
        udp("192.168.20.7:14254", f"{S}:9999", b"takes the port"),
        udp(f"{P}:5060", f"{S}:5099", invite(f"{P}:5060", f"{P}:14254")),
    ]
    capture = write(tmp_path / "in.pcap", packets)
    assert run(capture, tmp_path / "out.pcap", "--ports", "5099", "--media-ports", "30000-30001") == 0
    sent = read(tmp_path / "out.pcap")[1].data[14:]
    assert sent == udp(f"{N}:5060", f"{S}:5099", invite(f"{N}:5060", f"{N}:30000"))


def test_another_devices_media_are_translated_refused_or_left(tmp_path: Path, udp: Build) -> None:
    offer = invite(f"{P}:5060", "192.168.20.101:14254")
    change = offer.replace(b"To: <sip:*98@207.252.1.148>", b"To: <sip:*98@207.252.1.148>;tag=b")
    packets = [udp(f"{P}:5060", f"{S}:5060", message) for message in (offer, change)]
    capture = write(tmp_path / "in.pcap", packets)
    result = tmp_path / "out.pcap"

    def sent(*options: str) -> list[bytes]:
        assert run(capture, result, *options) == 0
        return [packet.data[14:] for packet in read(result)]

    assert sent("--inside-servers", f"{P}/32")[0] == udp(f"{N}:5060", f"{S}:5060", invite(f"{N}:5060", f"{N}:14254"))
    assert sent() == [udp(f"{N}:5060", f"{S}:5060", message) for message in (offer, change)]
    assert sent("--sip-direct-media", "no")[1] == packets[1], "refused, and so as it came"


def test_a_message_under_pppoe_is_translated_and_its_length_follows(tmp_path: Path, udp: Build) -> None:
    header = bytes(12) + bytes.fromhex("8864 1100 0001")
    packets = [udp(f"{host}:5060", f"{S}:5060", register(f"{host}:5060")) for host in (P, N)]
    frames = [header + (len(packet) + 2).to_bytes(2, "big") + b"\0\x21" + packet for packet in packets]
    capture = tmp_path / "in.pcap"
    with CaptureWriter(capture, 1) as writer:
        writer.write(TIME_NS, frames[0], len(frames[0]))
        writer.commit()
    assert run(capture, tmp_path / "out.pcap") == 0
    (sent,) = read(tmp_path / "out.pcap")
    assert (sent.data, sent.wire_bytes) == (frames[1], len(frames[1]))


def test_cut_capture_is_counted(tmp_path: Path, conversation: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    capture = write(tmp_path / "in.pcap", [conversation[0][:100]])
    assert run(capture, tmp_path / "out.pcap") == 1
    complaint = capsys.readouterr().err
    assert "1 packet is cut short (snaplen), so only headers were translated there; " in complaint


def test_damaged_capture_is_rewritten_up_to_there(
    tmp_path: Path, conversation: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    capture = write(tmp_path / "in.pcap", conversation)
    capture.write_bytes(capture.read_bytes()[:-1])
    assert run(capture, tmp_path / "out.pcap", "--json") == 1
    assert len(read(tmp_path / "out.pcap")) == 9
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"sipalg rewrite: {capture}, packet 10: is cut off: the file ends in its middle")
    assert complaint.endswith(f"; the 9 packets before it are in {tmp_path}/out.pcap\n")
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstandard.compress])
def test_compressed_captures_and_pipes(
    compress: Callable[[bytes], bytes], tmp_path: Path, conversation: list[bytes]
) -> None:
    capture = write(tmp_path / "in.pcap", conversation)
    packed = tmp_path / "packed"
    packed.write_bytes(compress(capture.read_bytes()))
    assert run(capture, tmp_path / "out.pcap") == run(packed, tmp_path / "same.pcap") == 0
    argv = [sys.executable, "-m", "sipalg", "rewrite", "-", str(tmp_path / "piped.pcap")]
    argv += ["--inside", "192.168.20.0/24", "--public", N]
    subprocess.run(argv, input=packed.read_bytes(), capture_output=True, check=True)
    expected = (tmp_path / "out.pcap").read_bytes()
    assert (tmp_path / "same.pcap").read_bytes() == (tmp_path / "piped.pcap").read_bytes() == expected


def test_interfaces_of_different_link_types_need_pcapng(
    tmp_path: Path, conversation: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    capture = tmp_path / "in.pcapng"
    with CaptureWriter(capture, 1) as writer:
        for number, packet in enumerate(conversation):
            name, link_type, frame = (("lan0", 1, HEADER + packet), ("tun0", 101, packet))[number % 2]
            writer.write(TIME_NS + number, frame, len(frame), interface=name, link_type=link_type)
        writer.commit()
    assert run(capture, tmp_path / "out.pcap") == 2
    complaint = capsys.readouterr().err
    assert "has packets of link types 1 and 101; write to a file that is called ….pcapng" in complaint
    assert not (tmp_path / "out.pcap").exists()
    assert run(capture, tmp_path / "out.pcapng") == 0
    before, after = read(capture), read(tmp_path / "out.pcapng")
    assert [(one.time_ns, one.link_type, one.interface) for one in after] == [
        (one.time_ns, one.link_type, one.interface) for one in before
    ]
    plain = write(tmp_path / "plain.pcap", conversation)
    assert run(plain, tmp_path / "out.pcap") == 0
    sent = [packet.data.removeprefix(HEADER) for packet in after]
    assert sent == [packet.data[14:] for packet in read(tmp_path / "out.pcap")]


def test_a_link_type_that_isnt_read_beside_one_that_is(
    tmp_path: Path, conversation: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    capture = tmp_path / "in.pcapng"
    with CaptureWriter(capture, 1) as writer:
        writer.write(TIME_NS, HEADER + conversation[0], 500, interface="lan0")
        writer.write(TIME_NS, b"something", 9, interface="usb0", link_type=147)
        writer.commit()
    assert run(capture, tmp_path / "out.pcapng") == 1
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.endswith("link type 147 isn't one that is read here: those packets are copied as they are")
    assert read(tmp_path / "out.pcapng")[1].data == b"something"


def test_what_cant_be_done_is_one_line_and_nothing_is_written(
    tmp_path: Path, conversation: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    capture = write(tmp_path / "in.pcap", conversation)
    content = capture.read_bytes()
    text = tmp_path / "notes.txt"
    text.write_text("these are no packets, but long enough")
    link = tmp_path / "link.pcap"
    link.symlink_to(capture)
    strange, empty, torn = (tmp_path / f"{name}.pcap" for name in ("strange", "empty", "torn"))
    strange.write_bytes(content[:20] + b"\x93\0\0\0" + content[24:])
    empty.write_bytes(content[:24])
    torn.write_bytes(content[:50])
    out = tmp_path / "out.pcap"
    for complaint, arguments in (
        ("is the capture itself; give another file", (capture, capture)),
        ("is the capture itself; give another file", (capture, link)),
        ("give a pcap or pcapng file", (text, out)),
        ("No such file or directory; give a pcap", (tmp_path / "none.pcap", out)),
        ("-: what is written appears when it is whole", (capture, Path("-"))),
        ("link type 147 isn't one that is read here; capture Ethernet", (strange, out)),
        ("has no packet; capture with", (empty, out)),
        ("packet 1: is cut off", (torn, out)),
        ("give a file in a folder that can be written to", (capture, tmp_path / "none" / "out.pcap")),
        ("is in the inside network 75.0.0.0/8", (capture, out, "--inside", "75.0.0.0/8")),
    ):
        assert run(*arguments[:2], *map(str, arguments[2:])) == 2
        output = capsys.readouterr()
        assert output.err.startswith("sipalg rewrite: ")
        assert complaint in output.err
        assert output.err.count("\n") == 1
        assert output.out == ""
    assert capture.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "empty.pcap", "in.pcap", "link.pcap", "notes.txt", "strange.pcap", "torn.pcap"
    ]


def test_full_disk_is_one_line(
    tmp_path: Path,
    conversation: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capture = write(tmp_path / "in.pcap", conversation)

    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CaptureWriter, "write", no_space)
    assert run(capture, tmp_path / "out.pcap") == 2
    complaint = f"sipalg rewrite: {tmp_path}/out.pcap: No space left on device; nothing was written\n"
    assert capsys.readouterr().err == complaint
    assert not (tmp_path / "out.pcap").exists()


def test_progress_is_shown_for_a_large_file_on_a_terminal_only(
    tmp_path: Path,
    conversation: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capture = write(tmp_path / "in.pcap", conversation)
    monkeypatch.setattr(progress, "BAR_FROM_BYTES", 1)
    assert run(capture, tmp_path / "silent.pcap", "--json") == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(capture, tmp_path / "shown.pcap", "--json") == 0
    assert "in.pcap" in capsys.readouterr().err
    assert read(tmp_path / "shown.pcap") == read(tmp_path / "silent.pcap")


def tshark_complaints(capture: Path) -> str:
    """What tshark finds wrong in a capture, a packet a line."""
    wrong = " or ".join(f"{name}.checksum.status == 0" for name in ("ip", "udp", "tcp", "icmp")) + " or _ws.malformed"
    options = [part for name in ("ip", "udp", "tcp") for part in ("-o", f"{name}.check_checksum:TRUE")]
    command = ["tshark", "-r", str(capture), "-Y", wrong, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark isn't installed")
def test_tshark_finds_nothing_wrong(tmp_path: Path, conversation: list[bytes]) -> None:
    packets = [packet[:10] + b"\0\0" + packet[12:] for packet in conversation[5:9]] + conversation[:5]
    capture = write(tmp_path / "in.pcap", packets)
    assert tshark_complaints(capture).count("\n") == 4, "the checksums that were cleared"
    assert run(capture, tmp_path / "out.pcap") == 0
    assert tshark_complaints(tmp_path / "out.pcap") == ""


def busiest_senders(packets: list[Frame]) -> list[str]:
    """The two hosts that most UDP packets of a capture come from."""
    counts: dict[str, int] = {}
    for packet in packets:
        span = find_packet(packet.link_type, packet.data)
        found = None if span is None else addresses(packet.data[span.start : span.end])
        if found is not None and found[0] in (6, 17):
            counts[found[1][0]] = counts.get(found[1][0], 0) + 1
    return sorted(counts, key=lambda host: -counts[host])[:2]


def test_public_captures_keep_their_packets_and_get_right_checksums(tmp_path: Path, shared_folder: Path) -> None:
    captures = sorted(shared_folder.glob("corpora/pcaps/**/*cap*"))
    translated = 0
    for capture in filter(Path.is_file, captures):
        before = read(capture)
        for host in busiest_senders(before):
            out = tmp_path / "out.pcap"
            code = cli.main(["rewrite", str(capture), str(out), "--inside", host, "--public", "192.0.2.201", "--json"])
            assert code == 0
            after = read(out)
            assert [packet.time_ns for packet in after] == [packet.time_ns for packet in before]
            for old, new in zip(before, after, strict=True):
                if new.data == old.data:
                    continue
                span = find_packet(new.link_type, new.data)
                assert span is not None
                translated += 1
                content = new.data[span.start : span.end]
                assert checksums_right(content) or not span.whole, f"{capture.name}, packet {new.number}"
                assert not isinstance(parse_udp(content), str) or content[9] != 17 or not span.whole
    assert translated > 1000
