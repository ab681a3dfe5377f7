"""Known out-of-memory boundaries: points that are not run because they cannot fit where a smaller one did not."""

from collections.abc import Iterable
from typing import Any

from ridgeline.capture.configuration.forecast.footprint import predict
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.recording.run_directory import PERMISSIONS, config_in, config_of
from ridgeline.capture.records import Record
from ridgeline.capture.sweep.bench import Place

SIZES = ("batch", "prompt_tokens", "generated_tokens", "steps")
"""Keys of which a larger value never needs less memory, if all others stay the same."""

INFERRED = "not run: "
"""The start of the message of a point that was not run."""


def refusal(point: Point, place: Place, records: Iterable[Record]) -> str | None:
    """Return why a point cannot fit a device, or None if it may.

    `records` may have any outcome. Those that ran out of memory on a device of the same name are its boundaries.
    """
    config = config_of(point, place.environment.device_kind)
    device = place.environment.device
    smaller = [record for record in records if record.environment.device == device and _ran_out_below(record, config)]
    if smaller:
        # Prefer a point that really ran to one that was itself inferred.
        nearest = min(smaller, key=lambda record: (record.message or "").startswith(INFERRED))
        return f"{INFERRED}{nearest.name} ran out of memory, and this point needs at least as much"
    # Only weights and cache are known exactly.
    footprint = predict(point)
    needed = max(footprint.weights_bytes + footprint.cache_bytes, footprint.making_bytes)
    if place.memory_bytes is None or needed <= place.memory_bytes:
        return None
    return (
        f"{INFERRED}weights and cache alone need {needed / 1e9:.1f} GB, but the device has "
        f"{place.memory_bytes / 1e9:.1f} GB; expected a smaller model, batch or length, or a larger device"
    )


def _ran_out_below(record: Record, config: dict[str, Any]) -> bool:
    """Whether a record ran out of memory with a configuration that differs from `config` only by smaller sizes."""
    stored = config_in(record)
    if record.outcome != "oom" or stored.keys() != config.keys():
        return False
    for key in config.keys() - PERMISSIONS:  # permissions do not change what runs
        value, stored_value = config[key], stored[key]
        if value == stored_value:
            continue
        if key == "block":
            # A larger block may need less memory, as fewer blocks need fewer CUDA graphs. But if both generations are
            # a single block, the block grows with the length alone.
            if any(each["block"] != each["generated_tokens"] for each in (stored, config)):
                return False
        elif key not in SIZES or None in (value, stored_value) or stored_value > value:
            return False
    return True
