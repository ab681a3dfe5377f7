"""Energy and throttling of the timed repeats, from their telemetry."""

from collections.abc import Sequence

from ridgeline.capture.measuring.telemetry import COLUMNS, Sample
from ridgeline.capture.records import Energy

SHORTEST_S = 1.0
"""The shortest window worth dividing: NVML's energy counter moves every tenth of a second or so."""

THROTTLE_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""NVML's bits that mean slower clocks than asked for; idling and clocks set by an application are not among them."""


def summarize(samples: Sequence[Sample], tokens: int) -> Energy | None:
    """What the samples around the timed repeats say, for so many committed tokens; None without samples."""
    if not samples:
        return None
    times_ns, joules, reasons = (_column(samples, name) for name in ("time_ns", "energy_j", "throttle_reasons"))
    window_s = (times_ns[-1] - times_ns[0]) / 1e9
    if not joules:
        return Energy(window_s=window_s, throttled=throttled(reasons), note="the device counts no energy")
    used = joules[-1] - joules[0]
    if window_s < SHORTEST_S:
        note = f"{window_s:.2f} s are too short for the energy counter; expected {SHORTEST_S:.0f} s or more"
        return Energy(window_s=window_s, joules=used, throttled=throttled(reasons), note=note)
    return Energy(window_s=window_s, joules=used, joules_per_token=used / tokens, throttled=throttled(reasons))


def throttled(reasons: Sequence[float]) -> list[str]:
    """The names of what slowed the clocks in any of these bit masks."""
    seen = 0
    for mask in reasons:
        seen |= int(mask)
    return [name for bit, name in THROTTLE_REASONS.items() if seen & bit]


def _column(samples: Sequence[Sample], name: str) -> list[float]:
    """The known values of one column."""
    index = COLUMNS.index(name)
    return [value for sample in samples if (value := sample[index]) is not None]
