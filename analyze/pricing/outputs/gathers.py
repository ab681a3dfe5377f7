"""Access by index, and tensors put together."""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.outputs.calls import (
    OutputRule,
    Result,
    axis,
    broadcast,
    check,
    dense,
    integer,
    integers,
    like,
    lists,
    of_sizes,
    same_as,
    table,
    unknown,
)
from ridgeline.analyze.pricing.outputs.dtypes import promote
from ridgeline.analyze.pricing.outputs.views import unsqueezed
from ridgeline.analyze.pricing.signature import Arguments, Tensor


def _indexed(call: Arguments) -> Result:
    """Indices, which broadcast, replace the first dimensions. A mask selects a number of elements that is unknown."""
    self, indices = call.needed("self"), lists(call, "indices")
    if any(t.precision in ("bool", "uint8") for t in indices):
        return unknown(call)
    check(bool(indices) and all(t.precision in ("int64", "int32") for t in indices))
    check(len(indices) <= len(self.shape))
    return [dense((*broadcast(*(t.shape for t in indices)), *self.shape[len(indices) :]), self.precision)]


def _gathered(call: Arguments) -> Result:
    self, index = call.needed("self"), call.needed("index")
    dim = axis(integer(call, "dim"), len(self.shape))
    check(index.elements == 0 or len(self.shape or (1,)) == len(index.shape or (1,)))
    check(
        index.elements == 0
        or all(m <= n for i, (m, n) in enumerate(zip(index.shape, self.shape, strict=False)) if i != dim)
    )
    return [dense(index.shape, self.precision)]


def _selected(call: Arguments) -> Result:
    self, index = call.needed("self"), call.needed("index")
    check(len(index.shape) <= 1)
    dim = axis(integer(call, "dim"), len(self.shape))
    if not self.shape:
        return [dense((), self.precision)]
    return [dense((*self.shape[:dim], index.elements, *self.shape[dim + 1 :]), self.precision)]


def _taken_along(call: Arguments) -> Result:
    self, indices = call.needed("self"), call.needed("indices")
    if call.arguments.get("dim") is None:
        return [dense((indices.elements,), self.precision)]
    dim = axis(integer(call, "dim"), len(self.shape))
    check(len(self.shape) == len(indices.shape))
    mine, theirs = ((*t.shape[:dim], 1, *t.shape[dim + 1 :]) for t in (self, indices))
    shape = list(broadcast(mine, theirs))
    shape[dim] = indices.shape[dim]
    return [dense(shape, self.precision)]


def _embedded(call: Arguments) -> Result:
    weight, indices = call.needed("weight"), call.needed("indices")
    check(len(weight.shape) == 2 and indices.precision in ("int64", "int32"))
    return [dense((*indices.shape, weight.shape[1]), weight.precision)]


def _table_gradient(call: Arguments) -> Result:
    gradient = call.tensor("grad_output") or call.needed("grad")
    if call.flag("sparse"):
        return unknown(call)
    check(bool(gradient.shape))
    return [dense((integer(call, "num_weights"), gradient.shape[-1]), gradient.precision)]


def _bags(call: Arguments) -> Result:
    """The bags; the bag of each index; the size of each bag; positions of the maxima (mode 2)."""
    weight, indices, offsets = call.needed("weight"), call.needed("indices"), call.needed("offsets")
    check(len(weight.shape) == 2 and len(indices.shape) == 1 and len(offsets.shape) == 1)
    count = offsets.elements - call.flag("include_last_offset")
    check(count >= 0)
    mode = integer(call, "mode", 0)
    return [
        dense((count, weight.shape[1]), weight.precision),
        dense((indices.elements,), offsets.precision),
        dense((offsets.elements,), offsets.precision),
        dense((count, weight.shape[1]) if mode == 2 else (0,), offsets.precision),
    ]


def _bag_weights(call: Arguments) -> Result:
    return [dense(call.needed("indices").shape, call.needed("grad").precision)]


def _joined_type(tensors: list[Tensor]) -> str:
    precision = tensors[0].precision
    for tensor in tensors[1:]:
        precision = promote(precision, tensor.precision)
    return precision


def concatenated(tensors: list[Tensor], dim: int) -> Tensor:
    """Tensors one after the other along a dimension; empty ones of one dimension do not count."""
    check(bool(tensors))
    counted = [tensor for tensor in tensors if tensor.shape != (0,)] or tensors[:1]
    shape = list(counted[0].shape)
    check(bool(shape))
    dim = axis(dim, len(shape))
    for tensor in counted:
        check(len(tensor.shape) == len(shape))
        check(tensor.shape[:dim] == tuple(shape[:dim]) and tensor.shape[dim + 1 :] == tuple(shape[dim + 1 :]))
    shape[dim] = sum(tensor.shape[dim] for tensor in counted)
    return dense(shape, _joined_type(tensors))


