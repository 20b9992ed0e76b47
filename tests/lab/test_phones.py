"""A phone's files, commands and events, with a shell in baresip's place and this test behind its control socket."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sipalg.lab import phones
from sipalg.lab.phones import Phone, PhoneSettings
from sipalg.lab.programs import wait_until
from sipalg.lab.topology import ADDRESS, SERVER_ADDRESS, LabError, Topology

MODULES = Path("/usr/lib/baresip/modules")
#: What baresip logs of a REGISTER's answer.
REFUSED = "reg: sip:101@203.0.113.50 (prio 0): 403 Forbidden (kamailio) [0 bindings]"
REGISTERED = "101@203.0.113.50: {0/UDP/v4} 200 OK (kamailio) [%d binding%s]"


class Here(Topology):
    """A topology without namespaces, in which every program is a shell that runs `script`."""

    def __init__(self, directory: Path, script: str) -> None:
        super().__init__()
        self.directory = directory
        self.script = script
        self.started: list[tuple[str, tuple[str | Path, ...]]] = []

    def command(self, host: str, *argv: str | Path) -> list[str]:
        self.started.append((host, argv))
        return ["sh", "-c", self.script]

    def socket(
        self, _host: str, kind: socket.SocketKind = socket.SOCK_DGRAM, protocol: int = 0
    ) -> socket.socket:
        return socket.socket(socket.AF_INET, kind, protocol)


class Control:
    """The far end of a phone's control socket: what baresip would write, and what it was told."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def event(self, kind: str, **more: Any) -> None:
        self.send(netstring({"event": True, "type": kind} | more))

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def told(self) -> dict[str, Any]:
        """The next command, as a netstring has it."""
        size = b""
        while not size.endswith(b":"):
            size += self.connection.recv(1)
        body = self.connection.recv(int(size[:-1]), socket.MSG_WAITALL)
        assert self.connection.recv(1) == b","
        command: dict[str, Any] = json.loads(body)
        return command


def netstring(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, ensure_ascii=False).encode()
    return b"%d:%b," % (len(body), body)


@contextmanager
def phone_and_control(
    directory: Path, monkeypatch: pytest.MonkeyPatch, settings: PhoneSettings, script: str = "exec sleep 60"
) -> Iterator[tuple[Phone, Control]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30.0)
        monkeypatch.setattr(phones, "CONTROL_PORT", server.getsockname()[1])
        with Phone(Here(directory, script), settings) as phone:
            connection, _ = server.accept()
            connection.settimeout(30.0)
            with connection:
                yield phone, Control(connection)


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Unless a test says otherwise nobody is behind the control socket: the port is taken and refuses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(phones, "CONTROL_PORT", taken.getsockname()[1])
        yield


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Phone, Control]]:
    with phone_and_control(tmp_path, monkeypatch, PhoneSettings("101", "phone1")) as both:
        yield both


def written(directory: Path, monkeypatch: pytest.MonkeyPatch, settings: PhoneSettings) -> tuple[list[str], str]:
    """The lines of a phone's config, and its account."""
    with phone_and_control(directory, monkeypatch, settings) as (phone, _):
        config = (phone.directory / "config").read_text().splitlines()
        return config, (phone.directory / "accounts").read_text()


def test_its_files_are_its_own(pair: tuple[Phone, Control], tmp_path: Path) -> None:
    phone, _ = pair
    assert phone.directory == tmp_path / "phone-101"
    assert phone.program.log == tmp_path / "baresip-101.log"
    assert sorted(path.name for path in phone.directory.iterdir()) == ["accounts", "config", "contacts"]


def test_it_is_started_as_baresip_with_ipv4_only(tmp_path: Path) -> None:
    net = Here(tmp_path, "exit 1")
    with pytest.raises(LabError):
        Phone(net, PhoneSettings("101", "phone1"))
    assert net.started == [("phone1", ("baresip", "-4", "-v", "-f", tmp_path / "phone-101"))]


def test_a_phone_of_ipv6_speaks_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Here(tmp_path, "exit 1")
    with pytest.raises(LabError):
        Phone(net, PhoneSettings("101", "phone1", ipv6=True))
    assert net.started[0][1][1] == "-6"
    other = tmp_path / "other"
    other.mkdir()
    settings = PhoneSettings("102", "phone2", server="[2001:db8:113::50]", ipv6=True)
    config, account = written(other, monkeypatch, settings)
    assert "sip_listen [2001:db8:33::11]:5060" in config
    assert account.startswith("<sip:102@[2001:db8:113::50]>;")


def test_its_config_has_its_own_address_ports_and_tone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PhoneSettings("102", "phone2", tone_hz=700, rtp_port=12000, sip_port=5070)
    config, _ = written(tmp_path, monkeypatch, settings)
    assert f"sip_listen {ADDRESS['phone2']}:5070" in config
    assert "audio_source ausine,700" in config
    assert f"ctrl_tcp_listen 127.0.0.1:{phones.CONTROL_PORT}" in config
    # Recordings are looked for where it was told to put them.
    assert f"snd_path {tmp_path / 'phone-102'}" in config


