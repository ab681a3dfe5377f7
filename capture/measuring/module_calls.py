"""Another `nn.Module.__call__` for a while, which torch.compile does not see."""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import nn


class Replacement:
    """A function in the place of `nn.Module.__call__`, from its making to `undo`.

    Hooks would not do. While there are global ones, torch.compile warns, and inlines them into its graphs. With any on
    a module or its parts, PyTorch's own modules leave their fused kernels (`nn.TransformerEncoderLayer`), so that a
    trace shows another program. A replaced `__call__` changes neither, if PyTorch's compiler takes it for the original:
    it compares a module's `__call__` with the one that it found when it was imported.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._original, self._function = nn.Module.__call__, function
        _leave_uncompiled(function)
        _put(self._original, function)

    def undo(self) -> None:
        """Put the original back, wherever the replacement went."""
        # A program may have replaced it again: then ours stays inside, and has to pass calls on.
        if nn.Module.__call__ is self._function:
            _put(self._function, self._original)


def _put(old: Any, new: Any) -> None:
    """Put `new` in the place of `old`, in nn.Module and in PyTorch's modules that hold the function themselves."""
    nn.Module.__call__ = new  # type: ignore[method-assign]
    for name, module in list(sys.modules.items()):
        if name.startswith("torch.") and module is not None:
            for key, value in list(vars(module).items()):
                if value is old:
                    setattr(module, key, new)


def _leave_uncompiled(function: Any) -> None:
    """Have torch.compile pass over the frame of `function`, as over the original's, and compile what it calls."""
    with suppress(Exception):  # names of torch 2.11 to 2.14, internal ones
        from torch._C._dynamo import eval_frame

        skip = eval_frame._FrameExecStrategy(eval_frame._FrameAction.SKIP, eval_frame._FrameAction.DEFAULT)
        eval_frame.set_code_exec_strategy(function.__code__, skip)
