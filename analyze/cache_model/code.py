"""Bytes of a kernel's code, from ``code.toml``: most of the DRAM reads of kernels that move little data."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path


@cache
def _table() -> tuple[int, list[tuple[re.Pattern[str], int]]]:
    data = tomllib.loads(Path(__file__).with_name("code.toml").read_text())
    return data["other"], [(re.compile(row["pattern"]), row["bytes"]) for row in data["kernels"]]


@cache
def code_bytes(kernel: str) -> int:
    """Bytes of instructions and constants.

    >>> code_bytes("nvjet_sm90_tst_64x8_64x16_2x1_v_bz_TNT")
    14000
    """
    other, kernels = _table()
    return next((size for pattern, size in kernels if pattern.search(kernel)), other)
