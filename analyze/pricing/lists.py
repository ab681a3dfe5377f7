"""Lists of tensors, of which the profiler records no element types, and of more than 30 tensors no sizes.

A kernel's name says the type of the elements. Sizes of a long list follow from the gradients that autograd accumulated
before the call (``torch::autograd::AccumulateGrad`` records them): optimizers, clipping and unscaling work on the
tensors of these sizes. PyTorch divides each tensor into chunks of 65,536 elements, a block of
``multi_tensor_apply_kernel`` each (``aten/src/ATen/native/cuda/MultiTensorApply.cuh``). Sizes are taken only if they
make exactly as many chunks as the call launched blocks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

import msgspec
import numpy as np
import polars as pl

from ridgeline.analyze.pricing.signature import Tensor, json_list, parse
from ridgeline.analyze.reading.columns import Signature
from ridgeline.analyze.reading.trace import Trace

CHUNK_ELEMENTS = 65_536
"""Elements of a tensor that a block takes (``kChunkSize``)."""
Shapes = tuple[tuple[int, ...], ...]

_OPAQUE = re.compile(r"OpaqueType<(\d+)u>")
_ELEMENT_OF_SIZE = {"1": "unsigned char", "2": "c10::BFloat16", "4": "float", "8": "double"}
_TEMPLATE = re.compile(r"(?:Copy\w*|CatArray\w*|Functor)<((?:c10::)?\w+)(?:, ((?:c10::)?[a-zA-Z]\w*))?[,>]")
# a copy without a conversion: a concatenation launches one for each tensor that it cannot copy in a batch
_COPIED = re.compile(r"gpu_kernel_impl_nocast<at::native::direct_copy_kernel_cuda.*?lambda\(((?:c10::)?[\w ]+)\)")
_CONVERTED = re.compile(r"gpu_kernel_impl<at::native::direct_copy_kernel_cuda")
# PyTorch copies these lists, which FSDP uses, as bytes: their elements are those of the other tensor of the call
_BYTES = re.compile(r"detail::(?:split_with_sizes_copy_out_\w*no_cast_kernel|chunk_cat_cuda_kernel<char, char>)")
_AS_TENSOR = "as the tensor"
_DEPTH = re.compile(r"Metadata<(?:\w+, )?(\d+)")
_ELEMENTS = {
    "long": "long int", "int": "int", "float": "float", "double": "double", "c10::BFloat16": "c10::BFloat16",
    "c10::Half": "c10::Half", "bool": "bool", "unsigned char": "unsigned char", "signed char": "signed char",
}  # fmt: skip
"""Element types in the names of kernels -> in the profiler's records."""
_ACCUMULATED = "torch::autograd::AccumulateGrad"
_COPY = "aten::_foreach_copy"
_WITH_STEPS = "aten::_fused_ada"
"""Optimizers whose last list has the number of steps that each tensor took."""


def complete(trace: Trace, activities: pl.DataFrame, codes: Sequence[int]) -> list[tuple[pl.DataFrame, Signature]]:
    """Return the signatures that calls of ``codes`` complete to, with the rows ``operator`` of these calls."""
    calls = _calls(trace, activities.filter(pl.col("signature").is_in(codes)))
    gradients = _Gradients(trace, calls)
    completed = []
    for keys, members in calls.group_by("signature", "kernel", "depth", "blocks", "before", maintain_order=True):
        code, kernel, depth, blocks, before = keys
        signature = trace.signatures[code]
        if blocks is not None:
            signature = _with_sizes(signature, depth or 0, gradients.sizes(blocks, before))
        if kernel is not None:
            signature = with_elements(signature, trace.names[kernel])
        if signature != trace.signatures[code]:
            completed.append((members.select("operator"), signature))
    return completed


def _calls(trace: Trace, kernels: pl.DataFrame) -> pl.DataFrame:
    """A row for each ``operator`` with kernels: its ``signature``, the ``kernel`` whose name says the elements.

    If the list's sizes are not recorded, ``depth`` (lists that the kernel takes), ``blocks`` and ``before``, the number
    of gradients accumulated until then.
    """
    names = kernels["name"].unique().to_list()
    typed = [name for name in names if elements(trace.names[name])[0]]
    # the tensors of a list that is converted differ in type, which a signature cannot say
    converted = [name for name in names if _CONVERTED.search(trace.names[name])]
    depth = {name: int(found[1]) for name in names if (found := _DEPTH.search(trace.names[name]))}
    long = [code for code in kernels["signature"].unique().to_list() if _is_long(trace.signatures[code])]
    if "list_blocks" not in kernels.columns:
        kernels = kernels.with_columns(list_blocks=pl.lit(None, dtype=pl.Int64))
    calls = kernels.group_by("operator", maintain_order=True).agg(
        pl.col("signature").first(),
        kernel=pl.when(~pl.col("name").is_in(converted).any()).then(
            pl.col("name").filter(pl.col("name").is_in(typed)).first()
        ),
        depth=pl.col("name").replace_strict(depth, default=None, return_dtype=pl.Int64).drop_nulls().first(),
        blocks=pl.when(pl.col("list_blocks").is_not_null().any()).then(pl.col("list_blocks").sum()),
    )
    accumulated = trace.operators.filter(pl.col("signature").is_in(_accumulations(trace)))["start_ns"].sort()
    starts = trace.operators["start_ns"].gather(calls["operator"])
    before = pl.Series("before", np.searchsorted(accumulated.to_numpy(), starts.to_numpy()), dtype=pl.Int64)
    is_long = pl.col("signature").is_in(long) & pl.col("blocks").is_not_null()
    return calls.with_columns(before).with_columns(
        pl.when(is_long).then(name) for name in ("depth", "blocks", "before")
    )


