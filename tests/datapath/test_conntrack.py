"""What Conntrack asks of the kernel, against one in memory that refuses as Linux does. The real one: tests/live."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

import pytest

from sipalg.control.service.parts import engine_settings
from sipalg.control.settings.model import Settings
from sipalg.datapath import ctnetlink, netlink
from sipalg.datapath.conntrack import Conntrack, FlowState, FlowTakenError, Untrue
from sipalg.datapath.ctnetlink import DESTINATION_NAT, FIXED_TIMEOUT, SOURCE_NAT, Tracked
from sipalg.datapath.netlink import Message, NetlinkError
from sipalg.engine.verdict import TCP, UDP, Endpoint, Flow, Mapping

P, N, S = Endpoint("192.168.20.2", 10000), Endpoint("203.0.113.1", 19032), Endpoint("203.0.113.50", 4000)
OTHER = Endpoint("192.168.20.3", 10000)
FLOW = Flow(UDP, P, N, S)
NEW, GET, DELETE = 0x100, 0x101, 0x102


class Kernel:
    """A table of entries; `on_delete` is what comes in between a deletion and the next request."""

    def __init__(self) -> None:
        self.entries: list[Tracked] = []
        self.on_delete: Tracked | None = None
        self.refuse = 0
        #: What is refused once, by the remote port.
        self.refuse_once: dict[int, int] = {}
        self.serial = 0
        #: Requests that came, several at once counted as one.
        self.calls = 0
        self.closed = False
        self.now = 1000.0

    def pass_time(self, seconds: float) -> None:
        """Let all entries' time go by."""
        self.now += seconds
        self.entries = [entry._replace(timeout_s=int(entry.timeout_s - seconds)) for entry in self.entries]

    def add(
        self, source: Endpoint, destination: Endpoint, reply: tuple[Endpoint, Endpoint], status: int = 0
    ) -> Tracked:
        self.serial += 1
        identity = self.serial.to_bytes(4, "big")
        entry = Tracked(UDP, source, destination, *reply, status, 30, 0, identity, (3, 4))
        self.entries.append(entry)
        return entry

    def by_tuple(self, source: Endpoint, destination: Endpoint) -> Tracked | None:
        for entry in self.entries:
            if (source, destination) in (entry[1:3], entry[3:5]):
                return entry
        return None

    def refusals(self, messages: Sequence[Message]) -> dict[int, NetlinkError]:
        self.calls += 1
        found = [(index, self.run(message)) for index, message in enumerate(messages)]
        return {index: NetlinkError(code, index) for index, code in found if code}

    def run(self, message: Message) -> int:
        if self.refuse:
            return self.refuse
        attributes = netlink.attributes(message.body, 4)
        asked = ctnetlink.decode_entry(message.body + ctnetlink.encode_tuple(2, UDP, P, P) * (2 not in attributes))
        assert asked is not None
        refusal = self.refuse_once.pop(asked.original_destination.port, 0)
        if refusal:
            return refusal
        found = self.by_tuple(asked.original_source, asked.original_destination)
        if message.kind == DELETE:
            if found is None or found.identity != attributes.get(12, found.identity):
                return errno.ENOENT
            self.entries.remove(found)
            if self.on_delete is not None:
                self.entries.append(self.on_delete)
            return 0
        if not message.flags & netlink.CREATE:
            if found is None:
                return errno.ENOENT
            self.entries[self.entries.index(found)] = found._replace(timeout_s=asked.timeout_s)
            return 0
        remote = asked.original_destination
        if found is not None or self.by_tuple(remote, N) is not None:
            return errno.EEXIST
        entry = self.add(P, remote, (remote, N), asked.status | SOURCE_NAT)
        self.entries[-1] = entry._replace(timeout_s=asked.timeout_s)
        return 0

    def request(self, message: Message) -> list[Message]:
        self.calls += 1
        if self.refuse:
            raise NetlinkError(self.refuse)
        if message.flags & netlink.DUMP:
            return [encode(entry) for entry in self.entries]
        asked = ctnetlink.decode_entry(message.body + ctnetlink.encode_tuple(2, UDP, P, P))
        assert asked is not None
        refusal = self.refuse_once.pop(asked.original_destination.port, 0)
        if refusal:
            raise NetlinkError(refusal)
        found = self.by_tuple(asked.original_source, asked.original_destination)
        if found is None:
            raise NetlinkError(errno.ENOENT)
        return [encode(found)]

    def pieces(self, message: Message) -> Iterator[list[Message]]:
        return ([one] for one in self.request(message))

    def close(self) -> None:
        self.closed = True


