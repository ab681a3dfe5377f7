"""Launches of grouped products: the kernel before the product only prepares addresses and sizes of the groups."""

from __future__ import annotations

import re

from ridgeline.analyze.cache_model.launches.launch import Helper, Launch, Rule, read
from ridgeline.analyze.cache_model.operands import Touch

_PREPARES = re.compile(r"prepare_grouped_gemm_data")


def _grouped(launch: Launch) -> list[Touch] | None:
    if not _PREPARES.search(launch.kernel):
        return None
    # the ends of the groups
    return Helper(read(tensor) for tensor in launch.call.inputs if len(tensor.shape) == 1)


RULES: dict[str, Rule] = dict.fromkeys(("_grouped_mm", "_scaled_grouped_mm"), _grouped)
