"""DRAM reads and writes of every kernel of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.cache_model.code import code_bytes
from ridgeline.analyze.cache_model.lru import Cache, Floats, Ints, Policy
from ridgeline.analyze.cache_model.operands import SCHEMA, Touch
from ridgeline.analyze.cache_model.phases import granule_sizes, phases

_TOUCH = [name for name in SCHEMA if name not in ("kernel", "storage")]


class _Step(NamedTuple):
    """Consecutive kernels: names, and operands with their kernel (from 0) and storage (in order of appearance)."""

    names: tuple[str, ...]
    kernel: Ints
    storage: Ints
    touches: pl.DataFrame

    def key(self) -> tuple[object, ...]:
        """Equal for steps with equal kernels and operands, whatever the ids of their storages."""
        columns = [self.touches[name].to_numpy().tobytes() for name in _TOUCH]
        return self.names, self.kernel.tobytes(), self.storage.tobytes(), *columns


def predict(
    kernels: pl.DataFrame, operands: pl.DataFrame, l2_bytes: int, *, policy: Policy | None = None
) -> pl.DataFrame:
    """DRAM bytes of every kernel: ``kernel``, ``dram_read_bytes``, ``dram_write_bytes``.

    ``kernels`` has ``kernel`` (distinct numbers, in the order they ran) and, where known, ``name``, which decides the
    size of the code, and ``step``. ``operands`` has the columns of ``operands.SCHEMA``, a kernel's rows in the order of
    its operator's arguments. Each step is modelled as following an equal step, and equal steps are predicted once.
    Without steps the whole sequence is one step.

    >>> from ridgeline.analyze.cache_model.operands import frame
    >>> kernels = pl.DataFrame({"kernel": [0, 1]})
    >>> operands = frame([(0, Touch(1, 0, 4096, 4096, True)), (1, Touch(1, 0, 4096, 4096, False))])
    >>> predict(kernels, operands, 50 << 20)["dram_read_bytes"].to_list()
    [0.0, 0.0]
    """
    policy = policy or Policy()
    predicted: dict[tuple[object, ...], tuple[Floats, Floats]] = {}
    read, written = np.zeros(len(kernels)), np.zeros(len(kernels))
    for rows, step in _steps(kernels, operands):
        key = step.key()
        if key not in predicted:
            predicted[key] = _simulate(step, len(rows), l2_bytes, policy)
        read[rows], written[rows] = predicted[key]
    return kernels.select("kernel", dram_read_bytes=pl.Series(read), dram_write_bytes=pl.Series(written))


def _steps(kernels: pl.DataFrame, operands: pl.DataFrame) -> Iterator[tuple[Ints, _Step]]:
    """The rows of ``kernels`` that form each step, and the step."""
    steps = kernels["step"] if "step" in kernels.columns else pl.repeat(0, len(kernels), eager=True)
    step_of_row = steps.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    # Order kernels by step, and operands by the position of their kernel in that order.
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
        # number the step's storages in order of appearance
        _, appears, inverse = np.unique(part["storage"].to_numpy(), return_index=True, return_inverse=True)
        number = np.empty(len(appears), dtype=np.int64)
        number[np.argsort(appears)] = np.arange(len(appears))
        storage = np.asarray(number[inverse], dtype=np.int64)
        step = _Step(tuple(names[start:stop]), position[first:last] - start, storage, part.select(_TOUCH))
        yield order[start:stop], step


def _simulate(step: _Step, count: int, l2_bytes: int, policy: Policy) -> tuple[Floats, Floats]:
    """Bytes read and written by each of a step's ``count`` kernels, where the step follows itself."""
    # A kernel touches its code, which all multiprocessors read, and its operands.
    sequence: list[list[Touch]] = [[] for _ in range(count)]
    code = int(step.storage.max(initial=-1)) + 1
    numbers: dict[str, int] = {}
    for touches, name in zip(sequence, step.names, strict=False):
        size = code_bytes(name)
        touches.append(Touch(code + numbers.setdefault(name, len(numbers)), 0, size, size, False))
    for kernel, storage, touch in zip(
        step.kernel.tolist(), step.storage.tolist(), step.touches.iter_rows(), strict=True
    ):
        sequence[kernel].append(Touch(storage, *touch))
    sizes = granule_sizes([touch for touches in sequence for touch in touches])
    kernels = [list(phases(touches, sizes, policy)) for touches in sequence]

    # number the granules from 0
    parts = [phase.granule for kernel in kernels for phase in kernel]
    none = np.empty(0, dtype=np.int64)
    unique, inverse = np.unique(np.concatenate([none, *parts]), return_inverse=True)
    granules = iter(np.split(inverse, np.cumsum([len(part) for part in parts])))
    numbered = [[phase._replace(granule=next(granules)) for phase in kernel] for kernel in kernels]

    # The first round fills the L2 as the step before would; the second round is counted.
    cache = Cache(len(unique), l2_bytes, policy)
    read, written = np.zeros(count), np.zeros(count)
    for counted in (False, True):
        for i, accesses in enumerate(numbered):
            for phase in accesses:
                from_dram, to_dram = cache.access(phase)
                read[i] += from_dram * counted
                written[i] += to_dram * counted
    return read, written
