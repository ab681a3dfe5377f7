"""Launches of kernels that Inductor generated."""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches.launch import Launch, read, write
from ridgeline.analyze.cache_model.operands import Tensor, Touch
from ridgeline.analyze.pricing.rules.triton import in_place

_MOST_PLACES = 8
"""Times a generated kernel may read a tensor in each iteration of its loop."""


def generated(launch: Launch) -> list[Touch]:
    """The operands of an Inductor kernel: it reads every argument but an output, and writes one.

    The output is the last argument unless the call says otherwise: a kernel that updates its first argument reads the
    last one too. Of a tensor with many more elements than its loop has iterations, the kernel touches one element an
    iteration: rows of a table, slots of a cache. Of a tensor with up to ``_MOST_PLACES`` times as many it may touch
    all, such as the parts of a joined projection.
    """
    call = launch.call
    tensors = []
    for tensor in call.inputs or [Tensor(0, 0, 0, 0)]:
        if call.iterations is not None and tensor.bytes > _MOST_PLACES * call.iterations * tensor.itemsize:
            size = call.iterations * tensor.itemsize
            tensor = tensor._replace(bytes=size, span=size)
        tensors.append(tensor)
    if len(tensors) == 1:
        updates_first = in_place(call.operator, [tensors[0].shape], ())
    else:
        updates_first = bool(call.outputs) and call.outputs[0][:2] == tensors[0][:2]
    if updates_first:
        return [*map(read, tensors), write(tensors[0])]
    return [*map(read, tensors[:-1]), *map(write, call.outputs or tensors[-1:])]
