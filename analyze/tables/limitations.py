"""Rows of the table `warnings` that say what a trace did not allow: what lacks, its share of device time, the remedy.

A part of less than ``SMALLEST_SHARE`` of the device time is not worth a line. Names of operators stand in parentheses,
so that the command line can say the sentences of many runs once (:func:`ridgeline.analyze.ingest.warning_lines`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from ridgeline.analyze.companions.run_files import Ceilings
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.stored_prices import WARNS, Record
from ridgeline.analyze.reading.trace import Trace

SMALLEST_SHARE = 0.01
_MOST_NAMES = 3
_LONGEST_NAME = 60

_ROOFS_REMEDY = (
    "run `ridgeline ceilings` on it and put its ceilings.json beside the trace, or name a datasheet with --device"
)
Row = dict[str, Any]
Limitation = tuple[str, pl.Expr, str]
"""A source, the parts of device time that lack something, and the sentence about them."""


def limitation_rows(
    trace: Trace, activities: pl.DataFrame, prices: dict[int, Record], *, has_companions: bool, has_steps: bool
) -> list[Row]:
    """Return a row for each thing that a share of the device time lacks; ``prices`` by signature code.

    ``activities`` are those of :func:`ridgeline.analyze.attribution.operators.attribute`, with signatures assigned.
    """
    parts = _parts(trace, activities, prices)
    rows = []
    if trace.on_cpu and trace.header.devices and len(activities):
        device = trace.header.devices[0].name or "a device"
        message = (
            f"the trace names {device} but has no kernel, so the times are those of operators on the host: "
            "record with ProfilerActivity.CUDA too"
        )
        rows.append({"source": "recording", "message": message})
    for source, condition, sentence in _limitations(trace, has_companions=has_companions, has_steps=has_steps):
        rows += [{"source": source, "message": line} for line in _lines(parts, condition, sentence)]
    return rows + [{"source": WARNS, "message": line} for line in price_lines(parts)]


def _parts(trace: Trace, activities: pl.DataFrame, prices: dict[int, Record]) -> pl.DataFrame:
    """Return the number and duration of the activities, grouped by all that the conditions read: a few hundred rows."""
    flags = {
        # operators on a CPU are not replayed
        "replay": pl.col("replay") if "replay" in activities.columns else pl.lit(value=False),
        "launched": pl.col("launch").is_not_null(),
        "in_step": pl.col("step_label").is_not_null(),
        "in_module": pl.col("module").is_not_null(),
        "is_copy": pl.col("bytes").is_not_null(),
    }
    # one number for all flags, which groups twice as fast
    packed = pl.sum_horizontal(flag.cast(pl.UInt8) * (1 << bit) for bit, flag in enumerate(flags.values()))
    parts = activities.group_by("signature", "attribution", packed.alias("flags")).agg(
        kernels=pl.len(), duration_ns=pl.col("duration_ns").sum()
    )
    parts = parts.with_columns((pl.col("flags") & (1 << bit) > 0).alias(name) for bit, name in enumerate(flags))
    codes = parts["signature"].drop_nulls().unique().to_list()
    signatures = pl.DataFrame(
        [
            {
                "signature": code,
                "operator": trace.signatures[code][0],
                "has_shapes": bool(trace.signatures[code][1]),
                "has_flops": price["flops"] is not None,
                # bytes of communication are those over a link
                "has_bytes": price["link_bytes" if price["family"] == "communication" else "read_bytes"] is not None,
            }
            for code in codes
            if (price := prices.get(code))
        ],
        schema={"signature": pl.Int64, "operator": pl.String}
        | dict.fromkeys(("has_shapes", "has_flops", "has_bytes"), pl.Boolean),
    )
    return parts.cast({"signature": pl.Int64}).join(signatures, on="signature", how="left")


def _limitations(trace: Trace, *, has_companions: bool, has_steps: bool) -> Iterator[Limitation]:
    """Yield what a trace may lack; a sentence has the fields ``share``, ``kernels`` and ``names``."""
    unattributed = pl.col("attribution") == "unattributed"
    replayed, launched = pl.col("replay"), pl.col("launched")
    yield (
        "recording",
        pl.col("attribution") == "before_recording",
        "{share} of device time ({kernels}) was launched before the recording began and has no operator: record "
        "after a warm-up step, as schedule(wait=1, warmup=1, active=2) does",
    )
    remedy = "add an eager trace of the same steps (X.twin.json beside X.json, or --twin) or the trace of the capture "
    if has_companions:
        remedy = "its companions match other kernels: name those of the same steps and graphs "
    yield (
        "replays",
        unattributed & replayed,
        f"{{share}} of device time ({{kernels}}) is replayed from graphs and has no operator: {remedy}(X.capture.json "
        "or --capture), or record with torch >= 2.14",
    )
    if trace.operators.is_empty() or trace.launches.is_empty():
        kind = "operators" if trace.operators.is_empty() else "launches"
        sentence = (
            f"the trace has no {kind}, so {{share}} of device time has no operator: record with ProfilerActivity.CPU"
        )
        yield "operators", unattributed & ~replayed, sentence
    else:
        yield (
            "operators",
            unattributed & ~replayed & ~launched,
            "{share} of device time ({kernels}) has neither a recorded launch nor an operator: the profiler lost "
            "events: record fewer steps",
        )
        yield (
            "operators",
            unattributed & ~replayed & launched,
            "{share} of device time ({kernels}) was launched outside any operator: wrap the code that launches it with "
            "torch.library.custom_op",
        )
    yield (
        "shapes",
        pl.col("has_shapes").not_() & pl.col("has_shapes").any().not_(),
        "no operator recorded its shapes, so {share} of device time has neither FLOPs nor bytes: record with "
        "record_shapes=True",
    )
    label = "--step REGEX, or record with profiler.step() or record_function('phase=decode step=0')"
    # no step has the activities launched before the recording, of which another sentence tells
    outside = pl.col("in_step").not_() & (pl.col("attribution") != "before_recording")
    yield (
        "steps",
        outside if has_steps else pl.lit(value=True),
        f"{{share}} of device time ({{kernels}}) belongs to no step: name the label of a step with {label}"
        if has_steps
        else f"no step is labelled, so the whole trace counts as one: name the label of a step with {label}",
    )
    yield (
        "modules",
        pl.col("in_module").any().not_(),
        "no module is known: record with with_stack=True, or label with record_function('module=NAME')",
    )


def price_lines(parts: pl.DataFrame) -> list[str]:
    """Return a sentence on operators without a price, one on collectives without a message size, and one on operators
    without FLOPs, where they have recorded shapes.

    ``parts`` has the columns ``operator``, ``has_shapes``, ``has_flops``, ``has_bytes``, ``is_copy``, ``kernels`` and
    ``duration_ns``. Communication has no FLOPs, and copies and fills have their bytes from the trace.
    """
    names = parts["operator"].drop_nulls().unique()
    communicates = pl.col("operator").is_in([name for name in names if family(name, "", "kernel") == "communication"])
    # without any shapes another sentence says so
    priceable = pl.col("operator").is_not_null() & pl.col("has_shapes").any() & ~pl.col("is_copy")
    unpriced, without_flops = ~pl.col("has_bytes"), pl.col("has_bytes") & ~pl.col("has_flops")
    remedy = "see 'Add a pricing rule' in analyze/README.md"
    return [
        *_lines(
            parts,
            priceable & unpriced & ~communicates,
            f"operators without a price take {{share}} of device time ({{names}}): {remedy}",
        ),
        *_lines(
            parts,
            priceable & unpriced & communicates,
            "collectives without a message size take {share} of device time ({names}): record with torch >= 2.1, which "
            "writes it for NCCL, and not for Gloo",
        ),
        *_lines(
            parts,
            priceable & without_flops & ~communicates,
            f"operators with bytes but without FLOPs take {{share}} of device time ({{names}}): {remedy}",
        ),
    ]


def _lines(parts: pl.DataFrame, condition: pl.Expr, sentence: str) -> Iterator[str]:
    """Yield the sentence, if the condition holds for a share of the device time that is worth a line."""
    total_ns = int(parts["duration_ns"].sum())
    lacking = parts.filter(condition)
    if not total_ns or lacking["duration_ns"].sum() < SMALLEST_SHARE * total_ns:
        return
    by_operator = lacking.group_by("operator").agg(pl.col("duration_ns").sum()).drop_nulls()
    main = by_operator.sort("duration_ns", "operator", descending=[True, False])
    names = [f"{name[:_LONGEST_NAME]} {ns / total_ns:.1%}" for name, ns in main.head(_MOST_NAMES).rows()]
    if len(main) > _MOST_NAMES:
        names.append(f"{len(main) - _MOST_NAMES} more")
    kernels = int(lacking["kernels"].sum())
    yield sentence.format(
        share=f"{lacking['duration_ns'].sum() / total_ns:.1%}",
        kernels="1 kernel or copy" if kernels == 1 else f"{kernels:,} kernels and copies",
        names=", ".join(names),
    )


def roof_rows(
    devices: Iterable[Row], activities: pl.DataFrame, ceilings: Ceilings | None, *, on_cpu: bool
) -> list[Row]:
    """Return a row for each device without a datasheet, of a run without measured ceilings of its own device.

    ``ceilings`` are those of another device, if there are any beside the trace.
    """
    known = {(row["rank"], row["device_index"]): row for row in devices}
    used = activities.group_by("rank", "device_index").agg(pl.col("duration_ns").sum()).sort("rank", "device_index")
    total_ns, by_name = int(used["duration_ns"].sum()), dict[str, int]()
    for rank, index, duration_ns in used.iter_rows():
        device = known.get((rank, index))
        if not device or not device["datasheet"]:
            name = "this CPU" if on_cpu else (device and device["name"]) or "a device without a name"
            name += " (a slice, which has a part of its device's rates)" * (" MIG " in name)
            by_name[name] = by_name.get(name, 0) + duration_ns
    other = f" (the ceilings.json beside it is of {ceilings.device})" if ceilings else ""
    return [
        {
            "source": "roofs",
            "message": f"no roofs are known for {name}{other}, so {duration_ns / total_ns:.1%} of device time has no "
            f"bound: {_ROOFS_REMEDY}",
        }
        for name, duration_ns in by_name.items()
        if duration_ns >= SMALLEST_SHARE * total_ns > 0
    ]
