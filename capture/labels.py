"""Names in a trace: ranges around modules and token selection, active only while profiling or capturing a graph."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.profiler import record_function

OpenRange = Callable[[str], AbstractContextManager[Any]]


class Labels:
    """Ranges that cost nothing until they are enabled.

    Profiled and unprofiled runs share the decoding code. A range costs microseconds of host time and an eager decoding
    step has hundreds, so the timed run opens none.
    """

    def __init__(self) -> None:
        self._open: OpenRange | None = None

    def range(self, name: str) -> AbstractContextManager[Any]:
        """A range called `name` around a block of code while labels are enabled, else an empty context."""
        return self._open(name) if self._open else nullcontext()

    @contextmanager
    def attached(self, network: nn.Module, open_range: OpenRange = record_function) -> Iterator[None]:
        """Enable all ranges and add one called `module=<qualified name>` around each module of `network`.

        `open_range` makes a range from its name.
        """
        names = {module: f"module={name}" for name, module in network.named_modules() if name}
        # Modules nest, so one stack serves all of them, also where a module calls itself.
        open_ranges: list[AbstractContextManager[Any]] = []

        def enter(module: nn.Module, _inputs: Any) -> None:
            entered = open_range(names[module])
            entered.__enter__()
            open_ranges.append(entered)

        def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
            open_ranges.pop().__exit__(None, None, None)

        handles = [module.register_forward_pre_hook(enter) for module in names]
        # always_call closes the ranges of a forward that raises.
        handles += [module.register_forward_hook(leave, always_call=True) for module in names]
        self._open = open_range
        try:
            yield
        finally:
            self._open = None
            for handle in handles:
                handle.remove()
