"""How steps are executed: launched one kernel at a time, replayed from CUDA graphs, or compiled and then replayed.

A step's work depends on its shape alone (kind, query, context); where it happens is on the device. So a graph is
captured for each shape, and compiled code, whose lengths are symbolic where they vary, serves all steps of a kind.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from ridgeline.capture.measuring.clocks import synchronize
from ridgeline.capture.modes import Generation
from ridgeline.capture.steps import Step

Progress = Callable[[str], None]
Work = Callable[[Any, Tensor, Tensor], None]
WARM_UPS = 2
"""Runs of a shape on a side stream before it is captured, as libraries choose kernels and allocate on the first."""


class Runner(Protocol):
    """Runs the steps of a generation."""

    generation: Generation

    def run(self, step: Step) -> None:
        """Issue one step's work, and where confidence decides, wait for what it decided. Steps go in order."""


class Direct:
    """Every kernel launched by the host, in the order of the code."""

    def __init__(self, generation: Generation, device: torch.device) -> None:
        self.generation = generation
        self._work: Work = generation.work
        self._count = torch.arange(max(step.context for step in generation.steps), device=device)

    def run(self, step: Step) -> None:
        self.generation.place(step)
        self.issue(step)
        self.generation.learn(step)

    def issue(self, step: Step) -> None:
        """The work of a step that is placed already."""
        self._work(step.kind, *self.sizes(step))

    def sizes(self, step: Step) -> tuple[Tensor, Tensor]:
        """What tells the work its lengths: the first integers, as many as queries and as visible positions."""
        return self._count[: step.query], self._count[: step.context]


class Compiled(Direct):
    """The work compiled by torch.compile, whole; lengths that vary among the steps of a kind are symbolic."""

    def __init__(self, generation: Generation, device: torch.device) -> None:
        super().__init__(generation, device)
        self._work = torch.compile(generation.work, fullgraph=True, dynamic=False, options=_options(device))
        self._varies = _varying(generation.steps)

    def sizes(self, step: Step) -> tuple[Tensor, Tensor]:
        """As above, with the lengths that vary marked."""
        query, context = (self._count[:length].clone() for length in (step.query, step.context))
        for tensor, varies in zip((query, context), self._varies[step.kind], strict=True):
            if varies:
                torch._dynamo.mark_dynamic(tensor, 0)
        return query, context


class Graphed:
    """Steps replayed from CUDA graphs of what another runner launches, one graph for each shape."""

    def __init__(self, launched: Direct, device: torch.device) -> None:
        self.generation = launched.generation
        self.launched = launched
        self._device = device
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._graphs: dict[tuple[Any, ...], torch.cuda.CUDAGraph] = {}

    def run(self, step: Step) -> None:
        self.generation.place(step)
        self._graphs[shape(step)].replay()

    def capture(self, progress: Progress) -> None:
        """Capture every shape. The tokens are in disorder afterwards: reset the generation."""
        distinct = {shape(step): step for step in self.generation.steps}
        for number, (key, step) in enumerate(distinct.items(), 1):
            progress(f"capturing graph {number} of {len(distinct)}")
            self._graphs[key] = self._captured(step)

    def _captured(self, step: Step) -> torch.cuda.CUDAGraph:
        """A graph of one step."""
        self.generation.place(step)
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS if not self._graphs else 1):
                self.launched.issue(step)
        torch.cuda.current_stream(self._device).wait_stream(side)
        synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            self.launched.issue(step)
        return graph


class Prepared:
    """A generation made ready: its runner, the runner that launches every kernel itself, and what that took."""

    def __init__(self, runner: Runner, launched: Direct, seconds: float) -> None:
        self.runner, self.launched, self.seconds = runner, launched, seconds

    @property
    def replayed(self) -> bool:
        """Whether steps are graph replays, whose kernels no trace can attribute without the launched twin."""
        return self.runner is not self.launched


def prepare(
    generation: Generation, device: torch.device, *, execution: str, progress: Progress, replayed: bool = True
) -> Prepared:
    """Make a generation ready to run as `execution` (`eager`, `cuda_graph`, `compile`) says, and time that.

    Compiled code is replayed from CUDA graphs where there is a CUDA device, unless `replayed` is false.
    """
    started = time.perf_counter()
    if execution == "compile":
        launched: Direct = Compiled(generation, device)
        _compile(launched, device, progress)
    else:
        launched = Direct(generation, device)
    runner: Runner = launched
    if replayed and execution != "eager" and device.type == "cuda":
        runner = Graphed(launched, device)
        runner.capture(progress)
    synchronize(device)
    generation.reset()
    return Prepared(runner, launched, time.perf_counter() - started)


def walk(generation: Generation) -> Iterator[Step]:
    """The steps to run, in order, without those that turn out not to be needed."""
    for step in generation.steps:
        if not generation.finished(step):
            yield step


def shape(step: Step) -> tuple[Any, ...]:
    """What a step's work depends on."""
    return step.kind, step.query, step.context


def _compile(launched: Direct, device: torch.device, progress: Progress) -> None:
    """Run the first step of every kind once, which compiles it."""
    generation = launched.generation
    with _many_variants():
        for kind in dict.fromkeys(step.kind for step in generation.steps):
            progress(f"compiling {kind}")
            step = next(step for step in generation.steps if step.kind == kind)
            launched.run(step)
            synchronize(device)


@contextmanager
def _many_variants() -> Iterator[None]:
    """Let a function be compiled for every kind of step and every point of a sweep."""
    with torch._dynamo.config.patch(recompile_limit=64, accumulated_recompile_limit=1024):
        yield


def _varying(steps: Sequence[Step]) -> dict[str, tuple[bool, bool]]:
    """For each kind, whether its queries and its contexts vary in length."""
    kinds = dict.fromkeys(step.kind for step in steps)
    return {
        kind: tuple(len({pick(step) for step in steps if step.kind == kind}) > 1 for pick in (_query, _context))  # type: ignore[misc]
        for kind in kinds
    }


def _query(step: Step) -> int:
    return step.query


def _context(step: Step) -> int:
    return step.context


def _options(device: torch.device) -> dict[str, Any]:
    """Inductor's settings. Small kernels without dependences are launched as one; graphs are captured by ourselves.

    The searches for matrix products are left out. On an H200, with weights read from DRAM as a decoder does, what
    max_autotune chose for 32 rows was slower than the library's products, and what coordinate descent made of products
    of one row was 0 to 10 % slower, differently each time; both take minutes. Of 8-bit products Inductor searches
    among templates of its own even so, unless it is told of the library alone.
    """
    if device.type != "cuda":
        return {}
    return {"combo_kernels": True, "triton.cudagraphs": False, "max_autotune_gemm_backends": "ATEN"}
