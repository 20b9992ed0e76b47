"""SIPp's scripts as they are, what the scenarios put into them, and SIPp's start with a shell in its place."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import pytest

from sipalg.lab import scenarios, sipp
from sipalg.lab.programs import Program, wait_until
from sipalg.lab.registrar import KEY_PREFIX
from sipalg.lab.sipp import SCRIPTS, start_sipp, wait_for_port
from sipalg.lab.topology import ADDRESS, SERVER_ADDRESS, LabError, Topology

TEXTS = {entry.name.removesuffix(".xml"): entry.read_text() for entry in SCRIPTS.iterdir()}
#: The keywords in the scripts that SIPp fills in itself.
ITS_OWN = {"branch", "call_id", "call_number", "len", "local_port", "next_url", "pid", "remote_ip", "routes"}
FIELDS = {"field0", "field1"}
#: RFC 3261, section 8.1.1 and 8.2.6.
IN_REQUESTS = {"Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length"}
IN_RESPONSES = {"Via", "From", "To", "Call-ID", "CSeq", "Content-Length"}

TABLE = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  101: 3221CB71:{local:04X} 00000000:{remote:04X} 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
"""


class Started(NamedTuple):
    """A call of `stage.sipp` in a scenario: its script, its keys, and whether there is a file of fields."""

    script: str
    keys: set[str]
    has_fields: bool


class Here(Topology):
    """A topology without namespaces: each program is a shell that runs `script`, `table` its hosts' UDP ports."""

    def __init__(self, directory: Path, script: str = "exec sleep 60", table: str = "") -> None:
        super().__init__()
        self.directory = directory
        self.script = script
        self.table = table
        self.argv: list[str] = []
        self.protocol = "udp"

    def command(self, host: str, *argv: str | Path) -> list[str]:
        self.argv = [host, *map(str, argv)]
        return ["sh", "-c", self.script]

    def run(self, _host: str, *argv: str | Path, text: str | None = None, check: bool = True) -> str:
        assert (argv, text, check) == (("cat", f"/proc/net/{self.protocol}"), None, True)
        return self.table


def keywords(text: str) -> set[str]:
    """The script's keywords in brackets, but for those that copy a header."""
    body = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    body = re.sub(r"(?<=authentication )[^\n]*\]", lambda found: found[0][:-1], body)
    return set(re.findall(r"\[(\w+)\]", body))


def tree(text: str) -> Element:
    """Parse a script; an ExpatError says where it is no XML."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(text.encode("latin-1"), True)
    return builder.close()


def sent(script: str) -> list[str]:
    """The messages that a script sends, as lines without their indentation."""
    root = tree(TEXTS[script])
    return [re.sub(r"(?m)^ +", "", send.text or "").strip() for send in root.findall("send")]


def header_names(message: str) -> list[str]:
    """The names of a message's headers; `[last_Via:]` is a Via."""
    head = message.partition("\n\n")[0].splitlines()[1:]
    names = [re.match(r"(?:\[last_)?([\w-]+):", line) for line in head]
    return [name[1] for name in names if name]


