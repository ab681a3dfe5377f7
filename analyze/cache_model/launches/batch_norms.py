"""Launches of batch norms: passes over a channel, and kernels that only gather statistics.

A kernel for NCHW gives each channel to a block. If a channel does not fit into a multiprocessor, the block reads it
twice, for the statistics and for the result (cuDNN's ``bn_fw_tr_1C11_kernel_NCHW`` and ``bn_bw_1C11_kernel_new``,
PyTorch's ``batch_norm_backward_kernel``; the kernels ``singleread`` and ``semiPersist`` keep it). Other implementations
have a kernel for the statistics and one for the result (PyTorch's ``batch_norm_collect_statistics``, MIOpen's).
"""

from __future__ import annotations

import math
import re

from ridgeline.analyze.cache_model.launches.launch import Chunk, Helper, Launch, Rule, read, write
from ridgeline.analyze.cache_model.operands import Touch

_TWICE = re.compile(r"bn_fw_tr_1C11_kernel|bn_bw_1C11_kernel|batch_norm_backward_kernel")
_STATISTICS = re.compile(r"collect_statistics|backward_reduce|SpatialMeanVariance|SpatialDScaleDBias")
_RESULT = re.compile(r"transform_input|backward_elemt|SpatialNorm|SpatialDX")


def _batch_norm(launch: Launch) -> list[Touch] | None:
    inputs, outputs, kernel = launch.call.inputs, launch.call.outputs, launch.kernel
    if _STATISTICS.search(kernel):
        return Chunk(map(read, inputs))
    if _RESULT.search(kernel):
        return Chunk([*map(read, inputs), *map(write, outputs)])
    if any(_RESULT.search(other) for other in launch.kernels):
        return Helper()  # statistics of channels only
    if not inputs or not _TWICE.search(kernel):
        return None
    channels = inputs[0].shape[1] if len(inputs[0].shape) > 1 else 1
    waves = max(math.ceil(channels / launch.multiprocessors), 1)
    largest = max(tensor.bytes for tensor in inputs)
    reads = [read(tensor)._replace(waves=waves, passes=1 + (tensor.bytes == largest)) for tensor in inputs]
    return [*reads, *(write(output)._replace(waves=waves) for output in outputs)]


_OPERATORS = (
    "cudnn_batch_norm", "cudnn_batch_norm_backward", "miopen_batch_norm", "miopen_batch_norm_backward",
    "native_batch_norm", "native_batch_norm_backward", "_native_batch_norm_legit", "_batch_norm_with_update",
    "batch_norm_backward",
)  # fmt: skip
RULES: dict[str, Rule] = dict.fromkeys(_OPERATORS, _batch_norm)
