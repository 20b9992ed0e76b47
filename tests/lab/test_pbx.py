"""The PBX on loopback: a phone registers and calls, the provider answers, and media is redirected, or isn't."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.lab.pbx_ends import NETWORK, SIP_PORT, End, address, request

from sipalg.engine.verdict import Endpoint
from sipalg.lab.pbx import MEDIA_PORTS, Pbx, PbxSettings, run
from sipalg.lab.pbx_message import SipMessage, response, sdp, uri_of

PBX = Endpoint(address(20), SIP_PORT)
SETTINGS = PbxSettings(PBX.host, f"{address(10)}/31", f"{address(50)}:{SIP_PORT}", t1_s=0.2)
PUBLIC = "203.0.113.1"
MEDIA = Endpoint("203.0.113.60", 30000)
PHONE_MEDIA = Endpoint("192.168.33.10", 10000)
URI = f"sip:700@{PBX}"


class World:
    """A PBX, a phone in its network and a provider outside of it."""

    def __init__(self, settings: PbxSettings) -> None:
        self.said: list[str] = []
        self.pbx = Pbx(settings, self.said.append)

    async def open(self) -> None:
        """Take all ports, the ends' first; answer what the PBX asks at its start, lest it ask again in a call."""
        self.phone, self.provider = await End.open(10), await End.open(50)
        await self.pbx.open()
        asked = await self.provider.message("OPTIONS")
        self.provider.send(PBX, response(asked, 200, "far").encode())
        await self.heard("provider: 200")

    def close(self) -> None:
        """Give them back."""
        self.pbx.close()
        for end in (self.phone, self.provider):
            end.close()

    async def call(self) -> tuple[SipMessage, SipMessage]:
        """Call the provider from the phone; give the INVITE that it got and the 200 that the phone got."""
        self.phone.send(PBX, request("INVITE", URI, 1, self.phone.at, body=sdp("a", PHONE_MEDIA, 1)).encode())
        await self.phone.message("100")
        invite = await self.provider.message("INVITE")
        self.provider.send(PBX, response(invite, 180, "far").encode())
        await self.phone.message("180")
        self.answer(invite, MEDIA)
        await self.provider.message("ACK")
        answer = await self.phone.message("200")
        self.phone.send(PBX, request("ACK", URI, 1, self.phone.at).encode())
        return invite, answer

    def answer(self, invite: SipMessage, media: Endpoint) -> None:
        """Let the provider answer an INVITE with its media."""
        contact = ("Contact", f"<sip:far@{self.provider.at}>")
        self.provider.send(PBX, response(invite, 200, "far", contact, body=sdp("b", media, 1)).encode())

    async def heard(self, line: str) -> None:
        """Wait until the PBX has said a line."""
        async with asyncio.timeout(30.0):
            while line not in self.said:
                await asyncio.sleep(0.001)


def play(scene: Callable[[World], Awaitable[None]], settings: PbxSettings = SETTINGS) -> None:
    async def whole() -> None:
        world = World(settings)
        await world.open()
        try:
            await scene(world)
        finally:
            world.close()

    asyncio.run(whole())


def test_a_call_has_two_legs_with_the_pbx_s_media_in_between() -> None:
    async def scene(world: World) -> None:
        invite, answer = await world.call()
        assert invite.uri == f"sip:700@{SETTINGS.provider}"
        assert (invite.media, answer.media) == (
            Endpoint(PBX.host, MEDIA_PORTS[0] + 2), Endpoint(PBX.host, MEDIA_PORTS[0])
        )  # fmt: skip
        assert invite.one("Call-ID") != answer.one("Call-ID")
        assert uri_of(invite.one("Contact")) == uri_of(answer.one("Contact")) == f"sip:pbx@{PBX}"
        await world.heard("call up")
        world.phone.send(PBX, request("BYE", URI, 2, world.phone.at).encode())
        await world.phone.message("200")
        bye = await world.provider.message("BYE")
        assert (bye.number, bye.one("To"), bye.uri) == (2, f"<{invite.uri}>;tag=far", f"sip:far@{world.provider.at}")
        world.provider.send(PBX, response(bye, 200, "far").encode())
        await world.heard("call over: 200")
        world.phone.send(PBX, request("BYE", URI, 3, world.phone.at).encode())
        await world.phone.message("481")

    play(scene)


def test_the_far_end_may_end_the_call_too() -> None:
    async def scene(world: World) -> None:
        invite, _ = await world.call()
        bye = request("BYE", f"sip:pbx@{PBX}", 1, world.provider.at, ("Call-ID", invite.one("Call-ID")))
        world.provider.send(PBX, bye.encode())
        await world.provider.message("200")
        assert (await world.phone.message("BYE")).one("Call-ID") == f"one@{world.phone.at.host}"

    play(scene)


def test_a_refused_call_is_refused_alike() -> None:
    async def scene(world: World) -> None:
        world.phone.send(PBX, request("INVITE", URI, 1, world.phone.at, body=sdp("a", PHONE_MEDIA, 1)).encode())
        await world.phone.message("100")
        invite = await world.provider.message("INVITE")
        world.provider.send(PBX, response(invite, 100, "").encode())
        world.provider.send(PBX, response(invite, 404, "far").encode())
        await world.provider.message("ACK")
        await world.phone.message("404")
        await world.heard("call refused: SIP/2.0 404 Not Found")

    play(scene)


