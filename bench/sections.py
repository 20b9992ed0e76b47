"""What each section of the page measures and says: its heading, its command, its tables and its goals.

A section is a function from the options to a `Section`; it shows its progress as it goes. Between `run`, which picks
them, and the modules that measure.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Final

from bench import calls, diagnose, grown, growth, media, paced, rewriting, saturation, scale, sipp, startup
from bench.corpus import Corpus
from bench.engine import measure_apart, results_of
from bench.figures import FIXED_WORK
from bench.kamailio import missing
from bench.loop import MODES, compile_programs, run_rounds
from bench.page import Section
from bench.report import engine_claims, engine_table, growth_claims, loop_claims, loop_table, stamp
from bench.usage import others_cores
from sipalg import builds

_ENGINE_NOTE: Final = (
    "A thousand phones, each with its own header order, names, lengths and User-Agent; each round and build is a "
    "process of its own. A batch is one message of every phone; the figure is `receive_datagram` and, where there "
    "are commands, `commands_done`. Each output is compared, byte for byte, with a text made without sipalg's code. "
    "REGISTERs are refreshes of known phones, INVITEs new calls, whose RTP ports are mapped still from a call before "
    "or (new ports) aren't. Allocations are the calls of Python's allocators for objects and memory, counted by a "
    "hook in a run of its own (`bench/allocations.c`). For scale: `sipmessage` {version}, an independent parser in "
    "Python, which parses and reads Via, From, To, Call-ID, CSeq and Contact, and nothing of the SDP, of the "
    "messages that it can read."
)
_LOOP_NOTE: Final = (
    "Registrations (REGISTER and its 200) of a thousand phones through a router namespace, own generator in C, one "
    "process at each end; every message is compared at both ends, byte for byte, and the first wrong one ends the "
    "run. Linux's helper gets part of them wrong, so its mistakes are counted instead. Rounds are interleaved. With "
    "plain NAT and in the ways that only accept, the texts must arrive unchanged. Softirq and the machine's CPU hold "
    "the generator's part too, which is the same for all."
)
_CALLS_NOTE: Final = (
    "INVITE with SDP, 180, 200 with SDP, ACK, BYE, 200, window 64, own generator in C; each call's media ports are "
    "others than those of its phone's call before. Every message is compared at both ends, byte for byte, and the "
    "first wrong one ends the run, but for Linux's helper, whose mistakes are counted. Behind Kamailio, which is no "
    "NAT, right is: each message but for the proxy's own Via and Record-Route and the relay's a=rtcp is byte for "
    "byte the phone's or the server's, and the SDP has the relay's address and an even port. Kamailio gets TLSF "
    "memory, 512 MB of it, two processes a socket and sends no 100; rtpengine relays in user space with two threads "
    "and as many descriptors as may be. siproxd isn't in Debian 12."
)
_MEDIA_NOTE: Final = (
    "{calls} calls made through the way in question, so that sipalg's engine opens the flows; then RTP packets of "
    "172 bytes, both ways, half of the rate each, for {seconds:g} s a rate. Each packet is compared at its other "
    "end: its bytes, where it comes from and whom it reaches; one wrong packet ends the run. Offered is what the "
    "generator tries; where it can't keep up itself, fewer are sent. Latency is measured from the packet's own "
    "timestamp. Judged is the highest of the rates that plain NAT itself delivers whole; more than that is the next "
    "table's. No phone uses TCP here: where one does, each packet pays for one more routing rule (ADR 0044)."
)
_LIMIT_NOTE: Final = (
    "At their limit, {offered:,} packets a second offered, which nobody delivers. The calls of plain NAT and of "
    "sipalg are up at once, each in namespaces of their own, and play in turns for {seconds:g} s, {pairs} times in "
    "each round, now the one and now the other first. Each pair is compared by itself and the median of the ratios "
    "judged, since generator, router and receiver share two cores, and what plain NAT delivers there changes by a "
    "tenth from run to run. Softirq holds the generator's part too, the same for both."
)
_GROWTH_NOTE: Final = (
    "Phones with an address each, registered, through the engine alone: a round trip is a refresh and its 200, in "
    "random order, compared with what has to come out. Each size in a process of its own; bytes are of its resident "
    "memory, contact, peer and remembered texts included. Start: all mappings and the journal's lines taken over by "
    "a new engine. Expiry: all timers until nothing is left, where no calls stand. In every size every other phone "
    "speaks TCP, since 100,000 have not enough ports of UDP; phones register within six minutes, and refresh a minute "
    "later: one REGISTER in six moves its mapping's end, and what the journal would write is noted."
)
_GROWN_NOTE: Final = (
    "The same live, in the closed loop of registrations at window 64: every phone registers through the router, and "
    "when the process has come to rest (its journal has them all) they refresh in turn, so that process, maps and "
    "connection tracking are asked for what has lain longest. UDP alone, of which one address has 64,512 ports. "
    "Messages are compared at both ends."
)
_LATENCY_NOTE: Final = (
    "Requests are sent when it is time, a thousand phones in turn, whether or not answers come, at half of what "
    "sipalg did in the closed loop at window 64 ({highest:,.0f} a second, the most of three runs). A latency is from "
    "a request's sending to its answer, both generators' wake-ups included. Messages are compared as in the closed "
    "loop."
)
_OVERLOAD_NOTE: Final = (
    "As above, at shares of sipalg's highest rate in the closed loop. What finds the queue full passes as plain NAT "
    "(fail-open), so each message has to arrive either translated whole or untouched; anything else ends the run. "
    "Passed as plain: of the round trips, those whose request or answer did. Sent is less than offered where the "
    "generator can't keep up beside sipalg on two cores. A phone's requests are served if both came translated."
)
_SIPP_NOTE: Final = (
    "Two hundred phones, one SIPp at each end, which compare the SDP's address where it arrives and the course of "
    "the call. Done a second holds SIPp's own start and its wait for what was lost, half a second a repetition; with "
    "SIPp on the same two cores a rate that all reach says no more than that they reach it."
)
#: What an earlier process had, when a start is measured.
_STARTED_PHONES: Final = 100_000
#: How long a rate of media takes, of a closed loop's run.
_MEDIA_SHARE: Final = 0.3
Shown = Callable[[str], None]


def engine(options: argparse.Namespace, show: Shown) -> Section:
    """Measure the engine alone, both builds in turn, then its allocations and the parser for scale."""
    measured: dict[str, list[tuple[dict[str, list[float]], dict[str, int]]]] = (
        {builds.COMPILED: [], builds.PURE: []} if builds.running() == builds.COMPILED else {builds.PURE: []}
    )
    for round_ in range(options.rounds):
        for build, runs in measured.items():
            runs.append(measure_apart(build, options.phones))
            found = {kind: median(values) for kind, values in runs[-1][0].items()}
            show(f"round {round_ + 1}, {build}: REGISTER {found['REGISTER']:.2f} µs, INVITE {found['INVITE']:.2f} µs")
    compiled, pure = results_of(next(iter(measured.values()))), results_of(measured[builds.PURE])
    counted = [measure_apart(build, 100, allocations=True)[0] for build in measured]
    allocations = {kind: (median(counted[0][kind]), median(counted[-1][kind])) for kind in counted[0]}
    theirs = scale.measure(Corpus(1, 300), options.rounds)
    show("allocations and sipmessage done")
    fixed = median(result.median_us for result in (*compiled, *pure) if result.kind == FIXED_WORK)
    note = _ENGINE_NOTE.format(version=scale.version() or "(not installed)")
    lines = [f"`python -m bench.run --only engine --rounds {options.rounds}`. {note}", "",
             *engine_table(compiled, pure, allocations, theirs), "",
             f"A fixed piece of interpreted work took {fixed:.2f} µs (median) meanwhile."]  # fmt: skip
    return Section("engine", "The engine alone", lines, engine_claims(compiled, pure))


def loop(options: argparse.Namespace, show: Shown) -> Section:
    """Measure registrations in the closed loop."""
    modes = [MODES[name] for name in options.modes.split(",")]
    windows = [int(window) for window in options.windows.split(",")]
    results = []
    for result in run_rounds(modes, windows, options.rounds, options.seconds, options.phones, options.load):
        show(f"{result.mode:8} window {result.window:3} {result.rate:10,.0f} a second")
        results.append(result)
    command = (f"`python -m bench.loop {options.modes} {options.windows} {options.rounds} {options.seconds:g} "
               f"{options.load}`")  # fmt: skip
    return Section("loop", "Registrations in a closed loop", [f"{command}. {_LOOP_NOTE}", "", *loop_table(results)],
                   loop_claims(results))  # fmt: skip


def latency(options: argparse.Namespace, show: Shown) -> Section:
    """Measure latency at half of sipalg's highest rate."""
    compile_programs()
    corpus, results = Corpus(1, options.phones), []
    with paced.load_of(corpus) as load:
        highest = paced.highest_rate(corpus, load, 3, options.seconds)
        show(f"sipalg's highest rate: {highest:,.0f} a second")
        for result in paced.run_latency(highest / 2, options.rounds, options.seconds, corpus, load):
            show(f"{result.mode:8} p50 {result.p50_us:6,.0f} µs, p99 {result.p99_us:8,.0f} µs")
            results.append(result)
    command = f"`python -m bench.paced latency {options.rounds} {options.seconds:g}`"
    note = _LATENCY_NOTE.format(highest=highest)
    lines = [f"{command}. {note}", "", *paced.latency_table(results)]
    return Section("latency", "Latency at half of the highest rate", lines, paced.latency_claims(results))


