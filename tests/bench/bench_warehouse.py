"""A warehouse of millions of kernels: how fast runs load, what a kernel takes on disk, and how soon each view answers.

    python -m tests.bench.bench_warehouse                     ten million kernels in runs of 100,000
    python -m tests.bench.bench_warehouse --rows 1000000 --keep million.duckdb --json results.json

Runs are made in memory, in the proportions of captured ones (made_runs.py), and loaded one by one as `ridgeline
analyze` does: the time is of loading alone, with the account of prices, rollups and each run's commit. Views are asked
whole and for one run, views of single kernels for one run alone: the median of three, each from a fresh read-only
connection as `ridgeline sql` opens it, until the rows are there, as columns in memory. Seconds of CPU stand beside
those on the clock, for a machine that has other work.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb

from ridgeline.warehouse import connect
from ridgeline.warehouse.load import load
from tests.bench import made_runs

KERNEL_VIEWS = {"kernel_counters", "placed_kernels", "kernel_roofline", "padding", "coverage", "launch_queue"}
"""A row of these is a kernel."""


@dataclass(frozen=True)
class Loaded:
    runs: int
    kernels: int
    rows: int
    """Of all tables, kernels among them."""
    seconds: float
    cpu_seconds: float
    bytes: int


class Seconds(NamedTuple):
    clock: float
    cpu: float


@dataclass(frozen=True)
class Latency:
    view: str
    rows: int
    """In the whole view; of a view of kernels, for one run."""
    whole: Seconds | None
    one_run: Seconds


@dataclass
class Clock:
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), _cpu_seconds()
        yield
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def fill(path: Path, kernels: int, per_run: int) -> Loaded:
    """Load made runs until there are that many kernels."""
    clock, rows, count = Clock(), 0, -(-kernels // per_run)
    connection = connect(path)
    for run in made_runs.runs(count, per_run):
        rows += sum(map(len, run.frames.values())) + sum(map(len, run.records.values()))
        with clock.running():
            load(connection, run)
    with clock.running():
        connection.close()
    return Loaded(count, count * per_run, rows, clock.seconds, clock.cpu_seconds, path.stat().st_size)


def latencies(path: Path, only: str = "") -> Iterator[Latency]:
    """Of every view whose name begins so."""
    connection = connect(path, read_only=True)
    views = [
        row[0]
        for row in connection.execute("SELECT DISTINCT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    ]
    ((run_id,),) = connection.execute("SELECT max(run_id) FROM runs").fetchall()
    connection.close()
    for view in sorted(view for view in views if view.startswith(only) and not view.startswith("defined_")):
        rows, one_run = _median(path, f"SELECT * FROM {view} WHERE run_id = '{run_id}'")
        whole = None
        if view not in KERNEL_VIEWS:
            rows, whole = _median(path, f"SELECT * FROM {view}")
        yield Latency(view, rows, whole, one_run)


def _median(path: Path, query: str, repeats: int = 3) -> tuple[int, Seconds]:
    """How many rows there are and how long it takes until they are all there."""
    rows, taken = 0, []
    for _ in range(repeats):
        connection = connect(path, read_only=True)
        clock = Clock()
        with clock.running():
            connection.execute(f"CREATE TEMP TABLE answer AS {query}")
        taken.append(Seconds(clock.seconds, clock.cpu_seconds))
        ((rows,),) = connection.execute("SELECT count(*) FROM answer").fetchall()
        connection.close()
    return rows, sorted(taken)[repeats // 2]


def _print_loaded(loaded: Loaded) -> None:
    print(
        f"{loaded.kernels:,} kernels of {loaded.runs} runs, {loaded.rows:,} rows in all: {loaded.seconds:.1f} s"
        f" ({loaded.cpu_seconds:.1f} s of CPU)\n"
        f"{loaded.kernels / loaded.seconds:,.0f} kernels a second, {loaded.rows / loaded.seconds:,.0f} rows a second\n"
        f"{loaded.bytes / 1e6:,.0f} MB, {loaded.bytes / loaded.kernels:.1f} bytes a kernel"
    )


def _print_latency(latency: Latency) -> None:
    columns = [seconds for pair in (latency.whole or ("", ""), latency.one_run) for seconds in pair]
    shown = "".join(f"{1000 * each:>12,.0f}" if isinstance(each, float) else f"{each:>12}" for each in columns)
    print(f"{latency.view:<24}{latency.rows:>12,}{shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="kernels")
    parser.add_argument("--per-run", type=int, default=100_000, help="kernels of a run")
    parser.add_argument("--keep", type=Path, help="leave the warehouse here; one that is there is asked, not made")
    parser.add_argument("--view", default="", help="only views whose names begin so")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    print(f"DuckDB {duckdb.__version__}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        path = given.keep or Path(folder) / "warehouse.duckdb"
        loaded = None
        if not path.exists():
            loaded = fill(path, given.rows, given.per_run)
            _print_loaded(loaded)
        print(f"{'view':<24}{'rows':>12}{'whole, ms':>12}{'of CPU':>12}{'a run, ms':>12}{'of CPU':>12}")
        measured = []
        for latency in latencies(path, given.view):
            _print_latency(latency)
            measured.append(latency)
    if given.json:
        figures = {"loaded": asdict(loaded) if loaded else None, "views": [asdict(latency) for latency in measured]}
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
