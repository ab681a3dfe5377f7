"""The files beside a trace are read whole, so within a limit: small gzip files may expand without end."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from ridgeline.analyze.reading.reader import BLOCK_BYTES, GZIP_ERRORS, largest_trace_bytes, open_bytes

LARGEST_BYTES = 256 << 20
"""As decompressed, where nothing else is said."""
SHARE = 32
"""One part in so many of what ingest may hold is such a file allowed: decoded it takes several times as much."""


def read_bounded(path: Path, most_bytes: int = LARGEST_BYTES) -> bytes:
    """The file's bytes, decompressed. Raises ``OSError`` where that cannot be done, or if they are more than allowed.

    They may also not be more than those of a trace (``RIDGELINE_MAX_TRACE_BYTES``).
    """
    allowed = largest_trace_bytes()
    why = "set RIDGELINE_MAX_TRACE_BYTES" if allowed < most_bytes else f"give {SHARE} times that by --memory"
    most_bytes = min(most_bytes, allowed)
    blocks: list[bytes] = []
    size = 0
    try:
        with open_bytes(path) as file:
            while block := file.read(BLOCK_BYTES):
                size += len(block)
                if size > most_bytes:
                    said = f"more than {most_bytes:,} bytes, as decompressed; if it is meant to be that large, {why}"
                    raise OSError(errno.EFBIG, said, str(path))
                blocks.append(block)
    except GZIP_ERRORS as e:
        if isinstance(e, OSError) and e.strerror:
            raise
        said = f"gzip data cut off or damaged after {size:,} decompressed bytes"
        raise OSError(errno.EILSEQ, said, str(path)) from None
    return b"".join(blocks)


def sha256_on_disk(path: Path) -> str:
    """Of the file as it lies there, not decompressed; of one that is too large, or cannot be read, of what it is."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > largest_trace_bytes():
                return hashlib.sha256(f"too large: {size}".encode()).hexdigest()
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        return hashlib.sha256(f"unreadable: {e.errno}".encode()).hexdigest()
