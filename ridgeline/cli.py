"""The command line: parses arguments, calls a stage and prints what it returns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click

import ridgeline
from ridgeline import capturing, options, terminal
from ridgeline.options import DEFAULT_WAREHOUSE
from ridgeline.terminal import errors_in_one_line, fail, progress, say

if TYPE_CHECKING:
    from ridgeline.analyze.ingest import Result


def main() -> NoReturn:
    """Run the command that the process's arguments name, and end the process with its exit code."""
    terminal.run(app)


@click.group(cls=options.Commands, context_settings={"show_default": True})
@click.version_option(ridgeline.__version__, prog_name="ridgeline", message="%(prog)s %(version)s")
def app() -> None:
    """Record what a GPU does while a program runs, and place every kernel on the roofline."""


@app.command(params=[options.DEMO_FOLDER])
def demo(out: Path) -> None:
    """Capture, analyze and report a small model.

    It runs every decoding mode on this machine, with or without a GPU.

    Example: ridgeline demo --out demo
    """
    with errors_in_one_line():
        from ridgeline.capture.sweep import sweep

        capturing.captured(sweep.load(Path(__file__).with_name("capture") / "configs" / "demo.toml"), out / "runs")
    context = click.get_current_context()
    context.invoke(analyze, paths=[out / "runs"], warehouse=out / "ridgeline.duckdb")
    context.invoke(report, warehouse=out / "ridgeline.duckdb", out=out)


for recording in (capturing.capture, capturing.record, capturing.ceilings):
    app.add_command(recording)


@app.command(
    params=[
        options.TRACE_PATHS,
        options.WAREHOUSE_OR_LAKE,
        options.LAKE,
        options.JOBS,
        options.MEMORY,
        options.TWIN,
        options.CAPTURE,
        options.ANALYZED_EXPERIMENT,
        options.STEP,
        options.RULES,
        options.DEVICE,
        options.LOADED_ALLOCATIONS,
        options.HTA,
        options.SALVAGE,
    ]
)
def analyze(
    paths: tuple[Path, ...],
    warehouse: Path | None,
    lake: str | None,
    jobs: int,
    memory: str | None,
    twin: Path | None,
    capture: Path | None,
    step: str | None,
    device: str | None,
    experiment: str | None,
    allocations: bool,
    hta: bool,
    salvage: bool,
) -> None:
    """Attribute and price every kernel of traces.

    The rows are loaded into the warehouse or written into a lake. A trace that is there already and has
    not changed is left alone.

    Example: ridgeline analyze runs/ trace.json.gz -w ridgeline.duckdb
    """
    from ridgeline.analyze.ingest import analyze as ingest
    from ridgeline.analyze.ingest import warning_lines

    _check_not_both(warehouse, lake)
    if lake and hta:
        fail("--hta needs a warehouse: analyze into one with -w FILE, then `ridgeline export -w FILE LAKE`", 2)
    for option, companion in (("--twin", twin), ("--capture", capture)):
        if companion and (len(paths) > 1 or paths[0].is_dir()):
            fail(f"{option} belongs to one trace: expected a single PATH that is a file", 2)
    file = warehouse or DEFAULT_WAREHOUSE
    with (
        progress("analyzing") as advance,
        errors_in_one_line(lake or file),
        terminal.memory_limit(memory) as memory_bytes,
    ):

        def report(result: Result) -> None:
            # After a signal no more runs are named, so that the lines name what was stored before it.
            terminal.check_interrupted()
            advance(result.name)
            say(result.headline())

        results = ingest(
            paths,
            file,
            jobs=jobs or os.cpu_count() or 1,
            report=report,
            twin=twin,
            capture=capture,
            step=step,
            device=device,
            experiment=experiment,
            allocations=allocations,
            hta=hta,
            memory=memory_bytes,
            salvage=salvage,
            lake=lake,
        )
        for line in warning_lines(results):
            say(line)
    if any(result.outcome == "failed" for result in results):
        raise SystemExit(1)


def _check_not_both(warehouse: Path | None, lake: str | None) -> None:
    if warehouse and lake:
        fail("expected either -w FILE or --lake DIR, found both", 2)


