"""predicted_steps: predictions against prices, bytes and times of a run's kernels, on rows inserted by hand."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

Row = tuple[Any, ...]


def insert(connection: duckdb.DuckDBPyConnection, table: str, **values: Any) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))


@pytest.fixture
def connection(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A run on a device of 1 TB/s and 100 TFLOP/s."""
    insert(
        connection,
        "runs",
        run_id="r",
        name="run",
        mode="dlm_block_prefix",
        execution="eager",
        model="m",
        content_sha256="",
        source="ridgeline",
        device_kind="cuda",
        rank=0,
        outcome="ok",
        device_time_ns=0,
        rules_version=1,
    )
    insert(connection, "devices", run_id="r", rank=0, device_index=0, name="D")
    measured = {"run_id": "r", "device": "D", "source": "measured"}
    insert(connection, "ceilings", resource="bandwidth", level="dram", value=1e12, unit_of_value="byte/s", **measured)
    peak = {"unit": "tensor", "precision": "bf16", "value": 1e14, "unit_of_value": "FLOP/s"}
    insert(connection, "ceilings", resource="compute", **peak, **measured)
    return connection


def predict(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    query: int,
    context: float,
    forwards: int | None,
    *,
    flops: tuple[float, float, float] = (100, 10, 113),
    moved: tuple[float, float, float] = (50, 4, 60),
    convention: str = "corrected",
) -> None:
    """Insert predictions of a length: linear operators, attention, all, and a part that no kernel belongs to."""
    components = zip(("linear", "attention", "all", "norm"), (*flops, 1.0), (*moved, 1.0), strict=True)
    for component, flops_, bytes_ in components:
        insert(
            connection,
            "predictions",
            run_id="r",
            model="m",
            mode="x",
            convention=convention,
            kind=kind,
            query=query,
            context=context,
            forwards=forwards,
            component=component,
            flops=flops_,
            bytes=bytes_,
            time_ns=int(bytes_),
        )


def step(connection: duckdb.DuckDBPyConnection, step_id: int, kind: str, query: int, context: int) -> None:
    insert(
        connection,
        "steps",
        run_id="r",
        rank=0,
        step_id=step_id,
        phase="denoise",
        kind=kind,
        step=step_id,
        query=query,
        context=context,
        host_start_ns=0,
        host_duration_ns=1,
    )


def kernel(
    connection: duckdb.DuckDBPyConnection, kernel_id: int, step_id: int, duration_ns: int, **values: Any
) -> None:
    signature = {"flops": values.pop("flops", None), "read_bytes": values.pop("read", None), "write_bytes": 0}
    insert(
        connection,
        "signatures",
        signature_id=f"s{kernel_id}",
        operator=values.pop("operator", "aten::mm"),
        family="x",
        composite=False,
        method="meta",
        confidence="high",
        rules_version=1,
        **signature,
    )
    insert(
        connection,
        "kernel_classes",
        run_id="r",
        class_id=kernel_id,
        kernel="k",
        category=values.pop("category", "kernel"),
        family=values.pop("family", "matmul"),
        signature_id=f"s{kernel_id}",
        attribution="external_id",
        unit="tensor",
        precision="bf16",
        module=values.pop("module", None),
    )
    if "counter" in values:
        insert(
            connection,
            "counters",
            run_id="r",
            kernel_id=kernel_id,
            metric="dram__bytes.sum",
            value=values.pop("counter"),
            source="cupti",
        )
    insert(
        connection,
        "kernels",
        run_id="r",
        kernel_id=kernel_id,
        class_id=kernel_id,
        rank=0,
        device_index=0,
        start_ns=0,
        duration_ns=duration_ns,
        share=1.0,
        step_id=step_id,
        **values,
    )


def timing(connection: duckdb.DuckDBPyConnection, kind: str, step: int, value_ns: int, repeat: int = 0) -> None:
    insert(connection, "timings", run_id="r", metric="step", kind=kind, step=step, repeat=repeat, value_ns=value_ns)


def select(connection: duckdb.DuckDBPyConnection, columns: str, where: str = "TRUE") -> list[Row]:
    return connection.execute(
        f"SELECT {columns} FROM predicted_steps WHERE {where} ORDER BY convention, kind, context, query DESC, component"
    ).fetchall()


