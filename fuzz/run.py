"""The fuzzer's driver: `python -m fuzz.run TARGET [libFuzzer's options and corpus directories]`.

Needs atheris (`make fuzz` installs it where it has a wheel). Ends with libFuzzer's exit code; an input that breaks a
rule is written to a `crash-…` file, which `python -m fuzz.run TARGET FILE` runs again. The interpreted build is what
runs, unless SIPALG_BUILD says otherwise: the fuzzer sees which branches of Python an input takes, and none of machine
code. `builds` holds the compiled one against it.
"""

from __future__ import annotations

import os
import sys

import atheris

os.environ.setdefault("SIPALG_BUILD", "pure")
with atheris.instrument_imports(include=["sipalg"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Fuzz the target that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.stderr.write(f"fuzz.run: the first argument is one of {', '.join(TARGETS)}\n")
        sys.exit(2)
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
