"""Traces in, priced and attributed rows out: decode, attribute, price, balance the ledger, load.

The package can be called, as :func:`ridgeline.analyze.ingest.analyze`: ``ridgeline.analyze(paths, warehouse)``. The
function cannot be another attribute of ``ridgeline``: importing any module of this package binds the name to it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ridgeline.analyze.ingest import Result


class _CallableModule(ModuleType):
    """A package that is also a function."""

    def __call__(self, *arguments: Any, **options: Any) -> list[Result]:
        from ridgeline.analyze.ingest import analyze

        return analyze(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
