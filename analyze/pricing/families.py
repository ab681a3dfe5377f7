"""Operator -> family, from ``families.toml``."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path


@cache
def _tables() -> tuple[dict[str, str], list[tuple[re.Pattern[str], str]]]:
    data = tomllib.loads(Path(__file__).with_name("families.toml").read_text())
    operators = {name: family for family, names in data["operators"].items() for name in names}
    return operators, [(re.compile(row["pattern"]), row["family"]) for row in data["kernels"]]


def base_name(operator: str) -> str:
    """``aten::add_.Tensor`` -> ``add``: without namespace, overload and trailing underscore."""
    name = operator.rpartition("::")[2].partition(".")[0]
    return name.rstrip("_") or name


@cache
def family(operator: str | None, kernel: str, category: str) -> str:
    """The family of a device activity: its operator's; without one, its category's or the kernel name's.

    >>> family("aten::add.Tensor", "void elementwise_kernel", "kernel")
    'pointwise'
    >>> family(None, "Memset (Device)", "memset")
    'memset'
    """
    operators, kernels = _tables()
    if operator is not None:
        if operator.startswith("triton_"):
            return _generated(operator)
        found = operators.get(base_name(operator))
        if found:
            return found
    if category in ("memcpy", "memset"):
        return category
    return next((family for pattern, family in kernels if pattern.search(kernel)), "other")


def _generated(operator: str) -> str:
    """The family of a kernel that Inductor generated: a template's is what the template is for."""
    words = set(operator.split("_"))
    if operator.startswith("triton_tem_") and words & {"mm", "addmm", "bmm", "baddbmm"}:
        return "matmul"
    return "attention" if operator.startswith("triton_tem_") and words & {"attention", "flex"} else "fused"
