"""The roofs of a machine, and the axes that follow from them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from ridgeline.reports.formatting import si
from ridgeline.reports.queries import Row

# The exponents of ten between which a logarithmic axis runs.
Decades = tuple[int, int]

LEVELS = {"dram": "DRAM", "l2": "L2", "l1": "L1"}


def device_name(run: Row) -> str:
    """Return the device that a run names, or else its kind."""
    return str(run["device"] or {"cpu": "CPU"}.get(run["device_kind"], run["device_kind"]))


@dataclass(frozen=True)
class Roof:
    """One ceiling: a peak rate of arithmetic, a bandwidth, or the shortest kernel (``resource`` latency)."""

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
        """What the roof limits: ``bf16 tensor``, ``DRAM`` or ``link to the host``."""
        if self.level == "link":
            return "link to the host" if self.unit == "host" else "link to other devices"
        if self.resource == "bandwidth":
            return LEVELS.get(self.level or "", self.level or "memory")
        return " ".join(part for part in (self.precision, self.unit) if part) or "compute"

    @property
    def rate(self) -> str:
        """The value with its unit: ``801 TFLOP/s`` or ``4.46 TB/s``."""
        return si(self.value, "B/s" if self.resource == "bandwidth" else self.unit_of_value)

    @property
    def label(self) -> str:
        """The label in a figure: ``bf16 tensor 801 TFLOP/s, measured``."""
        return f"{self.what} {self.rate}, {self.source}"


def highest(roofs: Sequence[Roof], source: str) -> float | None:
    """Return the highest value of roofs of this source, or of any source if it has none; None without roofs."""
    values = [roof.value for roof in roofs if roof.source == source] or [roof.value for roof in roofs]
    return max(values, default=None)


@dataclass(frozen=True)
class Frame:
    """The axes of a roofline and of the bandwidth lane."""

    intensity: Decades
    flops_per_s: Decades
    bytes_per_s: Decades


# The frame of a device without ceilings.
NO_ROOFS = Frame(intensity=(-2, 4), flops_per_s=(9, 16), bytes_per_s=(7, 13))


@dataclass(frozen=True)
class Machine:
    """A device and its roofs, highest first within each resource."""

    device: str
    roofs: tuple[Roof, ...]

    @classmethod
    def of(cls, device: str, ceilings: Iterable[Row]) -> Self:
        """Build a machine from rows of ``sql/ceilings.sql``."""
        # Several methods measure one ceiling; the highest value is the roof. For DRAM that is the read rate.
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
        return [roof for roof in self.roofs if roof.resource == "bandwidth" and roof.level != "link" and roof.value > 0]

    @cached_property
    def frame(self) -> Frame:
        """The axes of every figure of this machine.

        They depend on the ceilings alone, never on data, so that figures of one device can be laid over each other.
        """
        peaks = [roof.value for roof in self.peaks]
        drams = [roof for roof in self.bandwidths if roof.level == "dram"]
        if not drams or not peaks:
            return NO_ROOFS
        dram = min(drams, key=lambda roof: roof.source != "measured").value
        # Two decades left of the lowest ridge point and one right of the highest, but at least the general frame.
        left = min(math.floor(math.log10(min(peaks) / dram)) - 2, NO_ROOFS.intensity[0])
        right = max(math.ceil(math.log10(max(peaks) / dram)) + 1, NO_ROOFS.intensity[1])
        # The lowest decade lies one below the DRAM roof at the left edge; 1.3 leaves room above the highest roofs.
        bottom = math.floor(math.log10(dram) + left) - 1
        top = math.ceil(math.log10(max(peaks) * 1.3))
        fastest = math.ceil(math.log10(max(roof.value for roof in self.bandwidths) * 1.3))
        return Frame((left, right), (bottom, top), (fastest - 6, fastest))
