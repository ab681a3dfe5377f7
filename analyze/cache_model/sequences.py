"""The sequences of kernels of a run, and which of them are equal.

A sequence is a labelled step, or the kernels from one forward's embedding to the next. Two sequences are equal if their
devices are of the same kind, their kernels have the same names in the same order, and their operands have the same size
within 1 %: a decoding step differs from the one before it by one position.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.spans import Int64
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.signature import json_list
from ridgeline.analyze.reading.columns import Signature

_SAME_SIZE = math.log(1.01)
_APART = 16
"""The least number of kernels between the embeddings of two forwards."""


class Device(NamedTuple):
    """The properties of a device that the model needs."""

    l2_bytes: int
    multiprocessors: int


class Kernels(msgspec.Struct, frozen=True):
    """Device activities in the order in which they ran, and the tables that their codes index.

    ``rows`` has ``name`` and ``signature`` (codes into the lists), ``category`` (of ``CATEGORIES``), ``device``,
    ``duration_ns`` (where known), ``step`` and ``operator``, the number of an operator's call; signature, step and
    operator may be null. ``prices`` holds rows of the table ``signatures`` by code. Kernels on other devices than
    ``devices`` are not modelled.
    """

    rows: pl.DataFrame
    names: Sequence[str]
    signatures: Sequence[Signature]
    prices: Mapping[int, Mapping[str, Any]]
    devices: Mapping[int, Device]


def equal_sequences(kernels: Kernels) -> list[list[Int64]]:
    """The positions of the kernels of each sequence, grouped by equal sequences, in order of first appearance."""
    modelled = pl.col("operator").is_not_null() & pl.col("device").is_in(list(kernels.devices))
    rows = kernels.rows.with_row_index("row").filter(modelled)
    # Codes in the order of the names do not depend on the order of the events.
    code = pl.Series(kernels.names, dtype=pl.String).rank("dense").cast(pl.Int64)
    # by signature code, with an entry at the end for kernels without one
    signature = rows["signature"].fill_null(len(kernels.signatures))
    sizes = [0.0] * (len(kernels.signatures) + 1)
    embedding = [False] * len(sizes)
    for used in rows["signature"].drop_nulls().unique().to_list():
        name, dims, *_ = kernels.signatures[used]
        sizes[used], embedding[used] = _elements(dims), base_name(name) == "embedding"
    elements, embeds = pl.Series("elements", sizes), pl.Series("embeds", embedding)
    rows = rows.select(
        "device",
        "step",
        "row",
        code.gather(rows["name"]).alias("name"),
        elements.gather(signature),
        embeds.gather(signature),
    )
    groups: dict[tuple[object, ...], list[Int64]] = {}
    for (device, step), part in rows.partition_by("device", "step", as_dict=True, maintain_order=True).items():
        columns = ("name", "elements", "embeds", "row")
        names, elements_of, embedding_at, at = (part[column].to_numpy() for column in columns)
        cuts = [slice(None)]
        if step is None:
            # Without steps, cut at the first of the embeddings with which each forward of a model begins.
            positions = np.flatnonzero(embedding_at)
            first = positions[np.diff(positions, prepend=-_APART) >= _APART]
            cuts = [slice(*bounds) for bounds in pairwise(np.unique([0, *first, len(part)]).tolist())]
        for cut in cuts:
            size = round(math.log1p(float(elements_of[cut].sum())) / _SAME_SIZE)
            key = kernels.devices[device], names[cut].tobytes(), size
            groups.setdefault(key, []).append(at[cut].astype(np.int64))
    return list(groups.values())


def _elements(dims: bytes) -> float:
    """The elements of all inputs of a signature; 0 where the recorded dimensions are damaged."""

    def total(nested: Any) -> float:
        if not isinstance(nested, list) or not nested:
            return 0.0
        if all(isinstance(size, int) for size in nested):
            # sizes of a damaged record must not overflow
            return math.prod(min(float(abs(size)), 1e12) for size in nested[:16])
        return sum(map(total, nested))

    try:
        return total(json_list(dims))
    except RecursionError:
        return 0.0


def sequence_id(kernels: Kernels, rows: Int64, *versions: int) -> str:
    """An id of everything that decides a sequence's bytes: its kernels, their calls and signatures, and the device."""
    part = kernels.rows[rows]
    _, calls = np.unique(part["operator"].to_numpy(), return_inverse=True)
    prices = [kernels.prices.get(code, {}) for code in part["signature"].to_list()]
    # a rule from outside prices a signature otherwise
    signatures = [[price.get("signature_id"), price.get("outside_rules")] for price in prices]
    names = (kernels.names[name] for name in part["name"].to_list())
    device = kernels.devices[part["device"][0]]
    hashed = [versions, device, *zip(names, signatures, part["category"].to_list(), calls.tolist(), strict=True)]
    return hashlib.sha256(msgspec.json.encode(hashed)).hexdigest()[:16]
