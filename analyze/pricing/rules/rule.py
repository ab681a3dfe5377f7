"""The form of a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from analyze.pricing.meta import Bound

Flops = Callable[["Bound", list[Tensor]], int]
Outputs = Callable[["Bound"], list[Tensor]]
Bytes = Callable[["Bound", list[Tensor]], tuple[int, int]]


@dataclass(frozen=True)
class Rule:
    """How operators of a family are priced; what is None is asked of PyTorch.

    ``outputs`` stands in where there is no meta kernel; ``bytes`` (read, written) where not every input byte is
    touched; ``overwrites`` says that arguments the operator writes are not read.
    """

    operators: tuple[str, ...]
    flops: Flops
    outputs: Outputs | None = None
    bytes: Bytes | None = None
    overwrites: bool = False


def no_flops(bound: Bound, outputs: list[Tensor]) -> int:
    """Data movement, comparison and selection."""
    return 0


def contiguous(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A dense tensor of the given shape with the element type of another."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return Tensor(shape, tuple(strides), like.precision, like.item_bytes)
