"""The command line of Ridgeline, and nothing else: it parses, calls the stages and turns their errors into one line."""

from __future__ import annotations

import sys

import ridgeline
from ridgeline import interruption

if sys.argv[0].endswith(("ridgeline", "ridgeline/__main__.py")):  # not where another program imports this module
    interruption.end_at_once()

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, Protocol

import typer

if TYPE_CHECKING:
    from ridgeline.analyze.ingest import Result
    from ridgeline.capture.configuration.points import Point
    from ridgeline.capture.sweep.sweep import Description, RunResult

app = typer.Typer(
    help="Record what a GPU does while a language model decodes, and place every kernel on the roofline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

AnyWarehouse = Annotated[
    Path | None,
    typer.Option("-w", "--warehouse", help="The DuckDB file; ridgeline.duckdb by default.", metavar="FILE"),
]
"""Where a lake may be named instead."""
LakeOption = Annotated[
    str | None, typer.Option("--lake", help="A Parquet lake instead: a folder or a URL.", metavar="DIR")
]
Warehouse = Annotated[Path, typer.Option("-w", "--warehouse", help="The DuckDB file.", metavar="FILE")]
DEFAULT_WAREHOUSE = Path("ridgeline.duckdb")
STAGES = ("ridgeline.capture.", "ridgeline.analyze.", "ridgeline.warehouse.", "ridgeline.reports.")
"""The packages whose own exceptions are messages to the user."""
OF_STORAGE = ("Error", "IOException", "SerializationException", "FatalException", "InternalException")
"""What DuckDB raises, by exact type, over files that are damaged, cut or not to be had."""


class Counters(StrEnum):
    """How `ridgeline capture` reads hardware counters."""

    auto = "auto"
    cupti = "cupti"
    ncu = "ncu"
    off = "off"


class Format(StrEnum):
    """How `ridgeline sql` prints."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


class TextFormat(StrEnum):
    """How `ridgeline theory` and `ridgeline compare` print."""

    table = "table"
    csv = "csv"
    json = "json"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ridgeline {ridgeline.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What applies to no command in particular."""


def fail(message: str, code: int = 1) -> NoReturn:
    """End with one line on stderr."""
    interruption.check()
    _say(message)
    raise typer.Exit(code)


def _say(message: str) -> None:
    """One line on stderr."""
    print(f"ridgeline: {_line(message)}", file=sys.stderr, flush=True)


def _line(text: str) -> str:
    """On one line; control characters, and those that turn the direction of writing, as escapes: names are foreign."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


class Advance(Protocol):
    """Shows a name, and that so many more are done."""

    def __call__(self, name: str, done: int = 1) -> None: ...


def _silent(name: str, done: int = 1) -> None:
    """Shows nothing."""


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Advance]:
    """Progress on a terminal, silence in a pipe; what is yielded takes the name of what is done or under way."""
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda name, done=1: bar.update(task, advance=done, description=f"{description}: {_line(name)}")


@app.command()
def analyze(
    paths: Annotated[
        list[Path], typer.Argument(help="Run directories, folders of them, or Kineto traces.", metavar="PATH")
    ],
    warehouse: AnyWarehouse = None,
    lake: LakeOption = None,
    jobs: Annotated[int, typer.Option(help="Decoder processes; 0 for one a core.", min=0, metavar="N")] = 0,
    memory: Annotated[
        str | None, typer.Option(help="What ingest may hold, such as 2GB; 60 % of what there is.", metavar="SIZE")
    ] = None,
    twin: Annotated[
        Path | None,
        typer.Option(help="Eager trace of the same steps, for one PATH with graph replays.", metavar="TRACE"),
    ] = None,
    hta: Annotated[
        bool, typer.Option("--hta", help="Add HolisticTraceAnalysis' analyses, also to runs loaded before; slow.")
    ] = False,
    salvage: Annotated[
        bool,
        typer.Option("--salvage", help="Of a trace that is cut off or damaged, load every event before the break."),
    ] = False,
) -> None:
    """Attribute and price every kernel of traces.

    The results are loaded into the warehouse, or written into a lake; a trace that is there already and has not changed
    is left alone.

    Example: ridgeline analyze runs/ trace.json.gz -w ridgeline.duckdb
    """
    from ridgeline.analyze.ingest import analyze as ingest

    _check_either(warehouse, lake)
    if lake and hta:
        fail("--hta is for a warehouse: analyze into one with -w FILE, then `ridgeline export -w FILE LAKE`", 2)
    if twin and (len(paths) > 1 or paths[0].is_dir()):
        fail("--twin belongs to one trace: expected a single PATH that is a file", 2)
    most_bytes = _memory(memory)
    with (
        progress("analyzing") as advance,
        errors_in_one_line(lake or warehouse or DEFAULT_WAREHOUSE),
        _within(most_bytes),
    ):
        results = ingest(
            paths,
            warehouse or DEFAULT_WAREHOUSE,
            jobs=jobs or os.cpu_count() or 1,
            report=lambda result: _say_result(result, advance),
            twin=twin,
            hta=hta,
            memory=most_bytes,
            salvage=salvage,
            lake=lake,
        )
    if any(result.outcome == "failed" for result in results):
        raise typer.Exit(1)


def _say_result(result: Result, advance: Advance) -> None:
    interruption.check()
    advance(result.name)
    _say(_one_line(result))
    for warning in result.warnings:
        _say(f"{result.name}: warning: {warning}")


def _memory(size: str | None) -> int:
    from ridgeline.analyze.resources.memory_limit import LEAST_BYTES, default_bytes, in_words, parse_size

    if size is None:
        return default_bytes()
    try:
        memory = parse_size(size)
    except ValueError as e:
        fail(f"--memory: {e}", 2)
    if memory < LEAST_BYTES:
        fail(f"--memory: {size} is too little: expected {in_words(LEAST_BYTES)} or more", 2)
    return memory


@contextmanager
def _within(most_bytes: int) -> Iterator[None]:
    """What would take more memory ends, with one line, as an interruption does."""
    from ridgeline.analyze.resources.memory_limit import in_words
    from ridgeline.analyze.resources.memory_watch import watching

    line = (
        f"ridgeline: more than {in_words(most_bytes)} of memory would be needed: what was complete is kept: give more "
        "by --memory, fewer --jobs or shorter traces"
    )
    with watching(most_bytes, lambda: interruption.give_up(line, 1), interruption.end, interruption.GRACE_S):
        yield


def _check_either(warehouse: Path | None, lake: str | None) -> None:
    if warehouse and lake:
        fail("expected either -w FILE or --lake DIR, found both", 2)


def _one_line(result: Result) -> str:
    if result.error:
        return str(result.error)
    if result.outcome == "unchanged":
        return (
            f"{result.name}: unchanged"
            + (f", the same trace as {result.same_as}" if result.same_as else "")
            + (", HTA's analyses added" if result.examined else "")
        )
    skipped = f", {result.malformed_events:,} malformed events left out" if result.malformed_events else ""
    device_time = f"{result.device_time_ns / 1e6:,.3f} ms of device time"
    what = f"{result.outcome}, {result.kernels:,} kernels, {device_time}"
    added = ", HTA's analyses added" if result.examined else ""
    return f"{result.name}: {what}{_twin(result)}{skipped}{added}{_uncounted(result)}"


def _uncounted(result: Result) -> str:
    """What of the counters was not used, at the length of a line; `runs.counters_message` has it in full."""
    from textwrap import shorten

    return f"; counters: {shorten(result.uncounted, 120, placeholder=' ...')}" if result.uncounted else ""


def _twin(result: Result) -> str:
    """How much of the graph replays matched the twin."""
    found = result.matched
    if not found:
        return ""
    if not found.of_kernels:
        return ", no graph replays for its twin to match"
    share = found.duration_ns / max(found.of_duration_ns, 1)
    return f", the twin tells of {found.kernels:,} of {found.of_kernels:,} replayed kernels, {share:.1%} of their time"


@contextmanager
def errors_in_one_line(stored: Path | str | None = None) -> Iterator[None]:
    """The stages' own errors, the system's, and the database's over what is stored, end the command with one line."""
    from ridgeline.analyze.errors import is_panic

    try:
        yield
    except BaseException as e:
        if not isinstance(e, Exception) and not is_panic(e):
            raise
        if type(e).__module__.startswith(STAGES):
            fail(str(e), 2 if type(e).__name__ == "ConfigError" else 1)
        if isinstance(e, BrokenPipeError):  # whoever read our output has seen enough
            raise typer.Exit(1) from None
        if isinstance(e, ImportError):
            fail(f"{e.name or 'a library'} cannot be imported here ({e}), and this needs it: install it and try again")
        if isinstance(e, OSError):
            fail(f"{e.filename or ''}: {e.strerror or e}".removeprefix(": "))
        if isinstance(e, typer.Exit) or "RIDGELINE_TRACEBACK" in os.environ:
            raise
        if stored and type(e).__module__.endswith("duckdb") and type(e).__name__ in OF_STORAGE:
            fail(f"{stored}: cannot be read or written: {str(e).splitlines()[0]}")
        fail(f"unexpected {type(e).__name__}: {e} (a bug: RIDGELINE_TRACEBACK=1 shows where)")


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="The statement.", metavar="QUERY")] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="Read the statement from a file.", metavar="FILE.sql")
    ] = None,
    warehouse: AnyWarehouse = None,
    lake: LakeOption = None,
    output_format: Annotated[
        Format, typer.Option("--format", help="table, csv, json or parquet.", metavar="FORMAT")
    ] = Format.table,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write to a file instead of stdout.", metavar="FILE")
    ] = None,
) -> None:
    """Run SQL over the warehouse or a lake, read-only.

    Example: ridgeline sql "SELECT operator, duration_ns FROM operator_summary ORDER BY 2 DESC LIMIT 10"
    """
    if (query is None) == (file is None):
        fail("expected either a QUERY or -f FILE", 2)
    _check_either(warehouse, lake)
    with errors_in_one_line():
        from ridgeline.warehouse.query import run

        statement = _text(file) if file else query or ""
        run(warehouse or DEFAULT_WAREHOUSE, statement, output_format=output_format.value, out=out, lake=lake)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        fail(f"{file}: not UTF-8 text")


