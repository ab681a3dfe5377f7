"""Draw each figure of the study from the rows of its view: panels, or none if the rows make no figure."""

from ridgeline.reports.study.drawings.energy import energy
from ridgeline.reports.study.drawings.latency_split import split
from ridgeline.reports.study.drawings.parity import costs
from ridgeline.reports.study.drawings.speedup import speedup
from ridgeline.reports.study.drawings.step_roofline import roofline
from ridgeline.reports.study.drawings.throughput import throughput
from ridgeline.reports.study.drawings.trends import batches, block_sizes, intensity, latency, lengths, steps
from ridgeline.reports.study.drawings.waterfall import gap

__all__ = [
    "batches",
    "block_sizes",
    "costs",
    "energy",
    "gap",
    "intensity",
    "latency",
    "lengths",
    "roofline",
    "speedup",
    "split",
    "steps",
    "throughput",
]
