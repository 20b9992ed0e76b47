"""One relayed connection over loopback: whatever is sent comes out at the other end, messages translated."""

from __future__ import annotations

import gc
import logging
import select
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.datapath.streams import PRIVATE, PUBLIC, World, message

from sipalg.codec.stream import MAX_MESSAGE_BYTES
from sipalg.datapath.relay_connection import (
    ANSWER_S,
    FIRST_MESSAGE_S,
    FIRST_REST_S,
    FIRST_WORD_S,
    HALF_CLOSED_S,
    REST_S,
)
from sipalg.datapath.relay_leg import FULL_BYTES, READ_BYTES, Leg
from sipalg.engine.verdict import TCP, Endpoint

OUT = message(b"c=IN IP4 192.168.33.10", b"INVITE")
TRANSLATED = OUT.replace(PRIVATE, PUBLIC)
BACK = message(b"", b"INVITE", PUBLIC)
PHONE = Endpoint("127.0.0.1", 0)
PING = b"\r\n\r\n"


def test_messages_are_translated_both_ways() -> None:
    with World() as world:
        world.opener.send(PING + OUT + OUT + OUT[:40])
        far = world.accept()
        assert world.received(far, len(PING + TRANSLATED * 2)) == PING + TRANSLATED * 2
        world.opener.send(OUT[40:])
        assert world.received(far, len(TRANSLATED)) == TRANSLATED
        far.send(BACK)
        assert world.received(world.opener, len(BACK)) == BACK.replace(PUBLIC, PRIVATE)
        ends = world.connection.ends
        asked = world.hub.asked
        assert [one.payload for one in asked] == [PING, OUT, OUT, OUT, BACK]
        assert asked[1][1:] == (ends.opener, ends.target, TCP, "lan0")
        assert asked[-1][1:] == (ends.target, ends.opener, TCP, "wan0")


def test_the_invite_split_at_every_byte_comes_out_the_same() -> None:
    with World() as world:
        world.opener.send(OUT)
        far = world.accept()
        assert world.received(far, len(TRANSLATED)) == TRANSLATED
        for place in range(1, len(OUT)):
            world.opener.send(OUT[:place])
            world.steps(2)
            world.opener.send(OUT[place:])
            assert world.received(far, len(TRANSLATED)) == TRANSLATED
        assert world.connection.forth.messages == len(OUT)


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00\x01192.168.33.10", b"POST / HTTP/1.1\r\n\r\n"])
def test_what_does_not_begin_as_sip_is_untouched(first: bytes) -> None:
    with World() as world:
        world.opener.send(first + OUT)
        far = world.accept()
        assert world.received(far, len(first + OUT)) == first + OUT
        far.send(BACK)
        assert world.received(world.opener, len(BACK)) == BACK
        assert world.hub.asked == []
        assert world.hub.reasons == ["not-sip"]
        assert world.connection.untouched == "not-sip"


def test_after_a_message_without_length_its_direction_is_untouched() -> None:
    odd = b"OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.33.10\r\n\r\n"
    with World() as world:
        world.opener.send(OUT + odd + OUT)
        far = world.accept()
        assert world.received(far, len(TRANSLATED + odd + OUT)) == TRANSLATED + odd + OUT
        far.send(BACK)
        assert world.received(world.opener, len(BACK)) == BACK.replace(PUBLIC, PRIVATE)
        assert world.hub.reasons == ["content-length-missing"]


def test_a_connection_opened_from_outside_goes_on_at_once() -> None:
    with World(from_inside=False) as world:
        far = world.accept()
        world.opener.send(BACK)
        assert world.received(far, len(BACK)) == BACK.replace(PUBLIC, PRIVATE)
        far.send(OUT)
        assert world.received(world.opener, len(TRANSLATED)) == TRANSLATED
        ends = world.connection.ends
        assert world.hub.asked[0][1:] == (ends.opener, ends.target, TCP, "wan0")
        assert world.hub.asked[1][1:] == (ends.target, ends.opener, TCP, "lan0")


def test_it_connects_from_the_mappings_public_port_and_from_another_where_that_is_taken() -> None:
    with World() as world:
        with socket.create_server(("127.0.0.1", 0)) as free:
            public = Endpoint(*free.getsockname())
        world.hub.mapped[world.connection.home] = public
        world.opener.send(OUT)
        assert world.accept().getpeername() == public
    with World() as world, socket.create_server(("127.0.0.1", 0)) as taken:
        world.hub.mapped[world.connection.home] = Endpoint(*taken.getsockname())
        world.opener.send(OUT)
        assert world.accept().getpeername() != taken.getsockname()


