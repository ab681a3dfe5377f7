"""Modules and phases of graph kernels by the annotations on their nodes, which win over labels, events and twins.

A name made of ``key=value`` pairs is a label as in ``record_function``; any other name is the module's. Keys ``module``
and ``phase`` are taken as they are, and ``autograd_phase`` marks the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import polars as pl
from msgspec.structs import replace

from ridgeline.analyze.attribution.labels import NOTHING, parse
from ridgeline.analyze.attribution.modules import rename
from ridgeline.analyze.replays.teaching import Annotated


class NodeLabel(NamedTuple):
    """What an annotation says of a node; None where it says nothing."""

    module: str | None
    phase: str | None


def label_nodes(run: Annotated) -> Annotated:
    """Return the run with the modules and phases that annotations give its activities.

    An annotated activity without an operator has the attribution ``graph_node``.
    """
    if "annotation" not in run.activities.columns:
        return run
    codes = run.activities["annotation"]
    labels = {code: label_of(run.trace.names[code]) for code in codes.drop_nulls().unique().to_list()}
    modules, phases = (
        codes.replace_strict(
            {code: label[field] for code, label in labels.items()}, default=None, return_dtype=pl.String
        )
        for field in range(2)
    )
    activities = rename(run.activities, run.modules, modules, "annotation")
    own_phase = pl.col("phase").cast(pl.String) if "phase" in activities.columns else pl.lit(None, pl.String)
    is_node = pl.col("operator").is_null() & (modules.is_not_null() | phases.is_not_null())
    graph_node = pl.lit("graph_node", activities["attribution"].dtype)
    activities = activities.with_columns(
        phase=pl.coalesce(phases, own_phase),
        attribution=pl.when(is_node).then(graph_node).otherwise("attribution"),
    )
    return replace(run, activities=activities)


def label_of(text: str) -> NodeLabel:
    """Return what an annotation says: the text of an object of the arguments that it was written to.

    >>> label_of('{"annotation": "[{\\\\"name\\\\": \\\\"phase=decode module=layers.0\\\\"}]"}')
    NodeLabel(module='layers.0', phase='decode')
    >>> label_of('{"name": "attention", "autograd_phase": "backward"}')
    NodeLabel(module='attention', phase='backward')
    """
    written = msgspec.json.decode(text)
    values: dict[str, Any] = {}
    # of annotations with the same key the last one holds, as in torch's own tool
    for entry in _entries(written.pop("annotation", None)):
        values |= entry if isinstance(entry, dict) else {"name": entry}
    values |= written
    name, module, phase, autograd = (_text(values.get(key)) for key in ("name", "module", "phase", "autograd_phase"))
    label = parse(name) if name else NOTHING
    if name and label is NOTHING:
        module = module or name
    return NodeLabel(module or label.module, autograd or phase or label.phase)


def _entries(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, str):
        try:
            decoded = msgspec.json.decode(annotation)
        except msgspec.DecodeError:
            decoded = annotation  # a bare name
        yield from _entries(decoded) if isinstance(decoded, list | dict) else [annotation]
    elif isinstance(annotation, list):
        yield from annotation
    elif annotation is not None:
        yield annotation


def _text(value: Any) -> str | None:
    return value or None if isinstance(value, str) else None
