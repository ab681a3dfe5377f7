"""Rows of the tables `runs`, `devices`, `ceilings` and `timings`: what a trace and run.json say of the whole run."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import polars as pl

from ridgeline.analyze.companions.run_files import Ceilings, Memory, Run
from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.reading.events import DeviceProperties
from ridgeline.analyze.reading.trace import Trace
from ridgeline.warehouse import datasheets

Row = dict[str, Any]

_CAPACITY = ("threads", "registers", "shared_bytes")

_NEVER = r"(?!)"
_KINDS = (
    ("mtia", r"\bmtia_", r"\bMTIA|\bARTEMIS"),
    ("xpu", r"\bxpu_", r"\bIntel\b"),
    ("hpu", r"\bhpu_", r"(?i:\bgaudi|\bhabana)"),
    ("npu", _NEVER, r"(?i:\bascend)"),
    ("privateuse1", r"\bprivateuse1_", _NEVER),
)
"""Kinds of devices, each by its categories of events or by names of devices; the first that matches is the trace's."""


def run_row(name: str, content_sha256: str, run: Run | None, trace: Trace | None, device_time_ns: int) -> Row:
    """Return the row of a run; columns that neither ``run``, its run.json, nor the trace fill are absent."""
    recorded_kind = run.environment.device_kind if run else None
    device_kind = kind_of_device(trace) if trace else recorded_kind or "cpu"
    row: Row = {
        "name": name,
        "content_sha256": content_sha256,
        "source": "ridgeline" if run else "kineto",
        "device_kind": device_kind,
        "device": trace.header.devices[0].name if trace and trace.header.devices and not trace.on_cpu else None,
        "rank": trace.rank if trace else 0,
        "world_size": trace.header.world_size if trace else None,
        "base_time_ns": trace.header.base_time_ns if trace else None,
        "outcome": "ok",
        "trace_bytes": trace.bytes_read if trace else None,
        "events": trace.events if trace else None,
        "malformed_events": trace.malformed if trace else None,
        "device_time_ns": device_time_ns,
        "rules_version": RULES_VERSION,
    }
    if run is None:
        return row
    if job := run.job:
        row |= {"job_id": job.id, "rank": job.rank, "world_size": job.world_size, "hosts": job.hosts}
    environment, memory = run.environment, run.memory or Memory()
    recorded = {
        "experiment": run.experiment,
        **msgspec.structs.asdict(run.config),
        "parameters": run.model.parameters,
        "device": environment.device,
        **{f"{part}_version": getattr(environment, part) for part in ("torch", "transformers", "cuda", "driver")},
        "outcome": run.outcome,
        "message": run.message,
        "committed_tokens": run.tokens.committed,
        "peak_memory_bytes": memory.peak_bytes,
        **{name: getattr(memory, name) for name in ("weights_bytes", "cache_bytes", "other_bytes")},
        "profiler_graph_node_ns": run.profiler.graph_node_ns if run.profiler else None,
    }
    # an absent value in run.json must not erase what the trace says
    return row | {column: value for column, value in recorded.items() if value is not None}


def kind_of_device(trace: Trace) -> str:
    """Return the kind of the devices that did a trace's work, as PyTorch names it: ``cuda``, ``hip``, ``xpu``, ...

    ``unknown`` if the trace does not say, and ``cpu`` if operators take the place of kernels.
    """
    if trace.on_cpu:
        return "cpu"
    devices = " ".join(device.name for device in trace.header.devices)
    # on AMD devices PyTorch traces say CUDA everywhere but in names
    if devices.startswith("AMD ") or any(name.startswith("hip") for name in trace.names):
        return "hip"
    categories = " ".join(trace.reading.categories)
    for kind, in_categories, in_names in _KINDS:
        if re.search(in_categories, categories) or re.search(in_names, devices):
            return kind
    has_work = not (trace.device.is_empty() and trace.launches.is_empty())
    return "cuda" if has_work or devices else "unknown"


def device_rows(trace: Trace | None, run: Run | None, named: str | None = None) -> list[Row]:
    """Return a row for each device that the trace has work of; without a trace, for the one that run.json names.

    ``named`` is the datasheet that the user named for all devices, else each has the one that fits it.
    """
    if not trace or trace.on_cpu:
        return [_device_row(0, 0, run.environment.device, named)] if run and run.environment.device else []
    listed = trace.header.devices
    properties = {device.id: device for device in listed}
    # ROCm numbers agents in the header and devices in events: a single device is the one that did the work
    only = listed[0] if len(listed) == 1 else None
    used = trace.device["device"].unique().sort().to_list() or [device.id for device in listed[:1]]
    rows = []
    for index in used:
        device = properties.get(index, only) or (DeviceProperties(index, named) if named else None)
        if device:
            sizes = (device.total_memory, device.multiprocessors)
            rows.append(_device_row(trace.rank, index, device.name, named, *sizes))
            if device.compute_major is not None:
                rows[-1]["compute_capability"] = f"{device.compute_major}.{device.compute_minor}"
            rows[-1] |= {f"multiprocessor_{name}": getattr(device, name) for name in _CAPACITY}
    return rows


def _device_row(
    rank: int,
    index: int,
    name: str,
    named: str | None,
    memory_bytes: int | None = None,
    multiprocessors: int | None = None,
) -> Row:
    sheet = next((entry for entry in datasheets.devices() if entry["device"] == named), None)
    sheet = sheet or datasheets.match(name, memory_bytes, multiprocessors)
    return {
        "rank": rank,
        "device_index": index,
        "name": name,
        "datasheet": sheet["device"] if sheet else None,
        "multiprocessors": multiprocessors or (sheet.get("multiprocessors") if sheet else None),
        "memory_bytes": memory_bytes,
        # the last cache before the memory decides what DRAM moves
        "l2_bytes": (sheet.get("l3_bytes") or sheet["l2_bytes"]) if sheet else None,
        "compute_capability": None,
    }


def device_rows_by_rank(devices: list[Row], activities: pl.DataFrame) -> list[Row]:
    """Return ``devices`` with a row for each rank that used one: a trace's header lists devices by index alone."""
    used = activities.select("rank", "device_index").unique().sort("rank", "device_index")
    if used["rank"].n_unique() < 2:
        return devices
    by_index = {row["device_index"]: row for row in devices}
    return [by_index[index] | {"rank": rank} for rank, index in used.iter_rows() if index in by_index]


def ceiling_rows(ceilings: Ceilings | None, run: Row) -> list[Row]:
    """Return the ceilings that were measured on the device of ``run``; a folder may hold traces of several devices."""
    if not ceilings:
        return []
    device, kind = run["device"], str(run["device_kind"])
    if ceilings.device != str(device) if device is not None else ceilings.device_kind != kind:
        return []
    measured = {"device": ceilings.device, "measured_on": ceilings.measured_on}
    return [msgspec.structs.asdict(ceiling) | measured for ceiling in ceilings.ceilings]
