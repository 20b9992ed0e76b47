"""Commands become kernel state, all or none: against maps and a connection tracker that are lists."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.datapath.conntrack import FlowState, FlowTakenError
from sipalg.datapath.executor import Executor, Failure, Trigger
from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.nft_steps import MapCommand
from sipalg.engine.verdict import (
    UDP,
    AdmitPeer,
    CheckFlow,
    CloseMapping,
    Command,
    DismissPeer,
    EndFlow,
    Endpoint,
    EstablishFlow,
    Flow,
    Mapping,
    OpenMapping,
    RefreshMapping,
    Reply,
)

PHONE = Endpoint("192.168.33.10", 10000)
ROUTER = Endpoint("203.0.113.1", 20000)
MEDIA = Endpoint("203.0.113.60", 30000)
MAPPING = Mapping(UDP, PHONE, ROUTER, "media")
OTHER = Mapping(UDP, Endpoint("192.168.33.11", 10000), Endpoint("203.0.113.1", 20002), "media")
FLOW = Flow(UDP, PHONE, ROUTER, MEDIA)
OTHER_FLOW = Flow(UDP, OTHER.private, OTHER.public, MEDIA)
TRIGGER = Trigger(UDP, PHONE, MEDIA)


class Kernel:
    """The maps and the connection tracker in one: it notes what is done, and refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.done: list[tuple[str, object]] = []
        self.fixed: list[bool] = []
        self.traffic = False
        self.refuse: dict[Command, Exception] = {}
        self.leaves_as: Endpoint | OSError | None = None
        #: How many flows were made at once, each time.
        self.together: list[int] = []
        self.refuse_ends: OSError | None = None
        self.on_ends: Callable[[], None] = lambda: None

    def apply(self, commands: Sequence[MapCommand]) -> None:
        for index, command in enumerate(commands):
            error = self.refuse.get(command)
            if error is not None:
                if isinstance(error, NetlinkError):
                    raise NetlinkError(error.errno or 0, index if error.index >= 0 else -1)
                raise error
        self.done.append(("maps", tuple(commands)))

    def establish_all(self, flows: Sequence[Flow], timeout_s: float, *, fixed: bool = False) -> None:
        for flow in flows:
            error = self.refuse.get(EstablishFlow(flow, timeout_s))
            if error is not None:
                raise error
        self.together.append(len(flows))
        for flow in flows:
            self.fixed.append(fixed)
            self.done.append(("establish", flow))

    def check(self, flow: Flow, timeout_s: float, *, fixed: bool = False) -> FlowState:
        self.fixed.append(fixed)
        self._flow("check", flow, CheckFlow(flow, timeout_s))
        return FlowState(True, self.traffic)

    def end_flows(self, flows: Sequence[Flow]) -> None:
        if self.refuse_ends is not None:
            raise self.refuse_ends
        self.on_ends()
        self.done += (("end", flow) for flow in flows)

    def _flow(self, what: str, flow: Flow, command: Command) -> None:
        error = self.refuse.get(command)
        if error is not None:
            raise error
        self.done.append((what, flow))

    def source_nat_of(self, protocol: int, private: Endpoint, remote: Endpoint) -> Endpoint | None:
        assert (protocol, private, remote) == TRIGGER
        if isinstance(self.leaves_as, OSError):
            raise self.leaves_as
        return self.leaves_as


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def executor(kernel: Kernel) -> Executor:
    return Executor(kernel, kernel)


def test_maps_go_first_in_one_transaction_then_the_flows(kernel: Kernel, executor: Executor) -> None:
    commands = (
        EstablishFlow(FLOW, 60.0),
        OpenMapping(MAPPING, 30.0),
        CheckFlow(OTHER_FLOW, 60.0),
        RefreshMapping(OTHER, 30.0),
        EndFlow(OTHER_FLOW),
    )
    assert executor.run(commands) is None
    assert kernel.done == [
        ("maps", (OpenMapping(MAPPING, 30.0), RefreshMapping(OTHER, 30.0))),
        ("establish", FLOW),
        ("check", OTHER_FLOW),
        ("end", OTHER_FLOW),
    ]


