"""What is conserved from the trace to every view, over generated traces: steps, modules, nests, splits, replays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ridgeline.analyze.ingest import analyze
from tests.analyze import kineto
from tests.analyze.loading import opened
from tests.sampling import examples

BF16, FP32 = "c10::BFloat16", "float"
# name, dims, types, concrete; one that nobody knows and one that recorded nothing
OPERATORS: list[tuple[str, list[Any], list[str], list[str]]] = [
    ("aten::mm", [[4, 64], [64, 32]], [BF16, BF16], ["", ""]),
    ("aten::mm", [[8, 64], [64, 32]], [BF16, BF16], ["", ""]),
    ("aten::add.Tensor", [[4, 32], [4, 32], []], [FP32, FP32, "Scalar"], ["", "", "1"]),
    ("mine::op", [[4, 32]], [BF16], [""]),
    ("mine::nothing", [], [], []),
]
KERNELS = [
    "nvjet_sm90_tst_64x8",
    "void cublasLt::splitKreduce_kernel",
    "void at::native::vectorized_elementwise_kernel",
]
STEPS = [None, "phase=prefill step=0", "phase=decode step={} kind=decode", "phase=denoise step={} kind=reuse"]
MODULES = [
    None,
    kineto.annotation("module=model.layers.0.mlp", 0.0, 0.0),
    kineto.annotation("module=model.layers.1", 0.0, 0.0),
    kineto.frame("nn.Module: Layer_1", 0.0, 0.0),
    kineto.frame("/home/x/model.py(7): forward", 0.0, 0.0),
]


class Writer:
    """Events one after another: the host's clock and identifiers never go back, the device lags behind."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.events: list[kineto.Event] = []
        self.now_ns, self.identifier = 1000, 0

    def tick(self) -> float:
        self.now_ns += self.draw(st.integers(0, 3000))
        return self.now_ns / 1000

    def next(self) -> int:
        self.identifier += 1
        return self.identifier

    def within(self, event: kineto.Event, inside: Iterator[None]) -> None:
        """The event around what is written inside it."""
        event["ts"] = self.tick()
        self.events.append(event)
        for _ in inside:
            pass
        event["dur"] = round(self.tick() - event["ts"], 3)

    def activity(self, correlation: int | None, external_id: int | None) -> None:
        category = self.draw(st.sampled_from(["kernel", "kernel", "kernel", "gpu_memcpy", "gpu_memset"]))
        args = {"bytes": self.draw(st.integers(1, 4096))} if category != "kernel" else {}
        args |= {"External id": external_id} if external_id else {}
        self.events.append(
            kineto.kernel(
                self.draw(st.sampled_from(KERNELS)) if category == "kernel" else "Memcpy DtoD (Device -> Device)",
                (self.now_ns + self.draw(st.integers(0, 5000))) / 1000,
                self.draw(st.integers(0, 9000)) / 1000,
                correlation,
                category=category,
                stream=self.draw(st.sampled_from([7, 8])),
                **args,
            )
        )

    def launched(self, external_id: int | None) -> None:
        """One activity as eager code launches it, or one whose launch or identifier is not recorded."""
        correlation = self.next()
        if self.draw(st.integers(0, 5)):
            self.events.append(kineto.launch(self.tick(), correlation))
        self.activity(correlation, external_id if self.draw(st.integers(0, 3)) else None)

    def replay(self) -> Iterator[None]:
        correlation = self.next()
        self.events.append(kineto.launch(self.tick(), correlation, "cudaGraphLaunch"))
        for _ in range(self.draw(st.integers(1, 4))):
            self.activity(correlation, None)
        yield

    def call(self, depth: int = 0) -> Iterator[None]:
        """An operator with launches of its own and, perhaps, an operator inside."""
        name, dims, types, concrete = self.draw(st.sampled_from(OPERATORS))
        event = kineto.operator(name, 0.0, 0.0, self.next(), dims, types, concrete)

        def inside() -> Iterator[None]:
            if depth < 2 and self.draw(st.booleans()):
                yield from self.call(depth + 1)
            for _ in range(self.draw(st.integers(0, 3))):
                self.launched(event["args"]["External id"])
            yield

        self.within(event, inside())
        yield

    def module(self) -> Iterator[None]:
        event = self.draw(st.sampled_from(MODULES))
        calls = (_ for _ in range(self.draw(st.integers(1, 2))) for _ in self.draw(st.sampled_from(self.parts))())
        if event:
            self.within(dict(event), calls)
        else:
            list(calls)
        yield

    @property
    def parts(self) -> list[Any]:
        return [self.call, self.call, self.replay]

    def step(self, number: int) -> None:
        label = self.draw(st.sampled_from(STEPS))
        if label:
            self.within(kineto.annotation(label.format(number), 0.0, 0.0), self.module())
        else:
            list(self.module())


@st.composite
def traces(draw: st.DrawFn) -> list[kineto.Event]:
    writer = Writer(draw)
    for number in range(draw(st.integers(1, 3))):
        writer.step(number)
    assume(any(event["pid"] == 0 for event in writer.events))
    return writer.events


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conservation")


