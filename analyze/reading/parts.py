"""Decodes a part of a trace to columns: the pieces that the part gets of the file, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ridgeline.analyze.errors import Broken, TraceError
from ridgeline.analyze.reading.columns import Columns, append
from ridgeline.analyze.reading.early_start import estimated_bytes
from ridgeline.analyze.reading.reader import (
    JSON_ERRORS,
    LARGEST_EVENT_BYTES,
    Decoded,
    Piece,
    TraceReader,
    broken_inside,
    decode,
    endless,
    reason,
)

if TYPE_CHECKING:
    from ridgeline.analyze.reading.scanning.scanner import Scanner

SPILL_ROWS = 1 << 17
"""Rows held before they are written to files, if there is a folder for them."""
SCANNED_BYTES = 24 << 20
"""A trace of this estimated size is scanned. For a smaller one, importing wasmtime takes longer than it saves."""
HASHING, HASHING_BESIDE_SCANNER = 0.13, 0.33
"""The cost of hashing a piece, relative to decoding it event by event and to scanning it."""


def read_part(
    path: Path,
    part: int = 0,
    parts: int = 1,
    folder: Path | None = None,
    largest_event_bytes: int = LARGEST_EVENT_BYTES,
    allocations: bool = False,
    *,
    report: Callable[[set[str]], None] | None = None,
) -> Columns:
    """Return the columns of part number ``part`` of a trace; the first part also has the file's digest.

    ``report`` is called with the names of operators that have new signatures, while others are still being decoded.
    Long columns are written to files in ``folder``, made when needed, if one is given. Raises :class:`TraceError`; with
    several parts, the cause may be a cut inside an event: then decode the file in one part.
    """
    reader = TraceReader(path, digest=part == 0, largest_event_bytes=largest_event_bytes)
    columns = Columns(folder=folder, allocations=allocations)
    scanner = _scanner(columns) if estimated_bytes(path) >= SCANNED_BYTES else None
    hashing = HASHING_BESIDE_SCANNER if scanner else HASHING

    def own_pieces() -> Iterator[Piece]:
        # deal each piece to the part with the least load; the first part also hashes all pieces
        load = [0.0] * parts
        for piece in reader.pieces():
            load[0] += hashing
            least = load.index(min(load))
            load[least] += 1
            if least == part:
                yield piece

    reported = 0
    for piece in decoded(reader, own_pieces(), scanner.decode if scanner else decode):
        append(columns, piece)
        if scanner:
            scanner.append()
        columns.spill(SPILL_ROWS)
        if report and len(columns.signatures) > reported:
            report({str(name) for name, _ in islice(columns.signatures, reported, None)})
            reported = len(columns.signatures)
    if columns.spilled:
        columns.spill()  # a group is either in arrays or in files
    columns.sha256, columns.bytes_read, columns.header = reader.sha256, reader.bytes_read, reader.header
    if part == 0:  # every part reads the header
        columns.replaced.update(reader.replaced)
    return columns


def _scanner(columns: Columns) -> Scanner | None:
    """Return a scanner; None where wasmtime does not run, as with less than 4 GiB of address space (``ulimit -v``)."""
    try:
        from ridgeline.analyze.reading.scanning.scanner import Scanner  # imports wasmtime

        return Scanner(columns)
    except Exception:  # the library or the system may fail in many ways; without a scanner the result is the same
        return None


def decoded(
    reader: TraceReader, pieces: Iterator[Piece], decoder: Callable[[bytes], Decoded] = decode
) -> Iterator[Decoded]:
    """Decode pieces one after the other; ``decoder`` takes the text of a JSON array. Raises :class:`TraceError`.

    A piece that was cut inside an event is joined with the next one.
    """
    pending: Piece | None = None
    try:
        for piece in pieces:
            joined = pending.followed_by(piece) if pending else piece
            # a piece that never decodes would grow with the file
            size = sum(map(len, joined.fragments)) if pending else 0
            if size > reader.largest_event_bytes:
                raise TraceError(endless(reader.path, size))
            text = joined.array()
            try:
                events = decoder(text)._replace(offset=joined.offset)
            except JSON_ERRORS as e:
                pending, error = joined, e
                if isinstance(e, RecursionError) or broken_inside(text, e) is not None:
                    break  # damage, not a cut: joining the next piece would not help
                continue
            pending = None
            yield events
    except Broken as e:
        if pending is None or not e.rest:
            raise
        # salvage must also see the events of the piece that was cut before the break
        rest = pending.followed_by(Piece((e.rest,), e.rest_offset)).array()[1:-1]
        raise Broken(str(e), e.offset, rest, pending.offset) from None
    if pending:
        text = pending.array()
        inside = broken_inside(text, error)
        offset = pending.offset + (inside - 1 if inside is not None else 0)  # the array's bracket is not in the file
        where = f"damaged at byte {offset:,}" if inside is not None else f"damaged in the piece from byte {offset:,} on"
        message = f"{reader.path}: {where}: {reason(error)}: record it again"
        raise Broken(message, offset, text[1:-1], pending.offset)