def test_no_map_command_means_no_transaction(kernel: Kernel, executor: Executor) -> None:
    assert executor.run((EndFlow(FLOW),)) is None
    assert kernel.done == [("end", FLOW)]


class Sent(list[Reply]):
    """Replies that were sent; `error` is raised instead."""

    error: OSError | None = None

    def send(self, reply: Reply) -> None:
        if self.error is not None:
            raise self.error
        self.append(reply)


def test_a_reply_is_sent_or_has_failed(kernel: Kernel, executor: Executor) -> None:
    reply = Reply(b"SIP/2.0 488", MEDIA, PHONE)
    sent = Sent()
    assert Executor(kernel, kernel, sent).run((reply,)) is None
    assert sent == [reply]
    sent.error = OSError(errno.EPERM, "dropped by the filter")
    failed = Executor(kernel, kernel, sent).run((reply,))
    assert failed is not None
    assert (failed.place, failed.reason) == (0, "reply-failed")
    assert executor.run((reply,)) == Failure(0, "reply-failed", "nothing here can send it")
    assert kernel.done == []


def test_signalling_flows_keep_their_time_whatever_packets_come(kernel: Kernel, executor: Executor) -> None:
    commands = (
        EstablishFlow(FLOW, 150.0, fixed=True),
        CheckFlow(FLOW, 150.0, fixed=True),
        EstablishFlow(OTHER_FLOW, 150.0),
        CheckFlow(OTHER_FLOW, 150.0),
    )
    assert executor.run(commands) is None
    assert sorted(kernel.fixed) == [False, False, True, True]


@pytest.mark.parametrize(
    ("error", "place", "reason"),
    [
        (NetlinkError(errno.EEXIST, 1), 2, "port-taken"),
        (NetlinkError(errno.ENOENT, 1), 2, "kernel-error"),
        (NetlinkError(errno.ENOMEM, -1), 1, "kernel-error"),
        (OSError(errno.EPERM, "no"), 1, "kernel-error"),
    ],
)
def test_refused_maps_are_told_by_their_place_among_all_commands(
    kernel: Kernel, executor: Executor, error: Exception, place: int, reason: str
) -> None:
    kernel.refuse[OpenMapping(OTHER, 30.0)] = error
    failure = executor.run((EstablishFlow(FLOW, 60.0), OpenMapping(MAPPING, 30.0), OpenMapping(OTHER, 30.0)))
    assert failure is not None
    assert (failure.place, failure.reason) == (place, reason)
    assert kernel.done == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [(FlowTakenError("192.168.33.99 has it"), "port-taken"), (NetlinkError(errno.ENOMEM), "kernel-error")],
)
def test_a_refused_flow_takes_back_all_that_was_done(
    kernel: Kernel, executor: Executor, error: Exception, reason: str
) -> None:
    kernel.refuse[EstablishFlow(OTHER_FLOW, 60.0)] = error
    commands = (
        OpenMapping(MAPPING, 30.0),
        AdmitPeer(MAPPING, "203.0.113.50", 30.0),
        EstablishFlow(FLOW, 60.0),
        EstablishFlow(OTHER_FLOW, 60.0),
        CloseMapping(OTHER),
        DismissPeer(OTHER, "203.0.113.50"),
        EndFlow(OTHER_FLOW),
    )
    failure = executor.run(commands)
    assert failure is not None
    assert (failure.place, failure.reason) == (3, reason)
    assert failure.detail
    assert kernel.done[2:] == [
        (
            "maps",
            (
                AdmitPeer(OTHER, "203.0.113.50", 60.0),
                OpenMapping(OTHER, 60.0),
                DismissPeer(MAPPING, "203.0.113.50"),
                CloseMapping(MAPPING),
            ),
        ),
        ("end", FLOW),
    ]


