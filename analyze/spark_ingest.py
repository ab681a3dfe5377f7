"""Ingest a list of traces into a lake with Apache Spark, one trace a task.

A task does on its executor what ``ridgeline analyze PATH --lake LAKE`` does, and writes files of its own: one that is
run again, because its executor died, finds its run in the lake or writes it. Every executor needs Ridgeline installed,
and traces and lake by the same path or URL.

    python -m ridgeline.analyze.spark_ingest LAKE TRACE... [-f LIST] [--master URL]
    spark-submit analyze/spark_ingest.py LAKE -f LIST
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import SparkSession

    from ridgeline.analyze.ingest import Result
    from ridgeline.analyze.pricing.pricer import Pricer


class Ingested(NamedTuple):
    """What became of a run, or of a path that holds none."""

    trace: str
    """The path as it was given."""
    name: str
    outcome: str
    """loaded, replaced, unchanged or failed."""
    run_id: str | None
    kernels: int
    device_time_ns: int
    error: str | None
    """One line, of a failed one."""


def ingest(session: SparkSession, traces: Sequence[str], lake: str) -> list[Ingested]:
    """Load every trace, run directory or folder into the lake, each path a task; a row for each run found.

    A trace that cannot be loaded is a row of its own and keeps no other from being loaded.
    """
    from ridgeline.analyze.spark_ingest import (
        task,  # by its name, which executors know: this module may be __main__ here
    )

    if not traces:
        return []
    paths = session.sparkContext.parallelize(traces, len(traces))
    rows: list[Ingested] = paths.flatMap(lambda path: list(task(path, lake))).collect()
    return rows


def task(trace: str, lake: str) -> Iterator[Ingested]:
    """Load what is at one path, in this process. Raises ``WarehouseError`` if there is no reading the lake."""
    from ridgeline.analyze.companions.discovery import discover
    from ridgeline.analyze.ingest import Result, load_source

    sources, errors = discover([Path(trace)])
    for error in errors:
        yield _row(trace, Result(trace, "failed", error=error))
    for source in sources:
        yield _row(trace, load_source(_scratch(), source, lake, _pricer()))


@cache
def _scratch() -> duckdb.DuckDBPyConnection:
    """A warehouse in memory by which runs pass: what this process has priced it does not price again."""
    from ridgeline.warehouse import connect

    return connect(":memory:")


@cache
def _pricer() -> Pricer:
    """Its child, once there was something to price, stays as long as this process does."""
    from ridgeline.analyze.pricing.pricer import Pricer

    return Pricer()


def _row(trace: str, result: Result) -> Ingested:
    error = " ".join(str(result.error).split()) if result.error else None
    return Ingested(trace, result.name, result.outcome, result.run_id, result.kernels, result.device_time_ns, error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; 0 if every trace is in the lake, 1 if some are not."""
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
    return _report(_run(traces, parsed.lake, parsed.master))


def _run(traces: Sequence[str], lake: str, master: str | None) -> list[Ingested]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("ridgeline ingest")
    builder = builder.config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    session = (builder.master(master) if master else builder).getOrCreate()
    try:
        return ingest(session, traces, lake)
    finally:
        session.stop()


def _report(rows: Iterable[Ingested]) -> int:
    """A line a run on stderr, as `ridgeline analyze` says it."""
    failed = 0
    for row in rows:
        failed += row.outcome == "failed"
        said = row.error or f"{row.name}: {row.outcome}, {row.kernels:,} kernels"
        print(f"ridgeline: {said}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
