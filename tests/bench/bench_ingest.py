"""Ours, from the command to a loaded warehouse, beside HTA's load of the same files in the same run.

    python -m tests.bench.bench_ingest
    python -m tests.bench.bench_ingest --traces FOLDER --json results.json
    python -m tests.bench.bench_ingest --sizes                                  no generated traces
    python -m tests.bench.bench_ingest --no-real --sizes 120                    only those
    python -m tests.bench.bench_ingest --markdown README.md tests/README.md     fill in the tables of pages

The files are every real trace at hand, and three real traces repeated to each of the sizes. Every measurement is a
process of its own:

first sight      `ridgeline analyze` into a new warehouse, from the start of the interpreter to its end
known prices     the same into a warehouse that has priced the trace's signatures and holds no run
HTA, load        HTA's load alone, without the seconds that its imports take

Ours and HTA's alternate, equally often: at most `--repeats` times, and no more once a file had `--budget` seconds. The
best run of each counts. Memory is the sum over the process tree; since sampling costs time, ours is sampled in further
runs that are not timed. HTA works in one process on one core and is sampled as it is timed.
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
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench import processes, tables, traces
from tests.bench.tables import COLD, HTA, IMPORTS, WARM, Row

OURS = [sys.executable, "-m", "ridgeline"]
SIGNATURES = "SELECT (SELECT count(*) FROM signatures) AS signatures, run_id FROM runs"
TORCH = "import torch"


@dataclass(frozen=True)
class Bench:
    """Measures files; ``ours`` is the command, and ``work`` a folder for warehouses."""

    ours: Sequence[str]
    work: Path
    repeats: int
    budget_s: float

    def measure(self, file: traces.File) -> Row:
        """Return the figures of a file; a tool that fails is not run again and has an error instead."""
        row, start_s = Row(file), time.perf_counter()
        for _ in range(self.repeats):
            for tool in tables.TOOLS:
                if tool not in row.errors:
                    self._attempt(row, tool)
            if time.perf_counter() - start_s > self.budget_s:
                break
        for tool in {COLD, WARM} - row.errors.keys():
            row.peak_mb[tool] = self._analyze(file, tool, sample=True).peak_bytes / 1e6
        return row

    def start_up(self, *command: str) -> float:
        """Return the seconds of the shortest run of a command."""
        return min(processes.run(command).seconds for _ in range(max(3, self.repeats)))

    def _attempt(self, row: Row, tool: str) -> None:
        try:
            seconds = self._hta(row) if tool == HTA else self._analyze(row.file, tool).seconds
            row.runs_s.setdefault(tool, []).append(seconds)
            if tool == COLD and row.signatures is None:
                row.signatures = self._keep_prices()
        except processes.CommandFailed as error:
            row.errors[tool] = _reason(error)
            if tool == COLD:
                row.errors[WARM] = "no prices"

    def _hta(self, row: Row) -> float:
        script = str(Path(__file__).with_name("hta_load.py"))
        # without the variable HTA rounds times to whole microseconds
        env = {"HTA_DISABLE_NS_ROUNDING": "1"}
        run = processes.run([sys.executable, script, str(row.file.path)], env=env, sample=True)
        row.peak_mb[HTA] = max(row.peak_mb.get(HTA, 0), run.peak_bytes / 1e6)
        times = json.loads(run.stdout.splitlines()[-1])
        row.runs_s.setdefault(IMPORTS, []).append(times["imports_s"])
        return float(times["load_s"])

    def _analyze(self, file: traces.File, tool: str, *, sample: bool = False) -> processes.Run:
        target = self._fresh("bench.duckdb")
        if tool == WARM:
            shutil.copyfile(self.work / "warm.duckdb", target)
        command = [*self.ours, "analyze", str(file.path), "-w", str(target)]
        run = processes.run(command, sample=sample)
        if not target.exists():
            raise processes.CommandFailed(f"analyze exited with 0 but left no {target.name}")
        return run

    def _keep_prices(self) -> int:
        """Make the warehouse of known prices from the one just loaded; return its number of signatures."""
        warm = self._fresh("warm.duckdb")
        shutil.copyfile(self.work / "bench.duckdb", warm)
        rows = processes.run([*self.ours, "sql", "-w", str(warm), "--format", "csv", SIGNATURES]).stdout.split()[1:]
        processes.run([*self.ours, "forget", "-w", str(warm), *(row.split(",")[1] for row in rows)])
        return int(rows[0].split(",")[0])

    def _fresh(self, name: str) -> Path:
        for path in self.work.glob(name + "*"):
            path.unlink()
        return self.work / name


def _reason(error: processes.CommandFailed) -> str:
    """Return the last line that a failed command said, without the path that it names."""
    last = str(error).strip().splitlines()[-1].removeprefix("ridgeline: ")
    return last if len(last) <= 60 else f"{last[:59]}…"


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    packages = ("HolisticTraceAnalysis", "pandas", "polars", "duckdb", "torch")
    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def blocks(real: list[Row], generated: list[Row], start_ups: dict[str, float]) -> dict[str, str]:
    """Return the parts of pages by name; a part of which nothing was measured is missing."""
    on = machine()
    versions = on["versions"]
    assert isinstance(versions, dict)
    starts = ", ".join(f"{command} {seconds:.2f} s" for command, seconds in start_ups.items())
    made = {
        "machine": f"On {on['cpus']} cores ({on['architecture']}) with Python {on['python']}, "
        f"{', '.join(f'{name} {number}' for name, number in versions.items())}: {starts}."
    }
    for name, rows in (("real", real), ("generated", generated)):
        if rows:
            table = tables.markdown(tables.HEADER, [row.cells() for row in rows])
            made[name] = f"{tables.summary(rows)}\n\n{table}" if rows is real else table
    if real and generated:
        made["sentence"] = tables.sentence(real, generated, start_ups[TORCH])
    return made


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, nargs="+", default=[], metavar="DIR", help="further real traces")
    parser.add_argument("--no-real", action="store_true", help="only generated traces")
    parser.add_argument("--trace", type=Path, nargs="+", help="the real traces to repeat (default: three)")
    parser.add_argument("--sizes", type=float, nargs="*", default=[120, 590], metavar="MB")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, of which the best counts (default 3)")
    parser.add_argument("--budget", type=float, default=100, metavar="S", help="no repeat after S seconds of a file")
    parser.add_argument("--work", type=Path, help="where to put traces and warehouses while measuring")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--markdown", type=Path, nargs="*", metavar="PAGE", help="print tables, or fill in pages")
    parser.add_argument("--ours", type=shlex.split, default=OURS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.work:
        args.work.mkdir(parents=True, exist_ok=True)
    real: list[Row] = []
    generated: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ridgeline-bench-", dir=args.work) as work:
        bench = Bench(args.ours, Path(work), args.repeats, args.budget)
        commands = {TORCH: [sys.executable, "-c", TORCH], "ridgeline --help": [*args.ours, "--help"]}
        start_ups = {name: bench.start_up(*command) for name, command in commands.items()}
        print(tables.line(tables.HEADER), flush=True)
        repeated = traces.generated(args.trace or traces.default_sources(), args.sizes, Path(work))
        for rows, files in ((real, [] if args.no_real else traces.at_hand(args.traces)), (generated, repeated)):
            for file in files:
                rows.append(bench.measure(file))
                print(tables.line(rows[-1].cells()), flush=True)
    if imports := [seconds for row in real + generated for seconds in row.runs_s.get(IMPORTS, ())]:
        start_ups["HTA's imports"] = min(imports)
    print(tables.summary(real + generated))
    print(*(f"{name}: {seconds:.2f} s" for name, seconds in start_ups.items()), sep="\n")
    parts = blocks(real, generated, start_ups)
    if args.markdown == []:
        print(*(f"\n{part}" for part in parts.values()), sep="\n")
    for page in args.markdown or ():
        tables.fill(page, parts)
    if args.json:
        records = [
            record | {"kind": kind}
            for kind, rows in (("real", real), ("generated", generated))
            for row in rows
            for record in row.records()
        ]
        document = {"machine": machine(), "start_ups_s": start_ups, "rows": records}
        args.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except processes.CommandFailed as error:
        sys.exit(str(error))
