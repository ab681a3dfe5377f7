"""Repricing a warehouse that other rules filled gives what the current rules would have filled it with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ridgeline.analyze.pricing import RULES_VERSION, compute_unit, engines, rules
from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.rules.rule import EngineRule, Rule, no_flops, unknown_flops
from ridgeline.analyze.reprice import reprice
from ridgeline.warehouse import connect
from ridgeline.warehouse.errors import WarehouseError
from ridgeline.warehouse.rollups import KEPT_TABLES
from tests.analyze import kineto
from tests.analyze.loading import dump, load, query

BF16 = "c10::BFloat16"
Doctor = Callable[[pytest.MonkeyPatch], None]
Tables = dict[str, list[tuple[Any, ...]]]


def on_cpu() -> list[kineto.Event]:
    """A step with an operator of an engine, which calls another, and one beside it."""
    return [
        kineto.annotation("phase=decode step=3 kind=decode", 0.0, 100.0),
        kineto.operator("_C::silu_and_mul", 2.0, 20.0, 1, [[4, 32], [4, 64]], [BF16, BF16]),
        kineto.operator("aten::exp", 5.0, 10.0, 2, [[4, 32]], [BF16]),
        kineto.operator("aten::neg", 40.0, 10.0, 3, [[4, 32]], [BF16]),
        kineto.operator("aten::abs", 60.0, 10.0, 4, [[4, 32]], [BF16]),
    ]


def write(folder: Path) -> list[Path]:
    """A trace of a device, one with damage to its text, and one of a machine without."""
    folder.mkdir()
    odd = [
        kineto.operator("aten::mm", 5.0, 10.0, 2, [[4, 64], [64, 32]], [BF16, BF16]),
        kineto.operator("aten::neg", 30.0, 10.0, 3, [[4]], ["float"], ["DAMAGED"]),
        kineto.launch(6.0, 11),
        kineto.launch(31.0, 12),
        kineto.kernel("ampere_sgemm", 10.0, 4.0, 11, **{"External id": 2}),
        kineto.kernel("k", 35.0, 4.0, 12, **{"External id": 3}),
    ]
    traces = {"device": kineto.matmul_step(), "odd": odd, "host": on_cpu()}
    paths = [kineto.write(folder / f"{name}.json", events) for name, events in traces.items()]
    paths[1].write_bytes(paths[1].read_bytes().replace(b"DAMAGED", b"\xff"))
    return paths


def no_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of launches too: the reduction after a split product writes the result."""
    monkeypatch.setitem(rules.RULES, "mm", Rule(("mm",), no_flops, bytes=lambda bound, outputs: (1, 1)))


def no_tensor_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_unit, "TENSOR_FAMILIES", frozenset())


def other_families(monkeypatch: pytest.MonkeyPatch) -> None:
    from ridgeline.analyze.pricing import families

    known = families.tables()._replace(operators={"mm": "other"}, specific={}, generic={})
    monkeypatch.setattr(families, "tables", lambda: known)
    families._family.cache_clear()


def unknown_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator without a rule only calls others, which stand for themselves."""
    monkeypatch.delitem(engines.RULES, "_C::silu_and_mul")


def no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing known of pointwise operators: another entry of the ledger."""
    from ridgeline.analyze.pricing import price

    monkeypatch.setattr(price, "_by_rule", lambda call, ask: None)
    monkeypatch.setattr(price, "from_inputs", lambda call: Price(None, None, None, None, False, "none", "low"))


@pytest.fixture(autouse=True)
def fresh_families() -> None:
    from ridgeline.analyze.pricing import families

    families._family.cache_clear()


def filled_by(doctor: Doctor, warehouse: Path, traces: list[Path], version: int = RULES_VERSION - 1) -> None:
    """Load the traces under other rules and an older version of them."""
    from ridgeline.analyze.pricing import families

    with pytest.MonkeyPatch.context() as patch:
        for module in ("ingest", "tables.runs", "pricing.stored_prices"):
            patch.setattr(f"ridgeline.analyze.{module}.RULES_VERSION", version)
        doctor(patch)
        assert {outcome for _, outcome in load(warehouse, *traces)} == {"loaded"}
    families._family.cache_clear()


class Fresh(NamedTuple):
    """The traces, and a warehouse that the current rules filled; tests copy the file before they change it."""

    traces: list[Path]
    path: Path
    tables: Tables


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    folder = tmp_path_factory.mktemp("fresh")
    traces = write(folder / "traces")
    load(folder / "new.duckdb", *traces)
    tables = dump(folder / "new.duckdb")
    del tables["schema_version"]
    return Fresh(traces, folder / "new.duckdb", tables)


@pytest.fixture(scope="module")
def without_products(tmp_path_factory: pytest.TempPathFactory, fresh: Fresh) -> Path:
    """A warehouse of older rules without products; tests copy the file before they change it."""
    path = tmp_path_factory.mktemp("old") / "old.duckdb"
    filled_by(no_products, path, fresh.traces)
    return path


