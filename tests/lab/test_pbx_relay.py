"""The PBX's media: what comes to one leg leaves from the other, RTP and RTCP, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.lab.pbx_ends import End, address

from sipalg.engine.verdict import Endpoint
from sipalg.lab.pbx_relay import Relay

PBX, NEAR, FAR = address(20), 10, 60


def play(scene: Callable[[Relay, list[End]], Awaitable[None]]) -> None:
    """Play with a relay and four ends: near RTP and RTCP, far RTP and RTCP."""

    async def whole() -> None:
        relay = await Relay(16000).open(PBX)
        ends = [await End.open(host, port) for host in (NEAR, FAR) for port in (10000, 10001)]
        try:
            await scene(relay, ends)
        finally:
            relay.close()
            for end in ends:
                end.close()

    asyncio.run(whole())


def test_both_ways_with_rtcp_beside() -> None:
    async def scene(relay: Relay, ends: list[End]) -> None:
        near, near_rtcp, far, far_rtcp = ends
        relay.send_to(0, near.at)
        relay.send_to(1, far.at)
        near.send(Endpoint(PBX, 16000), b"rtp")
        assert await far.packet() == (b"rtp", Endpoint(PBX, 16002))
        far_rtcp.send(Endpoint(PBX, 16003), b"rtcp")
        assert await near_rtcp.packet() == (b"rtcp", Endpoint(PBX, 16001))

    play(scene)


def test_silence_one_way_is_none_of_the_other() -> None:
    async def scene(relay: Relay, ends: list[End]) -> None:
        near, _, far, _ = ends
        relay.send_to(1, far.at)
        far.send(Endpoint(PBX, 16002), b"nobody is told where to")
        near.send(Endpoint(PBX, 16000), b"rtp")
        assert (await far.packet())[0] == b"rtp"
        relay.send_to(1, None)
        relay.send_to(0, near.at)
        near.send(Endpoint(PBX, 16000), b"nothing of this")
        far.send(Endpoint(PBX, 16002), b"back")
        assert (await near.packet())[0] == b"back"
        assert far.came.empty()

    play(scene)


def test_an_end_that_isn_t_there_is_no_trouble() -> None:
    async def scene(relay: Relay, ends: list[End]) -> None:
        near, _, far, _ = ends
        relay.send_to(1, Endpoint(address(99), 9))
        near.send(Endpoint(PBX, 16000), b"lost")
        near.send(Endpoint(PBX, 16000), b"lost too")
        relay.send_to(0, near.at)
        far.send(Endpoint(PBX, 16002), b"back")
        assert (await near.packet())[0] == b"back"

    play(scene)


def test_ports_are_taken_once_and_given_back() -> None:
    async def whole() -> None:
        first, second = await Relay(16000).open(PBX), Relay(16000)
        with pytest.raises(OSError, match="in use"):
            await second.open(PBX)
        second.close()
        first.close()
        await asyncio.sleep(0)
        (await Relay(16000).open(PBX)).close()

    asyncio.run(whole())
