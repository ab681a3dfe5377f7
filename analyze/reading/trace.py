"""A decoded trace as frames: its parts put together, codes shared, times in 64-bit nanoseconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.ma  # polars and the loader ask for it: better while the decoders work
import polars as pl
from numpy.typing import NDArray

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.columns import Columns, Interned, Signature
from ridgeline.analyze.reading.events import ABSENT, Header

LARGEST_SUM_NS = float(1 << 62)
"""Of durations, so that sums fit 64 bits."""

_DEVICE = (
    "name", "category", "thread", "start_ns", "duration_ns", "device", "stream", "correlation", "external_id", "bytes"
)  # fmt: skip
_LAUNCH = ("name", "thread", "start_ns", "duration_ns", "correlation")
_OPERATOR = ("name", "thread", "start_ns", "duration_ns", "external_id", "record_id", "signature")
_ANNOTATION = ("name", "thread", "start_ns", "duration_ns")
_MAY_BE_ABSENT = frozenset({"correlation", "external_id", "record_id", "stream", "bytes"})
_SLICE_ROWS = 1 << 18
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

    @property
    def on_cpu(self) -> bool:
        """Whether no device did the work, so that operators take the place of kernels.

        A whole trace without kernels is one of a CPU, though the machine may have a device. One that breaks off may
        only lack them, if it names a device or calls on one.
        """
        expected = self.broken is not None and (self.header.devices or not self.launches.is_empty())
        return self.device.is_empty() and not expected


def assemble(parts: Sequence[Columns]) -> Trace:
    """Put the parts of a trace together; the order of events in the file does not matter from here on.

    Parts that lie in files are read column by column and their files removed.
    """
    shared = {kind: Interned() for kind in _CODED.values()}
    recode = [
        {
            kind: np.array([codes[value] for value in getattr(part, kind)], dtype=np.int32)
            for kind, codes in shared.items()
        }
        for part in parts
    ]

    def column(group: str, name: str) -> np.ndarray[tuple[int], np.dtype[Any]]:
        kind = _CODED.get(name)
        whole = np.empty(sum(part.rows(group) for part in parts), dtype=np.int32 if kind else np.int64)
        at = 0
        for part, codes in zip(parts, recode, strict=True):
            for values in _slices(part, group, name):
                whole[at : at + len(values)] = codes[kind][values] if kind else values
                at += len(values)
        return whole

    backwards: list[int] = []

    def frame(group: str, names: tuple[str, ...]) -> pl.DataFrame:
        data = pl.DataFrame(_nullable(name, column(group, name)) for name in names)
        backwards.append(int((data["duration_ns"] < 0).sum()))
        data = data.with_columns(pl.col("duration_ns").clip(0)) if backwards[-1] else data
        if data.select(pl.col("duration_ns").cast(pl.Float64).sum()).item() > LARGEST_SUM_NS:
            raise TraceError("durations of more than 146 years together: the trace is damaged")
        return data

    header = next(part.header for part in parts if part.header)
    trace = Trace(
        device=frame("device", _DEVICE),
        launches=frame("launch", _LAUNCH),
        operators=_as_called(frame("operator", _OPERATOR)),
        annotations=frame("annotation", _ANNOTATION),
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
    for part in parts:
        part.remove_files()
    return trace


def _slices(part: Columns, group: str, name: str) -> Iterator[NDArray[np.int64]]:
    """The values of a column, some after the others."""
    path = part.file(group, name)
    if path is None:
        yield np.frombuffer(getattr(part, group)[name], dtype=np.int64)
    elif part.rows(group):
        with path.open("rb") as file:
            while len(values := np.fromfile(file, dtype=np.int64, count=_SLICE_ROWS)):
                yield values


def _nullable(name: str, values: np.ndarray[tuple[int], np.dtype[Any]]) -> pl.Series:
    series = pl.Series(name, values)
    return series.replace(ABSENT, None) if name in _MAY_BE_ABSENT and (values == ABSENT).any() else series


def _furthest_ns(data: pl.DataFrame) -> int:
    """The largest start or duration, whichever way."""
    times = data.select(
        pl.col("start_ns", "duration_ns").min().name.suffix("_min"), pl.col("start_ns", "duration_ns").max()
    )
    return max(abs(int(value)) for value in times.row(0))


def _as_called(operators: pl.DataFrame) -> pl.DataFrame:
    """In the order of their identifiers, which count calls: of two with the same span the first is around the other."""
    in_order = operators["external_id"].is_sorted()
    return operators if in_order else operators.sort("external_id", maintain_order=True)


def _counters(parts: Sequence[Columns]) -> pl.DataFrame:
    rows, offset = [], 0
    for part in parts:
        rows += [(offset + row, metric, value) for row, metric, value in part.counters]
        offset += part.rows("device")
    schema = {"row": pl.Int64, "metric": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")
