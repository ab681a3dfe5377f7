"""A warehouse in literal rows: two runs on a device with measured roofs, one out of memory, one without roofs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline import reports, warehouse
from ridgeline.warehouse.database import transaction
from ridgeline.warehouse.selection import resolve
from tests.reports.browser import Ask, Browser

HOSTILE = "</script><img src=x onerror=alert(1)>"
DEVICE = "Test Device"

RUNS: list[dict[str, Any]] = [
    {"run_id": "aaaa000000000001", "name": "decode_b1", "device": DEVICE, "outcome": "ok", "device_time_ns": 5500},
    {"run_id": "aaaa000000000002", "name": "decode_b2", "device": DEVICE, "outcome": "ok", "device_time_ns": 1000},
    {
        "run_id": "bbbb000000000003",
        "name": "decode_b512",
        "device": DEVICE,
        "outcome": "oom",
        "device_time_ns": 0,
        "message": "wanted 90 GB of 80 GB",
        "batch": 512,
        "peak_memory_bytes": 79_000_000_000,
    },
    {"run_id": "cccc000000000004", "name": "laptop", "device": None, "outcome": "ok", "device_time_ns": 700},
]

CEILINGS = [
    ("bandwidth", "dram", None, None, 1e12, "byte/s", "measured"),
    ("bandwidth", "dram", None, None, 9e11, "byte/s", "measured"),
    ("compute", None, "tensor", "bf16", 1e14, "FLOP/s", "measured"),
    ("compute", None, "vector", "fp32", 1e13, "FLOP/s", "measured"),
    ("latency", None, None, None, 2e-7, "s", "measured"),
]

# class, kernel, family, signature, attribution, unit, precision, module
CLASSES = [
    (
        0,
        "void gemm_kernel<bf16>(float*)",
        "matmul",
        "mm",
        "external_id",
        "tensor",
        "bf16",
        "model.layers.0.mlp.up_proj",
    ),
    (
        1,
        "void gemm_kernel<bf16>(float*)",
        "matmul",
        "mm",
        "external_id",
        "tensor",
        "bf16",
        "model.layers.1.mlp.up_proj",
    ),
    (2, "void at::native::copy_kernel(float*)", "copy", "copy", "external_id", "vector", "bf16", "model"),
    (3, HOSTILE, "other", None, "unattributed", None, None, None),
    (4, "tiny_add", "pointwise", "add", "external_id", "vector", "fp32", "model"),
]

# kernel, class, start, duration, step
KERNELS = [
    (0, 0, 0, 2000, 0),
    (1, 1, 2000, 2000, 0),
    (2, 2, 4000, 500, 0),
    (3, 3, 4500, 400, None),
    (4, 4, 5000, 600, 0),
]

SIGNATURES = [
    ("mm", "aten::mm", "matmul", "[[64, 64], [64, 64]]", 1e8, 1e6, 1e6),
    ("copy", "aten::copy_", "copy", "[[1024]]", 0.0, 1e5, 1e5),
    ("add", "aten::add.Tensor", "pointwise", "[[2]]", 2.0, 16.0, 8.0),
]


def insert(connection: duckdb.DuckDBPyConnection, table: str, **row: Any) -> None:
    names = ", ".join(f'"{name}"' for name in row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' for _ in row)})", list(row.values()))


def ledger(connection: duckdb.DuckDBPyConnection, run_id: str, entries: dict[tuple[str, str], tuple[int, int]]) -> None:
    for (account, entry), (kernels, duration_ns) in entries.items():
        insert(
            connection, "ledger", run_id=run_id, account=account, entry=entry, kernels=kernels, duration_ns=duration_ns
        )


def add_kernels(
    connection: duckdb.DuckDBPyConnection, run_id: str, kernels: list[tuple[int, int, int, int, int | None]]
) -> None:
    for class_id, kernel, family, signature, attribution, unit, precision, module in CLASSES:
        insert(
            connection,
            "kernel_classes",
            run_id=run_id,
            class_id=class_id,
            kernel=kernel,
            category="kernel",
            family=family,
            signature_id=signature,
            attribution=attribution,
            unit=unit,
            precision=precision,
            module=module,
        )
    for kernel_id, class_id, start, duration, step in kernels:
        insert(
            connection,
            "kernels",
            run_id=run_id,
            kernel_id=kernel_id,
            rank=0,
            device_index=0,
            class_id=class_id,
            start_ns=start,
            duration_ns=duration,
            share=1.0,
            step_id=step,
        )


def add_signatures(connection: duckdb.DuckDBPyConnection) -> None:
    for signature, operator, family, shapes, flops, read, write in SIGNATURES:
        insert(
            connection,
            "signatures",
            signature_id=signature,
            operator=operator,
            family=family,
            shapes=shapes,
            flops=flops,
            read_bytes=read,
            write_bytes=write,
            composite=False,
            method="meta",
            confidence="high",
            rules_version=1,
        )


def add_ceilings(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    for resource, level, unit, precision, value, unit_of_value, source in CEILINGS:
        insert(
            connection,
            "ceilings",
            run_id=run_id,
            device=DEVICE,
            resource=resource,
            level=level,
            unit=unit,
            precision=precision,
            value=value,
            unit_of_value=unit_of_value,
            source=source,
            method="by hand",
            measured_on="2026-01-02",
        )


def add_steps(connection: duckdb.DuckDBPyConnection) -> None:
    for run_id in ("aaaa000000000001", "aaaa000000000002"):
        insert(
            connection,
            "steps",
            run_id=run_id,
            rank=0,
            step_id=0,
            phase="decode",
            kind="reuse",
            step=0,
            host_start_ns=0,
            host_duration_ns=1,
            start_ns=0,
            end_ns=6000,
            busy_ns=5500,
            tokens=1,
        )


def add_ledgers(connection: duckdb.DuckDBPyConnection) -> None:
    ledger(
        connection,
        "aaaa000000000001",
        {
            ("attribution", "external_id"): (4, 5100),
            ("attribution", "unattributed"): (1, 400),
            ("price", "compulsory"): (4, 5100),
            ("price", "none"): (1, 400),
        },
    )
    ledger(
        connection, "aaaa000000000002", {("attribution", "external_id"): (1, 1000), ("price", "compulsory"): (1, 1000)}
    )
    ledger(
        connection, "cccc000000000004", {("attribution", "external_id"): (1, 700), ("price", "compulsory"): (1, 700)}
    )


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    for run in RUNS:
        kind = "cuda" if run["device"] else "cpu"
        insert(connection, "runs", content_sha256="", source="kineto", device_kind=kind, rank=0, rules_version=1, **run)
    add_signatures(connection)
    for run in RUNS[:3]:
        add_ceilings(connection, run["run_id"])
    add_kernels(connection, "aaaa000000000001", KERNELS)
    add_kernels(connection, "aaaa000000000002", [(0, 0, 0, 1000, 0)])
    add_kernels(connection, "cccc000000000004", [(0, 0, 0, 700, None)])
    add_steps(connection)
    add_ledgers(connection)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def ask(browser: Browser) -> Ask:
    return browser.ask


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file; nothing may write to it."""
    return make(tmp_path_factory.mktemp("warehouse") / "w.duckdb", fill)


