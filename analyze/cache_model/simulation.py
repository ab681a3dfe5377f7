"""The simulation of the L2 in ``l2.c``, which is compiled to WebAssembly: no compiler is needed where it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ridgeline.analyze.cache_model.l2 import Simulation
from ridgeline.analyze.cache_model.policy import RESOLUTION, Policy, survival

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
Run = Callable[[Simulation], bytes]
"""Runs a simulation, here or in another process."""


def simulate(
    touches: Touches,
    first_touch: Int64,
    bounds: Sequence[int],
    l2_bytes: int,
    policy: Policy,
    run: Run = Simulation.run,
) -> Floats:
    """Bytes that each kernel reads from DRAM (row 0) and writes to it (row 1); NaN in a step that is too large.

    ``touches`` are the operands of kernel after kernel, with storages numbered from 0, ``first_touch`` the position of
    each kernel's first, with their number at the end; ``bounds`` is the first kernel of each step, and their number.
    """
    storages = int(touches["storage"].max(initial=-1)) + 1
    first = first_touch.astype(np.uint32).tobytes()
    moved = run(Simulation(_parameters(l2_bytes, policy), touches.tobytes(), first, storages, list(bounds)))
    return np.frombuffer(moved).reshape(2, -1).copy()


def _parameters(l2_bytes: int, policy: Policy) -> bytes:
    """``Policy`` of ``l2.c``."""
    capacity = l2_bytes * policy.capacity_share
    first = [capacity, capacity * policy.dirty_share, *policy.copies, RESOLUTION]
    return np.concatenate([first, survival(policy.ways), survival(policy.dirty_ways)]).tobytes()
