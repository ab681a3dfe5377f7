"""The explorer in a real browser: what its selectors, clicks and slider do, and that its SQL gives what it shows."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline import warehouse
from tests import sampling
from tests.reports import rich
from tests.reports.browser import Ask, needed

pytestmark = needed

TOUR = Path(__file__).parents[1].joinpath("explorer.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def answer(rich_report: Path, ask: Ask) -> dict[str, Any]:
    return ask(rich_report, TOUR)


@pytest.fixture(scope="module")
def stock(stocked: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = warehouse.connect(stocked, read_only=True)
    yield connection
    connection.close()


SEEN = (
    *("first", "l2", "l1", "all", "counter", "cache_model", "compulsory", "counter_flops", "launch", "operator"),
    *("module", "bf16", "decode", "slide", "one", "two", "none", "hostile", "sorted", "modules", "step", "both"),
    *("graph", "bare"),
)


@cache
def found(stock: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    """The rows of a query; a choice in one panel leaves the SQL of most others as it was."""
    cursor = stock.execute(sql)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_opens_and_answers_without_errors(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []
    assert answer["images"] == 0


@pytest.mark.parametrize("name", SEEN)
def test_the_sql_of_the_table_gives_its_rows(
    answer: dict[str, Any], stock: duckdb.DuckDBPyConnection, name: str
) -> None:
    """Row by row and column by column, whatever is chosen."""
    seen = answer[name]
    shown = list(csv.DictReader(io.StringIO(seen["csv"])))
    rows = found(stock, seen["sql"])
    assert len(shown) == len(rows) > 0
    key = [
        column for column in shown[0] if column in ("run_id", "phase", "kind", "kernel", "operator", "module", "launch")
    ]

    def order(row: dict[str, Any]) -> list[str]:
        return [str(row[column] if row[column] is not None else "") for column in key]

    for mine, theirs in zip(sorted(shown, key=order), sorted(rows, key=order), strict=True):
        for column, text in mine.items():
            value = theirs[column]
            if value is None or isinstance(value, str):
                assert text == (value or ""), column
            else:
                assert math.isclose(float(text), float(value), rel_tol=1e-9), column


@pytest.mark.parametrize(
    "name", sampling.every(4, SEEN, also=map(SEEN.index, ("compulsory", "one", "hostile", "both")))
)
def test_the_sql_of_the_other_panels_gives_what_they_show(
    answer: dict[str, Any], stock: duckdb.DuckDBPyConnection, name: str
) -> None:
    seen = answer[name]
    families = {row["family"]: row["duration_ns"] for row in found(stock, seen["familiesSql"])}
    assert seen["families"] == pytest.approx(families, abs=0.5)
    assert seen["icicle"] == sum(row["duration_ns"] for row in found(stock, seen["icicleSql"]))
    lost = [row for row in found(stock, seen["lostSql"]) if (row["lost_ns"] or 0) > 0]
    for row in lost:
        assert row["item"] in seen["lost"]
        assert (row["cause"] or "")[:40] in seen["lost"]
    assert {row["family"] for row in found(stock, seen["bytesSql"])} == set(families)
    steps = found(stock, seen["timelineSql"])
    assert seen["timeline"] == Counter(timeline_name(row) for row in steps) != {}


def timeline_name(row: dict[str, Any]) -> str:
    """The name under which the page counts an event of the timeline."""
    return str({"stream": row["family"], "gap": row["name"]}.get(row["lane"], row["lane"]))


def test_the_sql_of_whole_runs_runs(answer: dict[str, Any], stock: duckdb.DuckDBPyConnection) -> None:
    assert {name: len(found(stock, sql)) for name, sql in answer["statics"].items()} == {
        "timings": 4,
        "telemetry": 3,
        "ledger": 2,
        "runs": 1,
    }


def test_time_lost_is_that_of_the_deviations_view(answer: dict[str, Any], stock: duckdb.DuckDBPyConnection) -> None:
    mine = found(stock, answer["first"]["lostSql"])
    view = found(stock, f"SELECT * FROM deviations WHERE run_id = '{rich.RUN}' AND level = 'operator'")

    def told(rows: list[dict[str, Any]]) -> dict[Any, Any]:
        return {(r["item"], r["kind"], r["basis"]): [r["duration_ns"], r["lost_ns"], r["saved_ns"]] for r in rows}

    assert told(mine) == {
        key: [pytest.approx(value, nan_ok=True) if value is not None else None for value in values]
        for key, values in told(view).items()
    }


@pytest.mark.parametrize("name", SEEN)
def test_bound_is_the_roof_that_a_point_reached_half_of(answer: dict[str, Any], name: str) -> None:
    """By the selected sources, of all launches of the point together."""
    for row in csv.DictReader(io.StringIO(answer[name]["csv"])):
        reached = float(row["roof_ns"] or 0) >= 0.5 * float(row["duration_ns"])
        assert (row["bound"] == row["nearest_roof"] != "none") == reached, row
        assert reached or row["bound"] in ("latency", "none")


def test_the_nearest_roof_is_that_of_the_selected_bytes(answer: dict[str, Any]) -> None:
    """Of 700 ns of `add`, L2 takes 167, and DRAM 83 by the cache model but 333 by compulsory bytes."""

    def roofs(name: str) -> set[str]:
        return {
            row["nearest_roof"]
            for row in csv.DictReader(io.StringIO(answer[name]["csv"]))
            if row["family"] == "pointwise" and row["phase"] == "prefill"
        }

    assert (roofs("cache_model"), roofs("compulsory")) == ({"l2"}, {"dram"})
    assert "lost?why?nearest roof?" in answer["columns"]
    assert "familybound by?bytes by?" in answer["columns"]


def test_a_diagnosis_says_of_how_many_launches_it_is(answer: dict[str, Any]) -> None:
    """One of the two launches moved 2.6 MB in 2,100 ns at 1.2 TB/s."""
    above = "above its bandwidth by at most 5 %: within the spread of measurements"

    def said(name: str) -> dict[str, str]:
        rows = csv.DictReader(io.StringIO(answer[name]["csv"]))
        return {row["duration_ns"]: row["diagnosis"] for row in rows if row["family"] == "matmul"}

    assert said("first") == {"4600": f"1 of 2 launches: {above}", "2200": ""}
    assert said("launch") == {"2500": "", "2100": above, "2200": ""}
    assert said("operator") == said("first")


def test_time_that_no_roof_judges_stands_apart(answer: dict[str, Any]) -> None:
    assert answer["first"]["hatched"] == [["without a known roof", pytest.approx(400)]]
    assert answer["first"]["lostNote"].startswith("2.99 µs of 9.05 µs")
    assert "hatched is time, not loss, and in no total: 400 ns without a known roof" in answer["first"]["lostNote"]
    assert answer["bare"]["hatched"] == []


def test_points_stand_where_level_and_source_put_them(answer: dict[str, Any]) -> None:
    def x(name: str, family: str = "matmul") -> list[float]:
        return [row[1] for row in answer[name]["points"] if row[0] == family]

    assert x("first") == pytest.approx([2e8 / 4.4e6, 1e8 / 1.9e6])
    assert x("l2") == pytest.approx([25, 25])
    assert x("l1") == pytest.approx([12.5, 12.5])
    assert x("all") == pytest.approx([2e8 / 4.4e6, 25, 12.5, 1e8 / 1.9e6, 25, 12.5])
    assert x("cache_model") == pytest.approx([2e8 / 3.7e6, 1e8 / 1.6e6])
    assert x("compulsory") == pytest.approx([50, 50])
    assert x("counter_flops") == pytest.approx([2.4e8 / 4.4e6, 1.2e8 / 1.9e6])
    assert x("launch") == pytest.approx([1e8 / 1.8e6, 1e8 / 1.9e6, 1e8 / 2.6e6])
    assert "byte of L2" in answer["l2"]["axis"]


def test_selectors_choose(answer: dict[str, Any]) -> None:
    assert answer["first"]["sum"].startswith("7 kernels · 9.05 µs")
    assert answer["bf16"]["sum"].startswith("3 kernels · 6.8 µs")
    assert answer["decode"]["sum"].startswith("2 kernels · 2.85 µs")
    assert answer["both"]["sum"].startswith("14 kernels · 18.1 µs")
    assert answer["executions"] == ["", "cuda_graph", "eager"]
    assert answer["graph"]["sum"].startswith("7 kernels · 9.05 µs")
    assert answer["module"]["table"].startswith("6 points of 6")
    assert "one point per operator" in answer["operator"]["title"]


def test_the_slider_hides_the_shortest(answer: dict[str, Any]) -> None:
    assert len(answer["slide"]["points"]) == 2 < len(answer["first"]["points"])
    assert "the slider leaves out 4 points of 2.25 µs" in answer["slide"]["table"]


def test_a_click_isolates_and_ctrl_adds(answer: dict[str, Any]) -> None:
    assert set(answer["one"]["families"]) == {"matmul"}
    assert set(answer["two"]["families"]) == {"matmul", "pointwise"}
    assert answer["one"]["sum"].startswith("2 kernels · 4.6 µs")
    assert answer["one"]["table"].startswith("1 point of 1")
    assert sorted(set(answer["one"]["opacity"])) == [0.1, 0.9]
    assert answer["none"] == answer["first"]
    assert "full name" in answer["detail"]


def test_the_table_is_searched_and_sorted(answer: dict[str, Any]) -> None:
    assert answer["search"]["table"].startswith("2 points of 6")
    times = [float(row["duration_ns"]) for row in csv.DictReader(io.StringIO(answer["sorted"]["csv"]))]
    assert times == sorted(times)


def test_hostile_names_are_text_in_pages_and_in_sql(answer: dict[str, Any], stock: duckdb.DuckDBPyConnection) -> None:
    assert answer["hostile"]["picked"].startswith("</script><img")
    (row,) = found(stock, answer["hostile"]["sql"])
    assert row["kernel"] == rich.CLASSES[4][0]
    assert "<img" in answer["bare"]["title"]


def test_the_timeline_explains_its_gaps(answer: dict[str, Any]) -> None:
    assert answer["first"]["timeline"] == {
        "matmul": 2,
        "pointwise": 1,
        "copy": 1,
        "other": 1,
        "host_late": 1,
        "launch_latency": 1,
        "step": 1,
    }
    assert answer["step"]["timeline"] == {"matmul": 1, "pointwise": 1, "host_late": 1, "step": 1}
    assert answer["timelineNote"].startswith("2 kernels in 3.65 µs under the profiler")
    assert "host late: the host called too late800 ns, 21.9 %" in answer["timelineLegend"]


def test_timings_and_telemetry_say_what_they_are(answer: dict[str, Any]) -> None:
    assert "median 7 µs, 7 µs to 7 µs, 2 times" in answer["timings"]
    assert "clocks were throttled in 1 run" in answer["telemetry"]


def test_hover_says_source_and_diagnosis_and_spans_the_sources(answer: dict[str, Any]) -> None:
    assert "3.7 MB, cache model" in answer["hover"]
    assert "cache model 3.7 MB · compulsory 4 MB" in answer["hover"]
    assert answer["spread"] == [False, "countercache modelcompulsory"]


def test_ridge_points_are_where_roofs_of_a_source_meet(answer: dict[str, Any]) -> None:
    assert sorted(answer["ridges"]) == pytest.approx([10, 100, 125])


def memory_roofs(seen: dict[str, Any]) -> dict[str, tuple[bool, bool]]:
    """Of each memory roof, whether it is dim, and whether it is a band."""
    return {name: (dim, fill == "toself") for name, dim, fill in seen["roofs"] if "B/s" in name}


def test_the_roofs_of_the_chosen_level_stand_out_and_a_missing_one_is_named(answer: dict[str, Any]) -> None:
    dram, sheet, l2 = "DRAM 1 TB/s, measured", "DRAM 1.2 TB/s, datasheet", "L2 3 TB/s, measured"
    assert memory_roofs(answer["first"]) == {l2: (True, False), sheet: (False, False), dram: (False, False)}
    assert memory_roofs(answer["l2"]) == {l2: (False, False), sheet: (True, False), dram: (True, False)}
    assert set(memory_roofs(answer["l1"]).values()) == {(True, False)}
    assert set(memory_roofs(answer["all"]).values()) == {(False, False)}
    assert "no L1 roof known" in answer["l1"]["note"]
    assert "no L1 roof known" in answer["all"]["note"]
    assert "roof known" not in answer["first"]["note"] + answer["l2"]["note"]


def test_the_lane_has_the_roofs_of_its_level(answer: dict[str, Any]) -> None:
    assert answer["first"]["laneRoofs"] == [["line", 1e12, 1e12], ["line", 1.2e12, 1.2e12]]


def test_roofs_are_those_of_the_chosen_run_and_a_band_over_several(answer: dict[str, Any]) -> None:
    assert "DRAM 1 TB/s, measured" in memory_roofs(answer["first"])
    assert "DRAM 1.05 TB/s, measured" in memory_roofs(answer["other"])
    both = memory_roofs(answer["both"])
    assert both["DRAM 1 to 1.05 TB/s, measured"] == (False, True)
    assert both["L2 3 TB/s, measured"] == (True, False)
    assert answer["both"]["laneRoofs"][0] == ["rect", 1e12, 1.05e12]


def test_a_run_without_ceilings_or_steps_says_so(answer: dict[str, Any]) -> None:
    assert "$" not in answer["bare"]["lostNote"]
    assert answer["bare"]["lostNote"].startswith("No kernel here has a known roof")
    assert answer["printed"] == "light"


def test_a_kernel_that_bypasses_l1_has_no_point_there(answer: dict[str, Any]) -> None:
    assert [name for name, *_ in answer["l1"]["points"]] == ["matmul", "matmul"]
    assert "1 kernel of 700 ns bypass L1" in answer["l1"]["laneNote"]
    assert "bypass" not in answer["l2"]["laneNote"]
