"""The family of an operator or kernel, from ``families.toml``."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple


class _Tables(NamedTuple):
    layouts: re.Pattern[str]
    """Kernels that change a layout, whatever operator launches them."""
    operators: dict[str, str]
    kernels: list[tuple[re.Pattern[str], str]]


@cache
def _tables() -> _Tables:
    data = tomllib.loads(Path(__file__).with_name("families.toml").read_text())
    operators = {name: family for family, names in data["operators"].items() for name in names}
    kernels = [(re.compile(row["pattern"]), row["family"]) for row in data["kernels"]]
    return _Tables(re.compile(data["layouts"]), operators, kernels)


@cache
def base_name(operator: str) -> str:
    """``aten::add_.Tensor`` -> ``add``: without namespace (``nccl:`` too), overload and trailing underscore."""
    name = operator.rpartition(":")[2].partition(".")[0]
    return name.rstrip("_") or name


@cache
def family(operator: str | None, kernel: str, category: str) -> str:
    """The family of a device activity by its operator, else by its category or the kernel's name.

    A kernel that changes the layout of an operator's tensors moves data: it is a copy.

    >>> family("aten::add.Tensor", "void elementwise_kernel", "kernel")
    'pointwise'
    >>> family(None, "Memset (Device)", "memset")
    'memset'
    """
    layouts, operators, kernels = _tables()
    if layouts.search(kernel):
        return "copy"
    if operator is not None:
        if operator.startswith("triton_"):
            # Inductor names a template's kernel by the template; its other kernels are fused from several operators.
            words = set(operator.split("_")) if operator.startswith("triton_tem_") else set()
            if words & {"mm", "addmm", "bmm", "baddbmm"}:
                return "matmul"
            return "attention" if words & {"attention", "flex"} else "fused"
        if by_operator := operators.get(base_name(operator)):
            return by_operator
    if category in ("memcpy", "memset"):
        return category
    return next((family for pattern, family in kernels if pattern.search(kernel)), "other")
