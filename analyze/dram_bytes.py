"""DRAM bytes of a run's kernels by the model of the L2: which kernels follow each other, and what they touch.

Kernels are modelled step by step, in the order in which they ran on their device. Steps whose kernels have the same
names in the same order, and whose operands are of the same size within 1 %, are taken for equal and modelled once: a
decoding step differs from the one before it by one position. Kernels outside labelled steps are cut where the rarest of
those that come again comes again, if that leaves less to model.

The tensors of a call are those of the execution trace, where there is one and it knows the call by number and name. In
a run without one they are guessed (:mod:`analyze.cache_model.heuristic`). A kernel whose call nobody knows has no
bytes. Beyond ``MOST_KERNELS`` distinct kernels or ``MOST_BYTES`` of operands a run's other steps are not modelled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from analyze.attribution import CATEGORIES
from analyze.cache_model import Node, Recorded, guess, operands, predict, read_execution_trace
from analyze.columns import Signature
from analyze.families import base_name
from analyze.frames import Trace
from analyze.spans import Int64

MOST_KERNELS = 20_000
MOST_BYTES = 1 << 43
LARGEST_OPERAND_BYTES = 1 << 39
"""No device holds more: the record is damaged."""
_SAME_SIZE = math.log(1.01)
_MOST_ANCHORS = 8
_FILLS = frozenset({"zero", "fill", "zeros", "full"})
_MEMSET = CATEGORIES.index("memset")

Floats = np.ndarray[tuple[int, int], np.dtype[np.float64]]


class Device(NamedTuple):
    """What the model has to know of a device."""

    l2_bytes: int
    multiprocessors: int


@dataclass(frozen=True)
class Kernels:
    """Device activities in the order in which they ran, and what their codes stand for.

    ``rows`` has ``name`` and ``signature`` (codes into the lists), ``category`` (of ``CATEGORIES``), ``device``, ``step``
    and ``operator``, the number of an operator's call; signature, step and operator may be null. ``write_bytes`` says
    what a call of a signature writes, where its price is known.
    """

    rows: pl.DataFrame
    names: Sequence[str]
    signatures: Sequence[Signature]
    write_bytes: Mapping[int, float | None]
    devices: Mapping[int, Device]


class Modelled(NamedTuple):
    """``cache_read_bytes`` and ``cache_write_bytes`` of every kernel, null where unknown."""

    bytes: pl.DataFrame
    operands: str | None
    """Where they are from: `execution_trace` or `recorded_shapes`; None if no kernel has bytes."""
    message: str | None
    """What was not modelled, and why."""


def known_devices(rows: Iterable[Mapping[str, Any]]) -> dict[int, Device]:
    """The devices of the table's rows that can be modelled, by index: those whose L2 and multiprocessors are known."""
    return {
        row["device_index"]: Device(row["l2_bytes"], row["multiprocessors"])
        for row in rows
        if row["l2_bytes"] and row["multiprocessors"]
    }


_Calls = Callable[[pl.DataFrame], dict[int, Node]]
"""The calls that kernels belong to, by number; the kernels of a sequence one after the other."""


def from_execution_trace(kernels: Kernels, trace: Trace, path: Path) -> Modelled:
    """Bytes of the kernels whose calls the execution trace knows. Raises :class:`CompanionError`."""

    def calls(rows: pl.DataFrame) -> dict[int, Node]:
        used = rows["operator"].drop_nulls().unique().sort()
        named = zip(used, *trace.operators[used].select("record_id", "name"), strict=True)
        wanted = {call: (record, trace.names[name]) for call, record, name in named if record is not None}
        nodes = read_execution_trace(path, {record for record, _ in wanted.values()})
        known = {call: (nodes.get(record), name) for call, (record, name) in wanted.items()}
        return {call: node for call, (node, name) in known.items() if node and _bare(node.operator) == _bare(name)}

    return _model(kernels, calls, "execution_trace")


def _bare(operator: str) -> str:
    """Without its overload, of which the two writers do not both tell."""
    return operator.partition(".")[0]


def from_recorded_shapes(kernels: Kernels) -> Modelled:
    """Bytes of the kernels whose operator recorded its inputs, tensors told apart by their sizes and order."""

    def calls(rows: pl.DataFrame) -> dict[int, Node]:
        found: dict[int, Node] = {}
        known = rows.drop_nulls(["operator", "signature"])
        for step in known.partition_by("sequence", maintain_order=True):
            first = step.unique("operator", keep="first", maintain_order=True)
            recorded = [_recorded(kernels, code) for code in first["signature"].to_list()]
            found |= dict(zip(first["operator"].to_list(), guess(recorded), strict=True))
        return found

    return _model(kernels, calls, "recorded_shapes")


def _recorded(kernels: Kernels, code: int) -> Recorded:
    writes = kernels.write_bytes.get(code)
    *recorded, concrete = kernels.signatures[code]
    return Recorded(*recorded, None if writes is None else round(writes), concrete)


def _model(kernels: Kernels, calls: _Calls, source: str) -> Modelled:
    groups = _equal_sequences(kernels)
    total = np.cumsum([len(group[0]) for group in groups])
    modelled = [group for group, kernels_so_far in zip(groups, total, strict=True) if kernels_so_far <= MOST_KERNELS]
    values = np.full((2, len(kernels.rows)), np.nan)
    left_out = _predict(kernels, [group[0] for group in modelled], calls, values)
    left_out += sum(len(group[0]) for group in groups[len(modelled) :])
    for first, *others in modelled:
        for other in others:
            values[:, other] = values[:, first]
    frame = pl.DataFrame({"cache_read_bytes": values[0], "cache_write_bytes": values[1]}).fill_nan(None)
    message = f"{left_out:,} distinct kernels were more than the model of the L2 takes on" if left_out else None
    return Modelled(frame, None if np.isnan(values).all() else source, message)


