"""The two types of rules: for operators of PyTorch, and for those of inference engines."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.signature import Arguments, Call, Tensor, dense_strides

Flops = Callable[["Bound", list[Tensor]], int | None]
Outputs = Callable[["Bound"], list[Tensor] | None]
Bytes = Callable[["Bound", list[Tensor]], tuple[int, int]]


class Rule(msgspec.Struct, frozen=True):
    """How operators of a family are priced; PyTorch answers for a field that is None.

    ``outputs`` replaces a meta kernel that is missing or wrong; ``otherwise`` applies if PyTorch gives no answer.
    ``bytes`` (read, written) is for operators that do not touch every input byte. ``overwrites`` means that arguments
    which the operator writes are not read; ``ignores`` names arguments of which it reads no values. FLOPs that the
    recorded arguments do not determine are None, and the price has low confidence.
    """

    operators: tuple[str, ...]
    flops: Flops
    outputs: Outputs | None = None
    otherwise: Outputs | None = None
    bytes: Bytes | None = None
    overwrites: bool = False
    ignores: tuple[str, ...] = ()


EngineFlops = Callable[[Arguments], int | None]
EngineBytes = Callable[[Arguments], tuple[int, int]]
Certainty = Callable[[Arguments], bool]


def never(arguments: Arguments) -> bool:
    """False: the price depends on an unrecorded length or choice."""
    return False


class EngineRule(msgspec.Struct, frozen=True):
    """How operators outside PyTorch are priced, by their full names.

    ``arguments`` names the recorded inputs in order. A tensor ``name`` is read, ``=name`` only written, ``+name`` read
    and written, ``-name`` neither; ``moved`` returns the bytes of such tensors and of the results. ``name?`` may be
    absent, ``_name`` is a number or text. Further tensors are read. A call that does not fit has no price by the rule;
    one that is not ``certain`` has low confidence.
    """

    operators: tuple[str, ...]
    arguments: str
    flops: EngineFlops
    moved: EngineBytes = lambda arguments: (0, 0)
    certain: Certainty = lambda arguments: True


def fit(rule: EngineRule, call: Call) -> tuple[Arguments, int, int]:
    """The call's inputs by the names of the rule, and the bytes read and written; ValueError if they do not fit."""
    arguments, read, written = Arguments({}), 0, 0
    names = rule.arguments.split()
    for i, value in enumerate(call.inputs):
        # inputs beyond the named ones are optional, and read
        name = names[i] if i < len(names) else f"{i}?"
        plain = name.strip("=+-?_")
        arguments.arguments[plain] = value
        if isinstance(value, Tensor) and name[0] not in "-=":
            read += value.distinct_bytes
        if isinstance(value, Tensor) and name[0] in "+=":
            written += value.distinct_bytes
    for name in names:
        tensor = arguments.tensor(name.strip("=+-?_"))
        # A number may be recorded as a tensor without dimensions.
        fits = tensor is None or tensor.shape == () if name[0] == "_" else tensor is not None
        if not fits and not name.endswith("?"):
            raise ValueError(f"{call.operator}: the recorded input does not fit the argument {name}")
    more = rule.moved(arguments)
    return arguments, read + more[0], written + more[1]


def no_flops(bound: Arguments, outputs: list[Tensor] | None = None) -> int:
    """Data movement, comparison and selection."""
    return 0


def unknown(bound: Bound, outputs: list[Tensor]) -> None:
    """The recorded arguments do not determine the cost."""


def unknown_flops(bound: Arguments) -> None:
    """The recorded arguments do not determine the FLOPs."""


def each(name: str, operations: int) -> EngineFlops:
    """``operations`` for every element of an argument."""
    return lambda arguments: operations * arguments.needed(name).elements


def contiguous(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A dense tensor of ``shape`` with the element type of ``like``."""
    return Tensor(shape, dense_strides(shape), like.precision, like.item_bytes)
