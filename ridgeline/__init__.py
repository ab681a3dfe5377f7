"""What a GPU does while a program runs: FLOPs, bytes and rooflines for every kernel of a PyTorch trace.

>>> import ridgeline
>>> ridgeline.analyze(["trace.json.gz"], "ridgeline.duckdb")  # doctest: +SKIP
>>> connection = ridgeline.connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
>>> ridgeline.roofline(connection, run_id)  # doctest: +SKIP

Every name is imported with its first use, so ``import ridgeline`` takes milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ridgeline.analyze import Stage

    analyze: Stage

__version__ = "0.1.0"

IMPORT_ROOT = Path(__file__).parents[1]
"""The folder that child processes need on their path to import this package."""

_PUBLIC = {
    "connect": "warehouse.database",
    "compare": "reports.comparison.compare",
    "write": "reports.explorer.page",
    "bandwidth": "reports.figures",
    "ledger": "reports.figures",
    "roofline": "reports.figures",
    "time_by_family": "reports.figures",
    "time_by_module": "reports.figures",
    "time_by_phase": "reports.figures",
    "time_lost": "reports.figures",
}
"""Public functions, and the module of each; the package ``analyze`` is itself a function."""

__all__ = ["IMPORT_ROOT", "analyze", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "analyze":
        return import_module("ridgeline.analyze")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ridgeline.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
