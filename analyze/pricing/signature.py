"""Operator signatures: the profiler's record of a call as typed values."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, zip_longest
from operator import mul
from typing import Any

import msgspec

from ridgeline.analyze.reading.columns import Signature

DTYPES: dict[str, tuple[str, int]] = {
    "float": ("fp32", 4), "double": ("fp64", 8), "c10::BFloat16": ("bf16", 2), "c10::Half": ("fp16", 2),
    "c10::Float8_e4m3fn": ("fp8", 1), "c10::Float8_e5m2": ("fp8", 1), "c10::Float8_e4m3fnuz": ("fp8", 1),
    "c10::Float8_e5m2fnuz": ("fp8", 1), "c10::Float8_e8m0fnu": ("fp8", 1), "c10::Float4_e2m1fn_x2": ("fp4", 1),
    "long int": ("int64", 8), "long": ("int64", 8), "int": ("int32", 4), "short": ("int16", 2),
    "short int": ("int16", 2), "signed char": ("int8", 1), "char": ("int8", 1), "unsigned char": ("uint8", 1),
    "unsigned short": ("uint16", 2), "unsigned int": ("uint32", 4), "unsigned long": ("uint64", 8), "bool": ("bool", 1),
    "c10::complex<float>": ("complex64", 8), "c10::complex<double>": ("complex128", 16),
    "c10::complex<c10::Half>": ("complex32", 4),
}  # fmt: skip
"""The profiler's type names -> Ridgeline's precision and bytes an element."""

FLOATING = frozenset({"fp64", "fp32", "bf16", "fp16", "fp8", "fp4", "complex32", "complex64", "complex128"})


@dataclass(frozen=True)
class Tensor:
    """A tensor operand: sizes and strides in elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    precision: str
    item_bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def distinct_bytes(self) -> int:
        """Bytes of distinct elements: a dimension of stride 0 repeats elements, and overlapping windows share some."""
        # dimensions of stride 0 hold no further elements; windows overlap where the span is shorter than their product
        steps = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if s != 0 or n == 0]
        if any(n == 0 for n, _ in steps):
            return 0
        span = 1 + sum((n - 1) * s for n, s in steps)
        return self.item_bytes * min(math.prod(n for n, _ in steps), span)

    @property
    def floating(self) -> bool:
        return self.precision in FLOATING


def total_bytes(tensors: Iterable[Tensor]) -> int:
    """The sum of the tensors' distinct bytes."""
    return sum(tensor.distinct_bytes for tensor in tensors)


Value = Tensor | list[Tensor] | str | None
"""A tensor, a tensor list, the text of a concrete value, or nothing recorded."""


def tensors_of(value: Value) -> list[Tensor]:
    """The tensor or the tensors of a list, none of another value."""
    return [value] if isinstance(value, Tensor) else value if isinstance(value, list) else []


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a tensor without gaps.

    >>> dense_strides([2, 3, 4])
    (12, 4, 1)
    """
    return tuple(accumulate(reversed(shape[1:]), mul, initial=1))[::-1][: len(shape)]


def broadcast(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of an elementwise result; ValueError if two sizes differ and neither is 1.

    >>> broadcast([(2, 1), (3,)])
    (2, 3)
    """
    result = []
    for sizes in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        others = {*sizes} - {1}
        if len(others) > 1:
            raise ValueError(f"shapes do not broadcast: {sorted(others)}")
        result.append(others.pop() if others else 1)
    return tuple(reversed(result))


@dataclass(frozen=True)
class Arguments:
    """Recorded inputs by the names of their arguments."""

    arguments: dict[str, Value]

    def tensor(self, name: str) -> Tensor | None:
        value = self.arguments.get(name)
        return value if isinstance(value, Tensor) else None

    def tensors(self, *names: str) -> list[Tensor]:
        """The tensors among the named arguments."""
        return [tensor for name in names if (tensor := self.tensor(name))]

    def needed(self, name: str) -> Tensor:
        """A tensor that the price depends on; ValueError if it is not recorded."""
        if tensor := self.tensor(name):
            return tensor
        raise ValueError(f"the argument {name} is not a recorded tensor")

    def flag(self, name: str) -> bool:
        return self.arguments.get(name) == "True"

    def number(self, name: str) -> int | None:
        """An argument that is a whole number."""
        value = self.arguments.get(name)
        return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else None

    def numbers(self, name: str) -> list[int] | None:
        """An argument that is a list of whole numbers."""
        value = self.arguments.get(name)
        numbers = json_list(value) if isinstance(value, str) else None
        return numbers if numbers is not None and all(type(n) is int for n in numbers) else None


@dataclass(frozen=True)
class Call:
    """A parsed signature."""

    operator: str
    inputs: list[Value] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)
    """Costs that the writer recorded: Inductor's ``kernel_flop`` and ``kernel_num_gb``."""

    @cached_property
    def tensors(self) -> list[Tensor]:
        """All tensor operands, lists flattened."""
        return [tensor for value in self.inputs for tensor in tensors_of(value)]

    @property
    def precision(self) -> str | None:
        """The precision of the first floating-point tensor with dimensions, else of the first tensor."""
        floating = [t for t in self.tensors if t.floating]
        chosen = [t for t in floating if t.shape] or floating or self.tensors
        return chosen[0].precision if chosen else None


def signature_id(signature: Signature) -> str:
    """First 16 hex digits of the SHA-256 of the signature's parts."""
    parts = (signature[0].encode("utf-8", "surrogatepass"), *signature[1:])
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def parse(signature: Signature) -> Call:
    """The call that a signature's JSON describes; values of another form than the profiler's become None.

    Never raises, since a signature is foreign text.
    """
    operator, *texts = signature
    dims, types, strides, concrete = (json_list(text) or [] for text in texts)
    values = [value for value in concrete if not isinstance(value, dict)]
    inputs = [_value(*row) for row in zip_longest(dims, types, strides, values)]
    # Objects among the concrete inputs hold measures by name; a value that cannot be a cost is left out.
    named = {name: value for entry in concrete if isinstance(entry, dict) for name, value in entry.items()}
    measures = {name: value for name, value in named.items() if type(value) in (int, float) and 0 <= value < 1e24}
    return Call(operator, inputs, measures)


def json_list(text: bytes | str) -> list[Any] | None:
    """The list that ``text`` holds as JSON; None if it holds something else."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _value(dims: Any, type_name: Any, strides: Any, concrete: Any) -> Value:
    if not isinstance(type_name, str):
        return None
    if type_name.startswith("TensorList"):
        if not isinstance(dims, list):
            return None
        # The profiler's own record has no element type: the list's tensors are then of unknown precision.
        element = type_name.partition(" ")[2]
        recorded = strides if isinstance(strides, list) else []
        tensors = (_tensor(d, element, s) for d, s in zip_longest(dims, recorded[: len(dims)]))
        return [tensor for tensor in tensors if tensor]
    if type_name in DTYPES:
        return _tensor(dims, type_name, strides)
    return concrete if isinstance(concrete, str) and concrete != "" else None


def _tensor(dims: Any, type_name: str, strides: Any) -> Tensor | None:
    if not _is_sizes(dims):
        return None
    precision, item_bytes = DTYPES.get(type_name, ("unknown", 0))
    if not _is_sizes(strides) or len(strides) != len(dims):
        strides = dense_strides(dims)
    return Tensor(tuple(dims), tuple(strides), precision, item_bytes)


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value)
