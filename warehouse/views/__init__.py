"""The views: ``.sql`` files that build on each other in the order of their names, and ways to create them.

A view named in ``rollups.KEPT`` becomes two: ``defined_NAME`` computes its rows from the facts, and ``NAME`` reads the
rows of the table ``kept_NAME``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import duckdb

from ridgeline.warehouse.rollups import KEPT

FOLDER = Path(__file__).parent


@cache
def view_files() -> tuple[Path, ...]:
    """Return the ``.sql`` files, each after those it builds on."""
    return tuple(sorted(FOLDER.glob("*.sql")))


@cache
def definitions() -> tuple[tuple[str, str], ...]:
    """Return the name and the CREATE statement of each view as its file has it, each after those it reads."""
    pairs = []
    for file in view_files():
        # Split before each CREATE: a comment above a view stays with the statement before, where it does no harm.
        for statement in re.split(r"(?=^CREATE OR REPLACE VIEW )", file.read_text(), flags=re.MULTILINE):
            if match := re.match(r"CREATE OR REPLACE VIEW (\w+)", statement):
                pairs.append((match[1], statement))
    return tuple(pairs)


@cache
def statements() -> tuple[tuple[str, str], ...]:
    """Return the name and the CREATE statement of each view of a warehouse file, each after those it reads."""
    pairs = []
    for name, statement in definitions():
        if name in KEPT:
            pairs.append((f"defined_{name}", statement.replace(f"VIEW {name} AS", f"VIEW defined_{name} AS", 1)))
            pairs.append((name, f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM kept_{name}"))
        else:
            pairs.append((name, statement))
    return tuple(pairs)


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Create or replace every view, and create the tables of kept rows that are missing, empty."""
    for name, statement in statements():
        if name in KEPT:
            connection.execute(f"CREATE TABLE IF NOT EXISTS kept_{name} AS SELECT * FROM defined_{name} LIMIT 0")
        connection.execute(statement)


def add_missing_views(connection: duckdb.DuckDBPyConnection, *, temporary: bool) -> None:
    """Create the views that this version has and the file lacks, for as long as the connection if ``temporary``."""
    present = {name for (name,) in connection.execute("SELECT view_name FROM duckdb_views()").fetchall()}
    for name, statement in statements():
        if name not in present:
            connection.execute(as_temporary(statement) if temporary else statement)


def materialize(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Evaluate the views ``names`` once and keep their rows for as long as the connection lasts.

    Views that read them read the kept rows too. For many questions to a warehouse that does not change meanwhile.
    """
    for name, _ in definitions():
        if name in names:
            connection.execute(f"CREATE TEMP TABLE held_{name} AS SELECT * FROM {name}")
            # DuckDB looks up the names in a view's query when the view is used, temporary views first.
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM held_{name}")


def bypass_rollups(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Let the views ``names`` compute their rows from the facts alone for as long as the connection lasts.

    By the definitions of this version, whatever those in the file.
    """
    needed = set(names)
    for name, statement in reversed(definitions()):
        if name in needed:
            needed.update(re.findall(r"\w+", statement))  # the views that it reads, and other words
    for name, statement in definitions():
        if name in needed:
            connection.execute(as_temporary(statement))


def as_temporary(statement: str) -> str:
    """Return the CREATE statement of a view as one for a temporary view."""
    return statement.replace("CREATE OR REPLACE VIEW", "CREATE OR REPLACE TEMP VIEW", 1)
