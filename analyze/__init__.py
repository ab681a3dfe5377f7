"""Traces in, priced and attributed rows out: decode, attribute, price, balance the ledger, load.

The package can be called, as :func:`ridgeline.analyze.ingest.analyze`: ``ridgeline.analyze(paths, warehouse)``. The
function cannot be another attribute of ``ridgeline``: importing any module of this package binds the name to it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ridgeline.analyze.ingest import analyze


class Stage(ModuleType):
    """A package that is also a function."""

    if TYPE_CHECKING:
        __call__ = staticmethod(analyze)
    else:

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            """Load every run under ``paths`` into a warehouse file."""
            from ridgeline.analyze.ingest import analyze

            return analyze(*arguments, **options)


sys.modules[__name__].__class__ = Stage
