"""A decoded trace as frames: its parts concatenated, with shared codes, times in 64-bit nanoseconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.ma  # polars and the loader import it anyway: better while the decoders work
import polars as pl
from numpy.typing import NDArray

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.columns import Columns, Interned, Signature
from ridgeline.analyze.reading.events import ABSENT, Header

LARGEST_SUM_NS = float(1 << 62)
"""The limit for the sum of durations, so that sums fit 64 bits."""

_SPAN = ("name", "thread", "start_ns", "duration_ns")
# Columns whose values may be absent, by group.
_DEVICE_IDS = ("stream", "correlation", "external_id", "bytes", "graph_id", "graph_node_id")
_OPERATOR_IDS = ("external_id", "record_id", "sequence", "forward_thread")
_DEVICE = (*_SPAN, "category", "device", *_DEVICE_IDS)
_LAUNCH = (*_SPAN, "correlation")
_OPERATOR = (*_SPAN, "signature", *_OPERATOR_IDS)
_MAY_BE_ABSENT = frozenset((*_DEVICE_IDS, *_OPERATOR_IDS))
_SLICE_ROWS = 1 << 18
_CODED = {"name": "names", "thread": "threads", "signature": "signatures"}


@dataclass
class Trace:
    """One trace: its events as frames, and the tables that their codes index.

    The frames' ``name``, ``thread`` and ``signature`` are codes into the lists; missing identifiers are null.
    """

    device: pl.DataFrame
    launches: pl.DataFrame
    operators: pl.DataFrame
    annotations: pl.DataFrame
    frames: pl.DataFrame
    """Python frames (``model.py(12): forward``) and modules (``nn.Module: Linear_3``), as spans of their threads."""
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
    """Where the trace breaks off, if these are the events before that."""

    @property
    def rank(self) -> int:
        return self.header.rank

    @property
    def on_cpu(self) -> bool:
        """True if no device did the work, so that operators take the place of kernels.

        A complete trace without kernels is one of a CPU, even if the machine has a device. A trace that breaks off may
        have lost its kernels, if it names a device or has launches.
        """
        may_have_lost_kernels = self.broken is not None and (self.header.devices or not self.launches.is_empty())
        return self.device.is_empty() and not may_have_lost_kernels


def assemble(parts: Sequence[Columns], path: Path) -> Trace:
    """Return the trace at ``path`` that the parts make; from here on the order of events in the file does not matter.

    Columns in files are read one by one, and the files are removed. Raises :class:`TraceError` for impossible times.
    """
    # each part has its own codes: translate them into shared ones
    shared = {kind: Interned() for kind in _CODED.values()}
    recode = [
        {
            kind: np.array([codes[value] for value in getattr(part, kind)], dtype=np.int32)
            for kind, codes in shared.items()
        }
        for part in parts
    ]

    def column(group: str, name: str) -> pl.Series:
        kind = _CODED.get(name)
        # one array of the final size, so that no part is in memory twice
        values = np.empty(sum(part.rows(group) for part in parts), dtype=np.int32 if kind else np.int64)
        at = 0
        for part, codes in zip(parts, recode, strict=True):
            for block in _blocks(part, group, name):
                values[at : at + len(block)] = codes[kind][block] if kind else block
                at += len(block)
        series = pl.Series(name, values)
        return series.replace(ABSENT, None) if name in _MAY_BE_ABSENT and (values == ABSENT).any() else series

    negative: list[int] = []

    def frame(group: str, names: tuple[str, ...]) -> pl.DataFrame:
        data = pl.DataFrame(column(group, name) for name in names)
        negative.append(int((data["duration_ns"] < 0).sum()))
        # an event that ends before it starts counts as malformed and lasts 0 ns
        data = data.with_columns(pl.col("duration_ns").clip(0)) if negative[-1] else data
        # in doubles, since the sum of integers would wrap around
        if data.select(pl.col("duration_ns").cast(pl.Float64).sum()).item() > LARGEST_SUM_NS:
            raise TraceError(f"{path}: durations of more than 146 years together: the trace is damaged")
        return data

    operators = frame("operator", _OPERATOR)
    if not operators["external_id"].is_sorted():
        # identifiers count calls: of two operators with the same span, the outer one was called first
        operators = operators.sort("external_id", maintain_order=True)
    counters, first_row = [], 0
    for part in parts:
        counters += [(first_row + row, metric, value) for row, metric, value in part.counters]
        first_row += part.rows("device")
    trace = Trace(
        device=frame("device", _DEVICE),
        launches=frame("launch", _LAUNCH),
        operators=operators,
        annotations=frame("annotation", _SPAN),
        frames=frame("frame", _SPAN),
        counters=pl.DataFrame(counters, {"row": pl.Int64, "metric": pl.String, "value": pl.Float64}, orient="row"),
        names=[str(name) for name in shared["names"]],
        threads=list(shared["threads"]),
        signatures=[(str(name), *inputs) for name, *inputs in shared["signatures"]],
        header=next(part.header for part in parts if part.header),
        sha256=parts[0].sha256,
        bytes_read=parts[0].bytes_read,
        events=sum(part.events for part in parts),
        malformed=sum(part.malformed for part in parts) + sum(negative),
        broken=parts[0].broken,
    )
    for part in parts:
        part.remove_files()
    return trace


def _blocks(part: Columns, group: str, name: str) -> Iterator[NDArray[np.int64]]:
    """Yield the values of a column, in blocks: from memory as a whole, from a file in slices."""
    path = part.file(group, name)
    if path is None:
        yield np.frombuffer(getattr(part, group)[name], dtype=np.int64)
    elif part.rows(group):
        with path.open("rb") as file:
            while len(values := np.fromfile(file, dtype=np.int64, count=_SLICE_ROWS)):
                yield values
