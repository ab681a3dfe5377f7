"""The tables that hold facts: those with rows of one run, and those whose rows all runs share."""

from __future__ import annotations

RUN_TABLES = (
    "runs",
    "devices",
    "ceilings",
    "operators",
    "steps",
    "kernels",
    "kernel_classes",
    "modules",
    "stacks",
    "counters",
    "memory",
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
"""Tables with a ``run_id``. In ``ceilings`` it is NULL for datasheets."""

SHARED_TABLES = ("signatures", "sequences", "descriptions")
"""Tables without a ``run_id``."""
