"""Which build runs: the packet path compiled to machine code, or the same files interpreted.

`tools/compile.py` (`make run`, `make test`, `make bench`, and building a wheel where a C compiler is) puts compiled
modules into `sipalg/compiled/`, beside the Python files that they were made of, so both builds are in one place, and a
start chooses: `SIPALG_BUILD` is `compiled`, `pure` or unset, which takes the compiled ones if they are there and made
of these very sources. Before the beginning of a packet's way: the package itself calls `choose` when it is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

#: The environment variable that chooses.
VARIABLE: Final = "SIPALG_BUILD"
COMPILED: Final = "compiled"
PURE: Final = "pure"

PACKAGE: Final = Path(__file__).resolve().parent
#: Where the compiled modules are, and what says which these are and of which sources they were made.
PLACE: Final = PACKAGE / "compiled"
MANIFEST: Final = "manifest.json"


class _Finder(MetaPathFinder):
    """Finds the compiled modules before anybody looks for the Python files of the same names."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module's machine code is, None for modules that have none."""
        del path, target
        file = self._files.get(fullname)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, str(file)))


def fingerprint(modules: Sequence[str], package: Path = PACKAGE) -> str:
    """Return what tells these modules' sources from any others; OSError if one isn't there."""
    digest = hashlib.sha256(EXTENSION_SUFFIXES[0].encode())
    sources = {name: source_of(name, package) for name in modules}
    for name, source in sources.items():
        digest.update(name.encode() + b"\0" + source.read_bytes())
    # What Cython's modules share.
    for shared in sorted({file for source in sources.values() for file in source.parent.glob("*.pxd")}):
        digest.update(shared.name.encode() + b"\0" + shared.read_bytes())
    return digest.hexdigest()


def source_of(name: str, package: Path = PACKAGE) -> Path:
    """Return the Python file of a module such as `sipalg.codec.uri`."""
    return package.joinpath(*name.split(".")[1:]).with_suffix(".py")


def compiled_files(place: Path = PLACE, package: Path = PACKAGE) -> dict[str, Path] | str:
    """Return the compiled modules' files by name; a str says why they can't be used."""
    try:
        manifest = json.loads((place / MANIFEST).read_text())
        modules: list[str] = manifest["modules"]
        made_of: str = manifest["fingerprint"]
        extra: list[str] = manifest["libraries"]
        if fingerprint(modules, package) != made_of:
            return "the compiled build was made of other sources or for another Python"
    except FileNotFoundError:
        return "there is no compiled build"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{place / MANIFEST} can't be read: {error}"
    return {name: place / (name + EXTENSION_SUFFIXES[0]) for name in (*modules, *extra)}


def choose(wish: str | None = None) -> str:
    """Take the build that `wish` or the environment names; returns what is wrong with the wish, or ""."""
    wish = os.environ.get(VARIABLE, "") if wish is None else wish
    if wish == PURE:
        return ""
    if wish not in ("", COMPILED):
        return f"{VARIABLE} is {wish!r}: {COMPILED} or {PURE} would be right"
    files = compiled_files()
    if not isinstance(files, str):
        sys.meta_path.insert(0, _Finder(files))
        return ""
    return f"{VARIABLE} is {COMPILED}, but {files} (tools/compile.py makes one)" if wish else ""


def running() -> str:
    """Return "compiled" where the packet path's modules are machine code, else "interpreted"."""
    return "compiled" if any(isinstance(finder, _Finder) for finder in sys.meta_path) else "interpreted"
