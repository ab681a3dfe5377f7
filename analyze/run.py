"""One run: from its decoded trace and its companions to all of its rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import msgspec
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.attributed import attributed
from ridgeline.analyze.attribution.labels import step_pattern
from ridgeline.analyze.attribution.operators import Tree, attribute, operator_activities, step_labels
from ridgeline.analyze.attribution.phases import training_phases
from ridgeline.analyze.attribution.stacks import StackRows, stack_rows
from ridgeline.analyze.attribution.steps import as_one_step
from ridgeline.analyze.cache_model.run_bytes import (
    Modelled,
    from_execution_trace,
    from_recorded_shapes,
    known_devices,
    sequence_rows,
    stored_sequences,
)
from ridgeline.analyze.cache_model.sequences import Kernels
from ridgeline.analyze.cache_model.simulation import Run
from ridgeline.analyze.companions.counter_files import CounterFile, read_counter_files
from ridgeline.analyze.companions.discovery import Source
from ridgeline.analyze.companions.identity import Identity
from ridgeline.analyze.companions.run_files import read_ceilings, read_run, read_telemetry
from ridgeline.analyze.errors import CompanionError, TraceError
from ridgeline.analyze.pricing.completed_signatures import assign
from ridgeline.analyze.pricing.pricer import Pricer
from ridgeline.analyze.pricing.stored_prices import WARNS, Record, price_signatures
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.trace import Trace, assemble
from ridgeline.analyze.replays.annotations import label_nodes
from ridgeline.analyze.replays.captured import launches_without_kernels
from ridgeline.analyze.replays.teaching import Annotated, Matched, Pricing, matched
from ridgeline.analyze.resources.limits import Limits
from ridgeline.analyze.tables.counters import counter_rows
from ridgeline.analyze.tables.gaps import gap_rows, operator_gap_rows
from ridgeline.analyze.tables.kernels import kernel_rows
from ridgeline.analyze.tables.ledger import attribution_account, recording_account
from ridgeline.analyze.tables.limitations import limitation_rows, roof_rows
from ridgeline.analyze.tables.operators import operator_rows
from ridgeline.analyze.tables.runs import ceiling_rows, device_rows, device_rows_by_rank, run_row
from ridgeline.analyze.tables.steps import step_rows
from ridgeline.analyze.tables.warnings import nothing_read, warning_rows
from ridgeline.warehouse.load import RunRows
from ridgeline.warehouse.rollups import FEW_KERNELS

MEMORY_NOT_LOADED = "changes of memory, which profile_memory=True records, were not loaded: --allocations loads them"


class Tools(NamedTuple):
    """What building a run uses besides its files."""

    connection: duckdb.DuckDBPyConnection
    """A warehouse with the prices and the modelled sequences of earlier runs."""
    pricer: Pricer
    decode: Callable[[Path], list[Columns]]
    """Decodes a twin or a capture. Raises :class:`TraceError`."""
    limits: Limits
    simulate: Run
    """Runs a simulation of the L2."""
    begin: Callable[[RunRows], None] | None = None
    """Stores the rows that a run has so far; None for a run that waits with others for its commit."""


def build(source: Source, identity: Identity, parts: Sequence[Columns], tools: Tools) -> tuple[RunRows, Matched | None]:
    """Return all rows of a run, and how much of its replays matched a twin or a capture, if it has one.

    ``parts`` is the decoded trace, empty for a run without one. Raises :class:`TraceError` and
    :class:`CompanionError`.
    """
    limits = tools.limits
    run_json, text = read_run(source.run_json, limits) if source.run_json else (None, b"")
    ceilings = read_ceilings(source.ceilings, limits) if source.ceilings else None
    trace = assemble(parts, source.trace) if source.trace else None
    if trace and run_json and run_json.job:
        trace.header.rank = run_json.job.rank
    if trace and source.trace and trace.is_empty:
        raise TraceError(nothing_read(trace, source.trace))
    run = RunRows(identity.run_id, {"warnings": []})
    ncu = run_json.counters.ncu if run_json and run_json.counters else None
    counter_files, messages = read_counter_files(source, ncu.step if ncu else None, limits)
    run.records["devices"] = device_rows(trace, run_json, source.device)
    device_time_ns, twin = 0, None
    columns: dict[str, Any] = {}
    if trace:
        activities, modelled, uncounted = _add_trace(run, trace, source, counter_files, tools)
        device_time_ns = int(activities["duration_ns"].sum())
        messages += uncounted
        run.records["warnings"] += warning_rows(trace, activities)
        if trace.header.profile_memory and not source.allocations:
            run.records["warnings"].append({"source": "memory", "message": MEMORY_NOT_LOADED})
        if modelled:
            columns = {"cache_model_operands": modelled.operands, "cache_model_message": modelled.message}
            run.records["warnings"] += [
                {"source": "cache_model", "message": line} for line in [modelled.message] if line
            ]
        if source.twin or source.capture:
            twin = matched(activities)
            columns |= {
                "twin_kernels": twin.of_kernels,
                "twin_ns": twin.of_duration_ns,
                "twin_matched_kernels": twin.kernels,
                "twin_matched_ns": twin.duration_ns,
            }
    run.records["warnings"] += [{"source": "companions", "message": line} for line in source.no_files]
    run.records["warnings"] += [{"source": "counters", "message": line} for line in messages]
    row = run_row(source.name, identity.content_sha256, run_json, trace, device_time_ns)
    if source.experiment is not None:
        row["experiment"] = source.experiment
    run.records["runs"] = [row | columns | {"counters_message": "; ".join(messages) or None}]
    run.records["ceilings"] = ceiling_rows(ceilings, row)
    if trace and not run.records["ceilings"]:
        run.records["warnings"] += roof_rows(run.records["devices"], activities, ceilings, on_cpu=trace.on_cpu)
    run.records["timings"] = [msgspec.structs.asdict(timing) for timing in run_json.timings] if run_json else []
    # last, since until now the trace needed the memory
    run.records["telemetry"] = read_telemetry(source.telemetry, limits) if source.telemetry else []
    if run_json:  # closed forms need the configuration, and compare with the profiled steps
        from ridgeline.analyze.tables.predictions import prediction_rows  # most traces have no run.json

        steps, devices = run.records.get("steps", []), run.records["devices"]
        sheet = devices[0]["datasheet"] if devices else None
        run.records["predictions"], message = prediction_rows(text, steps, run.records["ceilings"], sheet)
        run.records["runs"][0]["predictions_message"] = message
    return run, twin


def _add_trace(
    run: RunRows, trace: Trace, source: Source, counter_files: list[CounterFile], tools: Tools
) -> tuple[pl.DataFrame, Modelled | None, list[str]]:
    """Add the trace's rows to the run; return activities, modelled bytes, and messages on counters not used."""

    def price(trace: Trace, codes: list[int]) -> dict[int, Record]:
        """Return prices by signature code; add to the run the new ones and their warnings."""
        signatures = [trace.signatures[code] for code in codes]
        records, new, warnings = price_signatures(tools.connection, signatures, tools.pricer, run.signatures)
        run.signatures += new
        rows = run.records["warnings"]
        rows += [row for line in warnings if (row := {"source": WARNS, "message": line}) not in rows]
        return dict(zip(codes, records, strict=True))

    if launches := launches_without_kernels(trace):
        message = (
            f"the trace of a graph's capture, as serving engines write it: {launches:,} launches without kernels: "
            "analyze the trace of the replays, with this one beside it as X.capture.json[.gz] or by --capture"
        )
        run.records["warnings"].append({"source": "capture", "message": message})
    # 1. attribution: operator, module and step of every activity
    step = step_pattern(source.step) if source.step is not None else None
    on_cpu = trace.on_cpu

    def find(trace: Trace, tree: Tree) -> pl.DataFrame:
        if not on_cpu:
            return assign(trace, attribute(trace, tree))
        # prices come first on a CPU: they tell which operators do work and which only call others
        used_prices = price(trace, sorted(set(trace.operators["signature"].to_list())))
        composites = np.array([composite(used_prices.get(i)) for i in range(len(trace.signatures))], dtype=np.int64)
        return assign(trace, operator_activities(trace, tree, composites))

    with ThreadPoolExecutor(1) as pool:  # NumPy sorts millions of times without Python's lock
        stacking: list[Future[StackRows]] = []
        found = attributed(trace, step, find, lambda origins: stacking.append(pool.submit(stack_rows, trace, origins)))
        modules = found.modules
        phases = training_phases(trace, found.tree, found.activities, found.partners)
        steps = step_labels(trace, found.tree, found.labels)
        run.records["devices"] = device_rows_by_rank(run.records["devices"], found.activities)
        stack_ids, run.frames["stacks"] = stacking[0].result()
    activities = found.activities.with_columns(phases, *stack_ids).drop("span")
    annotated = Annotated(trace, activities, steps, found.parents, modules, run.frames["stacks"])
    # of a long trace these columns are much memory, and only attribution needs them
    del found
    trace.frames = trace.frames.clear()
    trace.device = trace.device.select("device")
    trace.launches = trace.launches.drop("correlation", "kernel", strict=False)
    if not source.twin and not source.capture and not source.execution_trace:
        trace.operators = trace.operators.drop("external_id", "record_id", "sequence", "forward_thread")
    # 2. prices, and for graph replays the operators of their capture and of their twin
    annotated, prices = _learned(run, annotated, source, tools, price, step)
    annotated = label_nodes(annotated)
    trace, activities = annotated.trace, annotated.activities
    has_companions = bool(source.twin or source.capture)
    run.records["warnings"] += limitation_rows(
        trace, activities, prices, has_companions=has_companions, has_steps=bool(steps)
    )
    if not steps and activities["duration_ns"].sum():  # without durations idle time would be false
        trace, activities, steps = as_one_step(trace, activities)
    in_steps = Annotated(trace, activities, steps, annotated.parents, modules)
    # 3. the other rows, and DRAM bytes by the L2 model
    uncounted, modelled = _add_rows_and_model(run, annotated, in_steps, prices, source, tools, counter_files)
    if modelled:
        run.frames["kernels"] = run.frames["kernels"].hstack(modelled.bytes)
    return activities, modelled, uncounted


