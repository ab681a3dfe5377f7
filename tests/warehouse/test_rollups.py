"""Kept rows equal those of the definitions, whatever happens to a run."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.reprice import reprice
from ridgeline.warehouse import connect, early_rollups, refresh
from ridgeline.warehouse.load import load, remove
from ridgeline.warehouse.rollups import (
    EARLY,
    GEOMETRY,
    GEOMETRY_COLUMNS,
    KEPT,
    KEPT_TABLES,
    planned_briefly,
    stale,
    with_rows,
)
from tests.bench import made_runs
from tests.warehouse.rows import insert

SHARED = Path(__file__).resolve().parents[3] / "shared"
TRACES = [SHARED / "h200/ar_decode.json.gz", SHARED / "traces/h100-qwen1.5-0.5b-prefill.json.gz"]
Rows = list[tuple[Any, ...]]


def made(index: int, kernels: int = 3500) -> Any:
    """Return a run of two steps and a part of a third, with signatures: run 0 has counters, run 1 two streams."""
    run = made_runs.made_run(index, kernels)
    run.signatures = made_runs.signatures()
    geometry = [pl.lit(32, dtype=pl.Int64).alias(f"{part}_{axis}") for part in ("grid", "block") for axis in "xyz"]
    run.frames["kernel_classes"] = run.frames["kernel_classes"].with_columns(geometry)
    return run


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rollups") / "w.duckdb"
    connection = connect(path)
    load(connection, made(0))
    connection.close()
    return path


@pytest.fixture
def path(loaded: Path, tmp_path: Path) -> Path:
    """A copy of a warehouse with run 0."""
    return Path(shutil.copy(loaded, tmp_path))


@pytest.mark.parametrize("empty", [(), ("gaps",), ("steps", "gaps"), ("devices", "kernel_classes")])
def test_early_rollups_are_those_of_the_stored_rows(path: Path, empty: tuple[str, ...]) -> None:
    """The warehouse holds other rows of the run: early rollups read those in memory, and no others."""
    run = made(0)
    rows = {**run.frames, **run.records, **dict.fromkeys(empty, ())}
    with connect(path) as connection:
        with early_rollups.computing(connection, run.run_id, rows, KEPT) as computed:
            found = {view: frame.result() for view, frame in computed.items()}
        assert found.keys() == {*EARLY}
        for table in empty:
            connection.execute(f"DELETE FROM {table}")
        refresh(connection)
        for view, frame in found.items():
            stored = pl.DataFrame(connection.sql(f"SELECT * FROM kept_{view}"))
            assert stored.columns == frame.columns
            assert sorted(frame.rows(), key=str) == sorted(stored.rows(), key=str), view
    assert sum(map(len, found.values())) > 0 or "kernel_classes" in empty


def test_early_rollups_fail_with_the_rows_that_they_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ValueError("no frame")

    monkeypatch.setattr(early_rollups, "as_frame", fail)
    run = made(0)
    rows = {**run.frames, **run.records}
    with (
        connect(path) as connection,
        early_rollups.computing(connection, run.run_id, rows, KEPT) as computed,
    ):
        for frame in computed.values():
            with pytest.raises(ValueError, match="no frame"):
                frame.result()


def check(path: Path) -> dict[str, int]:
    """Assert that kept rows equal those of the definitions; return the number of rows of each view."""
    connection = connect(path, read_only=True)
    counts = {}
    for view in KEPT:
        columns, defined_columns = (
            connection.execute(f"DESCRIBE {name}").fetchall() for name in (view, f"defined_{view}")
        )
        assert columns == defined_columns
        kept, defined = (
            connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in (view, f"defined_{view}")
        )
        assert same(kept, defined), view
        counts[view] = len(kept)
    connection.close()
    return counts


def same(one: Rows, other: Rows) -> bool:
    """Return whether rows are equal, up to the order in which floating-point numbers were summed."""
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else a == b
        for left, right in zip(one, other, strict=True)
        for a, b in zip(left, right, strict=True)
    )


def test_kept_rows_are_those_of_the_definition_from_load_to_removal(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    connection = connect(path)
    for index in (0, 1):
        load(connection, made(index))
    connection.close()
    both = check(path)
    assert all(both.values()), both
    changed = made(1, 1700)
    changed.frames["kernels"] = changed.frames["kernels"].drop("cache_read_bytes")
    connection = connect(path)
    load(connection, changed)
    connection.close()
    fewer = check(path)
    assert fewer["step_launches"] == both["step_launches"] - 1
    connection = connect(path)
    remove(connection, [changed.run_id, made(0).run_id])
    connection.close()
    assert not any(check(path).values())


@pytest.mark.skipif(not all(trace.exists() for trace in TRACES), reason="needs the shared traces")
def test_kept_rows_of_real_traces_follow_new_prices(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    analyze(TRACES, path)
    before = check(path)
    assert all(before[view] for view in KEPT if view != "shared_time")
    connection = connect(path)
    connection.execute("UPDATE signatures SET flops = flops + 1e9, rules_version = 0 WHERE operator = 'aten::mm'")
    refresh(connection)
    wrong = connection.execute("SELECT sum(flops) FROM kernel_groups").fetchone()
    connection.close()
    reprice(path)
    check(path)
    connection = connect(path)
    right = connection.execute("SELECT sum(flops) FROM kernel_groups").fetchone()
    connection.close()
    assert wrong
    assert right
    assert wrong > right


def test_refresh_follows_ceilings_inserted_by_hand(path: Path) -> None:
    connection = connect(path)
    before = connection.execute("SELECT sum(roof_ns) FROM kernel_groups").fetchone()
    insert(
        connection,
        "ceilings",
        run_id=made(0).run_id,
        device="D",
        source="measured",
        resource="bandwidth",
        level="dram",
        value=1e13,
        unit_of_value="byte/s",
    )
    assert connection.execute("SELECT sum(roof_ns) FROM kernel_groups").fetchone() == before
    refresh(connection)
    after = connection.execute("SELECT sum(roof_ns) FROM kernel_groups").fetchone()
    connection.close()
    assert before
    assert after
    assert after < before
    check(path)


@pytest.mark.parametrize(("factor", "found"), [(1 + 2**-52, []), (1 - 2**-52, []), (1.00001, ["kernel_groups"])])
def test_sums_in_another_order_are_not_stale_and_others_are(path: Path, factor: float, found: list[str]) -> None:
    """One sum lies halfway between two floats of single precision, which would round to different values."""
    connection = connect(path)
    connection.execute("UPDATE kernels SET trace_bytes = 16777217, cache_read_bytes = NULL, cache_write_bytes = NULL")
    refresh(connection)
    connection.execute("UPDATE kept_kernel_groups SET dram_bytes = dram_bytes * ?", [factor])
    assert [view for _, view in stale(connection)] == found
    connection.execute("DELETE FROM kept_kernel_groups")
    assert [view for _, view in stale(connection)] == ["kernel_groups"]
    connection.close()


def test_a_load_that_fails_leaves_what_was_kept(path: Path) -> None:
    connection = connect(path)
    before = {table: connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in KEPT_TABLES}
    broken = made(0, 1700)
    broken.records["ledger"][0]["kernels"] = None
    with pytest.raises(duckdb.ConstraintException):
        load(connection, broken)
    assert before == {
        table: connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in KEPT_TABLES
    }
    connection.close()


def test_the_account_of_prices_sums_to_the_device_time(loaded: Path) -> None:
    connection = connect(loaded, read_only=True)
    rows = connection.execute(
        "SELECT dram_bytes_source, count(*), sum(duration_ns) FROM kernel_roofline GROUP BY ALL ORDER BY 1"
    ).fetchall()
    account = "SELECT entry, kernels, duration_ns FROM ledger WHERE account = 'price' ORDER BY entry"
    assert connection.execute(account).fetchall() == rows
    assert (sum(row[2] for row in rows),) == connection.execute("SELECT device_time_ns FROM runs").fetchone()
    connection.close()


def scans_of_kernels(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the conditions of each scan of kernels in a plan that DuckDB explains as JSON."""
    details = plan.get("extra_info", {})
    if str(details.get("Table")).endswith(".kernels"):
        yield str(details.get("Filters"))
    for child in plan.get("children", []):
        yield from scans_of_kernels(child)


