"""Compare runs of a warehouse or a lake, and paths of traces, which are analyzed into a warehouse that is not kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, overload

from ridgeline.reports.comparison.compare import Comparison, compare_runs
from ridgeline.reports.comparison.sides import Selected, is_path, select
from ridgeline.reports.errors import ReportError

if TYPE_CHECKING:
    import duckdb

    from ridgeline.analyze.ingest import Result


@contextmanager
def stored(
    base: str, other: str, *, file: Path | None, default: Path, lake: str | None
) -> Iterator[duckdb.DuckDBPyConnection | None]:
    """Yield a connection to the lake, to the warehouse ``file``, or else to ``default`` if a side is no path.

    Yields None if there is no default and both sides may be paths.

    Raises :class:`~ridgeline.warehouse.errors.WarehouseError` if a lake or warehouse cannot be opened.
    """
    if file is None and lake is None and (not default.exists() or (is_path(base) and is_path(other))):
        yield None
        return
    if lake:
        from ridgeline.warehouse.lake.reading import open_lake

        connection = open_lake(lake)
    else:
        from ridgeline.warehouse import connect

        connection = connect(file or default, read_only=True)
    with closing(connection):
        yield connection


@contextmanager
def compared(
    base: str,
    other: str,
    connection: duckdb.DuckDBPyConnection | None,
    *,
    report: Callable[[Result], None] = lambda _: None,
    memory: int | None = None,
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Comparison]]:
    """Yield the comparison of two sides and the connection that holds their runs.

    A side is what :func:`~ridgeline.reports.comparison.sides.select` reads. ``report`` and ``memory`` are those of
    :func:`ridgeline.analyze.ingest.analyze`. Raises :class:`~ridgeline.errors.RidgelineError`.
    """
    sides = select(connection, base), select(connection, other)
    if connection and not any(side.paths for side in sides):
        yield connection, compare_runs(connection, sides[0].run_ids, sides[1].run_ids)
        return
    from ridgeline.warehouse import connect

    with TemporaryDirectory(prefix="ridgeline-") as folder:
        file = Path(folder) / "compared.duckdb"
        run_ids = _load(file, connection, sides, report, memory)
        with closing(connect(file, read_only=True)) as both:
            paths = (base if sides[0].paths else "", other if sides[1].paths else "")
            yield both, compare_runs(both, run_ids[0], run_ids[1], paths)


def _load(
    file: Path,
    connection: duckdb.DuckDBPyConnection | None,
    sides: tuple[Selected, Selected],
    report: Callable[[Result], None],
    memory: int | None,
) -> list[list[str]]:
    """Copy the stored runs of both sides into a new warehouse, analyze their paths; return the run ids of each side."""
    from ridgeline.analyze.ingest import analyze
    from ridgeline.warehouse import connect
    from ridgeline.warehouse.load import copy_runs

    with closing(connect(file)) as target:
        if connection:
            copy_runs(connection, target, list(dict.fromkeys([*sides[0].run_ids, *sides[1].run_ids])))
    run_ids = []
    for side in sides:
        found = list(side.run_ids)
        if side.paths:
            results = analyze(side.paths, file, jobs=os.cpu_count() or 1, report=report, memory=memory)
            found += [result.run_id for result in results if result.run_id]
            if not found:
                raise ReportError(f"{side.paths[0]}: no run could be analyzed: nothing to compare")
        run_ids.append(list(dict.fromkeys(found)))
    return run_ids


@overload
def compare(connection: duckdb.DuckDBPyConnection, base: str, other: str, /) -> Comparison: ...
@overload
def compare(base: str | Path, other: str | Path, /) -> Comparison: ...
def compare(*arguments: Any) -> Comparison:
    """Compare two sides, ``compare(BASE, OTHER)`` for paths, or ``compare(connection, BASE, OTHER)``.

    A side is a stored run of the connection, or several (:func:`~ridgeline.reports.comparison.sides.select`), or a path
    of a trace, a run directory or a folder of them, which is analyzed and not stored. The rows of the comparison are
    those of ``ridgeline compare --format json``; its times are in nanoseconds.

    Raises :class:`~ridgeline.errors.RidgelineError`.
    """
    connection, base, other = arguments if len(arguments) == 3 else (None, *arguments)
    with compared(str(base), str(other), connection) as (_, found):
        return found
