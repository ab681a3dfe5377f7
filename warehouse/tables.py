"""Which tables hold rows of runs."""

from __future__ import annotations

RUN_TABLES = (
    "runs",
    "devices",
    "ceilings",
    "operators",
    "steps",
    "kernels",
    "kernel_classes",
    "counters",
    "timings",
    "telemetry",
    "ledger",
    "predictions",
    "gaps",
    "hta_temporal",
    "hta_idle",
    "hta_launch",
    "hta_critical_path",
    "warnings",
)
"""Every table with rows of a run; of ``ceilings`` some belong to none."""

SHARED_TABLES = ("signatures", "sequences", "descriptions")
"""Those whose rows belong to all runs."""
