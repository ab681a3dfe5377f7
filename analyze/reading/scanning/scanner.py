"""Reads the ordinary events of a trace with ``scan.wasm``, and leaves all others to Python.

Imported by decoder processes, so with nothing but msgspec and wasmtime.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence

import msgspec
import wasmtime

from ridgeline import webassembly
from ridgeline.analyze.reading.categories import DEVICE
from ridgeline.analyze.reading.columns import HALVES, Columns
from ridgeline.analyze.reading.early_start import SCANNER
from ridgeline.analyze.reading.events import ABSENT
from ridgeline.analyze.reading.geometry import text_of
from ridgeline.analyze.reading.memory_events import INSTANT
from ridgeline.analyze.reading.reader import JSON_ERRORS, Decoded, decode
from ridgeline.analyze.reading.scanning.ordinary import CATEGORIES, Category, others

_CATEGORY, _NUMBER, _NEEDED, _TEXT, _UNEXPECTED, _PHASE = range(6)
"""What a name is in the configuration of ``scan.c``."""
_OF_NAME, _OF_THREAD = 64, 65
"""The first byte of a text, if it is not the number of a category."""
_ENTRY = struct.Struct("<QII")
"""``Text`` of ``scan.c``: hash, start and bytes."""
_PLACE = struct.Struct("<II")
"""``Left`` of ``scan.c``: start and end of an event."""
_REPORT = struct.Struct("<7I64I")
"""The report of ``scan.c``."""
_NOT_JSON, _NO_MEMORY = -1, -2
_ALL = (1 << 64) - 1
_FIRST_COLUMNS = ("name", "thread", "start_ns", "duration_ns")


class Scanner:
    """Decodes pieces of a trace: what is ordinary goes to the columns without an object for each event."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        store, exports = webassembly.instance(SCANNER)
        self._store, self._exports, self._memory = store, exports, exports["memory"]
        self._names: dict[int, str] = {}
        """Names by the number of their text."""
        self._texts = 0
        """Texts that have a code."""
        self._scanned = 0
        """Ordinary events of the last piece that are not in the columns yet."""
        self._has_failed = False
        self._report_at = self._call("report")
        self._columns_at, self._rows = 0, list[int]()
        self._write(_configuration(leave=HALVES | {INSTANT} if columns.allocations else HALVES))
        self._call("configure")

    def decode(self, *fragments: bytes | memoryview) -> Decoded:
        """Return the events of a JSON array that are not ordinary; :meth:`append` adds the others to the columns.

        The text of the array is given in fragments. Raises one of ``JSON_ERRORS`` if the text is no array.
        """
        self._scanned = 0
        if not self._has_failed:
            try:
                events, left = self._scan(fragments)
                decoded = decode(left)
                self._scanned = events - len(decoded.events) - decoded.malformed
                return decoded
            except (wasmtime.Trap, wasmtime.WasmtimeError, MemoryError):
                self._has_failed = True
                self._store.close()  # what is in its memory is unknown now
            except JSON_ERRORS:
                pass  # decoding all of it says where
        return decode(*fragments)

    def _scan(self, fragments: Sequence[bytes | memoryview]) -> tuple[int, bytes]:
        """Return the number of events, and a JSON array of the events that are not ordinary.

        Raises ``msgspec.DecodeError`` if it is not JSON.
        """
        place = self._write(*fragments)
        events = self._call("scan")
        if events == _NOT_JSON:  # a value that can be repaired, a cut inside an event, or damage
            raise msgspec.DecodeError
        self._give_codes(*self._report()[:5])
        left = self._call("divide")
        report = self._report()
        lefts, self._columns_at, self._rows = report[5], report[6], list(report[7:])
        places = _PLACE.iter_unpack(self._view(lefts, left * _PLACE.size))
        text = self._view(place, sum(map(len, fragments)))
        return events, b"[%s]" % b",".join(text[start:end] for start, end in sorted(places))

    def append(self) -> None:
        """Add the ordinary events of the piece that was decoded last to the columns."""
        columns = self._columns
        if not self._scanned:
            return
        columns.events += self._scanned
        self._scanned = 0
        at = self._columns_at
        for (name, category), count in zip(CATEGORIES.items(), self._rows, strict=False):
            if not count:
                continue
            columns.categories[name] += count
            if not category.group:
                continue
            group = getattr(columns, category.group)
            names = (*_FIRST_COLUMNS, category.code, *category.numbers, *category.needed)
            values = self._view(at, 8 * count * len(names))
            at += len(values)
            for place, column in enumerate(names):
                if column:
                    group[column].frombytes(values[8 * count * place : 8 * count * (place + 1)])
            for column, value in _constants(name, category).items():
                group[column].extend(array("q", [value]) * count)

    def _give_codes(self, count: int, texts_at: int, numbered_at: int, codes_at: int, left_at: int) -> None:
        """Give each new text its code, and say which events are not ordinary for it."""
        known = self._texts
        if known == count:
            return
        entries = list(_ENTRY.iter_unpack(self._view(numbered_at + known * _ENTRY.size, (count - known) * _ENTRY.size)))
        first, (_, last, size) = entries[0][1], entries[-1]
        texts = bytes(self._view(texts_at + first, last + size - first))
        codes, left = array("i"), array("Q")
        for number, (_, start, size) in enumerate(entries, known):
            try:
                code, of_categories = self._code(number, texts[start - first : start - first + size])
            except JSON_ERRORS:
                code, of_categories = ABSENT, _ALL
            codes.append(code)
            left.append(of_categories)
        for values, start in ((codes, codes_at), (left, left_at)):
            size = len(values) * values.itemsize
            self._view(start + known * values.itemsize, size)[:] = memoryview(values).cast("B")
        self._texts = count

    def _code(self, number: int, text: bytes) -> tuple[int, int]:
        """Return the code of a text, and a bit for each category in which an event with this text is not ordinary."""
        columns, of = self._columns, text[0]
        if of == _OF_NAME:
            name = self._names[number] = str(msgspec.json.decode(b'"%s"' % text[1:]))
            left = (_BITS[group] for group in others(name))
            return columns.names[name], sum(left)
        if of == _OF_THREAD:
            pid, tid = map(msgspec.json.decode, text[1:].split(b"\0"))
            return columns.threads[pid, tid], 0
        group = _GROUPS[of]
        if group == "operator":
            name = self._names[int.from_bytes(text[1:5], "little")]
            return (ABSENT, _ALL) if group in others(name) else (columns.signatures[name, text[6:]], 0)
        if group == "launch":
            kernel = msgspec.json.decode(text[2:] or b"null", type=str | None)
            columns.has_kernel_names |= bool(kernel)
            return columns.names[kernel] if kernel else ABSENT, 0
        geometry = text_of(text[2:])
        if geometry:
            columns.optional.add("geometry")
        return columns.names[geometry] if geometry else ABSENT, 0

    def _report(self) -> tuple[int, ...]:
        return _REPORT.unpack(self._view(self._report_at, _REPORT.size))

    def _write(self, *fragments: bytes | memoryview) -> int:
        """Write what the next call reads; return its place."""
        size = sum(map(len, fragments))
        if not (place := self._call("reserve", size)):
            raise MemoryError
        view, at = self._view(place, size), 0
        for fragment in fragments:
            view[at : at + len(fragment)] = fragment
            at += len(fragment)
        return place

    def _view(self, start: int, size: int) -> memoryview:
        """Return a part of the module's memory; a call may move it."""
        memory = memoryview(self._memory.get_buffer_ptr(self._store)).cast("B")
        return memory[start : start + size]

    def _call(self, name: str, *arguments: int) -> int:
        """Call a function of the module. Raises ``MemoryError`` if it has no memory for what it does."""
        if (answer := int(self._exports[name](self._store, *arguments) or 0)) == _NO_MEMORY:
            raise MemoryError
        return answer


