"""The stage that a scenario plays on: one lab in one mode, with its captures, programs and judgements.

A scenario says what happens; the stage starts what is needed, measures on the wire and in the recordings, and raises
ScenarioError with the reason in few words. On a packet's way it sees both sides of the router and nothing between.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from sipalg.engine.verdict import Endpoint
from sipalg.lab import firewall
from sipalg.lab.alg import RouterAlg
from sipalg.lab.evidence import contact_told, rtp_that_got_through, sipp_complaint
from sipalg.lab.packets import Message, Wire, messages, read_capture, read_streams
from sipalg.lab.phones import Phone, PhoneSettings
from sipalg.lab.programs import PATIENCE_S, Capture, Program, pause, wait_until
from sipalg.lab.registrar import start_registrar
from sipalg.lab.rtp import PACKET_S, RATE_HZ, SAMPLES_A_PACKET, Talker, read_recording, tone_of
from sipalg.lab.sipp import SERVER, start_sipp
from sipalg.lab.topology import (
    ADDRESS,
    ADDRESS6,
    INSIDE_NETWORK,
    INSIDE_PREFIX,
    INSIDE_PREFIX6,
    PUBLIC_ADDRESS6,
    SERVER_ADDRESS,
    SERVER_ADDRESS6,
    Ipv6,
    Topology,
)

#: none: plain NAT · kernel: Linux's own helper · sipalg: this project.
Mode = Literal["none", "kernel", "sipalg"]
Side = Literal["inside", "outside"]
MODES: Final[tuple[Mode, ...]] = ("none", "kernel", "sipalg")

#: What a tone may be off by, in Hz: two steps of the measurement.
TONE_TOLERANCE_HZ: Final = 6.0
#: How much audio is listened to before judging, in seconds; more than the window of the measurement.
LISTEN_S: Final = 0.8
#: How long a listener may get nothing at all; while something comes, however slowly, it is waited for.
STILL_S: Final = 2.5
#: How often, each half a second later, another tone than the wanted one is measured again: gaps blur it.
MEASURED_AGAIN: Final = 6
#: How long nothing may happen while an answer is waited for.
ANSWER_S: Final = 6.0


class ScenarioError(Exception):
    """What a scenario found not to work, in few words, from what was measured."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a scenario needs of its stage.

    `timeouts` are conntrack's for UDP, unreplied and stream, in seconds; `options` go to `sipalg run`; `hosts` are
    those beside the router; `inside` the router's inside interfaces; `record_route` is whether the proxy stays on the
    path, `nat_help` whether it answers to where packets come from; `listen_at` are hosts whose own packets are
    captured too; with `tcp` the server listens there as well. With `ipv6` phones and server speak IPv6
    only, which leaves the router as it says.
    """

    hosts: tuple[str, ...] = ("phone1", "server", "far1")
    firewall: firewall.Firewall = "strict"
    timeouts: tuple[int, int] = (30, 120)
    options: tuple[str, ...] = ()
    inside: tuple[str, ...] = ("lan0",)
    record_route: bool = True
    nat_help: bool = False
    listen_at: tuple[str, ...] = ()
    tcp: bool = False
    ipv6: Ipv6 = ""


class Stage:
    """One lab in one mode: a context manager; `keep` is a directory that its files are copied to at the end."""

    def __init__(self, mode: Mode, needs: Needs, keep: Path | None = None) -> None:
        self.mode = mode
        self.needs = needs
        self.net = Topology((*needs.hosts,), ipv6=needs.ipv6)
        self._keep = keep
        self._stack = ExitStack()
        #: sipalg on the router, started only in its mode.
        self.alg = RouterAlg(self.net, needs.inside, needs.options)
        self._ends: dict[str, Capture] = {}
        #: What was heard, for people: one entry a judgement that went well.
        self.measured: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.net)
            if self._keep is not None:
                stack.callback(_copy_files, self.net.directory, self._keep)
            self.net.set_timeouts(*self.needs.timeouts)
            self.load_rules()
            names = (*self.needs.inside, "wan0")
            captures = [stack.enter_context(Capture(self.net, "router", name)) for name in names]
            *self._inside, self._outside = captures
            for host in self.needs.listen_at:
                self._ends[host] = stack.enter_context(Capture(self.net, host, "eth0"))
            stack.enter_context(self._registrar())
            stack.callback(self.alg.stop, self._keep is not None)
            if self._keep is not None:
                stack.callback(self._note_router)
            if self.mode == "sipalg":
                self.alg.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _registrar(self) -> Program:
        needs = self.needs
        return start_registrar(self.net, needs.record_route, needs.nat_help, tcp=needs.tcp, ipv6=bool(needs.ipv6))

    def address(self, host: str) -> str:
        """A host's address, of the version that this lab's phones speak."""
        return (ADDRESS6 if self.needs.ipv6 else ADDRESS)[host]

    def public_of(self, host: str) -> str:
        """The address by which an inside host is known outside."""
        six = {"as-it-is": ADDRESS6[host], "masquerade": PUBLIC_ADDRESS6}
        six["prefix"] = ADDRESS6[host].replace("2001:db8:3", "2001:db8:13")
        return six.get(self.needs.ipv6, self.net.public_address)

    # --- what happens -------------------------------------------------------------------------------------------

    def load_rules(self) -> None:
        """Load the administrator's file with `nft -f`, which begins with `flush ruleset`."""
        firewall.load(self.net, firewall.rules(self.needs.firewall, self.mode == "kernel", self.needs.ipv6))

    def phone(self, user: str, host: str, tone_hz: int, **settings: Any) -> Phone:
        """Start a phone; it is registered when this returns, unless `registration_s` is 0.

        Raises ScenarioError if its REGISTER gets no 200.
        """
        if self.needs.ipv6:
            settings = {"server": f"[{SERVER_ADDRESS6}]", "ipv6": True} | settings
        phone = self._stack.enter_context(Phone(self.net, PhoneSettings(user, host, tone_hz, **settings)))
        if phone.settings.registration_s:
            self.expect(phone.wait_registered(), f"{user} can't register")
        return phone

    def pbx(self, public: str = "", relays: bool = True) -> Program:
        """Start the lab's PBX on its host; numbers of no user are called at the server.

        `public` is what it writes as its address towards the outside; "" is a PBX that isn't NAT aware. Without
        `relays` it has no part in the media.
        """
        argv = ["--address", ADDRESS["pbx"], "--inside", INSIDE_NETWORK, "--provider", SERVER_ADDRESS]
        argv += ["--public", public] if public else []
        argv += [] if relays else ["--no-relay"]
        program = Program(self.net, "pbx", "pbx", sys.executable, "-m", "sipalg.lab.pbx", *argv)
        self._stack.enter_context(program).wait_for("^ready$")
        return program

    def talker(self, host: str, port: int, tone_hz: int) -> Talker:
        """Start media for a scripted flow on a host's port; it listens, and is silent at first."""
        return self._stack.enter_context(Talker(self.net, host, port, tone_hz))

    def sipp(
        self,
        host: str,
        script: str,
        port: int = 5060,
        options: tuple[str, ...] = (),
        remote: str = SERVER,
        **keys: str | int,
    ) -> Program:
        """Start SIPp on a host with one of the lab's scripts; it sends from and listens on `port`."""
        return self._stack.enter_context(start_sipp(self.net, host, script, port, options, remote, **keys))

    def call(self, caller: Phone, target: Phone | str) -> None:
        """Let a phone call another one (or a URI); ScenarioError unless both say that the call stands."""
        caller_events = len(caller.events)
        target_events = len(target.events) if isinstance(target, Phone) else 0
        uri = target.uri if isinstance(target, Phone) else target
        name = target.settings.user if isinstance(target, Phone) else uri
        caller.command("dial", uri)
        if not caller.wait_answered(ANSWER_S, caller_events):
            closed = caller.closed_with(caller_events).partition(" (")[0] or "no answer"
            raise ScenarioError(f"call {caller.settings.user} to {name}: {closed}{contact_told(self.outside(), name)}")
        if isinstance(target, Phone) and not target.wait_for("CALL_ESTABLISHED", ANSWER_S, target_events):
            raise ScenarioError(f"call {caller.settings.user} to {name}: no ACK came")

    def hang_up(self, phone: Phone, other: Phone) -> None:
        """Let one end hang up; ScenarioError unless the other end hears of it."""
        own, before = len(phone.events), len(other.events)
        phone.command("hangup")
        self.expect(other.wait_for("CALL_CLOSED", PATIENCE_S, before), f"BYE never reached {other.settings.user}")
        self.expect(phone.wait_for("CALL_CLOSED", PATIENCE_S, own), f"{phone.settings.user} can't hang up")

    # --- what is judged -----------------------------------------------------------------------------------------

    def expect(self, holds: bool, why: str) -> None:
        """Raise ScenarioError with `why` unless it holds."""
        if not holds:
            raise ScenarioError(why)

    def expect_ended(self, script: Program, who: str, timeout_s: float = 2 * PATIENCE_S) -> None:
        """Raise ScenarioError unless SIPp ends by itself with every call as scripted."""
        code = script.wait(timeout_s)
        if code != 0:
            raise ScenarioError(f"{who}: {sipp_complaint(self.net.directory, script.name) or 'no end of the call'}")

    def expect_audio(self, *pairs: tuple[Phone, Phone]) -> None:
        """Raise ScenarioError unless in each pair both hear the other's tone, from now on."""
        both = [pair for a, b in pairs for pair in ((a, b), (b, a))]
        self._expect_tones([(listener, speaker.settings.tone_hz) for listener, speaker in both])

    def expect_heard_by(self, phone: Phone, wanted_hz: int) -> None:
        """Raise ScenarioError unless a phone hears a tone, from now on."""
        self._expect_tones([(phone, wanted_hz)])

    def _expect_tones(self, wanted: list[tuple[Phone, int]]) -> None:
        since = time.time()
        sizes = [_size(listener) for listener, _ in wanted]
        enough = int(LISTEN_S * RATE_HZ) * 2

        def missing() -> list[int]:
            came = [_size(phone) - size for (phone, _), size in zip(wanted, sizes, strict=True)]
            return [size for size in came if size < enough]

        # Nobody is waited for only because others still hear something.
        wait_until(lambda: not missing(), STILL_S, missing)
        for (listener, tone_hz), size in zip(wanted, sizes, strict=True):
            name = listener.settings.user
            if _size(listener) - size < enough:
                raise ScenarioError(f"{name} hears nothing: {self._count(listener.settings.host, since)}")
            heard = _tone(partial(_recorded_hz, listener), tone_hz, name)
            packets = (_size(listener) - size) // (2 * SAMPLES_A_PACKET)
            self.measured.append(f"{name} hears {heard:.0f} Hz in {packets} RTP packets")

    def expect_heard(self, talker: Talker, wanted_hz: int, who: str, timeout_s: float = STILL_S) -> None:
        """Raise ScenarioError unless a talker gets LISTEN_S seconds of the wanted tone from now on.

        It is given up when nothing at all has come for `timeout_s` seconds.
        """
        since, before = time.time(), len(talker.received)
        enough = int(LISTEN_S / PACKET_S)
        if not wait_until(
            lambda: len(talker.received) - before >= enough, timeout_s, lambda: len(talker.received)
        ):
            raise ScenarioError(f"{who} hears nothing: {self._count(talker.host, since)}")
        heard = _tone(talker.heard_hz, wanted_hz, who)
        self.measured.append(f"{talker.host} hears {heard:.0f} Hz in {len(talker.received) - before} RTP packets")

    def inside(self) -> list[Wire]:
        """All packets until now on the router's inside interfaces, oldest first."""
        packets = [packet for capture in self._inside for packet in self._seen_by(capture)]
        return sorted(packets, key=lambda packet: packet.time_s)

    def outside(self) -> list[Wire]:
        """All packets until now on the router's outside interface."""
        return self._seen_by(self._outside)

    def _seen_by(self, capture: Capture) -> list[Wire]:
        """All packets of a capture, and where TCP is needed the messages in it, oldest first."""
        packets = list(read_capture(capture.path))
        if self.needs.tcp:
            packets += read_streams(capture.path)
            packets.sort(key=lambda packet: packet.time_s)
        return packets

    def at(self, host: str) -> list[Wire]:
        """All packets until now at a host of `listen_at`."""
        return list(read_capture(self._ends[host].path))

    def wait_for_message(self, where: Side, start: str, timeout_s: float = ANSWER_S) -> Message:
        """Wait for the newest message whose start line begins with `start`; ScenarioError if none comes."""
        found: list[Message] = []

        def look() -> bool:
            packets = self.inside() if where == "inside" else self.outside()
            found[:] = [message for message in messages(packets) if message.start_line.startswith(start)]
            return bool(found)

        self.expect(wait_until(look, timeout_s), f"no {start} came {'in' if where == 'inside' else 'out'}")
        return found[-1]

    def offered_media(self, start: str = "INVITE") -> Endpoint:
        """Say where the phone wants its media, by the newest such message with SDP seen outside.

        ScenarioError if there is none.
        """
        self.wait_for_message("outside", start)
        started = [message for message in messages(self.outside()) if message.start_line.startswith(start)]
        offers = [media for message in started if (media := message.media()) is not None]
        self.expect(bool(offers), f"no {start} with SDP seen outside")
        return offers[-1]

    def _count(self, host: str, since: float) -> str:
        """Say how far the RTP for a host got since a moment: the reason why it hears nothing."""
        address = self.address(host)
        if address.startswith((INSIDE_PREFIX, INSIDE_PREFIX6)):
            return rtp_that_got_through(self.outside(), self.inside(), self.public_of(host), address, since)
        return rtp_that_got_through(self.inside(), self.outside(), address, address, since)

    def _note_router(self) -> None:
        """Write the router's rules and connections beside the captures."""
        (self.net.directory / "ruleset.txt").write_text(self.net.run("router", "nft", "list", "ruleset", check=False))
        (self.net.directory / "conntrack.txt").write_text(self.net.run("router", "conntrack", "-L", check=False))
        queue = self.net.run("router", "cat", "/proc/net/netfilter/nfnetlink_queue", check=False)
        (self.net.directory / "queue.txt").write_text(queue)


def _copy_files(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        # Kamailio's runtime directory has sockets; they are no files to look at.
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _tone(measure: Callable[[], float], wanted_hz: int, who: str) -> float:
    """Measure the tone that is heard, some times where it isn't the wanted one; ScenarioError if it never is."""
    heard = measure()
    for _ in range(MEASURED_AGAIN):
        if abs(heard - wanted_hz) <= TONE_TOLERANCE_HZ:
            return heard
        pause(0.5)
        heard = measure()
    raise ScenarioError(f"{who} hears {heard:.0f} Hz instead of {wanted_hz} Hz")


def _recorded_hz(phone: Phone) -> float:
    return tone_of(list(read_recording(phone.recordings()[-1])[-8192:]))


def _size(phone: Phone) -> int:
    recordings = phone.recordings()
    return recordings[-1].stat().st_size if recordings else 0
