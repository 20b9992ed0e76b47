from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg import cli
from sipalg.analysis.ends import UnknownEndError, find_ends
from sipalg.analysis.explain import as_json, as_text, explain
from sipalg.capture.arguments import PRIVATE_NETWORKS
from sipalg.capture.router import LOCAL
from sipalg.engine.verdict import Endpoint

#: run(message, *options) → (exit code, stdout, stderr).
Run = Callable[..., tuple[int, bytes, bytes]]

PHONE, PUBLIC = "192.168.20.100:5060", "75.142.151.49:1024"


def register(contact: str) -> bytes:
    """The lecture's REGISTER, as it leaves the phone or the router."""
    return (
        "REGISTER sip:207.252.1.148 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {contact};branch=z9hG4bK-8fb0e171\r\n"
        'From: "David Attias" <sip:525@207.252.1.148>;tag=191914b06beeo0\r\n'
        'To: "David Attias" <sip:525@207.252.1.148>\r\n'
        "Call-ID: 6894e30c-b1c8d357@192.168.20.100\r\n"
        "CSeq: 1373 REGISTER\r\n"
        "Max-Forwards: 70\r\n"
        f'Contact: "David Attias" <sip:525@{contact}>;expires=3600\r\n'
        "User-Agent: Cisco/SPA504G-7.6.2b\r\n"
        "Content-Length: 0\r\n"
        "Supported: replaces\r\n\r\n"
    ).encode()


def answer(contact: str) -> bytes:
    """The 200 to it, as the server sends it or the phone gets it."""
    return register(contact).replace(b"REGISTER sip:207.252.1.148 SIP/2.0", b"SIP/2.0 200 OK")


def invite(contact: str, *media_ports: int, eol: str = "\r\n") -> bytes:
    """The lecture's INVITE; a media line for each port."""
    host = contact.split(":")[0]
    media = [f"m=audio {port} RTP/AVP 0 2 8 9 18 96 97 98 101" for port in media_ports]
    body = eol.join(
        ("v=0", f"o=- 176664 176664 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", *media, "a=sendrecv", "")
    )
    head = (
        "INVITE sip:*98@207.252.1.148 SIP/2.0",
        f"Via: SIP/2.0/UDP {contact};branch=z9hG4bK-7badf56d",
        'From: "David Attias" <sip:525@207.252.1.148>;tag=f95367fa52060ce5o0',
        'To: "Voice Mail" <sip:*98@207.252.1.148>',
        "Call-ID: 9c8a315e-419d32d1@192.168.20.100",
        "CSeq: 101 INVITE",
        f'Contact: "David Attias" <sip:525@{contact}>',
        f"Content-Length: {len(body)}",
        "Content-Type: application/sdp",
    )
    return eol.join((*head, "", body)).encode()


