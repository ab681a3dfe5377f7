"""A stand-in for the recording of a launched program: it keeps the steps it is told of."""

from __future__ import annotations

from typing import Any

from torch import nn

from ridgeline.capture.launching.steps import Work


class Kept:
    """The steps of a program, see `ridgeline.capture.launching.steps.Sink`."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str, dict[str, Any]]] = []
        self.similar: list[Any] = []
        self.modules: list[str] = []
        self.ended = 0
        self.errors: list[BaseException] = []

    def begin(self, work: Work, context: int | None) -> bool:
        assert len(self.steps) == self.ended, "a step inside a step"
        self.steps.append((work.kind, work.phase, work.facts | ({} if context is None else {"context": context})))
        self.similar.append(work.similar)
        return True

    def calls(self, module: nn.Module) -> None:
        self.modules.append(type(module).__name__)

    def end(self, error: BaseException | None = None) -> None:
        self.ended += 1
        self.errors += [error] if error else []

    @property
    def phases(self) -> list[str]:
        return [phase for _, phase, _ in self.steps]
