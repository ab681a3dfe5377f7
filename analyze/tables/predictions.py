"""Rows of the table `predictions`: what the closed forms say of a captured run, by convention, step and component.

A row is one forward of a kind and length; all forwards of the generation are there, so that `forwards` × `flops` sums
to its total. The lengths that were profiled stand alone; decoding steps between them are taken together.

A prediction is of what a mode must do. What a `variant`, the `sampling` or the `temperature` does besides is not in it:
the difference is their price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from textwrap import shorten
from typing import Any

import msgspec

from ridgeline.analyze.companions.size_limit import read_bounded
from ridgeline.analyze.reading.reader import largest_trace_bytes
from ridgeline.analyze.theory.closed_forms import CONVENTIONS
from ridgeline.analyze.theory.generation import Prediction, floor_s, predict_point
from ridgeline.capture.configuration.constraints import problem
from ridgeline.capture.configuration.point import IRRELEVANT, Point
from ridgeline.capture.configuration.presets import PRESETS, shape_of
from ridgeline.capture.forecast.roofs import Roofs
from ridgeline.warehouse import datasheets

Row = dict[str, Any]
Size = tuple[str, int, int]
"""Kind, query and context of a step."""

MOST_BLOCKS = 1024
"""Each block may be a length of its own, with rows of its own."""
LONGEST_REASON = 300
"""Characters: a reason quotes what was found, which may be anything."""
MOST_NS = 2**63 - 1
SIZES = ("hidden", "layers", "heads", "kv_heads", "ffn", "vocabulary")
"""What run.json says of a model that decides its costs."""
LABELS: Mapping[str, Any] = {
    "execution": "eager", "attention": "auto", "fused": None, "variant": "clean", "sampling": "fp32", "seed": 0,
    "temperature": 0.0, "remasking": "confidence", "repeats": 1, "counted": "memory", "device": "auto", "name": "",
    "experiment": "default", "checkpoint": None,
}  # fmt: skip
"""The keys of a point that change nothing in what is predicted, each with one value for all, so that runs share."""


class Unpredictable(Exception):
    """A run has no predictions; the message says why, in a clause."""


class _Config(Point, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point as stored: a key we do not know might change what is run."""


class _Described(msgspec.Struct):
    """What a run.json says of what was run."""

    config: _Config
    model: dict[str, Any] = {}


def prediction_rows(
    run_json: Path, steps: Sequence[Mapping[str, Any]], ceilings: Sequence[Mapping[str, Any]], sheet: str | None
) -> tuple[list[Row], str | None]:
    """Rows of a run, or none and the reason.

    `steps` are its profiled ones, as rows of the table. The least times are at its own `ceilings`, and where they lack
    one at those of the datasheet named `sheet`; None where neither has the peak of its dtype and the DRAM's bandwidth.
    """
    try:
        point = _point(run_json)
        profiled = _sizes(steps)
        found = _predicted(_alike(point), tuple(sorted({context for _, _, context in profiled})))
        _check_profiled(profiled, found)
    except Unpredictable as reason:
        return [], shorten(str(reason), LONGEST_REASON)
    roofs = roofs_of(ceilings, sheet, point.dtype)
    return [_row(each, point, roofs) for each in found], None


def roofs_of(measured: Sequence[Mapping[str, Any]], sheet: str | None, dtype: str) -> Roofs | None:
    """The roofs that the view `roofs` has for a run: the highest measured of each unit, else its datasheet's."""
    listed = [
        {**row, "device": sheet}
        for entry in datasheets.devices()
        if entry["device"] == sheet
        for row in entry["ceilings"]
    ]
    peak = _highest(measured, listed, resource="compute", precision=dtype)
    bandwidth = _highest(measured, listed, resource="bandwidth", level="dram")
    if peak is None or bandwidth is None:
        return None
    sources = " and ".join(sorted({str(peak["source"]), str(bandwidth["source"])}, reverse=True))
    return Roofs(of=f"{peak['device']}, {sources}", compute={dtype: peak["value"]}, bytes_per_s=bandwidth["value"])


def _highest(
    measured: Iterable[Mapping[str, Any]], listed: Iterable[Mapping[str, Any]], **wanted: str
) -> Mapping[str, Any] | None:
    """The highest of the rows that are as wanted; of a unit that was measured the datasheet's do not count."""
    chosen: dict[str | None, Mapping[str, Any]] = {}
    for rows in (listed, measured):
        fitting = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
        chosen |= {row["unit"]: row for row in sorted(fitting, key=_value)}
    return max(chosen.values(), key=_value, default=None)


