"""One run, from its decoded parts and companions to all of its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.operators import (
    attribute,
    build_tree,
    operator_activities,
    parse_labels,
    step_labels,
)
from ridgeline.analyze.cache_model.run_bytes import (
    Modelled,
    from_execution_trace,
    from_recorded_shapes,
    known_devices,
    recall,
    sequence_rows,
)
from ridgeline.analyze.cache_model.sequences import Kernels
from ridgeline.analyze.companions.counter_files import CounterFile, read_beside
from ridgeline.analyze.companions.discovery import Source
from ridgeline.analyze.companions.run_files import Ceilings, Memory, Run, read_ceilings, read_run, read_telemetry
from ridgeline.analyze.companions.size_limit import LARGEST_BYTES
from ridgeline.analyze.errors import CompanionError, TraceError
from ridgeline.analyze.graph_twin import Annotated, Matched, Pricing, learn, matched, read_twin
from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.pricing.pricer import Pricer
from ridgeline.analyze.pricing.stored_prices import WARNS, Record, assign, price_signatures
from ridgeline.analyze.reading.columns import Columns, read_part
from ridgeline.analyze.reading.trace import Trace, assemble
from ridgeline.analyze.tables.counters import counter_rows
from ridgeline.analyze.tables.gaps import gap_rows, operator_gap_rows
from ridgeline.analyze.tables.kernels import kernel_rows
from ridgeline.analyze.tables.ledger import attribution_account, recording_account
from ridgeline.analyze.tables.operators import operator_rows
from ridgeline.analyze.tables.predictions import prediction_rows
from ridgeline.analyze.tables.steps import step_rows
from ridgeline.warehouse import datasheets
from ridgeline.warehouse.load import RunRows


def _decoded(path: Path) -> list[Columns]:
    return [read_part(path)]


class Beside(NamedTuple):
    """How files beside a trace are read."""

    most_bytes: int = LARGEST_BYTES
    """Of each but the twin."""
    decode: Callable[[Path], list[Columns]] = _decoded
    """The twin. Raises :class:`TraceError`."""


def build(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    parts: Sequence[Columns],
    content: str,
    pricer: Pricer,
    beside: Beside | None = None,
) -> tuple[RunRows, Matched | None]:
    """All rows of a run, and what its twin told, if it has one; the connection is asked for prices only.

    Raises :class:`CompanionError`, :class:`TraceError` for the twin, and what the pricer raises without PyTorch.
    """
    beside = beside or Beside()
    most_bytes = beside.most_bytes
    described = read_run(source.run_json, most_bytes) if source.run_json else None
    ceilings = read_ceilings(source.ceilings, most_bytes) if source.ceilings else None
    trace = _assembled(source, parts) if parts else None
    run_id = (trace.sha256 if trace else _digest(source))[:16]
    run = RunRows(run_id, {"warnings": []})
    ncu = described.counters.ncu if described and described.counters else None
    files, unusable = read_beside(source.counters, source.ncu, ncu.step if ncu else None, most_bytes)
    run.records["devices"] = _device_rows(trace, described)
    price = partial(_prices, connection, run, pricer)
    added = _add_trace(connection, run, trace, files, source, beside, price) if trace else None
    found = matched(added.activities) if source.twin and added else None
    row = _run_row(source, content, described, trace, added.device_time_ns if added else 0) | _twin_columns(found)
    row |= _model_columns(added.modelled if added else None)
    uncounted = added.uncounted if added else []
    run.records["runs"] = [row | {"counters_message": "; ".join([*unusable, *uncounted]) or None}]
    run.records["ceilings"] = _ceiling_rows(ceilings) if ceilings and _are_of(ceilings, run) else []
    run.records["timings"] = [_timing_row(timing) for timing in (described.timings if described else [])]
    run.records["warnings"] += [{"source": "companions", "message": line} for line in source.no_files]
    run.records["warnings"] += _partial(trace) if trace and trace.broken else []
    run.records["warnings"] += _merged(added.activities) if added else []
    run.records["telemetry"] = read_telemetry(source.telemetry, most_bytes) if source.telemetry else []
    if source.run_json:
        _add_predictions(run, source.run_json)
    return run, found


def _twin(path: Path, beside: Beside) -> Annotated:
    parts = beside.decode(path)
    try:
        return read_twin(parts)
    except TraceError as e:
        raise TraceError(f"{path}: {e}") from None


def _partial(trace: Trace) -> list[dict[str, Any]]:
    message = f"partial: {trace.broken}; what precedes was loaded"
    if trace.device.is_empty() and not trace.on_cpu:
        message += ", and no kernel is among it"
    return [{"source": "salvage", "message": message}]


_DOUBTS = {
    "other_process": (
        "{} kernels and copies have correlation ids that launches of several processes share, as in merged traces of "
        "ranks, and nothing tells whose they are: they went to the first launch and may be another rank's: "
        "analyze each rank's own trace"
    ),
    "same_process": (
        "{} kernels and copies have correlation ids that several launches under one process id share, as in traces "
        "merged without making process ids distinct: ranks are not kept apart: analyze each rank's own trace"
    ),
}


def _merged(activities: pl.DataFrame) -> list[dict[str, Any]]:
    """What may be another rank's."""
    if "doubt" not in activities.columns:
        return []
    counts = activities["doubt"].drop_nulls().value_counts().sort("doubt")
    return [{"source": "attribution", "message": _DOUBTS[doubt].format(f"{n:,}")} for doubt, n in counts.iter_rows()]


