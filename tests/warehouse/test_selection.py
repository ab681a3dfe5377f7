from __future__ import annotations

import duckdb
import pytest

from ridgeline.warehouse import SelectionError
from ridgeline.warehouse.selection import resolve
from tests.warehouse.rows import insert

RUNS = {
    "aaaa000000000001": "decode_b1",
    "aaaa000000000002": "decode_b2",
    "bbbb000000000003": "decode_b512",
    "cccc000000000004": "laptop",
}


@pytest.fixture
def runs(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    for run_id, name in RUNS.items():
        insert(
            connection,
            "runs",
            run_id=run_id,
            name=name,
            experiment="small" if name < "decode_b3" else None,
            content_sha256="",
            source="kineto",
            device_kind="cuda",
            rank=0,
            outcome="ok",
            device_time_ns=0,
            rules_version=1,
        )
    return connection


def test_all_runs_by_default(runs: duckdb.DuckDBPyConnection) -> None:
    assert resolve(runs) == ["aaaa000000000001", "aaaa000000000002", "bbbb000000000003", "cccc000000000004"]


@pytest.mark.parametrize("wanted", ["laptop", "lap", "cccc000000000004", "cc"])
def test_by_name_id_or_prefix(runs: duckdb.DuckDBPyConnection, wanted: str) -> None:
    assert resolve(runs, [wanted]) == ["cccc000000000004"]


def test_in_the_order_asked_for_and_once(runs: duckdb.DuckDBPyConnection) -> None:
    assert resolve(runs, ["laptop", "decode_b1", "cccc"]) == ["cccc000000000004", "aaaa000000000001"]


@pytest.mark.parametrize("wanted", ["decode_b?", "experiment:small"])
def test_by_pattern_or_experiment(runs: duckdb.DuckDBPyConnection, wanted: str) -> None:
    assert resolve(runs, ["laptop", wanted]) == ["cccc000000000004", "aaaa000000000001", "aaaa000000000002"]


def test_brackets_of_a_pattern_are_text(runs: duckdb.DuckDBPyConnection) -> None:
    runs.execute("UPDATE runs SET name = 'decode_b[12]' WHERE name = 'laptop'")
    assert resolve(runs, ["decode_b[12]*"]) == ["cccc000000000004"]


def test_a_name_that_holds_a_star_is_itself_first(runs: duckdb.DuckDBPyConnection) -> None:
    runs.execute("UPDATE runs SET name = 'decode*' WHERE name = 'laptop'")
    assert resolve(runs, ["decode*"]) == ["cccc000000000004"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("x*", r"^x\*: fits none of the 4 runs \(decode_b1, decode_b2, decode_b512, laptop\)$"),
        ("experiment:x", r"^experiment:x: fits none of the 1 experiments \(small\)$"),
    ],
)
def test_a_pattern_of_nothing_lists_what_there_is(runs: duckdb.DuckDBPyConnection, wanted: str, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        resolve(runs, [wanted])


def test_an_ambiguous_prefix_lists_what_it_fits(runs: duckdb.DuckDBPyConnection) -> None:
    message = r"^aaaa: fits 2 runs, decode_b1 \(aaaa000000000001\), decode_b2 \(aaaa000000000002\): name one by its id$"
    with pytest.raises(SelectionError, match=message):
        resolve(runs, ["aaaa"])


def test_an_unknown_run_lists_the_nearest(runs: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(
        SelectionError, match=r"^decode_b3: no such run, the nearest are decode_b2, decode_b1, decode_b512$"
    ):
        resolve(runs, ["decode_b3"])


def test_an_empty_name_is_no_prefix(runs: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SelectionError, match="no such run"):
        resolve(runs, [""])
