"""What HolisticTraceAnalysis says of a trace, beside what we say: on request, since it takes far longer than ingest.

It runs in a process of its own with a limit on its time: it raises on many traces, prints, warns, and needs memory of
many times the trace's size. Whatever becomes of it, the run is loaded; what failed is a row of ``warnings``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Any

from ridgeline import IMPORT_ROOT
from ridgeline.analyze.resources.memory_limit import in_words
from ridgeline.analyze.resources.memory_watch import INTERVAL_S, Held

if TYPE_CHECKING:
    import duckdb

LIMIT_S = 900
"""How long all its analyses of a trace may take; those done by then are kept."""
SOURCE = "hta"
TABLES = {
    "temporal": "hta_temporal",
    "idle": "hta_idle",
    "launch": "hta_launch",
    "critical_path": "hta_critical_path",
}


@dataclass
class Findings:
    """Rows by table, without run and rank, and what failed, a line each."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def examine(trace: Path, limit_s: float = LIMIT_S, most_bytes: int | None = None) -> Findings:
    """Run HTA's temporal, idle, launch and critical-path analyses over a trace; raises nothing that HTA causes.

    With ``most_bytes`` it is stopped when it holds more memory.
    """
    command = [sys.executable, "-P", "-m", "ridgeline.analyze.hta.process", str(trace)]
    environment = {
        **os.environ,
        "HTA_DISABLE_NS_ROUNDING": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(IMPORT_ROOT), os.environ.get("PYTHONPATH")])),
    }
    with tempfile.TemporaryFile("w+") as answers:
        try:
            code = _run(command, environment, answers, limit_s, most_bytes)
            end = f"ended with exit code {code}" if code else ""
        except subprocess.TimeoutExpired:
            end = f"stopped at its limit of {limit_s:g} seconds"
        except MemoryError:
            end = f"stopped at {in_words(most_bytes or 0)} of memory: try a larger --memory"
        answers.seek(0)
        return _findings(answers.read().splitlines(), end)


def _run(
    command: list[str], environment: dict[str, str], answers: IO[str], limit_s: float, most_bytes: int | None
) -> int:
    """The exit code of a child that ends, with all it started, when its time is up or this process ends.

    Raises ``TimeoutExpired`` and ``MemoryError`` for one that is ended at a limit.
    """
    with (
        _held_pipe() as stdin,
        subprocess.Popen(
            command,
            stdin=stdin,
            stdout=answers,
            stderr=subprocess.DEVNULL,
            env=environment,
            process_group=0,  # of its own: Ctrl-C is ours to handle
        ) as process,
    ):
        try:
            return _wait(process, limit_s, most_bytes)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def _wait(process: subprocess.Popen[bytes], limit_s: float, most_bytes: int | None) -> int:
    if most_bytes is None:
        return process.wait(limit_s)
    held, latest_s = Held(process.pid), monotonic() + limit_s
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(INTERVAL_S)
        if held.bytes() > most_bytes:
            raise MemoryError
        if monotonic() > latest_s:
            raise subprocess.TimeoutExpired(process.args, limit_s)


@contextmanager
def _held_pipe() -> Iterator[int]:
    """A pipe that says nothing, and ends when this process does, however it does."""
    read, write = os.pipe()
    try:
        yield read
    finally:
        os.close(read)
        os.close(write)


def _findings(lines: list[str], end: str) -> Findings:
    """What was answered; ``end`` says how the process ended, if not well."""
    findings, pending = Findings(), "load"
    for line in lines:
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:  # cut off as it was written
            break
        if "begin" in answer:
            pending = answer["begin"]
        elif "rows" in answer:
            findings.rows[TABLES[pending]] = answer["rows"]
            pending = ""
        else:
            findings.warnings.append(f"{pending}: {answer['error']}")
            pending = ""
    if pending or end:
        findings.warnings.append(f"{pending}: {end or 'ended without an answer'}".removeprefix(": "))
    return findings


def is_examined(connection: duckdb.DuckDBPyConnection, run_id: str) -> bool:
    """Whether the warehouse has HTA's findings of a run, or that it failed."""
    return any(
        connection.execute(f"SELECT 1 FROM {table} WHERE run_id = ? LIMIT 1", [run_id]).fetchall()
        for table in (*TABLES.values(), f"(SELECT run_id FROM warnings WHERE source = '{SOURCE}')")
    )


def store(connection: duckdb.DuckDBPyConnection, run_id: str, findings: Findings) -> None:
    """Put findings in place of those the warehouse has of a loaded run, all or nothing."""
    import polars as pl

    from ridgeline.warehouse.digests import seal
    from ridgeline.warehouse.load import insert
    from ridgeline.warehouse.transactions import transaction

    ((rank,),) = connection.execute("SELECT rank FROM runs WHERE run_id = ?", [run_id]).fetchall()
    with transaction(connection):
        for table in TABLES.values():
            connection.execute(f"DELETE FROM {table} WHERE run_id = ?", [run_id])
            rows = pl.DataFrame(findings.rows.get(table, []), infer_schema_length=None)
            insert(connection, table, rows.with_columns(rank=pl.lit(rank, dtype=pl.Int64)), run_id)
        connection.execute("DELETE FROM warnings WHERE run_id = ? AND source = ?", [run_id, SOURCE])
        lines = pl.DataFrame({"source": [SOURCE] * len(findings.warnings), "message": findings.warnings})
        insert(connection, "warnings", lines, run_id)
        seal(connection, [run_id])
