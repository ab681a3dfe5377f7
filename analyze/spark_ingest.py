"""Ingest a list of traces into a lake with Apache Spark, one trace a task.

A task does on its executor what ``ridgeline analyze PATH --lake LAKE`` does, and writes its own files. A task that is
repeated because its executor died finds its run in the lake or writes it. Every executor needs Ridgeline installed, and
the same paths or URLs for traces and lake.

    python -m ridgeline.analyze.spark_ingest LAKE TRACE... [-f LIST] [--master URL]
    spark-submit analyze/spark_ingest.py LAKE -f LIST
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ridgeline.errors import needed

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import SparkSession

    from ridgeline.analyze.pricing.pricer import Pricer


class Ingested(NamedTuple):
    """The outcome of a run, or of a path without one."""

    trace: str
    """The path of the task."""
    name: str
    outcome: str
    """loaded, replaced, unchanged or failed."""
    run_id: str | None
    kernels: int
    device_time_ns: int
    error: str | None
    """One line, if it failed."""


def ingest(session: SparkSession, traces: Sequence[str], lake: str) -> list[Ingested]:
    """Load every trace, run directory or folder into the lake, each path as a task; return a row for each run.

    If a trace cannot be loaded, its row has the error and the others are still loaded.
    """
    # executors import the task by its module's name, which is not __main__ there
    from ridgeline.analyze.spark_ingest import task

    if not traces:
        return []
    paths = session.sparkContext.parallelize(traces, len(traces))
    rows: list[Ingested] = paths.flatMap(lambda path: list(task(path, lake))).collect()
    return rows


def task(trace: str, lake: str) -> Iterator[Ingested]:
    """Load the runs at one path, in this process. Raises ``WarehouseError`` if the lake cannot be read."""
    from ridgeline.analyze.companions.discovery import discover
    from ridgeline.analyze.companions.identity import identify_on_disk
    from ridgeline.analyze.ingest import Options, Result, load
    from ridgeline.analyze.resources.limits import Limits
    from ridgeline.analyze.sinks import LakeSink

    sources, errors = discover([Path(trace)])
    results = [Result(trace, "failed", error=error) for error in errors]
    for source in sources:
        options = Options(Limits.of())
        identity = identify_on_disk(source)
        # a task looks up its own run alone: the lake may hold many
        sink = LakeSink(lake, options.limits, _memory_warehouse(), identity.run_id if identity else None)
        results += load([source], sink, _pricer(), options)
    for result in results:
        error = " ".join(str(result.error).split()) if result.error else None
        yield Ingested(trace, result.name, result.outcome, result.run_id, result.kernels, result.device_time_ns, error)


@cache
def _memory_warehouse() -> duckdb.DuckDBPyConnection:
    """Return this process's warehouse in memory, which keeps the prices of earlier tasks."""
    from ridgeline.warehouse import connect

    return connect(":memory:")


@cache
def _pricer() -> Pricer:
    """Return this process's pricer; once started, its child lasts as long as this process."""
    from ridgeline.analyze.pricing.pricer import Pricer

    return Pricer()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; return 0 if every trace is in the lake, else 1."""
    parser = argparse.ArgumentParser(prog="spark_ingest", description="Ingest traces into a lake, one a Spark task.")
    parser.add_argument("lake", help="a folder or a URL that driver and executors share")
    parser.add_argument("traces", nargs="*", metavar="TRACE", help="traces, run directories or folders")
    parser.add_argument("-f", "--file", type=Path, help="a list of them, one a line")
    parser.add_argument("--master", help="Spark's master, where spark-submit does not say it")
    parsed = parser.parse_args(arguments)
    listed = parsed.file.read_text().splitlines() if parsed.file else []
    traces = [*parsed.traces, *(line for line in map(str.strip, listed) if line)]
    if not traces:
        parser.error("expected traces, or -f LIST with some")
    try:
        from pyspark.sql import SparkSession
    except ImportError as e:
        sys.exit(f"ridgeline: this program {needed(e)}")

    builder = SparkSession.builder.appName("ridgeline ingest")
    builder = builder.config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    session = (builder.master(parsed.master) if parsed.master else builder).getOrCreate()
    try:
        rows = ingest(session, traces, parsed.lake)
    finally:
        session.stop()
    for row in rows:  # as `ridgeline analyze` reports them
        message = row.error or f"{row.name}: {row.outcome}, {row.kernels:,} kernels"
        print(f"ridgeline: {message}", file=sys.stderr)
    return 1 if any(row.outcome == "failed" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