def _predict(kernels: Kernels, sequences: Sequence[Int64], calls: _Calls, values: Floats) -> int:
    """Fill in the bytes read and written by the kernels of sequences; how many kernels were left out as too much."""
    if not sequences:
        return 0
    numbers = np.repeat(np.arange(len(sequences)), [len(rows) for rows in sequences])
    at = np.concatenate(sequences)
    rows = kernels.rows[at].with_columns(row=pl.Series(at), sequence=pl.Series(numbers))
    nodes = {call: node for call, node in calls(rows).items() if _is_plausible(node)}
    rows = rows.select(
        "device",
        kernel="row",
        step="sequence",
        call=pl.when(_does_its_operators_work(kernels, rows)).then("operator"),
        name=pl.Series(kernels.names, dtype=pl.String).gather(rows["name"]),
    )
    left_out = 0
    for device, properties in kernels.devices.items():
        mine = rows.filter(pl.col("device") == device)
        touched = operands(mine, nodes, properties.multiprocessors)
        bearable = _within_bytes(mine, touched)
        left_out += len(mine) - len(bearable)
        found = predict(bearable, touched, properties.l2_bytes)
        found = found.filter(bearable["call"].is_in(list(nodes)).fill_null(False))
        values[:, found["kernel"].to_numpy()] = found.select("dram_read_bytes", "dram_write_bytes").to_numpy().T
    return left_out


def _is_plausible(node: Node) -> bool:
    tensors = [*node.inputs, *node.outputs]
    return bool(tensors) and all(tensor.offset + tensor.span <= LARGEST_OPERAND_BYTES for tensor in tensors)


def _does_its_operators_work(kernels: Kernels, rows: pl.DataFrame) -> pl.Series:
    """All but what fills memory on behalf of an operator that is none of filling, as before a product."""
    fills = [code for code, signature in enumerate(kernels.signatures) if base_name(signature[0]) in _FILLS]
    return (rows["category"] != _MEMSET) | rows["signature"].is_in(fills).fill_null(False)


def _within_bytes(kernels: pl.DataFrame, touched: pl.DataFrame) -> pl.DataFrame:
    """The kernels of the first steps that touch no more than ``MOST_BYTES`` together."""
    spans = touched.group_by("kernel").agg(pl.col("span").cast(pl.Float64).sum())
    by_step = kernels.join(spans, on="kernel", how="left").group_by("step").agg(pl.col("span").sum()).sort("step")
    return kernels.join(by_step.filter(pl.col("span").cum_sum() <= MOST_BYTES), on="step", how="semi")


# Which kernels follow each other.


def _equal_sequences(kernels: Kernels) -> list[list[Int64]]:
    """Positions of the kernels of each sequence, those of equal sequences together, in the order they first came."""
    rows = kernels.rows.with_row_index("row").filter(pl.col("device").is_in(list(kernels.devices)))
    # codes in the order of the names, which does not depend on that of the events
    code = pl.Series(kernels.names, dtype=pl.String).rank("dense").cast(pl.Int64)
    rows = rows.with_columns(name=code.gather(rows["name"]))
    rows = rows.with_columns(elements=_elements(kernels).gather(rows["signature"].fill_null(len(kernels.signatures))))
    groups: dict[tuple[object, ...], list[Int64]] = {}
    for (device, step), part in rows.partition_by("device", "step", as_dict=True, maintain_order=True).items():
        names, elements, at = (part[column].to_numpy() for column in ("name", "elements", "row"))
        for cut in _cuts(names) if step is None else [slice(None)]:
            size = round(math.log1p(float(elements[cut].sum())) / _SAME_SIZE)
            groups.setdefault((device, names[cut].tobytes(), size), []).append(at[cut].astype(np.int64))
    return list(groups.values())


def _elements(kernels: Kernels) -> pl.Series:
    """Elements of the inputs of each signature, and 0 for none."""
    return pl.Series([*(_count(signature[1]) for signature in kernels.signatures), 0.0])


def _count(dims: bytes) -> float:
    try:
        return _product(msgspec.json.decode(dims)) if dims else 0.0
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return 0.0


def _product(dims: Any) -> float:
    """The sum over nested lists of the product of the sizes in them."""
    if not isinstance(dims, list) or not dims:
        return 0.0
    if all(isinstance(size, int) for size in dims):
        return math.prod(min(float(abs(size)), 1e12) for size in dims[:16])
    return sum(map(_product, dims))


def _cuts(names: Int64) -> list[slice]:
    """Where a sequence without steps begins anew: at the kernel that leaves the fewest distinct ones, or nowhere."""
    times = np.bincount(names)
    rarest = np.argsort(np.where(times > 1, times, len(names) + 1), kind="stable")[:_MOST_ANCHORS]
    candidates = [_cut_before(np.flatnonzero(names == name), len(names)) for name in rarest if times[name] > 1]
    return min([[slice(0, len(names))], *candidates], key=lambda cuts: _distinct(names, cuts))


def _cut_before(positions: Int64, end: int) -> list[slice]:
    bounds = np.unique([0, *positions, end]).tolist()
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def _distinct(names: Int64, cuts: Sequence[slice]) -> int:
    """Kernels in the distinct ones among the parts."""
    return sum(len(part) for part in {names[cut].tobytes() for cut in cuts}) // names.itemsize