def test_its_ports_leave_room_for_one_pair_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = written(tmp_path, monkeypatch, PhoneSettings("101", "phone1", rtp_port=10000))
    # It always offers this one: scenarios about the same port in two calls would show nothing otherwise.
    assert "rtp_ports 10000-10002" in config


def test_a_phone_here_knows_nothing_of_nat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, account = written(tmp_path, monkeypatch, PhoneSettings("101", "phone1"))
    loaded = {line.split()[1].removesuffix(".so") for line in config if line.startswith("module")}
    assert not loaded & {"stun", "turn", "ice", "natpmp", "pcp"}
    assert not re.search(r"medianat|outbound|stunserver|sipnat|rtcp_mux=yes", account)
    assert "rtcp_mux no" in config


def test_media_by_ice_and_encrypted_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PhoneSettings("101", "phone1", media_nat="ice", media_encryption="dtls_srtp")
    config, account = written(tmp_path, monkeypatch, settings)
    assert {"module ice.so", "module dtls_srtp.so"} <= set(config)
    assert account.rstrip().endswith(";ptime=20;medianat=ice;mediaenc=dtls_srtp")


def test_its_config_is_filled_in_and_says_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, account = written(tmp_path, monkeypatch, PhoneSettings("101", "phone1"))
    assert [line for line in [*config, account] if "{" in line or "}" in line] == []
    keys = [line.split()[0] for line in config if not line.startswith("module")]
    assert len(keys) == len(set(keys))
    assert all(len(line.split(maxsplit=1)) == 2 for line in config)


def test_its_modules_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not MODULES.is_dir():
        pytest.skip("baresip isn't installed")
    config, _ = written(tmp_path, monkeypatch, PhoneSettings("101", "phone1"))
    assert f"module_path {MODULES}" in config
    # baresip goes on without a module that it doesn't find: without a tone, a recording or a control socket.
    names = [line.split()[1] for line in config if re.match(r"module(_tmp|_app)? ", line)]
    assert {"g711.so", "ausine.so", "sndfile.so", "account.so", "menu.so", "ctrl_tcp.so"} <= set(names)
    assert [name for name in names if not (MODULES / name).is_file()] == []


def test_its_account_over_tcp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, account = written(tmp_path, monkeypatch, PhoneSettings("101", "phone1", transport="tcp"))
    assert account.startswith(f"<sip:101@{SERVER_ADDRESS};transport=tcp>;auth_user=101;")


