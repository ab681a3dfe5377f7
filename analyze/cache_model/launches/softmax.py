"""Launches of softmax: rows in waves, read again where the L1 does not hold them."""

from __future__ import annotations

import math

from ridgeline.analyze.cache_model.launches.launch import Launch, Rule, read, write
from ridgeline.analyze.cache_model.operands import Touch
from ridgeline.analyze.cache_model.tiles import softmax_passes, softmax_waves


def _softmax(launch: Launch) -> list[Touch]:
    touches: list[Touch] = []
    sms = launch.multiprocessors
    for i in launch.call.inputs:
        rows = math.prod(i.shape[:-1])
        count, passes = softmax_waves(rows, sms), softmax_passes(rows, i.bytes // max(rows, 1), sms)
        touches.append(read(i)._replace(waves=count, passes=passes))
        touches += [write(o)._replace(waves=count, passes=passes) for o in launch.call.outputs]
    return touches


RULES: dict[str, Rule] = dict.fromkeys(("_softmax", "_log_softmax"), _softmax)
