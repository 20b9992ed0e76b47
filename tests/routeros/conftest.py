from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from tests.routeros.fake import FakeAlg

from sipalg.routeros.router import Router


@pytest.fixture
def alg(tmp_path: Path) -> Iterator[FakeAlg]:
    with FakeAlg(tmp_path / "sock") as running:
        yield running


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file with comments."""
    path = tmp_path / "sipalg.toml"
    path.write_text('# mine\ninside = ["lan0"]  # phones\noutside = "wan0"\nports = [5060]\n')
    return path


@pytest.fixture
def router(tmp_path: Path, file: Path, told: list[str]) -> Router:
    """What works on the fake ALG where `alg` is asked for too, else on `file`; lan0 and wan0 are there."""
    interfaces = tmp_path / "net"
    for name in ("lan0", "wan0"):
        (interfaces / name).mkdir(parents=True)
    return Router(tmp_path / "sock", file, told.append, interfaces)


class Places(NamedTuple):
    """The options that say where all is."""

    socket: Path
    config: Path

    def parse(self, module: ModuleType, *arguments: str) -> argparse.Namespace:
        """Read a command's arguments as its module declares them."""
        parser = argparse.ArgumentParser()
        module.configure(parser)
        return parser.parse_args([*arguments, "--socket", str(self.socket), "--config", str(self.config)])


@pytest.fixture
def places(tmp_path: Path, file: Path) -> Places:
    return Places(tmp_path / "sock", file)