@app.command(params=[options.WAREHOUSE, options.RULES])
def reprice(warehouse: Path) -> None:
    """Apply the current pricing rules to stored runs.

    All runs are repriced or none, without their traces. Runs that need their traces again are
    named: analyze those again. With --rules, rules of your own come before Ridgeline's.

    Example: ridgeline reprice -w ridgeline.duckdb --rules my_rules.py
    """
    from ridgeline.analyze.reprice import reprice as apply_rules

    with errors_in_one_line(warehouse), progress("repricing"):
        repriced = apply_rules(warehouse)
    print(f"{repriced.runs} runs, {repriced.signatures:,} signatures, {repriced.changed:,} of them with another price")
    for warning in repriced.warnings:
        say(f"warning: {warning}")
    if repriced.stale:
        fail(f"these runs need their traces, analyze them again: {', '.join(repriced.stale)}")


@app.command(
    params=[
        options.QUERY,
        options.QUERY_FILE,
        options.WAREHOUSE_OR_LAKE,
        options.LAKE,
        options.output_format("table", "lines", "csv", "json", "parquet"),
        options.ROWS_FILE,
    ]
)
def sql(
    query: str | None,
    file: Path | None,
    warehouse: Path | None,
    lake: str | None,
    output_format: Literal["table", "lines", "csv", "json", "parquet"],
    out: Path | None,
) -> None:
    """Run SQL over the warehouse or a lake, read-only.

    Example: ridgeline sql "SELECT operator, duration_ns FROM operator_summary ORDER BY 2 DESC LIMIT 10"
    """
    if (query is None) == (file is None):
        fail("expected either a QUERY or -f FILE", 2)
    _check_not_both(warehouse, lake)
    with errors_in_one_line():
        from ridgeline.warehouse.query import run

        try:
            statement = file.read_text(encoding="utf-8") if file else query or ""
        except UnicodeDecodeError:
            fail(f"{file}: not UTF-8 text")
        run(warehouse or DEFAULT_WAREHOUSE, statement, output_format=output_format, out=out, lake=lake)


@app.command(
    params=[options.WAREHOUSE_OR_LAKE, options.LAKE, options.REPORT_FOLDER, options.REPORTED_RUNS, options.OPEN_PAGE]
)
def report(warehouse: Path | None, lake: str | None, out: Path, run: tuple[str, ...], open_page: bool) -> None:
    """Write the report, a self-contained HTML page.

    It opens with a verdict on each run: where the time of a step goes, and its largest losses. Roofline, tables and
    timeline of every kernel follow. Captured runs also get study.html, with the figures that compare them.

    Example: ridgeline report -w ridgeline.duckdb -o report --open
    """
    _check_not_both(warehouse, lake)
    with errors_in_one_line(lake or warehouse or DEFAULT_WAREHOUSE), progress("the report") as advance:
        from ridgeline.reports import write

        page = write(warehouse or DEFAULT_WAREHOUSE, out, run, lake=lake, progress=advance)
    print(page)
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


@app.command(
    params=[
        options.BASE,
        options.OTHER,
        options.WAREHOUSE_OR_LAKE,
        options.LAKE,
        options.COMPARISON_FOLDER,
        options.output_format(
            "table", "csv", "json", "markdown", explanation="table, csv, json, or markdown for a pull request."
        ),
        options.FAIL_ABOVE,
    ]
)
def compare(
    base: str,
    other: str,
    warehouse: Path | None,
    lake: str | None,
    out: Path | None,
    output_format: Literal["table", "csv", "json", "markdown"],
    fail_above: float | None,
) -> None:
    """Compare two runs, traces or groups of them.

    A side that is a path is analyzed and not stored; with -w or --lake, a stored run of exactly that name comes first.
    Rows align by kind of step, operator, module and shapes, not by kernel names. A row is added, gone, faster, slower,
    or the same within the noise of repeats. --fail-above checks every kind of step that both sides have: its time
    without the profiler if both were timed, else its device time, its phases and its wall time under the profiler.

    Example: ridgeline compare before.json.gz after.json.gz -o report --fail-above 5
    """
    _check_not_both(warehouse, lake)
    file = warehouse or DEFAULT_WAREHOUSE
    with errors_in_one_line(lake or file):
        from ridgeline import comparing
        from ridgeline.analyze.ingest import warning_lines
        from ridgeline.reports.comparison import compare as comparison
        from ridgeline.reports.comparison import page as comparison_page
        from ridgeline.reports.comparison import text as comparison_text

        analyzed: list[Result] = []

        def report(result: Result) -> None:
            terminal.check_interrupted()
            advance(result.name)
            analyzed.append(result)
            if result.error:
                say(result.headline())

        with (
            progress("comparing") as advance,
            terminal.memory_limit(None) as memory_bytes,
            comparing.stored(base, other, file=warehouse, default=DEFAULT_WAREHOUSE, lake=lake) as stored,
            comparing.compared(base, other, stored, report=report, memory=memory_bytes) as (connection, found),
        ):
            page = comparison_page.write(connection, found, out) if out else None
        for line in warning_lines(analyzed):
            say(line)
        unseen = comparison.unseen(found, fail_above) if fail_above is not None else []
        for warning in found.warnings + unseen:
            say(f"warning: {warning}")
        print(comparison_text.text(found, output_format), end="")
        if page:
            say(str(page))
        slower = comparison.above(found, fail_above) if fail_above is not None else []
    if slower:
        fail(f"above {fail_above:g} %: {'; '.join(slower)}")


