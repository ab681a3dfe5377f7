"""What a replay learns from a trace that launches the same kernels one by one: operators, modules and shares.

The teacher is an eager trace of the same steps (:mod:`ridgeline.analyze.replays.twin`) or the trace of the graph's
capture. Each replay gets its own operator calls, copies of the teacher's with the calls around them, so that the cost
of each call counts once. The host does not run them in a replay: they start with the graph's launch, last 0 ns, and
have the teacher's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from msgspec.structs import replace

from ridgeline.analyze.attribution.labels import Label
from ridgeline.analyze.attribution.modules import Modules
from ridgeline.analyze.attribution.spans import ROOT, Int64, Integers, distinct, take
from ridgeline.analyze.pricing.stored_prices import Record
from ridgeline.analyze.reading.trace import Trace
from ridgeline.analyze.tables.kernels import kernel_rows

Pricing = Callable[[Trace, list[int]], dict[int, Record]]
LEARNED = ("graph_twin", "graph_capture")
"""Attributions of activities that learned their operator."""


class Annotated(msgspec.Struct):
    """A trace with its activities and the meaning of their codes: a replayed trace, or its teacher."""

    trace: Trace
    activities: pl.DataFrame
    """As :func:`ridgeline.analyze.attribution.operators.attribute` and
    :func:`ridgeline.analyze.pricing.completed_signatures.assign` return them."""
    steps: dict[int, Label]
    parents: Integers
    """For each operator the one around it."""
    modules: Modules
    """By the numbers in the activities' column ``module``."""
    stacks: pl.DataFrame | None = None
    """Rows of the table ``stacks``, by the activities' column ``stack_id``; None where nobody asks for them."""


class Partners(NamedTuple):
    """Activities of replays with their partners, equally long columns."""

    rows: Int64
    """Positions in the run's activities."""
    partners: Int64
    """Positions in the teacher's activities."""
    replays: Int64
    """The number of the replay; pairs of one replay share copies of their operator calls."""


class Matched(NamedTuple):
    """How much of the replays matched."""

    kernels: int
    duration_ns: int
    of_kernels: int
    of_duration_ns: int


def matched(activities: pl.DataFrame) -> Matched:
    """Return how much of the replays matched a teacher; all 0 if nothing is replayed."""
    if "replay" not in activities.columns:
        return Matched(0, 0, 0, 0)
    replayed = activities.filter(pl.col("replay"))
    learned = replayed.filter(pl.col("attribution").is_in(LEARNED))
    return Matched(len(learned), int(learned["duration_ns"].sum()), len(replayed), int(replayed["duration_ns"].sum()))


def teach(
    run: Annotated, teacher: Annotated, pairs: Partners, price: Pricing, attribution: str, *, own_shares: bool = False
) -> tuple[Annotated, dict[int, Record]]:
    """Return the run with what its activities learn from their partners, and the prices of all signatures of both.

    Taught activities have the given ``attribution`` and a ``twin_share``: their partner's share of its operator's cost,
    or null with ``own_shares``, where the partner is a launch without a duration and the run's own times must do. The
    trace has the operators, names, threads and signatures that they refer to, after its own.
    """
    # a partner without an operator teaches nothing
    has_operator = take(filled(teacher.activities["operator"]), pairs.partners) != ROOT
    pairs = Partners(*(column[has_operator] for column in pairs))
    extended, codes = _extend(run, teacher)
    extended, operators = _add_calls(extended, run, teacher, pairs, codes)
    activities = teacher.activities.with_columns(
        _nullable("signature", take(codes["signature"], filled(teacher.activities["signature"])))
    )
    used = np.union1d(filled(run.activities["signature"]), filled(activities["signature"]))
    prices = price(extended.trace, used[used != ROOT].tolist())
    shares = pl.repeat(None, len(activities), dtype=pl.Float64, eager=True)
    if not own_shares:
        priced = replace(teacher.trace, signatures=extended.trace.signatures)
        shares = kernel_rows(priced, activities, prices, teacher.modules, on_cpu=False)[0]["share"]
    learned = pl.DataFrame(
        {
            "at": pairs.rows,
            "operator": operators,
            "signature": take(filled(activities["signature"]), pairs.partners),
            "module": _nullable("", take(codes["module"], take(filled(activities["module"]), pairs.partners))),
            "twin_share": shares.gather(pairs.partners),
        }
    )
    overwritten = (
        run.activities.with_columns(at=pl.int_range(pl.len(), dtype=pl.Int64), twin_share=pl.lit(None, pl.Float64))
        # a null of the teacher overwrites nothing
        .update(learned.with_columns(attribution=pl.lit(attribution)), on="at")
        .drop("at")
    )
    return _with_stacks(replace(extended, activities=overwritten), teacher, pairs), prices


