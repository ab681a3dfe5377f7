"""Optimizers of a program: the first that it makes, and the steps of all."""

from __future__ import annotations

from collections.abc import Callable

from torch.compiler import is_dynamo_compiling
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle


class Optimizers:
    """Tells of the program's optimizers, from `install` to `remove`.

    `made` is called once the program has made an optimizer, `stepped` after every step of one. Neither raises.
    """

    def __init__(self, made: Callable[[], None], stepped: Callable[[], None]) -> None:
        self._made, self._stepped = made, stepped
        self._handle: RemovableHandle | None = None
        self._original = self._patch = Optimizer._patch_step_function

    def install(self) -> None:
        """Begin to tell. `made` is called at once if the program has made an optimizer already."""
        self._handle = register_optimizer_step_post_hook(self._after_step)
        if _optimizer_made():
            return self._made()
        self._original = original = Optimizer._patch_step_function
        optimizers = self

        # PyTorch calls it as it makes an optimizer, and as it reads one from a file.
        def _patch_step_function(self: Optimizer) -> None:
            optimizers._restore()
            optimizers._made()
            original(self)

        Optimizer._patch_step_function = self._patch = _patch_step_function  # type: ignore[method-assign]
        return None

    def remove(self) -> None:
        """Leave PyTorch as it was."""
        self._restore()
        if self._handle is not None:
            self._handle.remove()

    def _after_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        # compiled steps of optimizers inline this function, which must then do nothing
        if not is_dynamo_compiling():
            self._stepped()

    def _restore(self) -> None:
        # A program may have replaced it again: then ours stays inside, and tells once more.
        if Optimizer._patch_step_function is self._patch:
            Optimizer._patch_step_function = self._original  # type: ignore[method-assign]


def _optimizer_made() -> bool:
    """Whether the program has made an optimizer: PyTorch marks the class then."""
    classes = Optimizer.__subclasses__()
    for each in classes:
        if getattr(each.step, "hooked", False):
            return True
        classes += each.__subclasses__()
    return False