@app.command(
    params=[
        options.MODEL,
        options.MODE,
        options.PROMPT,
        options.GENERATE,
        options.BLOCK,
        options.STEPS,
        options.BATCH,
        options.THEORY_DEVICE,
        options.output_format("table", "csv", "json"),
    ]
)
def theory(**request: Any) -> None:
    """Predict FLOPs, bytes, intensity and least time in closed form.

    Rows are kinds of step and components, counted as by the authors of arXiv 2510.04146 and corrected.

    Example: ridgeline theory --model llama-3-8b --mode ar --prompt 2048 --generate 128 --device A6000
    """
    with errors_in_one_line():
        from ridgeline.analyze.theory.output import theory as predict

        text = predict(**request)
    print(text, end="")


@app.command(params=[options.LAKE_LOCATION, options.WAREHOUSE])
def export(lake: str, warehouse: Path) -> None:
    """Write the warehouse's runs into a Parquet lake.

    Files are partitioned by experiment and run. Any number of machines add runs to one lake. A run
    that is there already with the same rows is left alone.

    Example: ridgeline export -w ridgeline.duckdb lake
    """
    with errors_in_one_line(warehouse):
        from ridgeline.warehouse import connect
        from ridgeline.warehouse.lake.export import export as write

        with connect(warehouse, read_only=True, external_access=True) as connection:
            (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone() or (0,)
            with progress("exporting", runs) as advance:
                exported = write(connection, lake, report=lambda run: advance(run.name))
    written = [run for run in exported if run.outcome == "written"]
    rows, megabytes = sum(run.rows for run in written), sum(run.bytes for run in written) / 1e6
    unchanged = len(exported) - len(written)
    say(f"{lake}: {len(written):,} runs written, {rows:,} rows, {megabytes:,.1f} MB, {unchanged:,} unchanged")


@app.command(params=[options.FORGOTTEN_RUNS, options.WAREHOUSE])
def forget(runs: tuple[str, ...], warehouse: Path) -> None:
    """Remove the named runs from the warehouse, all or none.

    Example: ridgeline forget decode_eager decode_graph -w ridgeline.duckdb
    """
    with errors_in_one_line(warehouse), progress("forgetting"):
        from ridgeline.warehouse.load import forget as remove

        removed = remove(warehouse, runs)
    for name in removed:
        say(f"{name}: forgotten")


@app.command(params=[options.WAREHOUSE])
def verify(warehouse: Path) -> None:
    """Check that the warehouse holds the rows that were loaded.

    It checks sums, references, prices and digests of stored rows, and prints a line for each run.

    Example: ridgeline verify -w ridgeline.duckdb
    """
    with errors_in_one_line(), progress("verifying"):
        from ridgeline.warehouse.verify import verify as check

        checked, remarks = check(warehouse)
    for run in checked:
        for line in run.findings or [f"ok, {run.rows:,} rows"]:
            print(f"{run.name}: {line}")
    for remark in remarks:
        say(remark)
    wrong = sum(bool(run.findings) for run in checked)
    if wrong:
        fail(f"{warehouse}: {wrong} of {len(checked)} runs are not as loaded: forget those, and analyze them again")
