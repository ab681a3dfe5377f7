"""Prices a warehouse anew: the current rules over the stored signatures, without the traces.

Everything that a rule decides is recomputed: prices and families of signatures; families, units and precisions of
kernels; shares of an operator's cost; bytes of launches; bytes by the L2 model whose operands were guessed; and the
price account of the ledger. Everything else was read from the trace and its companions, and stays.

Two things need the trace. A run that needs one of them keeps its kernels and its old rules version, so that the next
`ridgeline analyze` loads it anew, and its name is returned:

- On a machine without a device, an operator with a kernel of its own stands for all operators inside it. If a rule
  gives an operator such a price, those inside are removed; if a rule takes it away, they must be read again.
- Shares that graph replays learned from a twin follow the twin's durations. They hold as long as the same kernels run
  on the tensor units.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.operators import CATEGORIES
from ridgeline.analyze.attribution.spans import ROOT, nearest, take
from ridgeline.analyze.cache_model.launches.own_bytes import own_bytes
from ridgeline.analyze.cache_model.run_bytes import (
    from_recorded_shapes,
    known_devices,
    sequence_rows,
    stored_sequences,
)
from ridgeline.analyze.cache_model.sequences import Kernels
from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.pricing.compute_unit import unit_and_precision
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.outside import reload
from ridgeline.analyze.pricing.pricer import Pricer
from ridgeline.analyze.pricing.stored_prices import RECORDED, WARNS, Record, price_records, unloaded, warnings
from ridgeline.analyze.reading.arrays import Interned
from ridgeline.analyze.reading.columns import Signature
from ridgeline.analyze.run import composite
from ridgeline.analyze.tables.gaps import operator_gap_rows
from ridgeline.analyze.tables.kernels import shares
from ridgeline.analyze.tables.limitations import price_lines
from ridgeline.analyze.tables.steps import step_spans
from ridgeline.warehouse import connect
from ridgeline.warehouse.database import transaction
from ridgeline.warehouse.digests import store_digests
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.insertion import insert, registered
from ridgeline.warehouse.rollups import account_prices, refresh

_PRICED = (
    "family", "flops", "read_bytes", "write_bytes", "precision", "composite", "method", "confidence", "collective",
    "message_bytes", "ranks", "link_bytes", "outside_rules", "rules_version",
)  # fmt: skip
"""The columns of ``signatures`` that rules decide; a change of the last alone is no change of a price."""
_DECIDED = ("family", "unit", "precision")
"""The columns of ``kernel_classes`` that rules decide."""
_UNDECODABLE = "\ufffd"
"""What the warehouse has in place of bytes that are not UTF-8."""


class Repriced(msgspec.Struct):
    """The outcome of repricing."""

    runs: int = 0
    signatures: int = 0
    changed: int = 0
    """Signatures whose price changed."""
    stale: list[str] = msgspec.field(default_factory=list)
    """Names of the runs that must be analyzed again."""
    warnings: list[str] = msgspec.field(default_factory=list)
    """Lines on signatures that PyTorch did not price."""


def reprice(warehouse: Path) -> Repriced:
    """Apply the current rules to everything in the warehouse, in one transaction.

    Raises :class:`WarehouseError` if there is no warehouse or it cannot be opened, and ``RulesError`` if rules from
    outside cannot be used.
    """
    reload()
    if not warehouse.exists():
        raise WarehouseError(f"{warehouse}: no such warehouse: make one with `ridgeline analyze PATH -w {warehouse}`")
    with connect(warehouse) as connection, transaction(connection), Pricer() as pricer:
        _check_version(connection, warehouse)
        prices, messages, result = _reprice_signatures(connection, pricer)
        # the modelled sequences depend on prices; the runs below fill the table again
        connection.execute("DELETE FROM sequences")
        connection.execute("DELETE FROM warnings WHERE source = ?", [WARNS])
        for run_id, name in connection.execute("SELECT run_id, name FROM runs ORDER BY name, run_id").fetchall():
            result.runs += 1
            used = connection.execute(
                "SELECT DISTINCT signature_id FROM kernel_classes WHERE run_id = ? ORDER BY 1", [run_id]
            ).fetchall()
            cut_short = warnings([prices[i] for (i,) in used if i in prices], messages)
            for line in cut_short + _lacking_prices(connection, run_id):
                connection.execute("INSERT INTO warnings VALUES (?, ?, ?)", [run_id, WARNS, line])
            if _reprice_run(connection, run_id, prices):
                connection.execute("UPDATE runs SET rules_version = ? WHERE run_id = ?", [RULES_VERSION, run_id])
            else:
                result.stale.append(name)
        store_digests(connection)
    return result


def _lacking_prices(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[str]:
    """Return the sentences on the run's operators without a price, by the prices now stored."""
    query = """
        SELECT
          s.operator, s.shapes IS NOT NULL AS has_shapes, s.flops IS NOT NULL AS has_flops,
          CASE WHEN s.family = 'communication' THEN s.link_bytes ELSE s.read_bytes END IS NOT NULL AS has_bytes,
          k.trace_bytes IS NOT NULL AS is_copy,
          COUNT(*) AS kernels, CAST(SUM(k.duration_ns) AS BIGINT) AS duration_ns
        FROM kernels k
        JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
        LEFT JOIN signatures s ON s.signature_id = c.signature_id
        WHERE k.run_id = ?
        GROUP BY ALL
    """
    return price_lines(_frame(connection, query, run_id))