@pytest.fixture
def run(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """run(message, *options) → (exit code, stdout, stderr), with the lecture's inside network."""

    def call(message: bytes, *options: str, inside: str = "192.168.20.0/24") -> tuple[int, bytes, bytes]:
        path = tmp_path / "message.sip"
        path.write_bytes(message)
        code = cli.main(["explain", str(path), *(["--inside", inside] if inside else []), *options])
        return code, *capfdbinary.readouterr()

    return call


def test_register_of_the_lecture(run: Run) -> None:
    assert run(register(PHONE), "--public", PUBLIC, "--raw") == (0, register(PUBLIC), b"")


def test_invite_of_the_lecture(run: Run) -> None:
    options = ("--public", PUBLIC, "--media-port", "19032", "--raw")
    assert run(invite(PHONE, 14254), *options) == (0, invite(PUBLIC, 19032), b"")


@pytest.mark.parametrize("name", ["register", "invite"])
def test_the_lectures_own_files(run: Run, name: str) -> None:
    deck = Path(__file__).parents[2] / "../shared/deck"
    if not deck.is_dir():
        pytest.skip("the lecture's messages aren't beside the checkout")
    before, after = ((deck / f"{name}-{side}.sip").read_bytes() for side in ("before", "after"))
    assert run(before, "--public", PUBLIC, "--media-port", "19032", "--raw") == (0, after, b"")


def test_line_ends_of_lf_only_stay(run: Run) -> None:
    code, output, _ = run(invite(PHONE, 14254, eol="\n"), "--public", PUBLIC, "--media-port", "19032", "--raw")
    assert (code, output) == (0, invite(PUBLIC, 19032, eol="\n"))


def test_without_ports_the_phones_own_are_kept(run: Run) -> None:
    assert run(invite(PHONE, 14254), "--public", "75.142.151.49", "--raw")[1] == invite("75.142.151.49:5060", 14254)


def test_further_media_get_the_ports_that_follow(run: Run) -> None:
    code, output, _ = run(invite(PHONE, 14254, 15000), "--public", PUBLIC, "--media-port", "19032", "--raw")
    assert (code, output) == (0, invite(PUBLIC, 19032, 19034))


def test_media_port_without_room_above_leaves_the_rest_to_the_engine(run: Run) -> None:
    code, output, _ = run(invite(PHONE, 14254, 15000), "--public", PUBLIC, "--media-port", "65534", "--raw")
    assert (code, output) == (0, invite(PUBLIC, 65534, 15000))


def test_text_shows_ends_mappings_peers_and_edits_with_their_rules(run: Run) -> None:
    code, output, _ = run(invite(PHONE, 14254), "--public", PUBLIC)
    lines = output.decode().splitlines()
    assert code == 0
    assert lines[0] == "outbound (inside → outside): 192.168.20.100:5060 → 207.252.1.148:5060, UDP"
    assert "assumed: source 192.168.20.100:5060: the topmost Via's sent-by" in lines
    assert "mapping given: 192.168.20.100:5060 ↔ 75.142.151.49:1024, sip" in lines
    assert "mapping: 192.168.20.100:14254 ↔ 75.142.151.49:14254, media" in lines
    assert "peer: 207.252.1.148 may signal to 75.142.151.49:1024" in lines
    via = "Via: SIP/2.0/UDP [-192.168.20.100:5060-]{+75.142.151.49:1024+};branch=z9hG4bK-7badf56d"
    assert any(line.startswith(via + "    # ") for line in lines)
    assert 'From: "David Attias" <sip:525@207.252.1.148>;tag=f95367fa52060ce5o0' in lines
    assert "\x1b" not in output.decode()


def test_colours_are_for_terminals_without_no_color(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert b"\x1b[32m75.142.151.49:1024\x1b[0m" in run(register(PHONE), "--public", PUBLIC)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert b"\x1b" not in run(register(PHONE), "--public", PUBLIC)[1]


def test_json_says_the_same(run: Run) -> None:
    code, output, _ = run(register(PHONE), "--public", PUBLIC, "--json")
    found = json.loads(output)
    assert code == 0
    assert (found["direction"], found["source"], found["action"]) == ("outbound", PHONE, "replace")
    assert found["mappings"] == [{"private": PHONE, "public": PUBLIC, "purpose": "sip"}]
    assert found["peers"] == [{"public": PUBLIC, "peer": "207.252.1.148"}]
    assert [(edit["before"], edit["after"]) for edit in found["edits"]] == [(PHONE, PUBLIC)] * 2
    assert found["message"].encode() == register(PUBLIC)


def test_contact_on_another_port_gets_a_mapping_and_a_flow(run: Run) -> None:
    message = register(PHONE).replace(b"525@192.168.20.100:5060", b"525@192.168.20.100:5070")
    _, output, _ = run(message, "--public", PUBLIC)
    assert "mapping: 192.168.20.100:5070 ↔ 75.142.151.49:5070, sip" in output.decode().splitlines()
    flow = "flow: 192.168.20.100:5070 ↔ 207.252.1.148:5060, seen from there as 75.142.151.49:5070"
    assert flow in output.decode().splitlines()
    (found,) = json.loads(run(message, "--public", PUBLIC, "--json")[1])["flows"]
    assert found == {
        "private": "192.168.20.100:5070",
        "public": "75.142.151.49:5070",
        "remote": "207.252.1.148:5060",
    }


def test_what_passes_has_its_reason(run: Run) -> None:
    message = register(PHONE).replace(b"Content-Length: 0", b"Content-Length: 9")
    code, output, _ = run(message, "--public", PUBLIC)
    assert code == 0
    assert "passes as it came: content-length-beyond-datagram" in output.decode()
    assert run(message, "--public", PUBLIC, "--raw")[1] == message
    assert json.loads(run(message, "--public", PUBLIC, "--json")[1])["reason"] == "content-length-beyond-datagram"


def test_what_is_no_message_has_no_ends_and_a_few_lines(run: Run) -> None:
    code, output, _ = run(b"hello\r\n" + b"w" * 200 + b"\nthird\nfourth\n", "--public", PUBLIC)
    assert code == 0
    assert output.decode().splitlines() == [
        "passes as it came: not-sip: it doesn't begin with a SIP start line",
        "",
        "hello",
        "w" * 99 + "…",
        "third",
        "… 221 bytes in all",
    ]
    assert run(b"\r\n", "--public", PUBLIC)[1].startswith(b"passes as it came: keep-alive: ")
    found = json.loads(run(b"hello", "--public", PUBLIC, "--json")[1])
    assert (found["direction"], found["source"], found["assumed"]) == (None, None, [])
    assert found["meaning"] == "it doesn't begin with a SIP start line"


def test_far_end_that_nothing_names_isnt_invented(run: Run) -> None:
    message = register(PHONE).replace(b"sip:207.252.1.148 SIP", b"sip:example.com SIP")
    lines = run(message, "--public", PUBLIC)[1].decode().splitlines()
    assert lines[0] == "outbound (inside → outside): 192.168.20.100:5060 → not known, UDP"
    assert [line for line in lines if "203.0.113.50" in line or line.startswith("peer: ")] == []
    found = json.loads(run(message, "--public", PUBLIC, "--json")[1])
    assert (found["source"], found["destination"], found["peers"]) == (PHONE, None, [])
    output = run(answer(PUBLIC), "--public", PUBLIC, "--destination", PHONE)[1].decode()
    assert output.startswith("inbound (outside → inside): not known → 192.168.20.100:5060, UDP")


def test_public_port_of_what_comes_in_is_what_it_came_to(run: Run) -> None:
    code, output, _ = run(answer(PUBLIC), "--public", "75.142.151.49", "--destination", PHONE)
    assert code == 0
    assert "assumed: public 75.142.151.49:1024: the topmost Via names it" in output.decode().splitlines()
    assert run(answer(PUBLIC), "--public", "75.142.151.49", "--destination", PHONE, "--raw")[1] == answer(PHONE)
    request = invite("207.252.1.148:5060", 20000).replace(b"*98@207.252.1.148 SIP", b"525@phone.lan SIP")
    code, _, error = run(request, "--public", "75.142.151.49", "--destination", PHONE)
    assert code == 2
    assert b"give --public ADDRESS:PORT" in error


def test_edit_that_changes_nothing_isnt_shown(run: Run) -> None:
    public = "75.142.151.49:5060"
    message = answer(public).replace(b";branch", b";received=75.142.151.49;rport=5060;branch")
    code, output, _ = run(message, "--public", public, "--destination", PHONE)
    assert code == 0
    assert b"rport=5060" in output
    assert b"edits: 3," in output
    same = register(PHONE)
    output = run(same, "--public", PHONE, "--inside", "192.168.20.100/32")[1]
    assert b"passes as it came: nothing-to-edit" in output
    assert b"{+" not in output


def test_what_was_left_alone_says_why(run: Run) -> None:
    message = register(PHONE).replace(b"525@192.168.20.100:5060", b"525@192.168.20.9:5060")
    output = run(message, "--public", PUBLIC)[1].decode()
    assert ">;expires=3600    # left: another host's address\n" in output
    broken = message.replace(b"Content-Length: 0", b"Content-Length: 9")
    assert "# left" not in run(broken, "--public", PUBLIC)[1].decode()


def test_diff_is_as_the_readme_shows_it(run: Run) -> None:
    code, output, error = run(invite(PHONE, 14254), "--public", PUBLIC, "--media-port", "19032", "--diff")
    lines = output.decode().splitlines()
    assert (code, error) == (0, b"")
    assert "- Via: SIP/2.0/UDP 192.168.20.100:5060;branch=z9hG4bK-7badf56d" in lines
    assert "+ m=audio 19032 RTP/AVP 0 2 8 9 18 96 97 98 101" in lines
    after = [line[2:] for line in lines if not line.startswith("- ")]
    assert after == invite(PUBLIC, 19032).decode().splitlines()
    code, output, error = run(b"hello", "--public", PUBLIC, "--diff")
    assert (code, output) == (0, b"  hello\n")
    assert error.startswith(b"sipalg explain: passes as it came: not-sip: ")


def test_response_gets_the_phones_address_back(run: Run) -> None:
    code, output, _ = run(answer(PUBLIC), "--public", PUBLIC, "--destination", PHONE, "--raw")
    assert (code, output) == (0, answer(PHONE))


def test_request_for_the_phone_gets_its_address_back(run: Run) -> None:
    request = invite("207.252.1.148:5060", 20000).replace(b"*98@207.252.1.148 SIP", f"525@{PUBLIC} SIP".encode())
    code, output, _ = run(request, "--public", PUBLIC, "--destination", PHONE)
    assert code == 0
    assert output.startswith("inbound (outside → inside): 207.252.1.148:5060 → 192.168.20.100:5060, UDP".encode())
    assert f"INVITE sip:525@[-{PUBLIC}-]{{+{PHONE}+}} SIP/2.0".encode() in output


def test_source_and_destination_can_be_given(run: Run) -> None:
    _, output, _ = run(
        register(PHONE), "--public", PUBLIC, "--source", "192.168.20.9:5070", "--destination", "198.51.100.1:5080"
    )
    assert "192.168.20.9:5070 → 198.51.100.1:5080" in output.decode()


def test_message_between_insiders_isnt_translated(run: Run) -> None:
    _, output, _ = run(register(PHONE), "--public", PUBLIC, "--destination", "192.168.20.7:5060")
    assert f"passes as it came: {LOCAL}" in output.decode()


def test_inside_is_the_private_networks_where_it_isnt_given_and_that_is_said(run: Run) -> None:
    note = "inside 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16: as --inside isn't given"
    assert f"assumed: {note}\n" in run(register(PHONE), "--public", PUBLIC, inside="")[1].decode()
    code, output, error = run(register(PHONE), "--public", PUBLIC, "--raw", inside="")
    assert (code, output) == (0, register(PUBLIC))
    assert error.decode() == f"sipalg explain: assumed {note}\n"


def test_message_can_come_from_stdin(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(register(PHONE))))
    assert cli.main(["explain", "-", "--public", PUBLIC, "--raw"]) == 0
    assert capfdbinary.readouterr().out == register(PUBLIC)


def test_what_cant_be_explained_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "long.sip").write_bytes(bytes(65508))
    (tmp_path / "lan.pcap").write_bytes(bytes.fromhex("d4c3b2a1") + bytes(20))
    (tmp_path / "large.pcap").write_bytes(bytes.fromhex("d4c3b2a1") + bytes(70000))
    (tmp_path / "lan.pcap.gz").write_bytes(gzip.compress(b"x"))
    (tmp_path / "empty.sip").touch()
    (tmp_path / "answer.sip").write_bytes(answer(PUBLIC))
    for name, complaint in (
        ("none.sip", "No such file or directory; give a file"),
        (".", "Is a directory; give a file"),
        ("long.sip", "give one message of at most 65507 bytes"),
        ("lan.pcap", "is a capture; use sipalg rewrite"),
        ("large.pcap", "is a capture; use sipalg rewrite"),
        ("lan.pcap.gz", "is compressed; give one SIP message as it is on the wire"),
        ("empty.sip", "is empty; give a file with one SIP message"),
        ("answer.sip", "say with --destination IP:PORT which phone it is for"),
    ):
        assert cli.main(["explain", str(tmp_path / name), "--public", PUBLIC]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith(f"sipalg explain: {tmp_path / name}: ")
        assert complaint in output.err
        assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    "options", [(), ("--public", "75.142.151.49:"), ("--public", PUBLIC, "--raw", "--json"), ("--public", "router")]
)
def test_wrong_options_are_one_line(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["explain", "file.sip", *options])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("sipalg explain: ")
    assert error.count("\n") == 1


