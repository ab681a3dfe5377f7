"""What each figure of the study draws from the rows of its view: panels, or none where the rows make no figure."""

from reports.figures.study.energy import energy
from reports.figures.study.latency_split import split
from reports.figures.study.parity import costs
from reports.figures.study.speedup import speedup
from reports.figures.study.step_roofline import roofline
from reports.figures.study.throughput import throughput
from reports.figures.study.trends import batches, block_sizes, intensity, latency, lengths, steps
from reports.figures.study.waterfall import gap

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