def _check_version(connection: duckdb.DuckDBPyConnection, warehouse: Path) -> None:
    """Raise :class:`WarehouseError` if newer rules than these have priced a run, as another installation may have."""
    ((newest,),) = connection.execute("SELECT COALESCE(MAX(rules_version), 0) FROM runs").fetchall()
    if newest > RULES_VERSION:
        raise WarehouseError(
            f"{warehouse}: priced by rules of version {newest}; this ridgeline has version {RULES_VERSION}: "
            "run the ridgeline that has the newer rules"
        )


def _reprice_signatures(
    connection: duckdb.DuckDBPyConnection, pricer: Pricer
) -> tuple[dict[str, Record], dict[str, str], Repriced]:
    """Price the stored signatures anew and store them.

    Return their records by id, messages for those that PyTorch did not price, and the counts.
    """
    stored = _frame(connection, "SELECT * FROM signatures ORDER BY signature_id").to_dicts()
    records, messages = price_records({row["signature_id"]: _signature(row) for row in stored}, pricer)
    result = Repriced(signatures=len(stored), warnings=warnings(records, messages))
    result.warnings += [f"these had {line}" for line in unloaded(stored)]
    updates = []
    for i, (old, new) in enumerate(zip(stored, records, strict=True)):
        # a negative version marks a price that PyTorch did not give: keep the price that it gave by the same rules
        if old["rules_version"] == -new["rules_version"] > 0:
            records[i] = old
        elif any(new[column] != old[column] for column in _PRICED):
            updates.append([*(new[column] for column in _PRICED), new["signature_id"]])
            result.changed += any(new[column] != old[column] for column in _PRICED[:-1])
    if updates:
        assignments = ", ".join(f"{column} = ?" for column in _PRICED)
        connection.executemany(f"UPDATE signatures SET {assignments} WHERE signature_id = ?", updates)
    return {record["signature_id"]: record for record in records}, messages, result


def _signature(row: Record) -> Signature:
    """Return the signature of a stored row, undecodable where it was undecodable when recorded."""
    texts = [(row[column] or "").encode() for column in RECORDED]
    shapes, dtypes, strides, concrete = (b"\xff" if _UNDECODABLE.encode() in text else text for text in texts)
    return (row["operator"], shapes, dtypes, strides, concrete)


