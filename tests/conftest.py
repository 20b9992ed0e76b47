"""What holds for all tests: an example that takes long on a busy machine is no failure; which tests stay together.

Where several processes share the tests (`pytest -n`), each module of lab tests is one process's: its namespaces and
its sipalg are the module's.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

# Built upon the profile that hypothesis has chosen already: in CI it draws the same examples each time.
settings.register_profile("sipalg", deadline=None)
settings.load_profile("sipalg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a module's lab tests together, and leave all other tests to whichever process is free."""
    for item in items:
        if item.get_closest_marker("lab") is not None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
