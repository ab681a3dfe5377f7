"""DRAM bytes of a run's kernels by the model of the L2, from the tensors of their operators' calls.

Kernels are modelled sequence by sequence, equal sequences once (:mod:`ridgeline.analyze.cache_model.sequences`). The
tensors of a call come from the execution trace, if there is one and it has the call's number and name. In a run without
one they are guessed (:mod:`ridgeline.analyze.cache_model.heuristic`), and the bytes of each sequence are stored in the
warehouse, like prices. A kernel with an unknown call has no bytes, and a kernel without an operator takes no part.
Beyond ``MOST_KERNELS`` distinct kernels or ``MOST_BYTES`` of operands, a run's other sequences are not modelled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.spans import Int64
from ridgeline.analyze.cache_model import VERSION
from ridgeline.analyze.cache_model.execution_trace import read_execution_trace
from ridgeline.analyze.cache_model.heuristic import Record, Recorded, guess, recorded
from ridgeline.analyze.cache_model.l2 import Simulation
from ridgeline.analyze.cache_model.launches import addresses
from ridgeline.analyze.cache_model.launches import touched as touches_of
from ridgeline.analyze.cache_model.launches.experts import read_shares
from ridgeline.analyze.cache_model.launches.launch import Call, Node
from ridgeline.analyze.cache_model.predict import predict
from ridgeline.analyze.cache_model.sequences import Device, Kernels, equal_sequences, sequence_id
from ridgeline.analyze.cache_model.simulation import Run
from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.reading.trace import Trace
from ridgeline.analyze.resources.limits import STANDARD, Limits

MOST_KERNELS = 100_000
"""Distinct kernels. They take about 3 s at 30 µs each; if every kernel has a signature of its own, 24 s."""
MOST_BYTES = 1 << 45
"""Bytes of operands, which are 2 to 3 s of the simulation."""
FEWEST_KERNELS = 32
"""Kernels of the shortest sequence with guessed operands: a shorter one depends more on unknown earlier kernels."""
LARGEST_OPERAND_BYTES = 1 << 39
"""No device holds more: a longer operand is a damaged record."""
_MOST_UNUSED = 4
"""The largest ratio of an operator's tensors to the bytes that it moves."""

Floats = np.ndarray[tuple[int, int], np.dtype[np.float64]]


SequenceBytes = dict[str, Floats]
"""By the sequence's id: bytes read and bytes written (two rows) by its kernels, NaN where unknown."""
Recall = Callable[[Sequence[str]], SequenceBytes]
"""Returns the stored ones among the sequences with the given ids."""


class Modelled(NamedTuple):
    """``cache_read_bytes`` and ``cache_write_bytes`` of every kernel, null where unknown."""

    bytes: pl.DataFrame
    operands: str | None
    """The source of the operands: `execution_trace` or `recorded_shapes`; None if no kernel has bytes."""
    message: str | None
    """How much was not modelled, and why."""
    new: SequenceBytes
    """Sequences to store."""


def known_devices(rows: Iterable[Mapping[str, Any]], places: Mapping[int, tuple[int, int]]) -> dict[int, Device]:
    """The devices that can be modelled: those for which ``rows`` of the table have L2 size and multiprocessors.

    ``places`` maps the device numbers of kernels to rank and index.
    """
    by_place = {
        (row["rank"], row["device_index"]): Device(row["l2_bytes"], row["multiprocessors"])
        for row in rows
        if row["l2_bytes"] and row["multiprocessors"]
    }
    return {number: by_place[place] for number, place in places.items() if place in by_place}


_Calls = Callable[[pl.DataFrame], dict[int, Call]]
"""Returns the calls of kernels by number; the kernels of each sequence are consecutive."""