def test_a_connection_that_the_phone_left_behind_makes_way() -> None:
    with World() as world, socket.create_server(("127.0.0.1", 0)) as taken:
        public = Endpoint(*taken.getsockname())
        world.hub.mapped[world.connection.home] = public

        def displace() -> bool:
            taken.close()
            return True

        world.hub.displacing = displace
        world.opener.send(OUT)
        world.steps()
        assert not select.select([world.listener], [], [], 0)[0], "it waits for the other's answer"
        world.connection.look(world.hub.time.now)
        assert not select.select([world.listener], [], [], 0)[0]
        world.hub.time.now += ANSWER_S
        world.connection.look(world.hub.time.now)
        assert world.accept().getpeername() == public


def test_a_connection_that_is_still_there_keeps_its_port() -> None:
    with World() as world, socket.create_server(("127.0.0.1", 0)) as taken:
        world.hub.mapped[world.connection.home] = Endpoint(*taken.getsockname())
        world.hub.displacing = lambda: True
        world.opener.send(OUT)
        world.steps()
        world.hub.time.now += ANSWER_S
        world.connection.look(world.hub.time.now)
        assert world.accept().getpeername() != taken.getsockname()


def test_the_first_message_tells_whose_connection_it_is() -> None:
    with World() as world:
        own = b"OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5066\r\nContent-Length: 0\r\n\r\n"
        world.opener.send(own + own.replace(b"5066", b"5077"))
        world.accept()
        assert world.connection.home == Endpoint("127.0.0.1", 5066)
        assert world.hub.homes == [world.connection.home]
        assert {one.source for one in world.hub.asked} == {Endpoint("127.0.0.1", 5066)}


def test_a_keep_alive_alone_opens_nothing_yet() -> None:
    with World() as world:
        own = b"OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5066\r\nContent-Length: 0\r\n\r\n"
        with socket.create_server(("127.0.0.1", 0)) as free:
            public = Endpoint(*free.getsockname())
        world.hub.mapped[Endpoint("127.0.0.1", 5066)] = public
        world.opener.send(PING)
        world.steps()
        world.opener.send(own)
        far = world.accept()
        assert far.getpeername() == public
        assert world.received(far, len(PING + own)) == PING + own


def test_a_phone_that_waits_for_the_server_gets_its_connection() -> None:
    with World() as world:
        world.hub.time.now += FIRST_WORD_S
        world.connection.look(world.hub.time.now)
        far = world.accept()
        far.send(b"220 hello\r\n")
        assert world.received(world.opener, 11) == b"220 hello\r\n"


@pytest.mark.parametrize(("before", "patience_s"), [(b"", FIRST_REST_S), (OUT, REST_S)])
def test_half_a_message_goes_on_when_its_rest_does_not_come(before: bytes, patience_s: float) -> None:
    with World() as world:
        world.opener.send(before + OUT[:40])
        world.steps()
        world.connection.look(world.hub.time.now + patience_s - 0.1)
        far = world.accept()
        expected = before.replace(PRIVATE, PUBLIC)
        if expected:
            assert world.received(far, len(expected)) == expected
        assert not world.at_end(far)
        world.connection.look(world.hub.time.now + patience_s)
        assert world.received(far, 40) == OUT[:40]
        assert world.hub.reasons == ["given-up"]


def test_the_streams_ends_go_on_one_after_the_other() -> None:
    with World() as world:
        world.opener.send(OUT + OUT[:30])
        far = world.accept()
        world.opener.shutdown(socket.SHUT_WR)
        assert world.received(far, len(TRANSLATED) + 30) == TRANSLATED + OUT[:30]
        assert world.at_end(far)
        assert not world.connection.over
        far.send(BACK)
        assert world.received(world.opener, len(BACK)) == BACK.replace(PUBLIC, PRIVATE)
        far.close()
        assert world.at_end(world.opener)
        assert world.hub.ends == ["closed"]


def test_a_reset_goes_on_as_one() -> None:
    with World() as world:
        world.opener.send(OUT)
        far = world.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        world.until(lambda: world.connection.over)
        with pytest.raises(ConnectionResetError):
            world.opener.recv(10)


def test_nobody_there_is_a_reset() -> None:
    with World(listening=False) as world:
        world.opener.send(OUT)
        world.until(lambda: world.connection.over)
        assert world.hub.ends == ["Connection refused"]