@pytest.mark.parametrize(
    ("doctor", "touched"),
    [
        (no_products, {"signatures", "kernels"}),
        (no_tensor_units, {"signatures", "kernel_classes"}),
        (other_families, {"signatures", "kernel_classes"}),
        (
            unknown_engines,
            {"signatures", "kernels", "kernel_classes", "operators", "steps", "ledger", "gaps", "warnings"},
        ),
    ],
)
def test_every_table_equals_a_fresh_ingest(
    doctor: Doctor, touched: set[str], tmp_path: Path, fresh: Fresh, without_products: Path
) -> None:
    expected = fresh.tables
    old = tmp_path / "old.duckdb"
    if doctor is no_products:
        shutil.copyfile(without_products, old)
    else:
        filled_by(doctor, old, fresh.traces)
    before = dump(old)
    del before["schema_version"]
    changed = {table for table in expected if before[table] != expected[table]}
    assert changed - set(KEPT_TABLES) == {"runs", "digests", *touched}
    done = reprice(old)
    assert (done.runs, done.signatures, done.stale) == (3, len(expected["signatures"]), [])
    assert done.changed == (0 if doctor is no_tensor_units else len(_differing(before, expected)))
    after = dump(old)
    assert {table: after[table] for table in expected} == expected


def test_a_captured_run_keeps_its_predictions(tmp_path: Path) -> None:
    """They are of its configuration and its roofs, not of rules."""
    run = Path(__file__).parents[1] / "data/h200-counted/tiny-llama_ar_p64_g32_b1_bf16_eager"
    old, new = tmp_path / "old.duckdb", tmp_path / "new.duckdb"
    filled_by(no_products, old, [run])
    load(new, run)
    modelled = "SELECT predicted_flops, modelled_flops FROM predicted_steps ORDER BY ALL"
    assert query(old, modelled) != query(new, modelled)
    reprice(old)
    before, after = dump(old), dump(new)
    assert len(after["predictions"]) == 80
    del before["schema_version"], after["schema_version"]  # with the time at which each file was made
    assert before == after


def _differing(before: Tables, after: Tables) -> set[tuple[object, ...]]:
    """Signatures in both whose price differs, the version of the rules aside."""
    version = 14  # the column rules_version
    new, old = ({(*row[:version], *row[version + 1 :]) for row in each["signatures"]} for each in (after, before))
    return new - old


def test_the_ledger_follows(tmp_path: Path, fresh: Fresh) -> None:
    old = tmp_path / "old.duckdb"
    filled_by(no_bytes, old, fresh.traces)
    ledger = "SELECT * FROM ledger ORDER BY ALL"
    assert query(old, ledger) != fresh.tables["ledger"]
    reprice(old)
    assert query(old, ledger) == fresh.tables["ledger"]


def test_operators_that_are_not_stored_are_asked_for(tmp_path: Path) -> None:
    """An operator that stood for all inside it no longer does: what is inside has to come from the trace."""

    def silu_has_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(engines.RULES, "mine::silu", EngineRule(("mine::silu",), "=out input", unknown_flops))

    events = [event | {"name": event["name"].replace("_C::silu_and_mul", "mine::silu")} for event in on_cpu()]
    trace = kineto.write(tmp_path / "host.json", events)
    warehouse = tmp_path / "w.duckdb"
    filled_by(silu_has_a_kernel, warehouse, [trace])
    kernels = query(warehouse, "SELECT kernel, duration_ns FROM kernel_roofline ORDER BY start_ns")
    assert reprice(warehouse).stale == ["host"]
    assert query(warehouse, "SELECT kernel, duration_ns FROM kernel_roofline ORDER BY start_ns") == kernels
    assert load(warehouse, trace) == [("host", "replaced")]
    assert len(query(warehouse, "SELECT * FROM kernels")) == len(kernels) + 1


def test_a_second_time_changes_nothing(tmp_path: Path, fresh: Fresh) -> None:
    warehouse = shutil.copyfile(fresh.path, tmp_path / "w.duckdb")
    before = dump(warehouse)
    assert reprice(warehouse).changed == 0
    assert dump(warehouse) == before


def test_a_failure_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_products: Path
) -> None:
    warehouse = shutil.copyfile(without_products, tmp_path / "w.duckdb")
    before = dump(warehouse)

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("ridgeline.analyze.reprice._store_times", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        reprice(warehouse)
    assert dump(warehouse) == before


def test_shares_that_a_twin_told_stay(tmp_path: Path) -> None:
    """Whatever the twin's durations were; and if its kernels come to other units the trace is asked for."""
    trace = kineto.write(tmp_path / "device.json", kineto.matmul_step())
    warehouse = tmp_path / "w.duckdb"
    load(warehouse, trace)
    connection = connect(warehouse)
    connection.execute("UPDATE kernel_classes SET attribution = 'graph_twin' WHERE kernel LIKE 'nvjet%'")
    connection.execute("UPDATE kernels SET share = 0.25 WHERE kernel_id = 0")
    connection.close()
    assert reprice(warehouse).stale == []
    assert query(warehouse, "SELECT share FROM kernels WHERE kernel_id = 0") == [(0.25,)]
    with pytest.MonkeyPatch.context() as patch:
        no_tensor_units(patch)
        assert reprice(warehouse).stale == ["device"]


def test_there_has_to_be_a_warehouse(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="no such warehouse: make one with"):
        reprice(tmp_path / "none.duckdb")
    assert not (tmp_path / "none.duckdb").exists()


def test_older_rules_leave_what_newer_ones_priced(tmp_path: Path, fresh: Fresh) -> None:
    warehouse = tmp_path / "w.duckdb"
    filled_by(no_products, warehouse, fresh.traces, RULES_VERSION + 1)
    before = dump(warehouse)
    with pytest.raises(WarehouseError, match=rf"version {RULES_VERSION + 1}; .* version {RULES_VERSION}:"):
        reprice(warehouse)
    assert dump(warehouse) == before