def _add_rows_and_model(
    run: RunRows,
    annotated: Annotated,
    in_steps: Annotated,
    prices: dict[int, Record],
    source: Source,
    tools: Tools,
    counter_files: list[CounterFile],
) -> tuple[list[str], Modelled | None]:
    """Add the rows that need no modelled bytes; return messages on counters not used, and the bytes: none on a CPU."""
    if in_steps.trace.on_cpu:
        return _add_rows(run, in_steps, prices, counter_files), None
    begin = tools.begin if len(in_steps.activities) <= FEW_KERNELS else None
    with ThreadPoolExecutor(1) as pool, tools.connection.cursor() as cursor:
        if begin:
            # Python makes few rows, and then models bytes while native code stores the rows. Meanwhile the model asks
            # another connection for sequences: in this one no other run waits for its commit.
            uncounted = _add_rows(run, in_steps, prices, counter_files)
            modelling = pool.submit(_model_bytes, run, annotated, prices, source, tools, cursor)
            begin(run)
        else:
            # Native code makes many rows while Python models their bytes.
            modelling = pool.submit(_model_bytes, run, annotated, prices, source, tools, tools.connection)
            uncounted = _add_rows(run, in_steps, prices, counter_files)
        return uncounted, modelling.result()


def _add_rows(
    run: RunRows, annotated: Annotated, prices: dict[int, Record], counter_files: list[CounterFile]
) -> list[str]:
    """Add the rows that need no modelled bytes to the run; return messages on counters not used."""
    trace, activities, steps = annotated.trace, annotated.activities, annotated.steps
    on_cpu, modules = trace.on_cpu, annotated.modules
    with ThreadPoolExecutor(1) as pool:
        gaps = pool.submit(operator_gap_rows, activities) if on_cpu else pool.submit(gap_rows, trace, activities)
        kernels = kernel_rows(trace, activities, prices, modules, on_cpu=on_cpu)
        run.frames["kernels"], run.frames["kernel_classes"] = kernels
        run.records["modules"] = modules.rows()
        run.frames["operators"] = operator_rows(trace, annotated.parents, prices)
        run.records["steps"] = step_rows(trace, activities, steps)
        run.frames["gaps"] = gaps.result()
    if trace.memory is not None:  # few traces have any
        from ridgeline.analyze.tables.memory import memory_rows

        run.frames["memory"] = memory_rows(trace, trace.memory, steps)
    run.records["ledger"] = attribution_account(activities) + recording_account(activities, trace.broken)
    run.frames["counters"], uncounted = counter_rows(trace, activities, steps, counter_files)
    return uncounted


