"""The geometry of launches: blocks, threads, registers and shared memory, as CUPTI reports them and Kineto writes them.

Kineto derives ``est. achieved occupancy %`` from the rest (kernelOccupancy in libkineto/src/DeviceProperties.cpp). It
writes 0 where a block has more shared memory than the 48 KiB of a launch without opt-in, and -99 where it fails.
Imported by decoder processes, so with nothing but msgspec.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import DecodeError, Meta, Raw, json

from ridgeline.analyze.reading.events import DeviceArgs

Geometry = dict[str, int | float | None]
"""The columns of a geometry, by name: :data:`COLUMNS`."""
COLUMNS = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "registers", "shared_bytes", "occupancy")

_SEPARATOR = b"\0"
_LONGEST_TEXT = 200
"""Bytes of a geometry's text; a longer one has arguments of another form."""
_MOST_BLOCKS = 1 << 53
_MOST_THREADS = 1 << 16
_Extent = Annotated[int, Meta(ge=1, lt=1 << 31)]
_Extents = tuple[_Extent, _Extent, _Extent]
_Registers = Annotated[int, Meta(ge=1, le=1 << 12)]
_Bytes = Annotated[int, Meta(ge=0, lt=1 << 31)]
_Percent = Annotated[float, Meta(ge=0, le=100)]


def geometries_of(args: Sequence[DeviceArgs]) -> list[str | None]:
    """Return the geometry of each launch as the text of a JSON array, None where none of it is recorded."""
    joined = _SEPARATOR.join  # bytes, since raw JSON has no hash
    keys = [joined((each.grid, each.block, each.registers, each.shared_bytes, each.occupancy)) for each in args]
    texts = {key: text_of(key) for key in set(keys)}
    return [texts[key] for key in keys]


def text_of(key: bytes) -> str | None:
    """Return the geometry as the text of a JSON array, None where none of it is recorded.

    ``key`` is the JSON of the arguments in the order of :class:`DeviceArgs`, joined by zeros.
    """
    recorded = key.split(_SEPARATOR)
    if not any(recorded) or len(key) > _LONGEST_TEXT:
        return None
    return (b"[%s]" % b",".join(raw or b"null" for raw in recorded)).decode(errors="replace")


def geometry_of(text: str) -> Geometry:
    """Return the geometry that ``text`` describes. A value of another form than Kineto's is None.

    ``occupancy`` is a fraction.
    """
    grid, block, registers, shared_bytes, occupancy = json.decode(text, type=list[Raw])
    percent = _decode(occupancy, _Percent)
    values = (
        *_extents(grid, _MOST_BLOCKS),
        *_extents(block, _MOST_THREADS),
        _decode(registers, _Registers),
        _decode(shared_bytes, _Bytes),
        percent / 100 if percent is not None else None,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _extents(raw: Raw, most: int) -> tuple[int | None, int | None, int | None]:
    extents: tuple[int, int, int] | None = _decode(raw, _Extents)
    return extents if extents and math.prod(extents) < most else (None, None, None)


def _decode(raw: Raw, kind: Any) -> Any:
    try:
        return json.decode(raw, type=kind)
    except (DecodeError, UnicodeDecodeError):
        return None
