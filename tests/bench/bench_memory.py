"""Peak memory and time of `ridgeline analyze --memory` at several sizes: both should grow linearly at most.

    python -m tests.bench.bench_memory
    python -m tests.bench.bench_memory --trace TRACE --sizes 600 1200 2500 5000 --memory 2GB
    python -m tests.bench.bench_memory --markdown tests/README.md     fill in the table of a page

Three real traces are repeated to each size. Memory is the sum over the process tree, sampled as it runs. The source
trace is in the warehouse already, so that its signatures are priced, as in daily use. Exits with 1 if a peak is above
the limit.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ridgeline.analyze.resources.limits import parse_size
from tests.bench import processes, tables, traces
from tests.bench.bench_ingest import OURS

HEADER = ("trace", "MB", "events", "seconds", "MB/s", "peak MB", "bytes/event")
LINE = "{:48}  {:>8}  {:>12}  {:>8}  {:>8}  {:>8}  {:>11}"


def measure(source: Path, sizes: list[float], memory: str, work: Path) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield a row of the table and the peak in bytes for each size."""
    warm, target = work / "warm.duckdb", work / "bench.duckdb"
    warm.unlink(missing_ok=True)
    processes.run([*OURS, "analyze", str(source), "-w", str(warm)])
    for file in traces.generated([source], sizes, work):
        shutil.copyfile(warm, target)
        run = processes.run([*OURS, "analyze", str(file.path), "-w", str(target), "--memory", memory], sample=True)
        figures = (f"{run.seconds:.1f}", f"{file.megabytes / run.seconds:.0f}", f"{run.peak_bytes / 1e6:,.0f}")
        events, an_event = f"{file.events:,}", f"{run.peak_bytes / file.events:,.0f}"
        yield (file.name, f"{file.megabytes:,.0f}", events, *figures, an_event), run.peak_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, nargs="+")
    parser.add_argument("--sizes", type=float, nargs="+", default=[590, 2400], metavar="MB")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--markdown", type=Path, nargs="*", metavar="PAGE", help="print the table, or fill in pages")
    args = parser.parse_args()
    rows, most_bytes = [], 0
    print(LINE.format(*HEADER))
    with tempfile.TemporaryDirectory(prefix="ridgeline-bench-") as work:
        for source in args.trace or traces.default_sources():
            for row, peak_bytes in measure(source, args.sizes, args.memory, Path(work)):
                rows.append(row)
                most_bytes = max(most_bytes, peak_bytes)
                print(LINE.format(*row), flush=True)
    table = tables.markdown(HEADER, rows)
    if args.markdown == []:
        print(f"\n{table}")
    for page in args.markdown or ():
        tables.fill(page, {"memory": f"With `--memory {args.memory}` and known prices, whole command:\n\n{table}"})
    if most_bytes > parse_size(args.memory):
        sys.exit(f"more than the {args.memory} allowed")


if __name__ == "__main__":
    main()
