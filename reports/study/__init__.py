"""Figures of the study, E1 to E9 and their consequences, one function a figure for notebooks.

>>> from ridgeline import connect
>>> from ridgeline.reports import study
>>> connection = connect("ridgeline.duckdb", read_only=True)  # doctest: +SKIP
>>> study.latency(connection).show()  # doctest: +SKIP
>>> study.waterfall(connection, panel="dlm_block_dual · llada-8b · cuda_graph").show()  # doctest: +SKIP
"""

from ridgeline.reports.study.figures import (
    batch_intensity,
    block_size,
    costs,
    energy,
    intensity,
    latency,
    latency_split,
    lengths,
    roofline,
    speedup,
    steps,
    throughput,
    waterfall,
)

__all__ = [
    "batch_intensity",
    "block_size",
    "costs",
    "energy",
    "intensity",
    "latency",
    "latency_split",
    "lengths",
    "roofline",
    "speedup",
    "steps",
    "throughput",
    "waterfall",
]
