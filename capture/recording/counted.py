"""The counted pass of a recording: which steps can be counted, a window for each set of metrics, and the traced step
that each counted step is like.
"""

import gzip
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import torch

from ridgeline.capture.counters import traced
from ridgeline.capture.counters.counting import FILE, Counting
from ridgeline.capture.counters.cupti import join
from ridgeline.capture.counters.cupti.device import index_of
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring.profiling import Trace
from ridgeline.capture.recording.outcomes import one_line
from ridgeline.capture.steps import RecordedStep

METHODS = ("auto", "cupti", "off")


class Counted:
    """Counts steps that are like those of `window`, which `trace` shows launched kernel by kernel.

    `method` is `auto` or `cupti`, which also counts steps that may hang, with a time limit. Where steps cannot be
    counted, `sets` is empty and `said` has the reason. `hung` gets a line before a process ends that hangs while it
    counts. No method raises.
    """

    def __init__(
        self,
        trace: Trace,
        window: Sequence[RecordedStep],
        device: torch.device,
        method: str,
        hung: Callable[[str], None],
    ) -> None:
        self._window = window
        self._steps: dict[int, RecordedStep] = {}
        self._within = False
        self._problem: str | None = None
        self._said: dict[str, Any] | None = None
        self._counting: Counting | None = None
        self._kernels: dict[int, list[str]] = {}
        self._open, self._step = ExitStack(), ExitStack()
        try:
            text, labels = gzip.decompress(trace.kineto), [step.label for step in window]
            seen = traced.look(text, labels, index_of(device))
            self._problem = seen.impossible or (seen.risk if method == "auto" else None)
            if self._problem is None:
                kernels = sorted(join.kernels(text, labels), key=lambda kernel: kernel.launched_ns)
                for position, step in enumerate(window):
                    self._kernels[step.index] = [each.name for each in kernels if each.step == position]
                self._counting = Counting(device, kernels=seen.kernels, hung=hung)
        except Exception as error:  # whatever is wrong, the trace is recorded
            self._problem = one_line(error)

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets of metrics left to count."""
        return self._counting.sets if self._counting is not None else ()

    def begin(self, step: RecordedStep) -> None:
        """Begin to count `step`; the first step of a window opens it."""
        if self._counting is not None:
            if not self._within:
                self._open.enter_context(self._counting.window())
                self._within = True
            self._steps[step.index] = step
            self._step.enter_context(self._counting.step(step))

    def end(self, *, whole: bool) -> None:
        """End the step that began last. A step that is not `whole` has no counters."""
        error = None if whole else CaptureError("the step did not end")
        with suppress(CaptureError):
            self._step.__exit__(type(error) if error else None, error, None)

    def leave(self) -> None:
        """Close the window that is open, if one is."""
        self._within = False
        self._open.close()

    def stop(self) -> None:
        """Give up what is left to count."""
        self.end(whole=False)
        self.leave()
        if self._counting is not None:
            self._counting.close()

    def result(self) -> dict[str, Any]:
        """Return what run.json says of the counters, without empty parts. Rows get the numbers of traced steps."""
        if self._counting is None:
            return {"outcome": "failed", "reason": self._problem or "no step was counted"}
        if self._said is None:
            self._number()
            report = self._counting.report
            said = {name: value for name, value in msgspec.to_builtins(report).items() if value}
            if self._counting.rows:
                self._said = {"outcome": "ok", **said}
            else:
                reason = "; ".join(report.problems) or "no step was counted"
                self._said = {"outcome": "failed", **said, "reason": reason}
        return self._said

    def _number(self) -> None:
        """Number rows and windows by the traced steps that the counted ones are like, and drop the others."""
        assert self._counting is not None
        rows, report = self._counting.rows, self._counting.report
        names: dict[int, dict[int, str]] = {}
        for row in rows:
            names.setdefault(row.step, {})[row.launch_index] = row.kernel
        kernels = {step: [own[index] for index in sorted(own)] for step, own in names.items()}
        counted = [step for step in self._steps.values() if step.index in kernels]
        alike = matches(counted, self._window, kernels, self._kernels)
        rows[:] = [row._replace(step=alike[row.step]) for row in rows if row.step in alike]
        for window in report.windows:
            kept = [position for position, step in enumerate(window.steps) if step in alike]
            window.kernel_ns[:] = [window.kernel_ns[position] for position in kept] if window.kernel_ns else []
            window.steps[:] = [alike[window.steps[position]] for position in kept]
        if len(alike) < len(kernels):
            report.problems.append(
                f"{len(kernels) - len(alike)} of {len(kernels)} counted steps have other kernels than every traced "
                "step of their kind, and are left out"
            )

    def write(self, directory: Path) -> None:
        """Write the counters, if there are any, into `directory`."""
        if self._counting is not None:
            self._counting.write(directory / FILE)


def matches(
    counted: Sequence[RecordedStep],
    window: Sequence[RecordedStep],
    counted_kernels: Mapping[int, Sequence[str]],
    traced_kernels: Mapping[int, Sequence[str]],
) -> dict[int, int]:
    """The number of the traced step that each counted step is like: of its kind, with kernels of the same names.

    A step of the same number comes first, then the first that no other step has taken. A step that is like none is left
    out. In a program without generations counted steps have other numbers than the traced ones.
    """
    alike: dict[int, int] = {}
    free = list(window)
    for step in counted:
        for candidate in sorted(free, key=lambda each: (each.index != step.index, each.index)):
            same_kind = (candidate.phase, candidate.kind) == (step.phase, step.kind)
            if same_kind and list(counted_kernels[step.index]) == list(traced_kernels.get(candidate.index, ())):
                alike[step.index] = candidate.index
                free.remove(candidate)
                break
    return alike
