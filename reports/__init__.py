"""Reports from a warehouse: one self-contained page, and each of its figures for notebooks.

>>> import ridgeline
>>> ridgeline.write("ridgeline.duckdb", "report")  # doctest: +SKIP
"""

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
from ridgeline.reports.study import figures as study

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
