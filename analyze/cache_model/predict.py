"""DRAM reads and writes of every kernel of a sequence."""

from __future__ import annotations

import numpy as np
import polars as pl

from ridgeline.analyze.cache_model.code import code_bytes
from ridgeline.analyze.cache_model.policy import Policy
from ridgeline.analyze.cache_model.simulation import TOUCH, Touches, simulate


def predict(
    kernels: pl.DataFrame, operands: pl.DataFrame, l2_bytes: int, *, policy: Policy | None = None
) -> pl.DataFrame:
    """DRAM bytes of every kernel: ``kernel``, ``dram_read_bytes``, ``dram_write_bytes``.

    ``kernels`` has ``kernel`` (distinct numbers, in the order they ran) and, where known, ``name``, which decides the
    size of the code, and ``step``. ``operands`` has the columns of ``operands.SCHEMA``, a kernel's rows in the order of
    its operator's arguments. Each step is modelled as following an equal step. Without steps the whole sequence is one
    step. The bytes of a step that exceeds the limits of the simulation are NaN.

    >>> from ridgeline.analyze.cache_model.operands import Touch, frame
    >>> kernels = pl.DataFrame({"kernel": [0, 1]})
    >>> operands = frame([(0, Touch(1, 0, 4096, 4096, True)), (1, Touch(1, 0, 4096, 4096, False))])
    >>> predict(kernels, operands, 50 << 20)["dram_read_bytes"].to_list()
    [0.0, 0.0]
    """
    steps = kernels["step"] if "step" in kernels.columns else pl.repeat(0, len(kernels), eager=True)
    step = steps.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    order = np.argsort(step, kind="stable")
    # where each kernel stands once the kernels are in the order of their steps
    position = np.empty(len(kernels), dtype=np.int64)
    position[order] = np.arange(len(kernels))
    positions = kernels.select("kernel", position=pl.Series(position))
    touched = operands.join(positions, on="kernel", maintain_order="left")
    touches = _array(touched, touched["storage"].rank("dense").cast(pl.Int64) - 1)
    at = touched["position"].to_numpy()
    if "name" in kernels.columns:
        # A kernel touches its code, which all multiprocessors read, and then its operands.
        sizes = pl.Series([code_bytes(name) for name in kernels["name"].to_list()], dtype=pl.Int64)
        code = pl.DataFrame({"bytes": sizes, "span": sizes}).with_columns(
            offset=0, write=False, waves=0, parts=0.0, stay=1.0, passes=1, shared=False
        )
        numbers = kernels["name"].rank("dense").cast(pl.Int64) + (touches["storage"].max(initial=-1))
        touches = np.concatenate([_array(code, numbers), touches])
        at = np.concatenate([position, at])
    by_position = np.argsort(at, kind="stable")
    first_touch = np.searchsorted(at[by_position], np.arange(len(kernels) + 1))
    bounds = [*np.flatnonzero(np.diff(step[order], prepend=-1)).tolist(), len(kernels)]
    moved = simulate(touches[by_position], first_touch, bounds, l2_bytes, policy or Policy())
    read, written = moved[:, position]
    return kernels.select("kernel", dram_read_bytes=pl.Series(read), dram_write_bytes=pl.Series(written))


def _array(touches: pl.DataFrame, storage: pl.Series) -> Touches:
    """The touches as the simulation takes them, with these storages."""
    array: Touches = np.empty(len(touches), dtype=TOUCH)
    for name in TOUCH.names or ():
        array[name] = (storage if name == "storage" else touches[name]).to_numpy()
    return array
