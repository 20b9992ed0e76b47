#!/usr/bin/env python3
"""Compiles the packet path's Python files to machine code, into src/sipalg/compiled/ (sipalg/builds.py).

`.venv/bin/python tools/compile.py [--force]`. Does nothing where that has been done for these very sources, and
compiles no C file anew whose text and headers are as they were (build/compile/). mypyc translates what also runs
interpreted, Cython the one file that calls the C library. Where there is no C compiler, or
anything goes wrong, it says so in one line, and the interpreted build is what runs: the exit code is 0 unless
`--must`. The wheel's build hook (hatch_build.py) calls it too.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "src" / "sipalg"
WORK: Final = ROOT / "build" / "compile"
#: What is compiled: all of codec and engine, and of the datapath what every packet goes through, and every
#: command on its way into the kernel.
FOLDERS: Final = ("codec", "engine")
FILES: Final = (
    *(
        f"datapath/{name}.py"
        for name in (
            "conntrack",
            "ctnetlink",
            "driver",
            "executor",
            "flow_requests",
            "netlink",
            "nft_codec",
            "nft_steps",
            "nft_family",
            "standing",
            "nft_frames",
        )
    ),
    # What the state of a hundred thousand phones goes through at start.
    "datapath/nft_elements.py",
    "control/service/takeover.py",
)
#: What Cython compiles, in its pure-Python mode.
CYTHON: Final = (
    "sipalg.codec.quick",
    "sipalg.codec.quick_edits",
    "sipalg.codec.quick_names",
    "sipalg.codec.quick_sdp",
    "sipalg.datapath.batch",
    "sipalg.datapath.sender",
    "sipalg.datapath.dumps",
    "sipalg.datapath.quick_flows",
    "sipalg.engine.express",
    "sipalg.engine.express_rows",
    "sipalg.engine.express_texts",
    "sipalg.engine.express_times",
    "sipalg.datapath.express_batch",
)
#: The name of the library that holds all modules; each module's own file only leads to it.
GROUP: Final = "sipalg.core"


class CannotCompileError(Exception):
    """There will be no compiled build: one line for people."""


def modules() -> list[str]:
    """Return the names of the modules that are compiled."""
    files = [file for folder in FOLDERS for file in sorted((PACKAGE / folder).glob("*.py"))]
    files = [file for file in files if file.name != "__init__.py"] + [PACKAGE / name for name in FILES]
    names = [".".join(("sipalg", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files]
    return [name for name in names if name not in CYTHON]


def builds() -> ModuleType:
    """Return `sipalg.builds`, by its file: importing the package would look for what is made here."""
    spec = importlib.util.spec_from_file_location("builds", PACKAGE / "builds.py")
    if spec is None or spec.loader is None:
        raise CannotCompileError("src/sipalg/builds.py can't be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(*, force: bool = False) -> str:
    """Compile what has to be; returns a line about it. Raises CannotCompileError."""
    chooser = builds()
    names = [*modules(), *CYTHON]
    found = chooser.compiled_files()
    if not force and not isinstance(found, str) and set(names) <= set(found):
        return f"compiled build: up to date, {len(names)} modules"
    begun = time.monotonic()
    _need_a_compiler()
    # Of the sources as they are now: what is edited from here on has to be compiled again.
    fingerprint = chooser.fingerprint(names)
    WORK.mkdir(parents=True, exist_ok=True)
    extensions = [*_translate(modules()), *(_cythonize(name) for name in CYTHON)]
    fresh = PACKAGE / "compiled.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    compiled = _compile(extensions, fresh)
    libraries = sorted({extension.name for extension in extensions} - set(names))
    manifest = {"modules": names, "libraries": libraries, "fingerprint": fingerprint}
    (fresh / chooser.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(chooser.PLACE, ignore_errors=True)
    fresh.rename(chooser.PLACE)
    return f"compiled build: {len(names)} modules, {compiled} C files compiled, {time.monotonic() - begun:.0f} s"


def _need_a_compiler() -> None:
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        raise CannotCompileError("no C compiler (Debian: gcc)")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise CannotCompileError("Python's headers are missing (Debian: python3-dev)")
    for module in ("mypyc", "setuptools", "Cython"):
        if importlib.util.find_spec(module) is None:
            raise CannotCompileError(f"the Python package {module.replace('mypyc', 'mypy')} is missing")


def _translate(names: Sequence[str]) -> list[Any]:
    """Have mypyc write C files; returns the extensions that they make."""
    os.environ["MYPYPATH"] = str(ROOT / "src")
    from mypyc.build import mypycify

    chooser = builds()
    options = ["--strict", "--config-file=", f"--cache-dir={WORK / 'mypy'}", "--explicit-package-bases"]
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            extensions: list[Any] = mypycify(
                [*options, *(str(chooser.source_of(name, PACKAGE)) for name in names)],
                opt_level="2",
                debug_level="0",
                multi_file=True,
                group_name=GROUP,
                target_dir=str(WORK),
            )
    except SystemExit as error:
        raise CannotCompileError(f"mypyc: {_last_line(said.getvalue()) or error}") from error
    return extensions


def _cythonize(name: str) -> Any:
    """Have Cython write a C file; returns the extension that it makes."""
    from setuptools import Extension

    source = builds().source_of(name, PACKAGE)
    output = WORK / f"{source.stem}.c"
    words = [sys.executable, "-m", "cython", "-3", "--fast-fail", f"-I{ROOT / 'src'}", "-o", str(output)]
    for directive in ("boundscheck=False", "wraparound=False", "cdivision=True"):
        words += ["-X", directive]
    _run([*words, str(source)])
    # What reads the fields of mypyc's classes includes the header that mypyc wrote, and that one includes mypyc's own.
    from mypyc.build import include_dir

    return Extension(name, [str(output)], include_dirs=[include_dir()], extra_compile_args=["-O3"])


def _compile(extensions: Sequence[Any], place: Path) -> int:
    """Compile and link the extensions into `place`, as many at once as there are processors; how many files anew."""
    compiler = (sysconfig.get_config_var("CC") or "gcc").split()
    flags = [*(sysconfig.get_config_var("CCSHARED") or "-fPIC").split(), f"-I{sysconfig.get_path('include')}"]
    # Calls between our own functions needn't be looked up as another library's are: 1 % of the instructions.
    flags += ["-fvisibility=hidden", "-fno-plt"]
    headers = hashlib.sha256(sys.version.encode())
    for header in sorted(WORK.rglob("*.h")):
        headers.update(header.read_bytes())

    def compile_one(source: Path, arguments: list[str]) -> tuple[Path, bool]:
        words = [*compiler, "-c", *flags, "-DNDEBUG", *arguments]
        key = hashlib.sha256(headers.digest() + repr(words).encode() + source.read_bytes()).hexdigest()[:24]
        output = WORK / "objects" / f"{source.stem}-{key}.o"
        if output.exists():
            return output, False
        _run([*words, str(source), "-o", str(output.with_suffix(".tmp"))])
        output.with_suffix(".tmp").rename(output)
        return output, True

    (WORK / "objects").mkdir(exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = {
            extension.name: [
                pool.submit(compile_one, Path(source), _arguments(extension)) for source in extension.sources
            ]
            for extension in extensions
        }
        made = {name: [job.result() for job in waiting] for name, waiting in jobs.items()}
    used = {file for files in made.values() for file, _ in files}
    for old in set((WORK / "objects").iterdir()) - used:
        old.unlink()
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for name, files in made.items():
        _run([*compiler, "-shared", *(str(file) for file, _ in files), "-o", str(place / f"{name}{suffix}")])
    return sum(anew for files in made.values() for _, anew in files)


def _arguments(extension: Any) -> list[str]:
    includes = [f"-I{folder}" for folder in (*extension.include_dirs, WORK / "sipalg")]
    macros = [f"-D{name}" if value is None else f"-D{name}={value}" for name, value in extension.define_macros]
    return [*includes, *macros, *extension.extra_compile_args]


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotCompileError(_last_line(done.stderr) or f"{words[0]} failed")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[-1] if lines else "")


def wanted() -> bool:
    """Return whether a compiled build is asked for."""
    return os.environ.get("SIPALG_BUILD") != "pure"


def main(words: Sequence[str]) -> int:
    """Compile, and say what came of it in one line."""
    parser = argparse.ArgumentParser(prog="tools/compile.py", description="Compile the packet path.")
    parser.add_argument("--force", action="store_true", help="translate everything anew")
    parser.add_argument("--must", action="store_true", help="exit code 1 where that isn't possible")
    options = parser.parse_args(words)
    if not wanted():
        print("compiled build: none, SIPALG_BUILD is pure")
        return 0
    logging.disable()
    try:
        print(make(force=options.force))
    except CannotCompileError as error:
        print(f"compiled build: none, the interpreted one is used: {error}")
        return 1 if options.must else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
