"""The parameter blocks of CUPTI's calls: their fields as data, and ctypes structures made of them."""

import ctypes
from functools import cache

SIZE, ADDRESS, TEXT = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p
TEXTS = ctypes.POINTER(ctypes.c_char_p)
ENUM, U8, U16, U32 = ctypes.c_int, ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32

AUTO_RANGE = 1
"""Of CUpti_ProfilerRange: a range for every kernel."""
USER_REPLAY = 3
"""Of CUpti_ProfilerReplayMode: the caller repeats the work if there are several passes. Ridgeline uses one pass."""
RANGE_PROFILER = 0
"""Of CUpti_ProfilerType."""

Fields = tuple[tuple[str, type], ...]

_OBJECT: Fields = (("object", ADDRESS),)
_METRICS: Fields = (("metrics", TEXTS), ("metric_count", SIZE))
_DATA: Fields = (("data", ADDRESS), ("data_size", SIZE))

FIELDS: dict[str, Fields] = {
    "cuptiProfilerInitialize": (),
    "cuptiDeviceGetChipName": (("device", SIZE), ("chip", TEXT)),
    "cuptiProfilerHostInitialize": (("profiler", ENUM), ("chip", TEXT), ("availability", ADDRESS), *_OBJECT),
    "cuptiProfilerHostConfigAddMetrics": (*_OBJECT, *_METRICS),
    "cuptiProfilerHostGetConfigImageSize": (*_OBJECT, ("config_size", SIZE)),
    "cuptiProfilerHostGetConfigImage": (*_OBJECT, ("config_size", SIZE), ("config", ADDRESS)),
    "cuptiProfilerHostGetNumOfPasses": (("config_size", SIZE), ("config", ADDRESS), ("passes", SIZE)),
    "cuptiProfilerHostEvaluateToGpuValues": (*_OBJECT, *_DATA, ("index", SIZE), *_METRICS, ("values", ADDRESS)),
    "cuptiProfilerHostDeinitialize": _OBJECT,
    "cuptiRangeProfilerEnable": (("context", ADDRESS), *_OBJECT),
    "cuptiRangeProfilerGetCounterDataSize": (
        *_OBJECT, *_METRICS, ("ranges", SIZE), ("tree_nodes", U32), ("data_size", SIZE),
    ),
    "cuptiRangeProfilerCounterDataImageInitialize": (*_OBJECT, ("data_size", SIZE), ("data", ADDRESS)),
    "cuptiRangeProfilerSetConfig": (
        *_OBJECT, ("config_size", SIZE), ("config", ADDRESS), ("data_size", SIZE), ("data", ADDRESS), ("range", ENUM),
        ("replay", ENUM), ("ranges_per_pass", SIZE), ("nesting_levels", U16), ("least_nesting_level", U16),
        ("pass_index", SIZE), ("target_nesting_level", U16),
    ),
    "cuptiRangeProfilerStart": _OBJECT,
    "cuptiRangeProfilerStop": (
        *_OBJECT, ("pass_index", SIZE), ("target_nesting_level", SIZE), ("all_passes_done", U8),
    ),
    "cuptiRangeProfilerDecodeData": (*_OBJECT, ("dropped", SIZE)),
    "cuptiRangeProfilerGetCounterDataInfo": (*_DATA, ("ranges", SIZE)),
    "cuptiRangeProfilerCounterDataGetRangeInfo": (*_DATA, ("index", SIZE), ("delimiter", TEXT), ("name", TEXT)),
    "cuptiRangeProfilerDisable": _OBJECT,
}  # fmt: skip
"""The fields of each call's parameter block in CUPTI's order, without the two that every block begins with."""

_HEAD: Fields = (("struct_size", SIZE), ("private", ADDRESS))


@cache
def block(call: str) -> type[ctypes.Structure]:
    """Return the parameter block of a call as a ctypes structure. Raises KeyError for a call not in FIELDS."""
    return type(call, (ctypes.Structure,), {"_fields_": [*_HEAD, *FIELDS[call]]})


@cache
def size(call: str) -> int:
    """Return the bytes of a parameter block that CUPTI expects in `struct_size`."""
    # To the end of the last field: CUPTI leaves out the padding that C adds after it.
    last = getattr(block(call), (*_HEAD, *FIELDS[call])[-1][0])
    return int(last.offset + last.size)
