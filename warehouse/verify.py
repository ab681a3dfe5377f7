"""See that a warehouse holds what was loaded: sums come out, references lead somewhere, rows are those stored.

``checks.sql`` says what must hold of any warehouse, :mod:`ridgeline.warehouse.digests` what each run's rows were.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb

from ridgeline.warehouse.database import compute, connect
from ridgeline.warehouse.digests import incomparable, mismatches
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.rollups import stale

CHECKED = ("placed_kernels", "device_timeline")
"""The views that ``checks.sql`` asks."""
SHARED = "all runs"
"""Stands for what belongs to no run in particular."""


class Verified(NamedTuple):
    """A run (or ``SHARED``) and what is wrong with it, a sentence each."""

    name: str
    findings: list[str]
    rows: int


def verify(path: str | Path) -> tuple[list[Verified], list[str]]:
    """Every run with what is wrong with it, in the order of names, and remarks on what could not be seen.

    Reads everything there is. Raises :class:`WarehouseError` if the file itself is damaged or no warehouse.
    """
    connection = connect(path, read_only=True)
    try:
        found: dict[str | None, list[str]] = {}
        for run_id, finding in _findings(connection):
            found.setdefault(run_id, []).append(finding)
        stored = connection.execute(
            "SELECT run_id, name, (SELECT COALESCE(SUM(row_count), 0) FROM digests d WHERE d.run_id = r.run_id)"
            " FROM runs r ORDER BY name, run_id"
        ).fetchall()
        other = incomparable(connection)
    except duckdb.Error as e:
        reason = str(e).splitlines()[0]
        raise WarehouseError(f"{path}: damaged: {reason}: restore a copy, or analyze into a new file") from None
    finally:
        connection.close()
    runs = [Verified(f"{name} ({run_id})", found.pop(run_id, []), int(rows)) for run_id, name, rows in stored]
    runs += [Verified(run_id or SHARED, findings, 0) for run_id, findings in found.items()]
    remark = f"{other} digests by another version of DuckDB were not compared: `ridgeline reprice` makes new ones"
    return runs, [remark] if other else []


def _findings(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str | None, str]]:
    for run_id, view in stale(connection):
        yield run_id, f"kept_{view}: not what the facts say: `ridgeline reprice` computes it anew"
    compute(connection, *CHECKED)
    for check in checks():
        yield from connection.execute(check).fetchall()
    for of in mismatches(connection):
        counts = f"{of.rows} rows" if of.rows == of.sealed_rows else f"{of.rows} rows of {of.sealed_rows}"
        yield of.run_id, f"{of.table}: not what was stored ({counts})"


def checks() -> list[str]:
    """The statements of ``checks.sql``."""
    text = Path(__file__).with_name("checks.sql").read_text()
    return [part for part in re.split(r";\s*$", text, flags=re.MULTILINE) if part.strip()]
