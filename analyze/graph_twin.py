"""Kernels of graph replays learn whose work they are from an eager trace of the same steps, the twin.

A replay's kernels carry no operator, but they run in the order in which the same step launches them one by one. So the
activities of a replayed step are aligned with those of the twin's step of the same kind, in order and by name, as a
longest common subsequence: kernels that are missing or extra on either side leave the others aligned. What matches gets
its partner's operator, signature, module and share of the operator's cost; phase and step remain the replay's own.

The kind of a step is its phase, its kind and its query length, as labelled; of several the nearest in context length,
then the one that matches best, then the nearest by number. Without labels on either side a replay is aligned with the
stretch of the twin that it matches best, of equals the next after the stretch of the replay before. Where less than
``AGREEMENT`` of the shorter of the two matches, it is the twin of something else, and nothing is learned.

Every replayed step has operator calls of its own, copies of the twin's with the calls around them, so that each call's
cost is counted once. On the host a replay runs none of them: they start with the step's graph launch and last 0 ns on
the trace's clock; their thread is the twin's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.alignment import Pairs, align_names, common_length, memoized
from ridgeline.analyze.attribution.labels import NOTHING, Label
from ridgeline.analyze.attribution.operators import attribute, build_tree, parse_labels, step_labels
from ridgeline.analyze.attribution.spans import ROOT, Int64, Integers, take
from ridgeline.analyze.pricing.completed_signatures import assign
from ridgeline.analyze.pricing.stored_prices import Record
from ridgeline.analyze.reading.columns import Columns, Interned
from ridgeline.analyze.reading.trace import Trace, assemble
from ridgeline.analyze.tables.kernels import kernel_rows

AGREEMENT = 0.5
"""The share of the shorter sequence that must match. Steps of the same model in another mode reach two thirds."""
_GRAM = 16
"""Names that must be equal before a whole stretch is compared."""
_MOST_PEAKS = 16
_MOVES = ((0, 0), (-1, -1), (1, 1), (-1, 0), (1, 0), (0, -1), (0, 1))
_NONE = np.zeros(0, dtype=np.int64)

Pricing = Callable[[Trace, list[int]], dict[int, Record]]


@dataclass
class Annotated:
    """A trace with its activities and what their codes mean: what a twin is, and what a replayed trace becomes."""

    trace: Trace
    activities: pl.DataFrame
    """As :func:`ridgeline.analyze.attribution.operators.attribute` and
    :func:`ridgeline.analyze.pricing.completed_signatures.assign` make them."""
    labels: list[Label]
    """By name code."""
    steps: dict[int, Label]
    parents: Integers
    """For each operator the one around it."""


class Matched(NamedTuple):
    """How much of the replays found its partner in the twin."""

    kernels: int
    duration_ns: int
    of_kernels: int
    of_duration_ns: int


class _Sequence(NamedTuple):
    """Activities in order: their positions in the frame, and their names as codes."""

    label: Label | None
    rows: Int64
    names: Int64


_Cut = tuple[int, int]
"""The first and, past it, the end of a stretch."""
_Align = Callable[[Int64, Int64], Pairs]


def read_twin(parts: Sequence[Columns]) -> Annotated:
    """Attribute the twin, decoded. Raises :class:`TraceError`."""
    trace = assemble(parts)
    labels = parse_labels(trace)
    tree = build_tree(trace, labels)
    activities = assign(trace, attribute(trace, tree))
    return Annotated(trace, activities, labels, step_labels(trace, tree, labels), tree.operator_parent())


def matched(activities: pl.DataFrame) -> Matched:
    """How much of the replays a twin told of; all 0 where nothing is replayed."""
    if "replay" not in activities.columns:
        return Matched(0, 0, 0, 0)
    replayed = activities.filter(pl.col("replay"))
    found = replayed.filter(pl.col("attribution") == "graph_twin")
    return Matched(len(found), int(found["duration_ns"].sum()), len(replayed), int(replayed["duration_ns"].sum()))


def learn(run: Annotated, twin: Annotated, price: Pricing) -> tuple[Annotated, dict[int, Record]]:
    """The run with what its replays learn from the twin, and the prices of all signatures of both.

    Activities that match have the attribution ``graph_twin`` and a ``twin_share``; the trace has the operators,
    annotations, names, threads and signatures they refer to behind its own.
    """
    rows, partners, steps = _pair(run, twin)
    known = take(_filled(twin.activities["operator"]), partners) != ROOT
    rows, partners, steps = rows[known], partners[known], steps[known]
    extended, coded = _extend(run, twin)
    extended, operators = _add_calls(extended, run, twin, (rows, partners, steps), coded)
    theirs = twin.activities.with_columns(
        _nullable("signature", take(coded["signature"], _filled(twin.activities["signature"])))
    )
    used = np.union1d(_filled(run.activities["signature"]), _filled(theirs["signature"]))
    prices = price(extended.trace, used[used != ROOT].tolist())
    priced_twin = replace(twin.trace, signatures=extended.trace.signatures)
    shares = kernel_rows(priced_twin, theirs, prices, twin.labels, on_cpu=False)[0]["share"]
    module = take(_filled(theirs["module_label"]), partners)
    learned = pl.DataFrame(
        {
            "at": rows,
            "operator": operators,
            "signature": take(_filled(theirs["signature"]), partners),
            "module_label": _nullable("", np.where(module == ROOT, ROOT, module + len(run.trace.annotations))),
            "twin_share": shares.gather(partners),
        }
    )
    return replace(extended, activities=_overlay(run.activities, learned)), prices


def _overlay(activities: pl.DataFrame, learned: pl.DataFrame) -> pl.DataFrame:
    """The activities, those at the positions learned of with what was learned in place of what was known."""
    columns = ("operator", "signature", "module_label")
    joined = activities.with_columns(at=pl.int_range(pl.len(), dtype=pl.Int64)).join(
        learned, on="at", how="left", suffix="_learned", maintain_order="left"
    )
    told = pl.col("operator_learned").is_not_null()
    return joined.with_columns(
        *(pl.coalesce(f"{column}_learned", column).alias(column) for column in columns),
        attribution=pl.when(told).then(pl.lit("graph_twin")).otherwise("attribution"),
    ).drop("at", *(f"{column}_learned" for column in columns))


def _filled(series: pl.Series) -> Int64:
    filled: Int64 = series.cast(pl.Int64).fill_null(ROOT).to_numpy()
    return filled


def _nullable(name: str, values: Int64) -> pl.Series:
    return pl.Series(name, values, dtype=pl.Int64).replace(ROOT, None)


# The trace with the twin's operators behind its own.


def _extend(run: Annotated, twin: Annotated) -> tuple[Annotated, dict[str, Int64]]:
    """The run with the twin's names, threads, signatures and annotations; by column the codes of the twin's in it."""
    names, name_codes = _merge(run.trace.names, twin.trace.names)
    threads, thread_codes = _merge(run.trace.threads, twin.trace.threads)
    signatures, signature_codes = _merge(run.trace.signatures, twin.trace.signatures)
    labels = run.labels + [NOTHING] * (len(names) - len(run.labels))
    for code, label in zip(name_codes.tolist(), twin.labels, strict=True):
        labels[code] = labels[code] if label is NOTHING else label
    coded = {"name": name_codes, "thread": thread_codes}
    annotations = pl.concat([run.trace.annotations, _recoded(twin.trace.annotations, coded)])
    coded["signature"] = signature_codes
    trace = replace(run.trace, names=names, threads=threads, signatures=signatures, annotations=annotations)
    return replace(run, trace=trace, labels=labels), coded


def _merge(ours: Sequence[Any], theirs: Sequence[Any]) -> tuple[list[Any], Int64]:
    """Ours and what of theirs is new; the codes of theirs in it."""
    codes = Interned(ours)
    translated = np.array([codes[value] for value in theirs], dtype=np.int64)
    return list(ours) + list(codes)[len(ours) :], translated


def _recoded(frame: pl.DataFrame, coded: dict[str, Int64]) -> pl.DataFrame:
    return frame.with_columns(
        pl.Series(column, take(codes, _filled(frame[column])), dtype=frame.schema[column])
        for column, codes in coded.items()
    )


def _add_calls(
    extended: Annotated,
    run: Annotated,
    twin: Annotated,
    pairs: tuple[Int64, Int64, Int64],
    coded: dict[str, Int64],
) -> tuple[Annotated, Int64]:
    """The run with a copy of each operator that a replayed step's activities serve, and each pair's one."""
    rows, partners, steps = pairs
    called, count = take(_filled(twin.activities["operator"]), partners), len(twin.parents)
    keys = _with_callers(np.unique(steps * count + called), twin.parents)
    step, operator = np.divmod(keys, max(count, 1))
    first_ns = np.full(int(steps.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first_ns, steps, _filled(run.activities["launch_ns"])[rows])
    copies = _recoded(twin.trace.operators[operator], coded).with_columns(
        start_ns=pl.Series(first_ns[step], dtype=pl.Int64),
        duration_ns=pl.lit(0, dtype=pl.Int64),
        external_id=pl.lit(None, dtype=pl.Int64),
    )
    own = len(run.trace.operators)
    around = take(twin.parents, operator)
    parents = np.where(around == ROOT, ROOT, own + np.searchsorted(keys, step * count + around))
    trace = replace(extended.trace, operators=pl.concat([run.trace.operators, copies]))
    grown = replace(extended, trace=trace, parents=np.concatenate([run.parents, parents]))
    return grown, own + np.searchsorted(keys, steps * count + called)


def _with_callers(keys: Int64, parents: Integers) -> Int64:
    """Keys of operator calls, ``step * len(parents) + operator``, ascending, with those of all calls around them."""
    new = keys
    while len(new):
        step, operator = np.divmod(new, len(parents))
        around = parents[operator]
        inside = around != ROOT
        new = np.setdiff1d(step[inside] * len(parents) + around[inside], keys)
        keys = np.union1d(keys, new)
    return keys


# Which steps belong together.


def _pair(run: Annotated, twin: Annotated) -> tuple[Int64, Int64, Int64]:
    """Positions of replayed activities, of their partners in the twin, and for each the number of its step."""
    ours, theirs = _name_codes(run, twin)
    labelled = pl.col("step_label").is_not_null()
    in_replayed_step = labelled & pl.col("replay").any().over("step_label")
    replays = _sequences(run, ours, in_replayed_step | pl.col("replay"))
    twin_steps, whole = _sequences(twin, theirs, labelled), _ordered(twin, theirs)
    position = np.argsort(whole.rows)
    is_replay = run.activities["replay"].to_numpy()
    align, stretches = memoized(align_names), memoized(_stretches)
    found, cursor = [(_NONE, _NONE, _NONE)], 0
    for number, replayed in enumerate(replays):
        if replayed.label and twin_steps:
            rows, partners = _partners(replayed, _alike(replayed.label, twin_steps), align)
        else:
            stretch = _stretch(replayed.names, whole, cursor, stretches)
            rows, partners = _partners(replayed, [[stretch]], align)
            cursor = int(position[partners[-1]]) + 1 if len(partners) else cursor
        inside = is_replay[rows]
        found.append((rows[inside], partners[inside], np.full(int(inside.sum()), number, dtype=np.int64)))
    rows, partners, numbers = (np.concatenate(part) for part in zip(*found, strict=True))
    return rows, partners, numbers


def _name_codes(run: Annotated, twin: Annotated) -> tuple[Int64, Int64]:
    """For the name of each activity of both a number, equal where names are, whatever the order of events."""
    names = [[_comparable(name) for name in side.trace.names] for side in (run, twin)]
    known = {name: code for code, name in enumerate(sorted({*names[0], *names[1]}))}
    ours, theirs = (
        take(np.array([known[name] for name in table], dtype=np.int64), _filled(side.activities["name"]))
        for side, table in zip((run, twin), names, strict=True)
    )
    return ours, theirs


def _comparable(name: str) -> str:
    """Of a copy or a fill its kind alone: where the memory lies is not always known to a graph."""
    return name.partition(" (")[0] if name.startswith(("Memcpy ", "Memset ")) else name


def _in_order(side: Annotated, codes: Int64) -> pl.DataFrame:
    """The activities in the order in which they were launched, those of one launch in that in which they ran."""
    return (
        side.activities.with_columns(
            at=pl.int_range(pl.len(), dtype=pl.Int64),
            code=pl.Series(codes, dtype=pl.Int64),
            launched_ns=pl.coalesce("launch_ns", "start_ns"),
            launched_by=pl.when(pl.col("step_label").is_null()).then("correlation"),
        )
        .sort("launched_ns", "start_ns", "device", "stream", "code", "duration_ns", "at")
        .select("at", "code", "step_label", "launched_by", "replay")
    )


def _ordered(side: Annotated, codes: Int64) -> _Sequence:
    ordered = _in_order(side, codes)
    return _Sequence(None, ordered["at"].to_numpy(), ordered["code"].to_numpy())


def _sequences(side: Annotated, codes: Int64, chosen: pl.Expr) -> list[_Sequence]:
    """The chosen activities of each step, and of each launch outside one, in order of the first's launch."""
    ordered = _in_order(side, codes).filter(chosen)
    groups = ordered.partition_by("step_label", "launched_by", maintain_order=True) if len(ordered) else []
    return [
        _Sequence(side.steps.get(group["step_label"][0]), group["at"].to_numpy(), group["code"].to_numpy())
        for group in groups
    ]