def test_closed_without_a_word() -> None:
    with World() as world:
        world.opener.close()
        world.until(lambda: world.connection.over)
        assert world.hub.ends == ["closed without a word"]


def test_a_slow_reader_slows_its_sender_and_loses_nothing() -> None:
    body = b"x" * 60000
    sent = message(body)
    count = 200
    with World() as world:
        far: socket.socket | None = None
        left = sent * count
        stuck = 0
        while left and stuck < 20:
            try:
                taken = world.opener.send(left[: 1 << 18])
            except BlockingIOError:
                taken = 0
            left = left[taken:]
            stuck = 0 if taken else stuck + 1
            world.steps(3)
            if far is None and world.connection.forth.messages:
                far = world.accept()
        assert left, "the relay takes no more than it can hand on"
        assert far is not None
        total = 0
        while total < len(sent.replace(PRIVATE, PUBLIC)) * count:
            with suppress(BlockingIOError):
                left = left[world.opener.send(left[: 1 << 18]) :] if left else b""
            try:
                total += len(far.recv(1 << 20))
            except BlockingIOError:
                world.steps(1)
        assert total == len(sent.replace(PRIVATE, PUBLIC)) * count


def test_who_does_not_read_the_answers_is_not_read() -> None:
    sent = message(b"v=0\r\n" * 20, b"INVITE")
    with World() as world:
        world.hub.answer = b"SIP/2.0 488 Not Acceptable Here\r\n" + b"x" * 60_000
        stuck = 0
        while stuck < 50:
            try:
                stuck = 0 if world.opener.send(sent * 20) else stuck
            except BlockingIOError:
                stuck += 1
            world.steps(1)
            assert waiting_bytes(world) <= FULL_BYTES + len(world.hub.answer)
            assert held_bytes(world) <= MAX_MESSAGE_BYTES + READ_BYTES
        decided = len(world.hub.asked)
        world.steps(50)
        assert len(world.hub.asked) == decided, "nothing more is read"
        world.received(world.opener, FULL_BYTES * 4)
        world.until(lambda: len(world.hub.asked) > decided)


def waiting_bytes(world: World) -> int:
    """The most that waits at one end."""
    return max(len(vars(leg)["_waiting"]) for leg in legs(world))


def held_bytes(world: World) -> int:
    """What waits in front of the engine, one way."""
    pieces = vars(world.connection)["_forth_pieces"]
    return world.connection.forth.held_bytes + sum(len(piece.data) for piece in pieces)


def legs(world: World) -> list[Leg]:
    facts = vars(world.connection)
    return [leg for leg in (facts["_opener"], facts["_onward"]) if leg is not None]


def test_one_piece_of_work_decides_one_message() -> None:
    with World() as world:
        world.opener.send(PING + OUT * 8 + OUT[:20])
        opener = legs(world)[0]
        while len(world.hub.asked) < 9:
            before = len(world.hub.asked)
            world.hub.loop.step(5)
            assert len(world.hub.asked) <= before + 1
        world.opener.shutdown(socket.SHUT_WR)
        far = world.accept()
        expected = PING + TRANSLATED * 8 + OUT[:20]
        assert world.received(far, len(expected)) == expected
        assert world.at_end(far)
        world.connection.close("test over")
        world.connection.work(opener)
        assert world.hub.ends == ["test over"]


def test_what_the_engine_answers_itself_goes_to_the_sender() -> None:
    with World() as world:
        world.hub.answer = b"SIP/2.0 488 Not Acceptable Here\r\n\r\n"
        world.opener.send(OUT)
        far = world.accept()
        assert world.received(world.opener, 10) == world.hub.answer
        assert not world.at_end(far)


def test_a_fault_ends_this_connection_only() -> None:
    def fail(_payload: bytes) -> bytes:
        raise ZeroDivisionError

    with World() as world:
        world.hub.decision = fail
        world.opener.send(OUT)
        world.until(lambda: world.connection.over)
        assert world.hub.ends == ["fault"]
        assert world.hub.log.total == 1


@pytest.mark.parametrize(("mapped", "over"), [(False, True), (True, False)])
def test_silence_ends_what_nobody_needs(mapped: bool, over: bool) -> None:
    with World() as world:
        world.opener.send(OUT)
        world.accept()
        if mapped:
            world.hub.mapped[world.connection.home] = Endpoint("203.0.113.1", 5060)
        world.connection.look(world.hub.time.now + 3600)
        assert not world.connection.over
        world.connection.look(world.hub.time.now + 3601)
        assert world.connection.over == over