@cache
def elements(kernel: str) -> tuple[str | None, str | None]:
    """The profiler's names of the element types in a kernel's name: of its lists, and of the source of a copy.

    ``_AS_TENSOR`` stands for the type of the tensor beside the list.

    >>> elements("multi_tensor_apply_kernel<TensorListMetadata<2>, CopyFunctor<float, c10::BFloat16, 2, 1, 1>>")
    ('float', 'c10::BFloat16')
    """
    if match := _OPAQUE.search(kernel):
        return _ELEMENT_OF_SIZE.get(match[1]), None
    if _BYTES.search(kernel):
        return _AS_TENSOR, None
    if match := _COPIED.search(kernel):
        return _ELEMENTS.get(match[1]), None
    if match := _TEMPLATE.search(kernel):
        return _ELEMENTS.get(match[1]), _ELEMENTS.get(match[2])
    return None, None


def with_elements(signature: Signature, kernel: str) -> Signature:
    """The signature with the element types of its lists from its kernel's name.

    >>> with_elements(("aten::cat", b"[[[4]]]", b'["TensorList"]', b"", b""), "CatArrayBatchedCopy<OpaqueType<4u>>")[2]
    b'["TensorList float"]'
    """
    name, dims, types, strides, concrete = signature
    element, source = elements(kernel)
    if element == _AS_TENSOR:
        element = next((tensor for tensor in json_list(types) or [] if tensor in _ELEMENTS.values()), None)
    if not element:
        return signature
    missing = b'"TensorList"'
    first, _, rest = types.partition(missing)
    if source and rest and name.startswith(_COPY):
        types = first + f'"TensorList {element}"'.encode() + rest.replace(missing, f'"TensorList {source}"'.encode())
    return name, dims, types.replace(missing, f'"TensorList {element}"'.encode()), strides, concrete


def _is_long(signature: Signature) -> bool:
    """Whether the first argument is a list without sizes: an empty one, or one that was too long for the profiler."""
    return signature[1].startswith(b"[[]") and signature[2].startswith(b'["TensorList"')


def _with_sizes(signature: Signature, depth: int, sizes: Shapes | None) -> Signature:
    """The signature with ``sizes`` for its first ``depth`` lists, and numbers of steps for an optimizer's last one."""
    name, dims, types, _, concrete = signature
    recorded, kinds = json_list(dims), json_list(types)
    if sizes is None or recorded is None or kinds is None or len(recorded) != len(kinds):
        return signature
    lists = [i for i, kind in enumerate(kinds) if kind == "TensorList"]
    for i in lists[:depth]:
        recorded[i] = recorded[i] or sizes
    if name.startswith(_WITH_STEPS):
        recorded[lists[-1]] = recorded[lists[-1]] or [[]] * len(sizes)
    return name, msgspec.json.encode(recorded), types, b"", concrete


def _accumulations(trace: Trace) -> list[int]:
    return [code for code, signature in enumerate(trace.signatures) if signature[0] == _ACCUMULATED]


class _Gradients:
    """The gradients that autograd accumulated between the calls whose lists are long."""

    def __init__(self, trace: Trace, calls: pl.DataFrame) -> None:
        shapes = {code: _shape(trace.signatures[code]) for code in _accumulations(trace)}
        accumulated = trace.operators.filter(pl.col("signature").is_in(list(shapes))).sort("start_ns")["signature"]
        at = [0, *calls["before"].drop_nulls().unique().sort().to_list()]
        self._windows = {
            stop: [shapes[code] for code in accumulated[start:stop].to_list()] for start, stop in pairwise(at)
        }
        self._found: dict[tuple[int, int], Shapes | None] = {}

    def sizes(self, blocks: int, before: int) -> Shapes | None:
        """Sizes of tensors that make ``blocks`` chunks, by the last gradients before the call, else by others."""
        key = blocks, before
        if key not in self._found:
            own = self._windows.get(before, [])
            windows = [own, *(window for window in self._windows.values() if window is not own)]
            self._found[key] = next((s for window in windows for s in _groups(window, blocks) if s), None)
        return self._found[key]


def _chunks(shape: tuple[int, ...]) -> int:
    return -(-math.prod(shape) // CHUNK_ELEMENTS)


def _groups(window: list[tuple[int, ...]], blocks: int) -> Iterator[Shapes | None]:
    """Yield the tensors of a window, or a group of them, if they make ``blocks`` chunks.

    Groups are matrices and vectors, as programs divide them for weight decay. With a number for each tensor, a chunk
    each, such as the number of steps. Gradients accumulated several times count once.
    """
    matrices, vectors = [s for s in window if len(s) > 1], [s for s in window if len(s) < 2]
    for shapes in (window, matrices, vectors, [()] * len(window), _without_input(window, blocks)):
        chunks = sum(map(_chunks, shapes))
        times = chunks // blocks if blocks else 0
        once = shapes[: len(shapes) // times] if times else []
        if times and chunks == times * blocks and shapes == once * times:
            # the order of parameters, which gradients have the other way round
            yield tuple(reversed(once))


def _without_input(window: list[tuple[int, ...]], blocks: int) -> list[tuple[int, ...]]:
    """The window without the gradient that makes it too long by its chunks, if it is the only one of that length.

    A program's input may have a gradient too, for activation checkpointing: no optimizer's list has it.
    """
    excess = sum(map(_chunks, window)) - blocks
    of_length = [i for i, shape in enumerate(window) if _chunks(shape) == excess]
    return [shape for i, shape in enumerate(window) if i != of_length[0]] if len(of_length) == 1 else []


def _shape(signature: Signature) -> tuple[int, ...]:
    """The shape of an accumulated gradient."""
    value = next(iter(parse(signature).inputs), None)
    return value.shape if isinstance(value, Tensor) else ()
