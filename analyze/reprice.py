"""New prices for what a warehouse holds: the current rules over stored signatures, without the traces.

What a rule can change is recomputed: prices and families of signatures, families, units and precisions of kernels,
shares of an operator's cost, bytes by the model of the L2 where their operands were guessed, and the ledger's account
of prices. Everything else was read from the trace and its companions and stays.

Two things cannot be had without the trace; a run that needs one keeps its kernels and its old version of the rules, so
that the next `ridgeline analyze` loads it anew, and is named in the answer:

- On a machine without a device an operator that has a kernel of its own stands for all that runs inside it. A rule that
  gives one such a price removes those inside; where a rule takes it away, they would have to come back.
- Shares that graph replays learned from a twin are by the twin's durations. They hold as long as the same kernels are
  on the tensor units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.operators import CATEGORIES
from ridgeline.analyze.attribution.spans import ROOT, Int64, nearest, take
from ridgeline.analyze.cache_model.run_bytes import (
    Modelled,
    from_recorded_shapes,
    known_devices,
    sequence_rows,
    stored_sequences,
)
from ridgeline.analyze.cache_model.sequences import Kernels
from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.pricing.compute_unit import unit_and_precision
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.pricer import Pricer
from ridgeline.analyze.pricing.stored_prices import RECORDED, WARNS, Record, price_records, warnings
from ridgeline.analyze.reading.columns import Interned, Signature
from ridgeline.analyze.run import composite
from ridgeline.analyze.tables.gaps import operator_gap_rows
from ridgeline.analyze.tables.kernels import shares
from ridgeline.analyze.tables.steps import busy_spans
from ridgeline.warehouse import connect
from ridgeline.warehouse.database import transaction
from ridgeline.warehouse.digests import store_digests
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.load import account_prices, insert, store_sequences
from ridgeline.warehouse.rollups import refresh

_PRICED = (
    "family", "flops", "read_bytes", "write_bytes", "precision", "composite", "method", "confidence", "rules_version",
)  # fmt: skip
"""Columns of ``signatures`` that rules decide."""
_UNDECODABLE = "\ufffd"
"""Stands in the warehouse for bytes that were no text."""


@dataclass
class Repriced:
    """What repricing did."""

    runs: int = 0
    signatures: int = 0
    changed: int = 0
    """Signatures whose price is another than before."""
    stale: list[str] = field(default_factory=list)
    """Names of the runs that need their trace again."""


def reprice(warehouse: Path) -> Repriced:
    """Apply the current rules to everything in the warehouse, all or nothing.

    Raises :class:`WarehouseError` if there is none or it cannot be opened.
    """
    if not warehouse.exists():
        raise WarehouseError(f"{warehouse}: no such warehouse: make one with `ridgeline analyze PATH -w {warehouse}`")
    connection = connect(warehouse)
    try:
        with transaction(connection), Pricer() as pricer:
            done = _reprice(connection, pricer)
            store_digests(connection)
    finally:
        connection.close()
    return done


def _reprice(connection: duckdb.DuckDBPyConnection, pricer: Pricer) -> Repriced:
    stored = _records(connection, "SELECT * FROM signatures ORDER BY signature_id")
    records, why = price_records({row["signature_id"]: _signature(row) for row in stored}, pricer)
    # what PyTorch said by these rules before holds, where it did not come to say it again
    records = [
        old if old["rules_version"] == -new["rules_version"] > 0 else new
        for old, new in zip(stored, records, strict=True)
    ]
    changed = [new for old, new in zip(stored, records, strict=True) if any(new[c] != old[c] for c in _PRICED)]
    _update_signatures(connection, changed)
    different = sum(any(new[c] != old[c] for c in _PRICED[:-1]) for old, new in zip(stored, records, strict=True))
    done = Repriced(signatures=len(stored), changed=different)
    prices = {record["signature_id"]: record for record in records}
    connection.execute("DELETE FROM sequences")
    connection.execute("DELETE FROM warnings WHERE source = ?", [WARNS])
    for run_id, name in connection.execute("SELECT run_id, name FROM runs ORDER BY name, run_id").fetchall():
        done.runs += 1
        _store_warnings(connection, run_id, prices, why)
        if _reprice_run(connection, run_id, prices):
            connection.execute("UPDATE runs SET rules_version = ? WHERE run_id = ?", [RULES_VERSION, run_id])
        else:
            done.stale.append(name)
    return done


def _store_warnings(
    connection: duckdb.DuckDBPyConnection, run_id: str, prices: dict[str, Record], why: dict[str, str]
) -> None:
    """Say of a run which of its prices were cut short."""
    used = connection.execute("SELECT DISTINCT signature_id FROM kernel_classes WHERE run_id = ? ORDER BY 1", [run_id])
    records = [prices[identifier] for (identifier,) in used.fetchall() if identifier in prices]
    for line in warnings(records, why):
        connection.execute("INSERT INTO warnings VALUES (?, ?, ?)", [run_id, WARNS, line])


def _signature(row: Record) -> Signature:
    """As it was recorded; what could not be decoded then cannot be now."""
    texts = [(row[column] or "").encode() for column in RECORDED]
    shapes, dtypes, strides, concrete = (b"\xff" if _UNDECODABLE.encode() in text else text for text in texts)
    return (row["operator"], shapes, dtypes, strides, concrete)


def _update_signatures(connection: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> None:
    if records:
        assignments = ", ".join(f"{column} = ?" for column in _PRICED)
        values = [[*(record[column] for column in _PRICED), record["signature_id"]] for record in records]
        connection.executemany(f"UPDATE signatures SET {assignments} WHERE signature_id = ?", values)


def _reprice_run(connection: duckdb.DuckDBPyConnection, run_id: str, prices: dict[str, Record]) -> bool:
    """Recompute what depends on prices; False where the trace is needed for all of it."""
    kernels = _frame(
        connection,
        "SELECT kernel_id, class_id, operator_id AS operator, start_ns, duration_ns, trace_bytes, share, step_id,"
        " rank, device_index FROM kernels WHERE run_id = ? ORDER BY kernel_id",
        run_id,
    )
    if kernels.is_empty():
        return True
    stored = _records(connection, "SELECT * FROM kernel_classes WHERE run_id = ? ORDER BY class_id", run_id)
    on_cpu = stored[0]["category"] == "operator"
    classes = [_describe(row, prices.get(row["signature_id"]), on_cpu=on_cpu) for row in stored]
    is_whole = on_cpu or not _moved_units(stored, classes)
    kernels = kernels.with_columns(carries_cost=pl.col("trace_bytes").is_null(), old_id="kernel_id")
    if on_cpu:
        kept = _stand_ins(connection, run_id, kernels, classes, prices)
        kernels, is_whole = kept.kernels, kept.is_whole
    kernels = _with_shares(kernels, classes)
    _store(connection, run_id, kernels, classes)
    if on_cpu:
        _store_times(connection, run_id, kernels)
    else:
        _remodel(connection, run_id, prices)
    refresh(connection, [run_id])
    account_prices(connection, [run_id])
    return is_whole


def _describe(row: Record, price: Record | None, *, on_cpu: bool) -> Record:
    """A class of kernels with what its price says anew."""
    found = family(price["operator"] if price else None, row["kernel"], row["category"])
    computes = price is not None and row["category"] not in ("memcpy", "memset")
    precision = price["precision"] if price and computes else None
    unit, precision = unit_and_precision(found, row["kernel"], precision, on_cpu=on_cpu)
    return row | {"family": found, "unit": unit, "precision": precision}


def _moved_units(stored: Iterable[Record], classes: Iterable[Record]) -> bool:
    """Whether kernels whose share a twin told came to the tensor units or left them."""
    return any(
        old["attribution"] == "graph_twin" and (old["unit"] == "tensor") != (new["unit"] == "tensor")
        for old, new in zip(stored, classes, strict=True)
    )


def _with_shares(kernels: pl.DataFrame, classes: Sequence[Record]) -> pl.DataFrame:
    """Kernels with their operator's cost shared anew; what a twin told stays."""
    known = pl.DataFrame(
        {
            "class_id": pl.Series([row["class_id"] for row in classes], dtype=pl.Int64),
            "on_tensor_unit": [row["unit"] == "tensor" for row in classes],
            "is_told": [row["attribution"] == "graph_twin" for row in classes],
        }
    )
    facts = kernels.join(known, on="class_id", how="left", maintain_order="left")
    facts = facts.with_columns(new_share=shares(facts))
    return facts.with_columns(share=pl.when("is_told").then("share").otherwise("new_share")).drop("new_share")