@contextmanager
def loaded(folder: Path, **files: list[kineto.Event]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new warehouse with these traces."""
    warehouse = folder / "w.duckdb"
    warehouse.unlink(missing_ok=True)
    results = analyze([kineto.write(folder / f"{name}.json", files[name]) for name in files], warehouse)
    assert [str(result.error) for result in results if result.error] == []
    with opened(warehouse) as connection:
        yield connection


SUMS = {
    "kernels": "SELECT SUM(duration_ns) FROM kernel_roofline",
    "operators": "SELECT SUM(duration_ns) FROM operator_summary",
    "modules": "SELECT SUM(duration_ns) FROM module_summary",
    "lines of code": "SELECT SUM(duration_ns) FROM stack_summary",
    "attribution": "SELECT SUM(duration_ns) FROM ledger WHERE account = 'attribution'",
    "prices": "SELECT SUM(duration_ns) FROM ledger WHERE account = 'price'",
    "phases": "SELECT SUM(t) FROM (SELECT phase, SUM(duration_ns) AS t FROM kernel_roofline GROUP BY phase)",
    "steps": """
        SELECT (SELECT COALESCE(SUM(device_time_ns * steps), 0) FROM step_diagnosis)
          + COALESCE(SUM(CASE WHEN step_id IS NULL THEN duration_ns END), 0)
        FROM kernels
    """,
    **{
        f"deviations by {level}": f"SELECT SUM(duration_ns) FROM deviations WHERE level = '{level}'"
        for level in ("operator", "module", "family", "step")
    },
    "at the roof and lost": """
        SELECT SUM(CASE basis WHEN 'no roof' THEN duration_ns ELSE roof_ns + lost_ns END) FROM deviations
        WHERE level = 'operator'
    """,
}
PROPERTY = settings(examples("warehouse"), suppress_health_check=list(HealthCheck))


@PROPERTY
@given(events=traces())
def test_device_time_and_cost_are_conserved(events: list[kineto.Event], folder: Path) -> None:
    expected = sum(round(event["dur"] * 1000) for event in events if event["pid"] == 0)
    with loaded(folder, t=events) as connection:
        assert connection.execute("SELECT device_time_ns FROM runs").fetchall() == [(expected,)]
        check_every_way_to_divide_the_device_time_sums_to_it(connection, expected)
        check_the_cost_of_a_split_operator_is_shared_out_whole(connection)


def check_every_way_to_divide_the_device_time_sums_to_it(connection: duckdb.DuckDBPyConnection, expected: int) -> None:
    sums = {name: connection.execute(sql).fetchall()[0][0] for name, sql in SUMS.items()}
    assert sums == dict.fromkeys(SUMS, pytest.approx(expected, rel=1e-12, abs=1e-9))
    (exact,) = connection.execute(
        "SELECT COUNT(DISTINCT t) FROM (SELECT SUM(duration_ns) AS t FROM deviations GROUP BY level)"
    ).fetchall()
    assert exact == (1,)


def check_the_cost_of_a_split_operator_is_shared_out_whole(connection: duckdb.DuckDBPyConnection) -> None:
    """To the kernels that carry it; FLOPs of the kernels are those of the calls."""
    shares = connection.execute(
        "SELECT SUM(share) FROM kernels JOIN kernel_classes USING (run_id, class_id)"
        " WHERE operator_id IS NOT NULL AND category = 'kernel' GROUP BY operator_id"
    ).fetchall()
    assert [share for (share,) in shares] == pytest.approx([1.0] * len(shares))
    computed, called = connection.execute(
        "SELECT (SELECT COALESCE(SUM(flops), 0) FROM kernel_roofline),"
        " (SELECT COALESCE(SUM(s.flops), 0) FROM (SELECT DISTINCT k.operator_id, c.signature_id"
        "   FROM kernels k JOIN kernel_classes c USING (run_id, class_id) WHERE c.category = 'kernel') o"
        "  JOIN signatures s USING (signature_id))"
    ).fetchall()[0]
    assert computed == pytest.approx(called)


# columns of every fact and view, without what numbers rows by their place in the file
COMPARED = {
    "kernel_roofline": "* EXCLUDE (run_id, name, kernel_id)",
    "operators": "* EXCLUDE (run_id)",
    "steps": "* EXCLUDE (run_id, step_id)",
    "ledger": "* EXCLUDE (run_id)",
    "step_diagnosis": "* EXCLUDE (run_id)",
}


@PROPERTY
@given(events=traces(), data=st.data())
def test_the_order_of_events_in_the_file_changes_nothing(
    events: list[kineto.Event], data: st.DataObject, folder: Path
) -> None:
    shuffled = data.draw(st.permutations(events))
    assume(shuffled != events)
    with loaded(folder, written=events, shuffled=shuffled) as connection:
        for table, columns in COMPARED.items():
            written, other = (
                connection.execute(
                    f"SELECT {columns} FROM {table} WHERE run_id = (SELECT run_id FROM runs WHERE runs.name = ?)"
                    " ORDER BY ALL",
                    [name],
                ).fetchall()
                for name in ("written", "shuffled")
            )
            assert written == other, table
