"""Embedding tables and jagged tensors of FBGEMM.

A lookup reads a row for each index, in the tables' element type, and writes the sum of each bag. The width of a row is
that of its table; only the widest (``max_D``) and the sum of all (``total_D``) are recorded. Where the tables are
equally wide the price is exact, otherwise it has the bytes of the indices alone, with low confidence. Results are taken
as fp32, unless the number of their type is recorded.

Permutations of jagged tensors move the lengths and the values of the chosen features: all of them if as many features
are chosen as there are, or as many as are recorded.
"""

from __future__ import annotations

from collections.abc import Callable

from ridgeline.analyze.pricing.rules.rule import EngineBytes, EngineRule, each, no_flops
from ridgeline.analyze.pricing.signature import Arguments, Unrecorded, total_bytes

_RESULT_BYTES = {"0": 4, "1": 2, "5": 2}
"""Bytes of an element by fbgemm's ``SparseType``: fp32, fp16, bf16."""


def _number(call: Arguments, name: str) -> int | None:
    """A whole number; None if it was not passed, or not recorded, as by PyTorch until 2.0."""
    return None if isinstance(call.arguments.get(name), Unrecorded) else call.number(name)


def _width(call: Arguments) -> int | None:
    """Columns of every table; None if they differ or are not recorded."""
    tables, total, widest = call.needed("columns").elements - 1, _number(call, "total"), _number(call, "widest")
    return widest if total is not None and widest is not None and widest * tables == total else None


def _looked_up(call: Arguments) -> tuple[int, int]:
    """A row for each index is read, and a row for each bag, or for each index without bags, is written."""
    if (width := _width(call)) is None:
        return 0, 0
    indices = call.needed("indices").elements
    bags = indices if call.arguments.get("pooling") == "2" else call.needed("offsets").elements - 1
    item_bytes = _RESULT_BYTES.get(str(call.arguments.get("result")), 4)
    return indices * width * call.needed("weights").item_bytes, bags * width * item_bytes


def _summed(call: Arguments) -> int | None:
    """An addition for every element that is read, and a multiplication if it is weighted; 0 without bags."""
    if (width := _width(call)) is None:
        return None
    if call.arguments.get("pooling") == "2":
        return 0
    return call.needed("indices").elements * width * (2 if call.tensor("sample_weights") else 1)


def _lengthened(more: int) -> EngineBytes:
    """Sums of an input, and ``more`` of them."""

    def moved(call: Arguments) -> tuple[int, int]:
        tensor = call.needed("input")
        return 0, tensor.distinct_bytes + more * tensor.item_bytes

    return moved


def _permuted(call: Arguments) -> tuple[int, int]:
    """Lengths and values of the chosen features, read and written."""
    lengths, chosen = call.needed("lengths"), call.needed("permutation").elements
    values = total_bytes(call.tensors("values", "weights"))
    features, count = lengths.shape[0], call.needed("values").elements
    moved = values * (_number(call, "sum") or count * chosen // max(features, 1)) // max(count, 1)
    of_lengths = lengths.distinct_bytes * chosen // max(features, 1)
    return moved + of_lengths, moved + of_lengths


def _permutes_all(call: Arguments) -> bool:
    return _number(call, "sum") is not None or call.needed("permutation").elements == call.needed("lengths").shape[0]


def _converted(item_bytes: Callable[[int], int]) -> EngineBytes:
    """A result whose rows have ``item_bytes`` of the columns of the input's."""

    def moved(call: Arguments) -> tuple[int, int]:
        tensor = call.needed("input")
        columns = tensor.shape[-1] if tensor.shape else 1
        return 0, tensor.elements // max(columns, 1) * item_bytes(columns)

    return moved


_TABLES = "offsets_of_tables columns _total _widest -rows? _bits indices offsets _pooling sample_weights? gradients?"
_OPTIMIZERS = (
    "adagrad", "rowwise_adagrad", "rowwise_adagrad_with_counter", "rowwise_weighted_adagrad", "adam",
    "partial_rowwise_adam", "lamb", "partial_rowwise_lamb", "lars_sgd", "sgd", "approx_sgd", "approx_rowwise_adagrad",
    "none",
)  # fmt: skip

RULES = (
    EngineRule(
        (
            *(f"fbgemm::split_embedding_codegen_lookup_{name}_function" for name in _OPTIMIZERS),
            "fbgemm::split_embedding_codegen_lookup_function",
        ),
        f"-placeholder -weights -host_weights? -cache? placements {_TABLES}",
        _summed, _looked_up, lambda call: _width(call) is not None,
    ),
    EngineRule(
        ("fbgemm::dense_embedding_codegen_lookup_function",), f"-weights {_TABLES} _result?",
        _summed, _looked_up, lambda call: _width(call) is not None,
    ),
    # the numbers of rows are read, and indices only written where they are out of bounds
    EngineRule(("fbgemm::bounds_check_indices",), "rows indices offsets", no_flops),
    EngineRule(
        ("fbgemm::permute_2D_sparse_data", "fbgemm::permute_1D_sparse_data", "fbgemm::permute_sparse_features"),
        "permutation -lengths -values -weights? _sum?", no_flops, _permuted, _permutes_all,
    ),
    EngineRule(("fbgemm::asynchronous_complete_cumsum",), "input", no_flops, _lengthened(1)),
    EngineRule(
        ("fbgemm::asynchronous_inclusive_cumsum", "fbgemm::asynchronous_exclusive_cumsum"),
        "input", no_flops, _lengthened(0),
    ),
    EngineRule(
        ("fbgemm::permute_pooled_embs", "fbgemm::permute_pooled_embs_auto_grad"), "input", no_flops,
        lambda call: (0, call.needed("input").distinct_bytes),
    ),
    # rows with a scale and an offset
    EngineRule(
        ("fbgemm::FloatToFused8BitRowwiseQuantized", "fbgemm::FloatOrHalfToFused8BitRowwiseQuantized"),
        "input", each("input", 2), _converted(lambda columns: columns + 8),
    ),
    EngineRule(
        ("fbgemm::Fused8BitRowwiseQuantizedToFloat",), "input", each("input", 2),
        _converted(lambda columns: 4 * max(columns - 8, 0)),
    ),
    EngineRule(
        ("fbgemm::FloatToBfloat16Quantized",), "input", no_flops, _converted(lambda columns: 2 * columns)
    ),
    EngineRule(
        ("fbgemm::Bfloat16QuantizedToFloat",), "input", no_flops, _converted(lambda columns: 4 * columns)
    ),
)  # fmt: skip
