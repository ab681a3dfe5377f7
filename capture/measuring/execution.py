"""Three ways to execute steps: eager, CUDA graph replay, and torch.compile, which on CUDA is then replayed.

A step's work depends only on its shape (kind, query, context); its position in the sequence is on the device. So one
graph serves all steps of a shape, and one compilation, with symbolic lengths where they vary, all steps of a kind.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ridgeline.capture.measuring import graph_nodes
from ridgeline.capture.measuring.clocks import synchronize
from ridgeline.capture.modes.generation import Generation
from ridgeline.capture.steps import Step

Progress = Callable[[str], None]
Work = Callable[[Any, Tensor, Tensor], None]
NameNodes = Callable[[], AbstractContextManager[Any]]
WARM_UPS = 2
"""Runs on a side stream before the first capture, in which libraries choose kernels and allocate workspaces."""


class Direct:
    """Eager execution: the host launches every kernel."""

    def __init__(self, generation: Generation, device: torch.device) -> None:
        self.generation = generation
        self._work: Work = generation.work
        self._count = torch.arange(max(step.context for step in generation.steps), device=device)

    def run(self, step: Step) -> None:
        """Issue the work of `step`; where confidence decides the next step, wait for its result. Call in order."""
        self.generation.place(step)
        self.issue(step)
        self.generation.learn(step)

    def issue(self, step: Step) -> None:
        """Launch the work of a step that is already placed."""
        self._work(step.kind, *self.sizes(step))

    def sizes(self, step: Step) -> tuple[Tensor, Tensor]:
        """The integers from 0, as many as queries `[query]` and as visible positions `[context]`."""
        return self._count[: step.query], self._count[: step.context]


class Compiled(Direct):
    """The work compiled by torch.compile as a whole; lengths that vary among the steps of a kind are symbolic."""

    def __init__(self, generation: Generation, device: torch.device) -> None:
        super().__init__(generation, device)
        options: dict[str, Any] = {}
        if device.type == "cuda":
            # combo_kernels fuses independent small kernels into one launch; `Graphed` captures the graphs.
            # No search for matrix products: on an H200, whose decoder reads its weights from DRAM, max_autotune chose
            # slower products than the library's at 32 rows, and coordinate descent made products of one row 0 to 10 %
            # slower, differently each time. Both take minutes. For 8-bit products Inductor searches its own templates
            # anyway, unless ATEN is the only backend.
            options = {"combo_kernels": True, "triton.cudagraphs": False, "max_autotune_gemm_backends": "ATEN"}
        self._work = torch.compile(generation.work, fullgraph=True, dynamic=False, options=options)
        self._lengths: dict[str, tuple[set[int], set[int]]] = {}
        for step in generation.steps:
            queries, contexts = self._lengths.setdefault(step.kind, (set(), set()))
            queries.add(step.query)
            contexts.add(step.context)

    def compile(self, progress: Progress) -> None:
        """Compile by running the first step of every kind once."""
        # Each kind of step, and each point of a sweep, is one more variant of the same function.
        with torch._dynamo.config.patch(recompile_limit=64, accumulated_recompile_limit=1024):
            for kind in self._lengths:
                progress(f"compiling {kind}")
                self.run(next(step for step in self.generation.steps if step.kind == kind))
                synchronize(self._count.device)

    def sizes(self, step: Step) -> tuple[Tensor, Tensor]:
        """As `Direct.sizes`, with varying lengths marked as dynamic."""
        query, context = (self._count[:length].clone() for length in (step.query, step.context))
        for tensor, lengths in zip((query, context), self._lengths[step.kind], strict=True):
            if len(lengths) > 1:
                torch._dynamo.mark_dynamic(tensor, 0)
        return query, context


class Graphed:
    """Replay of CUDA graphs that are captured from another runner's launches, one graph per shape."""

    def __init__(self, launched: Direct, device: torch.device, named: NameNodes) -> None:
        self.generation = launched.generation
        self.launched = launched
        self._named = named
        self._device = device
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._graphs: dict[tuple[Any, ...], torch.cuda.CUDAGraph] = {}

    def run(self, step: Step) -> None:
        """As `Direct.run`, but nothing waits: no graph is captured where confidence decides."""
        self.generation.place(step)
        self._graphs[shape(step)].replay()

    def capture(self, progress: Progress) -> None:
        """Capture a graph of every shape. This changes the tokens: reset the generation afterwards."""
        graph_nodes.forget()
        distinct = {shape(step): step for step in self.generation.steps}
        for number, (key, step) in enumerate(distinct.items(), 1):
            progress(f"capturing graph {number} of {len(distinct)}")
            self.generation.place(step)
            # Warm up on a side stream, as torch.cuda.graph requires: a capture must neither allocate nor load kernels.
            side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(side):
                for _ in range(1 if self._graphs else WARM_UPS):
                    self.launched.issue(step)
            torch.cuda.current_stream(self._device).wait_stream(side)
            synchronize(self._device)
            graph = torch.cuda.CUDAGraph()
            # thread_local: CUDA calls of other threads do not invalidate the capture.
            keywords: dict[str, Any] = {"capture_error_mode": "thread_local", **graph_nodes.options()}
            with self._named(), torch.cuda.graph(graph, pool=self._pool, **keywords):
                self.launched.issue(step)
            self._graphs[key] = graph


Runner = Direct | Graphed


class Prepared(NamedTuple):
    """A generation ready to run: its runner, the runner that launches every kernel, and the seconds of preparation."""

    runner: Runner
    launched: Direct
    seconds: float

    @property
    def replayed(self) -> bool:
        """Whether steps are graph replays, whose kernels a trace attributes only by a twin of `launched`."""
        return self.runner is not self.launched


def prepare(
    generation: Generation,
    device: torch.device,
    *,
    execution: str,
    progress: Progress,
    replayed: bool = True,
    named: NameNodes = nullcontext,
) -> Prepared:
    """Make `generation` ready to run by `execution` (`eager`, `cuda_graph`, `compile`), and time the preparation.

    On CUDA, compiled code is replayed from graphs unless `replayed` is false. Graphs of eager code are captured inside
    of `named()`, which names their nodes.
    """
    started = time.perf_counter()
    launched = (Compiled if execution == "compile" else Direct)(generation, device)
    if isinstance(launched, Compiled):
        launched.compile(progress)
    runner: Runner = launched
    if replayed and execution != "eager" and device.type == "cuda":
        # hooks on the modules of compiled code would have it compiled again, and name nothing inside it
        runner = Graphed(launched, device, nullcontext if isinstance(launched, Compiled) else named)
        runner.capture(progress)
    synchronize(device)
    generation.reset()
    return Prepared(runner, launched, time.perf_counter() - started)


def walk(generation: Generation) -> Iterator[Step]:
    """The steps to run in order, without those that earlier steps made superfluous."""
    # Lazy: whether a step is needed is known only after the one before it has run.
    return (step for step in generation.steps if not generation.finished(step))


def shape(step: Step) -> tuple[Any, ...]:
    """Everything that a step's work depends on: kind, query and context."""
    return step.kind, step.query, step.context
