"""Rows of the table ``operators``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.ranks import ranks
from ridgeline.analyze.attribution.spans import ROOT, Integers
from ridgeline.analyze.pricing.stored_prices import Record
from ridgeline.analyze.reading.trace import Trace


def operator_rows(trace: Trace, parents: Integers, prices: dict[int, Record]) -> pl.DataFrame:
    """Rows of ``operators``: every operator call in the trace; ``parents`` holds the row of the call around each."""
    operators = trace.operators
    threads = ["/".join(str(part) for part in thread) for thread in trace.threads]
    signatures = [prices[code]["signature_id"] if code in prices else None for code in range(len(trace.signatures))]
    return operators.select(
        pl.int_range(pl.len(), dtype=pl.Int32).alias("operator_id"),
        pl.Series("rank", ranks(trace)[operators["thread"].to_numpy()]),
        _as_enum(threads, operators["thread"]).alias("thread"),
        pl.Series("parent_id", parents).replace(ROOT, None),
        _as_enum(trace.names, operators["name"]).alias("operator"),
        _as_enum(signatures, operators["signature"]).alias("signature_id"),
        "start_ns",
        "duration_ns",
    )


def _as_enum(names: Sequence[str | None], codes: pl.Series) -> pl.Series:
    """The name of each code, as an enumeration: millions of rows hold numbers, not texts."""
    used = codes.unique()
    texts = pl.Series(names, dtype=pl.String).gather(used)
    kinds = texts.cast(pl.Enum(texts.drop_nulls().unique().sort()))
    if not len(used):
        return kinds
    place = np.zeros(len(names), dtype=np.int32)
    place[used.to_numpy()] = np.arange(len(used), dtype=np.int32)
    return kinds.gather(place[codes.to_numpy()])
