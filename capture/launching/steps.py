"""What a step of a launched program is: a call of a module, a range, or a forward with its backward and optimizer."""

from __future__ import annotations

import re
import sys
import threading
import weakref
from collections import Counter
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ridgeline.capture.launching.inputs import Inputs, inputs_of
from ridgeline.capture.measuring.labels import is_traced
from ridgeline.capture.recording.program import unwrapped

LONGEST_ACCUMULATION = 256
"""Forwards without an optimizer's step after which its steps are taken to be out of sight: compiled, for example."""

UNSEEN_AFTER = 8
"""The same where no optimizer has made a step yet."""

GRADIENTS_SOUGHT = 4
"""Calls of a module before which gradients are looked for, in a program without an optimizer."""


class Sink(Protocol):
    """Receives the steps. No method raises."""

    def begin(self, kind: str, phase: str, similar: Any, module: nn.Module | None, facts: dict[str, Any]) -> bool:
        """A step begins; steps that do the same work have equal `similar`. Return False if it is not recorded."""

    def calls(self, module: nn.Module) -> None:
        """The range that is the open step calls `module`."""

    def end(self, error: BaseException | None = None) -> None:
        """The step that began last ended, with the exception that its module raised."""


class Seen(NamedTuple):
    """What the steps of a program have shown."""

    mode: str
    batch: int | None


class Steps:
    """Finds the steps of a program in its outermost module calls and its optimizers' steps, and tells `sink`.

    With `pattern`, a step is instead a call of a module whose class or qualified name the pattern matches in full, or a
    range that it matches a part of, whose named groups are the step's facts.
    """

    def __init__(self, sink: Sink, pattern: re.Pattern[str] | None = None) -> None:
        self._sink, self._pattern = sink, pattern
        self._training = Training()
        self._open = False
        self._part = False  # the call that is observed is not the first of its step
        self._range = False  # the open step is a range
        self._models: dict[int, tuple[weakref.ref[nn.Module], type[nn.Module]]] = {}
        self._roots: set[type] = set()
        self._trained: set[type] = set()
        self._decoders: set[type] = set()
        self._phases: Counter[str] = Counter()
        self._batches: Counter[tuple[type, int | None]] = Counter()
        self._matches: dict[type, bool] = {}
        self._named: dict[int, bool] = {}

    # -- module calls, see calls.Observer

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the call of `module` is a step, or part of the training step that is open."""
        try:
            return self._enter(module, args, kwargs)
        except Exception:
            return False

    def leave(self, module: nn.Module, output: Any, error: BaseException | None) -> None:
        """End the step, unless it is a training step that waits for its optimizer."""
        if _in_backward():  # checkpoints raise an exception of their own where they have computed enough
            return
        if self._open and (error or not (self._part or self._training.waits(output))):
            self._end(error)

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if _capturing() or is_traced():
            return False
        if self._range and _has_parameters(module):
            self._sink.calls(module)
            self._part = True
            return True
        root = self._model(module)
        if root is None or (self._pattern and not self._matches_module(module, root)):
            return False
        if _in_backward():  # a checkpoint computes activations again
            self._part = self._open
            return self._open
        if self._enclosed():
            return False
        self._part = self._open and self._training.goes_on()
        if self._part:
            return True
        if self._open:
            self._end()
        trains = self._training.begins(module)
        inputs = inputs_of(root, args, kwargs)
        self._roots.add(root)
        phase = self._phase(module, root, inputs, trains)
        kind = phase
        alike = {"forward": self._roots, "train": self._trained}.get(phase, ())
        if len(alike) > 1:
            kind = root.__name__  # an encoder, a denoiser and a decoder of images, for example; parts of a GAN
        values = {"query": inputs.query, "context": inputs.context}
        facts = {key: value for key, value in values.items() if value is not None}
        if phase in ("prefill", "decode"):
            facts["tokens"] = 1
        similar = (root, trains, inputs.query == 1)
        self._batches[root, inputs.batch] += 1
        return self._begin(kind, phase, similar, module, facts)

    def _phase(self, module: nn.Module, root: type, inputs: Inputs, trains: bool) -> str:
        """The phase of a step. A long query is a prefill only of models that decode: encoders have none."""
        if trains:
            self._trained.add(root)
            return "train"
        # a table of embeddings alone is no decoder
        if (inputs.query == 1 or inputs.cached) and module._modules:
            self._decoders.add(root)
        if inputs.query is None or root not in self._decoders:
            return "forward"
        return "decode" if inputs.query == 1 else "prefill"

    def _enclosed(self) -> bool:
        """Whether this call is inside of one of its thread that is no step as it began in a step of another thread."""
        if threading.active_count() == 1:
            return False
        calls, frame = 0, sys._getframe()
        code = nn.Module.__call__.__code__
        while above := frame.f_back:
            frame = above
            if frame.f_code is code:
                calls += 1
                module = frame.f_locals["self"]
                root = self._model(module)
                if calls > 1 and root is not None and (not self._pattern or self._matches_module(module, root)):
                    return True
        return False

    def _model(self, module: nn.Module) -> type[nn.Module] | None:
        """The class of the model in `module`, without wrappers; None if it is no step as it has no parameters."""
        reference, model = self._models.get(id(module), (None, None))
        if reference is None or reference() is not module:
            if not (self._pattern or _has_parameters(module)):
                return None
            model = type(unwrapped(module))
            self._models[id(module)] = weakref.ref(module), model
        return model

    def _matches_module(self, module: nn.Module, kind: type) -> bool:
        assert self._pattern is not None
        if kind not in self._matches:
            names = (kind.__name__, f"{kind.__module__}.{kind.__qualname__}")
            self._matches[kind] = any(self._pattern.fullmatch(name) for name in names)
        if self._matches[kind]:
            return True
        if id(module) not in self._named:
            # the first call of a module that holds others: which of them have a matching name in it
            self._named[id(module)] = False
            for name, child in module.named_modules():
                if name:
                    self._named[id(child)] = self._named.get(id(child), False) or bool(self._pattern.fullmatch(name))
        return self._named[id(module)]

    # -- ranges, see ranges.Ranges

    def opened(self, name: str) -> bool:
        """Whether the range `name` is a step."""
        if self._pattern is None or self._open or is_traced() or (match := self._pattern.search(name)) is None:
            return False
        facts = {key: value for key, value in match.groupdict().items() if value is not None}
        kind = facts.pop("kind", None) or facts.get("phase") or match[0]
        phase = facts.pop("phase", kind)
        facts.pop("step", None)  # the recording numbers its steps
        facts = {key: int(value) if value.isdecimal() else value for key, value in facts.items()}
        self._range = self._begin(kind, phase, kind, None, facts)
        return self._range

    def closed(self) -> None:
        """The range that is a step ended."""
        self._range = False
        self._end()

    # -- optimizers

    def watch_optimizers(self) -> RemovableHandle:
        """Have every step of an optimizer end the training step that is open. Removing the handle undoes it."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        def stepped(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            # compiled steps of optimizers inline this function, which must then do nothing
            if not torch.compiler.is_compiling() and self._training.stepped() and self._open:
                self._end()

        return register_optimizer_step_post_hook(stepped)

    def seen(self) -> Seen:
        """Return the mode, and the number of sequences of most steps that began."""
        mode = next((mode for phase, mode in MODES if self._phases[phase]), "forward")
        _, batch = max(self._batches, key=self._batches.__getitem__, default=(None, None))
        return Seen(mode, batch)

    def _begin(self, kind: str, phase: str, similar: Any, module: nn.Module | None, facts: dict[str, Any]) -> bool:
        self._phases[phase] += 1
        self._open = True  # the sink opens ranges of its own, which are no steps
        self._open = self._sink.begin(kind, phase, similar, module, facts)
        return self._open

    def _end(self, error: BaseException | None = None) -> None:
        self._open = False
        self._training.ended()
        self._sink.end(error)