def test_an_ended_flow_comes_back_and_more_time_stays_given(kernel: Kernel, executor: Executor) -> None:
    kernel.refuse[CheckFlow(OTHER_FLOW, 60.0)] = FlowTakenError("taken")
    failure = executor.run((RefreshMapping(MAPPING, 30.0), EndFlow(FLOW), CheckFlow(OTHER_FLOW, 60.0)))
    assert failure == Failure(2, "port-taken", "taken")
    assert kernel.done == [("maps", (RefreshMapping(MAPPING, 30.0),)), ("end", FLOW), ("establish", FLOW)]


def test_what_cannot_be_taken_back_is_left(kernel: Kernel, executor: Executor) -> None:
    kernel.refuse[EstablishFlow(FLOW, 60.0)] = FlowTakenError("taken")
    kernel.refuse[CloseMapping(MAPPING)] = NetlinkError(errno.EIO)
    failure = executor.run((OpenMapping(MAPPING, 30.0), EstablishFlow(FLOW, 60.0)))
    assert failure == Failure(1, "port-taken", "taken")
    assert kernel.done == [("maps", (OpenMapping(MAPPING, 30.0),))]


# Flows together, and later


class Later(list[Callable[[], None]]):
    """What is to be called later, when the test says so."""

    def run(self) -> None:
        calls = self[:]
        self.clear()
        for call in calls:
            call()


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
def patient(kernel: Kernel, later: Later) -> Executor:
    return Executor(kernel, kernel, later=later.append)


def test_the_flows_of_a_message_are_made_at_once(kernel: Kernel, executor: Executor) -> None:
    signalling = EstablishFlow(OTHER_FLOW._replace(remote=ROUTER), 150.0, fixed=True)
    assert executor.run((EstablishFlow(FLOW, 60.0), signalling, EstablishFlow(OTHER_FLOW, 60.0))) is None
    assert kernel.together == [2, 1]
    assert kernel.fixed == [False, False, True]


def test_the_refused_one_of_several_flows_is_found(kernel: Kernel, executor: Executor) -> None:
    kernel.refuse[EstablishFlow(OTHER_FLOW, 60.0)] = FlowTakenError("taken")
    commands = (EstablishFlow(FLOW, 60.0), EstablishFlow(OTHER_FLOW, 60.0))
    assert executor.run(commands) == Failure(1, "port-taken", "taken")
    assert kernel.done == [("establish", FLOW), ("end", FLOW)]
    kernel.done.clear()
    assert executor.run_each(commands) == [Failure(1, "port-taken", "taken")]
    assert kernel.done == [("establish", FLOW)]


def test_a_later_commands_failure_takes_back_all_flows_that_begun(kernel: Kernel, executor: Executor) -> None:
    kernel.refuse[CheckFlow(OTHER_FLOW, 60.0)] = FlowTakenError("taken")
    assert executor.run((CheckFlow(OTHER_FLOW, 60.0), EstablishFlow(FLOW, 60.0))) == Failure(0, "port-taken", "taken")
    assert kernel.done == [("establish", FLOW), ("end", FLOW)]


def test_flows_of_several_messages_end_together_and_later(kernel: Kernel, patient: Executor, later: Later) -> None:
    assert patient.run((EndFlow(FLOW),)) is None
    assert patient.run((EndFlow(OTHER_FLOW),)) is None
    assert kernel.done == []
    assert len(later) == 1
    later.run()
    assert kernel.done == [("end", FLOW), ("end", OTHER_FLOW)]
    assert patient.run((EndFlow(FLOW),)) is None
    later.run()
    assert kernel.done[2:] == [("end", FLOW)]


@pytest.mark.parametrize("again", [EstablishFlow(FLOW, 60.0), CheckFlow(FLOW, 60.0)])
def test_a_flow_that_begins_again_does_not_end(
    kernel: Kernel, patient: Executor, later: Later, again: Command
) -> None:
    assert patient.run((EndFlow(FLOW),)) is None
    assert patient.run((again,)) is None
    later.run()
    assert [what for what, _ in kernel.done] == ["establish" if isinstance(again, EstablishFlow) else "check"]