def overload(options: argparse.Namespace, show: Shown) -> Section:
    """Measure what becomes of more than sipalg can do."""
    compile_programs()
    corpus, results = Corpus(1, options.phones), []
    with paced.load_of(corpus) as load:
        highest = paced.highest_rate(corpus, load, 3, options.seconds)
        show(f"sipalg's highest rate: {highest:,.0f} a second")
        for result in paced.run_overload(highest, options.rounds, options.seconds, corpus, load):
            show(f"{result.offered:8,.0f} offered, {result.answered:8,.0f} answered, {result.plain_share:6.1%} plain, "
                 f"p99 {result.p99_us / 1000:7.1f} ms")  # fmt: skip
            results.append(result)
    command = f"`python -m bench.paced overload {options.rounds} {options.seconds:g}`"
    return Section("overload", "More than it can do",
                   [f"{command}. {_OVERLOAD_NOTE}", "", *paced.overload_table(results, highest)],
                   paced.overload_claims(results))  # fmt: skip


def call_loop(options: argparse.Namespace, show: Shown) -> Section:
    """Measure calls in the closed loop."""
    ways = _possible(calls.WAYS, show)
    results = []
    for result in calls.run_rounds(ways, 64, options.rounds, options.seconds, options.phones):
        show(f"{result.mode:8} {result.rate:10,.0f} calls a second")
        results.append(result)
    command = f"`python -m bench.calls {','.join(ways)} 64 {options.rounds} {options.seconds:g}`"
    return Section("calls", "Calls in a closed loop", [f"{command}. {_CALLS_NOTE}", "", *calls.table(results)],
                   calls.claims(results))  # fmt: skip


