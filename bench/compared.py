"""One corpus through Linux's own SIP helper and through sipalg, in the lab: what arrives, message by message.

`python -m bench.compared` prints a row a message: what became of it on either way. Each message is sent from the
address that the table names as its sender's, which phone1 has then, to a server, over UDP; what arrives there is
compared with what was sent. The messages are those of tests/torture: our own, and the RFCs' where they are.
"""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.torture.judged import Row, rows

from sipalg.lab.stage import Mode, Needs, Stage
from sipalg.lab.topology import ADDRESS, SERVER_ADDRESS

ROOT: Final = Path(__file__).parents[1]
TABLES: Final = {
    ROOT / "tests/torture/own_messages.tsv": (ROOT / "tests/torture/own",),
    ROOT / "tests/torture/rfc_messages.tsv": (
        ROOT / "../shared/corpora/torture-rfc4475/canonical",
        ROOT / "../shared/corpora/torture-rfc5118/canonical",
    ),
}
#: How long a message may take to arrive.
ARRIVES_S: Final = 0.5


class Sent(NamedTuple):
    """A message, its name and the address that it is sent from."""

    name: str
    address: str
    payload: bytes


def corpus() -> Iterator[Sent]:
    """Every outbound message of the tables whose file is there, from a sender of IPv4: the lab has no other."""
    for table, folders in TABLES.items():
        for row in rows(table):
            for path in (folder / row.file for folder in folders if (folder / row.file).is_file()):
                if row.way == "out" and ":" not in row.address:
                    yield Sent(_name(row), row.address, path.read_bytes())


def _name(row: Row) -> str:
    return f"{row.file} from {row.address}"


def play(mode: Mode, messages: list[Sent]) -> list[bytes | None]:
    """What arrives of each message on its way through a router in this mode; None where nothing does."""
    arrived: list[bytes | None] = []
    with Stage(mode, Needs(hosts=("phone1", "server"))) as stage:
        net = stage.net
        net.run("router", "ip", "route", "add", "192.0.2.0/24", "via", ADDRESS["phone1"])
        addresses = {message.address for message in messages} - {ADDRESS["phone1"]}
        for address in sorted(addresses):
            net.run("phone1", "ip", "address", "add", f"{address}/32", "dev", "eth0")
        # A port that nobody has on the server: 5060 is its registrar's.
        net.run("router", "nft", "flush", "chain", "ip", "nat", "prerouting")
        net.run("server", "ip", "address", "add", f"{THERE}/24", "dev", "eth0")
        with net.socket("server") as server:
            server.bind((THERE, 5060))
            server.settimeout(ARRIVES_S)
            for message in messages:
                net.run("router", "conntrack", "-F", check=False)
                with net.socket("phone1") as phone:
                    phone.bind((message.address, 5060))
                    phone.sendto(message.payload, (THERE, 5060))
                    try:
                        arrived.append(server.recv(65536))
                    except TimeoutError:
                        arrived.append(None)
    return arrived


#: The server's second address: the lab's registrar has its first.
THERE: Final = SERVER_ADDRESS.rpartition(".")[0] + ".55"


def said(sent: bytes, arrived: bytes | None) -> str:
    """What became of a message, in few words: which lines are others."""
    if arrived is None:
        return "dropped"
    if arrived == sent:
        return "unchanged"
    changed: Counter[str] = Counter()
    before, after = sent.split(b"\n"), arrived.split(b"\n")
    for kind, start, end, low, high in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            changed.update(_kind_of(line) for line in (before[start:end] or after[low:high]))
    return "edits " + ", ".join(f"{name} × {count}" if count > 1 else name for name, count in changed.items())


def _kind_of(line: bytes) -> str:
    text = line.decode("latin-1").strip()
    if text[1:2] == "=":
        return text[:2]
    name, colon, _ = text.partition(":")
    return name.strip() if colon and " " not in name.strip() else "a line"


def main() -> None:
    """Play the corpus in both modes and print a row a message: name, Linux's helper, sipalg, the same or not."""
    messages = list(corpus())
    helper, ours = play("kernel", messages), play("sipalg", messages)
    for message, theirs, mine in zip(messages, helper, ours, strict=True):
        same = "same" if theirs == mine else "differs"
        row = (message.name, said(message.payload, theirs), said(message.payload, mine), same)
        sys.stdout.write("\t".join(row) + "\n")


if __name__ == "__main__":
    main()