def end_untrue(table: Conntrack, ended: list[Mapping], begun: list[Mapping]) -> int:
    """Search and delete; how many there were."""
    found = table.find_untrue(Untrue(ended, begun))
    table.delete(found)
    return len(found)


def encode(entry: Tracked) -> Message:
    assert entry.packets is not None
    parts = (
        ctnetlink.encode_tuple(1, entry.protocol, entry.original_source, entry.original_destination),
        ctnetlink.encode_tuple(2, entry.protocol, entry.reply_source, entry.reply_destination),
        netlink.u32(3, entry.status),
        netlink.u32(7, entry.timeout_s),
        netlink.attribute(12, entry.identity),
        *(netlink.nested(9 + i, netlink.u64(1, packets)) for i, packets in enumerate(entry.packets)),
    )
    return Message(NEW, 0, b"\2\0\0\0" + b"".join(parts))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def table(kernel: Kernel) -> Iterator[Conntrack]:
    with Conntrack(lambda: kernel.now, kernel) as conntrack:
        yield conntrack
    assert kernel.closed


def only(kernel: Kernel) -> Tracked:
    (entry,) = kernel.entries
    return entry


def test_an_entry_is_made_in_one_request(kernel: Kernel, table: Conntrack) -> None:
    table.establish(FLOW, 60)
    assert only(kernel)[1:5] == (P, S, S, N)
    assert only(kernel).timeout_s == 60


def test_one_that_stands_is_given_its_time(kernel: Kernel, table: Conntrack) -> None:
    before = kernel.add(P, S, (S, N))
    table.establish(FLOW, 60)
    assert only(kernel) == before._replace(timeout_s=60)


@pytest.mark.parametrize(
    ("original", "reply"),
    [
        ((S, N), (N, S)),
        ((S, N), (P, S)),
        ((P._replace(port=9), S), (S, N)),
        ((P, S), (S, N._replace(port=9))),
        ((P, S), (S, P)),
    ],
    ids=["early, to the router", "early, to the phone", "another call of it", "masqueraded", "not translated"],
)
def test_what_is_in_the_way_is_deleted(
    kernel: Kernel, table: Conntrack, original: tuple[Endpoint, Endpoint], reply: tuple[Endpoint, Endpoint]
) -> None:
    kernel.add(*original, reply)
    table.establish(FLOW, 60)
    assert only(kernel)[1:5] == (P, S, S, N)


def test_two_in_the_way_at_once(kernel: Kernel, table: Conntrack) -> None:
    kernel.add(P, S, (S, N._replace(port=9)))
    kernel.add(S, N, (N, S))
    table.establish(FLOW, 60)
    assert only(kernel)[1:5] == (P, S, S, N)


@pytest.mark.parametrize(
    ("original", "reply", "holder"),
    [
        ((OTHER, S), (S, N), OTHER),
        ((S, N), (OTHER, S), OTHER),
        ((N, S), (S, N), N),
    ],
    ids=["another phone's", "a port forward's", "a local program's"],
)
def test_other_hosts_flows_stay(
    kernel: Kernel,
    table: Conntrack,
    original: tuple[Endpoint, Endpoint],
    reply: tuple[Endpoint, Endpoint],
    holder: Endpoint,
) -> None:
    theirs = kernel.add(*original, reply)
    with pytest.raises(FlowTakenError, match=f"{N} towards {S} is in use by {holder}"):
        table.establish(FLOW, 60)
    assert only(kernel) == theirs


