"""The PBX's transactions on loopback: lost messages come again, repeated ones are answered alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.lab.pbx_ends import SIP_PORT, End, address, request

from sipalg.engine.verdict import Endpoint
from sipalg.lab.pbx_message import SipMessage, response
from sipalg.lab.pbx_transactions import PATIENCE, Transactions

PBX = Endpoint(address(20), SIP_PORT)
#: RFC 3261's: nothing comes again while a test is about something else.
T1_S = 0.5
#: So short that a test needn't wait for what comes again.
SHORT_S = 0.02
URI = f"sip:700@{PBX}"
BYE = SipMessage("BYE sip:a@b SIP/2.0", (("To", "<sip:a@b>;tag=a"), ("Call-ID", "one"), ("CSeq", "2 BYE")))
INVITE = SipMessage("INVITE sip:a@b SIP/2.0", (("From", "x"), ("To", "<sip:a@b>"), ("CSeq", "1 INVITE")))


def play(scene: Callable[[Transactions, End, list[SipMessage]], Awaitable[None]], t1_s: float = T1_S) -> None:
    """Play with the PBX's transactions, one end, and the list of requests that were served."""

    async def whole() -> None:
        served: list[SipMessage] = []
        pbx = Transactions(lambda _: PBX.host, served.append, t1_s=t1_s)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: pbx, local_addr=PBX)
        end = await End.open(10)
        try:
            await scene(pbx, end, served)
        finally:
            pbx.close()
            end.close()

    asyncio.run(whole())


def test_a_request_comes_again_until_it_is_answered() -> None:
    async def scene(pbx: Transactions, end: End, _: list[SipMessage]) -> None:
        asked = asyncio.create_task(pbx.request(BYE, end.at))
        first = await end.message("BYE")
        assert first.one("Via").startswith(f"SIP/2.0/UDP {PBX};branch=z9hG4bK")
        again = await end.message("BYE")
        assert again == first
        end.send(PBX, response(again, 200, "a").encode())
        assert (await asked).status == 200

    play(scene, SHORT_S)


def test_nobody_there_is_408() -> None:
    async def scene(pbx: Transactions, end: End, _: list[SipMessage]) -> None:
        assert (await pbx.request(BYE, end.at)).status == 408
        # 1 + 2 + 4 + … of T1 until PATIENCE of them are over.
        assert end.came.qsize() == PATIENCE.bit_length()

    play(scene, 0.0001)


def test_a_provisional_answer_ends_the_repetitions_and_is_told() -> None:
    async def scene(pbx: Transactions, end: End, _: list[SipMessage]) -> None:
        told: list[int] = []
        asked = asyncio.create_task(pbx.request(INVITE, end.at, lambda heard: told.append(heard.status)))
        invite = await end.message("INVITE")
        for status in (100, 180, 200):
            end.send(PBX, response(invite, status, "a").encode())
        answer = await asked
        assert (answer.status, told) == (200, [100, 180])

    play(scene)


def test_a_refusal_gets_its_ack_in_the_same_transaction_each_time() -> None:
    async def scene(pbx: Transactions, end: End, _: list[SipMessage]) -> None:
        asked = asyncio.create_task(pbx.request(INVITE, end.at))
        invite = await end.message("INVITE")
        refusal = response(invite, 404, "a")
        end.send(PBX, refusal.encode())
        assert (await asked).status == 404
        ack = await end.message("ACK")
        assert (ack.one("Via"), ack.one("CSeq"), ack.uri) == (invite.one("Via"), "1 ACK", invite.uri)
        assert ack.one("To") == "<sip:a@b>;tag=a"
        end.send(PBX, refusal.encode())
        assert await end.message("ACK") == ack

    play(scene)


def test_a_2xx_that_comes_again_is_acknowledged_again() -> None:
    async def scene(pbx: Transactions, end: End, _: list[SipMessage]) -> None:
        asked = asyncio.create_task(pbx.request(INVITE, end.at))
        answer = response(await end.message("INVITE"), 200, "a")
        end.send(PBX, answer.encode())
        pbx.acknowledge(await asked, SipMessage("ACK sip:a@b SIP/2.0", (("CSeq", "1 ACK"),)), end.at)
        ack = await end.message("ACK")
        # A transaction of its own: RFC 3261, section 13.2.2.4.
        assert ack.branch != answer.branch
        end.send(PBX, answer.encode())
        assert await end.message("ACK") == ack

    play(scene)


def test_a_repeated_request_is_served_once_and_answered_alike() -> None:
    async def scene(pbx: Transactions, end: End, served: list[SipMessage]) -> None:
        asked = request("OPTIONS", URI, 1, end.at)
        end.send(PBX, asked.encode())
        end.send(PBX, asked.encode())
        while not served:
            await asyncio.sleep(0)
        pbx.respond(served[0], response(served[0], 200, "pbx"))
        answer = await end.message("200")
        end.send(PBX, asked.encode())
        assert await end.message("200") == answer
        assert len(served) == 1

    play(scene)


def test_the_answer_goes_to_where_the_request_came_from() -> None:
    async def scene(pbx: Transactions, end: End, served: list[SipMessage]) -> None:
        # As behind a NAT: another address in Via, which asks for the port.
        end.send(PBX, request("OPTIONS", URI, 1, Endpoint("192.0.2.1", 4000)).encode())
        while not served:
            await asyncio.sleep(0)
        assert served[0].source == end.at.host
        pbx.respond(served[0], response(served[0], 200, "pbx"))
        via = (await end.message("200")).one("Via")
        assert f";rport={end.at.port};received={end.at.host}" in via

    play(scene)


def test_a_2xx_to_an_invite_comes_again_until_its_ack() -> None:
    async def scene(pbx: Transactions, end: End, served: list[SipMessage]) -> None:
        end.send(PBX, request("INVITE", URI, 1, end.at).encode())
        while not served:
            await asyncio.sleep(0)
        pbx.respond(served[0], response(served[0], 200, "pbx"))
        assert await end.message("200") == await end.message("200")
        end.send(PBX, request("ACK", URI, 1, end.at).encode())
        end.send(PBX, request("ACK", URI, 1, end.at).encode())
        end.send(PBX, request("OPTIONS", URI, 2, end.at).encode())
        while len(served) < 2:
            await asyncio.sleep(0)
        # Nothing of it is left that could repeat it, and the ACK was nobody's business.
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert [message.method for message in served] == ["INVITE", "OPTIONS"]

    play(scene, SHORT_S)


def test_what_is_no_sip_and_what_nobody_asked_for_is_left_alone() -> None:
    async def scene(_: Transactions, end: End, served: list[SipMessage]) -> None:
        end.send(PBX, b"\r\n\r\n")
        end.send(PBX, b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nCSeq: 1 INVITE\r\n\r\n")
        end.send(PBX, request("OPTIONS", URI, 1, end.at).encode())
        while not served:
            await asyncio.sleep(0)
        assert end.came.empty()

    play(scene)
