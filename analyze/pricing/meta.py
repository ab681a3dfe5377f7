"""PyTorch's answer: an operator run on the meta device, where tensors have shapes and no data.

A signature is foreign text, so calls are restricted to ``aten`` operators of the dispatcher (TorchScript's own save
files and compute with plain values), on tensors without data. Operators that make as many results, or take as many
steps, as a size says are not called. :mod:`ridgeline.analyze.pricing.pricer` runs all this in a child process, which
survives the remaining crashes and hangs.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # absurd sizes make PyTorch print warnings
import torch

from ridgeline.analyze.pricing.signature import Arguments, Call, Tensor, Value, tensors_of, total_bytes

_TORCH_DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32, "fp64": torch.float64, "bf16": torch.bfloat16, "fp16": torch.float16,
    "fp8": torch.float8_e4m3fn, "int64": torch.int64, "int32": torch.int32, "int16": torch.int16, "int8": torch.int8,
    "uint8": torch.uint8, "bool": torch.bool, "complex64": torch.complex64, "complex128": torch.complex128,
}  # fmt: skip
_PRECISIONS = {dtype: name for name, dtype in _TORCH_DTYPES.items()} | {torch.float8_e5m2: "fp8"}
_SCALAR_TYPE_CODES = (
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64,
    torch.complex32, torch.complex64, torch.complex128, torch.bool, None, None, None, torch.bfloat16,
)  # fmt: skip
"""c10::ScalarType by number, as Concrete Inputs prints a dtype."""


MOST_PIECES = 1 << 16
"""Results into which an operator may split a tensor, or steps that it may take along it."""
NEVER_CALLED = ("aten::from_file", "aten::set_data", "aten::_add_batch_dim", "aten::_remove_batch_dim",
                 "aten::matrix_power", "aten::linalg_matrix_power", "aten::unfold_backward", "aten::round.decimals",
                 "aten::special_round")  # fmt: skip
"""Prefixes of operators that make files, make one tensor another or enter levels of vmap, and of those that take as
many steps as a number says, until the time limit. Operators that crash are not listed, since a crash costs only their
own price (:mod:`ridgeline.analyze.pricing.pricer`)."""
_UNROLLED = frozenset({"aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"})
"""Operators that take a step for each element along a dimension."""
LONGEST_LITERAL = 10_000


class Unbound(Exception):
    """The recorded inputs do not fit this overload."""


@dataclass(frozen=True)
class Bound(Arguments):
    """A call matched to a PyTorch overload: its arguments by the names of the schema."""

    overload: Any

    @property
    def pointwise(self) -> bool:
        """Whether PyTorch tags the operator as pointwise."""
        return torch.Tag.pointwise in self.overload.tags

    @property
    def composite(self) -> bool:
        """Whether the operator only calls others: it has no kernel of its own and costs nothing itself."""
        return bool(torch._C._dispatch_has_kernel_for_dispatch_key(self.full_name, "CompositeImplicitAutograd"))

    @property
    def full_name(self) -> str:
        """The name with namespace and overload."""
        schema = self.overload._schema
        return f"{schema.name}.{schema.overload_name}" if schema.overload_name else str(schema.name)

    @property
    def callable(self) -> bool:
        """Whether a call on the meta device computes shapes and does nothing else."""
        schema = self.overload._schema
        operands = [tensor for value in self.arguments.values() for tensor in tensors_of(value)]
        if not torch._C._dispatch_has_kernel(self.full_name) or self.full_name.startswith(NEVER_CALLED):
            return False
        if not operands and all(argument.name != "device" for argument in schema.arguments):
            return False
        unrolls = schema.name in _UNROLLED or any("List" in str(result.type) for result in schema.returns)
        return not unrolls or all(size <= MOST_PIECES for tensor in operands for size in tensor.shape)


def bind(call: Call) -> Bound | None:
    """The overload that fits the call, or None if the operator is not one of ``aten``."""
    namespace, _, name = call.operator.partition("::")
    name, _, overload_name = name.partition(".")
    packet = getattr(torch.ops.aten, name, None) if namespace == "aten" else None
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return None
    # undefined tensors only where no overload fits without them
    for undefined in (False, True):
        for overload in _overloads(packet, overload_name):
            try:
                return Bound(dict(_arguments(overload._schema, call.inputs, undefined=undefined)), overload)
            except Unbound:
                continue
    return None


@cache
def _overloads(packet: Any, overload_name: str) -> tuple[Any, ...]:
    """The overloads to try, in order: the named one, or all, with those that take names of dimensions last.

    TorchScript types such names as text, which a recorded number would fit as well.
    """
    if overload_name:
        return (getattr(packet, overload_name),) if overload_name in packet.overloads() else ()
    overloads = [getattr(packet, name) for name in packet.overloads()]
    return tuple(
        sorted(overloads, key=lambda overload: "List[str]" in str([a.type for a in overload._schema.arguments]))
    )


def _arguments(schema: Any, inputs: list[Value], *, undefined: bool) -> Iterator[tuple[str, Value]]:
    """The inputs by argument name. Raises Unbound if a tensor is missing, or where there can be none.

    With ``undefined``, a tensor that is not recorded may be an undefined one, as backward operators take; the first
    argument never is.
    """
    if len(inputs) > len(schema.arguments):
        raise Unbound
    for i, (argument, value) in enumerate(zip(schema.arguments, inputs, strict=False)):
        kind = "Optional[Tensor]" if undefined and i and str(argument.type) == "Tensor" else str(argument.type)
        if not _accepts(kind, value) or (value is None and kind in _NUMBERS and argument.default_value is None):
            raise Unbound
        yield argument.name, value
    if any(a.default_value is None and "Optional" not in str(a.type) for a in schema.arguments[len(inputs) :]):
        raise Unbound


_NUMBERS = ("int", "bool", "float", "number")


def _accepts(kind: str, value: Value) -> bool:
    """Whether a value can be an argument of type ``kind``; a number may be recorded as a tensor without dimensions."""
    if isinstance(value, list):
        return kind.startswith(("List[Tensor]", "List[Optional[Tensor]]"))
    if isinstance(value, Tensor):
        is_number = value.shape == () and kind in ("number", "Scalar", "int", "float")
        return is_number or kind in ("Tensor", "Optional[Tensor]")
    if value is None:
        return kind != "Tensor"
    # The text of a concrete value. Types that a number could also be are accepted.
    kind = kind.removeprefix("Optional[").removesuffix("]")
    is_bool = value in ("True", "False")
    if kind in ("Tensor", "bool"):
        return kind == "bool" and is_bool
    if kind in ("int", "number", "float", "Device"):
        return not is_bool and value[0] != "[" and not (kind == "Device" and value.isdecimal())
    return kind not in ("List[int]", "List[int") or value[0] == "["


def outputs(bound: Bound) -> list[Tensor] | None:
    """The operator's results on the meta device; None if it must not run, has no meta kernel or refuses the inputs.

    Raises ``MemoryError`` if it took more memory than this process may have.
    """
    if not bound.callable:
        return None
    try:
        arguments = {a.name: _real(a, bound.arguments.get(a.name)) for a in bound.overload._schema.arguments}
        arguments = {name: value for name, value in arguments.items() if value is not _OMIT}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = bound.overload(**arguments)
    except MemoryError:
        raise
    except Exception as e:  # whatever a kernel raises for foreign inputs, there is no answer
        if _ALLOCATOR in str(e):
            raise MemoryError(str(e)) from None
        return None
    return [
        Tensor(tuple(t.shape), tuple(t.stride()), _PRECISIONS.get(t.dtype, "unknown"), t.element_size())
        for t in _flatten(result)
        if t.device.type == "meta"
    ]


_ALLOCATOR = "DefaultCPUAllocator: "
"""The start of PyTorch's message when it gets no memory."""
_OMIT = object()


