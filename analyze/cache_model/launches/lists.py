"""Launches of operators on lists of tensors: foreach arithmetic, fused optimizers, norms, concatenation.

``multi_tensor_apply`` (``aten/src/ATen/native/cuda/MultiTensorApply.cuh``) packs the tensors of its lists into launches
in their order: a block takes 65,536 elements of one tensor, and a launch is full with 320 blocks, or with as many
tensors as its arguments have room for. Kernels with 32 KB of arguments take seven times as many of both. The kernel's
name says the number of lists (``TensorListMetadata<3>``), results included. Where the packing gives another number of
launches than the call has, the rule does not know the launch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from ridgeline.analyze.cache_model.launches.launch import (
    Chunk,
    Helper,
    Launch,
    Rule,
    Whole,
    once_per_call,
    read,
    workspace,
    write,
)
from ridgeline.analyze.cache_model.operands import Tensor, Touch
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.lists import CHUNK_ELEMENTS

_METADATA = re.compile(r"(\w*TensorList\w*)Metadata<(?:([\w:]+(?:<[\w:]+>)?), )?(\d+)(?:, (true|false))?>")
"""The kind of a kernel's lists, the type of its numbers, the number of its lists; true for 32 KB of arguments."""
_MOST_BLOCKS = 320
_MOST_TENSORS = (110, 64, 48, 36, 30)
"""Tensors of a launch, by the number of lists."""
_MOST_TENSORS_WITH_NUMBERS = (96, 64, 48, 36, 30)
"""The same with a number for each tensor."""
_LARGE = 7
_GRADIENTS = 1
"""Position of the gradients among the arguments of a fused optimizer, which are written only if it unscales them."""
_GRAD_SCALE = {"_fused_adam": 13, "_fused_adamw": 13, "_fused_sgd": 10, "_fused_adagrad": 9}
"""Position of the scale that a fused optimizer divides its gradients by."""
_FOREACH = (
    "abs acos add addcdiv addcmul asin atan ceil clamp_max clamp_min clone copy cos cosh div erf erfc exp expm1 floor"
    " frac lerp lgamma log log10 log1p log2 max maximum minimum mul neg norm pow powsum reciprocal round rsqrt sigmoid"
    " sign sin sinh sqrt sub tan tanh trunc zero"
)
_REDUCTIONS = frozenset({"_foreach_norm", "_foreach_max", "_foreach_powsum"})
_OVERWRITES = frozenset({"_foreach_copy", "_foreach_zero"})
_SUM_BYTES = 4
_CLEANUP = re.compile(r"lp\w+_cleanup")
_MOST_CLEANED = 400
"""Tensors of a launch that reduces the partial results of a norm."""
_CATENATION = re.compile(r"CatArrayBatchedCopy\w*<.*?unsigned int, \d+, (\d+), \d+")
"""The tensors that a launch of a concatenation takes at most."""

Part = tuple[int, int, int]
"""Elements of a tensor that a launch touches: the tensor's number, the first element and the one after the last."""


