"""Views over hardware counters, on rows inserted by hand."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

READ, WRITE, TENSOR = "dram__bytes_read.sum", "dram__bytes_write.sum", "sm__ops_path_tensor_src_bf16_dst_fp32.sum"
OPS = "sm__ops_path_tensor"
SASS = "smsp__sass_thread_inst_executed_op_{}_pred_on.sum"


@pytest.fixture
def warehouse(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A device of 1 TB/s."""
    insert(
        connection,
        "runs",
        run_id="r",
        name="run",
        content_sha256="",
        source="kineto",
        device_kind="cuda",
        rank=0,
        outcome="ok",
        device_time_ns=0,
        rules_version=1,
    )
    insert(
        connection,
        "ceilings",
        run_id="r",
        device="D",
        source="measured",
        resource="bandwidth",
        level="dram",
        value=1e12,
        unit_of_value="byte/s",
    )
    return connection


def insert(connection: duckdb.DuckDBPyConnection, table: str, **values: Any) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' for _ in values)})", list(values.values())
    )


def kernel(
    connection: duckdb.DuckDBPyConnection,
    kernel_id: int,
    counted: dict[str, float],
    *,
    flops: float | None = None,
    bytes_: float | None = None,
    share: float = 1.0,
    family: str = "matmul",
    source: str = "cupti",
) -> None:
    """Insert a kernel of 1 ms with the price of its operator and its counters."""
    insert(
        connection,
        "signatures",
        signature_id=f"s{kernel_id}",
        operator="aten::mm",
        family=family,
        composite=False,
        method="meta",
        confidence="high",
        rules_version=1,
        flops=flops,
        read_bytes=bytes_,
        write_bytes=0,
    )
    insert(
        connection,
        "kernel_classes",
        run_id="r",
        class_id=kernel_id,
        kernel="k",
        category="kernel",
        family=family,
        signature_id=f"s{kernel_id}",
        attribution="external_id",
        unit="tensor",
        precision="bf16",
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
        duration_ns=1_000_000,
        share=share,
    )
    count(connection, kernel_id, counted, source)


def count(connection: duckdb.DuckDBPyConnection, kernel_id: int, counted: dict[str, float], source: str) -> None:
    for metric, value in counted.items():
        insert(connection, "counters", run_id="r", kernel_id=kernel_id, metric=metric, value=value, source=source)


def roofline(connection: duckdb.DuckDBPyConnection, columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT {columns} FROM kernel_roofline ORDER BY kernel_id").fetchall()


BYTES = "dram_bytes, dram_bytes_source, counter_dram_bytes, compulsory_bytes"


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ({READ: 3.0, WRITE: 4.0}, (7.0, "counter", 7.0, 9.0)),
        ({READ: 0.0, WRITE: 0.0}, (0.0, "counter", 0.0, 9.0)),  # a measurement: it moved nothing
        ({"dram__bytes.sum": 5.0}, (5.0, "counter", 5.0, 9.0)),
        ({READ: 3.0}, (9.0, "compulsory", None, 9.0)),  # half of the bytes are not the bytes
        ({"lts__t_bytes.sum": 3.0}, (9.0, "compulsory", None, 9.0)),
        ({}, (9.0, "compulsory", None, 9.0)),
    ],
)
def test_dram_bytes_are_counted_if_reads_and_writes_were(
    warehouse: duckdb.DuckDBPyConnection, counted: dict[str, float], expected: tuple[Any, ...]
) -> None:
    kernel(warehouse, 1, counted, bytes_=9.0)
    assert roofline(warehouse, BYTES) == [expected]


def test_a_kernel_without_dram_bytes_has_no_intensity_and_no_dram_roof(warehouse: duckdb.DuckDBPyConnection) -> None:
    kernel(warehouse, 1, {READ: 0.0, WRITE: 0.0}, bytes_=9.0)
    assert roofline(warehouse, "intensity, roof_time_ns, bound") == [(None, 0.0, "none")]


def test_l2_and_l1_bytes_are_columns_beside_dram_bytes(warehouse: duckdb.DuckDBPyConnection) -> None:
    kernel(warehouse, 1, {"lts__t_bytes.sum": 3.0, "l1tex__t_bytes.sum": 0.0})
    assert roofline(warehouse, "l2_bytes, l1_bytes") == [(3.0, 0.0)]


def test_cupti_is_preferred_then_nsight_compute_then_the_trace(warehouse: duckdb.DuckDBPyConnection) -> None:
    kernel(warehouse, 1, {READ: 3.0, WRITE: 4.0}, source="cupti")
    count(warehouse, 1, {READ: 30.0, WRITE: 40.0, "l1tex__t_bytes.sum": 8.0}, "ncu")
    count(warehouse, 1, {READ: 99.0, "l1tex__t_bytes.sum": 99.0, "lts__t_bytes.sum": 5.0}, "cuda_profiler_range")
    assert roofline(warehouse, "counter_dram_bytes, l1_bytes, l2_bytes") == [(7.0, 8.0, 5.0)]


