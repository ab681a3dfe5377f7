"""Joins by the ids that events carry: for each row of one frame, the row of another frame with the same id."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.spans import ROOT, Int32


class Matches(NamedTuple):
    """For each row its matching row, ``ROOT`` where there is none; ``ambiguous`` if several target rows share keys."""

    row: Int32
    ambiguous: bool


def match_first(rows: pl.DataFrame, target: pl.DataFrame, *keys: str) -> Matches:
    """The earliest row of ``target`` by ``start_ns`` with the same ``keys``; a null key matches nothing."""
    candidates = target.select(*keys, "start_ns").with_row_index("match").drop_nulls(keys).cast({"match": pl.Int32})
    if len(keys) > 1:
        candidates = candidates.sort("start_ns", "match")
        first = candidates.select(*keys, "match").filter(pl.struct(keys).is_first_distinct())
        joined = rows.select(keys).join(first, on=keys, how="left", maintain_order="left")["match"]
        return Matches(joined.fill_null(ROOT).to_numpy(), len(first) < len(candidates))
    # Ids come nearly in order, so sorting them takes less time than hashing them.
    ids = candidates[keys[0]].to_numpy()
    order = np.lexsort((candidates["start_ns"].to_numpy(), ids))
    ids, match = ids[order], np.append(candidates["match"].to_numpy()[order], np.int32(ROOT))
    wanted = rows[keys[0]].fill_null(0).to_numpy()
    at = np.searchsorted(ids, wanted)
    found = (at < len(ids)) & (np.append(ids, 0)[at] == wanted) & rows[keys[0]].is_not_null().to_numpy()
    return Matches(np.where(found, match[at], np.int32(ROOT)), bool((ids[1:] == ids[:-1]).any()))


def repeated(rows: pl.DataFrame, target: pl.DataFrame, *keys: str) -> pl.Series:
    """Return True for each row of ``rows`` whose ``keys`` occur in more than one row of ``target``."""
    present = target.select(keys).drop_nulls()
    twice = present.filter(present.is_duplicated()).unique().with_columns(twice=pl.lit(value=True))
    return rows.select(keys).join(twice, on=keys, how="left", maintain_order="left")["twice"].fill_null(value=False)
