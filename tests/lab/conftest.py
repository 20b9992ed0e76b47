"""What the tests in namespaces share: whether namespaces can be made here at all."""

from __future__ import annotations

import pytest

from sipalg.lab.topology import namespaces_refused


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip, with the reason, where this process can't make network namespaces."""
    refused = namespaces_refused()
    if refused:
        pytest.skip(refused)
