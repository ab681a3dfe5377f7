"""The output of `ridgeline theory`: both conventions side by side at a device's roofs, as text, CSV or JSON."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import msgspec

from ridgeline.analyze.theory.closed_forms import CONVENTIONS, Component, Convention
from ridgeline.analyze.theory.generation import Total, predict_point, totals
from ridgeline.capture.configuration import points as config
from ridgeline.capture.configuration.forecast.roofs import Roofs, find, measured, of_rows
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.errors import ConfigError
from ridgeline.formats import table_lines, write_csv, write_json
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
    """Predictions of one generation as text. Raises ConfigError for impossible values."""
    if output_format not in FORMATS:
        raise ConfigError(f"format = {output_format}; expected one of {', '.join(FORMATS)}.")
    values = {
        "model": model, "mode": mode, "prompt_tokens": prompt, "generated_tokens": generate, "batch": batch,
        "block": block, "steps": steps, "beyond_training": True,
    }  # fmt: skip
    (point,) = config.points({key: value for key, value in values.items() if value is not None}, source="theory")
    roofs = roofs_of(device)
    if point.dtype not in roofs.compute and "fp16" in roofs.compute:  # the V100 has no bf16, which is as large
        point = msgspec.structs.replace(point, dtype="fp16")
    # of each convention the mean steps, then the generation
    of_conventions: dict[Convention, list[Total]] = {}
    for convention in CONVENTIONS:
        predictions = predict_point(point, convention)
        of_conventions[convention] = [
            total for by_kind in (True, False) for total in totals(predictions, roofs, point.dtype, by_kind=by_kind)
        ]
    if output_format == "table":
        return _text(point, roofs, of_conventions)
    records = []
    for total in chain.from_iterable(of_conventions.values()):
        # the table has no number for an intensity without bytes, and JSON none for infinity
        intensity = total.intensity if total.bytes else None
        computed = {"scope": "step" if total.kind else "generation", "roofs": roofs.of, "intensity": intensity}
        records.append(msgspec.structs.asdict(point) | msgspec.structs.asdict(total) | computed)
    write = write_json if output_format == "json" else write_csv
    write(COLUMNS, ([record[name] for name in COLUMNS] for record in records), text := io.StringIO())
    return text.getvalue()


def roofs_of(device: str | None) -> Roofs:
    """The roofs of a device by its datasheet, or of a ceilings.json; without a name, those of this machine's device.

    A name is what :func:`ridgeline.warehouse.datasheets.named` takes; the roofs name the chosen device. Raises
    ConfigError for a name without a datasheet, and for a datasheet without a peak or a bandwidth.
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
                f"theory: device = {device} is no ceilings file; expected one that ridgeline ceilings wrote."
            ) from None
    try:
        entry = datasheets.named(device)
    except LookupError as e:
        raise ConfigError(
            f"theory: device = {device} has no datasheet; expected a ceilings.json or one of {e}."
        ) from None
    return of_rows(entry["ceilings"], f"{entry['device']} by its datasheet")


def _text(point: Point, roofs: Roofs, totals: Mapping[Convention, list[Total]]) -> str:
    """The table: a block for each kind of step and one for the generation, the conventions side by side."""
    in_blocks = [] if point.block is None else [f"block {point.block}", f"{point.steps} steps"]
    title = f"{point.model}, {point.mode}: {point.prompt_tokens} prompt and {point.generated_tokens} generated tokens"
    peak, bandwidth = roofs.flops_per_s(point.dtype), roofs.bytes_per_s
    lines = [
        ", ".join([title, *in_blocks, f"batch {point.batch}", point.dtype]),
        f"{roofs.of}: {peak / 1e12:.1f} TFLOP/s and {bandwidth / 1e12:.3f} TB/s, "
        f"which meet at {peak / bandwidth:.1f} FLOP/byte; a step is the mean of its kind",
        "",
    ]
    authored, corrected = ({(each.kind, each.component): each for each in totals[name]} for name in CONVENTIONS)
    units = ["GFLOP", "GB", "FLOP/byte", "floor ms"]
    head = [cell for name in ("", *CONVENTIONS) for cell in ("", "", "", name.replace("_", " "))][3:]
    rows: list[list[str]] = []
    heading: str | None = ""  # None is the heading of the generation
    for (kind, component), right in corrected.items():
        if heading != kind:
            heading = kind
            forwards = f"{kind or 'generation'}, {right.forwards:,} forward{'s' * (right.forwards > 1)}"
            rows += [[""] * 9, [forwards, *[""] * 8], ["", *units, *units]]
        left = authored.get((kind, component))
        rows.append([SUM_OF.get(component, component), *_cells(left), *_cells(right)])
    return "\n".join([*lines, *table_lines(head, rows, "lrrrrrrrr")]) + "\n"


def _cells(total: Total | None) -> list[str]:
    """Four cells, with dashes for a component that a convention lacks and for an intensity without bytes."""
    if total is None:
        return ["-"] * 4
    intensity = f"{total.intensity:.4f}" if total.bytes else "-"
    return [f"{total.flops / 1e9:.3f}", f"{total.bytes / 1e9:.4f}", intensity, f"{total.floor_s * 1e3:.4f}"]
