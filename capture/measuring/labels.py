"""Names in a trace: ranges around modules and token selection, active only while profiling or capturing a graph."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch._C import _get_tracing_state, _len_torch_dispatch_stack
from torch.fx._symbolic_trace import is_fx_symbolic_tracing
from torch.profiler import record_function

from ridgeline.capture.measuring.module_calls import Replacement

TRACING_MODES = (torch._C._TorchDispatchModeKey.FAKE, torch._C._TorchDispatchModeKey.PROXY)
"""The modes of torch.export and make_fx."""

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
    def attached(self, *networks: nn.Module, open_range: OpenRange = record_function) -> Iterator[None]:
        """Enable all ranges and add one called `module=<qualified name>` around each module of `networks`.

        `open_range` makes a range from its name. See `module_names` for the names, and for modules without a range.
        """
        names, call = module_names(networks), nn.Module.__call__

        def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
            name = names.get(self)
            if name is None or is_traced():
                return call(self, *args, **kwargs)
            with open_range(f"module={name}"):
                return call(self, *args, **kwargs)

        replacement = Replacement(__call__) if names else None
        self._open = open_range
        try:
            yield
        finally:
            self._open = None
            if replacement is not None:
                names.clear()  # a program may have kept the function
                replacement.undo()


def module_names(networks: Sequence[nn.Module]) -> dict[nn.Module, str]:
    """The name of each module in `networks`, as `named_modules` gives it.

    With several networks a name starts with the network's class, and with a number where two are of one class. The only
    network itself has no name. A network inside of another one has its name there. Compiled modules and all inside them
    are left out: ranges would record nothing inside them.
    """
    inner = {module for network in networks for module in network.modules() if module is not network}
    networks = [network for network in networks if network not in inner]
    classes = [type(network).__name__ for network in networks]
    counts, seen = Counter(classes), Counter[str]()
    names: dict[nn.Module, str] = {}
    for network, of_class in zip(networks, classes, strict=True):
        prefix = "" if len(networks) == 1 else of_class if counts[of_class] == 1 else f"{of_class}_{seen[of_class]}"
        seen[of_class] += 1
        compiled: set[nn.Module] = set()
        for name, module in network.named_modules():
            if module not in compiled and is_compiled(module):
                compiled.update(module.modules())
            full = ".".join(part for part in (prefix, name) if part)
            if full and module not in compiled:
                names.setdefault(module, "_".join(full.split()))  # a space ends a value in a label
    return names


def is_compiled(module: nn.Module) -> bool:
    """Whether a call of `module` runs compiled code: by `torch.compile(module)` or `module.compile()`."""
    # OptimizedModule is not imported: that loads the compiler.
    return "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None


def is_traced() -> bool:
    """Whether this thread's operators become a graph, of torch.jit, torch.fx or torch.export.

    A range would become part of the graph, so none may open.
    """
    return torch.compiler.is_compiling() or is_traced_eagerly()


def is_traced_eagerly() -> bool:
    """The same, where torch.compile does not compile this code."""
    return (
        _get_tracing_state() is not None
        # the number of all modes first: most programs have none
        or (_len_torch_dispatch_stack() > 0 and _has_tracing_mode())
        or is_fx_symbolic_tracing()
    )


def _has_tracing_mode() -> bool:
    return torch.compiler.is_compiling() or any(torch._C._get_dispatch_mode(mode) is not None for mode in TRACING_MODES)