@app.command()
def capture(
    config: Annotated[Path, typer.Argument(help="What to capture, TOML; lists make a sweep.", metavar="CONFIG.toml")],
    out: Annotated[Path, typer.Option(help="Folder for run directories.", metavar="RUNS")] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the points, their predicted memory and time, run nothing.")
    ] = False,
    counters: Annotated[
        Counters,
        typer.Option(help="auto, cupti, ncu (both, compared) or off.", metavar="METHOD"),
    ] = Counters.auto,
) -> None:
    """Run and trace each point of a configuration.

    Each is timed without the profiler first, then traced over a window of steps, then run once more with the hardware
    counters of every kernel read, where the device allows.

    Example: ridgeline capture capture/configs/8b.toml --out runs
    """
    with errors_in_one_line():
        from ridgeline.capture.sweep import sweep

        points = sweep.load(config)
        if dry_run:
            _print_plan(sweep.describe(points, out))
            return
        _capture(points, out, counters.value)


def _print_plan(descriptions: list[Description]) -> None:
    """What each point would take, and all of them."""
    for each in descriptions:
        print(f"{each.name:80} {each.footprint.total_bytes / 1e9:9.2f} GB {each.seconds:9.1f} s")
    total = f"{len(descriptions)} points"
    print(
        f"{total:80} {max(d.footprint.total_bytes for d in descriptions) / 1e9:9.2f} GB "
        f"{sum(d.seconds for d in descriptions):9.1f} s"
    )
    print(
        f"ridgeline: memory as predicted, time at the roofs of {descriptions[0].roofs_of}: real ones take longer, "
        "and making weights, compiling and reading counters come on top",
        file=sys.stderr,
    )