MODES = (("train", "train"), ("decode", "ar"))


class Training:
    """Tells training steps, which last until the optimizer's step, from forwards that merely record a graph.

    A step trains if gradients are enabled, parameters need them, and the program has shown that it trains: it has made
    an optimizer, or parameters have gradients.
    """

    def __init__(self) -> None:
        self._trains = False
        self._thread = 0
        self._forwards = 0
        self._stepped = False
        self._ever_stepped = self._unseen = False  # unseen: an optimizer exists, and its steps cannot be seen
        self._gradients = False
        self._sought: Counter[int] = Counter()
        self._evaluated = False
        self._trains_evaluating = False

    def begins(self, module: nn.Module) -> bool:
        """Whether the call of `module` that begins now is a training step."""
        self._trains = False
        if not torch.is_grad_enabled():
            return False
        made = _optimizer_made()
        # A walk over all parameters takes a microsecond for each: programs without an optimizer are spared it.
        if not (made or self._gradients_of(module)) or not any(each.requires_grad for each in module.parameters()):
            return False
        self._evaluated = not module.training
        self._trains = not made or module.training or self._trains_evaluating
        self._thread, self._forwards, self._stepped = threading.get_ident(), 0, False
        return self._trains

    def goes_on(self) -> bool:
        """Whether another forward belongs to the step that is open: it accumulates gradients for the same optimizer."""
        self._forwards += 1
        self._unseen |= self._forwards > (LONGEST_ACCUMULATION if self._ever_stepped else UNSEEN_AFTER)
        return not self._unseen and not self._stepped and _optimizer_made()

    def waits(self, output: Any) -> bool:
        """Whether the step goes on after its forward returned `output`."""
        return self._trains and any(tensor.requires_grad for tensor in _tensors(output))

    def stepped(self) -> bool:
        """An optimizer made its step; return whether the open step ends with it."""
        self._stepped = self._ever_stepped = True
        self._unseen = False
        self._trains_evaluating |= self._evaluated
        # Autograd's threads may make steps in the middle of a backward pass: then the step ends at the next forward.
        return self._trains and threading.get_ident() == self._thread

    def ended(self) -> None:
        """The step ended."""
        self._trains = False

    def _gradients_of(self, module: nn.Module) -> bool:
        """Whether parameters have had gradients before one of the first calls of a module."""
        if not self._gradients and self._sought[id(module)] < GRADIENTS_SOUGHT:
            self._sought[id(module)] += 1
            self._gradients = any(each.grad is not None for each in module.parameters())
        return self._gradients


def _optimizer_made() -> bool:
    """Whether the program has made an optimizer: PyTorch marks the class then."""
    classes = Optimizer.__subclasses__()
    for each in classes:
        if getattr(each.step, "hooked", False):
            return True
        classes += each.__subclasses__()
    return False


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


def _capturing() -> bool:
    """Whether a CUDA graph is being captured, which marks of time would become part of."""
    initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return initialized and torch.cuda.is_current_stream_capturing()


def _tensors(output: Any) -> list[torch.Tensor]:
    """The tensors of a module's output: itself, or values of a tuple, a list, a dictionary or a model's output."""
    if isinstance(output, torch.Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return [tensor for value in values for tensor in _tensors(value)]
