"""`sipalg install-service`: puts the service's files into their places, or takes them away.

Doing it again changes only what a newer version has otherwise, and never a file that somebody edited. Everything is
looked at before the first file is written. With `--root` it fills a package's tree, and asks nothing of the system.
Off every packet's way.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from sipalg.control.settings.durable import replace_file
from sipalg.control.settings.file import default_file
from sipalg.control.setup import service_files
from sipalg.control.setup.service_files import SETTINGS, SYSUSERS, TMPFILES, Action

_PREFIX: Final = Path("/usr/local")
_BOOTED: Final = Path("/run/systemd/system")  # sd_booted(3)
_UNITS: Final = ("sipalg.service", "sipalg-metrics.service")
_DONE: Final[dict[Action, str]] = {"make": "made", "update": "updated", "same": "unchanged", "remove": "removed"}


class Step(NamedTuple):
    """What is to be done with one file; `content` is None where it goes."""

    action: Action
    path: Path
    content: bytes | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--prefix", type=Path, default=_PREFIX, metavar="DIR", help=f"where the files go (default: {_PREFIX})")
    add("--root", type=Path, metavar="DIR", help="a package's tree that all paths are under; nothing is started")
    executable = "the program that the units run (default: this one; with --root PREFIX/bin/sipalg)"
    add("--executable", metavar="PATH", help=executable)
    add("--uninstall", action="store_true", help="stop the service and take its files away, but not the settings")
    add("--dry-run", action="store_true", help="only say what would be done")


def main(args: argparse.Namespace) -> int:
    """Do it; 0 when all is done, 1 where edited files were left or a program failed, 2 where nothing was done."""
    prefix: Path = args.prefix
    root = Path("/") if args.root is None else args.root.absolute()
    try:
        if root.exists() and not root.is_dir():
            raise ValueError(f"--root {args.root}: isn't a directory")
        if not prefix.is_absolute():
            raise ValueError(f"--prefix {prefix}: isn't an absolute path; an example: {_PREFIX}")
        installed = _read_manifest(root, prefix)
        if args.uninstall:
            steps = _removals(root, installed)
        else:
            packaged = None if args.root is None else str(prefix / "bin/sipalg")
            executable = _executable(args.executable or packaged, here=args.root is None)
            steps = _additions(root, prefix, executable, installed)
    except (ValueError, OSError) as error:
        said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        sys.stderr.write(f"sipalg install-service: {said}\n")
        return 2
    closed = _closed(root, [step.path for step in steps if step.action in ("make", "update", "remove")])
    if closed and not args.dry_run:
        sys.stderr.write(f"sipalg install-service: {closed}: no right to write there; be root, or choose --root\n")
        return 2
    alive = args.root is None and _BOOTED.is_dir()
    well = True
    if alive and args.uninstall and installed:
        well = _run([("systemctl", "disable", "--now", *_UNITS)], dry=args.dry_run)
    for step in steps:
        _tell(step, dry=args.dry_run)
        if not args.dry_run:
            _do(root, step)
    if not args.dry_run:
        _write_manifest(root, prefix, steps, installed)
    if args.root is None:
        well = _settle(prefix, alive=alive, uninstall=args.uninstall, dry=args.dry_run) and well
    return 0 if well and all(step.action != "keep" for step in steps) else 1


def _executable(chosen: str | None, *, here: bool) -> str:
    """Return the program's path for the units, which are to run `here` or elsewhere. Raises ValueError."""
    if chosen is not None:
        reason = service_files.unfit(chosen)
        if reason:
            raise ValueError(f"--executable {chosen}: {reason}; an example: /usr/bin/sipalg")
        if here:
            _refuse_unreachable(Path(chosen))
            if not os.access(chosen, os.X_OK) or Path(chosen).is_dir():
                what = "there is no such program; the service can't start before there is"
                sys.stderr.write(f"sipalg install-service: warning: --executable {chosen}: {what}\n")
        return chosen
    beside = Path(sys.executable).with_name("sipalg")
    found = str(beside) if beside.is_file() else shutil.which("sipalg")
    if found is None:
        raise ValueError("no program sipalg was found; name it with --executable")
    reason = service_files.unfit(found)
    if reason:
        raise ValueError(f"{found}: {reason}; install it elsewhere, such as into /opt/sipalg, or name --executable")
    for path in (Path(found), Path(sys.executable)):
        _refuse_unreachable(path)
    return found