def _real(argument: Any, value: Value) -> Any:
    """A recorded value as the object that the schema asks for; factories get the meta device."""
    if argument.name == "device":
        return torch.device("meta")
    if argument.name in ("layout", "pin_memory", "memory_format", "generator"):
        return None if "Optional" in str(argument.type) else _OMIT
    if isinstance(value, Tensor):
        if str(argument.type) in ("number", "Scalar", "int", "float"):
            return 1
        return torch.empty_strided(value.shape, value.strides, dtype=_TORCH_DTYPES[value.precision], device="meta")
    if isinstance(value, list):
        return [torch.empty_strided(t.shape, t.strides, dtype=_TORCH_DTYPES[t.precision], device="meta") for t in value]
    if value is None:
        return _OMIT if argument.default_value is not None else None
    if argument.name == "dtype":
        return _SCALAR_TYPE_CODES[int(value)]
    return _literal(value)


def _literal(text: str) -> Any:
    """A number, boolean or list of them; never evaluated as code, and the text itself if it is none of these."""
    if len(text) > LONGEST_LITERAL:
        return text
    # literal_eval does not know these
    if text.lstrip("-") in ("inf", "nan", "Infinity", "NaN"):
        return float(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _flatten(result: Any) -> Iterator[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, list | tuple):
        for item in result:
            yield from _flatten(item)


def reads_and_writes(bound: Bound, produced: list[Tensor], *, overwrites: bool) -> tuple[int, int]:
    """Compulsory bytes by the schema's alias annotations: (read, written).

    Every input is read once, unless it is only written (``out=``, ``copy_``, ``fill_``). Every fresh output is written
    once, and so is an argument marked ``(a!)``. An operator is a view and moves nothing if its results only alias its
    inputs, or if it only changes an input's shape in place (``inplace_view``).
    """
    schema = bound.overload._schema
    if torch.Tag.inplace_view in bound.overload.tags:
        return 0, 0
    if schema.returns and all(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns):
        return 0, 0
    # An operator without results, such as a foreach, writes its marked arguments.
    read = 0
    written_arguments = []
    for argument in schema.arguments:
        tensors = tensors_of(bound.arguments.get(argument.name))
        is_written = argument.alias_info is not None and argument.alias_info.is_write
        if is_written:
            written_arguments += tensors
        if not (is_written and (overwrites or argument.is_out)):
            read += total_bytes(tensors)
    written = total_bytes(produced if schema.returns else written_arguments)
    return read, written
