"""Check that a warehouse holds what was loaded: sums agree, references resolve, rows are those that were stored.

``checks.sql`` has what must hold of any warehouse.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import duckdb

from ridgeline.warehouse.database import connect
from ridgeline.warehouse.digests import PROBE, digests_query
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.rollups import stale
from ridgeline.warehouse.views import bypass_rollups

CHECKED = ("placed_kernels", "device_timeline")
"""The views that ``checks.sql`` reads."""
SHARED = "all runs"
"""Stands for a run's name where rows belong to no single run."""


class Verified(NamedTuple):
    """A run (or ``SHARED``), the sentences that say what is wrong with it, and its number of rows."""

    name: str
    findings: list[str]
    rows: int


def verify(path: str | Path) -> tuple[list[Verified], list[str]]:
    """Return every run of the warehouse in the order of names, and remarks on what could not be checked.

    Reads every block of the file. Raises :class:`WarehouseError` if the file is damaged or not a warehouse.
    """
    connection = connect(path, read_only=True)
    findings: dict[str | None, list[str]] = {}
    try:
        # The rollups first: from bypass_rollups on, the views no longer read them.
        for run_id, view in stale(connection):
            findings.setdefault(run_id, []).append(
                f"kept_{view}: differs from what the facts give: `ridgeline reprice` computes it again"
            )
        bypass_rollups(connection, *CHECKED)
        # The last check of checks.sql reads these two.
        connection.execute(f"CREATE TEMP TABLE current_digests AS {digests_query()}")
        connection.execute(f"CREATE TEMP TABLE stored_digests AS SELECT *, probe = {PROBE} AS comparable FROM digests")
        for check in checks():
            for run_id, finding in connection.execute(check).fetchall():
                findings.setdefault(run_id, []).append(finding)
        stored = connection.execute(
            "SELECT run_id, name, (SELECT COALESCE(SUM(row_count), 0) FROM digests d WHERE d.run_id = r.run_id)"
            " FROM runs r ORDER BY name, run_id"
        ).fetchall()
        ((incomparable,),) = connection.execute("SELECT count(*) FROM stored_digests WHERE NOT comparable").fetchall()
    except duckdb.Error as e:
        reason = str(e).splitlines()[0]
        raise WarehouseError(f"{path}: damaged: {reason}: restore a copy, or analyze into a new file") from None
    finally:
        connection.close()
    runs = [Verified(f"{name} ({run_id})", findings.pop(run_id, []), int(rows)) for run_id, name, rows in stored]
    # What is left belongs to no run of the table `runs`: to all of them, or to a run that is missing.
    runs += [Verified(run_id or SHARED, sentences, 0) for run_id, sentences in findings.items()]
    remark = (
        f"{incomparable} digests by another version of DuckDB were not compared: `ridgeline reprice` makes new ones"
    )
    return runs, [remark] if incomparable else []


def checks() -> list[str]:
    """Return the statements of ``checks.sql``."""
    text = Path(__file__).with_name("checks.sql").read_text()
    return [part for part in re.split(r";\s*$", text, flags=re.MULTILINE) if part.strip()]
