"""DRAM reads and writes of every kernel of a sequence: those of the simulation, and those of rows drawn again."""

from __future__ import annotations

import numpy as np
import polars as pl

from ridgeline.analyze.cache_model.code import code_bytes
from ridgeline.analyze.cache_model.l2 import Simulation
from ridgeline.analyze.cache_model.policy import FORGOTTEN, RESOLUTION, Policy, survival
from ridgeline.analyze.cache_model.simulation import TOUCH, Floats, Run, Touches, simulate

_MOST_GAPS = 20
"""Lengths of a table after which a row has certainly been drawn again: e^-20 of the draws are left."""
_STEPS = 256
"""Steps of the integral over gaps between two draws of a row."""


def predict(
    kernels: pl.DataFrame,
    operands: pl.DataFrame,
    l2_bytes: int,
    *,
    policy: Policy | None = None,
    run: Run = Simulation.run,
) -> pl.DataFrame:
    """DRAM bytes of every kernel: ``kernel``, ``dram_read_bytes``, ``dram_write_bytes``.

    ``kernels`` has ``kernel`` (distinct numbers, in the order they ran) and, where known, ``name``, which decides the
    size of the code, and ``step``. ``operands`` has the columns of ``operands.SCHEMA``, a kernel's rows in the order of
    its operator's arguments. Each step is modelled as following an equal step. Without steps the whole sequence is one
    step. The bytes of a step that exceeds the limits of the simulation are NaN. ``run`` runs the simulation.

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
            offset=0, write=False, waves=0, parts=0.0, stay=1.0, passes=1, shared=0
        )
        numbers = kernels["name"].rank("dense").cast(pl.Int64) + (touches["storage"].max(initial=-1))
        touches = np.concatenate([_array(code, numbers), touches])
        at = np.concatenate([position, at])
    by_position = np.argsort(at, kind="stable")
    first_touch = np.searchsorted(at[by_position], np.arange(len(kernels) + 1))
    bounds = [*np.flatnonzero(np.diff(step[order], prepend=-1)).tolist(), len(kernels)]
    moved = simulate(touches[by_position], first_touch, bounds, l2_bytes, policy or Policy(), run)
    moved += _redrawn(touched, len(kernels), l2_bytes, policy or Policy())
    read, written = moved[:, position]
    return kernels.select("kernel", dram_read_bytes=pl.Series(read), dram_write_bytes=pl.Series(written))


def _redrawn(touched: pl.DataFrame, count: int, l2_bytes: int, policy: Policy) -> Floats:
    """Bytes that the kernels (by position) read and write again, since the L2 lost rows between two draws of them.

    The gap g between two draws of a row, in bytes drawn, is exponential with the table's size S as its mean. A kernel
    that draws D bytes draws (D - g) exp(-g / S) dg / S of them a gap after an earlier draw. Meanwhile the L2 takes
    S (1 - exp(-g / S)) of the table (Che, Tung and Wang, "Hierarchical Web caching systems", 2002) and g / D of the
    kernel's other operands, and the row survives as any line does.
    """
    moved = np.zeros((2, count))
    rows = touched.filter(pl.col("drawn") > pl.col("bytes"))
    if rows.is_empty():
        return moved
    copies = pl.col("shared").replace_strict(dict(enumerate(policy.copies)), return_dtype=pl.Float64)
    taken = touched.select(
        "position", "storage", occupied=pl.col("bytes") * pl.when("write").then(1.0).otherwise(copies)
    )
    others = rows.select("position", "storage").unique().join(taken, on="position", suffix="_other")
    others = (
        others.filter(pl.col("storage") != pl.col("storage_other"))
        .group_by("position", "storage")
        .agg(pl.col("occupied").sum())
    )
    rows = rows.join(others, on=["position", "storage"], how="left", maintain_order="left").with_columns(
        # a table that is written has no copies
        copies=pl.when(pl.col("write").any().over("position", "storage")).then(1.0).otherwise(copies)
    )
    draws, span = (rows[name].to_numpy().astype(np.float64)[:, None] for name in ("drawn", "span"))
    longest = np.minimum(draws, _MOST_GAPS * span)
    gap = longest * ((np.arange(_STEPS) + 0.5) / _STEPS)
    use = rows["copies"].to_numpy()[:, None] * span * -np.expm1(-gap / span)
    use += rows["occupied"].fill_null(0).to_numpy()[:, None] / draws * gap
    kept = survival(policy.ways)
    at = np.minimum(use / (l2_bytes * policy.capacity_share), FORGOTTEN) * RESOLUTION
    lost = (draws - gap) * np.exp(-gap / span) / span * (1 - kept[at.astype(np.int64)])
    again = lost.sum(axis=1) * longest[:, 0] / _STEPS
    np.add.at(moved, (rows["write"].cast(pl.Int64).to_numpy(), rows["position"].to_numpy()), again)
    return moved


def _array(touches: pl.DataFrame, storage: pl.Series) -> Touches:
    """The touches as the simulation takes them, with these storages."""
    array: Touches = np.empty(len(touches), dtype=TOUCH)
    for name in TOUCH.names or ():
        array[name] = (storage if name == "storage" else touches[name]).to_numpy()
    return array
