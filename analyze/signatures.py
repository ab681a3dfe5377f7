"""The signatures of a run: which operators' calls cost its time, priced once and remembered in the warehouse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import polars as pl

from analyze.columns import Signature
from analyze.families import family
from analyze.frames import Trace
from analyze.pricing import RULES_VERSION
from analyze.pricing.signature import signature_id

Record = dict[str, Any]
"""A row of the table ``signatures``."""

LARGEST_COST = 10**24
"""FLOPs or bytes of one call beyond this are a damaged signature's."""

_OPAQUE = re.compile(r"OpaqueType<(\d+)u>")
_ELEMENT_OF_SIZE = {"1": "unsigned char", "2": "c10::BFloat16", "4": "float", "8": "double"}
_COPIED = re.compile(r"Copy<(\w+), \w+>")


def assign(trace: Trace, activities: pl.DataFrame) -> pl.DataFrame:
    """Add ``signature``: the code of each activity's operator's signature, null without an operator.

    The profiler records no element type for tensor lists. A kernel that copies lists names the element's size in its
    template arguments; it is written into a signature of its own, which is added to ``trace.signatures``.
    """
    codes = trace.operators["signature"]
    activities = activities.with_columns(
        signature=codes.gather(activities["operator"].fill_null(0)) if len(codes) else None
    )
    activities = activities.with_columns(signature=pl.when(pl.col("operator").is_not_null()).then("signature"))
    incomplete = [code for code, signature in enumerate(trace.signatures) if b'"TensorList"' in signature[2]]
    if not incomplete:
        return activities
    pairs = (
        activities.filter(pl.col("signature").is_in(incomplete)).select("signature", "name").unique(maintain_order=True)
    )
    completed = [_complete(trace, code, trace.names[name]) for code, name in pairs.iter_rows()]
    replaced = pairs.with_columns(completed=pl.Series(completed, dtype=pl.Int64))
    return (
        activities.join(replaced, on=["signature", "name"], how="left", maintain_order="left")
        .with_columns(signature=pl.coalesce("completed", "signature"))
        .drop("completed")
    )


def _complete(trace: Trace, code: int, kernel: str) -> int:
    element = _list_element(kernel)
    if element is None:
        return code
    name, dims, types, strides, concrete = trace.signatures[code]
    completed = (name, dims, types.replace(b'"TensorList"', f'"TensorList {element}"'.encode()), strides, concrete)
    if completed not in trace.signatures:
        trace.signatures.append(completed)
    return trace.signatures.index(completed)


def _list_element(kernel: str) -> str | None:
    if match := _OPAQUE.search(kernel):
        return _ELEMENT_OF_SIZE.get(match[1])
    if "multi_tensor_apply" in kernel and (match := _COPIED.search(kernel)):
        return {"long": "long int", "int": "int", "float": "float"}.get(match[1])
    return None


def price_signatures(
    connection: duckdb.DuckDBPyConnection, signatures: Sequence[Signature]
) -> tuple[list[Record], list[Record]]:
    """A record for each signature, in order, and those among them that the warehouse does not know yet."""
    ids = [signature_id(signature) for signature in signatures]
    known = _known(connection, ids)
    missing = {i: s for i, s in zip(ids, signatures, strict=True) if i not in known}
    new = _price(missing) if missing else []
    known.update((record["signature_id"], record) for record in new)
    return [known[i] for i in ids], new


def _known(connection: duckdb.DuckDBPyConnection, ids: Iterable[str]) -> dict[str, Record]:
    query = "SELECT * FROM signatures WHERE list_contains(?, signature_id) AND rules_version = ?"
    cursor = connection.execute(query, [list(ids), RULES_VERSION])
    columns = [column[0] for column in cursor.description or []]
    records = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return {record["signature_id"]: record for record in records}


def _price(missing: dict[str, Signature]) -> list[Record]:
    from analyze.pricing.price import price_all  # imports torch, which a priced warehouse never needs

    return [
        {
            "signature_id": identifier,
            "operator": signature[0],
            "family": family(signature[0], "", "kernel"),
            **{
                column: text.decode(errors="replace") or None
                for column, text in zip(("shapes", "dtypes", "strides", "concrete"), signature[1:], strict=True)
            },
            **price._asdict(),
            **{name: _double(getattr(price, name)) for name in ("flops", "read_bytes", "write_bytes")},
        }
        for (identifier, signature), price in zip(missing.items(), price_all(missing.values()), strict=True)
    ]


def _double(value: int | None) -> float | None:
    """As the warehouse stores it, exact below 2^53; unknown where recorded sizes make it absurd."""
    return None if value is None or value > LARGEST_COST else float(value)
