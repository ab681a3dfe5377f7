"""Reports from a warehouse: one self-contained page, and each of its figures for notebooks.

>>> import reports
>>> reports.write("ridgeline.duckdb", "report")  # doctest: +SKIP
"""

from reports import study
from reports.errors import ReportError
from reports.figures import bandwidth, ledger, roofline, time_by_family, time_by_module, time_by_phase, time_lost
from reports.page import write

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
