"""What a step of a launched program is: a call of a module, a range, or a forward with its backward and optimizer."""

from __future__ import annotations

import re
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from threading import get_ident
from typing import Any, NamedTuple, Protocol

import torch
from torch import is_grad_enabled, nn
from torch._C import _current_graph_task_id as graph_task

from ridgeline.capture.launching.inputs import Reader
from ridgeline.capture.measuring.labels import is_traced, is_traced_eagerly
from ridgeline.capture.recording import program
from ridgeline.capture.steps import RecordedStep

LONGEST_ACCUMULATION = 256
"""Forwards without an optimizer's step after which its steps are taken to be out of sight: compiled, for example."""

UNSEEN_AFTER = 8
"""The same where no optimizer has made a step yet."""

ON_CUDA: bool = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
"""Whether this PyTorch knows CUDA graphs."""

GRADIENTS_SOUGHT = 4
"""Calls of a module before which gradients are looked for, in a program without an optimizer."""


class Work:
    """What steps that do the same work say of themselves; their numbers and contexts differ.

    `similar` is equal for steps that a window may begin with alike. `sequences` is the class of the model and the size
    of the batch.
    """

    __slots__ = "facts", "kind", "phase", "sequences", "similar", "steps"

    def __init__(self, kind: str, phase: str, similar: Any, facts: dict[str, Any], sequences: Any = None) -> None:
        self.kind, self.phase, self.similar, self.facts, self.sequences = kind, phase, similar, facts, sequences
        self.steps = 0
        """The number of steps that began."""

    def step(self, number: int, context: int | None) -> RecordedStep:
        """Return the step `number`. Raises CaptureError for a fact that no step may have."""
        facts = self.facts if context is None else self.facts | {"context": context}
        return program.step_of(self.kind, self.phase, number, facts)


class Sink(Protocol):
    """Receives the steps. No method raises."""

    def begin(self, work: Work, context: int | None) -> bool:
        """A step begins, which attends to `context` positions. Return False if it is not recorded."""

    def calls(self, module: nn.Module) -> None:
        """The step that is open, or that begins next, calls `module`."""

    def end(self, error: BaseException | None = None) -> None:
        """The step that began last ended, with the exception that its module raised."""


class Seen(NamedTuple):
    """What the steps of a program have shown."""

    mode: str
    batch: int | None


Shown = tuple[int | None, int | None, bool, bool]
"""What a call shows of its work: query, batch, whether it has a cache, and whether it trains."""