def _alike(label: Label, steps: Iterable[_Sequence]) -> Iterator[list[_Sequence]]:
    """The steps of the label's kind, in groups from near to far in context; in each from near to far in number."""

    def far(step: _Sequence) -> tuple[int, int]:
        theirs = step.label or NOTHING
        return _difference(label.context, theirs.context), _difference(label.step, theirs.step)

    same = [step for step in steps if _same_kind(label, step.label or NOTHING)]
    for _, group in groupby(sorted(same, key=far), key=lambda step: far(step)[0]):
        yield list(group)


def _difference(ours: int | None, theirs: int | None) -> int:
    return 0 if ours is None or theirs is None else abs(ours - theirs)


def _same_kind(ours: Label, theirs: Label) -> bool:
    """Whether nothing that both labels say speaks against it."""
    said = zip((ours.phase, ours.kind, ours.query), (theirs.phase, theirs.kind, theirs.query), strict=True)
    return all(o is None or t is None or o == t for o, t in said)


def _partners(replayed: _Sequence, groups: Iterable[Sequence[_Sequence]], align: _Align) -> tuple[Int64, Int64]:
    """Positions of the replayed activities that match, and of their partners: from the first group that agrees."""
    for group in groups:
        best, candidate = Pairs(_NONE, _NONE), replayed
        for other in group:
            pairs = align(replayed.names, other.names)
            if len(pairs.first) > len(best.first):
                best, candidate = pairs, other
            if len(best.first) == len(replayed.names):
                break
        if len(best.first) and len(best.first) >= AGREEMENT * min(len(replayed.names), len(candidate.names)):
            return replayed.rows[best.first], candidate.rows[best.second]
    return _NONE, _NONE


