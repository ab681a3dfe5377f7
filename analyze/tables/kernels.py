"""A trace as rows of the warehouse's tables: kernels, operators, steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.labels import Label
from ridgeline.analyze.attribution.operators import CATEGORIES
from ridgeline.analyze.attribution.ranks import ranks
from ridgeline.analyze.attribution.spans import ROOT, Integers
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.stored_prices import Record
from ridgeline.analyze.pricing.units import unit_and_precision
from ridgeline.analyze.reading.trace import Trace

_BETWEEN_HOST_AND_DEVICE = re.compile(r"HtoD|DtoH|Host")


def kernel_rows(
    trace: Trace, activities: pl.DataFrame, prices: dict[int, Record], labels: list[Label], *, on_cpu: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of ``kernels`` and of ``kernel_classes``; ``prices`` by signature code."""
    keys = ["name", "category", "signature", "module", "attribution"]
    label_names, call_ns = trace.annotations["name"], trace.launches["duration_ns"]
    activities = activities.with_columns(module=label_names.gather(pl.Series(activities["module_label"])))
    classes = (
        activities.select(keys).unique(maintain_order=True).with_row_index("class_id").cast({"class_id": pl.Int64})
    )
    facts = activities.join(classes, on=keys, how="left", nulls_equal=True, maintain_order="left")
    described = [_describe(trace, row, prices, labels, on_cpu=on_cpu) for row in classes.iter_rows(named=True)]
    by_class = pl.DataFrame(
        {
            "class_id": classes["class_id"],
            "passes": pl.Series([d.pop("passes") for d in described], dtype=pl.Int64),
            "on_tensor_unit": pl.Series([d["unit"] == "tensor" for d in described], dtype=pl.Boolean),
        }
    )
    facts = facts.join(by_class, on="class_id", how="left", maintain_order="left").with_columns(
        kernel_id=pl.int_range(pl.len(), dtype=pl.Int64),
        trace_bytes=pl.col("bytes") * pl.col("passes"),
        launch_duration_ns=call_ns.gather(pl.Series(activities["launch"])),
    )
    facts = facts.with_columns(share=shares(facts))
    if "twin_share" in facts.columns:
        facts = facts.with_columns(share=pl.coalesce("twin_share", "share"))
    rows = facts.select(
        "class_id", "kernel_id",
        "rank", "device_index", "stream",
        "start_ns", "duration_ns", "launch_ns", "launch_duration_ns", "correlation",
        pl.col("operator").alias("operator_id"), "share", "trace_bytes", pl.col("step_label").alias("step_id"),
    )  # fmt: skip
    return rows, pl.DataFrame(described, schema_overrides=_CLASS_SCHEMA)


_CLASS_SCHEMA = dict.fromkeys(
    ("kernel", "category", "family", "signature_id", "module", "attribution", "unit", "precision"), pl.String
)


def _describe(
    trace: Trace, row: dict[str, Any], prices: dict[int, Record], labels: list[Label], *, on_cpu: bool
) -> dict[str, Any]:
    """The strings of one class of kernels."""
    price = prices.get(row["signature"])
    kernel, category = trace.names[row["name"]], CATEGORIES[row["category"]]
    found = family(price["operator"] if price else None, kernel, category)
    computes = category not in ("memcpy", "memset")
    unit, precision = unit_and_precision(
        found, kernel, price["precision"] if price and computes else None, on_cpu=on_cpu
    )
    return {
        "class_id": row["class_id"],
        "kernel": kernel,
        "category": category,
        "family": found,
        "signature_id": price["signature_id"] if price else None,
        "module": labels[row["module"]].module if row["module"] is not None else None,
        "attribution": row["attribution"],
        "unit": unit,
        "precision": precision,
        "passes": _dram_passes(category, kernel),
    }


def _dram_passes(category: str, kernel: str) -> int | None:
    """How often the bytes a copy records pass through the device's DRAM: twice within the device, once otherwise."""
    if category == "memset":
        return 1
    if category == "memcpy":
        return 1 if _BETWEEN_HOST_AND_DEVICE.search(kernel) else 2
    return None