def sipp_rates(options: argparse.Namespace, show: Shown) -> Section:
    """Measure calls by SIPp at rising rates."""
    ways = _possible(sipp.WAYS, show)
    rounds, seconds = options.rounds, options.seconds / 2
    results = []
    for result in sipp.run_rounds(ways, sipp.RATES, rounds, seconds):
        show(f"{result.mode:8} {result.offered:6,} offered {result.rate:8,.0f} done, {result.failed} failed")
        results.append(result)
    command = f"`python -m bench.sipp {','.join(ways)} {','.join(map(str, sipp.RATES))} {rounds} {seconds:g}`"
    return Section("sipp", "Calls by SIPp at rising rates", [f"{command}. {_SIPP_NOTE}", "", *sipp.table(results)], ())


def media_rates(options: argparse.Namespace, show: Shown) -> Section:
    """Measure media at rising rates, and then plain NAT and sipalg at their limit."""
    ways = _possible(media.WAYS, show)
    seconds = options.seconds * _MEDIA_SHARE
    results, found = [], []
    for result in media.run_rounds(ways, media.RATES, options.rounds, seconds):
        show(f"{result.mode:8} {result.rate:8,} offered {result.in_time:10,.0f} in time")
        results.append(result)
    for pair in saturation.run_pairs(options.rounds):
        show(f"limit    plain {pair.plain.in_time:10,.0f}, sipalg {pair.sipalg.in_time:10,.0f}: {pair.share:.3f}")
        found.append(pair)
    command = (
        f"`python -m bench.media {','.join(ways)} {','.join(map(str, media.RATES))} {options.rounds} {seconds:g}`"
    )
    note = _MEDIA_NOTE.format(calls=media.CALLS, seconds=seconds)
    limit = _LIMIT_NOTE.format(offered=saturation.OFFERED, pairs=saturation.PAIRS, seconds=saturation.SECONDS)
    limit = f"`python -m bench.saturation {options.rounds}`. {limit}"
    lines = [f"{command}. {note}", "", *media.table(results), "", limit, "", *saturation.table(found)]
    judged = media.claims(results)
    return Section("media", "Media at rising rates", lines, [*judged[:1], saturation.claim(found), *judged[1:]])


