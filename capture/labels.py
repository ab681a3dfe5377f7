"""Names in a trace: record_function ranges around steps, modules and token selection, there only while profiling."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.profiler import record_function


class Labels:
    """Ranges that cost nothing until they are switched on.

    An unprofiled run and a profiled run share the decoding code; a range costs microseconds on the host, which an eager
    decoding step would feel a few hundred times, so the timed run has none.
    """

    def __init__(self) -> None:
        self.enabled = False

    def range(self, name: str) -> AbstractContextManager[Any]:
        """A range of that name around a block of code while enabled, else nothing."""
        return record_function(name) if self.enabled else nullcontext()

    @contextmanager
    def attached(self, network: nn.Module) -> Iterator[None]:
        """Enable every range, and add one named `module=<qualified name>` around each module of the network."""
        handles = []
        for name, module in network.named_modules():
            if name:
                before, after = _hooks(f"module={name}")
                handles.append(module.register_forward_pre_hook(before))
                handles.append(module.register_forward_hook(after, always_call=True))
        self.enabled = True
        try:
            yield
        finally:
            self.enabled = False
            for handle in handles:
                handle.remove()


def _hooks(label: str) -> tuple[Callable[..., None], Callable[..., None]]:
    """A pair of hooks that open and close a range; a stack, since a module may be entered again inside itself."""
    open_ranges: list[record_function] = []

    def before(_module: nn.Module, _inputs: Any) -> None:
        entered = record_function(label)
        entered.__enter__()  # type: ignore[no-untyped-call]
        open_ranges.append(entered)

    def after(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        open_ranges.pop().__exit__(None, None, None)

    return before, after