def _cat(call: Arguments) -> Result:
    return [concatenated(lists(call, "tensors"), integer(call, "dim", 0))]


def _stack(call: Arguments) -> Result:
    tensors = lists(call, "tensors")
    check(bool(tensors) and all(tensor.shape == tensors[0].shape for tensor in tensors))
    dim = axis(integer(call, "dim", 0), len(tensors[0].shape) + 1)
    shape = tensors[0].shape
    return [dense((*shape[:dim], len(tensors), *shape[dim:]), _joined_type(tensors))]


def _hstack(call: Arguments) -> Result:
    tensors = [t if t.shape else unsqueezed(t, 0) for t in lists(call, "tensors")]
    return [concatenated(tensors, 0 if tensors and len(tensors[0].shape) == 1 else 1)]


def _vstack(call: Arguments) -> Result:
    tensors = lists(call, "tensors")
    return [concatenated([t if len(t.shape) > 1 else dense((1, t.elements), t.precision) for t in tensors], 0)]


def _column_stack(call: Arguments) -> Result:
    tensors = lists(call, "tensors")
    return [concatenated([t if len(t.shape) > 1 else dense((t.elements, 1), t.precision) for t in tensors], 1)]


def _repeated(call: Arguments) -> Result:
    self = call.needed("self")
    repeats = integers(call, "repeats" if "repeats" in call.arguments else "dims")
    if "dims" in call.arguments:
        repeats = [1] * (len(self.shape) - len(repeats)) + repeats
    check(len(repeats) >= len(self.shape) and all(n >= 0 for n in repeats))
    shape = (1,) * (len(repeats) - len(self.shape)) + self.shape
    return [dense([n * times for n, times in zip(shape, repeats, strict=True)], self.precision)]


def _interleaved(call: Arguments) -> Result:
    """Each element so many times. If a tensor holds the numbers, the total must be recorded."""
    repeats, self = call.arguments.get("repeats"), call.tensor("self")
    if isinstance(repeats, Tensor) and (self is None or repeats.shape or "output_size" in call.arguments):
        total = integer(call, "output_size")
        if self is None:
            return [dense((total,), repeats.precision)]
    elif self is not None:
        dim = call.number("dim")
        n = self.elements if dim is None else self.shape[axis(dim, len(self.shape))]
        total = n * integer(call, "repeats")
    else:
        raise ValueError("the number of repeats is not recorded")
    if call.arguments.get("dim") is None:
        return [dense((total,), self.precision)]
    dim = axis(integer(call, "dim"), len(self.shape))
    return [dense((*self.shape[:dim], total, *self.shape[dim + 1 :]), self.precision)]


def _turned(call: Arguments) -> Result:
    """By quarters: an odd number exchanges the two dimensions."""
    self, dims = call.needed("self"), integers(call, "dims", [0, 1])
    check(len(dims) == 2)
    shape = list(self.shape)
    first, second = (axis(dim, len(shape)) for dim in dims)
    if integer(call, "k", 1) % 2:
        shape[first], shape[second] = shape[second], shape[first]
    return [dense(shape, self.precision)]


def _difference(call: Arguments) -> Result:
    """Differences of neighbours, ``n`` times."""
    tensors = call.tensors("prepend", "self", "append")
    dim = integer(call, "dim", -1)
    joined = concatenated(tensors, dim)
    dim = axis(dim, len(joined.shape))
    n = max(joined.shape[dim] - integer(call, "n", 1), 0)
    return [dense((*joined.shape[:dim], n, *joined.shape[dim + 1 :]), joined.precision)]


def _one_hot(call: Arguments) -> Result:
    self, classes = call.needed("self"), integer(call, "num_classes", -1)
    check(classes > 0)
    return [dense((*self.shape, classes), "int64")]


def _diagonal_matrix(call: Arguments) -> Result:
    """Vectors on the diagonals of matrices."""
    self, offset = call.needed("self"), integer(call, "offset", 0)
    count = len(self.shape) + 1
    first, second = (axis(integer(call, name, d), count) for name, d in (("dim1", -2), ("dim2", -1)))
    check(first != second and bool(self.shape))
    n = self.shape[-1] + abs(offset)
    shape = list(self.shape[:-1])
    for dim in sorted((first, second)):
        shape.insert(dim, n)
    return [dense(shape, self.precision)]


