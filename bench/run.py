"""`make bench`: measure all sections one after the other and put each into bench/RESULTS.md as soon as it is done.

`python -m bench.run [--only SECTION,…] [--write] [--rounds N] [--seconds S] …`. Exit code 1 with the message in
question if one output is wrong; what was measured before stays on the page. It drives everything else here.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import growth
from bench.allocations import AllocationsError
from bench.diagnose import DiagnoseError
from bench.engine import WrongOutputError
from bench.loop import MODES, LoopError
from bench.network import NetworkError
from bench.page import text_of, with_section
from bench.rewriting import RewriteError
from bench.sections import SECTIONS, measured

RESULTS: Final = Path(__file__).resolve().parent / "RESULTS.md"
_ERRORS: Final = (
    WrongOutputError,
    growth.WrongOutputError,
    AllocationsError,
    LoopError,
    NetworkError,
    DiagnoseError,
    RewriteError,
)


def main(words: Sequence[str]) -> int:
    """Measure; print each section, or write it into the page."""
    options = _parse(words)
    names = [name for name in SECTIONS if options.only is None or name in options.only]
    began = time.monotonic()
    try:
        for section in measured(options, names, lambda text: _show(began, text)):
            if options.write:
                page = options.output.read_text() if options.output.exists() else ""
                options.output.write_text(with_section(page, section, list(SECTIONS)))
                _show(began, f"{section.name:9} written to {options.output}")
            else:
                print(text_of(section), flush=True)
    except _ERRORS as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _show(began: float, text: str) -> None:
    print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="Measure what sipalg costs.")
    parser.add_argument("--only", type=_sections, help=f"some of the sections: {','.join(SECTIONS)}")
    parser.add_argument("--write", action="store_true", help="put each section into the page when it is done")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the page's file (default bench/RESULTS.md)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of everything (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a closed loop's run (default 2)")
    parser.add_argument("--modes", default="plain,helper,noop,sipalg,pure", help=f"the loop's, of {', '.join(MODES)}")
    parser.add_argument("--windows", default="64,1", help="the loop's messages under way at once (default 64,1)")
    parser.add_argument("--phones", type=int, default=1000, help="phones, at most 1,000 in the loop (default 1000)")
    parser.add_argument("--load", choices=("register", "mixed"), default="register", help="what the loop sends")
    parser.add_argument("--dialogs", type=int, default=500, help="of the large captures; 5,000 are 1 GiB (500)")
    return parser.parse_args(words)


def _sections(text: str) -> set[str]:
    names = set(text.split(","))
    if not names <= SECTIONS.keys():
        raise argparse.ArgumentTypeError(f"{text!r}: sections are {', '.join(SECTIONS)}")
    return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