def _remodel(connection: duckdb.DuckDBPyConnection, run_id: str, prices: dict[str, Record]) -> None:
    """Bytes by the model of the L2 anew; those that an execution trace told do not depend on prices."""
    query = "SELECT cache_model_operands FROM runs WHERE run_id = ?"
    if connection.execute(query, [run_id]).fetchall() == [("execution_trace",)]:
        return
    rows = connection.execute(
        "SELECT kernel, signature_id, category, step_id, operator_id, rank, device_index FROM kernels"
        " JOIN kernel_classes USING (run_id, class_id) WHERE run_id = ? ORDER BY kernel_id",
        [run_id],
    ).fetchall()
    names, signatures, devices = Interned(), Interned(), Interned()
    coded = [
        (
            names[kernel], None if signature is None else signatures[signature], CATEGORIES.index(category),
            step, operator, devices[tuple(device)],
        )
        for kernel, signature, category, step, operator, *device in rows
    ]  # fmt: skip
    columns = ("name", "signature", "category", "step", "operator", "device")
    frame = pl.DataFrame(coded, schema=dict.fromkeys(columns, pl.Int64), orient="row")
    used = [prices[signature] for signature in signatures]
    rows_of_devices = _records(connection, "SELECT * FROM devices WHERE run_id = ?", run_id)
    known = known_devices(rows_of_devices, {code: place for place, code in devices.items()})
    kernels = Kernels(frame, list(names), [_signature(row) for row in used], dict(enumerate(used)), known)
    modelled = from_recorded_shapes(kernels, partial(stored_sequences, connection))
    store_sequences(connection, sequence_rows(modelled.new))
    _store_modelled(connection, run_id, modelled)


