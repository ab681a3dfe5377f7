"""Rows found by the identifiers that events carry: which row of one frame has the same as each row of another."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from ridgeline.analyze.attribution.spans import ROOT, Int32


class Found(NamedTuple):
    """For each row the row that was found, ``ROOT`` where there is none, and whether any other could have been."""

    row: Int32
    several: bool


def find(rows: pl.DataFrame, target: pl.DataFrame, *keys: str) -> Found:
    """The row of ``target`` with the same ``keys``, the earliest one if several share them; nulls are like none."""
    known = target.select(*keys, "start_ns").with_row_index("found").drop_nulls(keys)
    if not known["start_ns"].is_sorted():
        known = known.sort("start_ns", "found")
    first = known.select(*keys, "found").unique(keys, keep="first", maintain_order=True)
    found = rows.select(keys).join(first, on=keys, how="left", maintain_order="left")["found"]
    return Found(found.cast(pl.Int32).fill_null(ROOT).to_numpy(), len(first) < len(known))


def repeated(rows: pl.DataFrame, target: pl.DataFrame, *keys: str) -> pl.Series:
    """Whether several rows of ``target`` have the keys of each row."""
    known = target.select(keys).drop_nulls()
    twice = known.filter(known.is_duplicated()).unique().with_columns(twice=pl.lit(value=True))
    return rows.select(keys).join(twice, on=keys, how="left", maintain_order="left")["twice"].fill_null(value=False)
