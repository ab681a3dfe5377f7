"""The simulation of the L2 in ``l2.c``, which is compiled to WebAssembly: no compiler is needed where it runs."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ridgeline.analyze.cache_model.policy import RESOLUTION, Policy, survival

if TYPE_CHECKING:
    import wasmtime

TOUCH = np.dtype(
    [
        ("storage", np.int64), ("offset", np.int64), ("bytes", np.int64), ("span", np.int64),
        ("parts", np.float64), ("stay", np.float64),
        ("waves", np.uint32), ("passes", np.uint32), ("write", np.uint32), ("shared", np.uint32),
    ]
)  # fmt: skip
"""``Touch`` of ``l2.c``."""
Int64 = np.ndarray[tuple[int], np.dtype[np.int64]]
Touches = np.ndarray[tuple[int], np.dtype[np.void]]
Floats = np.ndarray[tuple[int, int], np.dtype[np.float64]]
MOST_WORK = 2_000_000_000
"""Granules that a call may look at, which takes some ten seconds."""


@cache
def compiled() -> tuple[wasmtime.Engine, wasmtime.Module]:
    """The compiled module and its engine. Making them takes 25 ms; the 7 ms of compilation release Python's lock."""
    import wasmtime

    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, Path(__file__).with_name("l2.wasm").read_bytes())
    # After the interpreter's end they could not be freed.
    atexit.register(engine.close)
    atexit.register(module.close)
    return engine, module


def simulate(touches: Touches, first_touch: Int64, bounds: Sequence[int], l2_bytes: int, policy: Policy) -> Floats:
    """Bytes that each kernel reads from DRAM (row 0) and writes to it (row 1); NaN in a step that is too large.

    ``touches`` are the operands of kernel after kernel, with storages numbered from 0, ``first_touch`` the position of
    each kernel's first, with their number at the end; ``bounds`` is the first kernel of each step, and their number.
    The memory is released at the end.
    """
    moved = np.full((2, len(first_touch) - 1), np.nan)
    if moved.size:
        import wasmtime  # takes 30 ms, so only with something to simulate

        with suppress(wasmtime.Trap, wasmtime.WasmtimeError):  # damaged operands, or no memory: the bytes stay unknown
            engine, module = compiled()
            store = wasmtime.Store(engine)
            exports = wasmtime.Instance(store, module, []).exports(store)
            _run(store, exports, moved, _parameters(l2_bytes, policy), touches, first_touch, bounds)
    return moved


def _run(
    store: wasmtime.Store,
    exports: Any,
    moved: Floats,
    parameters: bytes,
    touches: Touches,
    first_touch: Int64,
    bounds: Sequence[int],
) -> None:
    """Write the bytes of each step that is not too large into ``moved``."""
    count = moved.shape[1]
    kernels = first_touch.astype(np.uint32).tobytes()
    parts = [parameters, touches.tobytes(), kernels + bytes(-len(kernels) % 8)]
    places = [0, *np.cumsum([len(part) for part in parts]).tolist()]
    _, at_touches, at_kernels, at_moved = places
    storages = int(touches["storage"].max(initial=-1)) + 1
    memory, simulate_step = exports["memory"], exports["simulate"]
    base = exports["reserve"](store, at_moved + moved.nbytes)
    if not base:
        return
    for part, place in zip(parts, places, strict=False):
        memory.write(store, part, base + place)
    work = MOST_WORK
    for first, end in pairwise(bounds):
        at_read = base + at_moved + 8 * first
        at_written = at_read + 8 * count
        step = base, base + at_touches, base + at_kernels + 4 * first, end - first, storages
        # half of what is left, so that one step leaves work for the others
        left = simulate_step(store, *step, work // 2, at_read, at_written)
        work -= work // 2 - max(left, 0)
        if left >= 0:
            for row, at in zip(moved, (at_read, at_written), strict=True):
                row[first:end] = np.frombuffer(memory.read(store, at, at + 8 * (end - first)))


def _parameters(l2_bytes: int, policy: Policy) -> bytes:
    """``Policy`` of ``l2.c``."""
    capacity = l2_bytes * policy.capacity_share
    first = [capacity, capacity * policy.dirty_share, *policy.copies, RESOLUTION]
    return np.concatenate([first, survival(policy.ways), survival(policy.dirty_ways)]).tobytes()
