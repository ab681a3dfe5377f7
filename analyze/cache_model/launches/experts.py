"""Launches of grouped products: a kernel prepares addresses and sizes of the groups, another one multiplies.

The trace does not say how many tokens each expert got, so the product reads the matrices that even routing reaches.
Routing by random weights leaves many experts out, which the time of the product shows beside that of equal calls: it
grows with the tiles, and an expert with few tokens fills one of them alone. The slowest calls count as even.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from ridgeline.analyze.cache_model.launches.launch import Helper, Launch, Rule, read, write
from ridgeline.analyze.cache_model.operands import Touch
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.rules.matmul import reached
from ridgeline.analyze.pricing.signature import Tensor, parse
from ridgeline.analyze.reading.columns import Signature

_PREPARES = re.compile(r"prepare_grouped_gemm_data")
_OPERATORS = ("_grouped_mm", "_scaled_grouped_mm")
_TILE_ROWS = 128
_MOST_FILLED = 0.6
"""The largest share of tiles that tokens fill, beyond which the time says little about the number of experts."""
_SLOWEST = 0.95
"""The quantile of the times of equal calls that counts as even routing."""

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


def _grouped(launch: Launch) -> list[Touch] | None:
    inputs, outputs = launch.call.inputs, launch.call.outputs
    if _PREPARES.search(launch.kernel):
        # the ends of the groups
        return Helper(read(tensor) for tensor in inputs if len(tensor.shape) == 1)
    if len(inputs) < 2 or (len(inputs[0].shape), len(inputs[1].shape)) != (2, 3):
        return None
    share = reached(inputs[0].shape[0], inputs[1].shape[0])
    matrices = read(inputs[1])._replace(bytes=round(inputs[1].bytes * share))
    return [read(inputs[0]), matrices, *map(read, inputs[2:]), *map(write, outputs)]


RULES: dict[str, Rule] = dict.fromkeys(_OPERATORS, _grouped)


def read_shares(kernels: pl.DataFrame, names: Sequence[str], signatures: Sequence[Signature]) -> Floats:
    """The share of its modelled reads that each kernel makes by its time, 1 but for grouped products.

    ``kernels`` has ``name`` and ``signature`` (codes into the lists) and, where known, ``duration_ns``.
    """
    shares = np.ones(len(kernels))
    for code, signature in enumerate(signatures if "duration_ns" in kernels.columns else ()):
        if base_name(signature[0]) not in _OPERATORS:
            continue
        tensors = [value for value in parse(signature).inputs[:2] if isinstance(value, Tensor)]
        if [len(tensor.shape) for tensor in tensors] != [2, 3]:
            continue
        left, right = tensors
        rows, experts = left.shape[0], right.shape[0]
        tiles = experts * reached(rows, experts)
        filled = rows / _TILE_ROWS / max(tiles, 1)
        calls = kernels.with_row_index("row").filter(pl.col("signature") == code)
        for (name,), equal_calls in calls.group_by("name"):
            if filled > _MOST_FILLED or _PREPARES.search(names[int(str(name))]):
                continue
            times = equal_calls["duration_ns"] / max(equal_calls["duration_ns"].quantile(_SLOWEST) or 1, 1)
            used = ((times - filled) / (1 - filled)).clip(0, 1).to_numpy()
            matrices = right.distinct_bytes * reached(rows, experts)
            shares[equal_calls["row"].to_numpy()] = 1 - (1 - used) * matrices / max(matrices + left.distinct_bytes, 1)
    return shares
