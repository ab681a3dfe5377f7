"""How a kernel walks over its operands: tiles of a matrix product, passes of a softmax, parts of a split sum."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import NamedTuple

_TILE = re.compile(r"_(\d+)x(\d+)_")
_ACCUMULATOR_BYTES = 4
_MOST_SPLITS = 4
_BLOCKS = 2
"""Blocks of a softmax that a multiprocessor holds: 1024 threads each, of 2048."""
_L1_BYTES = 256 << 10


class Product(NamedTuple):
    """A matrix product of ``batch`` times ``rows`` by ``columns`` (the outputs of a linear layer)."""

    batch: int
    rows: int
    columns: int


@cache
def tile_of(kernel: str) -> tuple[int, int] | None:
    """Columns and rows of a tile. cuBLAS is column major: the first number counts columns of a row-major product.

    >>> tile_of("nvjet_sm90_tst_320x128_64x3_2x1_v_bz_coopB_TNT")
    (320, 128)
    """
    match = _TILE.search(kernel)
    return (int(match[1]), int(match[2])) if match else None


def waves(product: Product, kernel: str, sms: int) -> float:
    """How often all multiprocessors take a tile each: 2.9 when the third time only nine in ten have work."""
    tile = tile_of(kernel)
    if tile is None or splits_sums(kernel):
        return 1.0
    columns, rows = math.ceil(product.columns / tile[0]), math.ceil(product.rows / tile[1])
    return max(1.0, product.batch * columns * rows / sms)


def row_tiles(product: Product, kernel: str) -> int:
    """Tiles in a column of the result."""
    tile = tile_of(kernel)
    return 1 if tile is None else math.ceil(product.rows / tile[1])


@cache
def splits_sums(kernel: str) -> bool:
    """Whether a kernel leaves partial sums for a second one to add up."""
    return "splitK" in kernel and not reduces_sums(kernel)


@cache
def reduces_sums(kernel: str) -> bool:
    return "splitKreduce" in kernel


def partial_bytes(product: Product, kernel: str, sms: int) -> int:
    """Size of the partial sums: as many copies of the result, in fp32, as leave no multiprocessor idle."""
    columns, rows = tile_of(kernel) or (128, 128)
    tiles = product.batch * math.ceil(product.columns / columns) * math.ceil(product.rows / rows)
    splits = min(max(2, sms // tiles), _MOST_SPLITS)
    return product.batch * product.rows * product.columns * _ACCUMULATOR_BYTES * splits


def softmax_waves(rows: int, sms: int) -> int:
    """A block works on a row, as many at a time as the device holds."""
    return max(1, math.ceil(rows / (sms * _BLOCKS)))


def softmax_passes(rows: int, row_bytes: int, sms: int) -> int:
    """A row is read for its maximum, its sum and its result; the L1 serves the later two if it holds the rows."""
    blocks = min(_BLOCKS, math.ceil(rows / sms))
    return 1 if blocks * row_bytes <= _L1_BYTES else 3
