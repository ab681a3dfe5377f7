"""Ours, from the file to a loaded warehouse, against HTA's load alone, on the same files in the same run.

    python -m tests.bench.bench_ingest
    python -m tests.bench.bench_ingest --trace TRACE --sizes 120 590 --json results.json

A real trace is repeated to each size. Every measurement is a process of its own, the best of its repeats:

load             file to loaded warehouse with everything imported, exactly as HTA's load is timed
whole command    `ridgeline analyze`, from the start of the interpreter to its end
first sight      the same into a new warehouse, where torch is imported to price signatures nobody has seen

The first two find the signatures cached (the source trace is in the warehouse already, as in daily use). HTA's load is
compared without its imports and, under "whole process", with them. Memory is the sum over the process tree; since
sampling costs time, ours is sampled in a further run that is not timed. HTA works in one process on one core and is
sampled as it is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench import make_trace, processes

ROOT = Path(__file__).resolve().parents[2]
PREFERRED = ROOT.parent / "shared/traces/h100-qwen1.5-0.5b-prefill.json.gz"
OURS = [sys.executable, "-m", "ridgeline"]
LOAD, CACHED, FIRST = "ridgeline, load", "ridgeline, whole command", "ridgeline, first sight"
HTA, HTA_WHOLE = "HTA, load", "HTA, whole process"


@dataclass(frozen=True)
class Row:
    trace: str
    megabytes: float
    events: int
    tool: str
    seconds: float
    peak_mb: float
    hta_seconds: float | None = None

    @property
    def times_hta(self) -> float | None:
        return self.hta_seconds / self.seconds if self.hta_seconds else None


@dataclass(frozen=True)
class File:
    path: Path
    events: int

    @property
    def megabytes(self) -> float:
        return self.path.stat().st_size / 1e6


@dataclass(frozen=True)
class Bench:
    ours: Sequence[str]
    work: Path
    repeats: int
    hta_repeats: int

    def warm(self, source: Path) -> Path:
        """A warehouse that has priced the source trace's signatures; making it is not measured."""
        warehouse = self.work / "warm.duckdb"
        self._analyze(source, self._fresh(warehouse))
        return warehouse

    def load(self, file: File, warm: Path) -> Row:
        script = str(Path(__file__).with_name("ours_load.py"))
        runs = []
        for _ in range(self.repeats):
            target = self._fresh(self.work / "bench.duckdb")
            shutil.copyfile(warm, target)
            command = [sys.executable, script, str(file.path), str(target), str(os.cpu_count() or 1)]
            runs.append(json.loads(processes.run(command).stdout.splitlines()[-1])["load_s"])
        return _row(file, LOAD, min(runs), 0)

    def cached(self, file: File, warm: Path) -> Row:
        return self._ours(CACHED, file, lambda target: shutil.copyfile(warm, target))

    def first_sight(self, file: File) -> Row:
        return self._ours(FIRST, file, lambda _: None)

    def _ours(self, tool: str, file: File, prepare: Callable[[Path], object]) -> Row:
        def once(*, sample: bool = False) -> processes.Run:
            target = self._fresh(self.work / "bench.duckdb")
            prepare(target)
            return self._analyze(file.path, target, sample=sample)

        seconds = min(once().seconds for _ in range(self.repeats))
        return _row(file, tool, seconds, once(sample=True).peak_bytes)

    def hta(self, file: File) -> tuple[Row, Row]:
        script = str(Path(__file__).with_name("hta_load.py"))
        best, peak = (float("inf"), 0.0), 0
        for _ in range(self.hta_repeats):
            env = {"HTA_DISABLE_NS_ROUNDING": "1"}
            run = processes.run([sys.executable, script, str(file.path)], env=env, sample=True)
            times = json.loads(run.stdout.splitlines()[-1])
            best = min(best, (times["load_s"], times["imports_s"]))
            peak = max(peak, run.peak_bytes)
        return _row(file, HTA, best[0], peak), _row(file, HTA_WHOLE, sum(best), peak)

    def start_up(self) -> float:
        return min(processes.run([*self.ours, "--help"]).seconds for _ in range(max(3, self.repeats)))

    def _analyze(self, trace: Path, warehouse: Path, *, sample: bool = False) -> processes.Run:
        run = processes.run([*self.ours, "analyze", str(trace), "-w", str(warehouse)], sample=sample)
        if not warehouse.exists():
            raise processes.CommandFailed(f"analyze exited with 0 but left no {warehouse.name}")
        return run

    @staticmethod
    def _fresh(warehouse: Path) -> Path:
        for path in warehouse.parent.glob(warehouse.name + "*"):
            path.unlink()
        return warehouse


