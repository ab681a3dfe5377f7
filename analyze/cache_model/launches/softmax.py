"""Launches of softmax over long rows: a block takes a row, and reads it again for each result that needs all of it.

Short rows are read once: they fit the registers of a warp, or the shared memory of a block.
"""

from __future__ import annotations

import math

from ridgeline.analyze.cache_model.launches.launch import Launch, Rule, read, write
from ridgeline.analyze.cache_model.operands import Touch

_BLOCKS = 2
"""Blocks of a softmax that a multiprocessor holds: 1024 of its 2048 threads each."""
_L1_BYTES = 192 << 10
"""Bytes that the L1 keeps from one pass to the next: three quarters, since a row as long as all of it does not stay."""


def _forward(launch: Launch) -> list[Touch] | None:
    """Three passes: the maximum of a row, its sum, its result. The L1 serves the last two if it holds the rows."""
    if "cunn_SoftMaxForward<" not in launch.kernel or not launch.call.inputs or not launch.call.outputs:
        return None
    x, y = launch.call.inputs[0], launch.call.outputs[0]
    rows, sms = max(math.prod(x.shape[:-1]), 1), launch.multiprocessors
    in_l1 = min(_BLOCKS, math.ceil(rows / sms)) * (x.bytes // rows) <= _L1_BYTES
    waves = _waves(rows, sms)
    return [read(x)._replace(waves=waves, passes=1 if in_l1 else 3), write(y)._replace(waves=waves)]


def _backward(launch: Launch) -> list[Touch] | None:
    """Two passes: a sum over the gradient's row, which takes the result's unless of logarithms, then both for the row.

    The L1 serves the second pass if it holds the rows of both.
    """
    if "cunn_SoftMaxBackward<" not in launch.kernel or len(launch.call.inputs) < 2 or not launch.call.outputs:
        return None
    gradient, y = launch.call.inputs[:2]
    rows, sms = max(math.prod(y.shape[:-1]), 1), launch.multiprocessors
    in_l1 = min(_BLOCKS, math.ceil(rows / sms)) * (gradient.bytes + y.bytes) // rows <= _L1_BYTES
    waves, passes = _waves(rows, sms), 1 if in_l1 else 2
    sums_gradient = launch.call.operator.startswith("aten::_log_softmax")
    return [
        read(gradient)._replace(waves=waves, passes=passes),
        read(y)._replace(waves=waves, passes=1 if sums_gradient else passes),
        write(launch.call.outputs[0])._replace(waves=waves),
    ]


def _waves(rows: int, sms: int) -> int:
    """Waves of a softmax over ``rows``, where the device holds ``_BLOCKS`` on each of its ``sms``."""
    return max(1, math.ceil(rows / (sms * _BLOCKS)))


RULES: dict[str, Rule] = dict.fromkeys(("_softmax", "_log_softmax"), _forward)
RULES |= dict.fromkeys(("_softmax_backward_data", "_log_softmax_backward_data"), _backward)