def test_packets_that_always_come_between_are_told(kernel: Kernel, table: Conntrack) -> None:
    kernel.on_delete = kernel.add(S, N, (N, S))
    with pytest.raises(FlowTakenError, match="packets keep making another entry"):
        table.establish(FLOW, 60)


def test_all_or_none(kernel: Kernel, table: Conntrack) -> None:
    rtcp = FLOW._replace(remote=S._replace(port=4001))
    theirs = kernel.add(OTHER, rtcp.remote, (rtcp.remote, N))
    with pytest.raises(FlowTakenError):
        table.establish_all([FLOW, rtcp], 60)
    assert only(kernel) == theirs


def test_what_had_to_make_way_first_is_taken_back_too(kernel: Kernel, table: Conntrack) -> None:
    rtcp = FLOW._replace(remote=S._replace(port=4001))
    kernel.add(S, N, (N, S))
    theirs = kernel.add(OTHER, rtcp.remote, (rtcp.remote, N))
    with pytest.raises(FlowTakenError):
        table.establish_all([FLOW, rtcp], 60)
    assert only(kernel) == theirs


def test_check_renews_or_makes_again(kernel: Kernel, table: Conntrack) -> None:
    assert table.check(FLOW, 60) == FlowState(there=False, traffic=False)
    assert table.check(FLOW, 90) == FlowState(there=True, traffic=False)
    assert only(kernel).timeout_s == 90
    before = only(kernel).identity
    assert table.check(FLOW, 3600, fixed=True).there
    assert only(kernel).status & FIXED_TIMEOUT
    assert only(kernel).identity != before
    assert table.check(FLOW, 7200).there
    assert not only(kernel).status & FIXED_TIMEOUT


def test_a_flow_whose_time_the_kernel_has_set_anew_has_carried_packets(kernel: Kernel, table: Conntrack) -> None:
    table.establish(FLOW, 144)
    for silent_s in (48, 47.9, 48.3):
        kernel.pass_time(silent_s)
        assert table.check(FLOW, 144) == FlowState(there=True, traffic=False)
    # The kernel's 120 s for UDP streams: at the last packet, just now or half a minute ago.
    for since_s in (0, 30):
        kernel.pass_time(48)
        kernel.entries = [only(kernel)._replace(timeout_s=120 - since_s)]
        assert table.check(FLOW, 144) == FlowState(there=True, traffic=True)
    kernel.pass_time(48)
    assert table.check(FLOW, 144) == FlowState(there=True, traffic=False)


@pytest.mark.parametrize("stream_s", [6, 30, 120, 180, 600])
def test_the_engines_times_let_running_media_be_told_from_silence(
    kernel: Kernel, table: Conntrack, stream_s: int
) -> None:
    settings = engine_settings(Settings(inside=("a",), outside="b"), N.host, stream_s)
    table.establish(FLOW, 3 * settings.flow_check_s)
    kernel.pass_time(settings.flow_check_s)
    kernel.entries = [only(kernel)._replace(timeout_s=stream_s - 1)]
    assert table.check(FLOW, 3 * settings.flow_check_s).traffic


def test_nothing_is_told_of_flows_that_were_given_nothing_or_a_fixed_time(kernel: Kernel, table: Conntrack) -> None:
    kernel.add(P, S, (S, N))
    assert table.check(FLOW, 3600, fixed=True) == FlowState(there=True, traffic=False)
    kernel.pass_time(1000)
    kernel.entries = [only(kernel)._replace(timeout_s=3599)]
    assert table.check(FLOW, 144) == FlowState(there=True, traffic=False)
    table.end(FLOW)
    kernel.add(P, S, (S, N))
    assert table.check(FLOW, 144) == FlowState(there=True, traffic=False)