def _learned(
    run: RunRows, annotated: Annotated, source: Source, tools: Tools, price: Pricing, step: re.Pattern[str] | None
) -> tuple[Annotated, dict[int, Record]]:
    """Return the trace with what its replays learn from companions, and its prices; add the stacks to the run."""
    prices: dict[int, Record] | None = None
    if (source.twin or source.capture) and matched(annotated.activities).of_kernels:
        # imported here: few traces have these companions, and aligning takes modules that nothing else imports
        if source.capture:
            from ridgeline.analyze.companions.capture_folder import describe
            from ridgeline.analyze.replays import capture as graph_capture

            files, messages = describe(source.capture, tools.limits)
            annotated, prices, refused = graph_capture.learn(annotated, files, tools.decode, price)
            run.records["warnings"] += [{"source": "capture", "message": line} for line in messages + refused]
        if source.twin:
            from ridgeline.analyze.replays import twin as graph_twin

            # in one expression, so that the twin's columns and frames do not outlive it
            annotated, prices = graph_twin.learn(
                annotated, graph_twin.read_twin(tools.decode(source.twin), source.twin, step), price
            )
    if annotated.stacks is not None:
        run.frames["stacks"] = annotated.stacks
    if prices is None:
        prices = price(annotated.trace, annotated.activities["signature"].drop_nulls().unique().sort().to_list())
    return annotated, prices