def from_execution_trace(
    kernels: Kernels, trace: Trace, path: Path, limits: Limits = STANDARD, run: Run = Simulation.run
) -> Modelled:
    """Bytes of the kernels whose calls are in the execution trace. Raises :class:`CompanionError`.

    ``run`` runs the simulation.
    """

    def bare(operator: str) -> str:
        """The name without its overload, which only one of the two writers records."""
        return operator.partition(".")[0]

    def calls(rows: pl.DataFrame) -> dict[int, Call]:
        used = rows["operator"].drop_nulls().unique().sort()
        columns = zip(used, *trace.operators[used].select("record_id", "name"), strict=True)
        requested = {call: (record, trace.names[name]) for call, record, name in columns if record is not None}
        recorded = read_execution_trace(path, {record for record, _ in requested.values()}, limits)
        matched = {number: (recorded.get(record), name) for number, (record, name) in requested.items()}
        return {
            number: call for number, (call, name) in matched.items() if call and bare(call.form.operator) == bare(name)
        }

    return _model(kernels, calls, "execution_trace", run)


def from_recorded_shapes(kernels: Kernels, recall: Recall = lambda _: {}, run: Run = Simulation.run) -> Modelled:
    """Bytes of the kernels whose operator recorded its inputs; sizes and order tell the tensors apart.

    There are no bytes where an operator's price is uncertain, or where it uses unknown parts of its tensors. ``run``
    runs the simulation.
    """

    of_codes: dict[int, Recorded] = {}
    records: dict[Recorded, Record] = {}
    usable: dict[tuple[int, int], bool] = {}

    def recorded_call(code: int) -> Recorded:
        if code not in of_codes:
            of_codes[code] = recorded(kernels.signatures[code], kernels.prices.get(code))
        return of_codes[code]

    def uses_all(form: Node, code: int) -> bool:
        price = kernels.prices.get(code)
        if not price or price["confidence"] != "high" or price["read_bytes"] is None or price["write_bytes"] is None:
            return False
        moved = price["read_bytes"] + price["write_bytes"]
        tensors = sum(tensor.bytes for tensor in (*form.inputs, *form.outputs))
        return addresses(form.operator) or tensors <= _MOST_UNUSED * moved

    def calls(rows: pl.DataFrame) -> dict[int, Call]:
        guessed: dict[int, Call] = {}
        recorded_rows = rows.drop_nulls(["operator", "signature"]).select("sequence", "operator", "signature")
        for step in recorded_rows.partition_by("sequence", maintain_order=True):
            first = step.unique("operator", keep="first", maintain_order=True)
            operators, codes = first["operator"].to_list(), first["signature"].to_list()
            made = guess([*map(recorded_call, codes)], records)
            for number, code, call in zip(operators, codes, made, strict=True):
                key = code, id(call.form)
                if key not in usable:
                    usable[key] = uses_all(call.form, code)
                if usable[key]:
                    guessed[number] = call
        return guessed

    return _model(kernels, calls, "recorded_shapes", run, recall)


def _model(kernels: Kernels, calls: _Calls, source: str, run: Run, recall: Recall | None = None) -> Modelled:
    """Bytes of all kernels; with ``recall``, stored bytes where there are any, and none of very short sequences."""
    groups = [group for group in equal_sequences(kernels) if not recall or len(group[0]) >= FEWEST_KERNELS]
    total = np.cumsum([len(group[0]) for group in groups])
    modelled = [group for group, kernels_so_far in zip(groups, total, strict=True) if kernels_so_far <= MOST_KERNELS]
    left_out = sum(len(group[0]) for group in groups[len(modelled) :])
    values = np.full((2, len(kernels.rows)), np.nan)
    # The first sequence of each group is modelled, and its bytes are copied to the others.
    first = {
        sequence_id(kernels, rows, VERSION, RULES_VERSION) if recall else str(i): rows
        for i, (rows, *_) in enumerate(modelled)
    }
    stored = recall(list(first)) if recall else {}
    for identifier, bytes_of in stored.items():
        values[:, first[identifier]] = bytes_of
    missing = {identifier: rows for identifier, rows in first.items() if identifier not in stored}
    left_out += _predict(kernels, list(missing.values()), calls, run, values)
    for rows, *others in modelled:
        for other in others:
            values[:, other] = values[:, rows]
    shares = read_shares(kernels.rows, kernels.names, kernels.signatures)
    frame = pl.DataFrame({"cache_read_bytes": values[0] * shares, "cache_write_bytes": values[1]}).fill_nan(None)
    message = f"{left_out:,} distinct kernels exceed the limits of the model of the L2" if left_out else None
    # A sequence without bytes is not stored, so that every run's message counts the kernels left out.
    of_missing = {identifier: values[:, rows] for identifier, rows in missing.items()} if recall else {}
    new = {identifier: bytes_of for identifier, bytes_of in of_missing.items() if not np.isnan(bytes_of).all()}
    return Modelled(frame, None if np.isnan(values).all() else source, message, new)