def _stretch(names: Int64, whole: _Sequence, cursor: int, stretches: Callable[[Int64, Int64], list[_Cut]]) -> _Sequence:
    """The stretch of the whole that matches the names; of several the first whose middle is past the cursor."""
    if len(names) >= len(whole.names):
        return whole
    start, stop = min(stretches(names, whole.names), key=lambda cut: (sum(cut) < 2 * cursor, cut))
    return _Sequence(None, whole.rows[start:stop], whole.names[start:stop])


def _stretches(ours: Int64, theirs: Int64) -> list[_Cut]:
    """Where the longer theirs has ours: wherever it has them whole, else where it has about the most of them."""
    count = len(theirs) - len(ours) + 1
    exact = np.ones(count, dtype=bool)
    for k in range(min(_GRAM, len(ours))):
        exact &= theirs[k : k + count] == ours[k]
    cuts = [(start, start + len(ours)) for start in np.flatnonzero(exact).tolist()]
    return [cut for cut in cuts if np.array_equal(ours, theirs[slice(*cut)])] or _best_stretches(ours, theirs)


def _best_stretches(ours: Int64, theirs: Int64) -> list[_Cut]:
    """The stretches with most matches for their length: along a grid, then climbing from its peaks.

    Those within 2 % of the best, and of any that overlap by half the best alone.
    """

    @cache
    def score(cut: _Cut) -> int:
        start, stop = cut
        if not 0 <= start < stop <= len(theirs):
            return -len(theirs)
        return 2 * common_length(ours, theirs[start:stop]) - (stop - start)

    step, last = max(1, len(ours) // 8), len(theirs) - len(ours)
    grid = [(start, start + len(ours)) for start in (*range(0, last, step), last)]
    scores = np.array([-len(theirs), *map(score, grid), -len(theirs)])
    peaks = (scores[1:-1] >= scores[:-2]) & (scores[1:-1] > scores[2:])
    ranked = sorted((grid[i] for i in np.flatnonzero(peaks)), key=score, reverse=True)
    climbed = sorted({_climb(cut, step, score) for cut in ranked[:_MOST_PEAKS]}, key=score, reverse=True)
    best: list[_Cut] = []
    for cut in climbed:
        apart = all(abs(sum(cut) - sum(other)) > len(ours) for other in best)
        if apart and score(cut) >= score(climbed[0]) - len(ours) // 50:
            best.append(cut)
    return best


def _climb(cut: _Cut, step: int, score: Callable[[_Cut], int]) -> _Cut:
    """The best stretch found by moving one end or both, in steps of half the length each, until none is better."""
    reached = None
    while cut != reached:
        reached = cut
        for stride in (step >> k for k in range(step.bit_length())):
            moves = [(a * stride, b * stride) for a, b in _MOVES]
            cut = max(((cut[0] + a, cut[1] + b) for a, b in moves), key=score)
    return cut