def _diag(call: Arguments) -> Result:
    """A vector as the diagonal of a matrix, or the diagonal of a matrix."""
    self, offset = call.needed("self"), integer(call, "diagonal", 0)
    check(len(self.shape) in (1, 2))
    if len(self.shape) == 1:
        n = self.shape[0] + abs(offset)
        return [dense((n, n), self.precision)]
    height, width = self.shape
    return [dense((max(min(height + min(offset, 0), width - max(offset, 0)), 0),), self.precision)]


def _flat_diagonal(call: Arguments) -> Result:
    self = call.needed("self")
    n = self.elements + abs(integer(call, "offset", 0))
    return [dense((n, n), self.precision)]


def _chunk_cat(call: Arguments) -> Result:
    """Each tensor in chunks, padded to whole ones; the chunks of all lie side by side."""
    tensors, chunks = lists(call, "tensors"), integer(call, "num_chunks")
    dim = axis(integer(call, "dim"), len(tensors[0].shape))
    check(chunks > 0 and all(len(t.shape) > dim for t in tensors))
    width = sum(-(-t.shape[dim] // chunks) * math.prod(t.shape[dim + 1 :]) for t in tensors)
    return [dense((*tensors[0].shape[:dim], chunks, width), _joined_type(tensors))]


def _block_diagonal(call: Arguments) -> Result:
    tensors = lists(call, "tensors")
    check(all(len(t.shape) <= 2 for t in tensors))
    shapes = [(1,) * (2 - len(t.shape)) + t.shape for t in tensors]
    return [dense([sum(sizes) for sizes in zip(*shapes, strict=True)], _joined_type(tensors))]


def _scattered(call: Arguments) -> Result:
    """Like self, if the index has as many dimensions."""
    self, index = call.needed("self"), call.tensor("index")
    if index is not None:
        check(index.elements == 0 or len(self.shape or (1,)) == len(index.shape or (1,)))
    axis(integer(call, "dim"), len(self.shape))
    source = call.tensor("src")
    check(source is None or source.precision == self.precision)
    return [like(self)]


def _index_written(call: Arguments) -> Result:
    self = call.needed("self")
    axis(integer(call, "dim"), len(self.shape))
    return [like(self)]


def _with_mask(name: str) -> OutputRule:
    """Of the shape to which an argument and the mask broadcast."""

    def outputs(call: Arguments) -> Result:
        tensor = call.needed(name)
        return [dense(broadcast(tensor.shape, call.needed("mask").shape), tensor.precision)]

    return outputs


RULES = table(
    ("index _unsafe_index _unsafe_masked_index", _indexed),
    ("index_put _index_put_impl _unsafe_index_put _unsafe_masked_index_put_accumulate put",
     same_as("self")),
    ("gather", _gathered),
    ("gather_backward", lambda call: [like(call.needed("self"), call.needed("grad").precision)]),
    ("index_select", _selected),
    ("take", lambda call: [dense(call.needed("index").shape, call.needed("self").precision)]),
    ("take_along_dim", _taken_along),
    ("scatter scatter_add scatter_reduce", _scattered),
    ("index_add index_copy index_fill index_reduce", _index_written),
    ("embedding", _embedded),
    ("embedding_dense_backward embedding_backward _embedding_bag_dense_backward _embedding_bag_backward",
     _table_gradient),
    ("embedding_bag _embedding_bag _embedding_bag_forward_only", _bags),
    ("_embedding_bag_per_sample_weights_backward", _bag_weights),
    ("embedding_renorm", same_as("self")),
    ("cat concat concatenate", _cat),
    ("stack _stack", _stack),
    ("hstack", _hstack), ("vstack row_stack", _vstack), ("column_stack", _column_stack),
    ("repeat tile", _repeated),
    ("repeat_interleave", _interleaved),
    ("flip roll fliplr flipud tril triu fft_fftshift fft_ifftshift", same_as("self")),
    ("rot90", _turned),
    ("diff", _difference),
    ("one_hot", _one_hot),
    ("diag_embed", _diagonal_matrix), ("diag", _diag), ("diagflat", _flat_diagonal),
    ("_chunk_cat", _chunk_cat),
    ("block_diag", _block_diagonal),
    ("masked_scatter_backward", of_sizes("sizes", "grad_output")),
    ("value_selecting_reduction_backward trace_backward",
     of_sizes("sizes", "grad")),
    ("index_select_backward", of_sizes("self_sizes", "grad")),
    ("masked_select_backward", _with_mask("input")),
    ("masked_scatter", _with_mask("self")),
    ("nonzero nonzero_numpy argwhere masked_select _unique _unique2 unique_dim unique_consecutive bincount combinations"
     " _to_sparse to_sparse to_sparse_csr _to_sparse_csr allclose pin_memory _pin_memory record_stream", unknown),
    ("nonzero_static", lambda call: [dense((integer(call, "size"), len(call.needed("self").shape)), "int64")]),
)  # fmt: skip
