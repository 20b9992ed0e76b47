"""What the control socket answers: the engine's tables, the driver's and the kernel's counters, what to know besides.

Read only, between packets. Facts, not their looks: that is `tables`' business.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sipalg import __version__, builds
from sipalg.control.service import timeouts
from sipalg.control.service.connections import connections
from sipalg.control.service.nat import nat
from sipalg.datapath.preflight import no_address

if TYPE_CHECKING:
    from sipalg.control.service.running import Service

#: Lists and counters of the engine's snapshot that belong to `status`.
_LISTS = ("phones", "contacts")
_COUNTERS = ("messages", "edits", "passes", "refusals", "seen_as")


class Report:
    """Answers about one service; its age is counted from here."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started = time.monotonic()

    def answers(self) -> dict[str, Callable[[], Mapping[str, Any]]]:
        """Return the commands, and what answers them."""
        return {
            "status": self.status,
            "mappings": lambda: self._table("mappings"),
            "calls": lambda: self._table("calls"),
            "metrics": self.metrics,
            "connections": self.connections,
            "nat": self.nat,
        }

    def status(self) -> dict[str, Any]:
        """Answer `status`."""
        service = self._service
        snapshot = self._snapshot()
        counters = self._counters(snapshot)
        unseen = counters["queue"]["passed_unseen"]
        strangers = counters["packets_not_let_in"]["from_unknown_peers"]
        warnings = list(service.warnings)
        if unseen:
            why = "the queue was full, or nobody took them"
            warnings.append(f"{_some(unseen, 'packet')} passed as plain NAT, unchanged: {why}")
        warnings += timeouts.warnings(snapshot["phones"], service.alg.settings.sip_timeout_s)
        inherited = len(service.inherited)
        if inherited:
            warnings.append(
                f"{_some(inherited, 'media flow')} of calls that began before this start, kept open until silent; "
                "those calls aren't in `calls`, and their ends go unnoticed"
            )
        if service.journal.failed:
            warnings.append("the journal beside the control socket can't be written: a restart forgets calls")
        warnings += service.tcp.warnings
        faults = self._faults()
        if faults:
            warnings.append(f"{_some(faults, 'fault')} of sipalg itself, see the log; packets passed unchanged")
        if not service.nat_address:
            warnings.append(no_address(service.settings.outside, running=True).text)
        notes = []
        if strangers:
            notes.append(
                f"{_some(strangers, 'packet')} came to phones' public SIP ports from unknown peers, not further; "
                "if calls from your provider's other servers fail, name their network with --trusted-peers"
            )
        return {
            "status": {**self._facts(), **snapshot["counters"], "faults": faults},
            "counters": counters,
            **{name: snapshot[name] for name in _LISTS},
            "warnings": warnings,
            "notes": notes,
        }

    def metrics(self) -> dict[str, Any]:
        """Answer `metrics`: the numbers of `status` without its lists, which a thousand phones make long."""
        counts = self._service.alg.counts()
        return {
            "status": {**self._facts(), **counts["counters"], "faults": self._faults()},
            "counters": self._counters(counts),
        }

    def _counters(self, counts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return all that is counted; `counts` has the engine's part."""
        service = self._service
        driver = service.driver
        unseen = service.unseen.count()
        strangers = service.table.packets_from_strangers() if service.table.exists() else 0
        queue = service.queue.statistics()
        return {
            "packets": dict(driver.packets),
            **{name: counts[name] for name in _COUNTERS},
            "events": dict(sorted(driver.events.items())),
            "packets_not_let_in": {"from_unknown_peers": strangers},
            "packets_that_hold_no_datagram": dict(driver.not_asked),
            "commands_that_the_kernel_refused": dict(driver.commands_failed),
            **service.tcp.counters(),
            "queue": {
                "waiting": queue.waiting,
                "passed_unseen": unseen,
                "dropped": queue.queue_dropped + queue.user_dropped,
                "verdicts_refused": service.queue.refused,
            },
        }

    def _faults(self) -> int:
        """Return how often sipalg itself went wrong."""
        service = self._service
        relay = 0 if service.tcp.relay is None else service.tcp.relay.log.total
        return service.driver.log.total + service.loop.log.total + service.ports.log.total + relay

    def connections(self) -> dict[str, Any]:
        """Answer `connections`."""
        return {"connections": connections(self._service.alg)}

    def nat(self) -> dict[str, Any]:
        """Answer `nat`."""
        alg = self._service.alg
        return {"mode": alg.settings.mode, "nat": nat(alg, self._service.table.settings.outside)}

    def _missing_interfaces(self) -> list[str]:
        """Return the settings' interfaces that this network namespace doesn't have."""
        chosen = self._service.settings
        present = {name for _, name in socket.if_nameindex()}
        return [name for name in (*chosen.inside, chosen.outside) if name not in present]

    def _facts(self) -> dict[str, Any]:
        service = self._service
        chosen = service.settings
        settings = service.alg.settings
        features = service.table.features
        kernel = [
            "table with owner" if features.owner_persist else "table watched",
            "queue expression" if features.queue_expression else "xt NFQUEUE",
            "ct timeout" if features.ct_timeout else "no ct timeout",
        ]
        if chosen.mode == "observe":
            kernel[-1] = "ct timeout unused while observing"
        return {
            "version": __version__,
            "build": builds.running(),
            "pid": os.getpid(),
            "mode": chosen.mode,
            "inside": list(chosen.inside),
            "outside": chosen.outside,
            "missing_interfaces": self._missing_interfaces(),
            "nat_address": settings.nat_address,
            "advertised_address": settings.advertised_address,
            "ports": list(chosen.ports),
            "media_ports": "-".join(map(str, chosen.media_ports)),
            "reserved_ports": [f"{low}-{high}" if low < high else str(low) for low, high in chosen.reserved_ports],
            "disabled": chosen.disabled,
            "sip_direct_media": chosen.direct_media,
            "except": [str(network) for network in chosen.exempt],
            "except_by_the_rules": [str(network) for network in settings.exempt if network not in chosen.exempt],
            "sip_timeout_s": chosen.sip_timeout_s,
            **service.tcp.facts(),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "packets_s": round(service.driver.packets_s, 6),
            "commands_s": round(service.driver.commands_s, 6),
            "processor_s": round(time.process_time(), 6),
            "longest_turn_s": round(service.loop.longest_turn_s, 6),
            "queue_number": chosen.queue_number,
            "settings_file": str(service.options.file),
            "set_by_the_command_line": sorted(service.options.given),
            "kernel": kernel,
        }

    def _table(self, name: str) -> dict[str, Any]:
        return {"mode": self._service.settings.mode, name: self._snapshot()[name]}

    def _snapshot(self) -> dict[str, Any]:
        return self._service.alg.snapshot(time.monotonic())


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
