"""Traces in, priced and attributed rows out: decode, attribute, price, balance the ledger, load.

The package is also the function :func:`ridgeline.analyze.ingest.analyze`: ``ridgeline.analyze(paths, warehouse)``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from ridgeline.analyze.ingest import Result


class _Stage(ModuleType):
    def __call__(self, paths: Iterable[str | Path], warehouse: str | Path, **options: Any) -> list[Result]:
        """Load every run under ``paths`` into the warehouse file; see :func:`ridgeline.analyze.ingest.analyze`."""
        from pathlib import Path

        from ridgeline.analyze.ingest import analyze

        return analyze([Path(path) for path in paths], Path(warehouse), **options)


sys.modules[__name__].__class__ = _Stage
