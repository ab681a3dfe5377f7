"""Any Kineto JSON file, gzip or plain, as bounded batches of whole events.

The file is cut between events without parsing it: a cut goes at ``},{`` followed by a key that starts an event. JSON
is read from the left, so a piece that begins at an event and decodes as an array also ends at one; a cut that fell
inside a nested value makes its piece undecodable, and the piece is joined with the next. Hence batches need no scan of
their own.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec
from isal import igzip, igzip_lib

from analyze.errors import TraceError
from analyze.events import Event, ExactEvent, Header, decode_header

BLOCK_BYTES = 512 << 10
LARGEST_HEADER_BYTES = 256 << 20
LARGEST_EVENT_BYTES = 256 << 20
LARGEST_TRACE_BYTES = 64 << 30
"""As decompressed, unless ``RIDGELINE_MAX_TRACE_BYTES`` says otherwise: small gzip files may expand without end."""
MOST_BRACKETS = 256
"""How many closing brackets may follow the one that closes traceEvents."""
EXACT_BELOW_US = float(1 << 43)
"""Doubles are less than a nanosecond apart below 2^43 microseconds."""

_BETWEEN_EVENTS = re.compile(rb'\}\s*(,)\s*\{\s*"(?:ph|name|cat|pid|ts)"')
_EVENTS_KEY = re.compile(rb'"traceEvents"\s*:\s*\[')

_events = msgspec.json.Decoder(list[Event])
_exact_events = msgspec.json.Decoder(list[ExactEvent])
_raw_events = msgspec.json.Decoder(list[msgspec.Raw])
_exact_event = msgspec.json.Decoder(ExactEvent)

Events = list[Event] | list[ExactEvent]


class Piece(NamedTuple):
    """Whole events: the text between two cuts, in fragments, and where it begins in the decompressed file."""

    fragments: tuple[bytes | memoryview, ...]
    offset: int

    def array(self) -> bytes:
        """The text as a JSON array."""
        return b"".join((b"[", *self.fragments, b"]"))

    def followed_by(self, other: Piece) -> Piece:
        """One piece out of two that were cut at the wrong place."""
        return Piece((*self.fragments, b",", *other.fragments), self.offset)


# isal leaves ``igzip`` untyped, and its stub declares the class ``error`` as an instance
_open_gzip: Callable[[Path, str], BinaryIO] = igzip.open
JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError)
"""What decoding damaged JSON raises; text that is not UTF-8 is found late."""

GZIP_ERRORS: tuple[type[Exception], ...] = (EOFError, cast(type[Exception], igzip_lib.error), gzip.BadGzipFile)
"""What reading damaged gzip data raises."""


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, decompressed if they begin with gzip's magic number."""
    with path.open("rb", buffering=0) as file:
        packed = file.read(2) == b"\x1f\x8b"
    return _open_gzip(path, "rb") if packed else path.open("rb", buffering=0)


def check_size(path: Path, bytes_read: int) -> None:
    """Raises :class:`TraceError` once a trace is larger, as decompressed, than is read."""
    most = int(os.environ.get("RIDGELINE_MAX_TRACE_BYTES") or LARGEST_TRACE_BYTES)
    if bytes_read > most:
        raise TraceError(
            f"{path}: more than {most:,} bytes, as decompressed: if it is meant to be that large, set "
            "RIDGELINE_MAX_TRACE_BYTES"
        )


def endless(path: Path, size: int) -> str:
    """What to say of an event that is too large to be one."""
    return f"{path}: no end of an event within {size:,} bytes: not a Kineto trace, or too little --memory for it"


