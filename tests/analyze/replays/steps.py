"""Steps written by hand, launched one by one or replayed from a graph, and what a run of them learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ridgeline.analyze.ingest import Result, analyze
from tests.analyze import kineto
from tests.analyze.loading import failures
from tests.analyze.together import Run, asked

BF16 = "c10::BFloat16"


def eager_step(label: str, kernels: Sequence[str], start_us: float = 0.0, rows: int = 4) -> list[kineto.Event]:
    """A product of its own, in a module of its own, around each kernel; ``rows`` tells the prices of steps apart."""
    identifier = int(start_us)
    events = [kineto.annotation(label, start_us, 10.0 * len(kernels) + 10.0)] if label else []
    for i, name in enumerate(kernels):
        at, link = start_us + 10.0 * i + 1.0, identifier + i + 1
        dims = [[rows, 8], [8, 16 * (i + 1)]]
        events += [
            kineto.annotation(f"module=m{identifier + i}", at, 9.0),
            kineto.operator("aten::mm", at + 1.0, 6.0, link, dims, [BF16, BF16]),
            kineto.launch(at + 2.0, link),
            kineto.kernel(name, at + 4.0, 2.0, link, **{"External id": link}),
        ]
    return events


def replayed_step(
    label: str, kernels: Sequence[str], start_us: float = 0.0, correlation: int = 9001
) -> list[kineto.Event]:
    """The kernels of one graph launch, 3 us each."""
    step = [kineto.annotation(label, start_us, 20.0)] if label else []
    step.append(kineto.launch(start_us + 1.0, correlation, "cudaGraphLaunch"))
    return step + [kineto.kernel(name, start_us + 5.0 + 4.0 * i, 3.0, correlation) for i, name in enumerate(kernels)]


def with_twin(folder: Path, replay: list[kineto.Event], twin: list[kineto.Event]) -> Path:
    """Write a trace and its twin."""
    kineto.write(folder / "r.twin.json.gz", twin)
    return kineto.write(folder / "r.json", replay)


def load(folder: Path, warehouse: Path, replay: list[kineto.Event], twin: list[kineto.Event]) -> Result:
    (result,) = analyze([with_twin(folder, replay, twin)], warehouse)
    assert not failures([result])
    return result


def modules(run: Run | Path) -> list[tuple[Any, ...]]:
    """(kernel, module, attribution), as they ran."""
    return asked(run)("SELECT kernel, module, attribution FROM kernel_roofline ORDER BY start_ns")


def assert_conserved(run: Run | Path, device_time_ns: int | None = None) -> None:
    ask = asked(run)
    (total,) = ask("SELECT sum(device_time_ns) FROM runs")[0]
    assert device_time_ns in (None, total)
    for sql in (
        "SELECT sum(duration_ns) FROM ledger GROUP BY account",
        "SELECT sum(duration_ns) FROM kernel_roofline",
        "SELECT sum(duration_ns) FROM operator_summary",
        "SELECT sum(duration_ns) FROM module_summary",
        "SELECT sum(ns) FROM (SELECT family, sum(duration_ns) AS ns FROM operator_summary GROUP BY 1)",
    ):
        assert {row[0] for row in ask(sql)} == {total or None}
    orphans = "SELECT count(*) FROM kernels ANTI JOIN operators USING (run_id, operator_id) WHERE operator_id NOT NULL"
    assert ask(orphans) == [(0,)]