@pytest.mark.parametrize("others", [0, 20], ids=["few", "many"])
def test_a_mapping_that_ends_takes_along_what_it_translated(kernel: Kernel, table: Conntrack, others: int) -> None:
    second = S._replace(port=5080)
    kernel.add(P, S, (S, N), SOURCE_NAT)
    kernel.add(second, N, (P, second), DESTINATION_NAT)
    stays = [
        kernel.add(OTHER, second, (second, N), SOURCE_NAT),
        kernel.add(P, second, (second, N._replace(port=9)), SOURCE_NAT),
        kernel.add(S, N, (N, S)),
        kernel.add(S, N._replace(port=9), (P, S), DESTINATION_NAT),
    ]
    ending = [Mapping(UDP, P._replace(port=20000 + n), N._replace(port=20000 + n), "sip") for n in range(others)]
    assert end_untrue(table, [*ending, Mapping(UDP, P, N, "sip")], []) == 2
    assert kernel.entries == stays


def test_a_mapping_that_begins_frees_its_port_of_what_reached_the_router(kernel: Kernel, table: Conntrack) -> None:
    pings = kernel.add(S, N, (N, S))
    stays = [
        kernel.add(S._replace(port=5080), N, (P, S._replace(port=5080)), DESTINATION_NAT),
        kernel.add(S, N._replace(port=9), (N._replace(port=9), S)),
        kernel.add(P, S, (S, N), SOURCE_NAT),
    ]
    assert pings in kernel.entries
    assert end_untrue(table, [], [Mapping(UDP, P, N, "sip")]) == 1
    assert kernel.entries == stays


def test_end_leaves_what_isnt_the_flow(kernel: Kernel, table: Conntrack) -> None:
    theirs = kernel.add(P, S, (S, N._replace(port=9)))
    table.end(FLOW)
    assert only(kernel) == theirs
    table.establish(FLOW, 60)
    table.end(FLOW)
    table.end(FLOW)
    assert kernel.entries == []


def test_flows_made_here_end_together_without_a_question(kernel: Kernel, table: Conntrack) -> None:
    flows = [FLOW._replace(remote=S._replace(port=4000 + n)) for n in range(600)]
    table.establish_all(flows, 60)
    kernel.calls = 0
    table.end_flows(flows)
    assert kernel.entries == []
    assert kernel.calls == 3


def test_a_refused_end_does_not_keep_the_others_from_ending(kernel: Kernel, table: Conntrack) -> None:
    flows = [FLOW._replace(remote=S._replace(port=4000 + n)) for n in range(600)]
    table.establish_all(flows, 60)
    kernel.refuse_once = {9: errno.EBUSY, 4299: errno.ENOMEM}
    stranger = FLOW._replace(remote=S._replace(port=9))
    with pytest.raises(NetlinkError) as refused:
        table.end_flows([stranger, *flows])
    assert refused.value.errno == errno.EBUSY
    (left,) = kernel.entries
    table.end_flows(flows)
    assert kernel.entries == []
    assert left.original_destination == flows[299].remote


def test_an_earlier_flow_of_the_same_way_does_not_end_the_one_that_took_its_place(
    kernel: Kernel, table: Conntrack
) -> None:
    earlier = FLOW._replace(public=N._replace(port=9))
    table.establish(FLOW, 60)
    table.end(earlier)
    assert only(kernel).reply_destination == N
    table.end(FLOW)
    assert kernel.entries == []


def test_an_earlier_process_flow_ends_too(kernel: Kernel, table: Conntrack) -> None:
    kernel.add(P, S, (S, N))
    table.end(FLOW)
    assert kernel.entries == []


def test_a_kernel_that_deletes_nothing_is_told(kernel: Kernel, table: Conntrack) -> None:
    table.establish(FLOW, 60)
    kernel.refuse = errno.EPERM
    with pytest.raises(NetlinkError):
        table.end(FLOW)


