"""Rows of the table `predictions`: closed forms for a captured run, by convention, kind of step and component.

A row is one forward of a kind and length. The rows cover all forwards of the generation, so `forwards` × `flops` sums
to its total. Profiled lengths have rows of their own; the decoding steps between them share rows.

A prediction covers the work that a mode requires. It leaves out the cost of a `variant`, the `sampling` and the
`temperature`, so that measured minus predicted shows that cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from textwrap import shorten
from typing import Any, get_args

import msgspec

from ridgeline.analyze.theory.closed_forms import CONVENTIONS
from ridgeline.analyze.theory.generation import Prediction, floor_s, predict_point
from ridgeline.capture.configuration.constraints import problem
from ridgeline.capture.configuration.forecast.roofs import Roofs
from ridgeline.capture.configuration.point import IRRELEVANT, Mode, Point
from ridgeline.capture.configuration.presets import PRESETS, published, shape_of
from ridgeline.warehouse import datasheets

Row = dict[str, Any]
Size = tuple[str, int, int]
"""Kind, query and context of a step."""

MOST_BLOCKS = 1024
"""Blocks of a predicted run: each may have a length, and so rows, of its own."""
LONGEST_REASON = 300
"""Characters of a reason, which quotes values of any length from run.json."""
MOST_NS = 2**63 - 1
SIZES = ("hidden", "layers", "heads", "kv_heads", "ffn", "vocabulary")
"""The fields of a model in run.json that decide its costs."""
LABELS: Mapping[str, Any] = {
    "execution": "eager", "attention": "auto", "fused": None, "variant": "clean", "sampling": "fp32", "seed": 0,
    "temperature": 0.0, "remasking": "confidence", "repeats": 1, "counted": "memory", "device": "auto", "name": "",
    "experiment": "default", "checkpoint": None, "prompts": None, "prompts_sha256": None, "mode_sha256": None,
}  # fmt: skip
"""Keys of a point that change no prediction. All points get these values, so that runs share cached predictions."""


class Unpredictable(Exception):
    """A run has no predictions; the message is a clause that says why."""


class _Config(Point, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point as stored. An unknown key is an error, since it might change the costs."""


class _Described(msgspec.Struct):
    """The parts of a run.json that decide the predictions."""

    config: _Config
    model: dict[str, Any] = {}


class _Recorded(msgspec.Struct):
    """The mode in a run.json of any program."""

    class Config(msgspec.Struct):
        mode: str | None = None

    config: Config = msgspec.field(default_factory=Config)


def prediction_rows(
    run_json: bytes, steps: Sequence[Mapping[str, Any]], ceilings: Sequence[Mapping[str, Any]], sheet: str | None
) -> tuple[list[Row], str | None]:
    """Rows of ``predictions`` for a run, or no rows and the reason.

    `run_json` is the text of the file; `steps` are the profiled steps, as rows of their table. Least times use the
    run's own `ceilings`; where these lack a roof, those of the datasheet named `sheet`. They are None where neither has
    the dtype's peak and DRAM bandwidth.
    """
    # steps whose labels give kind and both lengths
    sizes = {(step["kind"], step["query"], step["context"]) for step in steps}
    profiled: set[Size] = {size for size in sizes if None not in size}
    try:
        point = _point(run_json)
        shared = Point(**{name: LABELS.get(name, getattr(point, name)) for name in Point.__struct_fields__})
        predictions = _predicted(shared, tuple(sorted({context for _, _, context in profiled})))
        strange = sorted(profiled - {(each.kind, each.query, each.context) for each in predictions})
        if strange:
            kind, query, context = strange[0]
            raise Unpredictable(
                f"the trace has a {kind} step of query {query} and context {context}, the run's configuration none"
            )
    except Unpredictable as reason:
        return [], shorten(str(reason), LONGEST_REASON)
    roofs = roofs_of(ceilings, sheet, point.dtype)
    rows = []
    for each in predictions:
        floor_ns = None if roofs is None else floor_s(each, roofs, point.dtype) * 1e9 / each.forwards
        row = {
            "model": point.model,
            "mode": point.mode,
            "convention": each.convention,
            "kind": each.kind,
            "query": each.query,
            "context": float(each.context),
            # the number of forwards is open where confidence decides it
            "forwards": None if point.adaptive else each.forwards,
            "component": each.component,
            "flops": each.flops / each.forwards,
            "bytes": each.bytes / each.forwards,
            # at roofs near zero the time may exceed the column's range
            "time_ns": None if floor_ns is None or floor_ns >= MOST_NS else round(floor_ns),
            "roofs": None if roofs is None else roofs.of,
        }
        rows.append(row)
    return rows, None