def make(path: Path, rows: Callable[[duckdb.DuckDBPyConnection], None]) -> Path:
    """A warehouse of these rows."""
    connection = warehouse.connect(path)
    with transaction(connection):
        rows(connection)
    warehouse.refresh(connection)
    connection.close()
    return path


@pytest.fixture(scope="session")
def report(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the warehouse `filled`."""
    return reports.write(filled, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows everything, and two that know less; nothing may write to the file."""
    from tests.reports import rich

    return make(tmp_path_factory.mktemp("rich") / "w.duckdb", rich.fill)


@pytest.fixture(scope="session")
def rich_report(stocked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the warehouse `stocked`."""
    return reports.write(stocked, tmp_path_factory.mktemp("rich_report"))


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study; nothing may write to the file."""
    from tests.reports import sweep

    return make(tmp_path_factory.mktemp("study") / "w.duckdb", sweep.fill)


@pytest.fixture(scope="session")
def study_report(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the study."""
    return write_study(swept, tmp_path_factory.mktemp("study_report"))


def write_study(path: Path, out: Path, runs: Sequence[str] = ()) -> Path:
    """Write the page of the study about runs of the warehouse at ``path``, all if empty."""
    from ridgeline.reports.study import page as study_page

    with closing(warehouse.connect(path, read_only=True)) as connection:
        written = study_page.write(connection, out, resolve(connection, runs))
    assert written
    return written


@pytest.fixture(scope="module")
def connection(filled: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = warehouse.connect(filled, read_only=True)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs to compare; nothing may write to the file."""
    from tests.reports import compared

    return make(tmp_path_factory.mktemp("compared") / "w.duckdb", compared.fill)