def _value(row: Mapping[str, Any]) -> float:
    return float(row["value"])


def _point(run_json: Path) -> Point:
    """The point that a run.json was captured from. Raises Unpredictable for what cannot be one, or is not ours."""
    try:
        described = msgspec.json.decode(read_bounded(run_json, largest_trace_bytes()), type=_Described)
    except msgspec.ValidationError as error:
        raise Unpredictable(f"its configuration is not of a known form: {error}") from None
    point = described.config
    if point.model not in PRESETS:
        raise Unpredictable(f"model {point.model!r} is none of the presets")
    if PRESETS[point.model].layout == "diffusion_gemma":
        raise Unpredictable(f"{point.model} has experts and windows: closed forms are of dense decoders")
    if (reason := _incomplete(point) or problem(msgspec.structs.replace(point, checkpoint=None))) is not None:
        raise Unpredictable(reason)
    shape = shape_of(point)
    for name in SIZES:
        if described.model.get(name, getattr(shape, name)) != getattr(shape, name):
            raise Unpredictable(
                f"the run's model has {name} = {described.model[name]}, {point.model} {getattr(shape, name)}"
            )
    return point


def _incomplete(point: Point) -> str | None:
    """What `capture` would have filled in or dropped, or None."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(Point)}
    for name in sorted(IRRELEVANT.get(point.mode, ())):
        if getattr(point, name) != defaults[name]:
            return f"{name} = {getattr(point, name)!r} means nothing to {point.mode}"
    if point.linear != "model":
        return f"linear = {point.linear!r}, of whose bytes the closed forms know nothing"
    if point.window is not None:
        return f"window = {point.window}, of whose pairs the closed forms know nothing"
    if point.mode == "ar":
        return None
    if point.block is None:
        return f"{point.mode} without a block"
    if (point.steps is None) != point.adaptive:
        return f"{point.mode} with steps = {point.steps} {'beside' if point.adaptive else 'and no'} threshold or factor"
    if point.blocks > MOST_BLOCKS:
        return f"{point.blocks} blocks, more than {MOST_BLOCKS}"
    return None


def _alike(point: Point) -> Point:
    """The point without what changes nothing in its predictions."""
    return Point(**{name: LABELS.get(name, getattr(point, name)) for name in Point.__struct_fields__})


@lru_cache(maxsize=64)
def _predicted(point: Point, contexts: tuple[int, ...]) -> tuple[Prediction, ...]:
    """Both conventions' predictions; runs of a sweep that differ in execution alone share them."""
    return tuple(each for name in CONVENTIONS for each in predict_point(point, name, contexts=contexts))


def _sizes(steps: Sequence[Mapping[str, Any]]) -> set[Size]:
    """Kind and lengths of the steps whose labels say all of them."""
    sizes = ((step["kind"], step["query"], step["context"]) for step in steps)
    return {size for size in sizes if None not in size}


def _check_profiled(profiled: set[Size], found: Sequence[Prediction]) -> None:
    """Raise Unpredictable where the trace has a step that the configuration does not: one is not of the other."""
    strange = sorted(profiled - {(each.kind, each.query, each.context) for each in found})
    if strange:
        kind, query, context = strange[0]
        raise Unpredictable(
            f"the trace has a {kind} step of query {query} and context {context}, the run's configuration none"
        )


def _row(each: Prediction, point: Point, roofs: Roofs | None) -> Row:
    """A prediction as a row, of one forward. How many there are is open where confidence decides."""
    return {
        "model": point.model, "mode": point.mode, "convention": each.convention, "kind": each.kind,
        "query": each.query, "context": float(each.context), "forwards": None if point.adaptive else each.forwards,
        "component": each.component, "flops": each.flops / each.forwards, "bytes": each.bytes / each.forwards,
        "time_ns": None if roofs is None else _time_ns(each, roofs, point.dtype),
        "roofs": None if roofs is None else roofs.of,
    }  # fmt: skip


def _time_ns(each: Prediction, roofs: Roofs, dtype: str) -> int | None:
    """The least time of one forward; None for one that a column cannot hold, as at roofs near nothing."""
    time_ns = floor_s(each, roofs, dtype) * 1e9 / each.forwards
    return round(time_ns) if time_ns < MOST_NS else None
