"""Kamailio with rtpengine on the router, as it stands where there is no ALG: the way `kamailio` of calls and media.

The router hands every request of the phones to Kamailio, which relays it with its own Via and Record-Route, and has
rtpengine put its relay's addresses into the SDP; the media go through rtpengine in user space. Tuned as far as its
makers' hints go (TLSF memory, enough of it, processes and descriptors; no 100 of its own, no database, no log). On a
packet's way it is between the phones and the server of bench/network.py.
"""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from bench.network import GATEWAY, Network, NetworkError
from bench.phones import PUBLIC

#: Programs that the way needs, with their Debian packages.
PROGRAMS: Final = {"kamailio": "kamailio", "rtpengine": "rtpengine-daemon"}
_NG: Final = "127.0.0.1:2223"
_MEDIA_PORTS: Final = ("20000", "59999")
_READY_S: Final = 15.0
_STOP_S: Final = 5.0
#: The phones write to the server, and Kamailio gets it.
_RULES: Final = """
table ip proxy {
    chain pre { type nat hook prerouting priority dstnat; iifname "lan0" udp dport 5060 redirect; }
}
"""
_CONFIG: Final = """\
#!KAMAILIO
debug=0
log_stderror=yes
children=%(children)d
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
listen=udp:%(inside)s:5060
listen=udp:%(outside)s:5060
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "rtpengine.so"
modparam("tm", "auto_inv_100", 0)
modparam("rtpengine", "rtpengine_sock", "udp:%(ng)s")

request_route {
    $fs = "udp:%(outside)s:5060";
    if (is_method("INVITE")) {
        if (!has_totag()) {
            record_route();
        }
        rtpengine_offer("replace-origin replace-session-connection direction=inside direction=outside ICE=remove");
        t_on_reply("ANSWER");
    } else if (is_method("BYE")) {
        rtpengine_delete();
    }
    t_relay();
}

onreply_route[ANSWER] {
    if (has_body("application/sdp")) {
        rtpengine_answer("replace-origin replace-session-connection direction=outside direction=inside ICE=remove");
    }
}
"""


def missing() -> str:
    """Say what is missing for this way, "" where nothing is."""
    absent = [f"{name} (Debian: apt-get install {package})" for name, package in PROGRAMS.items() if not _path(name)]
    return ", ".join(absent)


@contextmanager
def proxy(network: Network, children: int = 2) -> Iterator[int]:
    """Run both on the router; the process id of Kamailio's first process. Raises NetworkError."""
    if missing():
        raise NetworkError(f"missing: {missing()}")
    with tempfile.TemporaryDirectory(prefix="sipalg-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        settings = {"inside": GATEWAY, "outside": PUBLIC, "ng": _NG, "children": children}
        (directory / "kamailio.cfg").write_text(_CONFIG % settings)
        relay = [_path("rtpengine"), "--foreground", "--log-stderr", "--log-level=4", "--table=-1",
                 f"--interface=inside/{GATEWAY}", f"--interface=outside/{PUBLIC}", f"--listen-ng={_NG}",
                 f"--port-min={_MEDIA_PORTS[0]}", f"--port-max={_MEDIA_PORTS[1]}", "--num-threads=2",
                 "--delete-delay=0", f"--pidfile={directory / 'rtpengine.pid'}"]  # fmt: skip
        kamailio = [_path("kamailio"), "-f", str(directory / "kamailio.cfg"), "-DD", "-E", "-m", "512", "-M", "16",
                    "-x", "tlsf", "-Y", name, "-P", str(directory / "kamailio.pid")]  # fmt: skip
        stack.enter_context(_running(network, relay, directory / "rtpengine.log"))
        _wait(network, 2223, directory / "rtpengine.log")
        network.rules(_RULES)
        first = stack.enter_context(_running(network, kamailio, directory / "kamailio.log"))
        _wait(network, 5060, directory / "kamailio.log")
        yield first.pid
        if first.poll() is not None:
            raise NetworkError(f"Kamailio ended: {(directory / 'kamailio.log').read_text().strip()[-500:]}")


def _path(name: str) -> str:
    return shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin") or ""


@contextmanager
def _running(network: Network, words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in the router until the block ends."""
    with log.open("wb") as output:
        process = _start(network.command(network.router, *words), output)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(words: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start it with as many descriptors as may be: a limit is inherited, and a relayed call needs eight."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _wait(network: Network, port: int, log: Path) -> None:
    """Wait until something listens on the UDP port in the router."""
    deadline = time.monotonic() + _READY_S
    while f":{port} " not in network.in_router("ss", "-Hlun"):
        if time.monotonic() > deadline:
            raise NetworkError(f"nothing listens on UDP port {port}: {log.read_text(errors='replace').strip()[-500:]}")
        time.sleep(0.02)