def _with_stacks(run: Annotated, teacher: Annotated, pairs: Partners) -> Annotated:
    """Return the run with the Python stacks of the partners, where the teacher has any."""
    if run.stacks is None or teacher.stacks is None or teacher.stacks.is_empty():
        return run
    stack = take(filled(teacher.activities["stack_id"]), pairs.partners)
    used, ids = np.unique(stack[stack != ROOT], return_inverse=True)
    ids += len(run.stacks)
    rows = teacher.stacks[used].with_columns(stack_id=pl.int_range(pl.len(), dtype=pl.Int64) + len(run.stacks))
    stack_id = pl.Series("stack_id", [None], dtype=pl.Int64).new_from_index(0, len(run.activities))
    if "stack_id" in run.activities.columns:
        stack_id = run.activities["stack_id"].cast(pl.Int64)
    stack_id = stack_id.scatter(pairs.rows[stack != ROOT], ids)
    return replace(run, activities=run.activities.with_columns(stack_id), stacks=pl.concat([run.stacks, rows]))


def filled(series: pl.Series) -> Int64:
    """Return the values of a series with ``ROOT`` in the place of nulls."""
    values: Int64 = series.cast(pl.Int64).fill_null(ROOT).to_numpy()
    return values


def _nullable(name: str, values: Int64) -> pl.Series:
    return pl.Series(name, values, dtype=pl.Int64).replace(ROOT, None)


# The trace with the teacher's operators after its own.


def _extend(run: Annotated, teacher: Annotated) -> tuple[Annotated, dict[str, Int64]]:
    """Return the run with the teacher's names, threads, signatures and modules, and the teacher's codes by column.

    The codes translate: ``codes["name"][i]`` is the extended run's code of the teacher's name ``i``.
    """
    tables: dict[str, Any] = {}
    codes: dict[str, Int64] = {}
    for column, table in (("name", "names"), ("thread", "threads"), ("signature", "signatures")):
        values = list(getattr(run.trace, table))
        # two names that differ only in type are equal here, so take the first
        code_of = {value: code for code, value in reversed(list(enumerate(values)))}
        for value in getattr(teacher.trace, table):
            if value not in code_of:
                code_of[value] = len(values)
                values.append(value)
        tables[table] = values
        codes[column] = np.array([code_of[value] for value in getattr(teacher.trace, table)], dtype=np.int64)
    codes["module"] = np.array([run.modules.add(module) for module in teacher.modules.listed], dtype=np.int64)
    return replace(run, trace=replace(run.trace, **tables)), codes


def _add_calls(
    extended: Annotated, run: Annotated, teacher: Annotated, pairs: Partners, codes: dict[str, Int64]
) -> tuple[Annotated, Int64]:
    """Return the run with a copy of each operator call that a replay needs, and the call of each pair."""
    called, count = take(filled(teacher.activities["operator"]), pairs.partners), len(teacher.parents)
    # a call is one number, `replay * count + operator`; add the calls around each, level by level
    keys = added = distinct(pairs.replays * count + called)
    while len(added):
        replay, operator = np.divmod(added, count)
        around = teacher.parents[operator]
        is_inside = around != ROOT
        added = np.setdiff1d(replay[is_inside] * count + around[is_inside], keys)
        keys = np.union1d(keys, added)
    replay, operator = np.divmod(keys, max(count, 1))
    # copies start with their replay's launch, or with its first activity where that is unknown
    launched_ns = filled(run.activities.select(pl.coalesce("launch_ns", "start_ns")).to_series())
    first_ns = np.full(int(pairs.replays.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first_ns, pairs.replays, launched_ns[pairs.rows])
    calls = teacher.trace.operators[operator]
    recoded = (
        pl.Series(column, codes[column][calls[column].to_numpy()], dtype=calls.schema[column])
        for column in ("name", "thread", "signature")
    )
    copies = calls.with_columns(
        *recoded,
        start_ns=pl.Series(first_ns[replay], dtype=pl.Int64),
        duration_ns=pl.lit(0, dtype=pl.Int64),
        external_id=pl.lit(None, dtype=pl.Int64),
    )
    own = len(run.trace.operators)
    around = take(teacher.parents, operator)
    # keys are sorted, so a copy's position is found by binary search
    parents = np.where(around == ROOT, ROOT, own + np.searchsorted(keys, replay * count + around))
    trace = replace(extended.trace, operators=pl.concat([run.trace.operators, copies]))
    extended = replace(extended, trace=trace, parents=np.concatenate([run.parents, parents]))
    return extended, own + np.searchsorted(keys, pairs.replays * count + called)
