"""What the tests in namespaces share: whether namespaces can be made here at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.live.router import PATIENCE_S, PHONE, SERVER, Router

from sipalg.lab import firewall
from sipalg.lab.programs import missing_packages
from sipalg.lab.topology import Topology, namespaces_refused


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip, with the reason, where this process can't make network namespaces."""
    refused = namespaces_refused()
    if refused:
        pytest.skip(refused)


@pytest.fixture(scope="session")
def programs() -> None:
    """Skip, with the packages' names, where the lab's programs aren't installed."""
    missing = missing_packages()
    if missing:
        pytest.skip(f"programs are missing: apt-get install {' '.join(missing)}")


@pytest.fixture(scope="module")
def net(request: pytest.FixtureRequest) -> Iterator[Topology]:
    request.getfixturevalue("namespaces")
    with Topology(("phone1", "phone2", "server")) as topology:
        yield topology


@pytest.fixture
def router(net: Topology) -> Iterator[Router]:
    """A router with its administrator's rules, no flows and no sipalg, whatever the test before left."""
    firewall.load(net, firewall.rules("loose"))
    router = Router(net)
    yield router
    router.end()
    net.run("router", "nft", "delete", "table", "ip", "sipalg", check=False)
    net.run("router", "conntrack", "-F", check=False)
    router.journal.unlink(missing_ok=True)


@pytest.fixture
def phone(net: Topology) -> Iterator[socket.socket]:
    with net.socket("phone1") as end:
        end.bind((PHONE, 5060))
        end.settimeout(PATIENCE_S)
        yield end


@pytest.fixture
def server(net: Topology) -> Iterator[socket.socket]:
    with net.socket("server") as end:
        end.bind((SERVER, 5060))
        end.settimeout(PATIENCE_S)
        yield end
