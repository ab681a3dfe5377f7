"""Energy per token only over windows that are long enough, and throttle reasons by name."""

import pytest

from ridgeline.capture.measuring.energy import summarize, throttled
from ridgeline.capture.measuring.telemetry import COLUMNS, Sample


def sample(time_s: float, energy_j: float | None, reasons: int = 0) -> Sample:
    row: dict[str, float | None] = dict.fromkeys(COLUMNS)
    row |= {"time_ns": round(time_s * 1e9), "energy_j": energy_j, "throttle_reasons": reasons}
    return tuple(row.values())


def test_joules_a_token() -> None:
    energy = summarize([sample(10, 500.0), sample(11, 900.0), sample(12.5, 1500.0)], 250)
    assert energy is not None
    assert (energy.window_s, energy.joules, energy.joules_per_token) == (2.5, 1000.0, 4.0)
    assert (energy.throttled, energy.note) == ([], None)


def test_a_short_window_has_joules_and_none_a_token() -> None:
    energy = summarize([sample(10, 500.0), sample(10.9, 900.0)], 250)
    assert energy is not None
    assert (energy.joules, energy.joules_per_token) == (400.0, None)
    assert energy.note == "0.90 s are too short for the energy counter; expected 1 s or more"


def test_a_device_that_counts_no_energy_says_so() -> None:
    energy = summarize([sample(10, None), sample(12, None)], 250)
    assert energy is not None
    assert (energy.joules, energy.joules_per_token, energy.note) == (None, None, "the device counts no energy")
    assert summarize([], 250) is None


@pytest.mark.parametrize(
    ("masks", "names"),
    [
        ([0, 1, 2], []),
        ([0, 4], ["power cap"]),
        ([0x20, 0x40 | 0x1], ["software thermal slowdown", "hardware thermal slowdown"]),
    ],
)
def test_throttling_is_named_and_idling_is_none(masks: list[int], names: list[str]) -> None:
    assert throttled(masks) == names
    energy = summarize([sample(index, float(index), mask) for index, mask in enumerate(masks)], 1)
    assert energy is not None
    assert energy.throttled == names