@pytest.mark.parametrize("view", sorted(KEPT))
def test_rows_of_a_run_are_computed_from_its_kernels_alone(loaded: Path, view: str) -> None:
    """Otherwise each run takes longer to load than the run before."""
    with connect(loaded, read_only=True) as connection, planned_briefly(connection):
        ((run_id,),) = connection.execute("SELECT run_id FROM runs").fetchall()
        explain = f"EXPLAIN (FORMAT json) SELECT * FROM defined_{view} WHERE run_id IN (?)"
        ((_, text),) = connection.execute(explain, [run_id]).fetchall()
    conditions = [condition for plan in json.loads(text) for condition in scans_of_kernels(plan)]
    assert all("run_id" in condition for condition in conditions), conditions
    assert conditions or view in ("kernel_counters", "launch_geometry", "gap_summary", "step_idle", "step_waits")


def test_a_connection_plans_as_before_after_a_refresh_that_succeeds_or_fails(path: Path) -> None:
    setting = "SELECT current_setting('disabled_optimizers')"
    with connect(path) as connection:
        before = connection.execute(setting).fetchall()
        with planned_briefly(connection):
            ((during,),) = connection.execute(setting).fetchall()
        assert "join_order" in during
        assert before[0][0] in during
        assert connection.execute(setting).fetchall() == before
        broken = made(0, 1700)
        broken.frames["kernels"] = broken.frames["kernels"].with_columns(duration_ns=pl.lit(2**62))
        with pytest.raises(duckdb.Error):  # a sum of durations is out of range
            load(connection, broken)
        assert connection.execute(setting).fetchall() == before