@given(st.binary(max_size=300), st.sampled_from([b"", register(PHONE), invite(PHONE, 14254)]), st.integers(0, 600))
def test_any_bytes_are_explained(noise: bytes, start: bytes, at: int) -> None:
    message = start[:at] + noise + start[at:]
    public = Endpoint("75.142.151.49", 1024)
    try:
        ends = find_ends(message, PRIVATE_NETWORKS, public.host, None, None)
    except UnknownEndError:
        return
    explanation = explain(message, ends, PRIVATE_NETWORKS, public, 19032)
    rebuilt, position = b"", 0
    for edit in explanation.verdict.edits:
        rebuilt += message[position : edit.offset] + edit.replacement
        position = edit.offset + edit.length
    assert rebuilt + message[position:] == explanation.verdict.payload
    assert json.dumps(as_json(explanation))
    assert not any(char in line for line in as_text(explanation, coloured=False) for char in "\x1b\r\n")


def handing_over(tag: str = ";tag=far") -> bytes:
    """The lecture's INVITE as a re-INVITE that names another inside device for media."""
    to = b"<sip:*98@207.252.1.148>"
    message = invite(PHONE, 16386).replace(to, to + tag.encode())
    return message.replace(b"IN IP4 192.168.20.100", b"IN IP4 192.168.20.101")


