from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline import warehouse
from ridgeline.reports import ReportError, queries
from ridgeline.reports.comparison.compare import Comparison, Side, above, compare, unseen
from ridgeline.reports.comparison.sides import select
from ridgeline.reports.comparison.text import text
from ridgeline.warehouse import SelectionError
from tests import sampling

HOSTILE = "</script><img src=x onerror=alert(1)>"
NAMES = [
    "before",
    "after",
    "wobbly",
    "old_1",
    "old_2",
    "new_1",
    "new_2",
    "single",
    "single_slow",
    "wide",
    "denoising",
    "elsewhere",
    "hostile",
    "single,cool",
]


@pytest.fixture(scope="module")
def runs(compared: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = warehouse.connect(compared, read_only=True)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def before_after(runs: duckdb.DuckDBPyConnection) -> Comparison:
    return compare(runs, "before", "after")


def only(found: Comparison, level: str, **values: Any) -> dict[str, Any]:
    (row,) = [row for row in found.level(level) if all(row[key] == value for key, value in values.items())]
    return row


def statuses(found: Comparison, level: str, key: str = "operator") -> dict[str, tuple[str, float]]:
    return {row[key]: (row["status"], row["delta_ns_per_step"]) for row in found.level(level)}


def test_rows_align_by_operator_module_and_shapes_not_by_kernel(before_after: Comparison) -> None:
    assert statuses(before_after, "row") == {
        "aten::mm": ("slower", 1000),
        "aten::sdpa": ("same", -1000),
        "aten::norm": ("gone", -300),
        "aten::silu": ("added", 200),
        "aten::add.Tensor": ("same", 100),
    }
    gemm = only(before_after, "row", operator="aten::mm")
    assert (gemm["module"], gemm["base_shapes"], gemm["other_shapes"]) == ("model.layers.*.mlp", MM, MM)
    assert (gemm["base_ns_per_step"], gemm["other_ns_per_step"], gemm["base_duration_ns"]) == (2020, 3020, 4040)
    assert (gemm["base_launches_per_step"], gemm["other_launches_per_step"]) == (2, 2)
    assert (gemm["base_kernels"], gemm["other_kernels"]) == ("gemm_64x8", "gemm_128x8")
    assert gemm["why"] == "other kernels, further from the roof"
    assert gemm["change"] == pytest.approx(1000 / 2020)
    # 2e6 bytes a launch at 1e12 byte/s are 2 us, of 1.01 us before and 1.51 us after
    assert (gemm["base_roof_fraction"], gemm["other_roof_fraction"]) == pytest.approx((4000 / 2020, 4000 / 3020))
    assert (gemm["base_bytes_per_step"], gemm["base_bytes_source"]) == (4e6, "compulsory")


MM = "[[1, 64], [64, 64]]"


def test_noise_comes_from_the_steps_of_both_runs(before_after: Comparison) -> None:
    # steps of 4000 and 4400 before, 3000 and 3400 after: a pooled variance of 80000, t of two degrees of freedom 9.92
    attention = only(before_after, "row", operator="aten::sdpa")
    assert attention["noise_basis"] == "steps"
    assert attention["noise_ns"] == pytest.approx(9.92 * math.sqrt(80000 * (1 / 2 + 1 / 2)))
    # no spread at all: 3 % of a part, of which 100 ns a launch are less, and 1 % of the whole
    assert only(before_after, "row", operator="aten::add.Tensor")["noise_ns"] == pytest.approx(150)
    assert only(before_after, "row", operator="aten::norm")["noise_ns"] is None


def test_steps_are_timed_without_the_profiler_where_they_were(before_after: Comparison) -> None:
    step = only(before_after, "unprofiled")
    assert (step["base_ns_per_step"], step["other_ns_per_step"], step["status"]) == (20100, 25100, "slower")
    assert (step["base_low_ns"], step["base_high_ns"]) == (20000, 20200)
    # a pooled variance of 20000 over two repeats a side
    assert step["noise_ns"] == pytest.approx(9.92 * math.sqrt(20000))


@pytest.mark.parametrize(
    ("base", "other"),
    [
        ("before", "after"),
        ("single", "before"),
        ("old_*", "after,new_1"),
        ("before", "hostile"),
        ("denoising", "wide,single,wobbly"),
    ],
)
def test_every_level_sums_to_the_change_of_device_time(runs: duckdb.DuckDBPyConnection, base: str, other: str) -> None:
    found = compare(runs, base, other)
    for stage in found.stages:
        whole = only(found, "step", stage=stage)
        for level in ("family", "module", "operator", "kernel", "row"):
            own = [row for row in found.level(level) if row["stage"] == stage]
            for side in ("base", "other"):
                parts = [row[f"{side}_duration_ns"] or 0 for row in own]
                assert sum(parts) == (whole[f"{side}_duration_ns"] or 0)
            assert sum(row["delta_ns_per_step"] for row in own) == pytest.approx(whole["delta_ns_per_step"], rel=1e-12)
            if whole["status"] != "same":
                assert sum(row["share_of_change"] for row in own) == pytest.approx(1)


def test_the_steps_hold_all_device_time(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "before,old_1", "after")
    device_time = runs.execute("SELECT SUM(device_time_ns) FROM runs WHERE name IN ('before', 'old_1')").fetchone()
    assert (sum(row["base_duration_ns"] for row in found.level("step")),) == device_time


def test_a_diagnosis_is_that_of_most_of_the_time(runs: duckdb.DuckDBPyConnection, before_after: Comparison) -> None:
    """4,400 of 8,400 ns before; of both runs together 4,400 of 14,800 ns, a minority's."""
    both = compare(runs, "before,after", "single")
    assert only(both, "operator", operator="aten::sdpa")["base_diagnosis"] is None
    attention = only(before_after, "row", operator="aten::sdpa")
    assert (attention["base_diagnosis"], attention["other_diagnosis"]) == (
        "52 % of its time: far from its roof",
        None,
    )
    add = only(before_after, "operator", operator="aten::add.Tensor")
    assert (add["base_diagnosis"], add["other_diagnosis"]) == ("far from its roof",) * 2
    assert {row["base_diagnosis"] for row in before_after.level("family")} == {None}


def test_groups_take_their_noise_from_their_runs(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "old_1,old_2", "experiment:new")
    gemm, add = (only(found, "row", operator=name) for name in ("aten::mm", "aten::add.Tensor"))
    assert (gemm["noise_basis"], gemm["status"], gemm["delta_ns_per_step"]) == ("runs", "slower", 5000)
    assert gemm["noise_ns"] == pytest.approx(9.92 * math.sqrt(5000))
    assert (add["status"], add["delta_ns_per_step"]) == ("same", 500)
    assert add["noise_ns"] == pytest.approx(9.92 * math.sqrt((500_000 + 320_000) / 2))


def test_a_row_that_some_runs_lack_is_zero_in_them(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "old_1,single", "new_*")
    add = only(found, "operator", operator="aten::add.Tensor")
    # 5000 and 0 against 5600 and 6400
    assert (add["base_ns_per_step"], add["noise_basis"]) == (2500, "runs")
    assert add["noise_ns"] == pytest.approx(9.92 * math.sqrt((12_500_000 + 320_000) / 2))


def test_with_a_single_sample_noise_is_unknown_and_assumed(runs: duckdb.DuckDBPyConnection) -> None:
    row = only(compare(runs, "single", "single_slow"), "row")
    assert (row["noise_basis"], row["noise_ns"], row["status"]) == ("unknown", 500, "same")
    assert only(compare(runs, "single", "wide"), "row")["status"] == "slower"


def test_other_shapes_align_in_the_order_of_their_launch(runs: duckdb.DuckDBPyConnection) -> None:
    row = only(compare(runs, "single", "wide"), "row")
    assert (row["base_shapes"], row["other_shapes"]) == (MM, "[[2, 64], [64, 64]]")
    assert row["why"] == "other shapes, further from the roof"


def test_shapes_of_both_align_and_others_by_their_place_or_together(runs: duckdb.DuckDBPyConnection) -> None:
    def aligned(other: str) -> set[tuple[str, str, float]]:
        rows = compare(runs, "shapes_a", other).level("row")
        return {(row["base_shapes"], row["other_shapes"], row["delta_ns_per_step"]) for row in rows}

    assert aligned("shapes_b") == {("[[9]]", "[[9]]", 0), ("[[1]]", "[[4]]", 500), ("[[2]]", "[[3]]", 7000)}
    assert aligned("shapes_c") == {("[[9]]", "[[9]]", 0), ("[[1]] and [[2]]", "[[5]]", 4000)}


def test_a_row_of_some_steps_has_the_noise_of_those(runs: duckdb.DuckDBPyConnection) -> None:
    gemm = only(compare(runs, "rare", "rare_slow"), "row", operator="aten::mm")
    assert (gemm["base_ns_per_step"], gemm["delta_ns_per_step"]) == (2050, 2000)
    # in half of the steps, two samples a side, a pooled variance of 20000
    assert gemm["noise_ns"] == pytest.approx(9.92 * math.sqrt(20000 * (0.25 / 2 + 0.25 / 2)))


def test_what_is_outside_steps_pairs_with_itself(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "outside_a", "outside_b")
    assert sorted(found.stages) == ["(outside steps)", "decode → denoise"]
    assert only(found, "step", stage="(outside steps)")["base_ns_per_step"] == 50


def test_bytes_of_other_sources_are_no_reason(runs: duckdb.DuckDBPyConnection) -> None:
    row = only(compare(runs, "single", "counted"), "row")
    assert (row["base_bytes_source"], row["other_bytes_source"]) == ("compulsory", "trace")
    assert row["other_bytes_per_step"] == 2 * row["base_bytes_per_step"]
    assert "bytes" not in row["why"]


def test_the_clock_is_a_reason_where_all_else_is_alike(runs: duckdb.DuckDBPyConnection) -> None:
    assert only(compare(runs, "cool", "hot"), "row")["why"] == "further from the roof, lower clock"
    assert only(compare(runs, "hot", "cool"), "row")["why"] == "closer to the roof, higher clock"


def test_a_fused_kernel_says_what_it_fuses(runs: duckdb.DuckDBPyConnection) -> None:
    row = only(compare(runs, "single", "fused"), "row", status="added")
    assert (row["operator"], row["why"]) == ("triton_poi_fused_add_mul", "fuses add_mul")


def test_with_nothing_in_common_there_is_nothing_to_pass() -> None:
    with pytest.raises(ReportError, match="nothing to check"):
        above(Comparison(Side([], []), Side([], []), []), 5)


@pytest.mark.parametrize("name", sampling.every(4, NAMES, also=map(NAMES.index, ("hostile", "single,cool"))))
def test_a_run_beside_itself_is_the_same_throughout(runs: duckdb.DuckDBPyConnection, name: str) -> None:
    found = compare(runs, name, name)
    assert {row["status"] for row in found.rows} == {"same"}
    assert {row["delta_ns_per_step"] for row in found.rows} == {0}
    assert found.differing == []
    assert above(found, 0) == []


def test_modules_are_left_out_where_one_side_names_none(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "old_1", "single")
    assert {row["module"] for row in found.level("module")} == {"(any module)"}
    assert statuses(found, "row")["aten::mm"] == ("same", 0)
    assert "module" not in found.parts


def test_main_kinds_are_paired_where_none_is_shared(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "wide", "denoising")
    assert found.stages == ["decode → denoise"]
    assert found.warnings == [
        "the sides share no kind of step, so the most frequent kinds are compared: decode → denoise"
    ]
    assert statuses(found, "row") == {"aten::mm": ("same", 0)}


def test_what_differs_is_said_and_what_makes_numbers_doubtful(
    runs: duckdb.DuckDBPyConnection, before_after: Comparison
) -> None:
    assert before_after.differing == [("execution", "eager", "compile")]
    assert ("model", "m") in before_after.common
    assert compare(runs, "single", "elsewhere").warnings == ["devices differ: Test Device and Other Device"]
    mixed = compare(runs, "single,wide,too_big", "single")
    assert mixed.warnings == [
        "on both sides: single",
        "the runs of base differ among themselves in batch",
        "too_big is left out: oom (wanted 90 GB of 80 GB)",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("silent", "^silent: no kernels: nothing to compare$"),
        ("too_big", r"^too_big: oom \(wanted 90 GB of 80 GB\): nothing to compare$"),
        ("absent", "^absent: no such run, the nearest are "),
        ("old", "^old: fits 2 runs"),
        ("x*", "^x\\*: fits none of the 26 runs "),
        ("experiment:x", r"^experiment:x: fits none of the 2 experiments \(new, old, \*\)$"),
        ("before,", "no such run"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(runs: duckdb.DuckDBPyConnection, name: str, message: str) -> None:
    with pytest.raises((ReportError, SelectionError), match=message):
        compare(runs, name, "before")
    with pytest.raises((ReportError, SelectionError), match=message):
        compare(runs, "before", name)


@pytest.mark.parametrize("wanted", ["old_1,old_2", "old_1, old_2,old_1", "old_?", "old_*", "experiment:old, *"])
def test_groups_are_lists_patterns_or_experiments(runs: duckdb.DuckDBPyConnection, wanted: str) -> None:
    names = [
        runs.execute("SELECT name FROM runs WHERE run_id = ?", [i]).fetchone() for i in select(runs, wanted).run_ids
    ]
    assert names == [("old_1",), ("old_2",)]


def test_a_name_with_a_comma_or_a_star_is_itself_first(tmp_path: Path) -> None:
    connection = warehouse.connect(tmp_path / "w.duckdb")
    for run_id, name in (("1", "a"), ("2", "b"), ("3", "a,b"), ("4", "a*"), ("5", "a[1]"), ("6", "a1")):
        connection.execute(
            "INSERT INTO runs (run_id, name, content_sha256, source, device_kind, rank, outcome, device_time_ns,"
            " rules_version) VALUES (?, ?, '', 'kineto', 'cuda', 0, 'ok', 0, 1)",
            [run_id, name],
        )
    assert [select(connection, wanted).run_ids for wanted in ("a,b", "b,a", "a*", "a[?]")] == [
        ["3"],
        ["2", "1"],
        ["4"],
        ["5"],
    ]
    connection.close()


def test_fail_above_takes_the_unprofiled_step_and_asks_for_more_than_noise(
    runs: duckdb.DuckDBPyConnection, before_after: Comparison
) -> None:
    assert above(before_after, 25) == []
    assert above(before_after, 20) == ["decode is 24.9 % slower (20.1 µs to 25.1 µs unprofiled, noise ±6.98 %)"]
    assert above(compare(runs, "after", "before"), 0) == []
    # 21 us after 20.1 us, but repeats of 18 and 24 us
    assert above(compare(runs, "before", "wobbly"), 1) == []


def test_noise_wider_than_the_percent_is_said(before_after: Comparison) -> None:
    assert unseen(before_after, 7) == []
    assert unseen(before_after, 6) == [
        "decode: its noise is ±6.98 % unprofiled, so a smaller slowdown passes --fail-above 6"
    ]


def test_fail_above_takes_device_time_where_steps_were_not_timed(runs: duckdb.DuckDBPyConnection) -> None:
    assert above(compare(runs, "single", "wide"), 50) == [
        "decode is 60 % slower (10 µs to 16 µs of device time, noise ±5 %, assumed)"
    ]


def test_csv_and_json_hold_every_row(before_after: Comparison) -> None:
    listed = list(csv.DictReader(io.StringIO(text(before_after, "csv"))))
    content = json.loads(text(before_after, "json"))
    assert len(listed) == len(content["rows"]) == len(before_after.rows)
    assert content["rows"] == before_after.rows
    assert [row["delta_ns_per_step"] for row in listed] == [str(row["delta_ns_per_step"]) for row in before_after.rows]
    assert content["base"] == [{"run_id": "0000000000000000", "name": "before"}]
    assert content["differing"] == {"execution": {"base": "eager", "other": "compile"}}
    assert content["warnings"] == []


def test_the_table_says_the_whole_first(before_after: Comparison) -> None:
    shown = text(before_after, "table")
    titles = ["Step, without", "Step, device time", "By family", "By module", "By operator ", "By operator, module"]
    assert sorted(titles, key=shown.index) == titles
    (line,) = [line for line in shown.splitlines() if line.startswith("  aten::mm model.layers.*.mlp [[1, 64]")]
    cells = ["2.02 µs", "3.02 µs", "+1 µs", "+49.5 %", "±13.9 %", "2", "slower", "other kernels, further from the roof"]
    assert [cell.strip() for cell in line.split("  ") if cell.strip()][1:] == cells


def test_hostile_names_cannot_move_the_cursor_or_leave_their_cell(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "hostile", "hostile")
    assert HOSTILE in text(found, "table")
    assert found.stages == [HOSTILE]
    assert json.loads(text(found, "json"))["rows"] == found.rows


def test_the_sql_written_out_gives_the_same_rows(runs: duckdb.DuckDBPyConnection, before_after: Comparison) -> None:
    statement = queries.runnable(
        queries.text("compare"), base=before_after.base.run_ids, other=before_after.other.run_ids
    )
    assert len(runs.execute(statement).fetchall()) == len(before_after.rows)
