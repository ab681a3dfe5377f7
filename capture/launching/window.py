"""Which pass each step of a launched program is in, while nobody knows how many steps it will take."""

from __future__ import annotations

from typing import Any

from ridgeline.capture.recording.plan import Pass, Stage

PATIENCE_STEPS = 128
"""Steps to wait for the kind of step that a window begins with."""


class FromFirstKind:
    """Warm-up steps, then at least `timed` steps, then a window of `traced` steps that begins with the first kind.

    Programs repeat themselves: a prefill and its decodes, an encoder and its denoising steps. A window that begins with
    the kind of the program's first step holds the others too. A program whose first kind does not come again within
    PATIENCE_STEPS is traced from any step on. A window of `counted` steps follows, which begins likewise.

    A spare trace serves programs that end before the window: of the warm-up steps, or, where steps are timed `on_cuda`,
    of the steps after the timed ones. CUPTI stays attached after its first use and slows every launch: on an H200 host
    the step of a DLRM took 6.2 ms after it, and 4.2 ms before.
    """

    on_cuda = False
    """Whether the program has a CUDA device in use, known when its first step begins."""

    def __init__(self, warmup: int, timed: int, traced: int, counted: int = 0) -> None:
        self.warmup, self.timed, self.traced, self.counted = warmup, timed, traced, counted
        self._first_kind: Any = None
        self._traced_from: int | None = None
        self._counted_from: int | None = None

    def next(self, number: int, kind: Any) -> None:
        """The step `number`, from 0, of `kind` is about to begin."""
        if number == 0:
            self._first_kind = kind
        if self._traced_from is None:
            # A first spare step takes the disturbance of CUPTI's first use.
            self._traced_from = self._begun(number, kind, self.warmup + self.timed + self._spare_after)
        elif self._counted_from is None:
            self._counted_from = self._begun(number, kind, self._traced_from + self.traced)

    def _begun(self, number: int, kind: Any, earliest: int) -> int | None:
        """The number if a window that may begin with the step `earliest` begins now."""
        waited = number - earliest
        return number if waited >= PATIENCE_STEPS or (waited >= 0 and kind == self._first_kind) else None

    @property
    def _spare_after(self) -> bool:
        """Whether the spare trace follows the timed steps."""
        return self.on_cuda and self.timed > 0

    def stage(self, number: int) -> Stage:
        """The stage of the step `number`."""
        if number < self.warmup:
            return Stage(Pass.warm_up) if self._spare_after else Stage(Pass.traced, spare=True)
        if self._traced_from is None or number < self._traced_from:
            return self._before_window(number - self.warmup - self.timed)
        if number < self._traced_from + self.traced:
            return Stage(Pass.traced)
        if self.counted and (self._counted_from is None or number < self._counted_from):
            return Stage(Pass.warm_up)  # until the first kind comes again
        if self._counted_from is not None and number < self._counted_from + self.counted:
            return Stage(Pass.counted)
        return Stage(Pass.done)

    def until(self, number: int) -> int:
        """The first step after `number` that may be in another stage."""
        return next((end for end in (self.warmup, self.warmup + self.timed) if end > number), number + 1)

    def _before_window(self, late: int) -> Stage:
        """The stage of a step that is `late` steps behind the last one that has to be timed."""
        if not self._spare_after or late < 0:
            return Stage(Pass.timed)
        return Stage(Pass.traced, spare=True) if late < self.traced else Stage(Pass.warm_up)