class Model:
    """A module that steps call. `root` is its class, without wrappers. `gone` is called when it is freed."""

    def __init__(self, module: nn.Module, gone: Callable[[Any], Any]) -> None:
        self._reference = weakref.ref(module, gone)
        self.root = type(program.unwrapped(module))
        self.read = Reader(self.root.forward).read
        self.works: dict[Shown, Work] = {}
        self.looked_for_gradients = 0
        """Calls before which its parameters were looked through for gradients."""
        # the names of the modules that hold one that needed gradients, from the outermost on, and its own
        self._parameter: tuple[list[str], str] = [], ""

    def needs_gradients(self, module: nn.Module) -> bool:
        """Whether a parameter of `module` needs gradients. Looks at the one that did before, then at all."""
        # A weak reference is faster, but PyTorch refuses to swap tensors that have any.
        inner, last = self._parameter
        owner: Any = module
        try:
            for name in inner:
                owner = owner._modules[name]
            if owner._parameters[last].requires_grad:
                return True
        except (KeyError, AttributeError):  # the module has another one now
            pass
        # takes a microsecond for each parameter
        name = next((name for name, each in module.named_parameters() if each.requires_grad), "")
        *inner, last = name.split(".")
        self._parameter = inner, last
        return name != ""


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
        self._trains = False  # the step is a training step
        self._again = False  # it computes activations again, in a backward pass
        self._range = False  # the open step is a range
        self._models: dict[int, Model] = {}
        self._roots: set[type] = set()
        self._trained: set[type] = set()
        self._decoders: set[type] = set()
        self._phases: set[str] = set()
        self._works: list[Work] = []
        self._matches: dict[type, bool] = {}
        self._named: dict[int, bool] = {}

    # -- module calls, see calls.Observer

    # The program waits for this and `leave`, which its steps drive out of the core's caches: they touch little.
    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], first: bool) -> bool:
        """Whether the call of `module` is a step, or part of the training step that is open."""
        if not (module._parameters or module._modules or self._pattern):  # a loss, which programs call each step
            return False
        if is_traced_eagerly() or (ON_CUDA and _capturing()):
            return False
        self._again = graph_task() != -1
        if self._range and _has_parameters(module):
            self._sink.calls(module)
            self._part = True
            return True
        model = self._models.get(id(module)) or self._met(module)
        if model is None or (self._pattern and not self._matches_module(module, model.root)):
            return False
        if self._again:
            return self._open
        if first and self._enclosed():
            return False
        self._part = self._open and self._training.goes_on()
        if self._part:
            return True
        if self._open:
            self._end()
        self._trains = trains = is_grad_enabled() and self._training.begins(module, model)
        query, context, batch, cached = model.read(args, kwargs)
        shown = query, batch, cached, trains
        return self._begin(model.works.get(shown) or self._work(module, model, shown), context)

    def leave(self, module: nn.Module, output: Any, error: BaseException | None) -> None:
        """End the step, unless it is a training step that waits for its optimizer."""
        if not self._open or self._again:  # checkpoints raise an exception of their own when they have enough
            return
        if error is None and (self._part or (self._trains and _needs_gradients(output))):
            return
        self._open = False
        self._sink.end(error)

    def _work(self, module: nn.Module, model: Model, shown: Shown) -> Work:
        """The work of a call that shows what none showed before, or since more is known of the models."""
        self._sink.calls(module)
        root, (query, batch, cached, trains) = model.root, shown
        before = len(self._roots), len(self._trained), len(self._decoders)
        self._roots.add(root)
        kind = phase = self._phase(module, root, query, cached, trains)
        if before != (len(self._roots), len(self._trained), len(self._decoders)):
            for each in list(self._models.values()):  # a prefill of one that decodes now was a forward before
                each.works.clear()
        alike = {"forward": self._roots, "train": self._trained}.get(phase, ())
        if len(alike) > 1:
            kind = root.__name__  # an encoder, a denoiser and a decoder of images, for example; parts of a GAN
        facts = {"query": query, "tokens": 1 if phase in ("prefill", "decode") else None}
        facts = {key: value for key, value in facts.items() if value is not None}
        work = Work(kind, phase, (root, trains, query == 1), facts, (root, batch))
        model.works[shown] = work
        self._works.append(work)
        self._phases.add(phase)
        return work

    def _phase(self, module: nn.Module, root: type, query: int | None, cached: bool, trains: bool) -> str:
        """The phase of a step. A long query is a prefill only of models that decode: encoders have none."""
        if trains:
            self._trained.add(root)
            return "train"
        # a table of embeddings alone is no decoder
        if (query == 1 or cached) and module._modules:
            self._decoders.add(root)
        if query is None or root not in self._decoders:
            return "forward"
        return "decode" if query == 1 else "prefill"

    def _enclosed(self) -> bool:
        """Whether this call is inside of one of its thread that is no step as it began in a step of another thread."""
        calls, frame = 0, sys._getframe()
        code = nn.Module.__call__.__code__
        while above := frame.f_back:
            frame = above
            if frame.f_code is code:
                calls += 1
                module = frame.f_locals["self"]
                model = self._models.get(id(module)) or self._met(module)
                if calls > 1 and model is not None and (not self._pattern or self._matches_module(module, model.root)):
                    return True
        return False

    def _met(self, module: nn.Module) -> Model | None:
        """Keep what is known of `module`, while it lives. Returns None if it is no step as it has no parameters."""
        if not (self._pattern or _has_parameters(module)):
            return None
        name = id(module)
        self._models[name] = model = Model(module, lambda _: self._models.pop(name, None))
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
        self._phases.add(phase)
        self._trains = False
        self._range = self._begin(Work(kind, phase, kind, facts), None)
        return self._range

    def closed(self) -> None:
        """The range that is a step ended."""
        self._range = False
        self._end()

    # -- optimizers, see optimizers.Optimizers

    def optimizer_made(self) -> None:
        """The program has made an optimizer."""
        self._training.has_optimizer = True

    def optimizer_stepped(self) -> None:
        """A step of an optimizer ended, and with it the training step that is open."""
        if self._training.stepped() and self._trains and self._open:
            self._end()

    def seen(self) -> Seen:
        """Return the mode, and the number of sequences of most steps that began."""
        mode = next((mode for phase, mode in MODES if phase in self._phases), "forward")
        batches: Counter[tuple[type, int | None]] = Counter()
        for work in self._works:
            batches[work.sequences] += work.steps
        _, batch = max(batches, key=batches.__getitem__, default=(None, None))
        return Seen(mode, batch)

    def _begin(self, work: Work, context: int | None) -> bool:
        work.steps += 1
        self._open = True  # the sink opens ranges of its own, which are no steps
        self._open = self._sink.begin(work, context)
        return self._open

    def _end(self) -> None:
        self._open = False
        self._sink.end()