def shares(facts: pl.DataFrame) -> pl.Series:
    """An operator's cost goes to the kernels that do its work, in proportion to their time; null without an operator.

    Those are the ones on the tensor units where it has any, and all its kernels otherwise: the reduction after a split
    product and the combination after split attention are overhead, and carry nothing. Copies and fills carry their own
    bytes.
    """
    known = facts.filter(pl.col("operator").is_not_null())
    operator, duration_ns = known["operator"].cast(pl.Int64).to_numpy(), known["duration_ns"].to_numpy()
    carries, on_tensor_unit = known["carries_cost"].to_numpy(), known["on_tensor_unit"].to_numpy()
    main = carries & on_tensor_unit
    works = np.where(np.bincount(operator, main)[operator] > 0, main, carries)
    weight = np.where(np.bincount(operator, duration_ns * works)[operator] > 0, duration_ns * works, works)
    total = np.bincount(operator, weight)[operator]
    share = np.divide(weight, total, out=np.zeros(len(known)), where=total > 0)
    return facts.select("kernel_id").join(
        pl.DataFrame({"kernel_id": known["kernel_id"], "share": share}),
        on="kernel_id",
        how="left",
        maintain_order="left",
    )["share"]


def operator_rows(trace: Trace, parents: Integers, prices: dict[int, Record]) -> pl.DataFrame:
    """Rows of ``operators``: every operator call the trace recorded, with the one around it in ``parents``."""
    operators = trace.operators
    threads = ["/".join(str(part) for part in thread) for thread in trace.threads]
    signatures = [prices[code]["signature_id"] if code in prices else None for code in range(len(trace.signatures))]
    return operators.select(
        pl.int_range(pl.len(), dtype=pl.Int32).alias("operator_id"),
        pl.Series("rank", ranks(trace)[operators["thread"].to_numpy()]),
        _named(threads, operators["thread"]).alias("thread"),
        pl.Series("parent_id", parents).replace(ROOT, None),
        _named(trace.names, operators["name"]).alias("operator"),
        _named(signatures, operators["signature"]).alias("signature_id"),
        "start_ns",
        "duration_ns",
    )


def _named(names: Sequence[str | None], codes: pl.Series) -> pl.Series:
    """What codes stand for, a number a row rather than a text."""
    used = codes.unique()
    texts = pl.Series(names, dtype=pl.String).gather(used)
    kinds = texts.cast(pl.Enum(texts.drop_nulls().unique().sort()))
    if not len(used):
        return kinds
    place = np.zeros(len(names), dtype=np.int32)
    place[used.to_numpy()] = np.arange(len(used), dtype=np.int32)
    return kinds.gather(place[codes.to_numpy()])


def busy_spans(activities: pl.DataFrame, step: str) -> pl.DataFrame:
    """For each step, the values of the column `step`: its `start_ns`, its `end_ns`, and `busy_ns`, overlaps once."""
    timed = (
        activities.filter(pl.col(step).is_not_null())
        .sort("start_ns")
        .with_columns(end_ns=pl.col("start_ns") + pl.col("duration_ns"))
    )
    # time not yet covered by the activities of the step that started before
    covered_ns = pl.col("end_ns").cum_max().shift(1).over(step).fill_null(pl.col("start_ns"))
    fresh_ns = (pl.col("end_ns") - pl.max_horizontal("start_ns", covered_ns)).clip(0)
    return (
        timed.with_columns(fresh_ns=fresh_ns)
        .group_by(step)
        .agg(pl.col("start_ns").min(), pl.col("end_ns").max(), busy_ns=pl.col("fresh_ns").sum())
    )


def replayed_by_step(activities: pl.DataFrame) -> dict[int, int]:
    """How many device activities of each step a graph replayed; steps without any, or a device, are left out."""
    if "replay" not in activities.columns:
        return {}
    counts = activities.filter(pl.col("replay")).drop_nulls("step_label").group_by("step_label").len()
    return dict(counts.iter_rows())


def step_rows(trace: Trace, activities: pl.DataFrame, labels: dict[int, Label]) -> list[dict[str, Any]]:
    """Rows of ``steps``: the annotations that mark one, by row, and the device activities launched in each."""
    spans = busy_spans(activities, "step_label")
    device = {row["step_label"]: row for row in spans.iter_rows(named=True)}
    replayed = replayed_by_step(activities)
    rank = ranks(trace).tolist()
    rows = []
    for step_id, label in sorted(labels.items()):
        annotation = trace.annotations.row(step_id, named=True)
        span = device.get(step_id, {})
        rows.append(
            {
                "rank": rank[annotation["thread"]],
                "step_id": step_id,
                **{key: value for key, value in label._asdict().items() if key != "module"},
                "host_start_ns": annotation["start_ns"],
                "host_duration_ns": annotation["duration_ns"],
                "start_ns": span.get("start_ns"),
                "end_ns": span.get("end_ns"),
                "busy_ns": span.get("busy_ns"),
                "replayed_kernels": replayed.get(step_id, 0),
            }
        )
    return rows
