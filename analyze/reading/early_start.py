"""Decoder processes that start before the command line is parsed, which takes as long as their imports.

Imports little: at that time nothing else of Ridgeline is loaded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ridgeline.child_process import Child

PROGRAM = (
    "import gc, sys; gc.disable(); sys.modules['typing_extensions'] = None;"
    "from ridgeline.analyze.reading.decoder_process import main; main()"
)
"""The code of a child. Columns have no cycles, and a garbage collection would visit every decoded event. msgspec works
without typing_extensions, whose import takes 9 ms."""
SPLIT_BYTES = 160 << 20
"""A larger trace is divided among all cores. The parent leaves a core free only once it has imported its libraries; by
then the others have decoded most of a smaller trace."""
PART_BYTES = 48 << 20
"""The least part of a trace for a child: below, a second child's imports cost more than it saves."""
CHILD_BYTES = 3 << 20
"""A smaller trace is decoded in the parent if no child runs yet: starting one costs more than it saves."""
SCANNED_BYTES = 24 << 20
"""A trace of this estimated size is scanned. For a smaller one, importing wasmtime takes longer than it saves."""
SCANNER = Path(__file__).parent / "scanning" / "scan.wasm"
_GZIP_RATIO = 10
_LIMITING = ("--jobs", "--memory", "--help")
"""Options by which fewer children may start, or none."""

started: list[Child] = []
"""Children that no trace is submitted to yet."""


def estimated_bytes(path: str | os.PathLike[str]) -> int:
    """Return the size of a trace as decompressed, estimated for gzip; 0 if it is no file."""
    with suppress(OSError, ValueError):  # opening it will report why
        status = Path(path).stat()
        if stat.S_ISREG(status.st_mode):
            return status.st_size * (_GZIP_RATIO if os.fspath(path).endswith(".gz") else 1)
    return 0


def parts_of(size: int, jobs: int) -> int:
    """Return into how many parts a trace of an estimated size is divided, if ``jobs`` processes may decode."""
    return jobs if size > SPLIT_BYTES else max(1, min(jobs - 1, size // PART_BYTES))


def start(arguments: Sequence[str]) -> None:
    """Start children for the largest trace among the arguments of ``ridgeline analyze``, unless options limit them."""
    cores = os.cpu_count() or 1
    traces = [argument for argument in arguments if argument.endswith((".json", ".json.gz"))]
    largest = max(map(estimated_bytes, traces), default=0)
    if cores < 2 or largest < CHILD_BYTES or any(argument.startswith(_LIMITING) for argument in arguments):
        return
    with suppress(OSError):  # whoever needs a child starts it then, and reports why that fails
        for _ in range(parts_of(largest, cores)):
            started.append(child := Child(PROGRAM, without_site=True))
            if largest >= SCANNED_BYTES:
                child.send(SCANNER)
