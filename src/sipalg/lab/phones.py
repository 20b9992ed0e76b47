"""baresip as a phone: its configuration, and its control by commands and events.

A phone here is an ordinary one that knows nothing of NAT: no STUN, no ICE, no outbound; it writes its own address
into what it says. It sends a tone and records what it hears, and is controlled over baresip's ctrl_tcp socket on its
own loopback. On a packet's way it is where signalling and audio begin and end.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from sipalg.lab.programs import PATIENCE_S, Program, wait_until
from sipalg.lab.registrar import KEY_PREFIX
from sipalg.lab.topology import ADDRESS, ADDRESS6, SERVER_ADDRESS, LabError, Topology

CONTROL_PORT: Final = 4444

_CONFIG: Final = """\
poll_method epoll
sip_listen {address}:{sip_port}
call_local_timeout 60
call_max_calls 4
audio_player aubridge,none
audio_source ausine,{tone}
audio_alert aubridge,none
audio_level no
ausrc_srate 48000
ausrc_channels 2
auplay_srate 8000
auplay_channels 1
rtp_tos 184
rtp_ports {rtp_low}-{rtp_high}
rtcp_mux no
rtp_stats no
jitter_buffer_type fixed
jitter_buffer_delay 2-4
net_interface eth0
module_path /usr/lib/baresip/modules
module g711.so
module ausine.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
snd_path {directory}
"""

_ACCOUNT: Final = (
    "<sip:{user}@{server}{transport}>;auth_user={user};auth_pass={secret};answermode={answer};regint={regint};"
    "audio_codecs=PCMU;ptime=20{media}\n"
)


_REGISTERED: Final = re.compile(r"200 OK .*\[\d+ bindings?\]")


@dataclass(frozen=True, slots=True)
class PhoneSettings:
    """One phone: who it is and how it behaves.

    `tone_hz` is what it sends (10–20,000); `rtp_port` the even port that it always offers; `registration_s` the
    lifetime that it asks for, 0 for a phone that doesn't register; `answer` whether it picks up by itself; `server`
    the address that it registers at; `transport` is udp or tcp. `media_nat` is baresip's word for how its media get
    through a NAT (ice), and `media_encryption` for how they are encrypted (srtp, dtls_srtp); "" is neither. `ipv6`
    is a phone that speaks nothing else.
    """

    user: str
    host: str
    tone_hz: int = 440
    rtp_port: int = 10000
    sip_port: int = 5060
    registration_s: int = 3600
    answer: bool = True
    server: str = SERVER_ADDRESS
    transport: str = "udp"
    media_nat: str = ""
    media_encryption: str = ""
    ipv6: bool = False


class Phone:
    """A running baresip; a context manager. Commands raise LabError if the phone doesn't obey."""

    def __init__(self, net: Topology, settings: PhoneSettings) -> None:
        """Start the phone and connect to its control socket."""
        self.settings = settings
        self.directory = net.directory / f"phone-{settings.user}"
        self.directory.mkdir()
        self._write_files()
        self.events: list[dict[str, Any]] = []
        name, family = f"baresip-{settings.user}", "-6" if settings.ipv6 else "-4"
        self.program = Program(net, settings.host, name, "baresip", family, "-v", "-f", self.directory)
        self._control = net.socket(settings.host, socket.SOCK_STREAM)
        try:
            self._connect()
        except BaseException:
            self.stop()
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def uri(self) -> str:
        """The address of record."""
        return f"sip:{self.settings.user}@{self.settings.server}"

    def stop(self) -> None:
        """End the phone at once, without unregistering: as if its plug had been pulled."""
        self.program.signal(signal.SIGKILL)
        self.program.stop()
        self._control.close()

    def command(self, command: str, parameters: str = "") -> None:
        """Give one of baresip's menu commands, such as `dial`."""
        text = json.dumps({"command": command, "params": parameters})
        self._control.sendall(f"{len(text)}:{text},".encode())

    def seen(self, kind: str, since: int = 0) -> int:
        """Count the events of a kind (such as `CALL_ESTABLISHED`) after the first `since` events."""
        return sum(event.get("type") == kind for event in self.events[since:])

    def _steps(self) -> int:
        """Count the events until now, without those that come every few seconds while another call stands."""
        return len(self.events) - self.seen("CALL_RTCP")

    def wait_for(self, kind: str, timeout_s: float = 6.0, since: int = 0) -> bool:
        """Wait for an event of a kind after the first `since` ones; say whether it came in time.

        Other events begin that time anew.
        """
        return wait_until(lambda: self.seen(kind, since) > 0, timeout_s, self._steps)

    def wait_answered(self, timeout_s: float, since: int = 0) -> bool:
        """Wait until a call after the first `since` events stands; say whether it does; a refusal ends the wait.

        Other events begin that time anew.
        """

        def decided() -> bool:
            return self.seen("CALL_ESTABLISHED", since) + self.seen("CALL_CLOSED", since) > 0

        wait_until(decided, timeout_s, self._steps)
        return self.seen("CALL_ESTABLISHED", since) > 0

    def wait_registered(self, timeout_s: float = PATIENCE_S, times: int = 1) -> bool:
        """Wait until `times` REGISTERs got their 200; say whether they did in time.

        From the log: the first 200 may come before the control socket stands.
        """
        return wait_until(lambda: self.registrations >= times, timeout_s)

    @property
    def registrations(self) -> int:
        """How many REGISTERs got their 200 until now."""
        return len(_REGISTERED.findall(self.program.text()))

    def closed_with(self, since: int = 0) -> str:
        """Say with which reason the newest call after the first `since` events was closed; "" if none was."""
        reasons = [str(event.get("param", "")) for event in self.events[since:] if event.get("type") == "CALL_CLOSED"]
        return reasons[-1] if reasons else ""

    def recordings(self) -> list[Path]:
        """List what it heard: one file a call, oldest first."""
        return sorted(self.directory.glob("dump-*-dec.wav"))

    def _write_files(self) -> None:
        settings = self.settings
        config = _CONFIG.format(
            address=f"[{ADDRESS6[settings.host]}]" if settings.ipv6 else ADDRESS[settings.host],
            sip_port=settings.sip_port,
            tone=settings.tone_hz,
            rtp_low=settings.rtp_port,
            rtp_high=settings.rtp_port + 2,
            control=CONTROL_PORT,
            directory=self.directory,
        )
        for module in (settings.media_nat, settings.media_encryption):
            config += f"module {module}.so\n" if module else ""
        (self.directory / "config").write_text(config)
        media = f";medianat={settings.media_nat}" if settings.media_nat else ""
        media += f";mediaenc={settings.media_encryption}" if settings.media_encryption else ""
        account = _ACCOUNT.format(
            media=media,
            user=settings.user,
            server=settings.server,
            transport="" if settings.transport == "udp" else f";transport={settings.transport}",
            secret=KEY_PREFIX + settings.user,
            answer="auto" if settings.answer else "manual",
            regint=settings.registration_s,
        )
        (self.directory / "accounts").write_text(account)
        (self.directory / "contacts").write_text("")

    def _connect(self) -> None:
        def connected() -> bool:
            return self._control.connect_ex(("127.0.0.1", CONTROL_PORT)) == 0 or not self.program.running

        if not wait_until(connected, PATIENCE_S) or not self.program.running:
            said = self.program.text().strip().splitlines()
            raise LabError(f"{self.program.name} has no control socket: {said[-1] if said else 'it printed nothing'}")

    def _read(self) -> None:
        # Netstrings: length, colon, that many bytes, comma.
        pending = b""
        while True:
            try:
                data = self._control.recv(65536)
            except OSError:
                return
            if not data:
                return
            pending += data
            while b":" in pending:
                size, _, rest = pending.partition(b":")
                length = int(size)
                if len(rest) <= length:
                    break
                message: dict[str, Any] = json.loads(rest[:length])
                pending = rest[length + 1 :]
                if message.get("event"):
                    self.events.append(message)
