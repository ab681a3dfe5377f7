"""HolisticTraceAnalysis over a trace, as tables beside ours; only on request, since it takes far longer than ingest.

HTA runs in a child process with limits of time and memory: it raises on many traces, prints, and needs memory of many
times the trace's size. The run is loaded whatever HTA does; each analysis that failed is a row of ``warnings``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec

from ridgeline.analyze.errors import AnalyzeError
from ridgeline.analyze.resources.limits import in_words
from ridgeline.analyze.resources.memory_watch import INTERVAL_S, Held
from ridgeline.child_process import Child, ChildEnded
from ridgeline.errors import needed

if TYPE_CHECKING:
    import duckdb

LIMIT_S = 900
"""Time limit for all analyses of a trace; those completed by then are kept."""
PROGRAM = "from ridgeline.analyze.hta.process import main; main()"
SOURCE = "hta"
TABLES = {analysis: f"hta_{analysis}" for analysis in ("temporal", "idle", "launch", "critical_path")}
Message = tuple[str, Any]
"""``("begin", analysis)``, ``("rows", rows)`` or ``("error", message)``."""


class Findings(msgspec.Struct):
    """Rows by table, without run and rank, and a line for each analysis that failed."""

    rows: dict[str, list[dict[str, Any]]] = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)


def check_installed() -> None:
    """Raises ``AnalyzeError`` if HTA is not installed: its warnings in the warehouse would count as its answer."""
    if find_spec("hta") is None:
        absent = ModuleNotFoundError("No module named 'hta'", name="hta")
        raise AnalyzeError(f"--hta {needed(absent)}")


def examine(trace: Path, limit_s: float = LIMIT_S, most_bytes: int | None = None) -> Findings:
    """Run HTA's temporal, idle, launch and critical-path analyses over a trace; raises no error of HTA's.

    HTA is killed after ``limit_s`` seconds, or when it holds more than ``most_bytes`` of memory.
    """

    def messages() -> Iterator[Message]:
        child.send(trace)
        held, latest_s = Held(child.pid), monotonic() + limit_s
        while True:
            # look at memory between messages, since HTA may take all of it within one analysis
            while not child.poll(INTERVAL_S):
                if most_bytes is not None and held.bytes() > most_bytes:
                    raise ChildEnded(f"stopped at {in_words(most_bytes)} of memory: try a larger --memory")
                if monotonic() > latest_s:
                    raise ChildEnded(f"stopped at its limit of {limit_s:g} seconds")
            yield child.receive()

    # HTA reads this variable at import; without it, times are rounded to whole microseconds
    with Child(PROGRAM, {"HTA_DISABLE_NS_ROUNDING": "1"}) as child:
        return _collect(messages())


def _collect(messages: Iterable[Message]) -> Findings:
    """Return the rows and errors among the messages; the analysis under way when they end is a warning."""
    findings, pending, end = Findings(), "load", ""
    try:
        for kind, value in messages:
            if kind == "begin":
                pending = value
                continue
            if kind == "rows":
                findings.rows[TABLES[pending]] = value
            else:
                findings.warnings.append(f"{pending}: {value}")
            pending = ""
    except ChildEnded as e:
        end = "" if e.exit_code == 0 else str(e)
    if pending or end:
        findings.warnings.append(f"{pending}: {end or 'ended without an answer'}".removeprefix(": "))
    return findings


def is_examined(connection: duckdb.DuckDBPyConnection, run_id: str) -> bool:
    """Return True if the warehouse has HTA's rows, or its warnings, for a run."""
    return any(
        connection.execute(f"SELECT 1 FROM {table} WHERE run_id = ? LIMIT 1", [run_id]).fetchall()
        for table in (*TABLES.values(), f"(SELECT run_id FROM warnings WHERE source = '{SOURCE}')")
    )


def store(connection: duckdb.DuckDBPyConnection, run_id: str, findings: Findings) -> None:
    """Replace HTA's rows and warnings of a loaded run with ``findings``, in one transaction."""
    from ridgeline.warehouse.database import transaction
    from ridgeline.warehouse.digests import store_digests
    from ridgeline.warehouse.insertion import insert

    ((rank,),) = connection.execute("SELECT rank FROM runs WHERE run_id = ?", [run_id]).fetchall()
    with transaction(connection):
        for table in TABLES.values():
            connection.execute(f"DELETE FROM {table} WHERE run_id = ?", [run_id])
            rows = [row | {"rank": rank} for row in findings.rows.get(table, [])]
            insert(connection, table, rows, run_id)
        connection.execute("DELETE FROM warnings WHERE run_id = ? AND source = ?", [run_id, SOURCE])
        insert(connection, "warnings", [{"source": SOURCE, "message": line} for line in findings.warnings], run_id)
        store_digests(connection, [run_id])
