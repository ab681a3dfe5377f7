"""DRAM reads and writes of every kernel of a sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.cache_model.code import code_bytes
from ridgeline.analyze.cache_model.lru import Accesses, Cache, Floats, Ints, Policy
from ridgeline.analyze.cache_model.operands import SCHEMA, Touch
from ridgeline.analyze.cache_model.phases import granule_sizes, phases

_TOUCH = [name for name in SCHEMA if name not in ("kernel", "storage")]


class _Step(NamedTuple):
    """Kernels that follow each other: names, and operands with their kernel (from 0) and storage (as they come)."""

    names: tuple[str, ...]
    kernel: Ints
    storage: Ints
    touches: pl.DataFrame

    def key(self) -> tuple[object, ...]:
        """Equal for steps that touch the same: storages are numbered as they come, whatever their identity."""
        columns = [self.touches[name].to_numpy().tobytes() for name in _TOUCH]
        return self.names, self.kernel.tobytes(), self.storage.tobytes(), *columns


def predict(
    kernels: pl.DataFrame, operands: pl.DataFrame, l2_bytes: int, *, policy: Policy | None = None
) -> pl.DataFrame:
    """DRAM bytes of every kernel: ``kernel``, ``dram_read_bytes``, ``dram_write_bytes``.

    ``kernels`` has ``kernel`` (distinct numbers, rows in the order they ran) and, where known, ``name``, of which the
    size of the code follows, and ``step``. ``operands`` has the columns of ``operands.SCHEMA``, rows of a kernel in the
    order its operator lists them. Each step is taken to follow one like itself, and predicted once however often it
    comes; without steps the whole sequence is taken for one.

    >>> from ridgeline.analyze.cache_model.operands import frame
    >>> kernels = pl.DataFrame({"kernel": [0, 1]})
    >>> operands = frame([(0, Touch(1, 0, 4096, 4096, True)), (1, Touch(1, 0, 4096, 4096, False))])
    >>> predict(kernels, operands, 50 << 20)["dram_read_bytes"].to_list()
    [0.0, 0.0]
    """
    policy = policy or Policy()
    known: dict[tuple[object, ...], tuple[Floats, Floats]] = {}
    read, written = np.zeros(len(kernels)), np.zeros(len(kernels))
    for rows, step in _steps(kernels, operands):
        key = step.key()
        if key not in known:
            known[key] = _simulate(_sequence(step, len(rows)), l2_bytes, policy)
        read[rows], written[rows] = known[key]
    return kernels.select("kernel", dram_read_bytes=pl.Series(read), dram_write_bytes=pl.Series(written))


def _steps(kernels: pl.DataFrame, operands: pl.DataFrame) -> Iterator[tuple[Ints, _Step]]:
    """Rows of ``kernels`` and what they are, step by step."""
    steps = kernels["step"] if "step" in kernels.columns else pl.repeat(0, len(kernels), eager=True)
    step_of_row = steps.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    order = np.argsort(step_of_row, kind="stable")
    at = np.empty(len(kernels), dtype=np.int64)
    at[order] = np.arange(len(kernels))
    row = operands.join(kernels.select("kernel").with_row_index("row"), on="kernel", how="left", maintain_order="left")
    row = row.filter(pl.col("row").is_not_null())
    position = at[row["row"].to_numpy()]
    by_position = np.argsort(position, kind="stable")
    position, row = position[by_position], row[by_position]
    names = kernels["name"].gather(order).to_list() if "name" in kernels.columns else []
    starts = [*np.flatnonzero(np.diff(step_of_row[order], prepend=-1)), len(kernels)]
    for start, stop in pairwise(starts):
        first, last = np.searchsorted(position, [start, stop])
        part = row[int(first) : int(last)]
        yield (
            order[start:stop],
            _Step(
                tuple(names[start:stop]), position[first:last] - start, _as_they_come(part["storage"].to_numpy()),
                part.select(_TOUCH),
            ),
        )  # fmt: skip


def _as_they_come(storages: Ints) -> Ints:
    _, first, inverse = np.unique(storages, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse], dtype=np.int64)


def _sequence(step: _Step, kernels: int) -> list[list[Touch]]:
    """What each kernel of a step touches: its code, which all multiprocessors read, and its operands."""
    sequence: list[list[Touch]] = [[] for _ in range(kernels)]
    code = int(step.storage.max(initial=-1)) + 1
    numbers: dict[str, int] = {}
    for touches, name in zip(sequence, step.names, strict=False):
        size = code_bytes(name)
        touches.append(Touch(code + numbers.setdefault(name, len(numbers)), 0, size, size, False))
    rows = zip(step.kernel.tolist(), step.storage.tolist(), step.touches.iter_rows(), strict=True)
    for kernel, storage, touch in rows:
        sequence[kernel].append(Touch(storage, *touch))
    return sequence


def _simulate(sequence: Sequence[Sequence[Touch]], l2_bytes: int, policy: Policy) -> tuple[Floats, Floats]:
    """A sequence that follows itself: what its end leaves in the L2 is what its beginning finds there."""
    sizes = granule_sizes([touch for touches in sequence for touch in touches])
    kernels, granules = _numbered([list(phases(touches, sizes, policy)) for touches in sequence])
    cache = Cache(granules, l2_bytes, policy)
    for kernel in kernels:
        for phase in kernel:
            cache.access(phase)
    read, written = np.zeros(len(kernels)), np.zeros(len(kernels))
    for i, kernel in enumerate(kernels):
        for phase in kernel:
            from_dram, to_dram = cache.access(phase)
            read[i] += from_dram
            written[i] += to_dram
    return read, written


def _numbered(kernels: list[list[Accesses]]) -> tuple[list[list[Accesses]], int]:
    """Granules numbered from 0."""
    parts = [phase.granule for kernel in kernels for phase in kernel]
    if not parts:
        return kernels, 0
    unique, inverse = np.unique(np.concatenate(parts), return_inverse=True)
    numbers = iter(np.split(inverse, np.cumsum([len(part) for part in parts])[:-1]))
    return [[phase._replace(granule=next(numbers)) for phase in kernel] for kernel in kernels], len(unique)
