"""Launches of batch norms, whose kernels pass over a channel or only gather statistics, and of pooling.

- A kernel for NCHW gives each channel to a block. If a channel does not fit into a multiprocessor, the block reads it
  twice, for the statistics and for the result (cuDNN's ``bn_fw_tr_1C11_kernel_NCHW`` and ``bn_bw_1C11_kernel_new``,
  PyTorch's ``batch_norm_backward_kernel``; ``singleread`` keeps it).
- cuDNN's kernels ``semiPersist`` for NHWC take 64 channels at a time, keep a part of them in all multiprocessors and
  read the rest twice.
- Other implementations have a kernel for the statistics and one for the result (PyTorch's
  ``batch_norm_collect_statistics``, MIOpen's).

The backward pass of pooling takes its input for the shape alone, besides the gradient and the places of the maxima.
"""

from __future__ import annotations

import math
import re

from ridgeline.analyze.cache_model.launches.launch import Chunk, Helper, Launch, Rule, read, write
from ridgeline.analyze.cache_model.operands import Touch

_TWICE = re.compile(r"bn_fw_tr_1C11_kernel|bn_bw_1C11_kernel|batch_norm_backward_kernel")
_KEEPS_A_PART = re.compile(r"semiPersist")
_CHANNELS = 64
"""Channels that a kernel takes at a time, if it keeps a part of them."""
_KEPT_BYTES = 384 << 10
"""Bytes that a multiprocessor keeps, in registers and in shared memory (counted on an H200: 46 and 55 MB in all)."""
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
    if not inputs or not (_TWICE.search(kernel) or _KEEPS_A_PART.search(kernel)):
        return None
    channels = inputs[0].shape[1] if len(inputs[0].shape) > 1 else 1
    is_kept = bool(_KEEPS_A_PART.search(kernel))
    waves = max(math.ceil(channels / (_CHANNELS if is_kept else launch.multiprocessors)), 1)
    images = [read(tensor) for tensor in inputs if tensor.shape == inputs[0].shape]
    others = [read(tensor) for tensor in inputs if tensor.shape != inputs[0].shape]
    kept = launch.multiprocessors * _KEPT_BYTES * waves / max(sum(image.bytes for image in images), 1) if is_kept else 0
    reads = [touch for image in images for touch in _passes(image, kept)]
    return [touch._replace(waves=waves) for touch in (*reads, *others, *map(write, outputs))]


def _passes(image: Touch, kept: float) -> list[Touch]:
    """The share of an image that is ``kept``, read once, and the rest, read twice."""
    size, span = (min(round(bytes_ * kept), bytes_) for bytes_ in (image.bytes, image.span))
    once = image._replace(bytes=size, span=span)
    rest = image._replace(offset=image.offset + span, bytes=image.bytes - size, span=image.span - span, passes=2)
    return [touch for touch in (once, rest) if touch.bytes]


def _pooling_backward(launch: Launch) -> list[Touch] | None:
    if len(launch.call.inputs) < 2:
        return None
    gradient, _, *places = launch.call.inputs
    return [*map(read, (gradient, *places)), *map(write, launch.call.outputs)]


_BATCH_NORMS = (
    "cudnn_batch_norm", "cudnn_batch_norm_backward", "miopen_batch_norm", "miopen_batch_norm_backward",
    "native_batch_norm", "native_batch_norm_backward", "_native_batch_norm_legit", "_batch_norm_with_update",
    "batch_norm_backward",
)  # fmt: skip
_POOLING = (
    "max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward", "avg_pool2d_backward",
    "avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward", "adaptive_max_pool3d_backward",
)  # fmt: skip
RULES: dict[str, Rule] = {**dict.fromkeys(_BATCH_NORMS, _batch_norm), **dict.fromkeys(_POOLING, _pooling_backward)}