@pytest.mark.parametrize(
    ("counted", "flops"),
    [
        ({TENSOR: 800.0}, 800.0),
        ({TENSOR: 800.0, "sm__ops_path_tensor_src_fp8.sum": 1.0}, 801.0),
        # a total and its parts, by sparsity and by instruction; parts alone
        (
            {
                TENSOR: 8.0,
                f"{OPS}_src_bf16_dst_fp32_sparsity_off.sum": 5.0,
                f"{OPS}_src_bf16_dst_fp32_sparsity_on.sum": 3.0,
            },
            8.0,
        ),
        (
            {
                TENSOR: 8.0,
                f"{OPS}_op_hgmma_src_bf16_dst_fp32_sparsity_off.sum": 8.0,
                f"{OPS}_src_fp16_dst_fp32.sum": 1.0,
            },
            9.0,
        ),
        ({f"{OPS}_src_fp16.sum": 8.0, f"{OPS}_src_fp16_dst_fp32.sum": 8.0, f"{OPS}_src_fp8_dst_fp16.sum": 1.0}, 9.0),
        ({f"{OPS}_op_igmma_src_int8.sum": 4.0, f"{OPS}_op_imma_src_int8_sparsity_off.sum": 2.0}, 6.0),
        ({SASS.format("ffma"): 10.0, SASS.format("fadd"): 1.0, SASS.format("fmul"): 2.0}, 23.0),
        ({SASS.format("hfma"): 1.0, SASS.format("dmul"): 1.0, SASS.format("dadd"): 1.0, TENSOR: 100.0}, 104.0),
        ({SASS.format("integer"): 9.0, SASS.format("ffma"): 0.0}, 0.0),
        ({SASS.format("ffma"): 0.0, TENSOR: 0.0}, 0.0),
        ({TENSOR: 0.0}, None),  # what the vector units did was not counted
        ({READ: 1.0}, None),
    ],
)
def test_executed_flops(warehouse: duckdb.DuckDBPyConnection, counted: dict[str, float], flops: float | None) -> None:
    kernel(warehouse, 1, counted)
    source = "none" if flops is None else "counter"
    assert roofline(warehouse, "counter_flops, flops, flops_source") == [(flops, flops, source)]


def test_flops_stay_those_of_the_algorithm_and_padding_is_the_difference(warehouse: duckdb.DuckDBPyConnection) -> None:
    kernel(warehouse, 1, {TENSOR: 800.0}, flops=100.0)
    kernel(warehouse, 2, {TENSOR: 100.0}, flops=100.0)
    kernel(warehouse, 3, {TENSOR: 100.0})
    kernel(warehouse, 4, {}, flops=100.0)
    kernel(warehouse, 5, {TENSOR: 0.0}, flops=100.0)
    assert roofline(warehouse, "flops, flops_source, counter_flops")[:3] == [
        (100.0, "algorithm", 800.0),
        (100.0, "algorithm", 100.0),
        (100.0, "counter", 100.0),
    ]
    query = "SELECT kernel_id, algorithm_flops, counter_flops, padding FROM padding ORDER BY kernel_id"
    assert warehouse.execute(query).fetchall() == [(1, 100.0, 800.0, 0.875), (2, 100.0, 100.0, 0.0)]


def test_errors_of_bytes_are_over_kernels_that_have_both(warehouse: duckdb.DuckDBPyConnection) -> None:
    kernel(warehouse, 1, {READ: 5.0, WRITE: 5.0}, bytes_=15.0)
    kernel(warehouse, 2, {}, bytes_=100.0)
    kernel(warehouse, 3, {READ: 50.0, WRITE: 50.0})
    kernel(warehouse, 4, {READ: 0.0, WRITE: 0.0}, bytes_=3.0, family="copy")
    columns = (
        "family, kernels, counted_kernels, compulsory_bytes, cache_model_bytes, counter_dram_bytes, compulsory_error,"
        " cache_model_error"
    )
    assert warehouse.execute(f"SELECT {columns} FROM byte_sources ORDER BY family").fetchall() == [
        ("copy", 1, 1, 3.0, None, 0.0, None, None),
        ("matmul", 3, 2, 115.0, None, 110.0, 0.5, None),
    ]


def test_the_overhead_of_an_operator_keeps_its_measured_bytes(warehouse: duckdb.DuckDBPyConnection) -> None:
    kernel(warehouse, 1, {READ: 5.0, WRITE: 5.0}, bytes_=15.0, share=0.0)
    assert roofline(warehouse, "dram_bytes, diagnosis") == [
        (10.0, "overhead of its operator: the main kernels carry the cost")
    ]