def _refuse_unreachable(path: Path) -> None:
    place = service_files.unreachable(path)
    if place is not None:
        raise ValueError(
            f"{path}: the service's own user can't get through {place}; install it elsewhere, such as into "
            "/opt/sipalg, or name another with --executable"
        )


def _additions(root: Path, prefix: Path, executable: str, installed: dict[str, str]) -> list[Step]:
    steps = []
    for path, content in service_files.files(prefix, executable):
        action = service_files.decide(content, _present(root, path), installed.get(str(path)))
        steps.append(Step(action, path, content))
    if _present(root, SETTINGS) is None:
        steps.append(Step("make", SETTINGS, default_file().encode()))
    return steps


def _removals(root: Path, installed: dict[str, str]) -> list[Step]:
    steps = []
    for name, digest in installed.items():
        action = service_files.decide(None, _present(root, Path(name)), digest)
        if action != "gone":
            steps.append(Step(action, Path(name), None))
    return steps


def _under(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _present(root: Path, path: Path) -> bytes | None:
    try:
        return _under(root, path).read_bytes()
    except FileNotFoundError:
        return None


def _closed(root: Path, paths: Iterable[Path]) -> Path | None:
    """Return the first directory that may not be written to; those that don't exist yet are their parents' matter."""
    for path in paths:
        place = next(parent for parent in _under(root, path).parents if parent.exists())
        if not os.access(place, os.W_OK):
            return place
    return None


def _tell(step: Step, *, dry: bool) -> None:
    if step.action == "keep":
        what = "is kept: it isn't what was installed, compare it with the new one and remove it to have that"
        if step.content is None:
            what = "is kept: it was edited since it was installed"
        sys.stdout.write(f"{step.path}: {what}\n")
    else:
        would = "would be " if dry and step.action != "same" else ""
        sys.stdout.write(f"{step.path}: {would}{_DONE[step.action]}\n")


def _do(root: Path, step: Step) -> None:
    path = _under(root, step.path)
    if step.action == "remove":
        path.unlink(missing_ok=True)
    elif step.content is not None and step.action in ("make", "update"):
        content = step.content
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(path, lambda _present: content)


def _read_manifest(root: Path, prefix: Path) -> dict[str, str]:
    present = _present(root, service_files.manifest_path(prefix))
    return service_files.read_manifest((present or b"").decode("utf-8", "replace"))


def _write_manifest(root: Path, prefix: Path, steps: Sequence[Step], installed: dict[str, str]) -> None:
    """Note what stands now as it was installed; without anything the list goes too."""
    hashes = dict(installed)
    for step in steps:
        if step.action == "remove":
            hashes.pop(str(step.path), None)
        elif step.content is not None and step.action != "keep" and step.path != SETTINGS:
            hashes[str(step.path)] = service_files.digest_of(step.content)
    path = service_files.manifest_path(prefix)
    if any(step.content is not None for step in steps):
        _do(root, Step("make", path, service_files.manifest(hashes)))
    else:
        _under(root, path).unlink(missing_ok=True)


def _settle(prefix: Path, *, alive: bool, uninstall: bool, dry: bool) -> bool:
    """Have systemd take note, and say what is next; False where one of its programs failed."""
    commands: list[tuple[str, ...]] = []
    if not uninstall:
        commands.append(("systemd-sysusers", str(prefix / SYSUSERS)))
        commands.append(("systemd-tmpfiles", "--create", str(prefix / TMPFILES)))
    commands.append(("systemctl", "daemon-reload"))
    if alive:
        well = _run(commands, dry=dry)
    else:
        well = True
        for command in commands:
            sys.stdout.write(f"left out, since systemd isn't running: {' '.join(command)}\n")
    if uninstall:
        sys.stdout.write(f"{SETTINGS.parent}, /var/lib/sipalg and the user sipalg stay\n")
    else:
        sys.stdout.write(
            f"next: set inside and outside in {SETTINGS}, look with `sipalg doctor`, "
            "and systemctl enable --now sipalg\n"
        )
    return well


def _run(commands: Iterable[tuple[str, ...]], *, dry: bool) -> bool:
    well = True
    for command in commands:
        sys.stdout.write(f"{'would run' if dry else 'run'}: {' '.join(command)}\n")
        sys.stdout.flush()
        if not dry:
            try:
                well = subprocess.run(command, check=False).returncode == 0 and well
            except FileNotFoundError:
                sys.stderr.write(f"sipalg install-service: {command[0]}: program not found\n")
                well = False
    return well