def test_a_step_is_compared_with_its_prediction_by_part(connection: duckdb.DuckDBPyConnection) -> None:
    """Two steps of the length: values are of one step. The roof of a kernel is the larger of its two times."""
    predict(connection, "reuse", 4, 16, 3)
    for step_id in (0, 1):
        step(connection, step_id, "reuse", 4, 16)
        first = 10 * step_id
        kernel(connection, first, step_id, 400, flops=80, read=2000, counter=3000)
        kernel(
            connection,
            first + 1,
            step_id,
            60,
            flops=5,
            read=1000,
            family="attention",
            operator="aten::sdpa",
            counter=80,
        )
        kernel(connection, first + 2, step_id, 20, flops=3, read=100, operator="aten::bmm", counter=20)
        kernel(
            connection,
            first + 3,
            step_id,
            10,
            flops=1,
            read=10,
            operator="aten::bmm",
            module="model.rotary_emb",
            counter=1,
        )
        kernel(
            connection, first + 4, step_id, 10, flops=1, read=10, family="pointwise", operator="aten::add", counter=2
        )
    step(connection, 2, "reuse", 4, 20)
    kernel(connection, 99, 2, 10**6, flops=10**9, read=10**9)
    flops = "component, profiled_steps, predicted_flops, modelled_flops"
    counted = f"{flops}, predicted_bytes, compulsory_bytes, counter_dram_bytes"
    assert select(connection, counted) == [
        ("all", 2, 113.0, 90.0, 60.0, 3120.0, 3103.0),
        ("attention", 2, 10.0, 8.0, 4.0, 1100.0, 100.0),
        ("linear", 2, 100.0, 80.0, 50.0, 2000.0, 3000.0),
        ("other", 2, 3.0, 2.0, 6.0, 20.0, 3.0),
    ]
    assert select(connection, "component, floor_ns, roof_ns, kernels_ns, floor_fraction") == [
        ("all", 60, pytest.approx(3.103), 500.0, 60 / 500),
        ("attention", 4, pytest.approx(0.1), 80.0, 4 / 80),
        ("linear", 50, pytest.approx(3.0), 400.0, 50 / 400),
        ("other", None, pytest.approx(0.003), 20.0, None),
    ]
    ratios = "flops_error, compulsory_error, counter_error, predicted_intensity, intensity"
    assert select(connection, ratios, "component = 'linear'") == [
        (pytest.approx(0.25), 50 / 2000 - 1, 50 / 3000 - 1, 2.0, 80 / 3000)
    ]


def test_modelled_bytes_are_compared_too(connection: duckdb.DuckDBPyConnection) -> None:
    """Sums are over the kernels that have counters."""
    predict(connection, "reuse", 4, 16, 3)
    step(connection, 0, "reuse", 4, 16)
    kernel(connection, 0, 0, 400, flops=80, read=2000, cache_read_bytes=90, cache_write_bytes=10)
    modelled = connection.execute("SELECT cache_model_bytes FROM placed_kernels").fetchone()
    expected = None if modelled == (None,) else 100.0
    assert select(connection, "cache_model_bytes", "component = 'linear'") == [(expected,)]


def test_both_conventions_are_compared_with_the_same_step(connection: duckdb.DuckDBPyConnection) -> None:
    predict(connection, "reuse", 4, 16, 3)
    predict(connection, "reuse", 4, 16, 3, flops=(90, 9, 100), convention="as_authored")
    step(connection, 0, "reuse", 4, 16)
    kernel(connection, 0, 0, 10, flops=80, read=10)
    where = "component IN ('linear', 'other')"
    assert select(connection, "convention, component, predicted_flops, modelled_flops", where) == [
        ("as_authored", "linear", 90.0, 80.0), ("as_authored", "other", 1.0, None),
        ("corrected", "linear", 100.0, 80.0), ("corrected", "other", 3.0, None),
    ]  # fmt: skip


def test_a_length_that_was_not_profiled_has_its_prediction_alone(connection: duckdb.DuckDBPyConnection) -> None:
    predict(connection, "reuse", 4, 20, 3)
    step(connection, 0, "reuse", 4, 16)
    kernel(connection, 0, 0, 10, flops=80, read=10)
    columns = "profiled_steps, predicted_flops, modelled_flops, compulsory_bytes, kernels_ns, flops_error"
    assert select(connection, columns, "component = 'all'") == [(0, 113.0, None, None, None, None)]