def _predict(kernels: Kernels, sequences: Sequence[Int64], calls: _Calls, run: Run, values: Floats) -> int:
    """Write the bytes that each kernel reads and writes into ``values``; returns the number of kernels left out."""
    if not sequences:
        return 0
    # one row for each kernel of each sequence, sequences one after the other
    numbers = np.repeat(np.arange(len(sequences)), [len(rows) for rows in sequences])
    at = np.concatenate(sequences)
    rows = kernels.rows[at].with_columns(row=pl.Series(at), sequence=pl.Series(numbers))
    known = within_memory(calls(rows))
    rows = rows.select(
        "device",
        kernel="row",
        step="sequence",
        call="operator",
        name=pl.Series(kernels.names, dtype=pl.String).gather(rows["name"]),
    )
    left_out = 0
    for device, properties in kernels.devices.items():
        mine = rows.filter(pl.col("device") == device)
        touched, undivided = touches_of(mine, known, properties.multiprocessors)
        # Keep the steps with the smallest operands, MOST_BYTES together at most.
        spans = touched.group_by("kernel").agg(pl.col("span").cast(pl.Float64).sum())
        by_step = mine.join(spans, on="kernel", how="left").group_by("step").agg(pl.col("span").sum())
        smallest = by_step.sort("span", "step").filter(pl.col("span").cum_sum() <= MOST_BYTES)
        kept = mine.join(smallest, on="step", how="semi")
        predicted = predict(kept, touched, properties.l2_bytes, run=run)
        left_out += len(mine) - len(kept) + int(predicted["dram_read_bytes"].is_nan().sum())
        # A memset touches something if the trace or a rule says what it fills.
        works = ~kept["name"].str.starts_with("Memset") | kept["kernel"].is_in(touched["kernel"].implode())
        works &= ~kept["kernel"].is_in(list(undivided))
        predicted = predicted.filter(kept["call"].is_in(list(known)).fill_null(False) & works)
        values[:, predicted["kernel"].to_numpy()] = predicted.select("dram_read_bytes", "dram_write_bytes").to_numpy().T
    return left_out


def within_memory(calls: Mapping[int, Call]) -> dict[int, Call]:
    """Return the calls that have tensors and whose tensors all fit the memory of a device."""
    forms = {id(call.form): call.form for call in calls.values()}
    tensors = {number: (*form.inputs, *form.outputs) for number, form in forms.items()}
    # A broadcast tensor spans little, but as many elements must fit into 64 bits.
    spans = {
        number: max(max(tensor.span, math.prod(tensor.shape)) for tensor in parts)
        for number, parts in tensors.items()
        if parts
    }

    def end(call: Call) -> int:
        return max(offset for _, offset in call.places) + spans[id(call.form)]

    return {number: call for number, call in calls.items() if call.places and end(call) <= LARGEST_OPERAND_BYTES}


def stored_sequences(connection: duckdb.DuckDBPyConnection, identifiers: Sequence[str]) -> SequenceBytes:
    """The sequences with ``identifiers`` that the warehouse has."""
    query = "SELECT sequence_id, read_bytes, write_bytes FROM sequences WHERE list_contains(?, sequence_id)"
    rows = connection.execute(query, [list(identifiers)]).fetchall()
    return {identifier: np.array([read, written], dtype=np.float64) for identifier, read, written in rows}


def sequence_rows(new: SequenceBytes) -> list[dict[str, Any]]:
    """Rows of ``sequences``."""
    return [
        {"sequence_id": identifier, "read_bytes": read.tolist(), "write_bytes": written.tolist()}
        for identifier, (read, written) in new.items()
    ]
