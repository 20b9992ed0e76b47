"""The wheel's build: with the packet path compiled where there is a C compiler, else of Python files alone.

Hatchling calls it. `SIPALG_BUILD=pure` asks for the wheel without machine code, which is every machine's.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledBuild(BuildHookInterface[Any]):
    """Puts src/sipalg/compiled/ into the wheel, and the machine's name on it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the wheel only leads to this checkout."""
        if version == "editable":
            return
        place = Path(self.root, "src", "sipalg", "compiled")
        compiler = runpy.run_path(str(Path(self.root, "tools", "compile.py")))
        made: int = compiler["main"](["--must"])
        manifest = place / "manifest.json"
        if made != 0 or not compiler["wanted"]():
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update(
            {str(file): f"sipalg/compiled/{file.name}" for file in (manifest, *place.glob("*.so"))}
        )
        sys.stdout.flush()
