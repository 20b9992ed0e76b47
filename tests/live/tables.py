"""sipalg's table in a router's namespace, for tests that need it without the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sipalg.datapath.nft_rules import TableSettings
from sipalg.datapath.nft_table import NftTable
from sipalg.lab.topology import Topology


@contextmanager
def installed(net: Topology, settings: TableSettings) -> Iterator[NftTable]:
    """Install the table on a router whose conntrack is empty; it goes with the block."""
    table = net.inside("router", lambda: NftTable(settings))
    table.install()
    net.run("router", "conntrack", "-F")
    try:
        yield table
    finally:
        table.remove()
        table.close()
