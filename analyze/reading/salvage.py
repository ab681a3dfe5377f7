"""What can be had of a trace that is cut off or damaged: every complete event before the place where it breaks.

The run that this makes is known by the bytes, as decompressed, up to the end of the last of these events; those that
follow are as if they had never been written. Only a trace that could not be read whole comes here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from ridgeline.analyze.errors import Broken
from ridgeline.analyze.reading.columns import Columns, append, decoded
from ridgeline.analyze.reading.damaged_gzip import Intact
from ridgeline.analyze.reading.reader import JSON_ERRORS, Events, TraceReader, decode

_EVENT = re.compile(r"[\s,]*(?=\{)")


def salvage(path: Path) -> Columns:
    """The columns of what precedes the break. Raises :class:`TraceError` where the file does not begin as a trace."""
    intact = Intact(path)
    reader = TraceReader(path, opened=lambda _: cast(BinaryIO, intact))
    columns = Columns()
    end = 0
    try:
        for events, malformed in decoded(reader, reader.pieces()):
            _add(columns, events, malformed)
        end = reader.bytes_read
    except Broken as e:
        columns.broken = str(e).removeprefix(f"{path}: ").removesuffix(": record it again")
        whole = list(_whole_events(e.rest))
        _add(columns, *decode(b"[" + b",".join(event for event, _ in whole) + b"]"))
        end = e.rest_offset + (whole[-1][1] if whole else 0)
    if intact.broken:
        columns.broken = f"{intact.broken} after {reader.bytes_read:,} decompressed bytes"
    columns.header = reader.header
    columns.bytes_read = end
    columns.sha256 = _sha256(path, end)
    return columns


def _add(columns: Columns, events: Events, malformed: int) -> None:
    columns.events += len(events) + malformed
    columns.malformed += malformed
    append(columns, events)


def _whole_events(text: bytes) -> Iterator[tuple[bytes, int]]:
    """The complete events that text begins with, each with where it ends; as bytes, one character is one."""
    scan = json.JSONDecoder().raw_decode
    characters = text.decode("latin-1")
    at = 0
    while match := _EVENT.match(characters, at):
        try:
            _, at = scan(characters, match.end())
            event = text[match.end() : at]
            decode(b"[" + event + b"]")
        except (ValueError, RecursionError, *JSON_ERRORS):
            return
        yield event, at


def _sha256(path: Path, size: int) -> str:
    """Of so many of the bytes as decompressed."""
    digest = hashlib.sha256()
    with Intact(path) as file:
        while size and (block := file.read()):
            digest.update(block[:size])
            size -= len(block[:size])
    return digest.hexdigest()
