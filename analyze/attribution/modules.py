"""The module that each device activity belongs to, and all modules of a trace as paths.

Labels name modules (``module=model.layers.0.mlp``), else the events that the Python tracer writes for each call of a
module (``nn.Module: LlamaMLP_3``, the number counting the instances of a class). The path of a module by events has the
modules around it: ``LlamaModel_0.LlamaDecoderLayer_3.LlamaMLP_3``. A module called again inside itself is the same
module. A third source, annotations on the nodes of a graph, wins over both (:func:`rename`).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.autograd import is_backward
from ridgeline.analyze.attribution.labels import Label
from ridgeline.analyze.attribution.origins import Origins
from ridgeline.analyze.attribution.spans import ROOT, Int32, Int64, innermost, numbered, take
from ridgeline.analyze.reading.trace import Trace

EVENT = "nn.Module: "
_INSTANCE = re.compile(r"_\d+$")


class Module(NamedTuple):
    """A module: its path, its class where an event names it, and the source of the name: label, event or annotation."""

    path: str
    module_class: str | None
    source: str


class Modules:
    """Modules by number, each path once, in the order in which they were added."""

    def __init__(self) -> None:
        self.of_path: dict[str, int] = {}
        self.listed: list[Module] = []

    def add(self, module: Module) -> int:
        """The number of the module with this path, which is added if it is new."""
        number = self.of_path.setdefault(module.path, len(self.listed))
        if number == len(self.listed):
            self.listed.append(module)
        return number

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the table ``modules``. The parent is the module with the longest path that this one's begins with."""
        rows = []
        for number, module in enumerate(self.listed):
            around = module.path
            while (around := around.rpartition(".")[0]) and around not in self.of_path:
                pass
            parent = self.of_path.get(around)
            path, module_class, source = module
            rows.append(
                {
                    "module_id": number,
                    "parent_id": parent,
                    "module": path,
                    "module_class": module_class,
                    "source": source,
                }
            )
        return rows


def add_modules(
    trace: Trace, labels: list[Label], origins: Origins, activities: pl.DataFrame
) -> tuple[pl.DataFrame, Modules]:
    """The activities with the number of their ``module``, null where unknown, and all modules of the trace."""
    modules = Modules()
    names = trace.annotations["name"].to_numpy()
    of_name = np.full(len(labels), ROOT, dtype=np.int64)
    for name in np.unique(names).tolist():
        if (path := labels[name].module) is not None:
            of_name[name] = modules.add(Module(path, None, "label"))
    number = take(of_name, take(names, origins.label))
    start_ns = take(trace.annotations["start_ns"].to_numpy(), origins.label)
    if not trace.frames.is_empty():
        event, event_ns = _events(trace, origins, modules)
        number, start_ns = np.where(number == ROOT, event, number), np.where(number == ROOT, event_ns, start_ns)
    return activities.with_columns(module=_numbers(origins.first(number, start_ns))), modules


def rename(activities: pl.DataFrame, modules: Modules, paths: pl.Series, source: str) -> pl.DataFrame:
    """The activities with ``paths`` for their modules, a text for each activity, where that is not null."""
    numbers = {path: modules.add(Module(path, None, source)) for path in paths.drop_nulls().unique(maintain_order=True)}
    renamed = paths.replace_strict(numbers, default=None, return_dtype=pl.Int64)
    return activities.with_columns(module=pl.coalesce(renamed, "module"))


def _events(trace: Trace, origins: Origins, modules: Modules) -> tuple[Int64, Int64]:
    """The number of the module whose event is the innermost around each moment, or ``ROOT``, and the event's start."""
    own_name = [name.removeprefix(EVENT) if name.startswith(EVENT) else "" for name in trace.names]
    is_module = np.array([name != "" for name in own_name])
    calls = trace.frames.filter(pl.Series(is_module[trace.frames["name"].to_numpy()]))
    thread, start_ns = calls["thread"].to_numpy(), calls["start_ns"].to_numpy()
    parent, around = innermost(
        thread, start_ns, start_ns + calls["duration_ns"].to_numpy(), origins.thread, origins.at_ns
    )
    parent = _around_repeated(trace, calls, parent)
    inside: dict[int, dict[str, int]] = {ROOT: {}}  # for each module the modules on its path, by their own names

    def number(outer: int, name: int) -> int:
        own = own_name[name]
        if (again := inside[outer].get(own)) is not None:
            return again
        path = f"{modules.listed[outer].path}.{own}" if outer != ROOT else own
        added = modules.add(Module(path, _INSTANCE.sub("", own), "event"))
        inside[added] = inside[outer] | {own: added}
        return added

    numbers = numbered(parent, calls["name"].to_numpy(), number)
    return take(numbers, around), take(start_ns, around)


def _around_repeated(trace: Trace, calls: pl.DataFrame, parent: Int32) -> Int32:
    """``parent``, with recomputed calls moved into the module around the latest forward call of the same module.

    A recomputed forward calls modules inside a backward operator, mostly on autograd's thread, where no module is
    around them. Calls of the same name and process are calls of the same module.
    """
    nodes = trace.operators.filter(pl.Series(is_backward(trace)))
    if nodes.is_empty():
        return parent
    columns = [nodes[name].to_numpy() for name in ("thread", "start_ns", "duration_ns")]
    thread, start_ns = calls["thread"].to_numpy(), calls["start_ns"].to_numpy()
    _, node = innermost(columns[0], columns[1], columns[1] + columns[2], thread, start_ns)
    # Only the outermost calls inside a backward operator: those around which nothing else began inside it.
    outside_ns = take(start_ns, parent, np.iinfo(np.int64).min)
    repeated = np.flatnonzero((node != ROOT) & (outside_ns < take(columns[1], node)))
    pids = np.array([hash(pid) for pid, _ in trace.threads], dtype=np.int64)
    known = calls.select("name", "start_ns", row=pl.int_range(pl.len(), dtype=pl.Int32), pid=pl.Series(pids[thread]))
    forward = known.filter(~pl.col("row").is_in(repeated)).sort("start_ns")
    matched = (
        known[repeated]
        .sort("start_ns")
        .join_asof(
            forward,
            on="start_ns",
            by=["name", "pid"],
            suffix="_of_forward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .drop_nulls()
    )
    parent[matched["row"].to_numpy()] = parent[matched["row_of_forward"].to_numpy()]
    return parent


def _numbers(values: Int64) -> pl.Series:
    return pl.Series(values).set(pl.Series(values == ROOT), None)
