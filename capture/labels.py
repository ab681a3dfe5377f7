"""Names in a trace: record_function ranges around steps, modules and token selection, active only while profiling."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.profiler import record_function


class Labels:
    """Ranges that cost nothing until they are enabled.

    Profiled and unprofiled runs share the decoding code. A range costs microseconds of host time and an eager decoding
    step has hundreds, so the timed run opens none.
    """

    def __init__(self) -> None:
        self.enabled = False

    def range(self, name: str) -> AbstractContextManager[Any]:
        """A range called `name` around a block of code while labels are enabled, else an empty context."""
        return record_function(name) if self.enabled else nullcontext()

    @contextmanager
    def attached(self, network: nn.Module) -> Iterator[None]:
        """Enable all ranges and add one called `module=<qualified name>` around each module of `network`."""
        names = {module: f"module={name}" for name, module in network.named_modules() if name}
        # Modules nest, so one stack serves all of them, also where a module calls itself.
        open_ranges: list[record_function] = []

        def enter(module: nn.Module, _inputs: Any) -> None:
            entered = record_function(names[module])
            entered.__enter__()  # type: ignore[no-untyped-call]
            open_ranges.append(entered)

        def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
            open_ranges.pop().__exit__(None, None, None)

        handles = [module.register_forward_pre_hook(enter) for module in names]
        # always_call closes the ranges of a forward that raises.
        handles += [module.register_forward_hook(leave, always_call=True) for module in names]
        self.enabled = True
        try:
            yield
        finally:
            self.enabled = False
            for handle in handles:
                handle.remove()
