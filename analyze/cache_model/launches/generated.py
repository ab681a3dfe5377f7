"""Launches of kernels that Inductor generated."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ridgeline.analyze.cache_model.launches.launch import Launch, read, write
from ridgeline.analyze.cache_model.operands import Tensor, Touch

_MOST_PLACES = 8
"""Times a generated kernel may read a tensor in each iteration of its loop."""


def iterations(operator: str, numbers: Sequence[int]) -> int | None:
    """Iterations of the loop of a kernel that Inductor generated: its last arguments are its sizes; else None."""
    sizes = [number for number in numbers if number > 0][-2:]
    generated = operator.startswith("triton_") and not operator.startswith("triton_tem_")
    return math.prod(sizes) if generated and sizes else None


def generated(launch: Launch) -> list[Touch]:
    """The operands of an Inductor kernel, which lists its arguments, results last; one result is assumed.

    Of a tensor with many more elements than its loop has iterations, the kernel touches one element an iteration: rows
    of a table, slots of a cache. Of a tensor with up to ``_MOST_PLACES`` times as many it may touch all, such as the
    parts of a joined projection.
    """
    call = launch.call
    tensors = []
    for tensor in call.inputs or [Tensor(0, 0, 0, 0)]:
        if call.iterations is not None and tensor.bytes > _MOST_PLACES * call.iterations * tensor.itemsize:
            size = call.iterations * tensor.itemsize
            tensor = tensor._replace(bytes=size, span=size)
        tensors.append(tensor)
    return [*map(read, tensors[:-1]), *map(write, call.outputs or tensors[-1:])]