def _capture(points: list[Point], out: Path, counters: str = "auto") -> None:
    """Capture with progress; failed points end the command with exit code 1 once all others are done."""
    from ridgeline.capture.sweep import sweep

    with progress("capturing", len(points)) as advance:

        def report(result: RunResult) -> None:
            advance(result.name)
            _say(_headline(result))

        def under_way(text: str) -> None:
            advance(text, done=0)

        results = sweep.run(points, out, progress=under_way, report=report, counters=counters)
    failed = [result for result in results if result.outcome == "error"]
    if failed:
        fail(f"{len(failed)} of {len(results)} points failed, the first with: {failed[0].message}")


def _headline(result: RunResult) -> str:
    """The numbers that matter of a captured point."""
    if result.skipped:
        return f"{result.name}: captured before, skipped" + (f"; {result.note}" if result.note else "")
    if result.outcome != "ok" or result.tokens_per_s is None:
        return f"{result.name}: {result.outcome}: {result.message}"
    steps = ", ".join(f"{kind} {ms:.2f} ms" for kind, ms in result.step_ms.items())
    weights = f", weights read at {_rate(result.weights_bytes_per_s)}" if result.weights_bytes_per_s else ""
    return f"{result.name}: {result.tokens_per_s:.1f} tokens/s, {steps}{weights}"