def _model_bytes(
    run: RunRows,
    annotated: Annotated,
    prices: dict[int, Record],
    source: Source,
    tools: Tools,
    connection: duckdb.DuckDBPyConnection,
) -> Modelled:
    """Return the bytes of kernels by the L2 model: from the execution trace, or from recorded shapes and a message.

    ``connection`` is asked for stored sequences.
    """
    trace, activities = annotated.trace, annotated.activities
    places = activities.select("device", "rank", "device_index").unique()
    kernels = Kernels(
        activities.select("name", "signature", "category", "device", "operator", "duration_ns", step="step_label"),
        trace.names,
        trace.signatures,
        prices,
        known_devices(run.records["devices"], {number: (rank, index) for number, rank, index in places.iter_rows()}),
    )
    messages = []
    if source.execution_trace:
        try:
            modelled = from_execution_trace(kernels, trace, source.execution_trace, tools.limits, tools.simulate)
            if modelled.operands or not kernels.devices:
                return modelled
            has_ids = trace.operators["record_id"].count()
            reason = "other ids and names" if has_ids else "the trace has no Record function id"
            messages.append(
                f"the execution trace joins no operator ({reason}), so the L2 model uses recorded shapes: record "
                "both in one window with torch >= 2.3"
            )
        except CompanionError as e:
            messages.append(str(e))
    modelled = from_recorded_shapes(kernels, partial(stored_sequences, connection), tools.simulate)
    run.sequences = sequence_rows(modelled.new)
    if modelled.message:
        messages.append(modelled.message)
    return modelled._replace(message="; ".join(messages) or None)


def composite(price: Record | None) -> int:
    """Return 2 for an operator that only calls others, 1 if it may (one without a price), 0 if it does work."""
    if price is None or price["composite"]:
        return 2
    return 1 if price["method"] in ("inputs", "none") else 0
