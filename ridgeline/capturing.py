"""The commands that record: `capture`, `record` and `ceilings`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from ridgeline import options
from ridgeline.terminal import errors_in_one_line, fail, progress, say

if TYPE_CHECKING:
    from ridgeline.capture.configuration.points import Point
    from ridgeline.capture.sweep.sweep import RunResult


def captured(points: list[Point], out: Path, counters: str = "auto") -> None:
    """Capture ``points`` into ``out`` with progress; if any failed, exit with code 1 after the last one."""
    from ridgeline.capture.sweep import sweep

    with progress("capturing", len(points)) as advance:

        def report(result: RunResult) -> None:
            advance(result.name)
            say(result.headline())

        results = sweep.run(points, out, progress=lambda text: advance(text, done=0), report=report, counters=counters)
    failed = [result for result in results if result.outcome == "error"]
    if failed:
        fail(f"{len(failed)} of {len(results)} points failed, the first with: {failed[0].message}")


def planned(points: list[Point], out: Path) -> None:
    """Print the predicted memory in GB and least time in seconds of each of ``points``, and of all."""
    from ridgeline.capture.sweep import sweep

    plan = sweep.describe(points, out)
    sizes = [(each.name, each.footprint.total_bytes, each.seconds) for each in plan]
    known = [each.seconds for each in plan if each.seconds is not None]
    total = (f"{len(plan)} points", max(size for _, size, _ in sizes), sum(known) if known else None)
    for name, size, seconds in [*sizes, total]:
        print(f"{name:80} {size / 1e9:9.2f} GB {'-' if seconds is None else f'{seconds:.1f}':>9} s")
    for note in dict.fromkeys(each.note for each in plan if each.note):
        say(note)
    say(
        f"memory is predicted; time is the least at the roofs of {plan[0].roofs_of}, without making weights, compiling "
        "and reading counters"
    )


@click.command(
    params=[
        options.CONFIGURATION,
        options.RUNS_FOLDER,
        options.SWEEP_EXPERIMENT,
        options.DRY_RUN,
        options.COUNTERS,
    ]
)
def capture(
    config: Path, out: Path, experiment: str | None, dry_run: bool, counters: Literal["auto", "cupti", "ncu", "off"]
) -> None:
    """Run and trace each point of a configuration.

    A point is timed without the profiler, then a window of its steps is traced, then the hardware counters of every
    kernel are read in another run if the device allows it. A point that is there already is skipped.

    Example: ridgeline capture capture/configs/8b.toml --out runs
    """
    with errors_in_one_line():
        from ridgeline.capture.sweep import sweep

        points = sweep.load(config, experiment)
        if dry_run:
            planned(points, out)
        else:
            captured(points, out, counters)


@click.command(
    params=[
        options.RUNS_FOLDER,
        options.RECORDING_NAME,
        options.EXPERIMENT,
        options.WARM_UP_STEPS,
        options.TIMED_STEPS,
        options.TRACED_STEPS,
        options.RECORDED_STEP,
        options.RECORDING_COUNTERS,
        options.ALLOCATIONS,
        options.URL,
        options.SECONDS,
        options.ENGINE_TRACES,
        options.PROGRAM,
    ],
    # what follows the program belongs to the program, also without `--`
    context_settings={"allow_interspersed_args": False},
)
def record(
    out: Path,
    name: str | None,
    experiment: str,
    traced: int | None,
    url: str | None,
    seconds: float | None,
    traces: Path | None,
    program: tuple[str, ...],
    **settings: Any,
) -> None:
    """Run a program, and trace some of its steps.

    A step is a call of the outermost torch.nn.Module that has parameters; in training it lasts until the optimizer's
    step. After --warmup steps, at least --timed steps are timed without the profiler. Then --traced steps are traced,
    from the next step of the first step's kind on (so that a window has a prefill and its decodes), or after 128 timed
    steps from any. As many more are counted where counters work. Then the run directory is written, and the program
    goes on at its own speed. If the program ends earlier, the trace of its first steps is kept. Exit code, streams and
    signals are the program's own. Children of the program that call modules have a run directory each.

    With --url a running vLLM or SGLang server is recorded by its own profiler, while PROGRAM makes its load.

    Example: ridgeline record --out runs -- python serve.py --requests 8
    """
    with errors_in_one_line():
        if url is not None:
            from ridgeline.capture import engines

            _refuse_given(settings)
            settings = {"name": name, "experiment": experiment, "program": program, "seconds": seconds}
            recorded = engines.record(url, out, steps=traced, folder=traces, say=say, **settings)
            raise SystemExit(recorded.exit_code)
        if not program or seconds is not None or traces is not None:
            fail("expected -- PROGRAM ARGS..., or the --url of a server; --seconds and --traces belong to --url", 2)

        from ridgeline.capture.launching import command
        from ridgeline.capture.launching.options import TRACED, Options

        if remark := command.remark(program):
            say(remark)
        settings |= {"name": name or command.name_of(program), "experiment": experiment, "traced": traced or TRACED}
        command.execute(program, Options(out=str(out.absolute()), started_ns=time.time_ns(), **settings))


def _refuse_given(settings: dict[str, Any]) -> None:
    """End the command if the user gave one of ``settings``, which an engine's own profiler does not have."""
    source = click.get_current_context().get_parameter_source
    given = [f"--{setting}" for setting in settings if source(setting) is ParameterSource.COMMANDLINE]
    if given:
        fail(f"found {', '.join(given)} with --url: an engine's own profiler has no such option; leave it out", 2)


@click.command(params=[options.LINKS, options.CEILINGS_FILE])
def ceilings(links: bool, out: Path) -> None:
    """Measure this device's roofs.

    They are the bandwidths of memory, cache and (--links) links, the rates of matrix products, and the shortest kernel.

    Example: ridgeline ceilings --out traces/ceilings.json
    """
    with errors_in_one_line():
        from ridgeline.capture.ceilings.measure import write

        with progress("measuring") as advance:
            measured = write(out, links=links, progress=advance)
    for row in measured["ceilings"]:
        name = " ".join(row[key] for key in ("resource", "level", "unit", "precision") if row.get(key))
        print(f"{name:32} {row['value']:12.4g} {row['unit_of_value']:8} {row['method']}")
    if links and measured["device_kind"] == "cpu":
        say("no links were measured: torch sees no CUDA device")
