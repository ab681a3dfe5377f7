"""Record any program's steps into a run directory, as `capture` records its own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ridgeline import terminal

if TYPE_CHECKING:
    from torch import nn

    from ridgeline.capture.recording.recording import Recording


def record(
    path: Path | str,
    *,
    modules: "Sequence[nn.Module]" = (),
    name: str | None = None,
    experiment: str = "default",
    warmup: int = 1,
    timed: int = 3,
    traced: Sequence[int] | None = None,
    schedule: Callable[[int], Any] | None = None,
    counters: str = "auto",
    memory: bool = False,
    twin: bool = False,
    ceilings: bool = True,
    say: Callable[[str], None] | None = None,
    **facts: Any,
) -> "Recording":
    """Return a recording of the steps in a `with` block, which writes the run directory `path` when the block ends.

    >>> with ridgeline.record("runs/mine", modules=[net], mode="my_dual", tokens=128) as rec:  # doctest: +SKIP
    ...     for _ in rec.generations():  # warm-up, timed repeats, one traced, one counted on CUDA
    ...         for i in range(128):
    ...             with rec.step("reuse", phase="denoise", query=32, context=1152, tokens=1):
    ...                 denoise(i)

    `warmup` and `timed` are numbers of generations. `traced` are the indices of the steps to trace, a contiguous range:
    by default the whole generation, or if it has more than 128 steps, the shortest run of steps with every kind in it.
    With `schedule`, as `torch.profiler.schedule` returns it, steps count over the whole program: `skip_first` steps
    warm up, `wait` steps are timed, `warmup` steps settle the profiler and `active` steps are traced; mark them by
    `rec.step(kind)`, or call `rec.step()` at the end of each iteration.

    `modules` get labels in the traced pass. `counters` is `auto`, `cupti` or `off`. `memory` records allocations.
    `twin` runs one more generation eagerly (`Generation.eager`), which tells the operators of graph replays.
    `ceilings` measures the device once a folder, after the recording, in a few seconds. `say` gets one line for each
    thing that could not be recorded; by default they go to standard error. Other keywords go to `config` in run.json:
    `mode`, `dtype`, `batch`, `prompt_tokens`, `generated_tokens` and any more; `tokens` is the number of tokens that a
    generation, or with `schedule` a step, commits over the batch.

    Raises CaptureError for a wrong call, and where `path` is a directory that is not a run. What fails in the recorder
    itself never raises.
    """
    from ridgeline.capture.recording.plan import ByGeneration, Plan, by_schedule
    from ridgeline.capture.recording.recording import Recording

    plan: Plan
    if schedule is not None:
        plan = by_schedule(schedule)
    else:
        window = range(min(traced), max(traced) + 1) if traced else None
        plan = ByGeneration(warmup=warmup, timed=timed, traced=window)
    return Recording(
        Path(path),
        plan=plan,
        modules=modules,
        name=name,
        experiment=experiment,
        counters=counters,
        memory=memory,
        twin=twin,
        ceilings=ceilings,
        say=say or terminal.say,
        **facts,
    )
