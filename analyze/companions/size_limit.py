"""Bounded reads of the files beside a trace: they are read whole, and a small gzip file may expand without end."""

from __future__ import annotations

import csv
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import polars as pl

from ridgeline.analyze.errors import CompanionError
from ridgeline.analyze.reading.reader import BLOCK_BYTES, GZIP_ERRORS, largest_trace_bytes, open_bytes
from ridgeline.analyze.resources.limits import COMPANION_SHARE, STANDARD, Limits


def read_bounded(path: Path, limits: Limits = STANDARD) -> bytes:
    """Return the file's bytes, decompressed.

    Raises ``OSError`` if it cannot be read, or is larger than ``limits.companion_bytes`` or than a trace may be
    (``RIDGELINE_MAX_TRACE_BYTES``).
    """
    most_bytes, remedy = limits.companion_bytes, f"give {COMPANION_SHARE} times that by --memory"
    if largest_trace_bytes() < most_bytes:
        most_bytes, remedy = largest_trace_bytes(), "set RIDGELINE_MAX_TRACE_BYTES"
    blocks: list[bytes] = []
    size = 0
    try:
        with open_bytes(path) as file:
            while block := file.read(BLOCK_BYTES):
                size += len(block)
                if size > most_bytes:  # before the block is kept
                    message = f"more than {most_bytes:,} bytes, as decompressed"
                    raise OSError(errno.EFBIG, f"{message}; if it is meant to be that large, {remedy}", str(path))
                blocks.append(block)
    except GZIP_ERRORS as e:
        if isinstance(e, OSError) and e.strerror:  # BadGzipFile is an OSError, but has no strerror
            raise
        message = f"gzip data cut off or damaged after {size:,} decompressed bytes"
        raise OSError(errno.EILSEQ, message, str(path)) from None
    return b"".join(blocks)


_WRONG_FORM = (
    ValueError, TypeError, RecursionError, csv.Error, msgspec.MsgspecError,
    pl.exceptions.PolarsError, pl.exceptions.PanicException,
)  # fmt: skip
"""What the decoders of companions raise; ``UnicodeDecodeError`` is a ``ValueError``."""


@contextmanager
def companion_errors(name: str | Path, expected: str) -> Iterator[None]:
    """Raise what reading or decoding the companion ``name`` raises in the block as a :class:`CompanionError`.

    The message is one line and says what was ``expected``.
    """
    try:
        yield
    except OSError as e:
        raise CompanionError(f"{name}: cannot be read: {e.strerror}") from None
    except _WRONG_FORM as e:
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise CompanionError(f"{name}: {reason}: {expected}") from None
