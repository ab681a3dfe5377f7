"""Energy and throttling of the timed repeats, from their telemetry."""

from collections.abc import Sequence

import msgspec

from ridgeline.capture.measuring.telemetry import COLUMNS, Sample
from ridgeline.capture.records import Energy

SHORTEST_S = 1.0
"""The shortest window, in seconds, whose energy is divided by tokens. NVML updates its counter about every 0.1 s."""

THROTTLE_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""NVML's bits for clocks below the requested ones. The bits for idle and for clocks set by an application are not."""


def summarize(samples: Sequence[Sample], tokens: int | None) -> Energy | None:
    """The energy of the window that `samples` span, in which `tokens` were committed; None without samples."""
    if not samples:
        return None
    columns = dict(zip(COLUMNS, zip(*samples, strict=True), strict=True))
    times_ns, joules, reasons = (
        [value for value in columns[name] if value is not None] for name in ("time_ns", "energy_j", "throttle_reasons")
    )
    window_s = (times_ns[-1] - times_ns[0]) / 1e9
    energy = Energy(window_s=window_s, throttled=throttled(reasons))
    if not joules:
        return msgspec.structs.replace(energy, note="the device counts no energy")
    used = joules[-1] - joules[0]  # the counter runs since the driver was loaded
    if window_s < SHORTEST_S:
        note = f"{window_s:.2f} s are too short for the energy counter; expected {SHORTEST_S:.0f} s or more"
        return msgspec.structs.replace(energy, joules=used, note=note)
    return msgspec.structs.replace(energy, joules=used, joules_per_token=used / tokens if tokens else None)


def throttled(masks: Sequence[float]) -> list[str]:
    """The names of the throttle reasons that are set in any of `masks`."""
    return [name for bit, name in THROTTLE_REASONS.items() if any(int(mask) & bit for mask in masks)]
