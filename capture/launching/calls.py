"""Calls of outermost modules, by a replaced `nn.Module.__call__` that torch.compile does not see."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Protocol

import torch
from torch import nn

from ridgeline.capture.measuring.module_calls import Replacement


class Observer(Protocol):
    """Learns of outermost calls. Neither method raises."""

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """A call begins while no other is observed; return whether to observe it: calls inside it are not outermost."""

    def leave(self, module: nn.Module, output: Any, error: BaseException | None) -> None:
        """The observed call returned `output`, or raised `error`."""


class Calls:
    """Tells an observer of outermost module calls, from `install` to `remove`."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._lock = Lock()
        self._original: Callable[..., Any] | None = None
        self._replacement: Replacement | None = None
        self.installed = False
        self.idle = False
        """Calls are to be observed, and none is. The only thing that a call inside an observed one looks at."""

    def install(self) -> None:
        """Replace `nn.Module.__call__`."""
        is_compiling = torch.compiler.is_compiling
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
        self.idle = self.installed = True

    def remove(self) -> None:
        """Put the original back, wherever the replacement went."""
        self.idle = self.installed = False
        if self._replacement is not None:
            self._replacement.undo()

    def _outermost(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._original
        assert call is not None
        if not self._lock.acquire(blocking=False):  # another thread's call is observed
            return call(module, *args, **kwargs)
        if not self._observer.enter(module, args, kwargs):
            self._lock.release()
            return call(module, *args, **kwargs)
        self.idle = False
        try:
            output = call(module, *args, **kwargs)
        except BaseException as error:
            self._leave(module, None, error)
            raise
        self._leave(module, output, None)
        return output

    def _leave(self, module: nn.Module, output: Any, error: BaseException | None) -> None:
        try:
            self._observer.leave(module, output, error)
        finally:  # a signal may have interrupted it
            self.idle = self.installed
            self._lock.release()
