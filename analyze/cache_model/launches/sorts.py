"""Launches of sorts, selections and scans: kernels of CUB, and PyTorch's own around them.

A radix sort counts the digits of all keys in one kernel. Each pass after that orders keys and values by one digit
(CUB's onesweep, 8 bits): it reads both and writes both, from one buffer to another.
"""

from __future__ import annotations

import re

from ridgeline.analyze.cache_model.launches.launch import Chunk, Helper, Launch, Rule, read, workspace, write
from ridgeline.analyze.cache_model.operands import Tensor, Touch

_TYPE = r"((?:\w+::)*(?:unsigned )?\w+(?:<\d+u?>)?)"
_SORTED = re.compile(rf"(?:policy_hub|DeviceRadixSortPolicy)<{_TYPE}, {_TYPE}")
_OPAQUE = re.compile(r"OpaqueType<(\d+)")
_TYPE_BYTES = {
    "bool": 1, "char": 1, "unsigned char": 1, "signed char": 1, "short": 2, "c10::Half": 2, "c10::BFloat16": 2,
    "int": 4, "unsigned int": 4, "float": 4, "int2": 8, "long": 8, "unsigned long": 8, "double": 8,
}  # fmt: skip
_NOTHING = (
    "ExclusiveSumKernel", "ScanInitKernel", "CompactInitKernel", "ByKeyInitKernel", "SingleTileKernel",
    "PartitionKernel", "computeDigitCumSum", "KCounts", "computeBlockwiseKthCounts", "ScanByKeyKernel", "mbtopk::fill",
)  # fmt: skip
"""Parts of names of kernels whose tables have some kilobytes."""
_BUFFERS = 1
"""Numbers of the workspaces between which passes go: this and the next."""
SCANNED = 3
"""Number of the workspace of indices and offsets."""


def cub(launch: Launch, count: int, keys: Tensor | None = None) -> Helper | None:
    """What a kernel of CUB touches that works on ``count`` items; None for other kernels.

    The first pass of the call's first sort takes its keys from ``keys``, if they are given.
    """
    kernel = launch.kernel
    if any(part in kernel for part in _NOTHING):
        return Helper()
    if not (types := _SORTED.search(kernel)):
        return None
    key, value = (_item_bytes(text) * count for text in types.groups())
    if "HistogramKernel" in kernel or "UpsweepKernel" in kernel:
        return Helper([read(keys)] if keys and _passes(launch) is None else [_buffer(0, key)])
    if "OnesweepKernel" in kernel or "DownsweepKernel" in kernel or "SegmentedRadixSort" in kernel:
        done, is_first = _passes(launch) or (0, True)
        first = [read(keys), _buffer(0, value)] if keys and is_first and not done else [_buffer(done, key + value)]
        return Helper([*first, _buffer(done + 1, key + value, writes=True)])
    if "ScanKernel" in kernel or "UniqueByKeySweep" in kernel:
        offsets = Touch(workspace(SCANNED), 0, key, key, True)
        return Helper([offsets._replace(write=False) if "Scan" in kernel else _buffer(0, key), offsets])
    return None


def _item_bytes(name: str) -> int:
    opaque = _OPAQUE.search(name)
    return int(opaque[1]) if opaque else _TYPE_BYTES.get(name.removeprefix("at::native::"), 0)


def _buffer(passes: int, size: int, *, writes: bool = False) -> Touch:
    """The buffer with the result of so many passes."""
    return Touch(workspace(_BUFFERS + passes % 2), 0, size, size, writes)


def _passes(launch: Launch) -> tuple[int, bool] | None:
    """How many passes of this launch's sort went before, and whether the sort is the call's first; None for no sort."""
    before = launch.kernels[: launch.at]
    counted = [at for at, kernel in enumerate(before) if "HistogramKernel" in kernel]
    if not counted:
        return None
    return sum("OnesweepKernel" in kernel for kernel in before[counted[-1] :]), len(counted) == 1


def _sort(launch: Launch) -> list[Touch] | None:
    """Up to 127 segments are sorted as one, then by the number of their segment; those of 1 M keys one by one."""
    if not launch.call.inputs or not launch.call.outputs:
        return None
    keys, kernel, outputs = launch.call.inputs[0], launch.kernel, [*map(write, launch.call.outputs)]
    count = keys.bytes // keys.itemsize
    pairs = 8 * count
    if "fill_index_and_segment" in kernel or "fill_reverse_indices" in kernel:
        return Helper([_buffer(0, pairs, writes=True)])
    if "sort_postprocess" in kernel:
        done, _ = _passes(launch) or (0, True)
        return Chunk([_buffer(done, pairs), read(keys), *outputs])
    if "InPlace" in kernel:
        return Helper([*(touch._replace(write=False) for touch in outputs), *outputs])
    sorts = sum("HistogramKernel" in name for name in launch.kernels)
    if sorts > 1 and "sort_postprocess" not in launch.kernels[-1]:
        return cub(launch, count // sorts)
    touched = cub(launch, count, keys)
    is_last = "OnesweepKernel" in kernel and not any("Onesweep" in name for name in launch.kernels[launch.at + 1 :])
    if touched and is_last and "sort_postprocess" not in launch.kernels[-1]:
        return Chunk([*touched[:-1], *outputs])
    return touched


def _top(launch: Launch) -> list[Touch] | None:
    """Each digit of the threshold takes a pass over the values, the selection another one."""
    if not launch.call.inputs:
        return None
    values, kernel, outputs = launch.call.inputs[0], launch.kernel, [*map(write, launch.call.outputs)]
    if "computeBlockDigitCounts" in kernel:
        return Helper([read(values)])
    if "InPlace" in kernel:
        return Helper([*(touch._replace(write=False) for touch in outputs), *outputs])
    return cub(launch, values.bytes // values.itemsize)


def _permutation(launch: Launch) -> list[Touch] | None:
    tensors = launch.call.outputs or launch.call.inputs[-1:]
    return cub(launch, tensors[0].bytes // tensors[0].itemsize) if tensors else None


def _unique(launch: Launch) -> list[Touch] | None:
    return cub(launch, launch.call.inputs[0].bytes // launch.call.inputs[0].itemsize) if launch.call.inputs else None


RULES: dict[str, Rule] = {"sort": _sort, "topk": _top, "randperm": _permutation}
RULES |= dict.fromkeys(("_unique2", "unique_consecutive", "unique_dim"), _unique)
