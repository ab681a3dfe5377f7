"""PyTorch's types of elements: sizes, codes and type promotion."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from ridgeline.analyze.pricing.outputs.calls import ITEM_BYTES, Misfit
from ridgeline.analyze.pricing.signature import Tensor

CODES = (
    "uint8", "int8", "int16", "int32", "int64", "fp16", "fp32", "fp64", "complex32", "complex64", "complex128", "bool",
    "", "", "", "bf16",
)  # fmt: skip
"""Precision by the number of its c10::ScalarType, as Concrete Inputs prints a dtype."""
_BOOL, _INTEGER, _FLOATING, _COMPLEX = range(4)
_CATEGORY = (
    {"bool": _BOOL}
    | dict.fromkeys(("uint8", "int8", "int16", "int32", "int64"), _INTEGER)
    | dict.fromkeys(("fp8", "fp16", "bf16", "fp32", "fp64"), _FLOATING)
    | dict.fromkeys(("complex64", "complex128"), _COMPLEX)
)
_OF_SCALAR = ("bool", "int64", "fp32", "complex64")
"""The precision of a number that is no tensor, by its category."""


def dtype_of(code: str) -> str:
    """The precision that Concrete Inputs calls ``code``; ValueError for one that PyTorch's operators do not take."""
    precision = CODES[int(code)] if code.isdecimal() and int(code) < len(CODES) else ""
    if precision == "complex32":
        raise Misfit("complex numbers of half precision are not known here")
    if precision not in ITEM_BYTES:
        raise ValueError(f"no precision has the number {code}")
    return precision


def category(precision: str) -> int:
    """0 for bool, 1 for integers, 2 for floating point, 3 for complex numbers."""
    return _CATEGORY[precision]


@cache
def promote(a: str, b: str) -> str:
    """The precision of a result of two operands with dimensions. Raises Misfit for fp8, which has no promotion.

    >>> promote("fp16", "bf16"), promote("int64", "fp16"), promote("uint8", "int8")
    ('fp32', 'fp16', 'int16')
    """
    if a == b:
        return a
    if "fp8" in (a, b):
        raise Misfit(f"no promotion of {a} and {b}")
    (low, small), (high, large) = sorted((_CATEGORY[p], p) for p in (a, b))
    if high == _COMPLEX:
        return "complex128" if "fp64" in (a, b) or "complex128" in (a, b) else "complex64"
    if low != high:
        return large
    if {a, b} == {"fp16", "bf16"}:
        return "fp32"
    if {a, b} == {"uint8", "int8"}:
        return "int16"
    return small if ITEM_BYTES[small] > ITEM_BYTES[large] else large


@cache
def _over(higher: str, lower: str) -> str:
    """Operands of higher priority keep their type, unless the category of the others is higher."""
    if not higher or not lower:
        return higher or lower
    categories = _CATEGORY[higher], _CATEGORY[lower]
    if categories == (_FLOATING, _COMPLEX):
        if higher == "fp16":
            raise Misfit("complex numbers of half precision are not known here")
        return "complex128" if higher == "fp64" else "complex64"
    return promote(higher, lower) if categories[1] > categories[0] or categories[0] == _BOOL else higher


def result_type(tensors: Iterable[Tensor], scalars: Iterable[str] = ()) -> str:
    """The precision of a pointwise result: tensors with dimensions come first, then those without, then numbers."""
    with_dimensions = without = ""
    for tensor in tensors:
        if tensor.shape:
            with_dimensions = promote(with_dimensions, tensor.precision) if with_dimensions else tensor.precision
        else:
            without = promote(without, tensor.precision) if without else tensor.precision
    for scalar in scalars:
        without = _over(without, _OF_SCALAR[scalar_category(scalar)])
    return _over(with_dimensions, without)


def scalar_category(text: str) -> int:
    """The category of a recorded number. Raises Misfit if the text is not a number."""
    if text in ("True", "False"):
        return _BOOL
    if text.lstrip("-").isdecimal():
        return _INTEGER
    try:
        complex(text)
    except ValueError:
        raise Misfit("the recorded value is not a number") from None
    return _COMPLEX if text[-1] in "j)" else _FLOATING


def to_floating(precision: str) -> str:
    """Functions such as exp make single precision of whole numbers."""
    return precision if _CATEGORY[precision] >= _FLOATING else "fp32"


def to_real(precision: str) -> str:
    """The type of a complex number's parts."""
    return {"complex64": "fp32", "complex128": "fp64"}.get(precision, precision)


def to_complex(precision: str) -> str:
    """The type of a complex number with such parts."""
    if precision in ("fp16", "bf16"):
        raise Misfit("complex numbers of half precision are not known here")
    return {"fp64": "complex128", "complex128": "complex128"}.get(precision, "complex64")


def to_sum(precision: str) -> str:
    """Sums and products of whole numbers are 64 bit integers."""
    return precision if _CATEGORY[precision] >= _FLOATING else "int64"


def to_computed(precision: str) -> str:
    """The type in which a device computes with half precision."""
    return "fp32" if precision in ("fp16", "bf16") else precision
