"""The family of an operator or kernel, from ``families.toml`` and from rules from outside."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ridgeline.analyze.pricing.outside import Outside, named, outside

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NOISE = re.compile(r"^void |\(anonymous(?: namespace)?\)(?:::)?")
_ARGUMENTS = re.compile(r"[<(].*", re.DOTALL)
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm"})


Rows = list[tuple[tuple[str, ...], str]]
"""Words, or sequences of words, and the family of a kernel whose name has one of them; the first row decides."""


class _Tables(NamedTuple):
    """Families by operator and by words: of layouts, of what a kernel does, of what it is made of."""

    layouts: tuple[str, ...]
    """Words of kernels that change a layout, whatever operator launches them."""
    operators: dict[str, str]
    specific: Rows
    generic: Rows


@cache
def _tables() -> _Tables:
    data = tomllib.loads(Path(__file__).with_name("families.toml").read_text())
    operators = {
        name: family for table in ("operators", "engines") for family, names in data[table].items() for name in names
    }
    rows = [(row.get("generic", False), tuple(row["words"]), row["family"]) for row in data["kernels"]]
    specific, generic = ([(words, f) for is_generic, words, f in rows if is_generic == kind] for kind in (False, True))
    return _Tables(tuple(data["layouts"]), operators, specific, generic)


@cache
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """The pattern of any of the words, or sequences of words, in the text that :func:`words` returns."""
    return re.compile(rf"(?<![^ ])(?:{'|'.join(map(re.escape, phrases))}) ")


@cache
def base_name(operator: str) -> str:
    """``aten::add_.Tensor`` -> ``add``: without namespace (``nccl:`` too), overload and trailing underscore."""
    name = operator.rpartition(":")[2].partition(".")[0]
    return name.rstrip("_") or name


def words(name: str) -> str:
    """The words of a name in lower case, between a mark of its beginning and a space.

    >>> words("flashinfer::norm::FusedAddRMSNormKernel")
    '^ flashinfer norm fused add rms norm kernel '
    """
    return " ".join(["^", *_WORD.findall(name), ""]).lower()


def family(operator: str | None, kernel: str, category: str) -> str:
    """The family of a device activity by its operator, else by its category, the kernel's words or the operator's.

    A kernel that changes the layout of an operator's tensors moves data: it is a copy.

    >>> family("aten::add.Tensor", "void elementwise_kernel", "kernel")
    'pointwise'
    >>> family(None, "void flashinfer::norm::RMSNormKernel<8u, __nv_bfloat16>", "kernel")
    'normalization'
    >>> family(None, "Memset (Device)", "memset")
    'memset'
    """
    return _family(outside(), operator, kernel, category)


@cache
def _family(rules: Outside, operator: str | None, kernel: str, category: str) -> str:
    tables = _tables()
    kernel = _NOISE.sub("", kernel)
    name = _ARGUMENTS.sub("", kernel)
    if _pattern(tables.layouts).search(words(name)):
        return "copy"
    if operator is not None:
        if found := rules.families.get(named(operator)):
            return found
        if operator.startswith("triton_"):
            return _generated(operator)
        if found := tables.operators.get(operator.partition(".")[0]) or tables.operators.get(base_name(operator)):
            return found
    if category in ("memcpy", "memset"):
        return category
    if found := rules.families.get(name):
        return found
    return _generated(name) if name.startswith("triton_") else _by_words(operator, name, kernel)


def _by_words(operator: str | None, name: str, kernel: str) -> str:
    """The family by the words of a kernel's name, of its arguments, and of an operator outside PyTorch."""
    # PyTorch's operators are listed, and a region's name is a sentence; that of another operator may say more than what
    # its kernel is made of
    own = "" if operator is None or operator.startswith("aten::") or " " in operator else operator
    specific, generic = _tables()[2:]
    for text, rows in ((name, specific), (kernel, specific), (own, specific), (kernel, generic)):
        text = words(text)
        if found := next((family for phrases, family in rows if _pattern(phrases).search(text)), None):
            return found
    return "other"


def _generated(name: str) -> str:
    """Inductor names a template's kernel by the template; its other kernels are fused from several operators."""
    of_template = set(name.split("_")) if name.startswith("triton_tem_") else set()
    if of_template & _PRODUCTS:
        return "matmul"
    if of_template & {"attention", "flex"}:
        return "attention"
    return "convolution" if "convolution" in of_template else "fused"
