"""Which build runs: chosen by the environment, by what is there, and by whether it was made of these sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from pathlib import Path

import pytest

from sipalg import builds

ROOT = Path(__file__).resolve().parent.parent
MODULES = ["sipalg.codec.uri", "sipalg.engine.alg"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with two modules, and their compiled files beside."""
    for name in MODULES:
        source = builds.source_of(name, tmp_path)
        source.parent.mkdir()
        source.write_text(f"NAME = {name!r}\n")
    place = tmp_path / "compiled"
    place.mkdir()
    (place / builds.MANIFEST).write_text(
        json.dumps(
            {
                "modules": MODULES,
                "libraries": ["sipalg.core__mypyc"],
                "fingerprint": builds.fingerprint(MODULES, tmp_path),
            }
        )
    )
    return tmp_path


@pytest.fixture
def no_finders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [])


def run(words: str, **environment: str) -> str:
    """What a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout.strip()


def test_compiled_files_are_those_of_the_manifest(package: Path) -> None:
    place = package / "compiled"
    suffix = EXTENSION_SUFFIXES[0]
    assert builds.compiled_files(place, package) == {
        name: place / (name + suffix) for name in (*MODULES, "sipalg.core__mypyc")
    }


def test_another_source_is_another_build(package: Path) -> None:
    builds.source_of(MODULES[0], package).write_text("NAME = 1\n")
    assert "other sources" in str(builds.compiled_files(package / "compiled", package))


def test_a_source_that_is_gone_is_none(package: Path) -> None:
    builds.source_of(MODULES[0], package).unlink()
    assert builds.compiled_files(package / "compiled", package) == "there is no compiled build"


def test_what_cython_shares_is_a_source_too(package: Path) -> None:
    (package / "codec" / "search.pxd").write_text("# new\n")
    assert builds.compiled_files(package / "compiled", package) == (
        "the compiled build was made of other sources or for another Python"
    )


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"modules": 1, "fingerprint": "", "libraries": []}'])
def test_a_damaged_manifest_is_none(package: Path, text: str) -> None:
    (package / "compiled" / builds.MANIFEST).write_text(text)
    assert "can't be read" in str(builds.compiled_files(package / "compiled", package))


@pytest.mark.usefixtures("no_finders")
def test_what_is_there_is_taken(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = builds.compiled_files(package / "compiled", package)
    monkeypatch.setattr(builds, "compiled_files", lambda: files)
    assert builds.running() == "interpreted"
    assert builds.choose("") == ""
    assert builds.running() == "compiled"
    (finder,) = sys.meta_path
    spec = finder.find_spec(MODULES[0], None)
    assert spec is not None
    assert isinstance(spec.loader, ExtensionFileLoader)
    assert spec.origin == str(package / "compiled" / (MODULES[0] + EXTENSION_SUFFIXES[0]))
    assert finder.find_spec("sipalg.cli", None) is None


@pytest.mark.usefixtures("no_finders")
@pytest.mark.parametrize(
    ("wish", "answer"),
    [
        ("pure", ""),
        ("", ""),
        ("compiled", "SIPALG_BUILD is compiled, but there is none (tools/compile.py makes one)"),
        ("fast", "SIPALG_BUILD is 'fast': compiled or pure would be right"),
    ],
)
def test_wishes(wish: str, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "compiled_files", lambda: "there is none")
    assert builds.choose(wish) == answer
    assert builds.running() == "interpreted"


def test_pure_has_no_machine_code() -> None:
    words = "import sipalg.engine.alg as it, sipalg.codec.uri; print(it.__file__)"
    assert run(words, SIPALG_BUILD="pure") == str(ROOT / "src/sipalg/engine/alg.py")


@pytest.mark.skipif(isinstance(builds.compiled_files(), str), reason="there is no compiled build of these sources")
def test_compiled_is_all_machine_code() -> None:
    words = (
        "import sys, sipalg.datapath.driver; "
        "print(*sorted({str(sys.modules[name].__file__).endswith('.so') for name in sys.modules "
        "if name.startswith(('sipalg.codec.', 'sipalg.engine.', 'sipalg.datapath.driver'))}))"
    )
    assert run(words, SIPALG_BUILD="compiled") == "True"


def wheel(place: Path, **environment: str) -> zipfile.ZipFile:
    """The wheel that hatchling makes of this checkout."""
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, env={**os.environ, **environment})
    (file,) = place.glob("*.whl")
    return zipfile.ZipFile(file)


def test_a_pure_wheel_is_every_machines(tmp_path: Path) -> None:
    with wheel(tmp_path, SIPALG_BUILD="pure") as built:
        assert str(built.filename).endswith("-py3-none-any.whl")
        assert "sipalg/engine/alg.py" in built.namelist()
        assert not [name for name in built.namelist() if "compiled" in name]


@pytest.mark.skipif(isinstance(builds.compiled_files(), str), reason="there is no compiled build of these sources")
def test_a_compiled_wheel_has_both_builds(tmp_path: Path) -> None:
    with wheel(tmp_path, SIPALG_BUILD="") as built:
        assert "-none-any" not in str(built.filename)
        assert {"sipalg/engine/alg.py", f"sipalg/compiled/sipalg.engine.alg{EXTENSION_SUFFIXES[0]}"} <= set(
            built.namelist()
        )
        assert f"sipalg/compiled/{builds.MANIFEST}" in built.namelist()
