"""Kernels that carry the bytes that they touch, instead of a share of their operator's bytes.

The launch rules recognize chunks of a list and helper kernels (changes of a layout, reductions of partial sums) by
recorded shapes and the names of a call's kernels, on any device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ridgeline.analyze.cache_model.heuristic import alone, recorded
from ridgeline.analyze.cache_model.launches import RULES, launches, touches
from ridgeline.analyze.cache_model.launches.launch import Chunk, Helper
from ridgeline.analyze.cache_model.run_bytes import within_memory
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.reading.columns import Signature

_MULTIPROCESSORS = 132
"""Those of an H200, on any device: they decide only into how many partial sums a product is split."""


def own_bytes(
    activities: pl.DataFrame,
    names: Sequence[str],
    signatures: Sequence[Signature],
    prices: Mapping[int, Mapping[str, Any]],
) -> pl.DataFrame:
    """``launch_bytes`` of each activity, null where it has a share of its operator's bytes, and ``is_helper``.

    ``activities``, in the order in which they ran, have ``name`` and ``signature`` (codes into the lists), ``operator``
    (the number of the call) and ``carries_cost``, false for copies and fills. ``prices`` has rows of the table
    ``signatures`` by code.
    """
    ruled = [code for code, (operator, *_) in enumerate(signatures) if base_name(operator) in RULES]
    rows = activities.select(pl.int_range(pl.len()).alias("row"), "operator", "name", "signature", "carries_cost")
    rows = rows.filter(pl.col("signature").is_in(ruled))
    # A kernel alone does all the work of its call.
    rows = rows.filter(pl.col("carries_cost").sum().over("operator") > 1)
    calls = rows.group_by("operator", maintain_order=True).agg(
        "row",
        pl.col("signature").filter("carries_cost").last(),
        launched=pl.col("name").cast(pl.String).str.join("-"),
    )
    distinct = calls.select("signature", "launched").unique(maintain_order=True)
    carried = [
        _carried(signatures[code], prices.get(code), tuple([names[int(name)] for name in launched.split("-")]))
        for code, launched in distinct.iter_rows()
    ]
    carried_bytes = pl.Series("launch_bytes", [sizes for sizes, _ in carried], dtype=pl.List(pl.Int64))
    is_helper = pl.Series("is_helper", [helpers for _, helpers in carried], dtype=pl.List(pl.Boolean))
    calls = calls.join(distinct.with_columns(carried_bytes, is_helper), on=["signature", "launched"], how="left")
    by_row = calls.select("row", "launch_bytes", "is_helper").explode("row", "launch_bytes", "is_helper")
    return (
        activities.select(pl.int_range(pl.len()).alias("row"))
        .join(by_row, on="row", how="left", maintain_order="left")
        .select("launch_bytes", pl.col("is_helper").fill_null(value=False))
    )


def _carried(
    signature: Signature, price: Mapping[str, Any] | None, kernels: tuple[str, ...]
) -> tuple[list[int | None], list[bool]]:
    """The bytes that each launch of a call carries, None where it has a share of the call's, and which are helpers."""
    call = alone(recorded(signature, price))
    if not within_memory({0: call}):
        return [None] * len(kernels), [False] * len(kernels)
    touched = [touches(launch) for launch in launches(call, kernels, _MULTIPROCESSORS)]
    sizes = [sum(touch.bytes for touch in part) if isinstance(part, Chunk | Helper) else None for part in touched]
    return sizes, [isinstance(part, Helper) for part in touched]
