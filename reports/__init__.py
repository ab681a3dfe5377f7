"""Self-contained HTML pages about the runs of a warehouse, and each figure alone for notebooks.

>>> from ridgeline import reports
>>> reports.write("ridgeline.duckdb", "report")  # doctest: +SKIP
"""

from ridgeline.reports import study
from ridgeline.reports.errors import ReportError
from ridgeline.reports.explorer.page import write
from ridgeline.reports.figures import (
    bandwidth,
    ledger,
    roofline,
    time_by_family,
    time_by_module,
    time_by_phase,
    time_lost,
)

__all__ = [
    "ReportError",
    "bandwidth",
    "ledger",
    "roofline",
    "study",
    "time_by_family",
    "time_by_module",
    "time_by_phase",
    "time_lost",
    "write",
]
