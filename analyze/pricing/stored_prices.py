"""The signatures of a run: which operators' calls cost its time, priced once and remembered in the warehouse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import duckdb
import msgspec
import polars as pl

from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.pricer import UNASKED, Pricer
from ridgeline.analyze.pricing.signature import signature_id
from ridgeline.analyze.reading.columns import Interned, Signature
from ridgeline.analyze.reading.trace import Trace

Record = dict[str, Any]
"""A row of the table ``signatures``."""

RECORDED = ("shapes", "dtypes", "strides", "concrete")
"""Columns of ``signatures`` that hold the profiler's text, in the order of a signature."""

WARNS = "pricing"
"""The source of its rows in ``warnings``."""
_BEFORE = "gave no answer before"
_LONGEST_NAME = 200

_OPAQUE = re.compile(r"OpaqueType<(\d+)u>")
_ELEMENT_OF_SIZE = {"1": "unsigned char", "2": "c10::BFloat16", "4": "float", "8": "double"}
_TEMPLATE = re.compile(r"(?:Copy\w*|CatArray\w*|Functor)<((?:c10::)?\w+)[,>]")
_NCCL_ELEMENT = re.compile(r"nccl\w*_(bf16|f16|f32|f64|i8|u8|i32|i64|half|float|double)(?:_|\b)")
_COLLECTIVE = re.compile(r"nccl\w*?Kernel_(All[A-Z][a-z]+|ReduceScatter|Broadcast|Reduce|SendRecv)")
_ELEMENTS = {
    "long": "long int", "int": "int", "float": "float", "double": "double", "c10::BFloat16": "c10::BFloat16",
    "c10::Half": "c10::Half", "bf16": "c10::BFloat16", "f16": "c10::Half", "half": "c10::Half", "f32": "float",
    "f64": "double", "i8": "signed char", "u8": "unsigned char", "i32": "int", "i64": "long int", "bool": "bool",
}  # fmt: skip
"""Element types as kernels' names write them -> as the profiler does."""

_INDEXED = frozenset({"aten::index", "aten::index_put_", "aten::_index_put_impl_"})
_INDICES = 1
"""Which of their arguments the indices are."""
_COLLECTIVE_NAME = 4
"""Which argument of ``record_param_comms`` names the collective."""


def assign(trace: Trace, activities: pl.DataFrame) -> pl.DataFrame:
    """Add ``signature``: the code of each activity's operator's signature, null without an operator.

    What the profiler left out of a signature and the trace says elsewhere is written into a signature of its own, added
    to ``trace.signatures``: what an indexing operator addresses, from the view that it makes of its tensor; the element
    type of a tensor list and the kind of a collective, from their kernel's name.
    """
    codes = _sized(trace)
    activities = activities.with_columns(
        signature=codes.gather(activities["operator"].fill_null(0)) if len(codes) else None
    )
    activities = activities.with_columns(signature=pl.when(pl.col("operator").is_not_null()).then("signature"))
    incomplete = [code for code, signature in enumerate(trace.signatures) if _is_incomplete(signature)]
    if not incomplete:
        return activities
    pairs = (
        activities.filter(pl.col("signature").is_in(incomplete)).select("signature", "name").unique(maintain_order=True)
    )
    completed = _codes(trace, [completed_by(trace.signatures[code], trace.names[name]) for code, name in pairs.rows()])
    replaced = pairs.with_columns(completed=completed)
    return (
        activities.join(replaced, on=["signature", "name"], how="left", maintain_order="left")
        .with_columns(signature=pl.coalesce("completed", "signature"))
        .drop("completed")
    )


def _codes(trace: Trace, signatures: Sequence[Signature]) -> pl.Series:
    """The code of each, those that the trace does not have added to it."""
    known = Interned(trace.signatures)
    codes = pl.Series([known[signature] for signature in signatures], dtype=pl.Int64)
    trace.signatures.extend(list(known)[len(trace.signatures) :])
    return codes


def _sized(trace: Trace) -> pl.Series:
    """The signature of every operator; of an indexing one with the sizes of the last indexed view inside it."""
    codes = trace.operators["signature"]
    indexing = [code for code, signature in enumerate(trace.signatures) if signature[0] in _INDEXED]
    views = {code: sizes for code, signature in enumerate(trace.signatures) if (sizes := _indexed_view(signature))}
    if not indexing or not views:
        return codes
    spans = trace.operators.with_row_index("row").with_columns(end_ns=pl.col("start_ns") + pl.col("duration_ns"))
    inside = spans.filter(pl.col("signature").is_in(list(views)))
    inside = inside.select("thread", "end_ns", view="signature", view_start_ns="start_ns").sort("end_ns")
    found = (
        spans.filter(pl.col("signature").is_in(indexing))
        .sort("end_ns")
        .join_asof(inside, on="end_ns", by="thread", check_sortedness=False)
        .filter(pl.col("view_start_ns") >= pl.col("start_ns"))
    )
    pairs = found.select("signature", "view").unique(maintain_order=True).sort("signature", "view")
    completed = [_with_sizes(trace.signatures[code], views[view]) for code, view in pairs.rows()]
    pairs = pairs.with_columns(completed=_codes(trace, completed))
    found = found.join(pairs, on=["signature", "view"], how="left", maintain_order="left")
    return codes.scatter(found["row"], found["completed"])


