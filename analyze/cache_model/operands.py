"""The operands of kernels: the types that the whole model uses, and the frame that holds them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import polars as pl

from ridgeline.analyze.pricing.signature import dense_strides

SECTOR_BYTES = 32
"""The smallest transfer between DRAM and the L2: a strided view pays for whole sectors."""

SCATTERED = 2
"""``Touch.shared`` of bytes that multiprocessors of both halves of the L2 read at different times."""

SCHEMA = pl.Schema(
    {
        "kernel": pl.Int64, "storage": pl.Int64, "offset": pl.Int64, "bytes": pl.Int64, "span": pl.Int64,
        "write": pl.Boolean, "waves": pl.Int64, "parts": pl.Float64, "stay": pl.Float64, "passes": pl.Int64,
        "shared": pl.Int64, "drawn": pl.Int64,
    }
)  # fmt: skip


Place = tuple[int, int]
"""A storage and an offset in it, in bytes."""


class Tensor(NamedTuple):
    """A view of a storage: its first byte, its distinct bytes, and the ``span`` of bytes that they spread over."""

    storage: int
    offset: int
    bytes: int
    span: int
    shape: tuple[int, ...] = ()
    itemsize: int = 1
    fastest: int = -1
    """The dimension whose neighbours are neighbours in memory, counted from the end; 0 if it has none."""

    @property
    def is_repeated(self) -> bool:
        """Whether dimensions without a stride repeat its elements."""
        return self.bytes < math.prod(self.shape) * self.itemsize


class Touch(NamedTuple):
    """One operand of a kernel, read or written.

    A kernel without waves (0) streams: its operands advance side by side. A tiled kernel works in ``waves``, one tile
    on each multiprocessor at a time, and writes the results of a wave at its end. An operand has ``parts`` (as many as
    waves if 0, not always a whole number). Waves take the parts in turn, each for ``stay`` waves, and begin again after
    the last. ``passes`` is how often each part is read. ``shared`` says which multiprocessors read a byte: one (0),
    those of both halves of the L2 that share a tile (1), or any of them at any time (2), in pieces of a sector.
    Of an operand whose rows are ``drawn`` at random, ``bytes`` are the expected distinct ones, ``drawn`` those of all
    draws.
    """

    storage: int
    offset: int
    bytes: int
    span: int
    write: bool
    waves: int = 0
    parts: float = 0
    stay: float = 1
    passes: int = 1
    shared: int = 0
    drawn: int = 0


def view(storage: int, offset: int, shape: Sequence[int], strides: Sequence[int] | None, itemsize: int) -> Tensor:
    """A tensor from its layout; dimensions without a stride (broadcast) count once. ``offset`` is in elements.

    >>> view(1, 4, [8, 2], [0, 1], 4)
    Tensor(storage=1, offset=16, bytes=8, span=8, shape=(8, 2), itemsize=4, fastest=-1)
    """
    if strides is None or len(strides) != len(shape):
        strides = dense_strides(shape)
    # From the innermost dimension out: run is the length of contiguous elements, distinct their number in all.
    kept = sorted((stride, size) for stride, size in zip(strides, shape, strict=True) if stride and size != 1)
    inwards = enumerate(zip(strides[::-1], shape[::-1], strict=True), 1)
    fastest = next((-at for at, (stride, size) in inwards if stride == 1 and size > 1), 0)
    run, distinct, last = 1, 1, 0
    for stride, size in kept:
        run = run * size if stride == run else run
        distinct *= size
        last += stride * (size - 1)
    if 0 in shape:
        return Tensor(storage, offset * itemsize, 0, 0, tuple(shape), itemsize)
    span = (last + 1) * itemsize
    # Each run takes whole sectors, unless the view is one run.
    size_bytes = distinct // run * max(run * itemsize, SECTOR_BYTES) if distinct > run else distinct * itemsize
    return Tensor(storage, offset * itemsize, min(size_bytes, span), span, tuple(shape), itemsize, fastest)


def is_sizes(value: Any) -> TypeGuard[list[int]]:
    """Whether a recorded value is a list of whole numbers, none of them negative, as sizes and strides are."""
    return isinstance(value, list) and {*map(type, value)} <= {int} and min(value, default=0) >= 0


def frame(touches: Iterable[tuple[int, Touch]]) -> pl.DataFrame:
    """The operands of kernels as a frame, in the order the kernels come and use them."""
    rows = [(kernel, *touch) for kernel, touch in touches]
    return pl.DataFrame(dict(zip(SCHEMA, zip(*rows, strict=True), strict=True)) if rows else None, schema=SCHEMA)


def repeated(
    kernels: Sequence[int],
    used: Sequence[int],
    templates: Sequence[Sequence[Touch]],
    first_places: Sequence[int],
    places: Sequence[Place],
) -> pl.DataFrame:
    """The operands of ``kernels`` as :func:`frame` returns them.

    For each kernel, ``used`` is the number of its template and ``first_places`` the index of its first place. In a
    template, the storage of a touch is the index of a place, counted from the kernel's first. The touch takes the
    storage of that place; the offset of the place is added to its own. A workspace (below 0) stays what it is.
    """
    sizes = np.array([len(touches) for touches in templates], dtype=np.int64)
    template = np.array(used, dtype=np.int64)
    counts = sizes[template]
    # the index of each touch within its kernel, then within the touches of all templates
    position = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    position += np.repeat((sizes.cumsum() - sizes)[template], counts)
    touched = frame((0, touch) for touches in templates for touch in touches)[position]
    storage = touched["storage"].to_numpy()
    is_placed = storage >= 0
    place = np.where(is_placed, storage + np.repeat(np.array(first_places, dtype=np.int64), counts), 0)
    placed = np.fromiter(chain.from_iterable([(0, 0), *places]), dtype=np.int64).reshape(-1, 2)
    storage, offset = np.where(is_placed, placed[place + is_placed].T, [storage, np.zeros_like(storage)])
    return touched.with_columns(
        kernel=pl.Series(np.repeat(np.array(kernels, dtype=np.int64), counts)),
        storage=pl.Series(storage),
        offset=pl.col("offset") + pl.Series(offset),
    )
