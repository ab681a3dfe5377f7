"""Which pass each step of a launched program is in, while nobody knows how many steps it will take."""

from __future__ import annotations

from typing import Any

from ridgeline.capture.recording.plan import Pass, Stage

PATIENCE_STEPS = 128
"""Timed steps to wait for the kind of step that a window begins with."""


class FromFirstKind:
    """Warm-up steps, then at least `timed` steps, then a window of `traced` steps that begins with the first kind.

    Programs repeat themselves: a prefill and its decodes, an encoder and its denoising steps. A window that begins with
    the kind of the program's first step holds the others too. A program whose first kind does not come again within
    PATIENCE_STEPS is traced from any step on. `counted` steps follow. The warm-up steps are traced as well, for
    programs that end earlier.
    """

    def __init__(self, warmup: int, timed: int, traced: int, counted: int = 0) -> None:
        self.warmup, self.timed, self.traced, self.counted = warmup, timed, traced, counted
        self._first_kind: Any = None
        self._start: int | None = None

    def next(self, number: int, kind: Any) -> None:
        """The step `number`, from 0, of `kind` is about to begin."""
        if number == 0:
            self._first_kind = kind
        waited = number - self.warmup - self.timed
        begins = waited >= PATIENCE_STEPS or (waited >= 0 and kind == self._first_kind)
        if self._start is None and begins:
            self._start = number

    def stage(self, number: int) -> Stage:
        """The stage of the step `number`."""
        if number < self.warmup:
            return Stage(Pass.traced, spare=True)
        if self._start is None or number < self._start:
            return Stage(Pass.timed)
        if number < self._start + self.traced:
            return Stage(Pass.traced)
        if number < self._start + self.traced + self.counted:
            return Stage(Pass.counted)
        return Stage(Pass.done)
