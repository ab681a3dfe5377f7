"""Pages of many kernels in Chromium: how soon the first screen is there, and what a selection costs.

    python -m tests.bench.bench_pages                          a million kernels in ten runs, and the study's lake
    python -m tests.bench.bench_pages -w w.duckdb --rows 0     pages of your own
    python -m tests.bench.bench_pages --markdown reports/README.md

No debugger watches a browser while it opens a page: V8 would parse Plotly again for each stack that it records.
Afterwards the browser is traced, and the time of a selection is that of all tasks of the page's main thread until
everything in view is drawn: seconds of CPU, for a machine that has other work. The least of the repeats counts.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.bench import bench_warehouse, tables

LAKE = Path(__file__).parents[2] / "reports" / "study" / "results" / "lake"
CLICK = "document.querySelector('{}').click()"
CHOOSE = """(() => {{
  const node = document.getElementById("{}");
  node.value = "{}";
  node.dispatchEvent(new Event("{}"));
}})()"""
POINT = """(() => {
  const figure = document.getElementById("roofline-figure");
  const trace = figure.data.find((own) => own.customdata && own.customdata[0] && own.customdata[0].point);
  figure.emit("plotly_click", { points: [{ customdata: trace.customdata[0] }], event: {} });
})()"""
ESCAPE = "document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))"
SELECTIONS = {
    "a family": CLICK.format("#legend button"),
    "a point": POINT,
    "Escape": ESCAPE,
    "a point an operator": CHOOSE.format("point", "operator", "change"),
    "a point a shape": CHOOSE.format("point", "shape", "change"),
    "compulsory bytes": CHOOSE.format("bytes", "compulsory", "change"),
    "best bytes": CHOOSE.format("bytes", "best", "change"),
    "a search": CHOOSE.format("search", "gemm", "input"),
}
ALL = "all runs"
CHOOSE_ALL = CLICK.format("#run-all")
MARKS = """() => ["paint", "mark"].flatMap((type) => performance.getEntriesByType(type))
  .map((entry) => [entry.name, entry.startTime])"""
READY = "() => document.documentElement.dataset.ready === 'true'"
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1440,900", "--remote-debugging-port=0")


@dataclass
class Page:
    """What was measured of a page: milliseconds of the clock until a mark, and of CPU by selection."""

    name: str
    launches: int
    runs: int
    megabytes: float
    report_s: float
    marks_ms: dict[str, float] = field(default_factory=dict)
    selections_ms: dict[str, float] = field(default_factory=dict)

    def cells(self) -> list[str]:
        """Return the row of a table under ``HEADER``."""
        marks = [self.marks_ms.get(name) for name in ("first-contentful-paint", "first screen", "roofline")]
        single = {name: ms for name, ms in self.selections_ms.items() if name != ALL}
        slowest = max(single, key=lambda name: single[name], default="")
        return [
            self.name, f"{self.launches:,}", f"{self.runs:,}", f"{self.megabytes:.1f}", f"{self.report_s:.1f}",
            *("" if ms is None else f"{ms / 1e3:.2f}" for ms in marks),
            f"{single[slowest] / 1e3:.2f} ({slowest})" if single else "",
            f"{self.selections_ms[ALL] / 1e3:.2f}" if ALL in self.selections_ms else "",
        ]  # fmt: skip


HEADER = (
    "page", "launches", "runs", "MB", "report, s of CPU", "first paint, s", "first screen, s", "roofline, s",
    "slowest selection, s of CPU", "all runs, s of CPU",
)  # fmt: skip


def main_thread_ms(events: Iterable[dict[str, Any]]) -> float:
    """Return the milliseconds of CPU of the busiest page's main thread in a trace of Chromium.

    Tasks nest: only the outermost count.
    """
    events = list(events)
    mains = {
        (e["pid"], e["tid"]) for e in events if e.get("name") == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    ended, total = dict.fromkeys(mains, 0), dict.fromkeys(mains, 0.0)
    for event in sorted((e for e in events if e.get("ph") == "X"), key=lambda e: (e["ts"], -e["dur"])):
        thread = (event["pid"], event["tid"])
        if thread in mains and event["ts"] >= ended[thread]:
            ended[thread] = event["ts"] + event["dur"]
            total[thread] += event.get("tdur", event["dur"])
    return max(total.values(), default=0.0) / 1e3


@contextmanager
def opened(page: Path) -> Iterator[str]:
    """Open a page in a browser of its own, and yield the address of its debugger."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [chromium, *ARGUMENTS, f"--user-data-dir={folder}", page.absolute().as_uri()]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr
            address = next(found[1] for line in process.stderr if (found := re.search(r"(ws://\S+)", line)))
            yield address
        finally:
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
            process.wait()