def packed(sizes: Sequence[int], most_tensors: int, most_blocks: int) -> list[list[Part]]:
    """The parts of tensors with ``sizes`` elements that each launch takes.

    >>> packed((65_537, 0, 1), 30, 2)
    [[(0, 0, 65537)], [(2, 0, 1)]]
    """
    launches: list[list[Part]] = []
    parts: list[Part] = []
    blocks = tensors = 0
    for number, size in enumerate(sizes):
        first, chunks, tensors = 0, -(-size // CHUNK_ELEMENTS), tensors + bool(size)
        while chunks:
            taken = min(chunks, most_blocks - blocks)
            end = min(first + taken * CHUNK_ELEMENTS, size)
            parts.append((number, first, end))
            first, chunks, blocks = end, chunks - taken, blocks + taken
            if blocks == most_blocks or (tensors == most_tensors and not chunks):
                launches.append(parts)
                parts, blocks, tensors = [], 0, int(chunks > 0)
    return [*launches, parts] if parts else launches


def _limits(kernel: str) -> tuple[int, int, int] | None:
    """The lists of a kernel, and the most tensors and blocks of its launch; None of another kernel."""
    if not (match := _METADATA.search(kernel)) or not 1 <= int(match[3]) <= len(_MOST_TENSORS):
        return None
    depth = int(match[3])
    most = _MOST_TENSORS_WITH_NUMBERS if "ScalarList" in match[1] else _MOST_TENSORS
    if match[2] == "c10::complex<double>":
        most = (72, 60, *most[2:])
    factor = _LARGE if match[4] == "true" else 1
    return depth, most[depth - 1] * factor, _MOST_BLOCKS * factor


class _Packing(NamedTuple):
    """How the launches of a call share its lists."""

    chunks: dict[int, list[Part]]
    """What a launch takes of the lists, by its number."""
    read: Sequence[Sequence[Tensor]]
    written: Sequence[Sequence[Tensor]]


@once_per_call
def _packing(launch: Launch) -> _Packing | None:
    """The chunks of a call, in the order of its arguments; None where they do not fit its lists."""
    lists, name = _lists(launch), base_name(launch.call.operator)
    launched = [at for at, kernel in enumerate(launch.kernels) if _METADATA.search(kernel)]
    sizes = [math.prod(tensor.shape) for tensor in lists[0]] if lists else []
    # Sizes of a damaged record would be packed for ever.
    is_damaged = sum(sizes) > len(launched) * _MOST_BLOCKS * _LARGE * CHUNK_ELEMENTS
    limits = _limits(launch.kernels[launched[0]]) if launched else None
    if limits is None or is_damaged or len({launch.kernels[at] for at in launched}) > 1:
        return None
    depth, most_tensors, most_blocks = limits
    chunks = packed(sizes, most_tensors, most_blocks)
    in_place = launch.call.operator.partition(".")[0].endswith("_")
    results = [] if in_place or name in _REDUCTIONS else _results(launch, sizes)
    inputs = lists[: depth - len(results)]
    same = len(inputs) + len(results) == depth and all(len(of) == len(sizes) for of in [*inputs, *results])
    if len(chunks) != len(launched) or not same:
        return None
    if name == "_foreach_addcmul" and in_place:
        # The optimizers of PyTorch, which alone use it, add squares: addcmul_(averages, gradients, gradients).
        inputs = inputs[:2]
    written = results or [tensors for at, tensors in enumerate(inputs) if _writes(launch, name, at)]
    reads = inputs[1:] if name in _OVERWRITES and in_place else inputs
    return _Packing(dict(zip(launched, chunks, strict=True)), reads, written)


def _foreach(launch: Launch) -> list[Touch] | None:
    """A chunk reads and writes its parts of the lists."""
    lists = _lists(launch)
    if lists and _CLEANUP.search(launch.kernel):
        return _cleanup(launch, lists[0])
    packing = _packing(launch)
    if packing is None or (parts := packing.chunks.get(launch.at)) is None:
        return _whole(launch, lists) if launch.call.operator.partition(".")[0].endswith("_") else None
    reads = _touches(packing.read, parts, write=False)
    if base_name(launch.call.operator) in _REDUCTIONS:
        size = sum(-(-(end - first) // CHUNK_ELEMENTS) for _, first, end in parts) * _SUM_BYTES
        return Chunk([*reads, Touch(workspace(1), 0, size, size, True)])
    return Chunk([*reads, *_touches(packing.written, parts, write=True)])


def _whole(launch: Launch, lists: Sequence[Sequence[Tensor]]) -> list[Touch]:
    """All tensors of an operator in place, where nothing tells which of them the launch takes."""
    name = base_name(launch.call.operator)
    reads = lists[1:] if name in _OVERWRITES else lists
    written = [tensors for at, tensors in enumerate(lists) if _writes(launch, name, at)]
    return Whole([*map(read, chain(*reads)), *map(write, chain(*written))])


@once_per_call
def _lists(launch: Launch) -> list[Sequence[Tensor]]:
    """The tensors of each argument that has any."""
    arguments, inputs = launch.call.arguments, launch.call.inputs
    starts = [*map(arguments.index, dict.fromkeys(arguments)), len(arguments)]
    return [inputs[first:end] for first, end in pairwise(starts)]


def _results(launch: Launch, sizes: Sequence[int]) -> list[Sequence[Tensor]]:
    """The new tensors of an operator that is not in place; a single result stands for all of them."""
    outputs = launch.call.outputs
    if len(outputs) != 1 or len(sizes) < 2:
        return [outputs]
    item_bytes = outputs[0].bytes // max(sum(sizes), 1)
    starts = accumulate(sizes, initial=0)
    return [
        [
            Tensor(outputs[0].storage, start * item_bytes, size * item_bytes, size * item_bytes, (size,), item_bytes)
            for start, size in zip(starts, sizes, strict=False)
        ]
    ]


def _writes(launch: Launch, name: str, at: int) -> bool:
    """Whether an operator in place writes its list number ``at``."""
    if name not in _GRAD_SCALE:
        return at == 0
    return at != _GRADIENTS or _GRAD_SCALE[name] in launch.call.arguments


def _touches(lists: Sequence[Sequence[Tensor]], parts: Sequence[Part], *, write: bool) -> list[Touch]:
    return [
        Touch(
            (tensor := tensors[number]).storage,
            tensor.offset + first * tensor.itemsize,
            size := (end - first) * tensor.itemsize,
            size,
            write,
        )
        for tensors in lists
        for number, first, end in parts
    ]


def _cleanup(launch: Launch, tensors: Sequence[Tensor]) -> list[Touch]:
    """The partial results of a norm: room for as many blocks as the longest tensor has, for each of them."""
    sizes = [math.prod(tensor.shape) for tensor in tensors]
    before = [kernel for kernel in launch.kernels[: launch.at] if _CLEANUP.search(kernel)]
    cleaned = min(len(sizes) - len(before) * _MOST_CLEANED, _MOST_CLEANED)
    size = max(cleaned, 0) * -(-max(sizes) // CHUNK_ELEMENTS) * _SUM_BYTES
    return Helper([Touch(workspace(1), 0, size, size, False), *map(write, launch.call.outputs)])


def _cat(launch: Launch) -> list[Touch] | None:
    """A launch copies as many tensors as its name says, or one; their places in the result spread over it."""
    if len(launch.kernels) < 2 or len(launch.call.outputs) != 1:
        return None
    tensors = [
        tensor for tensor, argument in zip(launch.call.inputs, launch.call.arguments, strict=False) if not argument
    ]
    batches = [int(match[1]) if (match := _CATENATION.search(kernel)) else 1 for kernel in launch.kernels]
    ends = list(accumulate(batches))
    if not ends[-2] < len(tensors) <= ends[-1]:
        return None
    copied = tensors[ends[launch.at] - batches[launch.at] : ends[launch.at]]
    result = launch.call.outputs[0]
    size = min(sum(tensor.bytes for tensor in copied), result.bytes)
    return Chunk([*map(read, copied), write(result)._replace(bytes=size)])


RULES: dict[str, Rule] = {
    **{f"_foreach_{name}": _foreach for name in _FOREACH.split()},
    **dict.fromkeys((*_GRAD_SCALE, "_amp_foreach_non_finite_check_and_unscale"), _foreach),
    "cat": _cat,
    "_cat": _cat,
}