def _row(file: File, tool: str, seconds: float, peak_bytes: int) -> Row:
    return Row(file.path.name, file.megabytes, file.events, tool, seconds, peak_bytes / 1e6)


def against(hta: tuple[Row, Row], *rows: Row) -> list[Row]:
    """Each row next to HTA's load; the whole command has its own memory, which is the load's too."""
    peak = max(row.peak_mb for row in rows[:2])
    filled = [Row(**{**asdict(row), "peak_mb": row.peak_mb or peak}) for row in (*rows, *hta)]
    return [Row(**{**asdict(row), "hta_seconds": hta[0].seconds}) for row in filled]


def measure(bench: Bench, source: Path, sizes: Sequence[float], report: Callable[[Iterable[Row]], None]) -> None:
    trace = make_trace.Trace.read(source)
    warm = bench.warm(source)
    small = bench.work / "small.json.gz"  # the source once more: other bytes, or it would count as loaded already
    report([bench.cached(File(small, make_trace.write(trace, small, 1)), warm)])
    for size in sizes:
        path = bench.work / f"{size:g}mb.json"
        file = File(path, make_trace.write(trace, path, make_trace.repeats_for(trace, size)))
        ours = (bench.load(file, warm), bench.cached(file, warm), bench.first_sight(file))
        report(against(bench.hta(file), *ours))
        path.unlink()


HEADER = ("trace", "MB", "events", "tool", "seconds", "MB/s", "peak MB", "x HTA")
WIDTHS = (14, 6, 10, 29, 8, 7, 8, 6)


def line(cells: Sequence[str]) -> str:
    left = {0, 3}
    padded = (c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, WIDTHS, strict=True)))
    return "  ".join(padded).rstrip()


def cells(row: Row) -> tuple[str, ...]:
    rate = f"{row.megabytes / row.seconds:.1f}"
    times = f"{row.times_hta:.1f}" if row.times_hta else ""
    return (
        row.trace,
        f"{row.megabytes:.1f}" if row.megabytes < 10 else f"{row.megabytes:.0f}",
        f"{row.events:,}",
        row.tool,
        f"{row.seconds:.2f}",
        rate,
        f"{row.peak_mb:,.0f}",
        times,
    )


def machine() -> dict[str, object]:
    packages = ("HolisticTraceAnalysis", "pandas", "polars", "duckdb", "torch")
    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def default_source() -> Path:
    if PREFERRED.exists():
        return PREFERRED
    ours = [path for pattern in ("*.json", "*.json.gz") for path in (ROOT / "tests/data").rglob(pattern)]
    ours = [path for path in ours if path.name.startswith("trace.json")]
    if not ours:
        sys.exit("no trace to repeat: none under tests/data; name one with --trace")
    return max(ours, key=lambda path: path.stat().st_size)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, help="the real trace to repeat")
    parser.add_argument("--sizes", type=float, nargs="+", default=[120, 590], metavar="MB")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of ours; the best counts (default 3)")
    parser.add_argument("--hta-repeats", type=int, default=1, help="timed runs of HTA (default 1)")
    parser.add_argument("--work", type=Path, help="where to put traces and warehouses while measuring")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--ours", type=shlex.split, default=OURS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    source: Path = args.trace or default_source()
    rows: list[Row] = []

    def report(new: Iterable[Row]) -> None:
        for row in new:
            rows.append(row)
            print(line(cells(row)), flush=True)

    if args.work:
        args.work.mkdir(parents=True, exist_ok=True)
    print(line(HEADER), flush=True)
    with tempfile.TemporaryDirectory(prefix="ridgeline-bench-", dir=args.work) as work:
        bench = Bench(args.ours, Path(work), args.repeats, args.hta_repeats)
        measure(bench, source, args.sizes, report)
        start_up = bench.start_up()
    print(f"ridgeline --help: {start_up:.2f} s")
    if args.json:
        results = [{**asdict(row), "times_hta": row.times_hta} for row in rows]
        document = {"source": source.name, "machine": machine(), "help_s": start_up, "rows": results}
        args.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except processes.CommandFailed as error:
        sys.exit(str(error))