def _store_modelled(connection: duckdb.DuckDBPyConnection, run_id: str, modelled: Modelled) -> None:
    """Write the model's bytes where they were."""
    arrays = {
        column.name: np.ma.masked_array(column.fill_null(0).to_numpy(), column.is_null().to_numpy())
        for column in modelled.bytes
    }
    connection.register("repriced", {"kernel_id": np.arange(len(modelled.bytes)), **arrays})
    connection.execute(
        "UPDATE kernels SET cache_read_bytes = n.cache_read_bytes, cache_write_bytes = n.cache_write_bytes"
        " FROM repriced n WHERE kernels.run_id = ? AND kernels.kernel_id = n.kernel_id"
        " AND (kernels.cache_read_bytes IS DISTINCT FROM n.cache_read_bytes"
        " OR kernels.cache_write_bytes IS DISTINCT FROM n.cache_write_bytes)",
        [run_id],
    )
    connection.unregister("repriced")
    connection.execute("UPDATE runs SET cache_model_operands = ? WHERE run_id = ?", [modelled.operands, run_id])


# Operators in the place of kernels, on a machine without a device.


class _StandIns(NamedTuple):
    """The operators that stand for kernels by the new prices, in order, and whether none is missing."""

    kernels: pl.DataFrame
    is_whole: bool


def _stand_ins(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    kernels: pl.DataFrame,
    classes: Sequence[Record],
    prices: dict[str, Record],
) -> _StandIns:
    """As :func:`ridgeline.analyze.attribution.operators.operator_activities` chooses them, among those that stand there
    now."""
    operators = _frame(
        connection,
        "SELECT parent_id, duration_ns FROM operators WHERE run_id = ? ORDER BY operator_id",
        run_id,
    )
    parent = operators["parent_id"].cast(pl.Int64).fill_null(ROOT).to_numpy()
    duration_ns = operators["duration_ns"].to_numpy()
    level = {row["class_id"]: composite(prices.get(row["signature_id"])) for row in classes}
    standing = kernels["operator"].cast(pl.Int64).to_numpy()
    has_inside = np.isin(np.arange(len(parent)), parent)
    only_calls = np.ones(len(parent), dtype=bool)
    only_calls[standing] = np.array([level[c] for c in kernels["class_id"]]) + has_inside[standing] >= 2
    missing = _hidden(parent, standing) & only_calls
    only_calls[missing] = False
    is_inside = take(nearest(parent, ~only_calls), parent) != ROOT
    children_ns = np.zeros(len(parent), dtype=np.int64)
    np.add.at(children_ns, parent[parent != ROOT], duration_ns[parent != ROOT])
    own_ns = np.where(only_calls, np.maximum(duration_ns - children_ns, 0), duration_ns)
    kept = kernels.with_columns(
        duration_ns=pl.Series(own_ns[standing]), carries_cost=pl.Series(~only_calls[standing])
    ).filter(pl.Series(~is_inside[standing]))
    return _StandIns(kept.with_columns(kernel_id=pl.int_range(pl.len(), dtype=pl.Int64)), not missing.any())