def test_silence_ends_what_is_half_closed_sooner_and_what_is_not_sip_later() -> None:
    with World() as world:
        world.opener.send(OUT)
        world.accept()
        world.opener.shutdown(socket.SHUT_WR)
        world.steps()
        world.connection.look(world.hub.time.now + HALF_CLOSED_S + 1)
        assert world.hub.ends == ["silent"]
    with World() as world:
        world.hub.mapped[world.connection.home] = Endpoint("127.0.0.1", 0)
        world.opener.send(OUT)
        world.accept().shutdown(socket.SHUT_WR)
        world.steps()
        world.connection.look(world.hub.time.now + HALF_CLOSED_S + 1)
        assert world.hub.ends == ["silent"], "the server is gone, and the phone doesn't go"
    with World() as world:
        world.opener.send(b"\x16\x03\x01")
        world.accept()
        world.connection.look(world.hub.time.now + 3601)
        assert not world.connection.over
        world.connection.look(world.hub.time.now + 7441)
        assert world.connection.over


@pytest.mark.parametrize("from_inside", [True, False])
@pytest.mark.parametrize(("said", "over"), [(b"", True), (PING, True), (OUT, False), (b"hello\r\n", False)])
def test_without_a_message_it_has_a_short_while(said: bytes, over: bool, from_inside: bool) -> None:
    with World(from_inside=from_inside) as world:
        world.hub.mapped = {world.connection.home: PHONE, world.connection.ends.target: PHONE}
        world.opener.send(said)
        world.steps()
        world.connection.look(world.hub.time.now + FIRST_MESSAGE_S)
        world.accept()
        assert not world.connection.over
        world.connection.look(world.hub.time.now + FIRST_MESSAGE_S + 1)
        assert world.hub.ends == ["no message"] * over


PIECES = st.lists(st.binary(min_size=1, max_size=60) | st.sampled_from([OUT, OUT[:50], OUT[50:], PING]), max_size=6)


@settings(max_examples=15, deadline=None)
@given(PIECES)
def test_nothing_is_lost_whatever_is_sent(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    with World() as world:
        world.hub.decision = lambda payload: payload
        for piece in pieces:
            world.opener.send(piece)
            world.steps(1)
        world.hub.time.now += FIRST_WORD_S
        world.connection.look(world.hub.time.now)
        far = world.accept()
        world.opener.shutdown(socket.SHUT_WR)
        if whole:
            assert world.received(far, len(whole)) == whole
        assert world.at_end(far)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What is freed is freed by reference counts."""
    collecting = gc.isenabled()
    gc.disable()
    yield
    if collecting:
        gc.enable()


def end_by_its_streams(world: World) -> None:
    world.opener.close()
    world.accept().close()


def end_by_a_reset(world: World) -> None:
    far = world.accept()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()


def end_by_a_fault(world: World) -> None:
    def fail(_payload: bytes) -> bytes:
        raise ValueError("a fault")

    world.accept()
    world.hub.decision = fail
    world.opener.send(OUT)


def end_by_command(world: World) -> None:
    world.connection.close("stopped")


@pytest.mark.parametrize("end", [end_by_its_streams, end_by_a_reset, end_by_a_fault, end_by_command])
@pytest.mark.usefixtures("uncollected")
def test_one_that_has_ended_is_freed_without_the_collector(
    end: Callable[[World], None], caplog: pytest.LogCaptureFixture
) -> None:
    # A record that pytest keeps has the frames of its exception.
    caplog.set_level(logging.CRITICAL + 1)
    with World() as world:
        world.opener.send(OUT)
        end(world)
        world.until(lambda: world.connection.over)
        connection = world.connection
        # Who still has it may ask it again.
        connection.close("again")
        connection.look(world.hub.time.now + FIRST_WORD_S)
        connection.ask()
        assert len(world.hub.ends) == 1
        gone = weakref.ref(connection)
        del connection, world.connection
        world.until(lambda: not world.hub.working)
        assert gone() is None


@pytest.mark.usefixtures("uncollected")
def test_one_that_nobody_answers_is_freed_too() -> None:
    with World(listening=False) as world:
        world.opener.send(OUT)
        world.until(lambda: world.connection.over)
        gone = weakref.ref(world.connection)
        del world.connection
        assert gone() is None
