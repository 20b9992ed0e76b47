"""How far the reading of a large capture is, as a bar for a person who waits at a terminal.

Every command that reads captures takes its frames through here. On a packet's way offline this is beside the reading.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from sipalg.capture.reading import CaptureSource, Frame

#: Files that are read in the blink of an eye need no bar.
BAR_FROM_BYTES: Final = 8_000_000
#: Frames between two looks at how far the reading is.
_FRAMES_PER_STEP: Final = 8192


def with_bar(source: CaptureSource) -> Iterator[Frame]:
    """Yield the frames; on a terminal, of a large file, with a bar on stderr that goes when all is read."""
    if source.total_bytes < BAR_FROM_BYTES or not sys.stderr.isatty():
        yield from source
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(source.path.name, total=source.total_bytes)
        for count, frame in enumerate(source):
            if count % _FRAMES_PER_STEP == 0:
                progress.update(task, completed=source.done_bytes)
            yield frame
