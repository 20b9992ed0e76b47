"""The PBX's UDP socket and the transactions on it: what was lost is sent again, what comes twice is answered alike.

RFC 3261, section 17, as far as two ends on one machine need it: requests are repeated until something comes back,
an INVITE's 2xx until its ACK, refusals get their ACK here, 2xx from who asked. On a packet's way this is the PBX's
port 5060.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_hex
from typing import Any, Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.pbx_message import SIP_PORT, SipMessage, parameter

#: RFC 3261, section 17.1.1.1: T1, and how many of it until one gives up.
T1_S: Final = 0.5
PATIENCE: Final = 64
#: How long a call may ring.
RINGING_S: Final = 60.0


class Transactions(asyncio.DatagramProtocol):
    """A UDP endpoint that speaks SIP.

    `own` gives the address to write for a peer; `serve` gets each new request once, with where it came from
    noted in its topmost Via.
    """

    def __init__(
        self,
        own: Callable[[str], str],
        serve: Callable[[SipMessage], None],
        port: int = SIP_PORT,
        t1_s: float = T1_S,
    ) -> None:
        self._own = own
        self._serve = serve
        self._port = port
        self._t1_s = t1_s
        self._transport: Any = None
        #: What waits for responses, by branch and method.
        self._waiting: dict[tuple[str, str], asyncio.Queue[SipMessage]] = {}
        #: The ACK of each INVITE that was sent, by its branch: a final response may come again.
        self._acks: dict[str, tuple[bytes, Endpoint]] = {}
        #: Every request that came, by branch and method, and its newest response. A lab's PBX lives for minutes.
        self._answers: dict[tuple[str, str], tuple[bytes, Endpoint] | None] = {}
        #: 2xx that no ACK came for yet, by Call-ID and number.
        self._unacknowledged: dict[tuple[str, int], asyncio.Task[None]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket (asyncio calls this)."""
        self._transport = transport

    def error_received(self, exc: Exception) -> None:
        """Do nothing about an ICMP error: the timers see to what got lost."""

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Hand a message to who waits for it (asyncio calls this); what is no SIP is left alone."""
        message = SipMessage.parse(data)
        if message is None:
            return
        if message.status:
            self._response(message)
        else:
            self._request(message, Endpoint(*addr[:2]))

    async def request(
        self, message: SipMessage, to: Endpoint, provisional: Callable[[SipMessage], None] = lambda _: None
    ) -> SipMessage:
        """Send a request (without Via) until there is a final response, and give that; 408 if none comes."""
        branch = f"z9hG4bK{token_hex(8)}"
        whole = self._with_via(message, to, branch)
        answers: asyncio.Queue[SipMessage] = asyncio.Queue()
        self._waiting[branch, message.method] = answers
        try:
            answer = await self._exchange(whole, to, answers, provisional)
        finally:
            del self._waiting[branch, message.method]
        if message.method == "INVITE" and answer.status >= 300:
            keep = ("via", "from", "call-id", "route", "max-forwards")
            fields = [field for field in whole.fields if field[0].lower() in keep]
            fields += [("To", answer.one("To")), ("CSeq", f"{message.number} ACK")]
            self._acknowledge(branch, SipMessage(f"ACK {message.uri} SIP/2.0", tuple(fields)), to)
        return answer

    def acknowledge(self, answer: SipMessage, ack: SipMessage, to: Endpoint) -> None:
        """Send the ACK (without Via) of an INVITE's 2xx, and again whenever that comes again."""
        self._acknowledge(answer.branch, self._with_via(ack, to, f"z9hG4bK{token_hex(8)}"), to)

    def respond(self, request: SipMessage, answer: SipMessage) -> None:
        """Send a response to where its request came from (RFC 3261, section 18.2.2; RFC 3581)."""
        via = request.one("Via")
        sent_by = via.partition(";")[0].split()[-1].partition(":")
        host = request.source or sent_by[0]
        to = Endpoint(host, int(parameter(via, "rport") or sent_by[2] or SIP_PORT))
        data = answer.encode()
        self._answers[request.branch, request.method] = (data, to)
        self._transport.sendto(data, to)
        if request.method == "INVITE" and 200 <= answer.status < 300:
            again = asyncio.get_running_loop().create_task(self._until_acknowledged(data, to))
            self._unacknowledged[request.one("Call-ID"), request.number] = again

    def close(self) -> None:
        """Give the port back; what still waits for an ACK waits no longer."""
        for task in self._unacknowledged.values():
            task.cancel()
        self._transport.close()

    # --- what came ------------------------------------------------------------------------------------------------

    def _response(self, message: SipMessage) -> None:
        waiting = self._waiting.get((message.branch, message.method))
        if waiting is not None:
            waiting.put_nowait(message)
        elif message.status >= 200 and message.branch in self._acks:
            self._transport.sendto(*self._acks[message.branch])

    def _request(self, message: SipMessage, source: Endpoint) -> None:
        if message.method == "ACK":
            again = self._unacknowledged.pop((message.one("Call-ID"), message.number), None)
            if again is not None:
                again.cancel()
            return
        key = (message.branch, message.method)
        if key not in self._answers:
            self._answers[key] = None
            self._serve(_stamped(message, source))
        elif (answer := self._answers[key]) is not None:
            self._transport.sendto(*answer)

    # --- sending again --------------------------------------------------------------------------------------------

    async def _exchange(
        self,
        whole: SipMessage,
        to: Endpoint,
        answers: asyncio.Queue[SipMessage],
        provisional: Callable[[SipMessage], None],
    ) -> SipMessage:
        wait_s, left_s = self._t1_s, PATIENCE * self._t1_s
        while left_s > 0:
            self._transport.sendto(whole.encode(), to)
            try:
                answer = await asyncio.wait_for(answers.get(), wait_s)
                while answer.status < 200:
                    provisional(answer)
                    answer = await asyncio.wait_for(answers.get(), RINGING_S)
            except TimeoutError:
                left_s -= wait_s
                wait_s *= 2
            else:
                return answer
        return SipMessage("SIP/2.0 408 Request Timeout", whole.fields)

    async def _until_acknowledged(self, data: bytes, to: Endpoint) -> None:
        wait_s, left_s = self._t1_s, PATIENCE * self._t1_s
        while left_s > 0:
            await asyncio.sleep(wait_s)
            self._transport.sendto(data, to)
            left_s -= wait_s
            wait_s *= 2

    def _acknowledge(self, branch: str, ack: SipMessage, to: Endpoint) -> None:
        self._acks[branch] = (ack.encode(), to)
        self._transport.sendto(*self._acks[branch])

    def _with_via(self, message: SipMessage, to: Endpoint, branch: str) -> SipMessage:
        via = f"SIP/2.0/UDP {self._own(to.host)}:{self._port};branch={branch}"
        return message._replace(fields=(("Via", via), *message.fields))


def _stamped(request: SipMessage, source: Endpoint) -> SipMessage:
    """Note in the topmost Via where a request came from: always the address, the port if it asks for that."""
    via = request.one("Via")
    stamped = via.replace(";rport", f";rport={source.port}", 1) + f";received={source.host}"
    fields = list(request.fields)
    place = next(index for index, (name, _) in enumerate(fields) if name.lower() == "via")
    fields[place] = ("Via", stamped)
    return request._replace(fields=tuple(fields))
