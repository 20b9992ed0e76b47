"""A small PBX of the lab's own: it registers users, bridges two legs to a call, and redirects media if asked to.

It is a back-to-back user agent, as most PBXs are: each leg is a dialog of its own, and both ends talk through the
PBX's media. On SIGUSR1 it re-INVITEs the far end of each call with the near end's media address, and then the near end
with the far end's (direct media); if the first is refused, all stays as it was. On a packet's way it is a server
inside, behind a port forward, and knows of no NAT unless it is told its public address. It runs as a process on its
host, `python -m sipalg.lab.pbx`, and prints a line about each thing that it did.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from secrets import token_hex
from typing import Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.pbx_leg import Leg
from sipalg.lab.pbx_message import SIP_PORT, SipMessage, response, uri_of, user_of
from sipalg.lab.pbx_relay import Relay
from sipalg.lab.pbx_transactions import T1_S, Transactions

#: The PBX's media ports; each call takes four of them, RTP and RTCP for each leg.
MEDIA_PORTS: Final = (16000, 16099)
#: How long a registration lives, in seconds; none is taken back in a lab.
EXPIRES_S: Final = 3600


@dataclass(frozen=True, slots=True)
class PbxSettings:
    """Where the PBX is: its address, the network of its phones, and the provider, who has the numbers of no user.

    `public` is written instead of `address` towards everybody outside of `inside`; "" is a PBX that isn't NAT aware.
    Without `relays` it has no part in the media: each end is told the other's address from the beginning. `t1_s` is
    RFC 3261's T1, in seconds.
    """

    address: str
    inside: str
    provider: str
    public: str = ""
    relays: bool = True
    port: int = SIP_PORT
    t1_s: float = T1_S

    def own(self, peer: str) -> str:
        """Give the address to write for a peer."""
        return self.public if self.public and not self.is_near(peer) else self.address

    def is_near(self, peer: str) -> bool:
        """Whether a peer is in the PBX's own network."""
        return ip_address(peer) in ip_network(self.inside)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Two legs, the caller's and the callee's, and the media between them."""

    legs: tuple[Leg, Leg]
    relay: Relay


class Pbx:
    """The PBX itself; `say` gets one line about each thing that it did."""

    def __init__(self, settings: PbxSettings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.transactions = Transactions(settings.own, self._serve, settings.port, settings.t1_s)
        self._say = say
        #: User → Contact.
        self._users: dict[str, str] = {}
        #: Call-ID of either leg → call.
        self._calls: dict[str, Call] = {}
        self._ports = itertools.cycle(range(*MEDIA_PORTS, 4))
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Take the SIP port; OSError if it is taken."""
        local = (self.settings.address, self.settings.port)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self.transactions, local_addr=local)
        self._say("ready")
        self._start(self._ask_provider())

    def redirect_all(self) -> None:
        """Begin to redirect the media of every call."""
        for call in {*self._calls.values()}:
            self._start(self._redirect(call))

    def close(self) -> None:
        """Give all ports back; calls end without a word."""
        for task in self._tasks:
            task.cancel()
        for call in {*self._calls.values()}:
            call.relay.close()
        self.transactions.close()

    # --- what others ask for --------------------------------------------------------------------------------------

    def _serve(self, request: SipMessage) -> None:
        call = self._calls.get(request.one("Call-ID"))
        match request.method, call:
            case "REGISTER", None:
                self._register(request)
            case "OPTIONS", _:
                self._answer(request, 200)
            case "INVITE", None:
                self._start(self._bridge(request))
            case "INVITE", Call():
                self._change(request, call)
            case "BYE", Call():
                self._start(self._end(request, call))
            case "BYE", None:
                self._answer(request, 481)
            case _:
                self._answer(request, 501)

    def _register(self, request: SipMessage) -> None:
        contact = uri_of(request.one("Contact"))
        self._users[user_of(uri_of(request.one("To")))] = contact
        self._answer(request, 200, contact=f"<{contact}>;expires={EXPIRES_S}")
        self._say(f"registered {contact}")

    async def _bridge(self, invite: SipMessage) -> None:
        """Call whom an INVITE is for, and answer it when that end has answered."""
        if invite.media is None:
            self._answer(invite, 501)
            return
        self._answer(invite, 100)
        relay = await Relay(next(self._ports)).open(self.settings.address)
        try:
            await self._call(invite, relay)
        except asyncio.CancelledError:
            relay.close()
            raise

    async def _call(self, invite: SipMessage, relay: Relay) -> None:
        tag, user = token_hex(6), user_of(invite.uri)
        caller = Leg.of_caller(invite, tag)
        target = self._users.get(user, f"sip:{user}@{self.settings.provider}")
        callee = Leg(self._call_id(), "", f"<{target}>", target)
        callee.local = f"<sip:{user_of(uri_of(caller.remote))}@{self.settings.own(callee.peer.host)}>;tag={tag}"
        relay.send_to(0, caller.media)
        media = self._relayed(callee, relay.ports[1], caller)
        answer = await self._offer(callee, media, lambda heard: self._ring(invite, heard, tag))
        if answer.status >= 300:
            self._answer(invite, answer.status, tag)
            relay.close()
            self._say(f"call refused: {answer.start_line}")
            return
        relay.send_to(1, callee.media)
        self._calls |= dict.fromkeys((caller.call_id, callee.call_id), Call((caller, callee), relay))
        media = self._relayed(caller, relay.ports[0], callee)
        self._answer(invite, 200, tag, body=caller.describe(self._own(caller).host, media))
        self._say("call up")

    def _ring(self, invite: SipMessage, heard: SipMessage, tag: str) -> None:
        if heard.status > 100:
            self._answer(invite, 180, tag)

    def _change(self, invite: SipMessage, call: Call) -> None:
        """Take a re-INVITE: its end gets the PBX's media again, and gives its own anew."""
        index = 0 if invite.one("Call-ID") == call.legs[0].call_id else 1
        leg = call.legs[index]
        leg.media = invite.media or leg.media
        call.relay.send_to(index, leg.media)
        media = Endpoint(self._own(leg).host, call.relay.ports[index])
        self._answer(invite, 200, body=leg.describe(self._own(leg).host, media))

    async def _end(self, bye: SipMessage, call: Call) -> None:
        """Take one leg's BYE and end the other."""
        self._answer(bye, 200)
        call.relay.close()
        for leg in call.legs:
            del self._calls[leg.call_id]
        other = next(leg for leg in call.legs if leg.call_id != bye.one("Call-ID"))
        answer = await self.transactions.request(other.request("BYE", self._own(other)), other.peer)
        self._say(f"call over: {answer.status}")

    # --- what the PBX asks for ------------------------------------------------------------------------------------

    async def _ask_provider(self) -> None:
        """Ask whether the provider is there, as PBXs do at their start and every now and then."""
        uri = f"sip:{self.settings.provider}"
        leg = Leg(self._call_id(), "", f"<{uri}>", uri)
        own = self._own(leg)
        leg.local = f"<sip:pbx@{own.host}>;tag={token_hex(6)}"
        answer = await self.transactions.request(leg.request("OPTIONS", own), leg.peer)
        self._say(f"provider: {answer.status}")

    async def _redirect(self, call: Call) -> None:
        """Offer the near end's media to the far one, then the far end's to the near one, and leave the middle."""
        far, near = sorted(call.legs, key=lambda leg: self.settings.is_near(leg.peer.host))
        if near.media is None:
            return
        answer = await self._offer(far, near.media)
        if answer.status >= 300 or far.media is None:
            self._say(f"direct media refused: {answer.start_line.partition(' ')[2]}")
            return
        answer = await self._offer(near, far.media)
        for leg in (0, 1):
            call.relay.send_to(leg, None)
        self._say(f"direct media: {answer.status}")

    async def _offer(
        self, leg: Leg, media: Endpoint, provisional: Callable[[SipMessage], None] = lambda _: None
    ) -> SipMessage:
        """INVITE one end with an address for its media; give its final answer, which a 2xx's ACK has gone out for."""
        own = self._own(leg)
        invite = leg.request("INVITE", own, leg.describe(own.host, media))
        answer = await self.transactions.request(invite, leg.peer, provisional)
        if answer.status < 300:
            leg.take(answer)
            self.transactions.acknowledge(answer, leg.ack(invite.number, own), leg.peer)
        return answer

    def _answer(self, request: SipMessage, status: int, tag: str = "pbx", contact: str = "", body: str = "") -> None:
        own = self.settings.own(request.source)
        named = contact or f"<sip:pbx@{own}:{self.settings.port}>"
        self.transactions.respond(request, response(request, status, tag, ("Contact", named), body=body))

    def _call_id(self) -> str:
        # With its own address behind the @, as many devices write it; it leads nowhere.
        return f"{token_hex(8)}@{self.settings.address}"

    def _own(self, leg: Leg) -> Endpoint:
        return Endpoint(self.settings.own(leg.peer.host), self.settings.port)

    def _relayed(self, leg: Leg, port: int, other: Leg) -> Endpoint:
        """Say where a leg's end is to send its media: to the PBX's port, or right to the other end."""
        return Endpoint(self._own(leg).host, port) if self.settings.relays or other.media is None else other.media

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def run(settings: PbxSettings) -> None:
    """Run a PBX until a signal ends the process; SIGUSR1 redirects the media of its calls."""
    pbx = Pbx(settings, lambda line: print(line, flush=True))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, pbx.redirect_all)
    await pbx.open()
    try:
        await loop.create_future()
    finally:
        pbx.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="sipalg.lab.pbx")
    for option in ("--address", "--inside", "--provider"):
        parser.add_argument(option, required=True)
    parser.add_argument("--public", default="")
    parser.add_argument("--no-relay", action="store_true")
    given = parser.parse_args()
    asyncio.run(run(PbxSettings(given.address, given.inside, given.provider, given.public, not given.no_relay)))
