"""Decodes a part of a trace to columns: the pieces that the part gets of the file, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import compress, islice
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import TYPE_CHECKING

from ridgeline.analyze.errors import Broken, TraceError
from ridgeline.analyze.reading import early_start
from ridgeline.analyze.reading.columns import Columns, append
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
HASHING, HASHING_BESIDE_SCANNER = 0.13, 0.33
"""The cost of hashing a piece, relative to decoding it event by event and to scanning it."""
PIECES_AHEAD = 8
"""The most pieces, of a megabyte each, that are read and not yet decoded."""


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
    columns = Columns(folder=folder, allocations=allocations)
    scanner = _scanner(columns) if early_start.estimated_bytes(path) >= early_start.SCANNED_BYTES else None
    hashing = HASHING_BESIDE_SCANNER if scanner else HASHING
    wanted, own = (dealt(part, parts, hashing) for _ in range(2))  # one for each thread
    reader = TraceReader(path, digest=part == 0, largest_event_bytes=largest_event_bytes, wanted=wanted)
    reported = 0
    with read_ahead(reader.pieces()) as pieces:
        for piece in decoded(reader, compress(pieces, own), scanner.decode if scanner else decode):
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


def dealt(part: int, parts: int, hashing: float) -> Iterator[bool]:
    """Yield for each piece whether this part decodes it.

    A piece goes to the part with the least load. Hashing all pieces is a load of the first part.
    """
    load = [0.0] * parts
    while True:
        load[0] += hashing
        least = load.index(min(load))
        load[least] += 1
        yield least == part


@contextmanager
def read_ahead(pieces: Iterator[Piece]) -> Iterator[Iterator[Piece]]:
    """Let a thread read, decompress and hash the next pieces while one is decoded."""
    ready: SimpleQueue[Piece | BaseException | None] = SimpleQueue()
    room, is_wanted = Semaphore(PIECES_AHEAD), True

    def read() -> None:
        try:
            for piece in pieces:
                ready.put(piece)
                room.acquire()
                if not is_wanted:
                    return
            ready.put(None)
        except BaseException as e:  # raised again where the pieces are decoded
            ready.put(e)

    def taken() -> Iterator[Piece]:
        while (piece := ready.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            room.release()

    thread = Thread(target=read, name="reading", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        is_wanted = False
        room.release()
        thread.join()


def _scanner(columns: Columns) -> Scanner | None:
    """Return a scanner; None where wasmtime does not run, as with less than 4 GiB of address space (``ulimit -v``)."""
    try:
        from ridgeline.analyze.reading.scanning.scanner import Scanner  # imports wasmtime

        return Scanner(columns)
    except Exception:  # the library or the system may fail in many ways; without a scanner the result is the same
        return None


def decoded(
    reader: TraceReader, pieces: Iterator[Piece], decoder: Callable[..., Decoded] = decode
) -> Iterator[Decoded]:
    """Decode pieces one after the other; ``decoder`` takes the fragments of a JSON array. Raises :class:`TraceError`.

    A piece that was cut inside an event is joined with the next one.
    """
    pending: Piece | None = None
    try:
        for piece in pieces:
            if pending and piece.offset != pending.end + 1:
                raise TraceError(f"{reader.path}: cut inside an event whose next piece is in another part")
            joined = pending.followed_by(piece) if pending else piece
            # a piece that never decodes would grow with the file
            size = sum(map(len, joined.fragments)) if pending else 0
            if size > reader.largest_event_bytes:
                raise TraceError(endless(reader.path, size))
            try:
                events = decoder(*joined.array)._replace(offset=joined.offset)
            except JSON_ERRORS as e:
                pending, error, text = joined, e, b"".join(joined.array)
                if isinstance(e, RecursionError) or broken_inside(text, e) is not None:
                    break  # damage, not a cut: joining the next piece would not help
                continue
            pending = None
            yield events
    except Broken as e:
        if pending is None or not e.rest:
            raise
        # salvage must also see the events of the piece that was cut before the break
        rest = pending.followed_by(Piece((e.rest,), e.rest_offset)).fragments
        raise Broken(str(e), e.offset, b"".join(rest), pending.offset) from None
    if pending:
        inside = broken_inside(text, error)
        offset = pending.offset + (inside - 1 if inside is not None else 0)  # the array's bracket is not in the file
        where = f"damaged at byte {offset:,}" if inside is not None else f"damaged in the piece from byte {offset:,} on"
        message = f"{reader.path}: {where}: {reason(error)}: record it again"
        raise Broken(message, offset, text[1:-1], pending.offset)
