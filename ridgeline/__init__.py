"""What a GPU does while a program runs: FLOPs, bytes and rooflines for every kernel of a PyTorch trace.

>>> import ridgeline
>>> ridgeline.analyze(["trace.json.gz"], "ridgeline.duckdb")  # doctest: +SKIP
>>> connection = ridgeline.connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
>>> connection.sql("SELECT operator, duration_ns FROM operator_summary")  # doctest: +SKIP
>>> ridgeline.roofline(connection, "trace")  # doctest: +SKIP

Each name is imported when it is first used, so ``import ridgeline`` takes milliseconds and loads no library.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ridgeline.analyze.ingest import analyze
    from ridgeline.capture.recording import record
    from ridgeline.comparing import compare
    from ridgeline.errors import RidgelineError
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
    from ridgeline.warehouse.database import connect

__version__ = "0.1.0"

IMPORT_ROOT = Path(__file__).parents[1]
"""The folder that child processes need on their path to import this package."""

_MODULES = {
    "RidgelineError": "ridgeline.errors",
    "connect": "ridgeline.warehouse.database",
    "compare": "ridgeline.comparing",
    "record": "ridgeline.capture.recording",
    "write": "ridgeline.reports.explorer.page",
    **dict.fromkeys(
        ("bandwidth", "ledger", "roofline", "time_by_family", "time_by_module", "time_by_phase", "time_lost"),
        "ridgeline.reports.figures",
    ),
}
"""The module of each public function. ``analyze`` is missing: the package of that name is itself a function."""

__all__ = [
    "IMPORT_ROOT",
    "RidgelineError",
    "analyze",
    "bandwidth",
    "compare",
    "connect",
    "ledger",
    "record",
    "roofline",
    "time_by_family",
    "time_by_module",
    "time_by_phase",
    "time_lost",
    "write",
]


if not TYPE_CHECKING:  # to a type checker, a module with __getattr__ has every name

    def __getattr__(name: str) -> Any:
        if name == "analyze":
            # importing any of its modules binds the package to this name, so the package itself is callable
            return import_module("ridgeline.analyze")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
