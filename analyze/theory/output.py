"""What `ridgeline theory` prints: the two conventions side by side, as text, CSV or JSON, at the roofs of a device."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ridgeline.analyze.theory.closed_forms import CONVENTIONS, Component, Convention
from ridgeline.analyze.theory.generation import Total, per_generation, per_step, predict_point
from ridgeline.capture.configuration import points as config
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.errors import ConfigError
from ridgeline.capture.forecast.roofs import Roofs, find, measured, of_rows
from ridgeline.warehouse import datasheets

COLUMNS = (
    "model", "mode", "prompt_tokens", "generated_tokens", "block", "steps", "batch", "roofs",
    "scope", "kind", "forwards", "component", "convention", "flops", "bytes", "intensity", "floor_s",
)  # fmt: skip
"""Columns of CSV and JSON. Scope `step` is one forward, the mean of its kind; `generation` is all forwards."""

FORMATS = ("table", "csv", "json")
SUM_OF: Mapping[Component, str] = {
    "linear": "linear, with head",
    "head": "  of which head",
    "products": "linear and attention",
}
WIDTH = 22
CELL_WIDTHS = (16, 12, 11, 12)
MAKERS_WORDS = {"nvidia", "amd", "instinct", "geforce", "rtx", "tesla"}


def theory(
    *,
    model: str,
    mode: str,
    prompt: int,
    generate: int,
    block: int | None = None,
    steps: int | None = None,
    batch: int = 1,
    device: str | None = None,
    output_format: str = "table",
) -> str:
    """Predictions of one generation as text. Raises ConfigError, in a sentence, for what cannot be."""
    if output_format not in FORMATS:
        raise ConfigError(f"format = {output_format}; expected one of {', '.join(FORMATS)}.")
    values = {
        "model": model, "mode": mode, "prompt_tokens": prompt, "generated_tokens": generate, "batch": batch,
        "block": block, "steps": steps, "beyond_training": True,
    }  # fmt: skip
    (point,) = config.points({key: value for key, value in values.items() if value is not None}, source="theory")
    roofs = roofs_of(device)
    if output_format == "table":
        return _text(point, roofs)
    found = _records(point, roofs)
    return msgspec.json.encode(found).decode() + "\n" if output_format == "json" else _csv(found)


def roofs_of(device: str | None) -> Roofs:
    """The roofs of a device by its datasheet, or of a ceilings.json; without a name, those of this machine's device.

    A name is a device's own (`NVIDIA A100-SXM4-80GB`) or words of it in any order (`a100 80gb`). Where several devices
    have them, it is the one whose name is no longer than they are, else the SXM one, else the one with the most
    bandwidth; the roofs say which was taken. Raises ConfigError for a name without a datasheet.
    """
    if device is None:
        return find()
    if Path(device).suffix == ".json":
        try:
            return measured(Path(device))
        except OSError as e:
            raise ConfigError(f"theory: device = {device} cannot be read: {e.strerror}.") from None
        except ValueError:
            raise ConfigError(
                f"theory: device = {device} does not have the form that ridgeline ceilings writes."
            ) from None
    entries = datasheets.devices()
    words = _words(device)
    exact = [each for each in entries if any(re.search(pattern, device) for pattern in each["match"])]
    found = exact or [each for each in entries if words and words <= _words(each["device"])]
    if not found:
        names = ", ".join(each["device"] for each in entries)
        raise ConfigError(f"theory: device = {device} has no datasheet; expected a ceilings.json or one of {names}.")
    fitting = [(each["device"], of_rows(each["ceilings"], f"{each['device']} by its datasheet")) for each in found]
    return max(fitting, key=lambda fit: (_words(fit[0]) == words, "SXM" in fit[0], fit[1].bytes_per_s))[1]


def _words(name: str) -> set[str]:
    """What tells a device's name from others: its words without the maker's."""
    return set(re.findall(r"[a-z0-9]+", re.sub(r"sxm\d", "sxm", name.lower()))) - MAKERS_WORDS


def _totals(point: Point, roofs: Roofs) -> dict[Convention, list[Total]]:
    """Of each convention the mean steps, then the generation."""
    found: dict[Convention, list[Total]] = {}
    for convention in CONVENTIONS:
        predictions = predict_point(point, convention)
        found[convention] = per_step(predictions, roofs, point.dtype) + per_generation(predictions, roofs, point.dtype)
    return found


def _records(point: Point, roofs: Roofs) -> list[dict[str, Any]]:
    """Rows of COLUMNS. The intensity of what moves nothing is None."""
    shared = {name: getattr(point, name) for name in COLUMNS[:7]} | {"roofs": roofs.of}
    return [
        {
            **shared, "scope": "generation" if each.kind is None else "step", "kind": each.kind,
            "forwards": each.forwards, "component": each.component, "convention": each.convention,
            "flops": each.flops, "bytes": each.bytes, "intensity": each.intensity if each.bytes else None,
            "floor_s": each.floor_s,
        }
        for totals in _totals(point, roofs).values()
        for each in totals
    ]  # fmt: skip


def _csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _text(point: Point, roofs: Roofs) -> str:
    """The table: a block for each kind of step and one for the generation, the conventions side by side."""
    lines = [_title(point), _roofs_line(roofs, point.dtype), ""]
    lines.append(" " * WIDTH + "".join(f"{name.replace('_', ' '):>{sum(CELL_WIDTHS)}}" for name in CONVENTIONS))
    authored, corrected = (
        {(each.kind, each.component): each for each in totals} for totals in _totals(point, roofs).values()
    )
    heading: str | None = ""
    for (kind, component), right in corrected.items():
        if heading != kind:
            heading = kind
            lines += ["", f"{kind or 'generation'}, {right.forwards:,} forward{'s' * (right.forwards > 1)}", _units()]
        left = authored.get((kind, component))
        lines.append(f"{SUM_OF.get(component, component):{WIDTH}}{_cells(left)}{_cells(right)}")
    return "\n".join(lines) + "\n"


def _units() -> str:
    """The heading of the cells."""
    units = zip(("GFLOP", "GB", "FLOP/byte", "floor ms") * 2, CELL_WIDTHS * 2, strict=True)
    return " " * WIDTH + "".join(f"{unit:>{width}}" for unit, width in units)


def _cells(total: Total | None) -> str:
    """Four cells; dashes for what a convention does not have or what has no intensity."""
    if total is None:
        return "".join(f"{'-':>{width}}" for width in CELL_WIDTHS)
    intensity = f"{total.intensity:.4f}" if total.bytes else "-"
    cells = (f"{total.flops / 1e9:.3f}", f"{total.bytes / 1e9:.4f}", intensity, f"{total.floor_s * 1e3:.4f}")
    return "".join(f" {cell:>{width - 1}}" for cell, width in zip(cells, CELL_WIDTHS, strict=True))


def _title(point: Point) -> str:
    parts = [f"{point.model}, {point.mode}: {point.prompt_tokens} prompt and {point.generated_tokens} generated tokens"]
    parts += [f"block {point.block}", f"{point.steps} steps"] if point.block is not None else []
    return ", ".join([*parts, f"batch {point.batch}", point.dtype])


def _roofs_line(roofs: Roofs, dtype: str) -> str:
    peak, bandwidth = roofs.flops_per_s(dtype), roofs.bytes_per_s
    return (
        f"{roofs.of}: {peak / 1e12:.1f} TFLOP/s and {bandwidth / 1e12:.3f} TB/s, "
        f"which meet at {peak / bandwidth:.1f} FLOP/byte; a step is the mean of its kind"
    )
