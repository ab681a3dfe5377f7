"""Any Kineto JSON file, gzip or plain, as bounded batches of whole events.

The file is cut between events without parsing it: a cut goes at ``},{`` followed by a key that starts an event. JSON
is read from the left, so a piece that begins at an event and decodes as an array also ends at one. A cut inside a
nested value makes its piece undecodable, and the piece is joined with the next. So batches need no scan of their own.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from io import FileIO
from itertools import repeat
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar, cast

import msgspec
from isal import igzip, igzip_lib

from ridgeline.analyze.errors import Broken, TraceError
from ridgeline.analyze.reading.damaged_gzip import intact_bytes
from ridgeline.analyze.reading.events import LARGEST_TIME_NS, Event, ExactEvent, Header, decode_header
from ridgeline.analyze.reading.repair import BOM, BYTE_ORDER_MARK, repaired

BLOCK_BYTES = 1 << 20
END_BYTES = 1 << 14
"""The end of a block, in which an event usually begins."""
BLOCKS_AT_END = 4
"""The last blocks of a file, which tell where the events end."""
LARGEST_HEADER_BYTES = 64 << 20
LARGEST_EVENT_BYTES = 256 << 20
LARGEST_TRACE_BYTES = 64 << 30
"""The limit as decompressed, unless ``RIDGELINE_MAX_TRACE_BYTES`` is set: a small gzip file may expand without end."""
LONGEST_KEY_BYTES = 1 << 10
"""``"traceEvents": [`` with the white space in it."""
LARGEST_TIME_US = Decimal(LARGEST_TIME_NS) / 1000

_BETWEEN_EVENTS = re.compile(rb'\}\s*(,)\s*\{\s*"(?:ph|name|cat|pid|ts|args)"')
_EVENTS_KEY = re.compile(rb'"traceEvents"\s*:\s*\[')
_LIST_OF_EVENTS = re.compile(rb"\s*\[")
"""The start of a trace in the Chrome format's other form: the list alone, without a header."""
_BYTE = re.compile(r"\(byte (\d+)\)")

_events = msgspec.json.Decoder(list[Event])
_exact_events = msgspec.json.Decoder(list[ExactEvent])
_raw_events = msgspec.json.Decoder(list[msgspec.Raw])
_exact_event = msgspec.json.Decoder(ExactEvent)

Events = list[Event] | list[ExactEvent]
JsonValue = TypeVar("JsonValue")


class Decoded(NamedTuple):
    """The events of a piece, the number of malformed ones left out, and of values repaired, by kind."""

    events: Events
    malformed: int
    replaced: Counter[str]
    offset: int = 0
    """Where the piece begins in the decompressed file."""


class Piece(NamedTuple):
    """Whole events: the text between two cuts, in fragments, and its offset in the decompressed file."""

    fragments: tuple[bytes | memoryview, ...]
    offset: int

    @property
    def array(self) -> tuple[bytes | memoryview, ...]:
        """The text as a JSON array, in fragments."""
        return (b"[", *self.fragments, b"]")

    @property
    def end(self) -> int:
        """Where the piece ends in the decompressed file; the next one begins after a comma."""
        return self.offset + sum(map(len, self.fragments))

    def followed_by(self, other: Piece) -> Piece:
        """Return this piece joined with the next, for a cut at the wrong place."""
        return Piece((*self.fragments, b",", *other.fragments), self.offset)


# isal leaves ``igzip`` untyped, and its stub declares the class ``error`` as an instance
_open_gzip: Callable[[Path, str], BinaryIO] = igzip.open
JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The exceptions of decoding damaged JSON, text that is not UTF-8, or too many nested values."""

GZIP_ERRORS: tuple[type[Exception], ...] = (EOFError, cast(type[Exception], igzip_lib.error), gzip.BadGzipFile)
"""The exceptions of reading damaged gzip data."""


def open_bytes(path: Path) -> BinaryIO:
    """Open a file to read its bytes, decompressed if they begin with gzip's magic number."""
    with path.open("rb", buffering=0) as file:
        packed = file.read(2) == b"\x1f\x8b"
    return _open_gzip(path, "rb") if packed else path.open("rb", buffering=0)


def largest_trace_bytes() -> int:
    """Return the size limit of a trace, as decompressed."""
    setting = os.environ.get("RIDGELINE_MAX_TRACE_BYTES", "")
    return int(setting) if setting.isdecimal() else LARGEST_TRACE_BYTES


def check_size(path: Path, bytes_read: int) -> None:
    """Raise :class:`TraceError` if ``bytes_read``, as decompressed, exceeds the size limit of a trace."""
    most = largest_trace_bytes()
    if bytes_read > most:
        raise TraceError(
            f"{path}: more than {most:,} bytes, as decompressed: if it is meant to be that large, set "
            "RIDGELINE_MAX_TRACE_BYTES"
        )


def endless(path: Path, size: int) -> str:
    """Return the message for an event that is larger than any."""
    return f"{path}: no end of an event within {size:,} bytes: not a Kineto trace, or too little --memory for it"


class TraceReader:
    """One pass over a trace: iterate over its pieces, then read ``header`` and ``sha256``.

    Raises :class:`TraceError` for a file that is not a Kineto trace, and :class:`Broken` for one that only begins as
    one.
    """

    def __init__(
        self,
        path: Path,
        *,
        digest: bool = True,
        largest_event_bytes: int = LARGEST_EVENT_BYTES,
        opened: Callable[[Path], BinaryIO] = open_bytes,
        wanted: Iterator[bool] | None = None,
    ) -> None:
        """``wanted`` yields for each piece whether its text is wanted. A plain file is not read where it is not."""
        self.path = path
        self.largest_event_bytes = largest_event_bytes
        self._open = opened
        self.bytes_read = 0
        self.header = Header()
        self.replaced: Counter[str] = Counter()
        """The number of values repaired in the header, by kind."""
        self._digest = hashlib.sha256() if digest else None
        self._wanted = wanted or repeat(True)
        self._skippable_bytes = 0
        """Up to here the file need not be read."""

    @property
    def sha256(self) -> str:
        """The digest of the bytes as decompressed, once the pieces are exhausted; empty unless requested."""
        return self._digest.hexdigest() if self._digest else ""

    def pieces(self) -> Iterator[Piece]:
        """Yield the text of the events in pieces of about ``BLOCK_BYTES``. A piece that is not wanted may lack text.

        The last complete piece is held back: only at the end of the file is it known whether the last cut was between
        two events.
        """
        try:
            with self._open(self.path) as file:
                prefix, first = self._find_events(file)
                if isinstance(file, FileIO) and not self._digest:
                    self._skippable_bytes = os.fstat(file.fileno()).st_size - BLOCKS_AT_END * BLOCK_BYTES
                is_wanted = next(self._wanted)
                held: Piece | None = None
                pending: list[bytes | memoryview] = [first]
                pending_bytes = len(first)
                while block := self._read(file, is_wanted):
                    if cut := _last_cut(block):
                        view = memoryview(block)
                        if held:
                            yield held
                        held = Piece((*pending, view[:cut]), self.bytes_read - len(block) - pending_bytes)
                        is_wanted = next(self._wanted)
                        pending, pending_bytes = [view[cut + 1 :]], len(block) - cut - 1
                    else:
                        pending.append(block)
                        pending_bytes += len(block)
                    if pending_bytes > self.largest_event_bytes:
                        raise TraceError(endless(self.path, pending_bytes))
                yield from self._finish(prefix, held, Piece(tuple(pending), self.bytes_read - pending_bytes))
        except GZIP_ERRORS:
            at = intact_bytes(self.path)
            message = f"gzip data cut off or damaged after {at:,} decompressed bytes"
            raise Broken(f"{self.path}: {message}: copy or record it again", at) from None
        except OSError as e:
            raise TraceError(f"{self.path}: cannot be read: {e.strerror or e}") from None

    def _read(self, file: BinaryIO, is_wanted: bool = True) -> bytes:
        """Return the next block, or only its end if it is not wanted and an event begins there."""
        skipped, start = 0, self.bytes_read
        if not is_wanted and start + BLOCK_BYTES <= self._skippable_bytes:
            skipped = max(0, BLOCK_BYTES - END_BYTES)
            file.seek(start + skipped)
        block = file.read(BLOCK_BYTES - skipped)
        if skipped and not _last_cut(block):
            skipped = 0
            file.seek(start)
            block = file.read(BLOCK_BYTES)
        self.bytes_read += skipped + len(block)
        check_size(self.path, self.bytes_read)
        if self._digest:
            self._digest.update(block)
        return block

    def _find_events(self, file: BinaryIO) -> tuple[bytes, bytes]:
        """Read up to ``"traceEvents": [``, or to the ``[`` of a mere list; return the bytes up to there, and the rest.

        A byte order mark is returned as spaces.
        """
        buffer = bytearray()
        while block := self._read(file):
            # the key may lie across two blocks
            searched = max(0, len(buffer) - LONGEST_KEY_BYTES)
            buffer += block
            if buffer.startswith(BOM):
                buffer[: len(BOM)] = b" " * len(BOM)
                self.replaced[BYTE_ORDER_MARK] = 1
            if match := _LIST_OF_EVENTS.match(buffer) or _EVENTS_KEY.search(buffer, searched):
                return bytes(buffer[: match.end()]), bytes(buffer[match.end() :])
            if len(buffer) > LARGEST_HEADER_BYTES:
                raise TraceError(f"{self.path}: no traceEvents in the first {len(buffer):,} bytes: not a Kineto trace")
        if not buffer.strip():
            raise TraceError(f"{self.path}: the file is empty: expected a Kineto trace (.json or .json.gz)")
        # the whole file has no traceEvents: say whether it is JSON at all
        try:
            msgspec.json.decode(buffer, type=msgspec.Raw)
        except JSON_ERRORS as e:
            raise TraceError(
                f"{self.path}: not JSON ({reason(e)}): expected a Kineto trace (.json or .json.gz)"
            ) from None
        raise TraceError(
            f"{self.path}: JSON without traceEvents: expected a Kineto trace, as torch.profiler exports it"
        )

    def _finish(self, prefix: bytes, held: Piece | None, rest: Piece) -> Iterator[Piece]:
        """Yield the last pieces: split what is left of the file where traceEvents ends.

        The last cut may have been inside an event, so first try the rest alone, then the rest with the held piece.
        """
        candidates: list[tuple[Piece | None, Piece]] = [(held, rest)]
        if held:
            candidates.append((None, held.followed_by(rest)))
        for before, last in candidates:
            text = b"".join(last.fragments)
            end = self._closing_bracket(prefix, text)
            if end is not None:
                if before:
                    yield before
                yield Piece((text[:end],), last.offset)
                return
        if held:
            yield held  # if the damage is in there, decoding it finds that first
        buffer = b"".join(rest.fragments)
        # keys before traceEvents are intact: salvage needs the devices and the rank
        with suppress(*JSON_ERRORS):
            self.header = decode_header(prefix + b"]}")
        at, how, why = _where_it_breaks(prefix, buffer, rest.offset)
        raise Broken(f"{self.path}: {how} at byte {at:,}{why}: record it again", at, buffer, rest.offset)

    def _closing_bracket(self, prefix: bytes, buffer: bytes) -> int | None:
        """Return where traceEvents is closed, if the rest of the file is then a header, as JSON; set ``header``."""
        end = _end_of_array(buffer)
        if end is None:
            return None
        try:
            self.header = _leniently(decode_header, prefix + buffer[end:], self.replaced)
        except JSON_ERRORS:
            return None
        return end


def _last_cut(block: bytes) -> int:
    """Return the position of the last comma between two events, 0 if there is none."""
    for window in (END_BYTES, len(block)):  # an event is usually short, so search the end of the block first
        last = deque(_BETWEEN_EVENTS.finditer(block, max(0, len(block) - window)), maxlen=1)
        if last:
            return last[0].start(1)
    return 0


def _leniently(decoder: Callable[[bytes], JsonValue], text: bytes, replaced: Counter[str]) -> JsonValue:
    """Return ``decoder(text)``, or of the repaired text if that is not JSON; add what was repaired to ``replaced``."""
    try:
        return decoder(text)
    except JSON_ERRORS:
        repaired_text, counts = repaired(text)
        if not counts:
            raise
        value = decoder(repaired_text)
        replaced.update(counts)
        return value


def _end_of_array(buffer: bytes) -> int | None:
    """Return where the array is closed whose elements ``buffer`` begins with."""
    text = b"[" + buffer
    for repair in (False, True):
        try:
            _raw_events.decode(repaired(text)[0] if repair else text)
            return buffer.rfind(b"]")
        except JSON_ERRORS as e:
            # the decoder names the byte after the array; positions in `text` are one further than in `buffer`
            if "trailing characters" in str(e):
                return buffer.rfind(b"]", 0, (_byte(e) or 2) - 2)
    return None


def _where_it_breaks(prefix: bytes, buffer: bytes, offset: int) -> tuple[int, str, str]:
    """Return the position of the break in the file, how the file breaks there, and why.

    ``buffer`` is the end of the file, from ``offset`` on; it begins with an event.
    """
    end = _end_of_array(buffer)
    try:
        # `at_0` is the position in the file of the first byte that is decoded again
        if end is None:
            at_0 = offset - 1
            _raw_events.decode(repaired(b"[" + buffer)[0])
        else:
            at_0 = offset + end - len(prefix)
            decode_header(repaired(prefix + buffer[end:])[0])
    except JSON_ERRORS as e:
        at = _byte(e)
        if isinstance(e, RecursionError):
            return offset, "damaged in the piece that begins", f": {reason(e)}"
        if at is not None and end is not None and at < len(prefix):
            return at, "damaged", f": {reason(e)}"
        if at is not None and at_0 + at < offset + len(buffer):
            return at_0 + at, "damaged", f": {reason(e)}"
    return offset + len(buffer), "cut off", ", in the middle of the trace"


def _byte(error: Exception) -> int | None:
    """Return the position that a decoder's message names."""
    match = _BYTE.search(str(error))
    return int(match[1]) if match else None


def reason(error: Exception) -> str:
    """Return a decoder's message without the position."""
    if isinstance(error, RecursionError):
        return "values nested more deeply than in any trace"
    return str(error).split(" (byte")[0]


def broken_inside(array: bytes, error: Exception) -> int | None:
    """Return the position of the damage in an array that does not decode; None if it may be cut inside an event.

    A cut inside an event shows at the array's last byte, as the end of the data or as a bracket of the wrong kind.
    """
    if isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error):  # names no position in the array
        try:
            array.decode()
        except UnicodeDecodeError as e:
            return e.start
    at = _byte(error)
    return at if at is not None and at < len(array) - 1 else None


def decode(*fragments: bytes | memoryview) -> Decoded:
    """Return the events of a JSON array, given in fragments; an event with impossible times is malformed.

    Values that are not JSON are repaired, in an array that does not decode otherwise. Raises one of ``JSON_ERRORS`` if
    the array is not JSON.
    """
    replaced: Counter[str] = Counter()
    return Decoded(*_leniently(_decode, b"".join(fragments), replaced), replaced)


def _decode(array: bytes) -> tuple[Events, int]:
    with suppress(msgspec.ValidationError):
        return _events.decode(array), 0
    exact: list[ExactEvent] = []
    malformed = 0
    try:
        exact = _exact_events.decode(array)
    except msgspec.ValidationError:
        # one event of a wrong type fails the whole array: decode them one by one
        for raw in _raw_events.decode(array):
            try:
                exact.append(_exact_event.decode(raw))
            except msgspec.ValidationError:
                malformed += 1
    most, least = LARGEST_TIME_US, -LARGEST_TIME_US  # compared, since abs() of a Decimal may overflow
    fit = [event for event in exact if least <= event.ts <= most and least <= event.dur <= most]
    return fit, malformed + len(exact) - len(fit)