def growing(options: argparse.Namespace, show: Shown) -> Section:
    """Measure what more phones cost, and a start of the process after many."""
    sizes: dict[str, list[growth.Growth]] = {size: [] for size in growth.SIZES}
    starts, live = [], []
    for _ in range(options.rounds):
        for size, runs in sizes.items():
            runs.append(growth.measure_apart(size))
            show(f"{size}: {runs[-1].median_us:.1f} µs a round trip")
        for phones in grown.SIZES:
            live.append(grown.measure(phones, options.seconds))
            show(f"{phones:,}, live: {live[-1].own_us:.1f} µs a message")
        starts.append(startup.measure(_STARTED_PHONES))
        show(f"start with {starts[-1].phones:,} phones: {starts[-1].ready_s:.2f} s")
    results = [middle(runs) for runs in sizes.values()]
    starts.sort(key=lambda start: start.ready_s)
    began = starts[len(starts) // 2]
    lines = [f"`python -m bench.growth {' '.join(growth.SIZES)}`, {options.rounds} times. {_GROWTH_NOTE}", "",
             *growth.table(results), "",
             f"`python -m bench.grown {options.rounds} {options.seconds:g}`. {_GROWN_NOTE}", "",
             *grown.table(live), "",
             f"`python -m bench.startup {_STARTED_PHONES}`, {options.rounds} times: `sipalg run` is ready "
             f"{began.ready_s:.2f} s after its start ({began.cpu_s:.2f} s of CPU; {starts[0].ready_s:.2f}–"
             f"{starts[-1].ready_s:.2f} s) with the maps, flows and journal of {began.phones:,} phones; mappings and "
             "contacts were counted afterwards."]  # fmt: skip
    return Section("growth", "Growth", lines, growth_claims(results, began))


def middle(runs: Sequence[growth.Growth]) -> growth.Growth:
    """Return the medians of one size's rounds, of the least times the least, and all messages that were checked."""
    return runs[0]._replace(
        least_us=min(run.least_us for run in runs),
        median_us=median(run.median_us for run in runs),
        mapping_bytes=median(run.mapping_bytes for run in runs),
        call_bytes=median(run.call_bytes for run in runs),
        start_s=median(run.start_s for run in runs),
        expiry_us=median(run.expiry_us for run in runs),
        checked=sum(run.checked for run in runs),
    )


def captures(options: argparse.Namespace, show: Shown) -> Section:
    """Measure `diagnose` and `rewrite` on large captures."""
    rounds, dialogs = options.rounds, options.dialogs
    found = diagnose.measure(dialogs, rounds)
    show(f"diagnose: {diagnose.times_as_fast(found.sipalg, found.tshark):.1f} times as fast as tshark")
    rewritten = rewriting.measure(dialogs, rounds)
    show(f"rewrite: {median(use.wall_s for use in rewritten.sipalg):.1f} s")
    lines = [*diagnose.section(f"python -m bench.diagnose --dialogs {dialogs} --rounds {rounds}", found), "",
             *rewriting.table(rewritten, f"python -m bench.rewriting {dialogs} {rounds}")]  # fmt: skip
    return Section("captures", "Large captures", lines, diagnose.claims(found))


def _possible(ways: tuple[str, ...], show: Shown) -> list[str]:
    """Leave out what isn't installed, and say so."""
    if missing():
        show(f"without Kamailio and rtpengine: missing is {missing()}")
    return [name for name in ways if name != "kamailio" or not missing()]


#: All sections in the page's order, by the name that `--only` takes.
SECTIONS: Final[dict[str, Callable[[argparse.Namespace, Shown], Section]]] = {
    "engine": engine,
    "loop": loop,
    "latency": latency,
    "overload": overload,
    "calls": call_loop,
    "sipp": sipp_rates,
    "media": media_rates,
    "growth": growing,
    "captures": captures,
}


def _show_of(show: Shown, name: str, text: str) -> None:
    show(f"{name:9} {text}")


def measured(options: argparse.Namespace, names: list[str], show: Shown) -> Iterator[Section]:
    """Measure the sections of these names one after the other; each says where it comes from."""
    for name in names:
        began, before = datetime.now(UTC), others_cores()
        section = SECTIONS[name](options, partial(_show_of, show, name))
        line = stamp(began, max(before, others_cores()))
        yield section._replace(lines=[line, "", *section.lines])
