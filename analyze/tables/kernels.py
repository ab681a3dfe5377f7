"""Rows of the tables ``kernels`` and ``kernel_classes``."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.modules import Modules
from ridgeline.analyze.attribution.operators import CATEGORIES
from ridgeline.analyze.cache_model.launches.own_bytes import own_bytes
from ridgeline.analyze.pricing.compute_unit import unit_and_precision
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.stored_prices import Record
from ridgeline.analyze.reading.geometry import COLUMNS, geometry_of
from ridgeline.analyze.reading.trace import Trace
from ridgeline.analyze.tables.runs import kind_of_device

_OVER_LINK = re.compile(r"HtoD|DtoH|Host|PtoP")
"""In the names of copies between a device and the host or another device."""
_GEOMETRY_SCHEMA: dict[str, type[pl.DataType]] = dict.fromkeys(COLUMNS, pl.Int64) | {"occupancy": pl.Float64}
_CLASS_SCHEMA: dict[str, type[pl.DataType]] = dict.fromkeys(
    ("kernel", "category", "family", "signature_id", "module", "attribution", "unit", "precision", "phase"), pl.String
) | {"replayed": pl.Boolean}


def kernel_rows(
    trace: Trace, activities: pl.DataFrame, prices: dict[int, Record], modules: Modules, *, on_cpu: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of ``kernels`` and of ``kernel_classes``; ``prices`` by signature code."""
    # Texts repeat with every launch, so each distinct combination is described once, as a class.
    keys = ["name", "category", "signature", "module", "attribution"]
    keys += [column for column in ("replay", "phase", "geometry") if column in activities.columns]
    call_ns = trace.launches["duration_ns"]
    classes = (
        activities.select(keys).unique(maintain_order=True).with_row_index("class_id").cast({"class_id": pl.Int64})
    )
    described = [_describe(trace, row, prices, modules, on_cpu=on_cpu) for row in classes.iter_rows(named=True)]
    by_class = classes.with_columns(
        passes=pl.Series([d.pop("passes") for d in described], dtype=pl.Int64),
        on_tensor_unit=pl.Series([d["unit"] == "tensor" for d in described], dtype=pl.Boolean),
    )
    facts = activities.join(by_class, on=keys, how="left", nulls_equal=True, maintain_order="left").with_columns(
        kernel_id=pl.int_range(pl.len(), dtype=pl.Int64),
        trace_bytes=pl.col("bytes") * pl.col("passes"),
        launch_duration_ns=call_ns.gather(pl.Series(activities["launch"])),
    )
    if not on_cpu:
        facts = facts.with_columns(own_bytes(activities, trace.names, trace.signatures, prices))
    facts = facts.with_columns(share=shares(facts))
    if "twin_share" in facts.columns:
        facts = facts.with_columns(share=pl.coalesce("twin_share", "share"))
    columns = ["class_id", "kernel_id", "rank", "device_index", "stream", "start_ns", "duration_ns", "launch_ns"]
    columns += ["launch_duration_ns", "correlation", "operator_id", "share", "trace_bytes", "step_id"]
    columns += [column for column in ("launch_bytes", "stack_id") if column in facts.columns]
    rows = facts.rename({"operator": "operator_id", "step_label": "step_id"}).select(columns)
    return rows, pl.DataFrame(described, schema_overrides=_CLASS_SCHEMA).hstack(_geometries(trace, classes))


def _geometries(trace: Trace, classes: pl.DataFrame) -> pl.DataFrame:
    """The columns of ``kernel_classes`` that say how each of the classes is launched; none if no launch does."""
    if "geometry" not in classes.columns:
        return pl.DataFrame()
    codes = classes["geometry"].unique().drop_nulls()
    described = pl.DataFrame([geometry_of(trace.names[code]) for code in codes], schema_overrides=_GEOMETRY_SCHEMA)
    if kind_of_device(trace) == "hip":
        # HIP's grid counts blocks or work-items, depending on the call that launched the kernel, which Kineto drops
        described = described.with_columns(pl.lit(None, pl.Int64).alias(name) for name in COLUMNS[:3])
    described = described.with_columns(codes)
    return classes.select("geometry").join(described, on="geometry", how="left", maintain_order="left").drop("geometry")


def _describe(
    trace: Trace, row: dict[str, Any], prices: dict[int, Record], modules: Modules, *, on_cpu: bool
) -> dict[str, Any]:
    """A row of ``kernel_classes``, and ``passes``: how often copied bytes pass through the device's DRAM."""
    price = prices.get(row["signature"])
    kernel, category = trace.names[row["name"]], CATEGORIES[row["category"]]
    passes = None
    if category in ("memcpy", "memset"):
        # only a copy within the device both reads and writes its DRAM
        passes = 1 if category == "memset" or _OVER_LINK.search(kernel) else 2
    kernel_family = family(price["operator"] if price else None, kernel, category)
    precision = price["precision"] if price and passes is None else None
    unit, precision = unit_and_precision(kernel_family, kernel, precision, on_cpu=on_cpu)
    return {
        "class_id": row["class_id"],
        "kernel": kernel,
        "category": category,
        "family": kernel_family,
        "signature_id": price["signature_id"] if price else None,
        "module": modules.listed[row["module"]].path if row["module"] is not None else None,
        "attribution": row["attribution"],
        "replayed": row.get("replay"),
        "unit": unit,
        "precision": precision,
        "phase": row.get("phase"),
        "passes": passes,
    }


def shares(facts: pl.DataFrame) -> pl.Series:
    """The share of its operator's cost that each kernel bears, null without an operator.

    The kernels that do the operator's work share its cost in proportion to their time: its kernels on tensor units, or
    all its kernels if none is. Chunks of a list, which have ``launch_bytes`` of their own, share it in proportion to
    these. The reduction after a split product, the combination after split attention and other helpers (``is_helper``)
    are overhead and bear nothing. Copies and fills bear their own bytes.
    """
    used = ["operator", "carries_cost", "on_tensor_unit", "duration_ns", "launch_bytes", "is_helper"]
    has_operator = facts["operator"].is_not_null()
    attributed = facts.select(name for name in used if name in facts.columns).filter(has_operator)
    operator, works = attributed["operator"].cast(pl.Int64).to_numpy(), attributed["carries_cost"].to_numpy()
    on_tensor_unit, size = attributed["on_tensor_unit"].to_numpy(), attributed["duration_ns"].to_numpy()
    main = works
    if "is_helper" in attributed.columns:  # not of operators that stand for kernels
        size = attributed["launch_bytes"].fill_null(attributed["duration_ns"]).to_numpy()
        main = works & ~attributed["is_helper"].to_numpy()
    # sums by operator, spread back to its kernels; equal weights where the kernels have no duration
    for narrower in (main, main & on_tensor_unit):
        works = np.where(np.bincount(operator, narrower)[operator] > 0, narrower, works)
    weight = np.where(np.bincount(operator, size * works)[operator] > 0, size * works, works)
    total = np.bincount(operator, weight)[operator]
    share = np.divide(weight, total, out=np.zeros(len(attributed)), where=total > 0)
    nothing = pl.Series("share", [None], dtype=pl.Float64).new_from_index(0, len(facts))
    return nothing.scatter(has_operator.arg_true(), share)
