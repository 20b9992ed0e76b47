"""The files that make sipalg a service: units, its user, man page, completions; which there are and where they go.

Units and their like are data beside this module, with a place for the program's path; man page and completions come
from where the package was installed, or from a checkout. What was installed is written down with its hashes, so that a
later installation knows what somebody has edited since. Off every packet's way.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Final, Literal, NamedTuple

SETTINGS: Final = Path("/etc/sipalg/sipalg.toml")

#: Data → where it goes, under the prefix. The first two are what systemd's programs are told of.
SYSUSERS: Final = "lib/sysusers.d/sipalg.conf"
TMPFILES: Final = "lib/tmpfiles.d/sipalg.conf"
_UNITS: Final = {
    "sysusers.conf": SYSUSERS,
    "tmpfiles.conf": TMPFILES,
    "sipalg.service": "lib/systemd/system/sipalg.service",
    "sipalg-metrics.service": "lib/systemd/system/sipalg-metrics.service",
}
#: Place in a checkout → place under a prefix, which is also where the wheel has it.
_SHARED: Final = {
    "docs/man/sipalg.8": "share/man/man8/sipalg.8",
    "completions/sipalg.bash": "share/bash-completion/completions/sipalg",
    "completions/_sipalg": "share/zsh/site-functions/_sipalg",
    "completions/sipalg.fish": "share/fish/vendor_completions.d/sipalg.fish",
}
_CHECKOUT: Final = Path(__file__).parents[4]
#: What the unit hides from the service, whatever its mode (ProtectHome=, PrivateTmp=).
_HIDDEN: Final = tuple(Path("/", name) for name in ("root", "home", "run/user", "tmp", "var/tmp"))
_MANIFEST: Final = "share/sipalg/installed.sha256"
#: What a unit's line can't hold as it is (systemd.service(5), COMMAND LINES; systemd.unit(5), SPECIFIERS).
_SPECIAL: Final = frozenset("\"'\\%$;")

#: What is to be done with a file: `keep` is one that somebody edited, or that isn't ours.
Action = Literal["make", "update", "same", "keep", "remove", "gone"]


class File(NamedTuple):
    """A file of the service: its path on the system, and what is in it."""

    path: Path
    content: bytes


def files(prefix: Path, executable: str, shared: Path = Path(sys.prefix), checkout: Path = _CHECKOUT) -> list[File]:
    """Return what belongs under `prefix`, with units that run `executable`.

    `shared` is where the package's own shared files were installed, `checkout` where they are in the sources; those
    that are in neither are left out, and those that are in their places already.
    """
    found = []
    for name, place in _UNITS.items():
        text = resources.files("sipalg.control.setup").joinpath("units", name).read_text()
        found.append(File(prefix / place, text.replace("@EXECUTABLE@", executable).encode()))
    for source, place in _SHARED.items():
        path = next((path for path in (shared / place, checkout / source) if path.is_file()), None)
        if path is not None and path != prefix / place:
            found.append(File(prefix / place, path.read_bytes()))
    return found


def manifest_path(prefix: Path) -> Path:
    """Return where the list of installed files is kept, in sha256sum's format."""
    return prefix / _MANIFEST


def manifest(hashes: Mapping[str, str]) -> bytes:
    """Write paths with their hashes."""
    return "".join(f"{digest}  {path}\n" for path, digest in hashes.items()).encode()


def read_manifest(text: str) -> dict[str, str]:
    """Read paths with their hashes; lines that aren't such are left out."""
    pairs = (line.split("  ", 1) for line in text.splitlines() if "  " in line)
    return {path: digest for digest, path in pairs}


def digest_of(content: bytes) -> str:
    """Return the hash by which edited files are told."""
    return hashlib.sha256(content).hexdigest()


def decide(wanted: bytes | None, present: bytes | None, installed: str | None) -> Action:
    """Return what to do with a file.

    `wanted` is what should be there (None: nothing), `present` what is, `installed` the hash of what was put there.
    """
    if present is None:
        return "gone" if wanted is None else "make"
    if present == wanted:
        return "same"
    if digest_of(present) != installed:
        return "keep"
    return "remove" if wanted is None else "update"


def unfit(executable: str) -> str:
    """Return why a unit can't run this program, "" where it can."""
    if not executable.startswith("/"):
        return "isn't an absolute path"
    if any(character.isspace() or character in _SPECIAL for character in executable):
        return "has a character that units don't take as it is"
    return ""


def unreachable(path: Path) -> Path | None:
    """Return the first place on the way to `path` that the service's own user can't get through; None for none.

    What isn't there yet is looked at only by its name.
    """
    for place in _way_to(path):
        if place in _HIDDEN or (place.exists() and not place.stat().st_mode & 0o001):
            return place
    return None


def _way_to(path: Path) -> Iterator[Path]:
    """Yield the path's directories from the top, itself last, and where it leads if it is a link."""
    yield from (*reversed(path.parents), path)
    real = path.resolve()
    if real != path:
        yield from (*reversed(real.parents), real)
