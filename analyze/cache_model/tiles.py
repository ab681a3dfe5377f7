"""How a kernel traverses its operands: tiles of a matrix product, parts of a split sum."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import NamedTuple

_TILE = re.compile(r"_(?:tilesize)?([1-9]\d{0,3})x([1-9]\d{0,3})[_x]")
_ACCUMULATOR_BYTES = 4
_MOST_SPLITS = 4
_FEW_ROWS = 4
"""Rows of tiles that a block has at least, if the result has them."""
_MOST_ROWS = 6.5
"""Most rows of a block of kernels that go down first."""


_MOST_XMMA_ROWS = 128
"""Most rows of a block of kernels named xmma, which take whole columns otherwise."""
_SMALL_TILE = 128 * 128
"""Elements of a tile of which a multiprocessor holds two."""
_TILE_ELSE = (128, 128)
"""The tile where the kernel's name does not say."""


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


class Blocks(NamedTuple):
    """How many blocks of tiles, one tile a multiprocessor, cover a result ``across`` its width and ``down`` it.

    Neither is always a whole number, but their product is. The result has ``rows`` and ``columns`` of tiles.
    """

    across: float
    down: float
    rows: int
    columns: int


def blocks(product: Product, kernel: str, sms: int) -> Blocks:
    """The blocks of one product of a batch, one tile a multiprocessor.

    A block has few rows of tiles and as many columns as fill the device. The kernel's name says which side comes first.
    The number of rows was fitted to the DRAM reads of 125 products by 39 kernels of cuBLAS 12 on an H200 (64 to 16,384
    rows, none from a captured step): predicted reads, without the L2, are within 11 %.
    """
    tile = tile_of(kernel)
    if tile is None:
        return Blocks(1.0, 1.0, 1, 1)
    columns, rows = math.ceil(product.columns / tile[0]), math.ceil(product.rows / tile[1])
    if splits_sums(kernel):
        return Blocks(1.0, 1.0, rows, columns)
    high: float = min(rows, _MOST_XMMA_ROWS) if "xmma" in kernel else rows
    sms *= _held(kernel)
    if rows > _FEW_ROWS and "xmma" not in kernel:
        if "_v_" in kernel:
            # Kernels that go down first take an odd number of rows by halves if a block has fewer.
            high = min(rows / 2 if rows % 2 and rows > _MOST_ROWS else rows, _MOST_ROWS)
        else:
            high = max(_FEW_ROWS, min(0.72 * rows, 9))
    # As many columns as fill the device; if the result has fewer, more rows.
    wide = min(sms / high, columns)
    high = min(max(high, sms / wide), rows)
    down = max(rows / high, 1.0)
    # A hair less, so that rounding errors do not add a block.
    return Blocks(math.ceil(max(columns / wide, 1.0) * down - 1e-9) / down, down, rows, columns)


def batch_waves(product: Product, kernel: str, sms: int) -> int:
    """Waves of a batch of products: a wave has the tiles of several small ones."""
    columns, rows = tile_of(kernel) or _TILE_ELSE
    tiles = math.ceil(product.columns / columns) * math.ceil(product.rows / rows)
    return math.ceil(product.batch * tiles / (sms * _held(kernel)))


def _held(kernel: str) -> int:
    """Tiles of older kernels that a multiprocessor holds: two of the smaller ones."""
    columns, rows = tile_of(kernel) or _TILE_ELSE
    return 2 if "nvjet" not in kernel and columns * rows <= _SMALL_TILE else 1


def splits_sums(kernel: str) -> bool:
    """Whether a kernel leaves partial sums for a second one to add up."""
    return "splitK" in kernel and not reduces_sums(kernel)


def reduces_sums(kernel: str) -> bool:
    return "splitKreduce" in kernel


def combines_parts(kernel: str) -> bool:
    """Whether a kernel of attention combines the results that the one before it has for parts of the context."""
    return "combine" in kernel or "lean_reduction" in kernel


def partial_bytes(product: Product, kernel: str, sms: int) -> int:
    """Bytes of the partial sums: as many fp32 copies of the result as keep every multiprocessor busy."""
    columns, rows = tile_of(kernel) or _TILE_ELSE
    tiles = product.batch * math.ceil(product.columns / columns) * math.ceil(product.rows / rows)
    # at least two copies, more while multiprocessors are idle
    splits = min(max(2, sms // tiles), _MOST_SPLITS)
    return product.batch * product.rows * product.columns * _ACCUMULATOR_BYTES * splits
