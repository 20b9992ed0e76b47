"""`sipalg run`: looks whether the way is clear, starts the ALG, and ends it cleanly on SIGTERM and SIGINT.

In the foreground, for a service manager or a terminal: `ready` on stdout when packets are handled, one line an event
on stderr. What stands in the way is told before anything was changed. On a clean end standing calls go on: mappings
stay in the kernel with their timeouts and so do the flows; only the rule that brings packets here is taken away, and
SIP is plain NAT until the next start, which takes all of it over.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Final

from sipalg.control.service import parts
from sipalg.control.service.log import LineHandler, is_journal
from sipalg.control.service.memory import keep_large_apart
from sipalg.control.service.running import Service
from sipalg.control.settings import options as run_options
from sipalg.control.settings.file import SettingsError
from sipalg.control.settings.model import Settings
from sipalg.control.socket.server import SocketInUseError
from sipalg.datapath import preflight
from sipalg.datapath.admin_rules import AdminRulesError
from sipalg.datapath.loop import FaultLog, Loop
from sipalg.datapath.netlink import NetlinkError

_LOG = logging.getLogger("sipalg")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_MOST_SIGNALS: Final = 64


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_options.configure(parser)


def main(args: argparse.Namespace) -> int:
    """Run until a signal comes, and return 0; 2 with one line for each thing that stands in the way."""
    try:
        options = run_options.read(args)
    except SettingsError as error:
        return _refuse([str(error)])
    findings = preflight.check(parts.plan(options.settings))
    errors = [finding.text for finding in findings if finding.severity == "error"]
    if errors:
        return _refuse(errors)
    warnings = [finding.text for finding in findings if finding.severity == "warning"]
    keep_large_apart()
    handler = _set_up_log()
    log = FaultLog()
    try:
        service = Service(options, warnings, handler.event, handler.has_room)
    except (SocketInUseError, AdminRulesError) as error:
        return _refuse([str(error)])
    except NetlinkError as error:
        return _refuse([f"the kernel refuses: {error.strerror}"])
    except OSError as error:
        return _refuse([f"can't bind queue {options.settings.queue_number}: {error.strerror}"])
    except Exception:
        log.exception("start", "not-started")
        return 2
    for warning in warnings:
        _LOG.warning("warning: %s", warning)
    for finding in findings:
        if finding.severity == "advice":
            _LOG.info("note: %s", finding.text)
    with heeding_signals(service.loop, lambda: _reload(service)):
        try:
            service.start()
        except OSError as error:
            service.stop()
            return _refuse([f"the kernel refuses the rules: {error.strerror}"])
        except Exception:
            service.stop()
            log.exception("start", "not-started")
            return 2
        try:
            _say_ready(service)
            service.loop.run()
        finally:
            service.notifier.stopping()
            service.stop()
    _LOG.info("stopped: %s", _what_stays(service))
    return 0


@contextlib.contextmanager
def heeding_signals(loop: Loop, reload: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop the loop, at once and between two packets, and SIGHUP call `reload` there."""

    def take(_events: int) -> None:
        for number in wake.recv(_MOST_SIGNALS):
            if number in _SIGNALS:
                loop.stop()
            else:
                reload()

    wake, thrown = socket.socketpair()
    with wake, thrown:
        for end in (wake, thrown):
            end.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in (*_SIGNALS, signal.SIGHUP)}
        descriptor = signal.set_wakeup_fd(thrown.fileno(), warn_on_full_buffer=False)
        loop.watch(wake, take)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)


def _say_ready(service: Service) -> None:
    settings = service.settings
    _LOG.info(
        "started mode=%s inside=%s outside=%s nat_address=%s advertised_address=%s",
        settings.mode,
        ",".join(settings.inside),
        settings.outside,
        service.nat_address or "none",
        service.alg.settings.advertised_address or "none",
    )
    table = f"table ip {service.table.settings.name}"
    _LOG.info(
        "note: to save the rule set, leave %s out: nft list tables | grep -vx '%s' | xargs -L1 nft list", table, table
    )
    service.notifier.ready(_state(settings))
    # Nobody reading stdout is no reason to end.
    with contextlib.suppress(OSError):
        sys.stdout.write("ready\n")
        sys.stdout.flush()


def _state(settings: Settings) -> str:
    """Return what is done, in some words, for the service manager."""
    doing = "observing" if settings.mode == "observe" else "disabled" if settings.disabled else "translating"
    return f"{doing} {'+'.join(settings.inside)} to {settings.outside}"


def _reload(service: Service) -> None:
    """Read the settings file again; one that can't be used is a line in the log, and all stays as it is."""

    def done(outcome: list[str] | str) -> None:
        if isinstance(outcome, str):
            _LOG.error("reload-refused why=%r consequence=settings-as-before", outcome)
        else:
            _LOG.info("reloaded file=%s changed=%s", service.options.file, ",".join(outcome) or "nothing")
        service.notifier.ready(_state(service.settings))

    service.notifier.reloading()
    service.commands.reload(done)


def _what_stays(service: Service) -> str:
    table = f"table ip {service.table.settings.name}"
    if not service.table_stays:
        return f"{table} was taken away, and nothing else had been changed"
    return f"{table} stays, so that standing calls go on; to remove it: nft delete {table}"


def _set_up_log() -> LineHandler:
    journal = is_journal(os.environ, 2)
    # It notes the times itself; nobody else does.
    handler = LineHandler(sys.stderr, priorities=journal, times=not journal)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    return handler


def _refuse(reasons: list[str]) -> int:
    # In the journal it is an error (sd-daemon(3)), as people look for why it didn't start.
    priority = "<3>" if is_journal(os.environ, 2) else ""
    for reason in reasons:
        sys.stderr.write(f"{priority}sipalg: {reason}\n")
    return 2
