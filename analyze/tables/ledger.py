"""Rows of the table ``ledger``: the attribution account holds all device time by how its operator was found.

The price account is computed in SQL from the view that prices the kernels, so the two cannot disagree.
"""

from __future__ import annotations

from typing import Any

import polars as pl


def attribution_account(activities: pl.DataFrame) -> list[dict[str, Any]]:
    """An entry for each attribution; their ``duration_ns`` sum to the duration of all activities."""
    entries = activities.group_by("attribution").agg(kernels=pl.len(), duration_ns=pl.col("duration_ns").sum())
    entries = entries.sort("attribution").rename({"attribution": "entry"})
    return [{"account": "attribution", **entry} for entry in entries.iter_rows(named=True)]


def recording_account(activities: pl.DataFrame, broken: str | None) -> list[dict[str, Any]]:
    """All device time as ``partial`` where ``broken`` says why the trace breaks off; no entry for a whole trace."""
    if broken is None:
        return []
    duration_ns = int(activities["duration_ns"].sum())
    return [{"account": "recording", "entry": "partial", "kernels": len(activities), "duration_ns": duration_ns}]
