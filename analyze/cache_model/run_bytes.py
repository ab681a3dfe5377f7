"""DRAM bytes of a run's kernels by the model of the L2: from what is known of their calls' tensors.

Kernels are modelled sequence by sequence, equal ones once (:mod:`ridgeline.analyze.cache_model.sequences`). The tensors
of a call are those of the execution trace, where there is one and it knows the call by number and name. In a run
without one they are guessed (:mod:`ridgeline.analyze.cache_model.heuristic`), and what follows from a sequence is
remembered in the warehouse, as prices are. A kernel whose call nobody knows has no bytes, and one of no operator takes
no part. Beyond ``MOST_KERNELS`` distinct kernels or ``MOST_BYTES`` of operands a run's other sequences are not
modelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.operators import CATEGORIES
from ridgeline.analyze.attribution.spans import Int64
from ridgeline.analyze.cache_model import (
    VERSION,
    Node,
    Recorded,
    addresses,
    guess,
    operands,
    predict,
    read_execution_trace,
)
from ridgeline.analyze.cache_model.sequences import Device, Kernels, equal_sequences, sequence_id
from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.reading.trace import Trace
from ridgeline.analyze.resources.limits import STANDARD, Limits

MOST_KERNELS = 20_000
MOST_BYTES = 1 << 43
FEWEST_KERNELS = 32
"""Of a sequence whose operands are guessed: what ran before fewer matters more, and is unknown."""
LARGEST_OPERAND_BYTES = 1 << 39
"""No device holds more: the record is damaged."""
_MOST_UNUSED = 4
"""Times the bytes that an operator moves that its tensors may have."""
_FILLS = frozenset({"zero", "fill", "zeros", "full"})
_MEMSET = CATEGORIES.index("memset")

Floats = np.ndarray[tuple[int, int], np.dtype[np.float64]]


Remembered = dict[str, Floats]
"""Bytes read and bytes written (two rows) by the kernels of a sequence, NaN where unknown, by the sequence's id."""
Recall = Callable[[Sequence[str]], Remembered]


class Modelled(NamedTuple):
    """``cache_read_bytes`` and ``cache_write_bytes`` of every kernel, null where unknown."""

    bytes: pl.DataFrame
    operands: str | None
    """Where they are from: `execution_trace` or `recorded_shapes`; None if no kernel has bytes."""
    message: str | None
    """What was not modelled, and why."""
    new: Remembered
    """What can be remembered."""


def known_devices(rows: Iterable[Mapping[str, Any]], places: Mapping[int, tuple[int, int]]) -> dict[int, Device]:
    """The devices that can be modelled: those whose L2 and multiprocessors the table's rows know.

    ``places`` holds rank and index of each device by the number that kernels have for it.
    """
    known = {
        (row["rank"], row["device_index"]): Device(row["l2_bytes"], row["multiprocessors"])
        for row in rows
        if row["l2_bytes"] and row["multiprocessors"]
    }
    return {number: known[place] for number, place in places.items() if place in known}


_Calls = Callable[[pl.DataFrame], dict[int, Node]]
"""The calls that kernels belong to, by number; the kernels of a sequence one after the other."""


def from_execution_trace(kernels: Kernels, trace: Trace, path: Path, limits: Limits = STANDARD) -> Modelled:
    """Bytes of the kernels whose calls the execution trace knows. Raises :class:`CompanionError`."""

    def calls(rows: pl.DataFrame) -> dict[int, Node]:
        used = rows["operator"].drop_nulls().unique().sort()
        named = zip(used, *trace.operators[used].select("record_id", "name"), strict=True)
        wanted = {call: (record, trace.names[name]) for call, record, name in named if record is not None}
        nodes = read_execution_trace(path, {record for record, _ in wanted.values()}, limits)
        known = {call: (nodes.get(record), name) for call, (record, name) in wanted.items()}
        return {call: node for call, (node, name) in known.items() if node and _bare(node.operator) == _bare(name)}

    return _model(kernels, calls, "execution_trace")


def _bare(operator: str) -> str:
    """Without its overload, of which the two writers do not both tell."""
    return operator.partition(".")[0]