def _rate(bytes_per_s: float) -> str:
    """Three digits: tiny weights on a CPU are read at megabytes a second, large ones on a GPU at terabytes."""
    units = iter(("B/s", "kB/s", "MB/s", "GB/s", "TB/s"))
    unit = next(units)
    while bytes_per_s >= 999.5 and unit != "TB/s":
        bytes_per_s, unit = bytes_per_s / 1000, next(units)
    return f"{bytes_per_s:.3g} {unit}"


@app.command()
def ceilings(
    out: Annotated[Path, typer.Option(help="Where to write.", metavar="FILE")] = Path("ceilings.json"),
) -> None:
    """Measure this device's roofs.

    They are the memory, cache and matrix-product rates, and the shortest kernel.

    Example: ridgeline ceilings --out traces/ceilings.json
    """
    with errors_in_one_line():
        from ridgeline.capture.ceilings.measure import write

        with progress("measuring") as advance:
            measured = write(out, progress=advance)
    for row in measured["ceilings"]:
        what = " ".join(row[key] for key in ("resource", "level", "unit", "precision") if row.get(key))
        print(f"{what:32} {row['value']:12.4g} {row['unit_of_value']:8} {row['method']}")


@app.command()
def report(
    warehouse: AnyWarehouse = None,
    lake: LakeOption = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the page.", metavar="DIR")] = Path("report"),
    run: Annotated[
        list[str] | None, typer.Option("--run", help="Only these runs: names, ids or prefixes.", metavar="NAME")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the report, a self-contained HTML page.

    It draws the roofline of all kernels; beside it, study.html has the figures that captured runs make together.

    Example: ridgeline report -w ridgeline.duckdb -o report --open
    """
    _check_either(warehouse, lake)
    with errors_in_one_line(lake or warehouse or DEFAULT_WAREHOUSE), progress("the report") as advance:
        from ridgeline.reports import write

        page = write(warehouse or DEFAULT_WAREHOUSE, out, run or (), lake=lake, progress=advance)
    print(page)
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


@app.command()
def compare(
    base: Annotated[
        str, typer.Argument(help="Run, or runs: A,B or a pattern 'A*' or experiment:NAME.", metavar="BASE")
    ],
    other: Annotated[str, typer.Argument(help="What to set beside it, likewise.", metavar="OTHER")],
    warehouse: Warehouse = DEFAULT_WAREHOUSE,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the page compare.html.", metavar="DIR")
    ] = None,
    output_format: Annotated[
        TextFormat, typer.Option("--format", help="table, csv or json.", metavar="FORMAT")
    ] = TextFormat.table,
    fail_above: Annotated[
        float | None,
        typer.Option(
            help="Exit 1 if a kind of step is slower by more, and by more than noise.", min=0, metavar="PERCENT"
        ),
    ] = None,
) -> None:
    """Compare two runs, or two groups of runs.

    Rows align by kind of step, operator, module and shapes, not by kernels' names: added, gone, faster, slower, or the
    same within the noise of repeats. --fail-above looks at every kind of step that both have: its time without the
    profiler where both were timed, else its device time.

    Example: ridgeline compare decode_eager decode_graph -o report --fail-above 5
    """
    with errors_in_one_line(warehouse):
        import ridgeline.reports.comparison.text
        from ridgeline.reports.comparison import compare as comparison
        from ridgeline.reports.comparison import page as comparison_page
        from ridgeline.warehouse import connect

        connection = connect(warehouse, read_only=True)
        try:
            found = comparison.compare(connection, base, other)
            page = comparison_page.write(connection, found, out) if out else None
        finally:
            connection.close()
        unseen = comparison.unseen(found, fail_above) if fail_above is not None else []
        for warning in found.warnings + unseen:
            print(f"ridgeline: warning: {' '.join(warning.split())}", file=sys.stderr)
        print(ridgeline.reports.comparison.text.text(found, output_format.value), end="")
        if page:
            print(f"ridgeline: {page}", file=sys.stderr)
        slower = comparison.above(found, fail_above) if fail_above is not None else []
    if slower:
        fail(f"above {fail_above:g} %: {'; '.join(slower)}")


@app.command()
def export(
    lake: Annotated[str, typer.Argument(help="A folder, or a URL of an object store.", metavar="LAKE")],
    warehouse: Warehouse = DEFAULT_WAREHOUSE,
) -> None:
    """Write the warehouse's runs into a Parquet lake.

    Files are partitioned by experiment and run. Any number of machines add runs to one lake; a run that is there
    already with the same rows is left alone.

    Example: ridgeline export -w ridgeline.duckdb lake
    """
    with errors_in_one_line(warehouse):
        from ridgeline.warehouse import connect
        from ridgeline.warehouse.lake import export as write

        connection = connect(warehouse, read_only=True, external_access=True)
        try:
            (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone() or (0,)
            with progress("exporting", runs) as advance:
                done = write(connection, lake, report=lambda run: advance(run.name))
        finally:
            connection.close()
    written = [run for run in done if run.outcome == "written"]
    rows, size = sum(run.rows for run in written), sum(run.bytes for run in written)
    print(
        f"ridgeline: {lake}: {len(written):,} runs written, {rows:,} rows, {size / 1e6:,.1f} MB,"
        f" {len(done) - len(written):,} unchanged",
        file=sys.stderr,
    )


@app.command()
def reprice(warehouse: Warehouse = DEFAULT_WAREHOUSE) -> None:
    """Apply the current pricing rules to what is stored.

    All or nothing, and without the traces. Runs that need theirs again are named: analyze them anew.

    Example: ridgeline reprice -w ridgeline.duckdb
    """
    from ridgeline.analyze.reprice import reprice as apply_rules

    with errors_in_one_line(warehouse), progress("repricing"):
        done = apply_rules(warehouse)
    print(f"{done.runs} runs, {done.signatures:,} signatures, {done.changed:,} of them with another price")
    if done.stale:
        fail(f"analyze again, as their traces are needed: {', '.join(done.stale)}")


@app.command()
def forget(
    runs: Annotated[list[str], typer.Argument(help="Names, ids, or unique prefixes of either.", metavar="RUN")],
    warehouse: Warehouse = DEFAULT_WAREHOUSE,
) -> None:
    """Remove runs from the warehouse, all that are named or none.

    Example: ridgeline forget decode_eager decode_graph -w ridgeline.duckdb
    """
    with errors_in_one_line(warehouse), progress("forgetting"):
        from ridgeline.warehouse.load import forget as remove

        gone = remove(warehouse, runs)
    for name in gone:
        print(f"ridgeline: {name}: forgotten", file=sys.stderr)


@app.command()
def verify(warehouse: Warehouse = DEFAULT_WAREHOUSE) -> None:
    """Check that the warehouse holds what was loaded.

    Sums, references, prices and digests of stored rows, a line for each run.

    Example: ridgeline verify -w ridgeline.duckdb
    """
    with errors_in_one_line(), progress("verifying"):
        from ridgeline.warehouse.verify import verify as check

        found, remarks = check(warehouse)
    for run in found:
        for finding in run.findings:
            print(f"{run.name}: {finding}")
        if not run.findings:
            print(f"{run.name}: ok, {run.rows:,} rows")
    for remark in remarks:
        print(f"ridgeline: {remark}", file=sys.stderr)
    wrong = sum(bool(run.findings) for run in found)
    if wrong:
        fail(f"{warehouse}: {wrong} of {len(found)} runs are not as loaded: forget those, and analyze them again")


@app.command()
def theory(
    model: Annotated[
        str, typer.Option(help="A shape of capture/configuration/presets.toml, such as llama-3-8b.", metavar="NAME")
    ],
    mode: Annotated[str, typer.Option(help="How it decodes: ar, dlm_full, dlm_block_dual, ...", metavar="MODE")],
    prompt: Annotated[int, typer.Option(help="Tokens of the prompt.", metavar="N")],
    generate: Annotated[int, typer.Option(help="Tokens to generate.", metavar="N")],
    block: Annotated[int | None, typer.Option(help="Tokens of a block; all by default.", metavar="G")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps over all blocks; one a token by default.", metavar="K")
    ] = None,
    batch: Annotated[int, typer.Option(help="Sequences.", metavar="B")] = 1,
    device: Annotated[
        str | None,
        typer.Option(help="A device with a datasheet (A100, H200) or a ceilings.json; else this one.", metavar="NAME"),
    ] = None,
    output_format: Annotated[
        TextFormat, typer.Option("--format", help="table, csv or json.", metavar="FORMAT")
    ] = TextFormat.table,
) -> None:
    """Predict FLOPs, bytes, intensity and least time in closed form.

    It does so by kind of step and component, as the authors of arXiv 2510.04146 count and corrected.

    Example: ridgeline theory --model llama-3-8b --mode ar --prompt 2048 --generate 128 --device A6000
    """
    with errors_in_one_line():
        from ridgeline.analyze.theory.output import theory as predicted

        text = predicted(
            model=model, mode=mode, prompt=prompt, generate=generate, block=block, steps=steps, batch=batch,
            device=device, output_format=output_format.value,
        )  # fmt: skip
    print(text, end="")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for runs, warehouse and report.", metavar="DIR")] = Path("demo"),
) -> None:
    """Capture, analyze and report a small model.

    It runs every decoding mode on this machine, analyzes the traces and writes the report.

    Example: ridgeline demo --out demo
    """
    with errors_in_one_line():
        from ridgeline.capture.sweep import sweep

        configuration = Path(__file__).with_name("capture") / "configs" / "demo.toml"
        _capture(sweep.load(configuration), out / "runs")
    analyze([out / "runs"], out / "ridgeline.duckdb")
    report(out / "ridgeline.duckdb", out=out)


def _prepare_streams() -> None:
    """Make standard streams that can be written to, whatever they are.

    In the place of one that is closed something must stand, or the next file opened would be taken for it. What is
    written to standard output is an error then; what is written to standard error goes nowhere. Characters that the
    terminal's encoding lacks are written as Python would write them.
    """
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 -- for as long as we run
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def main() -> NoReturn:
    """Entry point of the console script."""
    _prepare_streams()
    interruption.unwind()
    code: str | int | None = 0
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except interruption.Interrupted as e:
        interruption.say()
        code = e.code
    except SystemExit as e:
        code = e.code
    except OSError as e:
        code = 1
        if not isinstance(e, BrokenPipeError):  # whoever read our output has seen enough
            print(f"ridgeline: standard output: {e.strerror}", file=sys.stderr)
    # everything is closed by now; taking the libraries down would cost another tenth of a second
    os._exit(code if isinstance(code, int) else 1)