def measure(page: Page, path: Path) -> None:
    """Open the page once, choose one thing after another, and keep the least of what was measured before and now."""
    from playwright.sync_api import sync_playwright

    with opened(path) as address, sync_playwright() as playwright:
        time.sleep(6)  # nobody watches until it has drawn its first screen
        browser = playwright.chromium.connect_over_cdp(address)
        tab = browser.contexts[0].pages[0]
        tab.wait_for_function(READY)
        _keep_least(page.marks_ms, dict(tab.evaluate(MARKS)))
        selections = SELECTIONS | ({ALL: CHOOSE_ALL} if page.runs > 1 else {})
        _keep_least(page.selections_ms, {name: _cost(browser, tab, script) for name, script in selections.items()})


def _cost(browser: Any, tab: Any, script: str) -> float:
    with tempfile.NamedTemporaryFile() as file:
        browser.start_tracing(page=tab, path=file.name, categories=["toplevel", "v8"])
        tab.evaluate(f"() => {{ {script}; }}")
        tab.wait_for_timeout(100)
        tab.wait_for_function(READY)
        browser.stop_tracing()
        return main_thread_ms(json.loads(Path(file.name).read_bytes())["traceEvents"])


def _keep_least(known: dict[str, float], now: dict[str, float]) -> None:
    known.update({name: min(value, known.get(name, value)) for name, value in now.items()})


def write(name: str, source: Sequence[str], out: Path) -> tuple[Page, Path]:
    """Write the page of a warehouse or a lake, as the command does: its size, and the seconds of CPU that it took."""
    before = _child_cpu_s()
    ridgeline = [sys.executable, "-m", "ridgeline"]
    subprocess.run([*ridgeline, "report", *source, "-o", str(out)], check=True, stdout=subprocess.DEVNULL)
    seconds = _child_cpu_s() - before
    counts = "SELECT (SELECT COUNT(*) FROM runs) AS runs, (SELECT COUNT(*) FROM kernels) AS launches"
    answer = subprocess.run(
        [*ridgeline, "sql", *source, counts, "--format", "json"], check=True, capture_output=True, text=True
    )
    [row] = json.loads(answer.stdout)
    path = out / "report.html"
    return Page(name, row["launches"], row["runs"], path.stat().st_size / 1e6, seconds), path


def _child_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--warehouse", action="append", type=Path, default=[])
    parser.add_argument("--lake", action="append", type=Path, default=[])
    parser.add_argument("--rows", type=int, default=1_000_000, help="kernels of a made warehouse; 0 for none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--markdown", type=Path, nargs="*", default=[], help="pages whose block `pages` is replaced")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = [(path.stem, ["-w", str(path)]) for path in given.warehouse]
        sources += [(f"lake {path.name}", ["--lake", str(path)]) for path in given.lake]
        if given.rows:
            made = Path(folder) / "made.duckdb"
            bench_warehouse.fill(made, given.rows, 100_000)
            sources.append(("made", ["-w", str(made)]))
        if not given.warehouse and not given.lake:
            sources.append(("the study", ["--lake", str(LAKE)]))
        measured = []
        for i, (name, source) in enumerate(sources):
            page, path = write(name, source, Path(folder) / str(i))
            for _ in range(given.repeats):
                measure(page, path)
            measured.append(page)
            for what, ms in (page.marks_ms | page.selections_ms).items():
                print(f"{name}: {what} {ms:,.0f} ms", file=sys.stderr)
    block = tables.markdown(HEADER, [page.cells() for page in measured])
    print(block)
    for path in given.markdown:
        tables.fill(path, {"pages": block})


if __name__ == "__main__":
    main()
