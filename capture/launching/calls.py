"""Calls of outermost modules, by a replaced `nn.Module.__call__` that torch.compile does not see."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, Protocol

import torch
from torch import nn

from ridgeline.capture.measuring.module_calls import Replacement


class Observer(Protocol):
    """Learns of outermost calls."""

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], first: bool) -> bool:
        """A call begins while no other is observed; return whether to observe it: calls inside it are not outermost.

        If it raises, the call is not observed. `first`: another thread's call was observed since this thread's last
        one. Then this call may be inside one that began meanwhile and was not observed.
        """

    def leave(self, module: nn.Module, output: Any, error: BaseException | None) -> None:
        """The observed call returned `output`, or raised `error`. Does not raise."""


class Calls:
    """Tells an observer of outermost module calls, from `install` to `remove`."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._original: Callable[..., Any] | None = None
        self._replacement: Replacement | None = None
        self._thread: int | None = None  # of the last observed call, unless a call of another thread was missed since
        self.idle: list[None] = []
        """Has an element while calls are to be observed, and none is. A call inside an observed one looks at nothing
        else. A list, because one thread alone can take its element.
        """

    def install(self) -> None:
        """Replace `nn.Module.__call__`."""
        is_compiling = torch.compiler.is_dynamo_compiling  # true for torch.compile, in whose graph this might become
        calls = self

        # As many frames as the original has, so that tracebacks are no longer.
        def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
            if calls.idle and not is_compiling():
                return calls._outermost(self, args, kwargs)
            if self._compiled_call_impl is not None:
                return self._compiled_call_impl(*args, **kwargs)
            return self._call_impl(*args, **kwargs)

        self._original = nn.Module.__call__
        self._replacement = Replacement(__call__)
        self.idle = [None]

    def stop(self) -> None:
        """Observe no further call."""
        self.idle = []  # a call that is observed now puts its element back into the other list

    def remove(self) -> None:
        """Put the original back, wherever the replacement went."""
        self.stop()
        if self._replacement is not None:
            self._replacement.undo()

    def _outermost(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call, idle, thread = self._original, self.idle, get_ident()
        assert call is not None
        try:
            idle.pop()
        except IndexError:  # another thread was faster
            self._thread = None
            return call(module, *args, **kwargs)
        try:
            observed = self._observer.enter(module, args, kwargs, thread != self._thread)
        except Exception:
            observed = False
        if not observed:
            idle.append(None)
            return call(module, *args, **kwargs)
        self._thread = thread
        try:
            try:
                output = call(module, *args, **kwargs)
            except BaseException as error:
                self._observer.leave(module, None, error)
                raise
            self._observer.leave(module, output, None)
        finally:  # a signal may have interrupted `leave`
            idle.append(None)
        return output
