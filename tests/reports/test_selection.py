from __future__ import annotations

import duckdb
import pytest

from reports import ReportError
from reports.selection import resolve


def test_all_runs_by_default(connection: duckdb.DuckDBPyConnection) -> None:
    assert resolve(connection) == ["aaaa000000000001", "aaaa000000000002", "bbbb000000000003", "cccc000000000004"]


@pytest.mark.parametrize("wanted", ["laptop", "lap", "cccc000000000004", "cc"])
def test_by_name_id_or_prefix(connection: duckdb.DuckDBPyConnection, wanted: str) -> None:
    assert resolve(connection, [wanted]) == ["cccc000000000004"]


def test_in_the_order_asked_for_and_once(connection: duckdb.DuckDBPyConnection) -> None:
    assert resolve(connection, ["laptop", "decode_b1", "cccc"]) == ["cccc000000000004", "aaaa000000000001"]


def test_an_ambiguous_prefix_lists_what_it_fits(connection: duckdb.DuckDBPyConnection) -> None:
    message = r"^aaaa: fits 2 runs, decode_b1 \(aaaa000000000001\), decode_b2 \(aaaa000000000002\): name one by its id$"
    with pytest.raises(ReportError, match=message):
        resolve(connection, ["aaaa"])


def test_an_unknown_run_lists_the_nearest(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(
        ReportError, match=r"^decode_b3: no such run, the nearest are decode_b2, decode_b1, decode_b512$"
    ):
        resolve(connection, ["decode_b3"])


def test_an_empty_name_is_no_prefix(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ReportError, match="no such run"):
        resolve(connection, [""])