def _reprice_run(connection: duckdb.DuckDBPyConnection, run_id: str, prices: dict[str, Record]) -> bool:
    """Recompute what depends on prices; return False if some of it needs the trace."""
    kernels = _frame(
        connection,
        "SELECT kernel_id, class_id, operator_id AS operator, start_ns, duration_ns, trace_bytes, share, step_id,"
        " rank, device_index FROM kernels WHERE run_id = ? ORDER BY kernel_id",
        run_id,
    )
    if kernels.is_empty():  # a run without a trace, or without device work
        return True
    stored = _frame(connection, "SELECT * FROM kernel_classes WHERE run_id = ? ORDER BY class_id", run_id).to_dicts()
    on_cpu = stored[0]["category"] == "operator"
    is_complete = True
    classes = []
    for row in stored:
        price = prices.get(row["signature_id"])
        new_family = family(price["operator"] if price else None, row["kernel"], row["category"])
        computes = price is not None and row["category"] not in ("memcpy", "memset")
        precision = price["precision"] if price and computes else None
        unit, precision = unit_and_precision(new_family, row["kernel"], precision, on_cpu=on_cpu)
        classes.append(row | {"family": new_family, "unit": unit, "precision": precision})
        # the twin's shares do not hold for a kernel that moved to the tensor units or away
        if not on_cpu and row["attribution"] == "graph_twin" and (row["unit"] == "tensor") != (unit == "tensor"):
            is_complete = False
    kernels = kernels.with_columns(carries_cost=pl.col("trace_bytes").is_null(), old_id="kernel_id")
    if on_cpu:  # a price decides whether an operator stands for those inside it
        kernels, is_complete = _stand_ins(connection, run_id, kernels, classes, prices)
    of_classes = pl.DataFrame(classes, {"class_id": pl.Int64, "unit": pl.String, "attribution": pl.String}).select(
        "class_id",
        on_tensor_unit=pl.col("unit").eq_missing("tensor"),
        is_learned=pl.col("attribution").eq_missing("graph_twin"),
    )
    facts = kernels.join(of_classes, on="class_id", how="left", maintain_order="left")
    if on_cpu:  # operators launch nothing
        facts = facts.with_columns(launch_bytes=pl.lit(None, pl.Int64))
    else:
        facts = facts.with_columns(_launch_bytes(facts, classes, prices))
    share = pl.when("is_learned").then("share").otherwise(shares(facts))
    kernels = facts.with_columns(share=share)
    _store(connection, run_id, kernels, classes)
    if on_cpu:
        _store_times(connection, run_id, kernels)
    else:
        _model_bytes(connection, run_id, prices)
    # the price account is made of the rollups
    refresh(connection, [run_id])
    account_prices(connection, [run_id])
    return is_complete


def _launch_bytes(kernels: pl.DataFrame, classes: Sequence[Record], prices: dict[str, Record]) -> pl.DataFrame:
    """Return the bytes that each launch carries itself, and which are helpers, as :func:`own_bytes` does."""
    names, signatures = Interned(), Interned()
    coded = [
        (row["class_id"], names[row["kernel"]], None if (code := row["signature_id"]) is None else signatures[code])
        for row in classes
    ]
    codes = pl.DataFrame(coded, schema=dict.fromkeys(("class_id", "name", "signature"), pl.Int64), orient="row")
    rows = kernels.select("class_id", "operator", "carries_cost").join(
        codes, on="class_id", how="left", maintain_order="left"
    )
    used = [prices[signature] for signature in signatures]
    return own_bytes(rows, list(names), [_signature(row) for row in used], dict(enumerate(used)))


