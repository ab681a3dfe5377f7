"""Sparse, nested and quantized tensors.

The profiler records such a tensor like a dense one of the same size, and a dense one is what PyTorch would be asked
about: it refuses. The size of most results depends on data besides.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.outputs.calls import Result, check, dense, integer, like_first, table, unknown
from ridgeline.analyze.pricing.signature import Arguments


def _compressed(call: Arguments) -> Result:
    """Where the elements of each row begin, and where the last one's end."""
    rows = call.needed("self")
    check(len(rows.shape) == 1)
    return [dense((integer(call, "size") + 1,), "int32" if call.flag("out_int32") else "int64")]


RULES = table(
    ("_convert_indices_from_coo_to_csr", _compressed),
    ("_coalesced copy_sparse_to_sparse resize_as_sparse", like_first),
    (
        "_coalesce is_coalesced _nnz _dimI _dimV _indices _values indices values crow_indices col_indices ccol_indices"
        " row_indices _indices_copy _values_copy indices_copy values_copy crow_indices_copy col_indices_copy"
        " ccol_indices_copy row_indices_copy sparse_coo_tensor sparse_compressed_tensor sparse_mask sparse_resize"
        " sparse_resize_and_clear sparse_sampled_addmm sspaddmm hspmm _sparse_coo_tensor_with_dims"
        " _sparse_coo_tensor_with_dims_and_tensors _sparse_compressed_tensor_with_dims _sparse_sum _sparse_softmax"
        " _sparse_log_softmax _sparse_broadcast_to_copy _sparse_semi_structured_addmm _sparse_semi_structured_linear"
        " _sparse_semi_structured_mm _cslt_sparse_mm _pack_padded_sequence",
        unknown,
    ),
    (
        "_nested_tensor_from_tensor_list _nested_view_from_buffer_copy _nested_view_from_jagged_copy"
        " _nested_get_values_copy _jagged_to_padded_dense_forward _padded_dense_to_jagged_forward",
        unknown,
    ),
    ("quantize_per_tensor segment_reduce _segment_reduce_backward", unknown),
)  # fmt: skip