def test_media_is_redirected_far_end_first() -> None:
    async def scene(world: World) -> None:
        first, _ = await world.call()
        await world.heard("call up")
        world.pbx.redirect_all()
        again = await world.provider.message("INVITE")
        assert (again.one("Call-ID"), again.number, again.media) == (first.one("Call-ID"), 2, PHONE_MEDIA)
        assert f"o=- 4713 2 IN IP4 {PBX.host}\r\n" in again.body
        moved = MEDIA._replace(port=30002)
        world.answer(again, moved)
        await world.provider.message("ACK")
        offer = await world.phone.message("INVITE")
        assert (offer.media, offer.one("Call-ID")) == (moved, f"one@{world.phone.at.host}")
        answer = response(offer, 200, "", ("Contact", f"<sip:101@{world.phone.at}>"), body=sdp("a", PHONE_MEDIA, 2))
        world.phone.send(PBX, answer.encode())
        await world.phone.message("ACK")
        await world.heard("direct media: 200")

    play(scene)


def test_a_refused_redirection_leaves_all_as_it_was() -> None:
    async def scene(world: World) -> None:
        await world.call()
        await world.heard("call up")
        world.pbx.redirect_all()
        again = await world.provider.message("INVITE")
        refusal = SipMessage("SIP/2.0 488 Not Acceptable Here", response(again, 400, "far").fields)
        world.provider.send(PBX, refusal.encode())
        await world.provider.message("ACK")
        await world.heard("direct media refused: 488 Not Acceptable Here")
        assert world.phone.came.empty()

    play(scene)


def test_a_re_invite_changes_one_end_s_media() -> None:
    async def scene(world: World) -> None:
        invite, answer = await world.call()
        listener = await End.open(10, 10010)
        try:
            change = request("INVITE", URI, 2, world.phone.at, body=sdp("a", listener.at, 2))
            world.phone.send(PBX, change.encode())
            again = await world.phone.message("200")
            assert again.media == answer.media
            assert "o=- 4713 2 " in again.body
            assert invite.media is not None
            world.provider.send(invite.media, b"rtp")
            assert (await listener.packet())[0] == b"rtp"
        finally:
            listener.close()

    play(scene)


def test_users_are_called_where_they_registered() -> None:
    async def scene(world: World) -> None:
        fields = (("To", f"<sip:101@{PBX}>"),)
        world.phone.send(PBX, request("REGISTER", f"sip:{PBX}", 1, world.phone.at, *fields).encode())
        answer = await world.phone.message("200")
        assert answer.one("Contact") == f"<sip:101@{world.phone.at}>;expires=3600"
        body = sdp("b", MEDIA, 1)
        asked = request("INVITE", f"sip:101@{PBX}", 1, world.provider.at, ("Call-ID", "other"), body=body)
        world.provider.send(PBX, asked.encode())
        assert (await world.phone.message("INVITE")).uri == f"sip:101@{world.phone.at}"

    play(scene)


@pytest.mark.parametrize(("method", "body", "status"), [("OPTIONS", "", 200), ("INFO", "", 501), ("INVITE", "", 501)])
def test_what_else_is_asked_gets_an_answer(method: str, body: str, status: int) -> None:
    async def scene(world: World) -> None:
        world.phone.send(PBX, request(method, URI, 1, world.phone.at, body=body).encode())
        await world.phone.message(str(status))

    play(scene)


def test_one_that_is_nat_aware_writes_its_public_address_outside_alone() -> None:
    async def scene(world: World) -> None:
        invite, answer = await world.call()
        assert invite.media == Endpoint(PUBLIC, MEDIA_PORTS[0] + 2)
        assert invite.one("Via").startswith(f"SIP/2.0/UDP {PUBLIC}:5060;")
        assert uri_of(invite.one("Contact")) == f"sip:pbx@{PUBLIC}:5060"
        assert f"@{PUBLIC}>" in invite.one("From")
        # Its own address is in Call-ID alone, which names a dialog and leads nowhere.
        assert [name for name, value in invite.fields if PBX.host in value] == ["Call-ID"]
        assert PBX.host not in invite.body
        assert answer.media == Endpoint(PBX.host, MEDIA_PORTS[0])

    play(scene, replace(SETTINGS, public=PUBLIC))


def test_one_without_a_relay_tells_each_end_the_other_s_address() -> None:
    async def scene(world: World) -> None:
        invite, answer = await world.call()
        assert (invite.media, answer.media) == (PHONE_MEDIA, MEDIA)
        assert f"o=- 4713 1 IN IP4 {PBX.host}\r\n" in invite.body

    play(scene, replace(SETTINGS, relays=False))


def test_a_signal_redirects(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    redirected: list[Pbx] = []
    monkeypatch.setattr(Pbx, "redirect_all", lambda pbx: redirected.append(pbx))

    async def whole() -> None:
        running = asyncio.create_task(run(SETTINGS))
        async with asyncio.timeout(30.0):
            while "ready" not in capsys.readouterr().out:
                await asyncio.sleep(0.001)
            os.kill(os.getpid(), signal.SIGUSR1)
            while not redirected:
                await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(whole())
    assert len(redirected) == 1
    assert NETWORK in redirected[0].settings.address