MODES = (("train", "train"), ("decode", "ar"))


class Training:
    """Tells training steps, which last until the optimizer's step, from forwards that merely record a graph.

    A step trains if gradients are enabled, parameters need them, and the program has shown that it trains: it has made
    an optimizer, or parameters have gradients.
    """

    def __init__(self) -> None:
        self.has_optimizer = False
        """Whether the program has made an optimizer."""
        self._thread = 0
        self._forwards = 0
        self._stepped = False
        self._ever_stepped = self._unseen = False  # unseen: an optimizer exists, and its steps cannot be seen
        self._gradients = False
        self._evaluated = False
        self._trains_evaluating = False

    def begins(self, module: nn.Module, model: Model) -> bool:
        """Whether the call of `module` that begins now, while gradients are enabled, is a training step."""
        made = self.has_optimizer
        if not (made or self._gradients or self._gradients_of(module, model)) or not model.needs_gradients(module):
            return False
        self._evaluated = not module.training
        self._thread, self._forwards, self._stepped = get_ident(), 0, False
        return not made or module.training or self._trains_evaluating

    def goes_on(self) -> bool:
        """Whether another forward belongs to the step that is open: it accumulates gradients for the same optimizer."""
        self._forwards += 1
        self._unseen |= self._forwards > (LONGEST_ACCUMULATION if self._ever_stepped else UNSEEN_AFTER)
        return not self._unseen and not self._stepped and self.has_optimizer

    def stepped(self) -> bool:
        """An optimizer made its step; return whether the training step ends with it that is open, if one is."""
        self._stepped = self._ever_stepped = True
        self._unseen = False
        self._trains_evaluating |= self._evaluated
        # Autograd's threads may make steps in the middle of a backward pass: then the step ends at the next forward.
        return get_ident() == self._thread

    def _gradients_of(self, module: nn.Module, model: Model) -> bool:
        """Whether parameters have gradients before one of the first calls of a module."""
        if model.looked_for_gradients < GRADIENTS_SOUGHT:
            model.looked_for_gradients += 1
            self._gradients = any(each.grad is not None for each in module.parameters())
        return self._gradients


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _capturing() -> bool:
    """Whether a CUDA graph is being captured, which marks of time would become part of."""
    initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return initialized and torch.cuda.is_current_stream_capturing()


def _needs_gradients(output: Any) -> bool:
    """Whether a module's output needs gradients: a tensor, or one in a tuple, a list or a dictionary."""
    if isinstance(output, torch.Tensor):
        return output.requires_grad
    values = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return any(_needs_gradients(value) for value in values)