@pytest.mark.parametrize(
    ("settings", "answermode", "regint"),
    [
        (PhoneSettings("101", "phone1"), "auto", "3600"),
        (PhoneSettings("101", "phone1", answer=False, registration_s=6), "manual", "6"),
        (PhoneSettings("101", "phone1", registration_s=0), "auto", "0"),
    ],
    ids=["default", "rings", "never-registers"],
)
def test_its_account(
    settings: PhoneSettings, answermode: str, regint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, account = written(tmp_path, monkeypatch, settings)
    address, *parameters = account.strip().split(";")
    assert address == f"<sip:101@{SERVER_ADDRESS}>"
    assert dict(parameter.split("=") for parameter in parameters) == {
        "auth_user": "101",
        "auth_pass": "lab-101",
        "answermode": answermode,
        "regint": regint,
        "audio_codecs": "PCMU",
        "ptime": "20",
    }
    assert account.count("\n") == 1


def test_its_address_of_record_is_at_the_server(pair: tuple[Phone, Control]) -> None:
    assert pair[0].uri == f"sip:101@{SERVER_ADDRESS}"


def test_it_registers_where_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PhoneSettings("101", "phone1", server=ADDRESS["pbx"])
    _, account = written(tmp_path, monkeypatch, settings)
    assert account.startswith(f"<sip:101@{ADDRESS['pbx']}>;")


def test_commands_are_netstrings(pair: tuple[Phone, Control]) -> None:
    phone, control = pair
    phone.command("dial", "sip:201@203.0.113.50")
    phone.command("hangup")
    phone.command("dial", "sip:ü@203.0.113.50")
    assert control.told() == {"command": "dial", "params": "sip:201@203.0.113.50"}
    assert control.told() == {"command": "hangup", "params": ""}
    assert control.told()["params"] == "sip:ü@203.0.113.50"


def test_events_are_kept_and_answers_to_commands_are_not(pair: tuple[Phone, Control]) -> None:
    phone, control = pair
    control.send(netstring({"response": True, "ok": True, "data": "CALL_ESTABLISHED"}))
    control.event("CALL_RINGING", peeruri="sip:ü@203.0.113.50")
    control.event("CALL_ESTABLISHED")
    assert phone.wait_for("CALL_ESTABLISHED", 30.0)
    assert [event["type"] for event in phone.events] == ["CALL_RINGING", "CALL_ESTABLISHED"]
    assert phone.events[0]["peeruri"] == "sip:ü@203.0.113.50"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_may_come_in_any_pieces(size: int) -> None:
    stream = b"".join(netstring({"event": True, "type": f"E{number}", "param": "a,b:c"}) for number in range(4))
    pieces = [stream[cut : cut + size] for cut in range(0, len(stream), size)]
    # Read without a socket, which would put pieces together again.
    phone: Any = Phone.__new__(Phone)
    phone.events = []
    phone._control = SimpleNamespace(recv=lambda _: pieces.pop(0) if pieces else b"")
    phone._read()
    assert [event["type"] for event in phone.events] == ["E0", "E1", "E2", "E3"]


def test_older_events_dont_count(pair: tuple[Phone, Control]) -> None:
    phone, control = pair
    control.event("CALL_ESTABLISHED")
    assert phone.wait_for("CALL_ESTABLISHED", 30.0)
    since = len(phone.events)
    assert phone.seen("CALL_ESTABLISHED") == 1
    assert phone.seen("CALL_ESTABLISHED", since) == 0
    assert not phone.wait_for("CALL_ESTABLISHED", 0.0, since)
    assert not phone.wait_answered(0.0, since)
    control.event("CALL_ESTABLISHED")
    assert phone.wait_answered(5.0, since)
    assert phone.seen("CALL_ESTABLISHED") == 2


def test_a_refusal_ends_the_wait_for_an_answer(
    pair: tuple[Phone, Control], monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, control = pair
    waits: list[bool] = []

    def wait(condition: Callable[[], bool], timeout_s: float, moved: Callable[[], object]) -> bool:
        waits.append(wait_until(condition, timeout_s, moved))
        return waits[-1]

    monkeypatch.setattr(phones, "wait_until", wait)
    control.event("CALL_CLOSED", param="404 Not registered")
    assert not phone.wait_answered(3.0)
    # It was the refusal that ended it, not the time.
    assert waits == [True]
    assert phone.closed_with() == "404 Not registered"


def test_the_newest_reason_is_told(pair: tuple[Phone, Control]) -> None:
    phone, control = pair
    assert phone.closed_with() == ""
    control.event("CALL_CLOSED", param="486 Busy Here")
    control.event("CALL_CLOSED", param="Connection reset by user")
    control.event("CALL_CLOSED")
    assert wait_until(lambda: len(phone.events) == 3, 5.0)
    assert phone.closed_with() == ""
    del phone.events[2]
    assert phone.closed_with() == "Connection reset by user"
    assert phone.closed_with(2) == ""


def test_registrations_are_counted_from_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [REFUSED, REGISTERED % (1, ""), REGISTERED % (2, "s"), "200 OK of something else"]
    script = "printf '%s\\n' " + " ".join(f"'{line}'" for line in lines) + "; exec sleep 60"
    with phone_and_control(tmp_path, monkeypatch, PhoneSettings("101", "phone1"), script) as (phone, _):
        assert phone.wait_registered(5.0, times=2)
        assert phone.registrations == 2
        assert not phone.wait_registered(0.0, times=3)


def test_recordings_are_what_it_heard_oldest_first(pair: tuple[Phone, Control]) -> None:
    phone, _ = pair
    assert phone.recordings() == []
    for name in ("dump-2026-02-dec.wav", "dump-2026-01-dec.wav", "dump-2026-01-enc.wav", "other.wav"):
        (phone.directory / name).write_bytes(b"")
    assert [path.name for path in phone.recordings()] == ["dump-2026-01-dec.wav", "dump-2026-02-dec.wav"]


def test_it_ends_as_if_its_plug_had_been_pulled(pair: tuple[Phone, Control]) -> None:
    phone, control = pair
    phone.stop()
    assert phone.program.exit_code == -signal.SIGKILL
    control.connection.shutdown(socket.SHUT_WR)


def test_one_that_ends_at_once_is_told_with_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"^baresip-101 has no control socket: no such interface$"):
        Phone(Here(tmp_path, "echo starting; echo no such interface; exit 1"), PhoneSettings("101", "phone1"))


def test_one_without_a_control_socket_is_told_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = tmp_path / "pid"
    monkeypatch.setattr(phones, "wait_until", lambda _condition, _timeout_s: wait_until(pids.exists, 5.0) and False)
    script = f"echo $$ > {pids}.new; mv {pids}.new {pids}; exec sleep 60"
    with pytest.raises(LabError, match=r"^baresip-101 has no control socket: it printed nothing$"):
        Phone(Here(tmp_path, script), PhoneSettings("101", "phone1"))
    assert not Path(f"/proc/{pids.read_text().strip()}").exists()


def test_whoever_waits_for_an_event_waits_longer_for_others_but_not_for_a_standing_calls(
    pair: tuple[Phone, Control], monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, control = pair
    steps: list[object] = []

    def wait(_condition: Callable[[], bool], _timeout_s: float, moved: Callable[[], object]) -> bool:
        steps.append(moved())
        return False

    for kind in ("CALL_RINGING", "CALL_RTCP", "CALL_CLOSED"):
        control.event(kind)
        assert phone.wait_for(kind, 30.0)
        with monkeypatch.context() as patched:
            patched.setattr(phones, "wait_until", wait)
            phone.wait_for("CALL_ESTABLISHED")
    assert steps == [1, 1, 2]