def test_where_a_flow_leaves_from(kernel: Kernel, table: Conntrack) -> None:
    assert table.source_nat_of(UDP, P, S) is None
    kernel.add(P, S, (S, N), SOURCE_NAT)
    assert table.source_nat_of(UDP, P, S) == N
    kernel.entries = []
    kernel.add(P, S, (S, P))
    assert table.source_nat_of(UDP, P, S) == P
    kernel.entries = []
    kernel.add(S, N, (P, S), DESTINATION_NAT)
    assert table.source_nat_of(UDP, P, S) == N


def test_a_lost_address(kernel: Kernel, table: Conntrack) -> None:
    kernel.add(P, S, (S, N), SOURCE_NAT)
    kernel.add(S, N, (OTHER, S), DESTINATION_NAT)
    stays = [kernel.add(S, N, (N, S)), kernel.add(P, S, (S, P))]
    assert table.end_all(N.host) == 2
    assert kernel.entries == stays


def test_dumps_compare_for_kernels_that_dont(kernel: Kernel, table: Conntrack) -> None:
    ours = kernel.add(P, S, (S, N))
    kernel.add(OTHER, S, (S, OTHER))
    assert list(table.dump(UDP, N.host)) == [ours]
    assert list(table.dump(TCP)) == []
    assert len(list(table.dump())) == 2
    assert [flow.public_port for flow in table.translated(N.host)] == [N.port]
    kernel.add(S, N._replace(port=7), (OTHER, S), DESTINATION_NAT)
    assert [flow.public_port for flow in table.translated(N.host)] == [N.port, 7]


def test_what_concerns_some_ends_or_ports_is_found_among_all(kernel: Kernel, table: Conntrack) -> None:
    ours = kernel.add(P, S, (S, N))
    to_port = kernel.add(OTHER, S._replace(port=5080), (S, N._replace(port=7)))
    kernel.add(OTHER, S, (S, N._replace(port=8)))
    assert list(table.concerning(UDP, [P], [5080])) == [ours, to_port]
    assert list(table.concerning(UDP, [], [5080])) == [to_port]
    assert list(table.concerning(TCP, [P], [5080])) == []


def test_other_refusals_are_the_kernels(kernel: Kernel, table: Conntrack) -> None:
    kernel.refuse = errno.ENOMEM
    for ask in (table.establish, table.check):
        with pytest.raises(NetlinkError):
            ask(FLOW, 60)
    kernel.refuse = 0
    kernel.add(P, S, (S, N), SOURCE_NAT)
    entry = only(kernel)
    kernel.refuse = errno.EPERM
    with pytest.raises(NetlinkError):
        table.delete([entry])
    with pytest.raises(NetlinkError):
        table._replace([entry], FLOW, 60, fixed=False)


def test_an_entry_that_ends_while_it_is_renewed_is_made_again(kernel: Kernel, table: Conntrack) -> None:
    entry = kernel.add(P, S, (S, N))
    kernel.entries = []
    table._renew(entry, FLOW, 60, fixed=False)
    assert only(kernel).timeout_s == 60


def test_what_became_true_meanwhile_is_not_untrue(kernel: Kernel) -> None:
    translated = kernel.add(P, S, (S, N), SOURCE_NAT)
    pings = kernel.add(S, N, (N, S))
    mapping, other = Mapping(UDP, P, N, "sip"), Mapping(UDP, OTHER, N, "sip")
    untrue = Untrue([mapping, other], [mapping])
    assert untrue.concerns(translated)
    assert untrue.concerns(pings)
    untrue.forget(opened=[other], closed=[])
    assert untrue.concerns(translated), "another phone's"
    untrue.forget(opened=[mapping], closed=[mapping])
    assert not untrue.concerns(translated)
    assert not untrue.concerns(pings)


def test_a_hairpin_flow_ends_with_either_of_its_mappings(kernel: Kernel, table: Conntrack) -> None:
    public = N._replace(port=9)
    for ending in (Mapping(UDP, P, N, "sip"), Mapping(UDP, OTHER, public, "sip")):
        kernel.add(OTHER, N, (P, public), SOURCE_NAT | DESTINATION_NAT)
        assert end_untrue(table, [ending], []) == 1
        assert kernel.entries == []
