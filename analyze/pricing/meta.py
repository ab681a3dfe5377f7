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
from typing import Any

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # absurd sizes make PyTorch print warnings
import torch

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.schemas import NAMESPACE
from ridgeline.analyze.pricing.signature import Tensor, Unrecorded, Value

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

LONGEST_LITERAL = 10_000


def outputs(bound: Bound) -> list[Tensor] | None:
    """The operator's results on the meta device; None if it must not run, has no meta kernel or refuses the inputs.

    Raises ``MemoryError`` if it took more memory than this process may have.
    """
    if not bound.callable:
        return None
    name, _, overload_name = bound.full_name.removeprefix(NAMESPACE).partition(".")
    try:
        # of this PyTorch's schema, which may have arguments that the table's lacks
        overload = getattr(getattr(torch.ops.aten, name), overload_name or "default")
        arguments = {a.name: _real(a, bound.arguments.get(a.name)) for a in overload._schema.arguments}
        arguments = {name: value for name, value in arguments.items() if value is not _OMIT}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = overload(**arguments)
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
    if isinstance(value, Unrecorded):
        raise ValueError(f"the value of the argument {argument.name} is not recorded")
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
