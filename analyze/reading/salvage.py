"""Salvages a trace that is cut off or damaged: every complete event before the break.

The digest of the salvaged run covers the bytes, as decompressed, up to the end of its last event, as if the file ended
there. Only a trace that could not be read whole is salvaged.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from ridgeline.analyze.errors import Broken
from ridgeline.analyze.reading.columns import Columns, append
from ridgeline.analyze.reading.damaged_gzip import Intact
from ridgeline.analyze.reading.parts import decoded
from ridgeline.analyze.reading.reader import JSON_ERRORS, TraceReader, decode
from ridgeline.analyze.reading.repair import repaired

_EVENT = re.compile(r"[\s,]*(?=\{)")


def salvage(path: Path, *, allocations: bool = False) -> Columns:
    """Return the columns of the events before the break, with the changes of memory if ``allocations``.

    Raises :class:`TraceError` if the file does not begin as a trace.
    """
    intact = Intact(path)
    reader = TraceReader(path, opened=lambda _: cast(BinaryIO, intact))
    columns = Columns(allocations=allocations)
    end = 0
    try:
        for piece in decoded(reader, reader.pieces()):
            append(columns, piece)
        end = reader.bytes_read
    except Broken as e:
        columns.broken = str(e).removeprefix(f"{path}: ").removesuffix(": record it again")
        complete = list(_complete_events(e.rest))
        events = decode(b"[" + b",".join(e.rest[start:end] for start, end in complete) + b"]")
        append(columns, events._replace(offset=e.rest_offset))
        end = e.rest_offset + (complete[-1][1] if complete else 0)
    if intact.broken:
        columns.broken = f"{intact.broken} after {reader.bytes_read:,} decompressed bytes"
    columns.header = reader.header
    columns.replaced.update(reader.replaced)
    columns.bytes_read = end
    digest = hashlib.sha256()
    with Intact(path) as file:
        while end and (block := file.read()):
            digest.update(block[:end])
            end -= len(block[:end])
    columns.sha256 = digest.hexdigest()
    return columns


def _complete_events(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each complete event at the start of ``text`` begins and ends."""
    scan = json.JSONDecoder().raw_decode
    text = repaired(text)[0]
    characters = text.decode("latin-1")  # a character is a byte, so positions agree
    end = 0
    while match := _EVENT.match(characters, end):
        start = match.end()
        try:
            _, end = scan(characters, start)
            decode(b"[" + text[start:end] + b"]")
        except (ValueError, RecursionError, *JSON_ERRORS):
            return
        yield start, end
