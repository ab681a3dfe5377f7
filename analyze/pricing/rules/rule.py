"""The forms of a rule: for operators PyTorch knows, and for those of inference engines, which it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ridgeline.analyze.pricing.signature import Arguments, Call, Tensor

if TYPE_CHECKING:
    from ridgeline.analyze.pricing.meta import Bound

Flops = Callable[["Bound", list[Tensor]], int | None]
Outputs = Callable[["Bound"], list[Tensor] | None]
Bytes = Callable[["Bound", list[Tensor]], tuple[int, int]]


@dataclass(frozen=True)
class Rule:
    """How operators of a family are priced; what is None is asked of PyTorch.

    ``outputs`` stands in where PyTorch's meta kernel is missing or wrong, ``otherwise`` where it gave no answer;
    ``bytes`` (read, written) where not every input byte is touched; ``overwrites`` says that arguments the operator
    writes are not read. FLOPs that the recorded arguments do not tell are None, and the price has low confidence.
    """

    operators: tuple[str, ...]
    flops: Flops
    outputs: Outputs | None = None
    otherwise: Outputs | None = None
    bytes: Bytes | None = None
    overwrites: bool = False


EngineFlops = Callable[[Arguments], int | None]
EngineBytes = Callable[[Arguments], tuple[int, int]]
Certainty = Callable[[Arguments], bool]


def always(arguments: Arguments) -> bool:
    """All that the price depends on is recorded."""
    return True


def never(arguments: Arguments) -> bool:
    """The price rests on what is not recorded, a length or a choice."""
    return False


def nothing_more(arguments: Arguments) -> tuple[int, int]:
    """The named tensors are all there is to move."""
    return 0, 0


@dataclass(frozen=True)
class EngineRule:
    """How operators outside PyTorch are priced, by their full names.

    ``arguments`` names the recorded inputs in order. A tensor is read; ``=name`` is only written, ``+name`` read and
    written, ``-name`` neither: ``moved`` says what of it and of the results is. ``name?`` may be absent, ``_name`` is a
    number or text. Tensors beyond those named are read. A call that does not fit has no price by the rule; one that is
    not ``certain`` has low confidence.
    """

    operators: tuple[str, ...]
    arguments: str
    flops: EngineFlops
    moved: EngineBytes = nothing_more
    certain: Certainty = always


def fit(rule: EngineRule, call: Call) -> tuple[Arguments, int, int]:
    """The call's inputs by the names of the rule, and the bytes read and written; ValueError if they do not fit."""
    found, read, written = Arguments({}), 0, 0
    names = rule.arguments.split()
    for i, value in enumerate(call.inputs):
        name = names[i] if i < len(names) else f"{i}?"
        plain = name.strip("=+-?_")
        found.arguments[plain] = value
        if isinstance(value, Tensor) and name[0] not in "-=":
            read += value.distinct_bytes
        if isinstance(value, Tensor) and name[0] in "+=":
            written += value.distinct_bytes
    for name in names:
        tensor = found.tensor(name.strip("=+-?_"))
        fits = tensor is None or tensor.shape == () if name[0] == "_" else tensor is not None
        if not fits and not name.endswith("?"):
            raise ValueError(f"{call.operator}: the argument {name} is not what was recorded")
    more = rule.moved(found)
    return found, read + more[0], written + more[1]


def no_flops(bound: Arguments, outputs: list[Tensor] | None = None) -> int:
    """Data movement, comparison and selection."""
    return 0


def unknown_flops(bound: Arguments) -> None:
    """More than the recorded arguments tell."""


def each(name: str, operations: int) -> EngineFlops:
    """``operations`` for every element of an argument."""
    return lambda arguments: operations * arguments.needed(name).elements


def contiguous(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A dense tensor of the given shape with the element type of another."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return Tensor(shape, tuple(strides), like.precision, like.item_bytes)
