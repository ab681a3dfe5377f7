"""Joins by the ids that events carry: for each row of one frame, the row of another frame with the same id."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from ridgeline.analyze.attribution.spans import ROOT, Int32


class Matches(NamedTuple):
    """For each row its matching row, ``ROOT`` where there is none; ``ambiguous`` if several target rows share keys."""

    row: Int32
    ambiguous: bool


def match_first(rows: pl.DataFrame, target: pl.DataFrame, *keys: str) -> Matches:
    """The earliest row of ``target`` by ``start_ns`` with the same ``keys``; a null key matches nothing."""
    candidates = target.select(*keys, "start_ns").with_row_index("match").drop_nulls(keys)
    if not candidates["start_ns"].is_sorted():
        candidates = candidates.sort("start_ns", "match")
    key = pl.col(keys) if len(keys) == 1 else pl.struct(keys)
    first = candidates.select(*keys, "match").filter(key.is_first_distinct())  # a quarter of the time of `unique`
    match = rows.select(keys).join(first, on=keys, how="left", maintain_order="left")["match"]
    return Matches(match.cast(pl.Int32).fill_null(ROOT).to_numpy(), len(first) < len(candidates))


def repeated(rows: pl.DataFrame, target: pl.DataFrame, *keys: str) -> pl.Series:
    """Return True for each row of ``rows`` whose ``keys`` occur in more than one row of ``target``."""
    present = target.select(keys).drop_nulls()
    twice = present.filter(present.is_duplicated()).unique().with_columns(twice=pl.lit(value=True))
    return rows.select(keys).join(twice, on=keys, how="left", maintain_order="left")["twice"].fill_null(value=False)
