"""SIPp with the lab's scripts: flows that an ordinary phone or server wouldn't play on request.

The scripts lie beside this file as package data. On a packet's way SIPp is a phone inside or a service outside whose
every byte is written down.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from sipalg.lab.programs import PATIENCE_S, Program, wait_until
from sipalg.lab.topology import ADDRESS, SERVER_ADDRESS, LabError, Topology

#: Whom a calling script calls unless it is told otherwise.
SERVER: Final = f"{SERVER_ADDRESS}:5060"
SCRIPTS: Final = files("sipalg.lab") / "scripts"


def start_sipp(
    net: Topology,
    host: str,
    script: str,
    port: int,
    options: tuple[str, ...] = (),
    remote: str = SERVER,
    **keys: str | int,
) -> Program:
    """Start SIPp on a host; it ends by itself after its calls, with 0 if all went well.

    One call, unless `options` have `-m`; over TCP where they have `-t`, in Via and Contact too. `script` is a script's
    name without `.xml`; one that isn't there raises LabError. A script whose name begins with `uac` sends to
    `remote`, others wait. `keys` are what the scripts' keywords in brackets stand for; `own_host`, the address that
    it gives as its own, is the host's unless said otherwise.
    """
    source = SCRIPTS / f"{script}.xml"
    if not source.is_file():
        raise LabError(f"no SIPp script of that name: {script}")
    name = f"{script}-{host}-{port}"
    path = net.directory / f"{name}.xml"
    address = ADDRESS[host]
    text = source.read_text()
    for key, value in ({"own_host": address} | keys).items():
        text = text.replace(f"[{key}]", str(value))
    over_tcp = "-t" in options
    if over_tcp:
        text = text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace(":[local_port]>", ":[local_port];transport=tcp>")
    path.write_text(text)
    calls_out = script.startswith("uac")
    calls: list[str] = [] if "-m" in options else ["-m", "1"]
    argv: list[str | Path] = ["sipp", *([remote] if calls_out else []), "-sf", path, "-i", address, "-p", str(port)]
    argv += ["-nostdin", "-trace_err", "-timeout", "120"]
    program = Program(net, host, name, *argv, *calls, *options)
    if not calls_out:
        # SIPp says nothing when it is up; that its port is taken does.
        try:
            wait_for_port(net, host, port, program, "tcp" if over_tcp else "udp")
        except BaseException:
            program.stop()
            raise
    return program


def wait_for_port(net: Topology, host: str, port: int, program: Program, protocol: str = "udp") -> None:
    """Wait until a port of a host is taken; LabError if the program ends before, or it takes PATIENCE_S."""
    def taken() -> bool:
        lines = net.run(host, "cat", f"/proc/net/{protocol}").splitlines()[1:]
        return not program.running or any(int(line.split()[1].rpartition(":")[2], 16) == port for line in lines)

    if not wait_until(taken, PATIENCE_S) or not program.running:
        said = program.text().strip().splitlines()
        raise LabError(f"{program.name} doesn't listen on {port}: {said[-1] if said else 'it printed nothing'}")
