"""Remove runs from a warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ridgeline.warehouse.database import connect
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.load import remove
from ridgeline.warehouse.selection import resolve
from ridgeline.warehouse.transactions import transaction


def forget(path: str | Path, runs: Sequence[str]) -> list[str]:
    """Remove runs (names, ids or unique prefixes of either), all or none, and return their names and ids.

    What all runs share, such as prices, stays. Raises :class:`~ridgeline.warehouse.errors.SelectionError` for a run
    that is unknown or ambiguous, :class:`WarehouseError` if there is no such warehouse or it cannot be written.
    """
    path = Path(path)
    if not path.exists():
        raise WarehouseError(f"{path}: no such warehouse: name one with -w")
    connection = connect(path)
    try:
        run_ids = resolve(connection, runs) if runs else []
        names = connection.execute(
            "SELECT run_id, name FROM runs WHERE list_contains(?, run_id) ORDER BY name, run_id", [run_ids]
        ).fetchall()
        with transaction(connection):
            remove(connection, run_ids)
    finally:
        connection.close()
    return [f"{name} ({run_id})" for run_id, name in names]