def test_media_handed_over_to_another_device_are_shown_as_the_call_would_have_them(run: Run) -> None:
    code, out, _ = run(handing_over(), "--public", PUBLIC, "--media-port", "20000")
    assert code == 0
    lines = out.decode().splitlines()
    assert "assumed: the call that it changes stands: it had its 2xx and ACK" in lines
    assert "mapping given: 192.168.20.101:16386 ↔ 75.142.151.49:20000, direct" in lines
    assert b"192.168.20.101" not in run(handing_over(), "--public", PUBLIC, "--raw")[1]


def test_a_first_invite_that_names_another_device_passes(run: Run) -> None:
    code, out, _ = run(handing_over(""), "--public", PUBLIC)
    assert code == 0
    assert b"passes as it came: sdp-of-another-host: its SDP names another inside host's address" in out
    response = handing_over().replace(b"INVITE sip:*98@207.252.1.148 SIP/2.0", b"SIP/2.0 200 OK")
    _, out, _ = run(response, "--public", PUBLIC, "--source", PHONE, "--destination", "9.9.9.9:5060")
    assert b"passes as it came: sdp-of-another-host" in out


def test_what_is_refused_is_shown_with_its_answer(run: Run) -> None:
    options = ("--public", PUBLIC, "--sip-direct-media", "no")
    code, out, _ = run(handing_over(), *options)
    assert code == 0
    fate = "doesn't leave; 192.168.20.100:5060 gets 488 Not Acceptable Here from 207.252.1.148:5060"
    assert f"{fate}: direct-media-refused: it offers another inside host's address" in out.decode()
    shown = json.loads(run(handing_over(), *options, "--json")[1])
    assert (shown["action"], shown["reason"], shown["message"]) == ("drop", "direct-media-refused", None)
    assert shown["reply"].startswith("SIP/2.0 488 Not Acceptable Here\r\nVia: SIP/2.0/UDP 192.168.20.100:5060")
    code, out, error = run(handing_over(), *options, "--raw")
    assert (code, out) == (0, b"")
    assert error.decode().startswith(f"sipalg explain: nothing is sent on: {fate}")
    assert error.count(b"\n") == 1
    assert fate.encode() in run(handing_over(), *options, "--diff")[2]


def test_from_where_media_may_come_without_direct_media(run: Run) -> None:
    _, out, _ = run(invite(PHONE, 16386), "--public", PUBLIC, "--sip-direct-media", "no")
    assert b"peer: 207.252.1.148 may signal to 75.142.151.49:1024" in out
    assert b"peer: 207.252.1.148 may send media to 75.142.151.49:16386" in out
    assert run(invite(PHONE, 16386), "--public", PUBLIC)[1].count(b"peer: ") == 1
