"""Operator signatures: the profiler's record of a call as typed values."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Annotated, Any

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

_LIST = "TensorList"
"""The type name of a list of tensors; the element's type may follow."""
_TYPED_BY_INPUT = frozenset(
    {"aten::_cudnn_rnn", "aten::_cudnn_rnn_backward", "aten::miopen_rnn", "aten::miopen_rnn_backward"}
)
"""Operators whose list of weights has the element type of their first argument."""
FLOATING = frozenset({"fp64", "fp32", "bf16", "fp16", "fp8", "fp4", "complex32", "complex64", "complex128"})


class Tensor(msgspec.Struct, frozen=True):
    """A tensor operand: sizes and strides in elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    precision: str
    item_bytes: int
    is_sparse: bool = False
    """True if the profiler recorded dimensions and no strides: how many elements are stored is not recorded."""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def distinct_bytes(self) -> int:
        """Bytes of distinct elements: a dimension of stride 0 repeats elements, and overlapping windows share some.

        Those of a sparse tensor are unknown and count 0.
        """
        if self.is_sparse:
            return 0
        # dimensions of stride 0 hold no further elements; windows overlap where the span is shorter than their product
        elements = span = 1
        for n, stride in zip(self.shape, self.strides, strict=True):
            if n == 0:
                return 0
            if stride:
                elements *= n
                span += (n - 1) * stride
        return self.item_bytes * min(elements, span)

    @property
    def floating(self) -> bool:
        return self.precision in FLOATING


def total_bytes(tensors: Iterable[Tensor]) -> int:
    """The sum of the tensors' distinct bytes."""
    return sum([tensor.distinct_bytes for tensor in tensors])


class Unrecorded(msgspec.Struct, frozen=True):
    """An argument that was passed and whose value is not recorded, as PyTorch recorded none until 2.0.

    ``kind`` is its recorded type: ``Scalar``, ``ScalarList``, ``GenericList`` (numbers or tensors), or empty for any
    other, such as None.
    """

    kind: str


Value = Tensor | list[Tensor] | str | Unrecorded | None
"""A tensor, a tensor list, the text of a concrete value, a value that is not recorded, or nothing."""
_UNRECORDED = {
    **dict.fromkeys(("Scalar", "Int", "Double", "Bool", "ComplexDouble", "SymInt", "SymFloat"), Unrecorded("Scalar")),
    **dict.fromkeys(("ScalarList", "IntList", "DoubleList", "BoolList"), Unrecorded("ScalarList")),
    "GenericList": Unrecorded("GenericList"),
}
"""The profiler's names of types that are no tensor's, those of PyTorch until 1.12 too."""


def tensors_of(value: Value) -> list[Tensor]:
    """The tensor or the tensors of a list, none of another value."""
    return [value] if isinstance(value, Tensor) else value if isinstance(value, list) else []


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a tensor without gaps.

    >>> dense_strides([2, 3, 4])
    (12, 4, 1)
    """
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


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


class Arguments(msgspec.Struct, frozen=True):
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

    def value(self, name: str) -> Value:
        """An argument; ValueError if it was passed and its value is not recorded."""
        value = self.arguments.get(name)
        if isinstance(value, Unrecorded):
            raise ValueError(f"the value of the argument {name} is not recorded")
        return value

    def flag(self, name: str) -> bool:
        return self.value(name) == "True"

    def number(self, name: str) -> int | None:
        """An argument that is a whole number."""
        value = self.value(name)
        return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else None

    def numbers(self, name: str) -> list[int] | None:
        """An argument that is a list of whole numbers."""
        value = self.value(name)
        numbers = json_list(value) if isinstance(value, str) else None
        return numbers if numbers is not None and all(type(n) is int for n in numbers) else None


class Call(msgspec.Struct, frozen=True, dict=True):
    """A parsed signature."""

    operator: str
    inputs: list[Value] = msgspec.field(default_factory=list)
    measures: dict[str, float] = msgspec.field(default_factory=dict)
    """Numbers that the writer recorded beside the inputs: Inductor's ``kernel_flop`` and ``kernel_num_gb``, and
    ``in_elements``, ``out_elements`` and ``ranks`` of a collective."""
    texts: dict[str, str] = msgspec.field(default_factory=dict)
    """Likewise ``collective``, its name, and ``dtype``, its element type."""

    @cached_property
    def tensors(self) -> list[Tensor]:
        """All tensor operands, lists flattened."""
        return [tensor for value in self.inputs for tensor in tensors_of(value)]

    @property
    def precision(self) -> str | None:
        """The precision of the first floating-point tensor with dimensions, else of the first tensor."""
        floating = [t for t in self.tensors if t.precision in FLOATING]
        if floating and floating[0].shape:
            return floating[0].precision
        chosen = [t for t in floating if t.shape] or floating or self.tensors
        return chosen[0].precision if chosen else None


def signature_id(signature: Signature) -> str:
    """First 16 hex digits of the SHA-256 of the signature's parts."""
    parts = (signature[0].encode("utf-8", "surrogatepass"), *signature[1:])
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


_Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]
_SIZES = msgspec.json.Decoder(list[tuple[_Size, ...]])
_TEXTS = msgspec.json.Decoder(list[str])


def parse(signature: Signature) -> Call:
    """The call that a signature's JSON describes; values of another form than the profiler's become None.

    Never raises, since a signature is foreign text.
    """
    operator, dims, types, strides, concrete = signature
    try:
        rows = zip_longest(
            _SIZES.decode(dims),
            _TEXTS.decode(types),
            _SIZES.decode(strides) if strides else (),
            _TEXTS.decode(concrete) if concrete else (),
        )
    except (msgspec.DecodeError, ValueError, RecursionError):  # with lists of tensors, measures, or damaged
        return _parse_any(signature)
    inputs: list[Value] = []
    for sizes, kind, steps, text in rows:
        if element := DTYPES.get(kind):
            if sizes is None:
                inputs.append(None)
            else:
                unrecorded = steps is None or len(steps) != len(sizes)
                is_sparse = steps == () and bool(sizes)
                inputs.append(Tensor(sizes, dense_strides(sizes) if unrecorded else steps, *element, is_sparse))
        elif kind and kind.startswith(_LIST):
            inputs.append(None if sizes is None else [])
        else:
            inputs.append(_concrete(kind, text, has_values=bool(concrete)))
    return Call(operator, inputs)


def _concrete(kind: str | None, text: str | None, *, has_values: bool) -> Value:
    """The value of an argument that is no tensor; ``has_values`` if the signature has concrete values."""
    if text or kind is None:
        return text if text and kind is not None else None
    return _UNRECORDED.get(kind) or (None if has_values else Unrecorded(""))


def _parse_any(signature: Signature) -> Call:
    """As :func:`parse`, for any text."""
    operator, *texts = signature
    dims, types, strides, concrete = (json_list(text) or [] for text in texts)
    values = [value for value in concrete if not isinstance(value, dict)]
    if operator in _TYPED_BY_INPUT and types and isinstance(types[0], str):
        types = [f"{_LIST} {types[0]}" if kind == _LIST else kind for kind in types]
    has_values = bool(texts[-1])
    inputs = [_value(*row, has_values=has_values) for row in zip_longest(dims, types, strides, values)]
    # Objects among the concrete inputs hold values by name; a number that cannot be a cost is left out.
    named = {name: value for entry in concrete if isinstance(entry, dict) for name, value in entry.items()}
    measures = {name: value for name, value in named.items() if type(value) in (int, float) and 0 <= value < 1e24}
    return Call(operator, inputs, measures, {name: value for name, value in named.items() if isinstance(value, str)})


def json_list(text: bytes | str) -> list[Any] | None:
    """The list that ``text`` holds as JSON; None if it holds something else."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _value(dims: Any, type_name: Any, strides: Any, concrete: Any, *, has_values: bool) -> Value:
    if not isinstance(type_name, str):
        return None
    if type_name.startswith(_LIST):
        if not isinstance(dims, list):
            return None
        # The profiler's own record has no element type: the list's tensors are then of unknown precision.
        element = type_name.partition(" ")[2]
        recorded = strides if isinstance(strides, list) else []
        tensors = (_tensor(d, element, s) for d, s in zip_longest(dims, recorded[: len(dims)]))
        return [tensor for tensor in tensors if tensor]
    if type_name in DTYPES:
        return _tensor(dims, type_name, strides)
    return _concrete(type_name, concrete if isinstance(concrete, str) else None, has_values=has_values)


def _tensor(dims: Any, type_name: str, strides: Any) -> Tensor | None:
    if not _is_sizes(dims):
        return None
    precision, item_bytes = DTYPES.get(type_name, ("unknown", 0))
    is_sparse = strides == [] and bool(dims)
    if not _is_sizes(strides) or len(strides) != len(dims):
        strides = dense_strides(dims)
    return Tensor(tuple(dims), tuple(strides), precision, item_bytes, is_sparse)


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value)
