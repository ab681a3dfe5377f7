"""Peak memory and time of `ridgeline analyze --memory` at several sizes: both should grow linearly at most.

    python -m tests.bench.bench_memory
    python -m tests.bench.bench_memory --trace TRACE --sizes 600 1200 2500 5000 --memory 2GB

A real trace is repeated to each size. Memory is the sum over the process tree, sampled as it runs. The source trace is
in the warehouse already, so that its signatures are priced, as in daily use. Exits with 1 if a peak is above the limit.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from ridgeline.analyze.resources.limits import parse_size
from tests.bench import make_trace, processes
from tests.bench.bench_ingest import OURS, default_source

LINE = "{:>8}  {:>12}  {:>8}  {:>8}  {:>8}  {:>11}"


def measure(source: Path, sizes: list[float], memory: str, work: Path) -> bool:
    """Print a line for each size; whether all stayed within the memory."""
    trace = make_trace.Trace.read(source)
    warm, target, path = work / "warm.duckdb", work / "bench.duckdb", work / "trace.json"
    processes.run([*OURS, "analyze", str(source), "-w", str(warm)])
    print(LINE.format("MB", "events", "seconds", "MB/s", "peak MB", "bytes/event"))
    within = True
    for size in sizes:
        events = make_trace.write(trace, path, make_trace.repeats_for(trace, size))
        shutil.copyfile(warm, target)
        run = processes.run([*OURS, "analyze", str(path), "-w", str(target), "--memory", memory], sample=True)
        megabytes = path.stat().st_size / 1e6
        figures = (f"{run.seconds:.1f}", f"{megabytes / run.seconds:.0f}", f"{run.peak_bytes / 1e6:,.0f}")
        print(LINE.format(f"{megabytes:,.0f}", f"{events:,}", *figures, f"{run.peak_bytes / events:,.0f}"), flush=True)
        within &= run.peak_bytes <= parse_size(memory)
    return within


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--sizes", type=float, nargs="+", default=[120, 590, 1200, 2400], metavar="MB")
    parser.add_argument("--memory", default="2GB")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ridgeline-bench-") as work:
        if not measure(args.trace or default_source(), args.sizes, args.memory, Path(work)):
            sys.exit(f"more than the {args.memory} allowed")


if __name__ == "__main__":
    main()
