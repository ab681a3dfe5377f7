"""Launches of FBGEMM's permutations of jagged tensors.

A kernel permutes the lengths, a scan or two turn old and new lengths into offsets, and another kernel moves the values.
"""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches.launch import Helper, Launch, Rule, read, workspace
from ridgeline.analyze.cache_model.operands import Touch

_LENGTHS, _OFFSETS = workspace(6), workspace(7)


def permuted(launch: Launch) -> Helper | None:
    """What is done with the lengths, which the call gives after the permutation; None for the values."""
    by_argument = dict(zip(launch.call.arguments, launch.call.inputs, strict=False))
    permutation, lengths = by_argument.get(0), by_argument.get(1)
    if permutation is None or lengths is None or not lengths.shape:
        return None
    size = lengths.bytes // max(lengths.shape[0], 1) * (permutation.bytes // permutation.itemsize)
    if "lengths_kernel" in launch.kernel:
        return Helper([read(permutation), read(lengths), Touch(_LENGTHS, 0, size, size, True)])
    if "ScanInit" in launch.kernel:
        return Helper()
    if "Scan" in launch.kernel:
        return Helper([Touch(_LENGTHS, 0, size, size, False), Touch(_OFFSETS, 0, size, size, True)])
    return None


RULES: dict[str, Rule] = dict.fromkeys(
    ("permute_2D_sparse_data", "permute_1D_sparse_data", "permute_sparse_features"), permuted
)
