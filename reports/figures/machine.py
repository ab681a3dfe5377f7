"""A machine's roofs, and the frame they give every figure: reports of one device can be laid over each other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ridgeline.reports.queries import Row
from ridgeline.reports.units import si

Decades = tuple[int, int]

LEVELS = {"dram": "DRAM", "l2": "L2", "l1": "L1"}


@dataclass(frozen=True)
class Roof:
    """One ceiling: a peak rate of arithmetic, or a bandwidth."""

    resource: str
    level: str | None
    unit: str | None
    precision: str | None
    value: float
    unit_of_value: str
    source: str
    method: str | None = None
    measured_on: str | None = None

    @property
    def what(self) -> str:
        """``bf16 tensor`` or ``DRAM``."""
        if self.resource == "bandwidth":
            return LEVELS.get(self.level or "", self.level or "memory")
        return " ".join(part for part in (self.precision, self.unit) if part) or "compute"

    @property
    def rate(self) -> str:
        """``801 TFLOP/s`` or ``4.46 TB/s``."""
        return si(self.value, "B/s" if self.resource == "bandwidth" else self.unit_of_value)

    @property
    def label(self) -> str:
        """``bf16 tensor 801 TFLOP/s, measured``."""
        return f"{self.what} {self.rate}, {self.source}"


@dataclass(frozen=True)
class Frame:
    """The exponents between which a figure's axes run."""

    intensity: Decades
    flops_per_s: Decades
    bytes_per_s: Decades


NO_ROOFS = Frame(intensity=(-2, 4), flops_per_s=(9, 16), bytes_per_s=(7, 13))
"""Of a device without ceilings."""


@dataclass(frozen=True)
class Machine:
    """A device and its roofs: of each kind and source the highest (for DRAM that is the read rate)."""

    device: str
    roofs: tuple[Roof, ...]

    @classmethod
    def of(cls, device: str, ceilings: Iterable[Row]) -> Machine:
        """From rows of ``sql/ceilings.sql``."""
        best: dict[tuple[str | None, ...], Roof] = {}
        for row in ceilings:
            roof = Roof(**{name: row[name] for name in Roof.__dataclass_fields__})
            key = (roof.resource, roof.level, roof.unit, roof.precision, roof.source)
            if key not in best or best[key].value < roof.value:
                best[key] = roof
        return cls(device, tuple(sorted(best.values(), key=lambda r: (r.resource, -r.value, r.source))))

    @property
    def peaks(self) -> list[Roof]:
        """Compute roofs, highest first."""
        return [roof for roof in self.roofs if roof.resource == "compute" and roof.value > 0]

    @property
    def bandwidths(self) -> list[Roof]:
        """Memory roofs, highest first."""
        return [roof for roof in self.roofs if roof.resource == "bandwidth" and roof.value > 0]

    @property
    def dram(self) -> Roof | None:
        """The DRAM roof that counts: measured if it was."""
        found = [roof for roof in self.bandwidths if roof.level == "dram"]
        return min(found, key=lambda r: r.source != "measured", default=None)

    def diagonal(self, source: str) -> float | None:
        """The highest bandwidth from this source, or from any: where compute roofs begin."""
        values = [roof.value for roof in self.bandwidths if roof.source == source]
        return max(values or [roof.value for roof in self.bandwidths], default=None)

    @cached_property
    def frame(self) -> Frame:
        """Decades around the ridge points, and those that arithmetic on any machine needs; data have no say in it."""
        dram, peaks = self.dram, [roof.value for roof in self.peaks]
        if not dram or not peaks:
            return NO_ROOFS
        low = min(math.floor(math.log10(min(peaks) / dram.value)) - 2, NO_ROOFS.intensity[0])
        high = max(math.ceil(math.log10(max(peaks) / dram.value)) + 1, NO_ROOFS.intensity[1])
        bottom = math.floor(math.log10(dram.value) + low) - 1
        fastest = math.ceil(math.log10(max(roof.value for roof in self.bandwidths) * 1.3))
        return Frame((low, high), (bottom, math.ceil(math.log10(max(peaks) * 1.3))), (fastest - 6, fastest))