_GROUPS = [category.group for category in CATEGORIES.values()]
_BITS = {group: sum(1 << number for number, each in enumerate(_GROUPS) if each == group) for group in _GROUPS}
"""The categories of each group, a bit for each."""


def _configuration(leave: Iterable[str]) -> bytes:
    """Return what ``configure`` of ``scan.c`` reads: all categories, and the phases whose events Python decodes."""
    lines = [(_PHASE, ord(phase), "") for phase in leave]
    for name, category in CATEGORIES.items():
        lines.append(
            (_CATEGORY, (not category.group) | category.has_name_in_text << 1 | category.is_ordered << 2, name)
        )
        arguments = (category.numbers, category.needed, category.texts, category.unexpected)
        for role, names in zip((_NUMBER, _NEEDED, _TEXT, _UNEXPECTED), arguments, strict=True):
            lines += [(role, 0, argument) for argument in names.values()]
    return b"".join(bytes((role, value, len(name))) + name.encode() for role, value, name in lines)


def _constants(name: str, category: Category) -> dict[str, int]:
    """Return the columns that are the same for all ordinary events of a category."""
    if category.group == "launch":
        return {"external_id": ABSENT}
    if category.group != "device":
        return {}
    absent = {"annotation", "collective", "list_blocks", "geometry"} - {category.code}
    return {"category": DEVICE[name], **dict.fromkeys(absent, ABSENT)}