def _hidden(parent: Int64, standing: Int64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """For each operator whether it has others right inside that do not stand there themselves."""
    stands = np.zeros(len(parent), dtype=bool)
    stands[standing] = True
    hides = np.zeros(len(parent), dtype=bool)
    hides[parent[~stands & (parent != ROOT)]] = True
    return hides & stands


def _store_times(connection: duckdb.DuckDBPyConnection, run_id: str, kernels: pl.DataFrame) -> None:
    """What counts the operators that stand there: steps, the account of attribution, device time, their signatures."""
    total_ns, count = int(kernels["duration_ns"].sum()), len(kernels)
    connection.execute("UPDATE runs SET device_time_ns = ? WHERE run_id = ?", [total_ns, run_id])
    connection.execute(
        "UPDATE ledger SET kernels = ?, duration_ns = ? WHERE run_id = ? AND account = 'attribution'",
        [count, total_ns, run_id],
    )
    connection.execute(
        "UPDATE operators SET signature_id = NULL WHERE run_id = ? AND signature_id NOT IN"
        " (SELECT signature_id FROM kernel_classes WHERE run_id = ? AND signature_id IS NOT NULL)",
        [run_id, run_id],
    )
    for step_id, start_ns, end_ns, busy_ns in busy_spans(kernels, "step_id").iter_rows():
        connection.execute(
            "UPDATE steps SET start_ns = ?, end_ns = ?, busy_ns = ? WHERE run_id = ? AND step_id = ?",
            [start_ns, end_ns, busy_ns, run_id, step_id],
        )
    _store_gaps(connection, run_id, kernels)


def _store_gaps(connection: duckdb.DuckDBPyConnection, run_id: str, kernels: pl.DataFrame) -> None:
    gaps = operator_gap_rows(kernels, "step_id")
    connection.execute("DELETE FROM gaps WHERE run_id = ?", [run_id])
    insert(connection, "gaps", gaps, run_id)


# Between tables and frames.


def _store(
    connection: duckdb.DuckDBPyConnection, run_id: str, kernels: pl.DataFrame, classes: Sequence[Record]
) -> None:
    """Write kernels and their classes where they were, classes numbered by their first kernel; others are removed."""
    numbers = {old: new for new, old in enumerate(kernels["class_id"].unique(maintain_order=True))}
    kernels = kernels.with_columns(new_class=pl.col("class_id").replace_strict(numbers, return_dtype=pl.Int64))
    rows = {name: kernels[name].to_numpy() for name in ("old_id", "kernel_id", "new_class", "duration_ns")}
    rows["share"] = np.ma.masked_array(kernels["share"].fill_null(0).to_numpy(), kernels["share"].is_null().to_numpy())
    connection.register("repriced", rows)
    connection.execute(
        "DELETE FROM kernels WHERE run_id = ? AND kernel_id NOT IN (SELECT old_id FROM repriced)", [run_id]
    )
    connection.execute(
        "UPDATE kernels SET kernel_id = n.kernel_id, class_id = n.new_class, duration_ns = n.duration_ns,"
        " share = n.share FROM repriced n WHERE kernels.run_id = ? AND kernels.kernel_id = n.old_id AND"
        " (kernels.kernel_id <> n.kernel_id OR kernels.class_id <> n.new_class"
        " OR kernels.duration_ns <> n.duration_ns OR kernels.share IS DISTINCT FROM n.share)",
        [run_id],
    )
    connection.unregister("repriced")
    _store_classes(connection, run_id, [row | {"new_class": numbers.get(row["class_id"])} for row in classes])


def _store_classes(connection: duckdb.DuckDBPyConnection, run_id: str, classes: Sequence[Record]) -> None:
    gone = [[run_id, row["class_id"]] for row in classes if row["new_class"] is None]
    if gone:
        connection.executemany("DELETE FROM kernel_classes WHERE run_id = ? AND class_id = ?", gone)
    kept = [row for row in classes if row["new_class"] is not None]
    texts = {name: np.array([row[name] for row in kept], dtype=object) for name in ("family", "unit", "precision")}
    numbers = {name: np.array([row[name] for row in kept], dtype=np.int64) for name in ("class_id", "new_class")}
    connection.register("repriced", numbers | texts)
    connection.execute(
        "UPDATE kernel_classes SET class_id = n.new_class, family = n.family, unit = n.unit, precision = n.precision"
        " FROM repriced n WHERE kernel_classes.run_id = ? AND kernel_classes.class_id = n.class_id",
        [run_id],
    )
    connection.unregister("repriced")


def _records(connection: duckdb.DuckDBPyConnection, query: str, *values: object) -> list[Record]:
    cursor = connection.execute(query, list(values))
    columns = [column[0] for column in cursor.description or []]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _frame(connection: duckdb.DuckDBPyConnection, query: str, *values: object) -> pl.DataFrame:
    """The answer as a frame, null where it is NULL."""
    arrays: dict[str, Any] = connection.execute(query, list(values)).fetchnumpy()
    return pl.DataFrame({name: _series(array) for name, array in arrays.items()})


def _series(array: Any) -> pl.Series:
    series = pl.Series(np.ma.getdata(array))
    mask = np.ma.getmaskarray(array)
    return series.set(pl.Series(mask), None) if mask.any() else series
