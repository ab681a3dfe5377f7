"""What the rules of all families share: results, dimensions, and arguments that must be recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ridgeline.analyze.pricing.signature import Arguments, Tensor, dense_strides

Result = list[Tensor]
OutputRule = Callable[[Arguments], Result]
ITEM_BYTES = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "fp8": 1, "fp16": 2, "bf16": 2, "fp32": 4,
    "fp64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip
"""Bytes of an element, of the precisions that can be computed with."""


class Misfit(Exception):
    """The operands do not fit each other, or the case is not covered here: PyTorch must be asked."""


def check(fits: bool) -> None:
    """Raise Misfit unless the operands fit."""
    if not fits:
        raise Misfit


def integers(call: Arguments, name: str, default: Sequence[int] | None = None) -> list[int]:
    """A list of whole numbers; ``default`` if none is recorded, ValueError without one."""
    if isinstance(call.value(name), str):
        numbers = call.numbers(name)
        if numbers is None:
            single = call.number(name)
            check(single is not None)
            return [single] if single is not None else []
        return numbers
    if default is None:
        raise ValueError(f"the argument {name} is not recorded")
    return list(default)


def integer(call: Arguments, name: str, default: int | None = None) -> int:
    """A whole number; ``default`` if none is recorded, ValueError without one."""
    value = call.value(name)
    # a number recorded as a tensor without dimensions counts 1, as it does for the meta device
    number = 1 if isinstance(value, Tensor) else call.number(name)
    if number is None:
        check(not isinstance(value, str))
        number = default
    if number is None:
        raise ValueError(f"the argument {name} is not recorded")
    return number


def truths(call: Arguments, name: str, count: int) -> list[bool]:
    """A list of ``count`` flags, such as the mask of wanted gradients; all are wanted if none is recorded."""
    value = call.arguments.get(name)
    if not isinstance(value, str):
        raise ValueError(f"the argument {name} is not recorded")
    flags = [flag.strip().lower() in ("true", "1") for flag in value.strip("[]").split(",")]
    check(len(flags) == count)
    return flags


def reals(call: Arguments, name: str) -> list[float] | None:
    """A list of numbers as the profiler prints them: ``[2., 0.5]``; None if none is recorded."""
    value = call.value(name)
    if not isinstance(value, str):
        return None
    try:
        return [float(number) for number in value.strip("[]").split(",") if number.strip()]
    except ValueError:
        raise Misfit from None


def lists(call: Arguments, name: str) -> list[Tensor]:
    """The tensors of a list that must be recorded."""
    value = call.arguments.get(name)
    if not isinstance(value, list) or not value:
        raise ValueError(f"the argument {name} is not a recorded list of tensors")
    return value


def axis(dim: int, dimensions: int) -> int:
    """A dimension counted from the front; a tensor without dimensions has the dimension 0."""
    count = max(dimensions, 1)
    check(-count <= dim < count)
    return dim % count


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape. Raises Misfit if there is none.

    >>> broadcast((4, 1), (3,))
    (4, 3)
    """
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    count = max(map(len, shapes))
    result = []
    for sizes in zip(*((1,) * (count - len(shape)) + shape for shape in shapes), strict=True):
        distinct = set(sizes) - {1}
        check(len(distinct) <= 1)
        result.append(distinct.pop() if distinct else 1)
    return tuple(result)


def dense(shape: Sequence[int], precision: str) -> Tensor:
    """A new tensor without gaps. Raises Misfit for negative sizes."""
    check(not shape or min(shape) >= 0)
    return Tensor(tuple(shape), dense_strides(shape), precision, ITEM_BYTES[precision])


def like(tensor: Tensor, precision: str | None = None) -> Tensor:
    """A new tensor of the same shape that keeps the order of the dimensions in memory."""
    precision = precision or tensor.precision
    if precision == tensor.precision and is_dense(tensor):
        return tensor
    return Tensor(tensor.shape, preserved(tensor), precision, ITEM_BYTES[precision])


def is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill a stretch of memory once, in any order of the dimensions."""
    steps = [(n, s) for n, s in zip(tensor.shape, tensor.strides, strict=True) if n != 1]
    span = 1 + sum((n - 1) * s for n, s in steps)
    return span == tensor.elements and all(s for _, s in steps)


def preserved(tensor: Tensor) -> tuple[int, ...]:
    """Dense strides in the order that the tensor's strides have."""
    if is_dense(tensor):
        return tensor.strides
    if 0 in tensor.strides:
        return dense_strides(tensor.shape)
    order = sorted(range(len(tensor.shape)), key=lambda i: (-tensor.strides[i], i))
    strides = [0] * len(order)
    for position, stride in zip(order, dense_strides([tensor.shape[i] for i in order]), strict=True):
        strides[position] = stride
    return tuple(strides)


def rows(tensor: Tensor) -> int:
    """Elements of all dimensions but the last."""
    return math.prod(tensor.shape[:-1])


def table(*groups: tuple[str, OutputRule]) -> dict[str, OutputRule]:
    """Rules by operator, from names separated by spaces."""
    return {name: rule for names, rule in groups for name in names.split()}


def same_as(name: str) -> OutputRule:
    """A result of the shape and type of an argument."""
    return lambda call: [like(call.needed(name))]


def same_as_each(*names: str) -> OutputRule:
    """A result for each of the arguments, of its shape and type; none for those that are not recorded."""
    return lambda call: [like(tensor) for tensor in call.tensors(*names)]


def unchanged(name: str) -> OutputRule:
    """The argument itself."""
    return lambda call: [call.needed(name)]


def nothing(call: Arguments) -> Result:
    """No tensor: the operator answers with a number, or changes its arguments."""
    return []


def like_first(call: Arguments) -> Result:
    """A result of the shape and type of the first tensor."""
    for value in call.arguments.values():
        if isinstance(value, Tensor):
            return [like(value)]
    raise ValueError("no tensor is recorded")


def of_sizes(name: str, source: str) -> OutputRule:
    """A result of recorded sizes, of the type of an argument."""
    return lambda call: [dense(integers(call, name), call.needed(source).precision)]


def unknown(call: Arguments) -> Result:
    """The data decide about the result's shape, so that PyTorch has no answer either."""
    raise ValueError("the shape depends on data")


def wanted(*names: str, mask: str = "output_mask") -> OutputRule:
    """Gradients of the arguments that the mask asks for."""

    def outputs(call: Arguments) -> Result:
        flags = truths(call, mask, len(names))
        return [like(call.needed(name)) for name, flag in zip(names, flags, strict=True) if flag]

    return outputs