def _model_bytes(connection: duckdb.DuckDBPyConnection, run_id: str, prices: dict[str, Record]) -> None:
    """Store bytes by the L2 model anew, unless they are from an execution trace and so do not depend on prices."""
    query = "SELECT cache_model_operands FROM runs WHERE run_id = ?"
    if connection.execute(query, [run_id]).fetchall() == [("execution_trace",)]:
        return
    rows = connection.execute(
        # the one step of a trace without labels is no sequence of the model
        "SELECT c.kernel, c.signature_id, c.category, s.step_id, k.operator_id, k.duration_ns, k.rank, k.device_index"
        " FROM kernels k"
        " JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id LEFT JOIN steps s"
        " ON s.run_id = k.run_id AND s.step_id = k.step_id AND s.kind IS DISTINCT FROM 'trace'"
        " WHERE k.run_id = ? ORDER BY k.kernel_id",
        [run_id],
    ).fetchall()
    # the model works with codes, as if the trace had just been read
    names, signatures, devices = Interned(), Interned(), Interned()
    coded = [
        (
            names[kernel], None if signature is None else signatures[signature], CATEGORIES.index(category),
            step, operator, duration_ns, devices[tuple(device)],
        )
        for kernel, signature, category, step, operator, duration_ns, *device in rows
    ]  # fmt: skip
    columns = ("name", "signature", "category", "step", "operator", "duration_ns", "device")
    frame = pl.DataFrame(coded, schema=dict.fromkeys(columns, pl.Int64), orient="row")
    used = [prices[signature] for signature in signatures]
    device_rows = _frame(connection, "SELECT * FROM devices WHERE run_id = ?", run_id).to_dicts()
    known = known_devices(device_rows, {code: place for place, code in devices.items()})
    kernels = Kernels(frame, list(names), [_signature(row) for row in used], dict(enumerate(used)), known)
    modelled = from_recorded_shapes(kernels, partial(stored_sequences, connection))
    insert(connection, "sequences", sequence_rows(modelled.new), verb="INSERT OR REPLACE")
    with registered(connection, "repriced", modelled.bytes.with_row_index("kernel_id")):
        connection.execute(
            "UPDATE kernels SET cache_read_bytes = n.cache_read_bytes, cache_write_bytes = n.cache_write_bytes"
            " FROM repriced n WHERE kernels.run_id = ? AND kernels.kernel_id = n.kernel_id"
            " AND (kernels.cache_read_bytes IS DISTINCT FROM n.cache_read_bytes"
            " OR kernels.cache_write_bytes IS DISTINCT FROM n.cache_write_bytes)",
            [run_id],
        )
    connection.execute("UPDATE runs SET cache_model_operands = ? WHERE run_id = ?", [modelled.operands, run_id])


# Operators in the place of kernels, on a machine without a device.


def _stand_ins(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    kernels: pl.DataFrame,
    classes: Sequence[Record],
    prices: dict[str, Record],
) -> tuple[pl.DataFrame, bool]:
    """Return the operators that stand for kernels by the new prices, in order, and True if none is missing.

    They are chosen as by :func:`ridgeline.analyze.attribution.operators.operator_activities`, from the operators that
    are stored as kernels.
    """
    query = "SELECT parent_id, duration_ns FROM operators WHERE run_id = ? ORDER BY operator_id"
    operators = _frame(connection, query, run_id)
    parent = operators["parent_id"].cast(pl.Int64).fill_null(ROOT).to_numpy()
    duration_ns = operators["duration_ns"].to_numpy()
    is_inner = parent != ROOT
    stored = kernels["operator"].cast(pl.Int64).to_numpy()
    is_stored, has_inside, hides = (np.zeros(len(parent), dtype=bool) for _ in range(3))
    is_stored[stored] = True
    has_inside[parent[is_inner]] = True
    hides[parent[~is_stored & is_inner]] = True
    level = {row["class_id"]: composite(prices.get(row["signature_id"])) for row in classes}
    only_calls = np.ones(len(parent), dtype=bool)
    only_calls[stored] = np.array([level[c] for c in kernels["class_id"]]) + has_inside[stored] >= 2
    # an operator that now only calls others needs those inside it, which were not stored
    is_incomplete = hides & is_stored & only_calls
    only_calls[is_incomplete] = False
    is_covered = take(nearest(parent, ~only_calls), parent) != ROOT
    # an operator that only calls others has the time that is in none of them
    children_ns = np.zeros(len(parent), dtype=np.int64)
    np.add.at(children_ns, parent[is_inner], duration_ns[is_inner])
    own_ns = np.where(only_calls, np.maximum(duration_ns - children_ns, 0), duration_ns)
    kept = kernels.with_columns(
        duration_ns=pl.Series(own_ns[stored]), carries_cost=pl.Series(~only_calls[stored])
    ).filter(pl.Series(~is_covered[stored]))
    kept = kept.with_columns(kernel_id=pl.int_range(pl.len(), dtype=pl.Int64))
    return kept, not is_incomplete.any()


