"""Runs ``l2.wasm``, the simulation of the L2. Takes and returns bytes, so that a process without numpy can run it."""

from __future__ import annotations

import math
from array import array
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ridgeline import webassembly

if TYPE_CHECKING:
    import wasmtime

MOST_WORK = 2_000_000_000
"""Granules that a simulation may look at, which takes some ten seconds."""


MODULE = Path(__file__).with_name("l2.wasm")


class Simulation(NamedTuple):
    """The input of one simulation; ``l2.c`` documents the structs."""

    parameters: bytes
    """A ``Policy``."""
    touches: bytes
    """A ``Touch`` for each operand of each kernel."""
    first_touch: bytes
    """The position of each kernel's first touch, and the number of touches, as unsigned 32-bit integers."""
    storages: int
    """Storages are numbered below this."""
    bounds: list[int]
    """The first kernel of each step, and the number of kernels."""

    def run(self) -> bytes:
        """Return doubles: the bytes that each kernel reads from DRAM, then those that each kernel writes to it.

        They are NaN in a step that is too large. The memory is released at the end.
        """
        moved = bytearray(array("d", [math.nan]) * (2 * self.bounds[-1]))
        if moved:
            import wasmtime  # takes 30 ms, so only with something to simulate

            with suppress(wasmtime.Trap, wasmtime.WasmtimeError):  # damaged operands or no memory: the bytes stay NaN
                self._run(*webassembly.instance(MODULE), moved)
        return bytes(moved)

    def _run(self, store: wasmtime.Store, exports: Any, moved: bytearray) -> None:
        """Write the bytes of each step that is not too large into ``moved``."""
        parts = [self.parameters, self.touches, self.first_touch + bytes(-len(self.first_touch) % 8)]
        places = [0, *accumulate(map(len, parts))]
        _, at_touches, at_kernels, at_moved = places
        memory, simulate_step = exports["memory"], exports["simulate"]
        base = exports["reserve"](store, at_moved + len(moved))
        if not base:
            return
        for part, place in zip(parts, places, strict=False):
            memory.write(store, part, base + place)
        work = MOST_WORK
        for first, end in pairwise(self.bounds):
            of_step = [(row + 8 * first, row + 8 * end) for row in (0, len(moved) // 2)]
            at_read, at_written = (base + at_moved + start for start, _ in of_step)
            step = base, base + at_touches, base + at_kernels + 4 * first, end - first, self.storages
            # half of what is left, so that one step leaves work for the others
            left = simulate_step(store, *step, work // 2, at_read, at_written)
            work -= work // 2 - max(left, 0)
            if left >= 0:
                for start, stop in of_step:
                    moved[start:stop] = memory.read(store, base + at_moved + start, base + at_moved + stop)