@pytest.mark.parametrize(("unknown_ns", "flops"), [(10, 80.0), (12, None)])
def test_a_sum_without_a_tenth_of_the_time_is_null(
    connection: duckdb.DuckDBPyConnection, unknown_ns: int, flops: float | None
) -> None:
    """A replay without a twin has only a time: its counters give no FLOPs."""
    predict(connection, "reuse", 4, 16, 3)
    step(connection, 0, "reuse", 4, 16)
    kernel(connection, 0, 0, 90, flops=80, read=10)
    kernel(connection, 1, 0, unknown_ns, counter=7)
    assert select(connection, "modelled_flops, kernels_ns", "component = 'all'") == [(flops, 90.0 + unknown_ns)]
    assert select(connection, "counter_dram_bytes", "component = 'all'") == [(None,)]


def test_compiled_kernels_hide_their_flops_but_not_the_steps(connection: duckdb.DuckDBPyConnection) -> None:
    predict(connection, "reuse", 4, 16, 3)
    step(connection, 0, "reuse", 4, 16)
    kernel(connection, 0, 0, 60, flops=80, read=10)
    kernel(connection, 1, 0, 40, read=7, family="fused", operator="triton")
    kernel(connection, 2, 0, 1, trace_bytes=3, category="memset", family="memset", operator="aten::zero_")
    assert select(connection, "component, modelled_flops, compulsory_bytes") == [
        ("all", 80.0, 20.0),
        ("attention", None, None),
        ("linear", 80.0, 10.0),
        ("other", None, 10.0),
    ]


# Unprofiled times


def test_unprofiled_times_are_of_the_steps_that_process_as_much(connection: duckdb.DuckDBPyConnection) -> None:
    """The first three steps of the kind process 8 positions, the next three 4, in each of two repeats."""
    predict(connection, "reuse", 8, 16, 3)
    predict(connection, "reuse", 4, 16, 3)
    predict(connection, "refresh", 16, 16, 2)
    for repeat in (0, 1):
        for place, value_ns in enumerate((80, 81, 82, 40, 41, 42)):
            timing(connection, "reuse", 10 + 2 * place, value_ns + 10 * repeat, repeat)
        timing(connection, "refresh", 0, 100 + repeat, repeat)
        timing(connection, "refresh", 14, 104 + repeat, repeat)
    assert select(connection, "kind, query, component, step_ns", "component IN ('all', 'linear')") == [
        ("refresh", 16, "all", 102.5), ("refresh", 16, "linear", None),
        ("reuse", 8, "all", 86.0), ("reuse", 8, "linear", None),
        ("reuse", 4, "all", 46.0), ("reuse", 4, "linear", None),
    ]  # fmt: skip


def test_unprofiled_times_follow_contexts_that_grow(connection: duckdb.DuckDBPyConnection) -> None:
    """In a mode that processes the whole sequence in every step, query and context grow together."""
    for length in (16, 8):
        predict(connection, "denoise", length, length, 1)
    timing(connection, "denoise", 1, 160)
    timing(connection, "denoise", 0, 80)
    assert select(connection, "query, step_ns", "component = 'all'") == [(8, 80.0), (16, 160.0)]


def test_decoding_steps_are_timed_together(connection: duckdb.DuckDBPyConnection) -> None:
    for context, forwards in ((9, 1), (10, 1), (11.5, 2)):
        predict(connection, "decode", 1, context, forwards)
    for place, value_ns in enumerate((5, 20, 21, 22, 23)):
        timing(connection, "decode", place, value_ns)
    assert select(connection, "step_ns", "component = 'all'") == [(21.0,)] * 3


@pytest.mark.parametrize(("forwards", "expected"), [(None, None), (2, None), (1, 80.0)])
def test_unprofiled_times_need_equal_numbers_of_steps(
    connection: duckdb.DuckDBPyConnection, forwards: int | None, expected: float | None
) -> None:
    predict(connection, "reuse", 8, 16, forwards)
    predict(connection, "reuse", 4, 16, forwards)
    timing(connection, "reuse", 0, 80)
    timing(connection, "reuse", 1, 40)
    assert select(connection, "step_ns", "component = 'all' AND query = 8") == [(expected,)]