def started_in_scenarios() -> list[Started]:
    """Every `stage.sipp(host, script, …)` in the scenarios' source."""
    found = []
    for path in sorted(Path(scenarios.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sipp":
                assert isinstance(node.args[1], ast.Constant)
                keys = {word.arg for word in node.keywords if word.arg} - {"port", "options", "remote"}
                found.append(Started(str(node.args[1].value), keys, "-inf" in path.read_text()))
    return found


@pytest.mark.parametrize("script", TEXTS)
def test_script_is_xml_and_carries_its_name(script: str) -> None:
    root = tree(TEXTS[script])
    assert (root.tag, root.get("name")) == ("scenario", script)
    assert {step.tag for step in root} <= {"send", "recv", "pause", "label", "timewait"}
    # Who sends first is told by the name, which decides whether SIPp is given the server.
    assert root[0].tag == {"uac": "send", "uas": "recv"}[script.partition("_")[0]]


@pytest.mark.parametrize("script", TEXTS)
def test_script_s_messages_have_what_each_message_needs(script: str) -> None:
    for message in sent(script):
        start = message.partition("\n")[0]
        needed = IN_RESPONSES if start.startswith("SIP/2.0 ") else IN_REQUESTS
        names = header_names(message)
        assert needed <= set(names), start
        assert len(names) == len(set(names)), start
        method = start.partition(" ")[0]
        assert needed is IN_RESPONSES or re.search(rf"(?m)^CSeq: \d+ {method}$", message), start
        # What a call's later requests are sent to.
        assert method not in ("INVITE", "REGISTER") or "Contact" in names


@pytest.mark.parametrize("script", TEXTS)
def test_script_s_bodies_are_counted_and_say_where_media_goes(script: str) -> None:
    for message in sent(script):
        head, _, body = message.partition("\n\n")
        assert f"Content-Length: {'[len]' if body else '0'}" in head.splitlines()
        assert ("Content-Type: application/sdp" in head) == bool(body)
        if body:
            assert [line[0] for line in body.splitlines()[:6]] == list("vosctm")
            assert re.search(r"(?m)^c=IN IP4 (?:\[own_host\]|\[media_host\]|0\.0\.0\.0)$", body)
            media = r"(?m)^m=(?:audio \[(?:rtp_port|field1)\] RTP/AVP 0|image \[fax_port\] udptl t38)$"
            assert re.search(media, body)


@pytest.mark.parametrize("script", TEXTS)
def test_script_s_addresses_are_keywords(script: str) -> None:
    # An address written out would be right on one host only; 0.0.0.0 is a hold.
    assert re.findall(r"\b(?!0\.0\.0\.0\b)\d+\.\d+\.\d+\.\d+\b", "\n".join(sent(script))) == []
    # And `local_ip` is what SIPp is bound to, not what a phone that is NAT aware gives as its own.
    assert "local_ip" not in keywords(TEXTS[script])


@pytest.mark.parametrize("script", TEXTS)
def test_script_repeats_what_may_be_lost_and_no_ack(script: str) -> None:
    for send in tree(TEXTS[script]).findall("send"):
        start = (send.text or "").strip().partition("\n")[0]
        repeated = re.match(r"(?:INVITE|REGISTER|BYE|CANCEL) ", start) is not None
        assert not (start.startswith("ACK") or "SIP/2.0 1" in start) or send.get("retrans") is None
        assert not repeated or send.get("retrans") == "500", start


@pytest.mark.parametrize("script", [name for name in TEXTS if any("BYE " in text for text in sent(name))])
def test_script_hangs_up_by_the_bye_s_own_answer(script: str) -> None:
    *_, bye, answer = tree(TEXTS[script])
    assert (bye.text or "").strip().startswith("BYE ")
    # SIPp takes any 200 for the one that it waits for, the INVITE's that comes again too, but for its transaction's.
    assert dict(bye.items()) == {"retrans": "500", "start_txn": "bye"}
    assert dict(answer.items()) == {"response": "200", "response_txn": "bye"}


def test_script_registers_with_the_password_that_its_user_has() -> None:
    assert f"[authentication username=[user] password={KEY_PREFIX}[user]]" in TEXTS["uac_register"]
    assert 'response="401" auth="true"' in TEXTS["uac_register"]


def test_scenarios_start_every_script_and_no_other() -> None:
    assert {start.script for start in started_in_scenarios()} == set(TEXTS)


@pytest.mark.parametrize("start", started_in_scenarios(), ids=lambda start: start.script)
def test_scenario_gives_the_script_what_it_asks_for(start: Started) -> None:
    # SIPp would send a keyword that nobody filled in as it stands, and a key without its keyword changes nothing.
    asked = keywords(TEXTS[start.script]) - ITS_OWN
    assert start.keys <= asked
    assert asked - start.keys - FIELDS <= {"own_host"}
    assert not asked & FIELDS or start.has_fields


def test_a_caller_sends_to_the_server_and_isnt_waited_for(tmp_path: Path) -> None:
    net = Here(tmp_path)
    with start_sipp(net, "phone1", "uac_call", 5060, ("-d", "6000"), called="700", rtp_port=10000) as program:
        path = tmp_path / "uac_call-phone1-5060.xml"
        assert net.argv[:5] == ["phone1", "sipp", f"{SERVER_ADDRESS}:5060", "-sf", str(path)]
        assert program.log == path.with_suffix(".log")
        options = " ".join(net.argv)
        assert f"-i {ADDRESS['phone1']} -p 5060" in options
        assert "-m 1 -d 6000" in options
        text = path.read_text()
    assert tree(text).get("name") == "uac_call"
    assert f"Contact: <sip:script@{ADDRESS['phone1']}:[local_port]>" in text
    assert f"c=IN IP4 {ADDRESS['phone1']}\n" in text
    assert "INVITE sip:700@[remote_ip] SIP/2.0" in text
    assert "m=audio 10000 RTP/AVP 0" in text
    assert keywords(text) <= ITS_OWN


def test_a_caller_may_be_told_whom_to_send_to(tmp_path: Path) -> None:
    net = Here(tmp_path)
    with start_sipp(net, "server", "uac_call", 5080, remote="203.0.113.1:5060", called="101", rtp_port=10000):
        assert net.argv[:3] == ["server", "sipp", "203.0.113.1:5060"]


def test_it_makes_as_many_calls_as_its_options_say(tmp_path: Path) -> None:
    net = Here(tmp_path)
    with start_sipp(net, "phone1", "uac_wait_bye", 5060, ("-m", "2")):
        assert net.argv.count("-m") == 1
        assert net.argv[net.argv.index("-m") + 1] == "2"


def test_one_that_is_nat_aware_gives_another_address_than_it_has(tmp_path: Path) -> None:
    net = Here(tmp_path)
    with start_sipp(net, "phone1", "uac_register", 5060, own_host="203.0.113.1", user="101"):
        text = (tmp_path / "uac_register-phone1-5060.xml").read_text()
    assert text.count("Contact: <sip:101@203.0.113.1:[local_port]>") == 2
    assert ADDRESS["phone1"] not in text
    assert net.argv[net.argv.index("-i") + 1] == ADDRESS["phone1"]
    assert f"[authentication username=101 password={KEY_PREFIX}101]" in text


def test_a_service_is_waited_for_and_sends_nowhere_first(tmp_path: Path) -> None:
    net = Here(tmp_path, table=TABLE.format(local=5080, remote=0))
    with start_sipp(net, "server", "uas_answer", 5080, media_host=ADDRESS["media"], rtp_port=30000) as program:
        assert program.running
        assert net.argv[1:3] == ["sipp", "-sf"]
        text = (tmp_path / "uas_answer-server-5080.xml").read_text()
    assert f"c=IN IP4 {ADDRESS['media']}\n" in text
    assert f"Contact: <sip:service@{ADDRESS['server']}:[local_port]>" in text


def test_over_tcp_via_and_contact_say_so(tmp_path: Path) -> None:
    net = Here(tmp_path, table=TABLE.format(local=5080, remote=0))
    net.protocol = "tcp"
    media = ADDRESS["media"]
    start_sipp(net, "server", "uas_answer", 5080, ("-t", "t1"), media_host=media, rtp_port=30000).stop()
    assert net.argv[-4:] == ["-m", "1", "-t", "t1"]
    text = (tmp_path / "uas_answer-server-5080.xml").read_text()
    assert f"Contact: <sip:service@{ADDRESS['server']}:[local_port];transport=tcp>" in text
    start_sipp(net, "phone1", "uac_call", 5060, ("-t", "t1"), called="1", rtp_port=1).stop()
    text = (tmp_path / "uac_call-phone1-5060.xml").read_text()
    assert f"Via: SIP/2.0/TCP {ADDRESS['phone1']}:[local_port];" in text
    assert "UDP" not in text


def test_scripts_of_one_name_on_two_ports_have_files_of_their_own(tmp_path: Path) -> None:
    for port, rtp_port in ((5080, 30000), (5090, 30010)):
        net = Here(tmp_path, table=TABLE.format(local=port, remote=0))
        start_sipp(net, "server", "uas_answer", port, media_host="203.0.113.60", rtp_port=rtp_port).stop()
    assert "m=audio 30000 " in (tmp_path / "uas_answer-server-5080.xml").read_text()
    assert "m=audio 30010 " in (tmp_path / "uas_answer-server-5090.xml").read_text()


def test_a_script_that_isnt_there_is_named(tmp_path: Path) -> None:
    net = Here(tmp_path)
    with pytest.raises(LabError, match=r"^no SIPp script of that name: uac_dance$"):
        start_sipp(net, "phone1", "uac_dance", 5060)
    assert net.argv == []
    assert list(tmp_path.iterdir()) == []


def once(condition: Callable[[], bool], _timeout_s: float) -> bool:
    """Ask and don't wait."""
    return wait_until(condition, 0.0)


@pytest.mark.parametrize("table", ["", TABLE.format(local=5081, remote=5080)], ids=["none", "another-and-a-peer-s"])
def test_a_service_that_doesnt_listen_is_told(table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sipp, "wait_until", once)
    net = Here(tmp_path, table=table)
    with (
        Program(net, "server", "service", "sipp") as program,
        pytest.raises(LabError, match=r"^service doesn't listen on 5080: it printed nothing$"),
    ):
        wait_for_port(net, "server", 5080, program)


def test_a_service_that_ends_is_told_with_its_last_line(tmp_path: Path) -> None:
    net = Here(tmp_path, "echo 'Resolving'; echo 'unable to bind'; exit 254")
    with pytest.raises(LabError, match=r"^uas_answer-server-5080 doesn't listen on 5080: unable to bind$"):
        start_sipp(net, "server", "uas_answer", 5080, media_host="203.0.113.60", rtp_port=30000)
