"""A decoded trace as frames: its parts put together, codes shared, times in 64-bit nanoseconds."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.ma  # polars and the loader ask for it: better while the decoders work
import polars as pl

from analyze.columns import Columns, Interned, Signature
from analyze.errors import TraceError
from analyze.events import ABSENT, Header

LARGEST_SUM_NS = float(1 << 62)
"""Of durations, so that sums fit 64 bits."""

_DEVICE = ("name", "category", "start_ns", "duration_ns", "device", "stream", "correlation", "external_id", "bytes")
_LAUNCH = ("name", "thread", "start_ns", "duration_ns", "correlation")
_OPERATOR = ("name", "thread", "start_ns", "duration_ns", "external_id", "record_id", "signature")
_ANNOTATION = ("name", "thread", "start_ns", "duration_ns")
_CODED = {"name": "names", "thread": "threads", "signature": "signatures"}


@dataclass
class Trace:
    """One trace: its events as frames, and what their codes stand for.

    The frames' ``name``, ``thread`` and ``signature`` are codes into the lists; missing identifiers are null.
    """

    device: pl.DataFrame
    launches: pl.DataFrame
    operators: pl.DataFrame
    annotations: pl.DataFrame
    counters: pl.DataFrame
    """``row`` of ``device``, ``metric``, ``value``."""
    names: list[str]
    threads: list[tuple[object, object]]
    signatures: list[Signature]
    header: Header
    sha256: str
    bytes_read: int
    events: int
    malformed: int
    broken: str | None = None
    """Where the trace breaks off, if this is what precedes."""

    @property
    def rank(self) -> int:
        return self.header.rank


def assemble(parts: Sequence[Columns]) -> Trace:
    """Put the parts of a trace together; the order of events in the file does not matter from here on."""
    shared = {kind: Interned() for kind in _CODED.values()}
    recode = [
        {
            kind: np.array([codes[value] for value in getattr(part, kind)], dtype=np.int64)
            for kind, codes in shared.items()
        }
        for part in parts
    ]

    backwards: list[int] = []

    def frame(group: Callable[[Columns], dict[str, array[int]]], columns: tuple[str, ...]) -> pl.DataFrame:
        data = {}
        for column in columns:
            arrays = [np.frombuffer(group(part)[column], dtype=np.int64) for part in parts]
            if kind := _CODED.get(column):
                arrays = [codes[kind][a] if len(a) else a for codes, a in zip(recode, arrays, strict=True)]
            data[column] = np.concatenate(arrays)
        absent = [c for c in ("correlation", "external_id", "record_id", "stream", "bytes") if c in data]
        backwards.append(int((data["duration_ns"] < 0).sum()))
        np.maximum(data["duration_ns"], 0, out=data["duration_ns"])
        if data["duration_ns"].sum(dtype=np.float64) > LARGEST_SUM_NS:
            raise TraceError("durations of more than 146 years together: the trace is damaged")
        return pl.DataFrame(data).with_columns(pl.col(absent).replace(ABSENT, None))

    header = next(part.header for part in parts if part.header)
    return Trace(
        device=frame(lambda part: part.device, _DEVICE),
        launches=frame(lambda part: part.launch, _LAUNCH),
        operators=_as_called(frame(lambda part: part.operator, _OPERATOR)),
        annotations=frame(lambda part: part.annotation, _ANNOTATION),
        counters=_counters(parts),
        names=[str(name) for name in shared["names"]],
        threads=list(shared["threads"]),
        signatures=[(str(name), *inputs) for name, *inputs in shared["signatures"]],
        header=header,
        sha256=parts[0].sha256,
        bytes_read=parts[0].bytes_read,
        events=sum(part.events for part in parts),
        malformed=sum(part.malformed for part in parts) + sum(backwards),
        broken=parts[0].broken,
    )


def _as_called(operators: pl.DataFrame) -> pl.DataFrame:
    """In the order of their identifiers, which count calls: of two with the same span the first is around the other."""
    in_order = operators["external_id"].is_sorted()
    return operators if in_order else operators.sort("external_id", maintain_order=True)


def _counters(parts: Sequence[Columns]) -> pl.DataFrame:
    rows, offset = [], 0
    for part in parts:
        rows += [(offset + row, metric, value) for row, metric, value in part.counters]
        offset += len(part.device["start_ns"])
    schema = {"row": pl.Int64, "metric": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")