class TraceReader:
    """One pass over a trace: iterate over its pieces, then ask for ``header`` and ``sha256``.

    Raises :class:`TraceError` for anything that is not a complete Kineto trace.
    """

    def __init__(self, path: Path, *, digest: bool = True, largest_event_bytes: int = LARGEST_EVENT_BYTES) -> None:
        self.path = path
        self.largest_event_bytes = largest_event_bytes
        self.bytes_read = 0
        self.header = Header()
        self._digest = hashlib.sha256() if digest else None

    @property
    def sha256(self) -> str:
        """Of the bytes as decompressed; complete once the pieces are exhausted."""
        return self._digest.hexdigest() if self._digest else ""

    def pieces(self) -> Iterator[Piece]:
        """Yield the text of the events in pieces of about ``BLOCK_BYTES``."""
        try:
            with open_bytes(self.path) as file:
                yield from self._split(file)
        except GZIP_ERRORS:
            raise TraceError(
                f"{self.path}: gzip data cut off or damaged after {self.bytes_read:,} decompressed bytes: "
                "copy or record it again"
            ) from None
        except OSError as e:
            raise TraceError(f"{self.path}: cannot be read: {e.strerror or e}") from None

    def _read(self, file: BinaryIO) -> bytes:
        block = file.read(BLOCK_BYTES)
        self.bytes_read += len(block)
        check_size(self.path, self.bytes_read)
        if self._digest:
            self._digest.update(block)
        return block

    def _split(self, file: BinaryIO) -> Iterator[Piece]:
        prefix, first = self._find_events(file)
        held: Piece | None = None
        pending: list[bytes | memoryview] = [first]
        pending_bytes = len(first)
        while block := self._read(file):
            cut = _last_cut(block)
            if cut:
                view = memoryview(block)
                if held:
                    yield held
                held = Piece((*pending, view[:cut]), self.bytes_read - len(block) - pending_bytes)
                pending, pending_bytes = [view[cut + 1 :]], len(block) - cut - 1
            else:
                pending.append(block)
                pending_bytes += len(block)
            if pending_bytes > self.largest_event_bytes:
                raise TraceError(endless(self.path, pending_bytes))
        yield from self._finish(prefix, held, Piece(tuple(pending), self.bytes_read - pending_bytes))

    def _find_events(self, file: BinaryIO) -> tuple[bytes, bytes]:
        """Split the beginning of the file after ``"traceEvents": [``."""
        buffer = b""
        while block := self._read(file):
            buffer += block
            if match := _EVENTS_KEY.search(buffer):
                return buffer[: match.end()], buffer[match.end() :]
            if len(buffer) > LARGEST_HEADER_BYTES:
                raise TraceError(f"{self.path}: no traceEvents in the first {len(buffer):,} bytes: not a Kineto trace")
        if not buffer.strip():
            raise TraceError(f"{self.path}: the file is empty: expected a Kineto trace (.json or .json.gz)")
        try:
            msgspec.json.decode(buffer, type=msgspec.Raw)
        except JSON_ERRORS as e:
            raise TraceError(f"{self.path}: not JSON ({e}): expected a Kineto trace (.json or .json.gz)") from None
        raise TraceError(
            f"{self.path}: JSON without traceEvents: expected a Kineto trace, as torch.profiler exports it"
        )

    def _finish(self, prefix: bytes, held: Piece | None, rest: Piece) -> Iterator[Piece]:
        """Split what is left of the file where traceEvents ends; the last cut may have been inside an event."""
        buffer = b"".join(rest.fragments)
        end = self._closing_bracket(prefix, buffer)
        if end is not None:
            yield from [held] if held else []
            yield Piece((buffer[:end],), rest.offset)
            return
        if held:
            joined = held.followed_by(rest)
            whole = b"".join(joined.fragments)
            end = self._closing_bracket(prefix, whole)
            if end is not None:
                yield Piece((whole[:end],), joined.offset)
                return
            yield held  # damage in there is found first
        raise TraceError(f"{self.path}: {_where_it_breaks(buffer, rest.offset)}: record it again")

    def _closing_bracket(self, prefix: bytes, buffer: bytes) -> int | None:
        """Where traceEvents is closed: with it gone, what remains of the file is the header, as JSON."""
        end = len(buffer)
        for _ in range(MOST_BRACKETS):
            end = buffer.rfind(b"]", 0, end)
            if end < 0:
                break
            try:
                self.header = decode_header(prefix + buffer[end:])
                _raw_events.decode(b"[" + buffer[:end] + b"]")
            except JSON_ERRORS:
                continue
            return end
        return None


def _last_cut(block: bytes) -> int:
    """Position of the last comma between two events, 0 if there is none."""
    for window in (1 << 14, len(block)):
        last = deque(_BETWEEN_EVENTS.finditer(block, max(0, len(block) - window)), maxlen=1)
        if last:
            return last[0].start(1)
    return 0


def _where_it_breaks(buffer: bytes, offset: int) -> str:
    try:
        _raw_events.decode(b"[" + buffer)
    except JSON_ERRORS as e:
        found = re.search(r"byte (\d+)", str(e))
        if found:
            return f"damaged at byte {offset + int(found[1]) - 1:,}: {str(e).split('(')[0].strip()}"
    return f"cut off at byte {offset + len(buffer):,}, in the middle of traceEvents"


def decode(array: bytes) -> tuple[Events, int]:
    """The events of a JSON array and the number of malformed ones left out.

    Raises ``msgspec.DecodeError`` if it is not JSON.
    """
    try:
        events = _events.decode(array)
    except msgspec.ValidationError:
        return _decode_one_by_one(array)
    if max(map(attrgetter("ts"), events), default=0) >= EXACT_BELOW_US:
        return _exact_events.decode(array), 0
    return events, 0


def _decode_one_by_one(array: bytes) -> tuple[Events, int]:
    events: list[ExactEvent] = []
    malformed = 0
    for raw in _raw_events.decode(array):
        try:
            events.append(_exact_event.decode(raw))
        except msgspec.ValidationError:
            malformed += 1
    return events, malformed
