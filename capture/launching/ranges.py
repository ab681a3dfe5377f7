"""Ranges of a program, `torch.profiler.record_function`, whose names say that they are steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.autograd.profiler import record_function

Opened = Callable[[str], bool]
"""Learns that a range of that name begins; returns whether it is a step."""


class Ranges:
    """Tells of the program's ranges, from `install` to `remove`, by replaced methods of `record_function`.

    `opened` and `closed` never raise. `closed` is called for the ranges that are steps.
    """

    def __init__(self, opened: Opened, closed: Callable[[], None]) -> None:
        self._opened, self._closed = opened, closed
        self._originals: tuple[Any, Any] | None = None
        self._step: Any = None

    def install(self) -> None:
        """Replace the methods that begin and end a range."""
        enter, leave = self._originals = record_function.__enter__, record_function.__exit__
        ranges = self

        def __enter__(self: record_function) -> Any:  # noqa: N807
            if ranges._step is None and ranges._originals and ranges._opened(self.name):
                ranges._step = self
            return enter(self)  # type: ignore[no-untyped-call]

        def __exit__(self: record_function, *error: Any) -> Any:  # noqa: N807
            result = leave(self, *error)
            if ranges._step is self:
                ranges._step = None
                ranges._closed()
            return result

        record_function.__enter__, record_function.__exit__ = __enter__, __exit__  # type: ignore[method-assign]

    def remove(self) -> None:
        """Put the original methods back."""
        if self._originals is not None:
            originals, self._originals = self._originals, None
            record_function.__enter__, record_function.__exit__ = originals  # type: ignore[method-assign]