def _store_times(connection: duckdb.DuckDBPyConnection, run_id: str, kernels: pl.DataFrame) -> None:
    """Store what sums up the operators that stand for kernels: device time, attribution, signatures, steps, gaps."""
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
    columns = ("start_ns", "end_ns", "busy_ns", "idle_ns", "step_id")
    times = step_spans(kernels, "step_id").select(columns).rows()
    connection.executemany(
        "UPDATE steps SET start_ns = ?, end_ns = ?, busy_ns = ?, idle_ns = ? WHERE run_id = ? AND step_id = ?",
        [(*row[:-1], run_id, row[-1]) for row in times],
    )
    connection.execute("DELETE FROM gaps WHERE run_id = ?", [run_id])
    insert(connection, "gaps", operator_gap_rows(kernels, "step_id"), run_id)


# Between tables and frames.


def _store(
    connection: duckdb.DuckDBPyConnection, run_id: str, kernels: pl.DataFrame, classes: Sequence[Record]
) -> None:
    """Update kernels and their classes; remove the others. Classes are numbered by their first kernel."""
    numbers = {old: new for new, old in enumerate(kernels["class_id"].unique(maintain_order=True))}
    kernels = kernels.with_columns(new_class=pl.col("class_id").replace_strict(numbers, return_dtype=pl.Int64))
    columns = ("old_id", "kernel_id", "new_class", "duration_ns", "share", "launch_bytes")
    with registered(connection, "repriced", kernels.select(columns)):
        connection.execute(
            "DELETE FROM kernels WHERE run_id = ? AND kernel_id NOT IN (SELECT old_id FROM repriced)", [run_id]
        )
        connection.execute(
            # rows that do not change are left alone, since DuckDB rewrites a row for any update
            "UPDATE kernels SET kernel_id = n.kernel_id, class_id = n.new_class, duration_ns = n.duration_ns,"
            " share = n.share, launch_bytes = n.launch_bytes FROM repriced n"
            " WHERE kernels.run_id = ? AND kernels.kernel_id = n.old_id AND"
            " (kernels.kernel_id <> n.kernel_id OR kernels.class_id <> n.new_class"
            " OR kernels.duration_ns <> n.duration_ns OR kernels.share IS DISTINCT FROM n.share"
            " OR kernels.launch_bytes IS DISTINCT FROM n.launch_bytes)",
            [run_id],
        )
    removed = [[run_id, row["class_id"]] for row in classes if row["class_id"] not in numbers]
    if removed:
        connection.executemany("DELETE FROM kernel_classes WHERE run_id = ? AND class_id = ?", removed)
    kept = [row | {"new_class": numbers[row["class_id"]]} for row in classes if row["class_id"] in numbers]
    fields = dict.fromkeys(("class_id", "new_class"), pl.Int64) | dict.fromkeys(_DECIDED, pl.String)
    with registered(connection, "repriced", pl.DataFrame(kept, fields)):
        connection.execute(
            "UPDATE kernel_classes SET class_id = n.new_class, family = n.family, unit = n.unit,"
            " precision = n.precision FROM repriced n"
            " WHERE kernel_classes.run_id = ? AND kernel_classes.class_id = n.class_id",
            [run_id],
        )


def _frame(connection: duckdb.DuckDBPyConnection, query: str, *values: object) -> pl.DataFrame:
    """Return the rows of a query as a frame, with null for NULL."""
    return pl.DataFrame(connection.sql(query, params=list(values)))