def test_views_are_computed_of_the_tables_that_have_rows() -> None:
    assert with_rows({"kernels", "steps", "gaps", "counters", GEOMETRY}) == list(KEPT)
    assert with_rows([]) == ["kernel_groups", "covered_time", "shared_time", "launch_summary"]
    assert set(with_rows(["gaps"])) - set(with_rows([])) == {"gap_summary"}


def test_a_run_without_steps_and_gaps_has_all_rows_of_the_definitions(tmp_path: Path) -> None:
    run = made(0, 1700)
    run.frames["kernels"] = run.frames["kernels"].with_columns(step_id=pl.lit(None, dtype=pl.Int64))
    for table in ("steps", "gaps", "counters"):
        run.frames.pop(table, None)
        run.records.pop(table, None)
    path = tmp_path / "w.duckdb"
    with connect(path) as connection:
        load(connection, run)
    counts = check(path)
    with_rows_now = {"launch_geometry", "kernel_groups", "covered_time", "launch_summary"}
    assert {view for view, rows in counts.items() if rows} == with_rows_now


@pytest.mark.parametrize("column", [None, *GEOMETRY_COLUMNS])
def test_a_class_with_any_geometry_has_a_row_of_it(tmp_path: Path, column: str | None) -> None:
    run = made_runs.made_run(0, 100)
    run.signatures = made_runs.signatures()
    known = pl.lit(None, dtype=pl.Int64).alias("grid_x") if column is None else pl.lit(1).alias(column)
    run.frames["kernel_classes"] = run.frames["kernel_classes"].drop(GEOMETRY_COLUMNS, strict=False).with_columns(known)
    path = tmp_path / "w.duckdb"
    with connect(path) as connection:
        load(connection, run)
    assert bool(check(path)["launch_geometry"]) == (column is not None)