def _indexed_view(signature: Signature) -> str | None:
    """The sizes of a view with stride 0 where an index stands, as recorded."""
    if signature[0] != "aten::as_strided":
        return None
    concrete = _texts(signature[4])
    sizes, strides = concrete[1:3] if len(concrete) > 2 else ("", "")
    return sizes if "0" in strides.strip("[]").replace(" ", "").split(",") else None


def _with_sizes(signature: Signature, sizes: str) -> Signature:
    """The sizes in the place of the indices."""
    name, dims, types, strides, concrete = signature
    return (name, dims, types, strides, _replaced(concrete, _INDICES, sizes))


def _replaced(concrete: bytes, position: int, text: str) -> bytes:
    values = _texts(concrete)
    if len(values) <= position:
        return concrete
    return msgspec.json.encode([*values[:position], text, *values[position + 1 :]])


def _texts(concrete: bytes) -> list[str]:
    """The concrete inputs; none where they are not of the profiler's form."""
    try:
        return msgspec.json.decode(concrete, type=list[str])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return []


def _is_incomplete(signature: Signature) -> bool:
    return b'"TensorList"' in signature[2] or signature[0] == "record_param_comms"


def completed_by(signature: Signature, kernel: str) -> Signature:
    """A signature with what a kernel's name adds to it: the element type of lists, the kind of a collective.

    >>> completed_by(("aten::cat", b"[[[4]]]", b'["TensorList"]', b"", b""), "CatArrayBatchedCopy<OpaqueType<4u>>")[2]
    b'["TensorList float"]'
    """
    name, dims, types, strides, concrete = signature
    if element := _list_element(kernel):
        types = types.replace(b'"TensorList"', f'"TensorList {element}"'.encode())
    if name == "record_param_comms" and (match := _COLLECTIVE.search(kernel)):
        concrete = _replaced(concrete, _COLLECTIVE_NAME, match[1])
    return (name, dims, types, strides, concrete)


def _list_element(kernel: str) -> str | None:
    if match := _OPAQUE.search(kernel):
        return _ELEMENT_OF_SIZE.get(match[1])
    match = _NCCL_ELEMENT.search(kernel) or _TEMPLATE.search(kernel)
    return _ELEMENTS.get(match[1]) if match else None


class Priced(NamedTuple):
    """A record for each signature asked for, in order; those the warehouse does not have; what went wrong, a line each.

    A price that was cut short, since PyTorch ended, is stored as one by the rules of minus their version: runs that
    take it say so, and repricing asks again.
    """

    records: list[Record]
    new: list[Record]
    warnings: list[str]


def price_signatures(
    connection: duckdb.DuckDBPyConnection,
    signatures: Sequence[Signature],
    pricer: Pricer,
    priced: Iterable[Record] = (),
) -> Priced:
    """Look prices up among those of this run and in the warehouse; of what is in neither, ask the pricer."""
    ids = [signature_id(signature) for signature in signatures]
    told = {record["signature_id"]: record for record in priced}
    known = _known(connection, ids) | told
    missing = {i: s for i, s in zip(ids, signatures, strict=True) if i not in known}
    new, why = price_records(missing, pricer) if missing else ([], {})
    known.update((record["signature_id"], record) for record in new)
    return Priced([known[i] for i in ids], new, warnings((known[i] for i in ids if i not in told), why))


def warnings(records: Iterable[Record], why: dict[str, str]) -> list[str]:
    """A line for each operator whose price was cut short, now or before, and how; one for all that were not asked."""
    cut_short = {record["signature_id"]: record["operator"] for record in records if record["rules_version"] < 0}
    unasked = sum(why.get(i) == UNASKED for i in cut_short)
    ends = {(operator[:_LONGEST_NAME], why.get(i, _BEFORE)): None for i, operator in cut_short.items()}
    lines = [_warning(operator, end) for operator, end in ends if end != UNASKED]
    return lines + ([_warning(f"{unasked:,} more signatures", UNASKED)] if unasked else [])


def _warning(what: str, why: str) -> str:
    return f"{what}: PyTorch {why}: priced from recorded inputs, with low confidence: `ridgeline reprice` asks again"


def _known(connection: duckdb.DuckDBPyConnection, ids: Iterable[str]) -> dict[str, Record]:
    query = "SELECT * FROM signatures WHERE list_contains(?, signature_id) AND abs(rules_version) = ?"
    cursor = connection.execute(query, [list(ids), RULES_VERSION])
    columns = [column[0] for column in cursor.description or []]
    records = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return {record["signature_id"]: record for record in records}


def price_records(missing: dict[str, Signature], pricer: Pricer) -> tuple[list[Record], dict[str, str]]:
    """A record for each signature by its id, and by the ids of those that were cut short, what PyTorch did.

    Raises ``ImportError`` where there is no PyTorch.
    """
    records, why = [], {}
    for (identifier, signature), answer in zip(missing.items(), pricer.price(missing.values()), strict=True):
        if answer.cut_short:
            why[identifier] = answer.cut_short
        record = {
            "signature_id": identifier,
            "operator": signature[0],
            "family": family(signature[0], "", "kernel"),
            **{
                column: text.decode(errors="replace") or None
                for column, text in zip(RECORDED, signature[1:], strict=True)
            },
            **answer.price._asdict(),
            "rules_version": -RULES_VERSION if answer.cut_short else RULES_VERSION,
        }
        records.append(record)
    return records, why