def from_recorded_shapes(kernels: Kernels, recall: Recall = lambda _: {}) -> Modelled:
    """Bytes of the kernels whose operator recorded its inputs, tensors told apart by their sizes and order.

    An operator whose price is uncertain, or a fraction of its tensors, uses parts of them that nobody knows: none.
    """

    def calls(rows: pl.DataFrame) -> dict[int, Node]:
        found: dict[int, Node] = {}
        known = rows.drop_nulls(["operator", "signature"])
        for step in known.partition_by("sequence", maintain_order=True):
            first = step.unique("operator", keep="first", maintain_order=True)
            codes = first["signature"].to_list()
            nodes = guess([_recorded(kernels, code) for code in codes])
            called = zip(first["operator"].to_list(), nodes, codes, strict=True)
            found |= {call: node for call, node, code in called if _uses_all(node, kernels.prices.get(code))}
        return found

    return _model(kernels, calls, "recorded_shapes", recall)


def _recorded(kernels: Kernels, code: int) -> Recorded:
    writes = kernels.prices.get(code, {}).get("write_bytes")
    operator, dims, types, strides, concrete = kernels.signatures[code]
    return Recorded(operator, dims, types, strides, None if writes is None else round(writes), concrete)


def _uses_all(node: Node, price: Mapping[str, Any] | None) -> bool:
    if not price or price["confidence"] != "high" or price["read_bytes"] is None or price["write_bytes"] is None:
        return False
    moved = price["read_bytes"] + price["write_bytes"]
    tensors = sum(tensor.bytes for tensor in (*node.inputs, *node.outputs))
    return addresses(node.operator) or tensors <= _MOST_UNUSED * moved


def _model(kernels: Kernels, calls: _Calls, source: str, recall: Recall | None = None) -> Modelled:
    groups = [group for group in equal_sequences(kernels) if not recall or len(group[0]) >= FEWEST_KERNELS]
    total = np.cumsum([len(group[0]) for group in groups])
    modelled = [group for group, kernels_so_far in zip(groups, total, strict=True) if kernels_so_far <= MOST_KERNELS]
    left_out = sum(len(group[0]) for group in groups[len(modelled) :])
    values = np.full((2, len(kernels.rows)), np.nan)
    first = {
        sequence_id(kernels, rows, VERSION, RULES_VERSION) if recall else str(i): rows
        for i, (rows, *_) in enumerate(modelled)
    }
    known = recall(list(first)) if recall else {}
    for identifier, bytes_of in known.items():
        values[:, first[identifier]] = bytes_of
    unknown = {identifier: rows for identifier, rows in first.items() if identifier not in known}
    left_out += _predict(kernels, list(unknown.values()), calls, values)
    for rows, *others in modelled:
        for other in others:
            values[:, other] = values[:, rows]
    frame = pl.DataFrame({"cache_read_bytes": values[0], "cache_write_bytes": values[1]}).fill_nan(None)
    message = f"{left_out:,} distinct kernels were more than the model of the L2 takes on" if left_out else None
    # what was left out is to be said each time, so it is not remembered
    told = {identifier: values[:, rows] for identifier, rows in unknown.items()} if recall else {}
    new = {identifier: bytes_of for identifier, bytes_of in told.items() if not np.isnan(bytes_of).all()}
    return Modelled(frame, None if np.isnan(values).all() else source, message, new)


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
    """The kernels of the steps that touch least, ``MOST_BYTES`` together at most."""
    spans = touched.group_by("kernel").agg(pl.col("span").cast(pl.Float64).sum())
    by_step = kernels.join(spans, on="kernel", how="left").group_by("step").agg(pl.col("span").sum())
    least = by_step.sort("span", "step").filter(pl.col("span").cum_sum() <= MOST_BYTES)
    return kernels.join(least, on="step", how="semi")


# What the warehouse remembers.


def recall(connection: duckdb.DuckDBPyConnection, identifiers: Sequence[str]) -> Remembered:
    """The sequences among those named that the warehouse has."""
    query = "SELECT sequence_id, read_bytes, write_bytes FROM sequences WHERE list_contains(?, sequence_id)"
    rows = connection.execute(query, [list(identifiers)]).fetchall()
    return {identifier: np.array([read, written], dtype=np.float64) for identifier, read, written in rows}


def sequence_rows(new: Remembered) -> list[dict[str, Any]]:
    """Rows of ``sequences``."""
    return [
        {"sequence_id": identifier, "read_bytes": read.tolist(), "write_bytes": written.tolist()}
        for identifier, (read, written) in new.items()
    ]
