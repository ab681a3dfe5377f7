"""Products with a sparse matrix, and sums of equal indices, by the number of elements that it stores.

The profiler records that number for no operand, but operators inside do, and ingest writes it into the signature as
``stored``. A product takes 2·stored·n. It reads the matrix in compressed rows with indices of 32 bits, into which
PyTorch copies others (``aten/src/ATen/native/sparse/cuda/SparseCUDABlas.cpp``), and the rows of the dense factor.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.signature import Call, total_bytes

_INDEX_BYTES = 4
_POSITION_BYTES = 16
"""Of an element's row and column, 64 bits each."""


def price(call: Call, bound: Bound) -> Price | None:
    """The price of a call with a sparse operand; None if the number of its elements is not known."""
    stored = call.measures.get("stored")
    if stored is None:
        return None
    stored = int(stored)
    if base_name(call.operator) == "_coalesce":
        moved = stored * (_POSITION_BYTES + bound.needed("self").item_bytes)
        return Price(stored, moved, moved, call.precision, False, "rule", "high")
    names = (
        ("mat1", "mat2") if bound.tensor("mat1") else ("self", "mat2") if bound.tensor("mat2") else ("sparse", "dense")
    )
    matrix, factor = (bound.needed(name) for name in names)
    if not matrix.is_sparse or factor.is_sparse or len(factor.shape) != 2:
        return None
    rows, columns = matrix.shape[0], factor.shape[1]
    parts = 4 if matrix.precision.startswith("complex") else 1
    read = stored * (_INDEX_BYTES + matrix.item_bytes) + (rows + 1) * _INDEX_BYTES
    read += min(stored * columns * factor.item_bytes, factor.distinct_bytes)
    if names[0] == "mat1" and bound.arguments.get("beta") not in ("0", "0."):
        read += total_bytes(bound.tensors("self"))
    written = rows * columns * factor.item_bytes
    return Price(2 * parts * stored * columns, read, written, call.precision, False, "rule", "high")
