"""Operator signatures: what the profiler recorded of a call, as typed values."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import msgspec

from analyze.columns import Signature

DTYPES: dict[str, tuple[str, int]] = {
    "float": ("fp32", 4),
    "double": ("fp64", 8),
    "c10::BFloat16": ("bf16", 2),
    "c10::Half": ("fp16", 2),
    "c10::Float8_e4m3fn": ("fp8", 1),
    "c10::Float8_e5m2": ("fp8", 1),
    "c10::Float8_e4m3fnuz": ("fp8", 1),
    "c10::Float8_e5m2fnuz": ("fp8", 1),
    "c10::Float8_e8m0fnu": ("fp8", 1),
    "c10::Float4_e2m1fn_x2": ("fp4", 1),
    "long int": ("int64", 8),
    "long": ("int64", 8),
    "int": ("int32", 4),
    "short": ("int16", 2),
    "short int": ("int16", 2),
    "signed char": ("int8", 1),
    "char": ("int8", 1),
    "unsigned char": ("uint8", 1),
    "unsigned short": ("uint16", 2),
    "unsigned int": ("uint32", 4),
    "unsigned long": ("uint64", 8),
    "bool": ("bool", 1),
    "c10::complex<float>": ("complex64", 8),
    "c10::complex<double>": ("complex128", 16),
    "c10::complex<c10::Half>": ("complex32", 4),
}
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
        """Bytes of its distinct elements: a dimension of stride 0 repeats one."""
        return self.item_bytes * math.prod(n for n, s in zip(self.shape, self.strides, strict=True) if s != 0 or n == 0)

    @property
    def floating(self) -> bool:
        return self.precision in FLOATING


Value = Tensor | list[Tensor] | str | None
"""A tensor, a tensor list, the text of a concrete value, or nothing recorded."""


@dataclass(frozen=True)
class Call:
    """A parsed signature."""

    operator: str
    inputs: list[Value] = field(default_factory=list)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensor operands, lists flattened."""
        flat: list[Tensor] = []
        for value in self.inputs:
            flat.extend([value] if isinstance(value, Tensor) else value if isinstance(value, list) else [])
        return flat

    @property
    def precision(self) -> str | None:
        """Of the first floating-point tensor with dimensions, else of the first tensor."""
        floating = [t for t in self.tensors if t.floating]
        chosen = [t for t in floating if t.shape] or floating or self.tensors
        return chosen[0].precision if chosen else None


def signature_id(signature: Signature) -> str:
    """First 16 hex digits of the SHA-256 of the signature's parts."""
    parts = (signature[0].encode("utf-8", "surrogatepass"), *signature[1:])
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def parse(signature: Signature) -> Call:
    """Parse the recorded JSON; what is not of the profiler's form becomes an input without a value.

    Never raises: a signature is somebody else's text.
    """
    operator, *texts = signature
    dims, types, strides, concrete = (_array(text) for text in texts)
    rows = zip_longest(dims, types, strides, concrete)
    return Call(operator, [_value(*row) for row in rows])


def _array(text: bytes) -> list[Any]:
    try:
        value = msgspec.json.decode(text) if text else []
    except (msgspec.DecodeError, ValueError, RecursionError):
        return []
    return value if isinstance(value, list) else []


def _value(dims: Any, type_name: Any, strides: Any, concrete: Any) -> Value:
    if not isinstance(type_name, str):
        return None
    if type_name.startswith("TensorList"):
        return _tensors(dims, type_name.partition(" ")[2], strides)
    if type_name in DTYPES:
        return _tensor(dims, type_name, strides)
    return concrete if isinstance(concrete, str) and concrete != "" else None


def _tensors(dims: Any, element: str, strides: Any) -> list[Tensor] | None:
    """A tensor list; its element type is empty where only the profiler's own record is known."""
    if not isinstance(dims, list):
        return None
    recorded = strides if isinstance(strides, list) else []
    tensors = (_tensor(d, element, s) for d, s in zip_longest(dims, recorded[: len(dims)]))
    return [t for t in tensors if t]


def _tensor(dims: Any, type_name: str, strides: Any) -> Tensor | None:
    if not _sizes(dims):
        return None
    precision, item_bytes = DTYPES.get(type_name, ("unknown", 0))
    if not _sizes(strides) or len(strides) != len(dims):
        strides = [math.prod(dims[i + 1 :]) for i in range(len(dims))]
    return Tensor(tuple(dims), tuple(strides), precision, item_bytes)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value)
