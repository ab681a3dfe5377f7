"""Which kernels of a run follow each other, and which of those sequences are equal.

A sequence is a labelled step, or what lies between the embeddings with which a model's forward begins. Sequences on the
same kind of device whose kernels have the same names in the same order, and whose operands are of the same size within
1 %, are taken for equal: a decoding step differs from the one before it by one position.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.spans import Int64
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.reading.columns import Signature

_SAME_SIZE = math.log(1.01)
_APART = 16
"""Kernels that lie at least between the embeddings of two forwards."""

Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]


class Device(NamedTuple):
    """What the model has to know of a device."""

    l2_bytes: int
    multiprocessors: int


@dataclass(frozen=True)
class Kernels:
    """Device activities in the order in which they ran, and what their codes stand for.

    ``rows`` has ``name`` and ``signature`` (codes into the lists), ``category`` (of ``CATEGORIES``), ``device``,
    ``step`` and ``operator``, the number of an operator's call; signature, step and operator may be null. ``prices``
    are those of signatures, as the warehouse has them. Kernels on other devices than ``devices`` take no part.
    """

    rows: pl.DataFrame
    names: Sequence[str]
    signatures: Sequence[Signature]
    prices: Mapping[int, Mapping[str, Any]]
    devices: Mapping[int, Device]


def equal_sequences(kernels: Kernels) -> list[list[Int64]]:
    """Positions of the kernels of each sequence, those of equal sequences together, in the order they first came."""
    modelled = pl.col("operator").is_not_null() & pl.col("device").is_in(list(kernels.devices))
    rows = kernels.rows.with_row_index("row").filter(modelled)
    # codes in the order of the names, which does not depend on that of the events
    code = pl.Series(kernels.names, dtype=pl.String).rank("dense").cast(pl.Int64)
    rows = rows.with_columns(name=code.gather(rows["name"]))
    signature = rows["signature"].fill_null(len(kernels.signatures))
    rows = rows.with_columns(_elements(kernels).gather(signature), _embeds(kernels).gather(signature))
    groups: dict[tuple[object, ...], list[Int64]] = {}
    for (device, step), part in rows.partition_by("device", "step", as_dict=True, maintain_order=True).items():
        names, elements, embeds, at = (part[column].to_numpy() for column in ("name", "elements", "embeds", "row"))
        for cut in _forwards(embeds) if step is None else [slice(None)]:
            size = round(math.log1p(float(elements[cut].sum())) / _SAME_SIZE)
            key = kernels.devices[device], names[cut].tobytes(), size
            groups.setdefault(key, []).append(at[cut].astype(np.int64))
    return list(groups.values())


def _elements(kernels: Kernels) -> pl.Series:
    """Elements of the inputs of each signature, and 0 for none."""
    return pl.Series("elements", [*(_count(signature[1]) for signature in kernels.signatures), 0.0])


def _embeds(kernels: Kernels) -> pl.Series:
    """Whether a signature is an embedding's; none is not."""
    return pl.Series("embeds", [*(base_name(s[0]) == "embedding" for s in kernels.signatures), False])


def _count(dims: bytes) -> float:
    try:
        return _product(msgspec.json.decode(dims)) if dims else 0.0
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return 0.0


def _product(dims: Any) -> float:
    """The sum over nested lists of the product of the sizes in them."""
    if not isinstance(dims, list) or not dims:
        return 0.0
    if all(isinstance(size, int) for size in dims):
        return math.prod(min(float(abs(size)), 1e12) for size in dims[:16])
    return sum(map(_product, dims))


def _forwards(embeds: Bools) -> list[slice]:
    """Where a sequence without steps is cut: at the first of the embeddings that a model's forward begins with."""
    positions = np.flatnonzero(embeds)
    first = positions[np.diff(positions, prepend=-_APART) >= _APART]
    bounds = np.unique([0, *first, len(embeds)]).tolist()
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def sequence_id(kernels: Kernels, rows: Int64, *versions: int) -> str:
    """Names what makes a sequence's bytes what they are: its kernels, their calls and signatures, and the device."""
    part = kernels.rows[rows]
    _, calls = np.unique(part["operator"].to_numpy(), return_inverse=True)
    signatures = [kernels.prices.get(code, {}).get("signature_id") for code in part["signature"].to_list()]
    named = (kernels.names[name] for name in part["name"].to_list())
    device = kernels.devices[part["device"][0]]
    said = [versions, device, *zip(named, signatures, part["category"].to_list(), calls.tolist(), strict=True)]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]
