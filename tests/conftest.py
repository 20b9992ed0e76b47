"""What holds for all tests: an example that takes long on a busy machine is no failure; which tests stay together,
and which are for one build only.

Where several processes share the tests (`pytest -n`), each module of lab tests is one process's: its namespaces and
its sipalg are the module's.
"""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

if any(argument.startswith("--cov") for argument in sys.argv):
    # Coverage sees nothing of machine code. The processes that share the tests inherit it.
    os.environ.setdefault("SIPALG_BUILD", "pure")
from sipalg import builds

# Built upon the profile that hypothesis has chosen already: in CI it draws the same examples each time.
settings.register_profile("sipalg", deadline=None)
settings.load_profile("sipalg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a module's lab tests together, and leave all other tests to whichever process is free."""
    compiled = builds.running() == "compiled"
    for item in items:
        if compiled and item.get_closest_marker("interpreted") is not None:
            item.add_marker(pytest.mark.skip("for the interpreted build: changes a constant, or reads a source"))
        if item.get_closest_marker("lab") is not None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