def test_a_flow_that_is_ended_and_made_in_one_message_stands(kernel: Kernel, patient: Executor, later: Later) -> None:
    assert patient.run((EndFlow(FLOW), EstablishFlow(FLOW, 60.0))) is None
    later.run()
    assert kernel.done == [("establish", FLOW)]


def test_what_is_to_end_makes_way_for_what_begins(kernel: Kernel, patient: Executor, later: Later) -> None:
    taken = EstablishFlow(FLOW, 60.0)
    kernel.refuse[taken] = FlowTakenError("taken")
    kernel.on_ends = kernel.refuse.clear
    assert patient.run((EndFlow(OTHER_FLOW),)) is None
    assert patient.run((taken,)) is None
    later.run()
    assert kernel.done == [("end", OTHER_FLOW), ("establish", FLOW)]


def test_ends_that_the_kernel_refuses_are_told_and_tried_once_more(
    kernel: Kernel, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.refuse_ends = NetlinkError(errno.ENOBUFS)
    assert executor.run((EndFlow(FLOW),)) is None
    assert "flows-not-ended" in caplog.text
    assert "again=1 lost=0" in caplog.text
    assert executor.run((EndFlow(OTHER_FLOW),)) is None
    assert "again=1 lost=1" in caplog.text
    kernel.refuse_ends = None
    executor.end_flows()
    executor.end_flows()
    assert kernel.done == [("end", OTHER_FLOW)]


def test_an_end_waits_for_what_makes_the_flow_again_to_stand(kernel: Kernel, patient: Executor, later: Later) -> None:
    kernel.refuse[EstablishFlow(OTHER_FLOW, 60.0)] = FlowTakenError("taken")
    assert patient.run((EndFlow(FLOW),)) is None
    failure = patient.run((EstablishFlow(OTHER_FLOW, 60.0), EstablishFlow(FLOW, 60.0)))
    assert failure == Failure(0, "port-taken", "taken")
    later.run()
    assert kernel.done == [("end", FLOW)]


def test_flows_with_another_time_than_the_refused_one_go_with_it(
    kernel: Kernel, patient: Executor, later: Later
) -> None:
    kernel.refuse[EstablishFlow(OTHER_FLOW, 60.0)] = FlowTakenError("taken")
    behind = EstablishFlow(FLOW, 7200.0)
    ahead = EstablishFlow(FLOW._replace(remote=ROUTER), 7200.0)
    failure = patient.run((ahead, EstablishFlow(OTHER_FLOW, 60.0), behind))
    assert failure == Failure(1, "port-taken", "taken")
    later.run()
    standing: set[object] = set()
    for what, flow in kernel.done:
        (standing.add if what == "establish" else standing.discard)(flow)
    assert standing == set()


def test_what_is_to_end_makes_way_for_what_is_looked_after(kernel: Kernel, patient: Executor) -> None:
    check = CheckFlow(FLOW, 60.0)
    kernel.refuse[check] = FlowTakenError("taken")
    kernel.on_ends = kernel.refuse.clear
    holder = FLOW._replace(private=OTHER.private)
    assert patient.run((EndFlow(OTHER_FLOW),)) is None
    assert patient.run((check,)) == Failure(0, "port-taken", "taken")
    assert kernel.done == []
    assert patient.run((EndFlow(holder),)) is None
    assert patient.run((check,)) is None
    assert kernel.done == [("end", OTHER_FLOW), ("end", holder), ("check", FLOW)]


def test_an_end_that_was_not_done_yet_is_taken_back_with_the_flows_whole_time(
    kernel: Kernel, patient: Executor, later: Later
) -> None:
    kernel.refuse[EstablishFlow(OTHER_FLOW, 60.0)] = FlowTakenError("taken")
    failure = patient.run((EndFlow(FLOW), EstablishFlow(OTHER_FLOW, 60.0)))
    assert failure == Failure(1, "port-taken", "taken")
    later.run()
    assert kernel.done == []


class Standing(Kernel):
    """Flows stand until they end; those of one public and remote endpoint are in each other's way."""

    def __init__(self) -> None:
        super().__init__()
        #: With the time that each was given last, and whether it is fixed.
        self.up: dict[Flow, tuple[float, bool]] = {}
        self.taken: set[Flow] = set()

    def establish_all(self, flows: Sequence[Flow], timeout_s: float, *, fixed: bool = False) -> None:
        made: list[Flow] = []
        for flow in flows:
            in_way = {one for one in self.up.keys() - {flow} if (one.public, one.remote) == (flow.public, flow.remote)}
            if in_way or flow in self.taken:
                self.end_flows(made)
                raise FlowTakenError("taken")
            self.up[flow] = timeout_s, fixed
            made.append(flow)

    def check(self, flow: Flow, timeout_s: float, *, fixed: bool = False) -> FlowState:
        self.establish_all((flow,), timeout_s, fixed=fixed)
        return FlowState(True, False)

    def end_flows(self, flows: Sequence[Flow]) -> None:
        for flow in flows:
            self.up.pop(flow, None)


FLOWS = [
    Flow(UDP, private, public, MEDIA._replace(port=port))
    for private in (PHONE, OTHER.private)
    for public in (ROUTER, OTHER.public)
    for port in (30000, 30002)
]


@given(st.data())
def test_whatever_is_refused_the_flows_that_stand_are_those_of_the_messages_that_were_done(
    data: st.DataObject,
) -> None:
    kernel, later = Standing(), Later()
    executor = Executor(kernel, kernel, later=later.append)
    wanted: set[Flow] = set()
    for _ in range(data.draw(st.integers(1, 6))):
        commands: list[Command] = []
        asked = set(wanted)
        for flow in data.draw(st.lists(st.sampled_from(FLOWS), max_size=5, unique=True)):
            if flow not in asked:
                commands.append(EstablishFlow(flow, data.draw(st.sampled_from([60.0, 7200.0]))))
                asked.add(flow)
            elif data.draw(st.booleans()):
                commands.append(EndFlow(flow))
                asked.discard(flow)
            else:
                commands.append(CheckFlow(flow, 60.0))
        kernel.taken = data.draw(st.sets(st.sampled_from(FLOWS), max_size=2)) - wanted
        if executor.run(commands) is None:
            wanted = asked
        if data.draw(st.booleans()):
            later.run()
            assert kernel.up.keys() == wanted
    later.run()
    assert kernel.up.keys() == wanted


# Flows that the administrator doesn't translate


@pytest.mark.parametrize(("leaves_as", "refused"), [(PHONE, True), (ROUTER, False), (None, False)])
def test_no_mapping_for_a_flow_without_source_nat(
    kernel: Kernel, executor: Executor, leaves_as: Endpoint | None, refused: bool
) -> None:
    kernel.leaves_as = leaves_as
    failure = executor.run((RefreshMapping(OTHER, 30.0), OpenMapping(MAPPING, 30.0)), TRIGGER)
    if refused:
        assert failure is not None
        assert (failure.place, failure.reason) == (1, "not-natted")
        assert kernel.done == []
    else:
        assert failure is None
        assert len(kernel.done) == 1


def test_conntrack_is_asked_only_where_a_mapping_is_opened(kernel: Kernel, executor: Executor) -> None:
    kernel.leaves_as = OSError("not to be asked")
    assert executor.run((RefreshMapping(MAPPING, 30.0),), TRIGGER) is None
    assert executor.run((OpenMapping(MAPPING, 30.0),)) is None


def test_a_conntrack_that_does_not_answer_is_a_failure(kernel: Kernel, executor: Executor) -> None:
    kernel.leaves_as = NetlinkError(errno.EPERM)
    failure = executor.run((OpenMapping(MAPPING, 30.0),), TRIGGER)
    assert failure is not None
    assert failure.reason == "kernel-error"


# Commands of timers


def test_each_by_itself_still_is_one_transaction_where_all_is_well(kernel: Kernel, executor: Executor) -> None:
    assert executor.run_each((CloseMapping(MAPPING), EndFlow(FLOW), CloseMapping(OTHER))) == []
    assert kernel.done == [("maps", (CloseMapping(MAPPING), CloseMapping(OTHER))), ("end", FLOW)]


def test_one_that_fails_does_not_keep_the_others_from_being_done(kernel: Kernel, executor: Executor) -> None:
    kernel.refuse[RefreshMapping(MAPPING, 9.0)] = NetlinkError(errno.ENOENT)
    kernel.refuse[CheckFlow(FLOW, 60.0)] = FlowTakenError("taken")
    commands = (CheckFlow(FLOW, 60.0), RefreshMapping(MAPPING, 9.0), CloseMapping(OTHER), EndFlow(OTHER_FLOW))
    failures = executor.run_each(commands)
    assert [(failure.place, failure.reason) for failure in failures] == [(1, "kernel-error"), (0, "port-taken")]
    assert kernel.done == [("maps", (CloseMapping(OTHER),)), ("end", OTHER_FLOW)]


def test_flows_that_carry_packets_are_told_once_for_each_time_they_did(kernel: Kernel, executor: Executor) -> None:
    for traffic in (False, True, False, True):
        kernel.traffic = traffic
        assert executor.run_each((CheckFlow(FLOW, 60.0),)) == []
        assert executor.take_seen() == [FLOW] * traffic
    assert executor.take_seen() == []


# Flows that mappings make untrue

SIP = Mapping(UDP, PHONE._replace(port=5060), ROUTER._replace(port=5060), "sip")
NEXT = SIP._replace(private=OTHER.private)


@pytest.mark.parametrize("each", [False, True])
def test_mappings_of_sip_that_ended_and_began_are_told_once(
    kernel: Kernel, executor: Executor, each: bool
) -> None:
    commands = (CloseMapping(MAPPING), CloseMapping(SIP), OpenMapping(NEXT, 30.0), OpenMapping(OTHER, 30.0))
    assert not (executor.run_each(commands) if each else executor.run(commands))
    assert len(kernel.done) == 1
    assert executor.take_sip() == ({SIP: None}, {NEXT: None})
    assert executor.take_sip() == ({}, {})


def test_what_was_undone_makes_nothing_untrue(kernel: Kernel, executor: Executor) -> None:
    kernel.refuse[EstablishFlow(FLOW, 60.0)] = FlowTakenError("taken")
    assert executor.run((OpenMapping(SIP, 30.0), EstablishFlow(FLOW, 60.0))) is not None
    assert executor.take_sip() == ({}, {})
    assert kernel.done == [("maps", (OpenMapping(SIP, 30.0),)), ("maps", (CloseMapping(SIP),))]


def test_a_mapping_that_is_closed_and_opened_alike_has_made_nothing_untrue(executor: Executor) -> None:
    assert not executor.run((CloseMapping(SIP),))
    assert not executor.run((OpenMapping(SIP, 30.0),))
    assert not executor.run((OpenMapping(NEXT, 30.0),))
    assert not executor.run((CloseMapping(NEXT),))
    assert executor.take_sip() == ({NEXT: None}, {SIP: None})


def test_what_leaves_as_it_is_is_not_asked_about_and_makes_nothing_untrue(kernel: Kernel, executor: Executor) -> None:
    own = Endpoint("2001:db8:1::10", 5060)
    as_it_is = Mapping(UDP, own, own, "sip")
    kernel.leaves_as = OSError("not to be asked")
    trigger = Trigger(UDP, own, Endpoint("2001:db8:5::50", 5060))
    assert executor.run((OpenMapping(as_it_is, 30.0),), trigger) is None
    assert executor.run((CloseMapping(as_it_is),)) is None
    assert executor.take_sip() == ({}, {})
