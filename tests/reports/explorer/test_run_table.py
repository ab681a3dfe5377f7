from __future__ import annotations

from typing import Any

from ridgeline.reports.explorer.run_table import COLUMNS, table


def run(**values: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {column.key: None for column in COLUMNS}
    return {**empty, "run_id": "a", "name": "a", "outcome": "ok", **values}


def test_settings_of_all_runs_are_said_once() -> None:
    shown = table([run(mode="ar", batch=1, step_ns=2_500_000, mfu=0.5), run(mode="ar", batch=16, step_ns=2_500_000)])
    assert [column.title for column in shown.columns] == ["batch", "step time", "MFU"]
    assert [cells for _, cells in shown.rows] == [["1", "2.5 ms", "50 %"], ["16", "2.5 ms", ""]]
    assert shown.common == [("mode", "ar")]


def test_a_single_run_keeps_its_columns() -> None:
    shown = table([run(mode="ar", peak_memory_bytes=15_400_000_000)])
    assert [column.title for column in shown.columns] == ["mode", "peak memory"]
    assert [cells for _, cells in shown.rows] == [["ar", "15.4 GB"]]


def test_settings_and_metrics_are_those_that_the_list_offers() -> None:
    shown = table([run(experiment="e1", mode="ar", batch=1, mfu=0.5, recording="partial"), run(mode="ar", batch=16)])
    assert [column.title for column in shown.settings] == ["experiment", "batch"]
    assert [column.title for column in shown.metrics] == ["MFU"]


def test_outcomes_are_shown_where_one_failed() -> None:
    assert [column.title for column in table([run(), run(outcome="oom")]).columns] == ["outcome"]


def test_no_runs() -> None:
    assert table([]).columns == []


def test_a_run_whose_trace_breaks_off_is_marked() -> None:
    shown = table([run(recording="partial"), run()])
    assert [column.title for column in shown.columns] == ["trace"]
    assert [cells for _, cells in shown.rows] == [["partial"], [""]]
