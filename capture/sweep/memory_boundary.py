"""Known out-of-memory boundaries: points that need not be run, since they cannot fit where less did not."""

from collections.abc import Iterable
from typing import Any

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.forecast.footprint import predict
from ridgeline.capture.records import Record
from ridgeline.capture.run_directory import PERMISSIONS, config_in, config_of
from ridgeline.capture.sweep.bench import Place

SIZES = ("batch", "prompt_tokens", "generated_tokens", "steps")
"""The keys that more of which never needs less memory, all others being equal."""

INFERRED = "not run: "
"""How the message of a point begins that was not run."""


def refusal(point: Point, place: Place, known: Iterable[Record]) -> str | None:
    """Why a point cannot fit a device, or None if it may.

    `known` are records of any outcome; those that ran out of memory on a device of the same name are its boundaries.
    """
    config = config_of(point, place.environment.device_kind)
    device = place.environment.device
    below = [record for record in known if record.environment.device == device and _is_below(record, config)]
    if below:
        # One that was really run says more than one inferred from it.
        nearest = min(below, key=lambda record: (record.message or "").startswith(INFERRED))
        return f"{INFERRED}{nearest.name} ran out of memory and asks for no more than this one"
    return _too_large(point, place.memory_bytes)


def _is_below(record: Record, config: dict[str, Any]) -> bool:
    """Whether a record ran out of memory with the same configuration, or with one smaller in nothing but sizes."""
    there = config_in(record)
    if record.outcome != "oom" or there.keys() != config.keys():
        return False
    return all(_no_more(key, there, config) for key in config if key not in PERMISSIONS)


def _no_more(key: str, there: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether a key asks for no more memory there than here, all others being equal or smaller there.

    A larger block may need less, as fewer of them need fewer graphs; but not where it is the only one there and here.
    """
    if there[key] == here[key]:
        return True
    if key == "block":
        return all(config["block"] == config["generated_tokens"] for config in (there, here))
    return key in SIZES and None not in (there[key], here[key]) and there[key] < here[key]


def _too_large(point: Point, memory_bytes: int | None) -> str | None:
    """Why a point exceeds a device's whole memory, by what is known exactly: its weights and its cache."""
    footprint = predict(point)
    needed = max(footprint.weights_bytes + footprint.cache_bytes, footprint.making_bytes)
    if memory_bytes is None or needed <= memory_bytes:
        return None
    return (
        f"{INFERRED}weights and cache alone need {needed / 1e9:.1f} GB, the device has {memory_bytes / 1e9:.1f} GB; "
        "expected a smaller model, batch or length, or a larger device"
    )
