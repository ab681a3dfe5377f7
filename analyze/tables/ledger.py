"""The ledger's attribution account: every nanosecond of device time under how it found its operator.

The price account is closed in SQL from the same view that prices the kernels, so the two cannot disagree.
"""

from __future__ import annotations

from typing import Any

import polars as pl


def attribution_account(activities: pl.DataFrame) -> list[dict[str, Any]]:
    """Entries whose ``duration_ns`` sum to that of the activities."""
    entries = (
        activities.group_by("attribution")
        .agg(kernels=pl.len(), duration_ns=pl.col("duration_ns").sum())
        .sort("attribution")
    )
    return [
        {"account": "attribution", "entry": entry, "kernels": kernels, "duration_ns": duration_ns}
        for entry, kernels, duration_ns in entries.iter_rows()
    ]


def recording_account(activities: pl.DataFrame, broken: str | None) -> list[dict[str, Any]]:
    """Of a run whose trace breaks off, all of its device time as ``partial``; a whole run has no such account."""
    if broken is None:
        return []
    duration_ns = int(activities["duration_ns"].sum())
    return [{"account": "recording", "entry": "partial", "kernels": len(activities), "duration_ns": duration_ns}]