def _of_ranks(devices: list[dict[str, Any]], activities: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of ``devices`` for those of each rank, which the trace describes by index alone."""
    used = activities.select("rank", "device_index").unique().sort("rank", "device_index")
    if used["rank"].n_unique() < 2:
        return devices
    known = {row["device_index"]: row for row in devices}
    return [known[index] | {"rank": rank} for rank, index in used.iter_rows() if index in known]


def _assembled(source: Source, parts: Sequence[Columns]) -> Trace:
    try:
        return assemble(parts)
    except TraceError as e:
        raise TraceError(f"{source.trace}: {e}") from None


def _add_predictions(run: RunRows, run_json: Path) -> None:
    """Add what the closed forms say of it, or the reason that they say nothing."""
    steps, ceilings, devices = (run.records.get(table, []) for table in ("steps", "ceilings", "devices"))
    sheet = devices[0]["datasheet"] if devices else None
    run.records["predictions"], why = prediction_rows(run_json, steps, ceilings, sheet)
    run.records["runs"][0]["predictions_message"] = why


def _twin_columns(found: Matched | None) -> dict[str, Any]:
    """How much of the graph replays the twin told of."""
    if found is None:
        return {}
    return {
        "twin_kernels": found.of_kernels,
        "twin_ns": found.of_duration_ns,
        "twin_matched_kernels": found.kernels,
        "twin_matched_ns": found.duration_ns,
    }


def _are_of(ceilings: Ceilings, run: RunRows) -> bool:
    """Whether ceilings were measured on the run's device; a folder may hold traces of several."""
    (row,) = run.records["runs"]
    if row["device"] is None:
        return ceilings.device_kind == str(row["device_kind"])
    return ceilings.device == str(row["device"])


def _digest(source: Source) -> str:
    """A run without a trace is known by its run.json."""
    assert source.run_json
    return hashlib.sha256(source.run_json.read_bytes()).hexdigest()


class _Added(NamedTuple):
    """What a trace added besides its rows."""

    activities: pl.DataFrame
    uncounted: list[str]
    """What has no counters, and why."""
    modelled: Modelled | None

    @property
    def device_time_ns(self) -> int:
        return int(self.activities["duration_ns"].sum())


def _add_trace(
    connection: duckdb.DuckDBPyConnection,
    run: RunRows,
    trace: Trace,
    files: list[CounterFile],
    source: Source,
    beside: Beside,
    price: Pricing,
) -> _Added:
    """Add the trace's rows."""
    labels = parse_labels(trace)
    tree = build_tree(trace, labels)
    on_cpu = trace.on_cpu
    if on_cpu:
        used = sorted(set(trace.operators["signature"].to_list()))
        prices = price(trace, used)
        composites = np.array([composite(prices.get(code)) for code in range(len(trace.signatures))], dtype=np.int64)
        activities = assign(trace, operator_activities(trace, tree, composites))
    else:
        activities = assign(trace, attribute(trace, tree))
    steps = step_labels(trace, tree, labels)
    known = Annotated(trace, activities, labels, steps, tree.operator_parent())
    del tree
    run.records["devices"] = _of_ranks(run.records["devices"], activities)
    _let_go(trace, source)
    known, prices = _priced(known, source, beside, price)
    trace, activities, labels = known.trace, known.activities, known.labels
    run.frames["kernels"], run.frames["kernel_classes"] = kernel_rows(trace, activities, prices, labels, on_cpu=on_cpu)
    run.frames["operators"] = operator_rows(trace, known.parents, prices)
    run.records["steps"] = step_rows(trace, activities, steps)
    run.frames["gaps"] = operator_gap_rows(activities) if on_cpu else gap_rows(trace, activities)
    run.records["ledger"] = attribution_account(activities) + recording_account(activities, trace.broken)
    run.frames["counters"], uncounted = counter_rows(trace, activities, steps, files)
    modelled = None if on_cpu else _modelled(connection, run, trace, activities, prices, source, beside)
    if modelled:
        run.frames["kernels"] = run.frames["kernels"].hstack(modelled.bytes)
    return _Added(activities, uncounted, modelled)


def _let_go(trace: Trace, source: Source) -> None:
    """Drop what only attribution asks for: of a long trace it is much, and the activities have it in order."""
    trace.device = trace.device.select("device")
    trace.launches = trace.launches.drop("correlation")
    if not source.twin and not source.execution_trace:
        trace.operators = trace.operators.drop("external_id", "record_id")


def _modelled(
    connection: duckdb.DuckDBPyConnection,
    run: RunRows,
    trace: Trace,
    activities: pl.DataFrame,
    prices: dict[int, Record],
    source: Source,
    beside: Beside,
) -> Modelled:
    """The bytes by the model of the L2; an execution trace that cannot be used is said, and shapes taken instead."""
    places = activities.select("device", "rank", "device_index").unique()
    kernels = Kernels(
        activities.select("name", "signature", "category", "device", "operator", step="step_label"),
        trace.names,
        trace.signatures,
        prices,
        known_devices(run.records["devices"], {number: (rank, index) for number, rank, index in places.iter_rows()}),
    )
    unusable = None
    if source.execution_trace:
        try:
            return from_execution_trace(kernels, trace, source.execution_trace, beside.most_bytes)
        except CompanionError as e:
            unusable = str(e)
    modelled = from_recorded_shapes(kernels, partial(recall, connection))
    run.sequences = sequence_rows(modelled.new)
    return modelled._replace(message="; ".join(part for part in (unusable, modelled.message) if part) or None)


def _model_columns(modelled: Modelled | None) -> dict[str, Any]:
    return {"cache_model_operands": modelled.operands, "cache_model_message": modelled.message} if modelled else {}


def _priced(known: Annotated, source: Source, beside: Beside, price: Pricing) -> tuple[Annotated, dict[int, Record]]:
    """What is known, with what replays learn from the twin, and the prices of its signatures."""
    if source.twin and matched(known.activities).of_kernels:
        return learn(known, _twin(source.twin, beside), price)
    return known, price(known.trace, known.activities["signature"].drop_nulls().unique().sort().to_list())


def composite(price: Record | None) -> int:
    """2: only calls other operators; 1: perhaps (a region, a custom wrapper); 0: does work of its own."""
    if price is None or price["composite"]:
        return 2
    return 1 if price["method"] in ("inputs", "none") and not price["operator"].startswith("aten::") else 0


def _prices(
    connection: duckdb.DuckDBPyConnection, run: RunRows, pricer: Pricer, trace: Trace, codes: list[int]
) -> dict[int, Record]:
    """By the codes of signatures; what is new of them is added to the run, and what went wrong."""
    signatures = [trace.signatures[code] for code in codes]
    records, new, warnings = price_signatures(connection, signatures, pricer, run.signatures)
    run.signatures += new
    told = {row["message"] for row in run.records["warnings"]}
    run.records["warnings"] += [{"source": WARNS, "message": line} for line in warnings if line not in told]
    return dict(zip(codes, records, strict=True))


def _run_row(
    source: Source, content: str, described: Run | None, trace: Trace | None, device_time_ns: int
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": source.name,
        "content_sha256": content,
        "source": "ridgeline" if described else "kineto",
        "device_kind": _device_kind(trace, described),
        "device": trace.header.devices[0].name if trace and trace.header.devices and not trace.on_cpu else None,
        "rank": trace.rank if trace else 0,
        "outcome": "ok",
        "trace_bytes": trace.bytes_read if trace else None,
        "events": trace.events if trace else None,
        "malformed_events": trace.malformed if trace else None,
        "device_time_ns": device_time_ns,
        "rules_version": RULES_VERSION,
    }
    return row | _described(described) if described else row


def _described(run: Run) -> dict[str, Any]:
    """The columns that run.json fills."""
    environment, memory = run.environment, run.memory or Memory()
    columns = {
        "experiment": run.experiment,
        **{name: getattr(run.config, name) for name in run.config.__struct_fields__},
        "parameters": run.model.parameters,
        "device": environment.device,
        "torch_version": environment.torch,
        "transformers_version": environment.transformers,
        "cuda_version": environment.cuda,
        "driver_version": environment.driver,
        "outcome": run.outcome,
        "message": run.message,
        "committed_tokens": run.tokens.committed,
        "peak_memory_bytes": memory.peak_bytes,
        "weights_bytes": memory.weights_bytes,
        "cache_bytes": memory.cache_bytes,
        "other_bytes": memory.other_bytes,
        "profiler_graph_node_ns": run.profiler.graph_node_ns if run.profiler else None,
    }
    return {name: value for name, value in columns.items() if value is not None}


def _device_kind(trace: Trace | None, described: Run | None) -> str:
    if trace and not trace.on_cpu:
        amd = any(device.name.startswith("AMD ") for device in trace.header.devices)
        return "hip" if amd or any(name.startswith("hip") for name in trace.names) else "cuda"
    return (described.environment.device_kind if described and not trace else None) or "cpu"


def _device_rows(trace: Trace | None, described: Run | None) -> list[dict[str, Any]]:
    """The devices that did work; without a trace, the one the run names."""
    if trace and not trace.on_cpu:
        used = trace.device["device"].unique().sort().to_list() or [p.id for p in trace.header.devices[:1]]
        properties = {p.id: p for p in trace.header.devices}
        # ROCm numbers its agents otherwise than its devices: where there is one device, it is that
        alone = trace.header.devices[0] if len(trace.header.devices) == 1 else None
        known = [(index, found) for index in used if (found := properties.get(index, alone))]
        return [_device_row(trace.rank, i, p.name, p.total_memory, p.multiprocessors, _capability(p)) for i, p in known]
    if described and described.environment.device:
        return [_device_row(0, 0, described.environment.device)]
    return []


def _capability(properties: Any) -> str | None:
    return None if properties.compute_major is None else f"{properties.compute_major}.{properties.compute_minor}"


def _device_row(
    rank: int,
    index: int,
    name: str,
    memory: int | None = None,
    multiprocessors: int | None = None,
    capability: str | None = None,
) -> dict[str, Any]:
    sheet = datasheets.match(name, memory)
    return {
        "rank": rank,
        "device_index": index,
        "name": name,
        "datasheet": sheet["device"] if sheet else None,
        "multiprocessors": multiprocessors,
        "memory_bytes": memory,
        "l2_bytes": sheet.get("l2_bytes") if sheet else None,
        "compute_capability": capability,
    }


def _ceiling_rows(ceilings: Ceilings) -> list[dict[str, Any]]:
    return [
        {
            "device": ceilings.device,
            **{name: getattr(c, name) for name in c.__struct_fields__},
            "measured_on": ceilings.measured_on,
        }
        for c in ceilings.ceilings
    ]


def _timing_row(timing: Any) -> dict[str, Any]:
    return {name: getattr(timing, name) for name in timing.__struct_fields__}