def roofs_of(measured: Sequence[Mapping[str, Any]], sheet: str | None, dtype: str) -> Roofs | None:
    """A run's roofs as the view `roofs` has them: for each unit the highest measured one, else the datasheet's."""
    # rows of a datasheet do not name their device
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
    measured: Iterable[Mapping[str, Any]], listed: Iterable[Mapping[str, Any]], **required: str
) -> Mapping[str, Any] | None:
    """The row with the highest value among those with the `required` columns; measured units replace listed ones."""
    by_unit: dict[str | None, Mapping[str, Any]] = {}
    for rows in (listed, measured):
        matching = [row for row in rows if all(row[name] == value for name, value in required.items())]
        by_unit |= {row["unit"]: row for row in sorted(matching, key=_value)}
    return max(by_unit.values(), key=_value, default=None)


def _value(row: Mapping[str, Any]) -> float:
    return float(row["value"])


def _point(run_json: bytes) -> Point:
    """The point that a run.json was captured from. Raises Unpredictable where closed forms do not cover it."""
    try:
        mode = msgspec.json.decode(run_json, type=_Recorded).config.mode
        if mode not in get_args(Mode):
            has = f"mode {mode!r} is not built in" if mode else "the configuration has no mode"
            raise Unpredictable(f"{has}; the closed forms cover {', '.join(get_args(Mode))}")
        described = msgspec.json.decode(run_json, type=_Described)
    except msgspec.ValidationError as error:
        raise Unpredictable(f"its configuration has an unknown form: {error}") from None
    point = described.config
    if point.shape is None and point.model not in PRESETS:
        raise Unpredictable(f"model {point.model!r} is not one of the presets")
    if published(point).layout == "diffusion_gemma":
        raise Unpredictable(f"{point.model} has experts and windows; the closed forms cover only dense decoders")
    if (reason := _uncovered(point) or problem(msgspec.structs.replace(point, checkpoint=None))) is not None:
        raise Unpredictable(reason)
    # A checkpoint may differ from the preset of its model's name.
    shape = shape_of(point)
    for name in SIZES:
        if described.model.get(name, getattr(shape, name)) != getattr(shape, name):
            raise Unpredictable(
                f"the run's model has {name} = {described.model[name]}, {point.model} {getattr(shape, name)}"
            )
    return point


def _uncovered(point: Point) -> str | None:
    """Why the closed forms do not cover a point, or None: options unknown to them, or keys that `capture` sets."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(Point)}
    for name in sorted(IRRELEVANT.get(point.mode, ())):
        if getattr(point, name) != defaults[name]:
            return f"{name} = {getattr(point, name)!r} has no effect in mode {point.mode}"
    if point.linear != "model":
        return f"the closed forms do not cover the bytes of linear = {point.linear!r}"
    if point.window is not None:
        return f"the closed forms do not cover the pairs of window = {point.window}"
    if point.mode == "ar":
        return None
    if point.block is None:
        return f"mode {point.mode} needs a block"
    if (point.steps is None) != point.adaptive:
        settings = "both" if point.adaptive else "neither"
        return f"mode {point.mode} needs either steps or a threshold or factor, and has {settings}"
    if point.blocks > MOST_BLOCKS:
        return f"{point.blocks} blocks, more than {MOST_BLOCKS}"
    return None


@lru_cache(maxsize=64)
def _predicted(point: Point, contexts: tuple[int, ...]) -> tuple[Prediction, ...]:
    """The predictions of both conventions, cached for runs of a sweep that differ only in `LABELS`."""
    return tuple(each for name in CONVENTIONS for each in predict_point(point, name, contexts=contexts))
