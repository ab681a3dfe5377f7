"""The timeline: the events and bins that a page holds, and what a reader finds on the canvas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline import warehouse
from ridgeline.reports import html, queries
from ridgeline.reports.explorer import data, page, timeline
from ridgeline.reports.explorer.point_budget import stretches
from tests.reports.browser import Ask, in_a_browser
from tests.reports.conftest import DEVICE, insert, make
from tests.reports.explorer.test_explorer import timeline_name

FIRST, SECOND, ALONE, CPU = "a0", "b0", "c0", "d0"
# By the clock, the second run begins 2 us after the first, and the third a day later.
CLOCKS = {FIRST: 0, SECOND: 2_000, ALONE: 86_400_000_000_000}

# operator, thread, parent, start, duration, signature
OPERATORS = [
    (0, "10/10", None, 0, 1000, None, "aten::linear"),
    (1, "10/10", 0, 100, 800, "t_mm", "aten::mm"),
    (2, "10/11", None, 1500, 200, "t_add", "aten::add"),
]
# class, stream, start, duration, launch, operator
KERNELS = [(0, 7, 1000, 3000, 500, 1), (1, 13, 5000, 1000, None, None), (1, None, 8000, 2000, 1600, 2)]
GAPS = [(4000, 1000, "host_late"), (6000, 2000, "synchronisation")]


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    for signature, operator, family in (("t_mm", "aten::mm", "matmul"), ("t_add", "aten::add", "pointwise")):
        price = {"composite": False, "method": "meta", "confidence": "high", "rules_version": 1}
        insert(
            connection, "signatures", signature_id=signature, operator=operator, family=family, shapes="[[2]]", **price
        )
    for run_id in (*CLOCKS, CPU):
        _add_run(connection, run_id)


def _add_run(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    cpu = run_id == CPU
    clock = None if cpu else 1_000_000_000_000_000_000 + CLOCKS[run_id]
    kind = {"device_kind": "cpu" if cpu else "cuda", "device": None if cpu else DEVICE, "base_time_ns": clock}
    told = {"content_sha256": "", "source": "kineto", "outcome": "ok", "device_time_ns": 6000, "rules_version": 1}
    insert(connection, "runs", run_id=run_id, name=f"run_{run_id}", rank=0, **kind, **told)
    classes = [("mm_kernel", "matmul", "t_mm"), ("add_kernel", "pointwise", "t_add")]
    for class_id, (kernel, family, priced) in enumerate(classes):
        names = {"kernel": kernel, "category": "kernel", "family": family, "signature_id": priced}
        insert(connection, "kernel_classes", run_id=run_id, class_id=class_id, attribution="external_id", **names)
    for operator_id, thread, parent, start, duration, signature, operator in OPERATORS:
        place = {"rank": 0, "thread": thread, "parent_id": parent, "start_ns": start, "duration_ns": duration}
        place |= {"operator": operator, "signature_id": signature}
        insert(connection, "operators", run_id=run_id, operator_id=operator_id, **place)
    for kernel_id, (class_id, stream, start, duration, launch, called) in enumerate(KERNELS[:1] if cpu else KERNELS):
        place = {"rank": 0, "device_index": 0, "stream": stream, "start_ns": start, "duration_ns": duration}
        call = {"launch_ns": launch, "launch_duration_ns": launch and 100, "operator_id": called}
        call["step_id"] = 0 if run_id == FIRST and start < 6000 else None
        insert(connection, "kernels", run_id=run_id, kernel_id=kernel_id, class_id=class_id, share=1.0, **place, **call)
    for gap_id, (start, duration, cause) in enumerate([] if cpu else GAPS):
        place = {"rank": 0, "device_index": 0, "gap_id": gap_id, "start_ns": start, "duration_ns": duration}
        insert(connection, "gaps", run_id=run_id, cause=cause, before_kernel_id=0, after_kernel_id=1, **place)
    if run_id == FIRST:
        times = {"start_ns": 1000, "end_ns": 6000, "busy_ns": 4000, "host_start_ns": 0, "host_duration_ns": 1000}
        insert(connection, "steps", run_id=run_id, rank=0, step_id=0, phase="train", step=3, **times)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("timeline") / "w.duckdb", fill)


@pytest.fixture(scope="module")
def rows(stored: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(warehouse.connect(stored, read_only=True)) as connection:
        yield connection


def window(run_id: str, step_id: int | None, from_ns: int, to_ns: int, events: int) -> dict[str, Any]:
    return {"run_id": run_id, "step_id": step_id, "from_ns": from_ns, "to_ns": to_ns, "events": events}


def test_steps_of_every_run_come_before_whole_runs_as_long_as_they_fit() -> None:
    windows = [window(run, None, 0, 100, 90) for run in ("a", "b")]
    windows += [window(run, i, 40 * i, 40 * i + 10, 20) for run in ("a", "b") for i in range(2)]

    def kept(most: int) -> list[tuple[str, int | None]]:
        return [(row["run_id"], row["step_id"]) for row in stretches(windows, ["b", "a"], most)]

    assert kept(39) == []
    assert kept(79) == [("b", 0), ("b", 1)]
    assert kept(129) == [("b", 0), ("b", 1), ("a", 0), ("a", 1)]
    assert kept(130) == [("b", None), ("a", 0), ("a", 1)]
    assert kept(180) == [("b", None), ("a", None)]


def test_steps_that_overlap_make_one_stretch_of_at_most_the_events_of_the_run() -> None:
    windows = [window("a", None, 0, 100, 25), window("a", 0, 0, 60, 20), window("a", 1, 50, 90, 20)]
    assert stretches(windows, ["a"], 24) == []
    assert [row["step_id"] for row in stretches(windows, ["a"], 25)] == [None]
    # Steps that follow each other without a pause are one stretch too.
    windows[2] |= {"from_ns": 60}
    assert [row["to_ns"] for row in stretches([windows[0] | {"events": 90}, *windows[1:]], ["a"], 40)] == [90]
    # A whole run that does not fit leaves its steps.
    windows = [window("a", None, 0, 100, 90), window("a", 0, 0, 60, 20), window("a", 1, 50, 90, 20)]
    assert [(row["from_ns"], row["to_ns"], row["events"]) for row in stretches(windows, ["a"], 89)] == [(0, 90, 40)]


def gathered(connection: duckdb.DuckDBPyConnection, run_ids: list[str], most: int) -> dict[str, Any]:
    return timeline.gather(connection, run_ids, queries.rows(connection, "steps", runs=run_ids), most)


def test_a_page_holds_times_as_differences_from_the_first_event(rows: duckdb.DuckDBPyConnection) -> None:
    own = gathered(rows, [FIRST], 100)
    assert own["runs"] == {
        FIRST: {"from_ns": "0", "length_ns": 10_000, "clock_ns": 1_000_000_000_000_000_000, "operators": 3}
    }
    assert own["steps"] == {f"{FIRST}/0": [0, 6000]}
    assert own["stretches"] == [[FIRST, 0, 10_000]]
    times, lanes = own["events"]["times"], own["events"]["keys"]["lane"]
    assert Counter(lanes["values"][code] for code in lanes["codes"]) == {"stream": 3, "gap": 2, "thread": 3, "step": 1}
    # The second kernel has no recorded launch.
    assert sorted(map(str, times["since_launch_ns"])) == ["None"] * 7 + ["[500]", "[6400]"]
    assert sorted(map(sum, times["start_ns"])) == [0, 100, 1000, 1000, 1500, 4000, 5000, 6000, 8000]
    assert own["overview"]["times"]["start_ns"] == []


def test_bins_have_the_time_covered_and_the_name_with_most_of_it(rows: duckdb.DuckDBPyConnection) -> None:
    own = queries.rows(rows, "timeline/bins", windows=[f"{FIRST}/0/10000"], bins=3)
    width = 3334
    lanes = {(row["lane"], row["stream"], row["start_ns"] // width): (row["name"], row["covered_ns"]) for row in own}
    assert {row["thread"]: row["name"] for row in own if row["thread"]} == {
        "10/10": "aten::linear",
        "10/11": "aten::add",
    }
    assert {row["duration_ns"] for row in own} == {width}
    assert lanes == {
        ("stream", 7, 0): ("matmul", 2334),
        ("stream", 7, 1): ("matmul", 666),
        ("stream", 13, 1): ("pointwise", 1000),
        ("stream", None, 2): ("pointwise", 2000),
        ("gap", None, 1): ("host_late", 1000 + 668),
        ("gap", None, 2): ("synchronisation", 1332),
        ("thread", None, 0): ("aten::add", 200),  # of the other thread, as both lie in one bin
        ("step", None, 0): ("train", 2334),
        ("step", None, 1): ("train", 2666),
    }


# What lies under the pointer along a vertical line, from top to bottom.
SWEEP = """
  const canvas = $("timeline-canvas");
  const at = (type, time, y, length, more) => {
    const box = canvas.getBoundingClientRect();
    const x = box.left + 132 + (time / length) * (box.width - 132);
    const place = { clientX: x, clientY: box.top + y, bubbles: true, pointerId: 1, ...more };
    canvas.dispatchEvent(new PointerEvent(type, place));
  };
  const titles = (time, length) => {
    const found = [];
    for (let y = 22; y < canvas.clientHeight; y += 3) {
      at("pointermove", time, y, length);
      const title = $("tooltip").hidden ? "" : $("tooltip").querySelector("h3").textContent;
      if (found.at(-1) !== title) found.push(title);
    }
    return found.filter(Boolean);
  };
  const shown = () => JSON.parse($("timeline-figure").dataset.shown);
  // Panels out of sight are not drawn.
  $("timeline").scrollIntoView();
  const view = async (hash) => { location.hash = hash; await wait(50); await drawn(); };
"""


def written(connection: duckdb.DuckDBPyConnection, path: Path, most: int) -> Path:
    """A page whose timelines hold at most so many events."""
    run_ids = [*CLOCKS, CPU]
    own = replace(data.gather(connection, run_ids), timeline=gathered(connection, run_ids, most))
    return html.write(path, page.render(own))


@pytest.fixture(scope="module")
def seen(rows: duckdb.DuckDBPyConnection, ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = written(rows, tmp_path_factory.mktemp("timeline") / "page.html", 1000)
    return ask(path, SWEEP + (Path(__file__).with_name("timeline.js")).read_text(encoding="utf-8"), (1400, 1000))


@in_a_browser
def test_the_page_complains_of_nothing(seen: dict[str, Any]) -> None:
    assert seen["errors"] == []


@in_a_browser
def test_lanes_are_steps_gaps_streams_and_threads_with_nested_operators(seen: dict[str, Any]) -> None:
    assert seen["early"] == ["aten::linear", "aten::mm", "mm_kernel"]
    assert seen["late"] == ["gap: synchronisation"]
    assert seen["steps"] == ["train 3", "mm_kernel"]
    assert seen["shown"] == {"step": 1, "host_late": 1, "synchronisation": 1, "matmul": 1, "pointwise": 2, "thread": 3}


@in_a_browser
def test_the_statement_gives_the_events_in_view(seen: dict[str, Any], rows: duckdb.DuckDBPyConnection) -> None:
    for view in ("whole", "zoomed", "both"):
        found = queries.fetch(rows, seen[view]["sql"])
        assert Counter(timeline_name(row) for row in found) == seen[view]["shown"]
    assert seen["zoomed"]["shown"] == {"step": 1, "matmul": 1, "thread": 3}


@in_a_browser
def test_a_click_selects_in_every_panel_and_an_operator_what_it_launched(seen: dict[str, Any]) -> None:
    assert seen["picked"] == ["mm_kernel ×", "aten::linear ×"]
    assert "1 kernel, 3 µs on the device" in seen["operator"]
    assert "500 ns before, in a call of 100 ns" in seen["activity"]
    assert "whyits operator has no price" in seen["activity"]
    assert seen["sum"].startswith("1 kernel")


@in_a_browser
def test_keys_zoom_and_pan_where_the_figure_has_the_focus_and_the_address_keeps_it(seen: dict[str, Any]) -> None:
    assert seen["keys"] == {"w": [2000, 8000], "d": [3500, 9500], "0": None}
    assert seen["scrolled"] == [False, True]


@in_a_browser
def test_runs_whose_time_overlaps_by_the_clock_are_drawn_together(seen: dict[str, Any]) -> None:
    assert seen["both"]["note"] == (
        "6 activities and 6 operators in 12 µs, the whole trace; 2 runs by the clocks of their hosts."
    )
    assert "1 chosen run ran at another time" in seen["three"]
    # At 2.5 us of the first run, the second is at 0.5 us.
    assert seen["together"] == ["train 3", "mm_kernel", "aten::linear", "aten::mm", "mm_kernel"]


@in_a_browser
def test_without_a_device_operators_are_the_lanes(seen: dict[str, Any]) -> None:
    assert seen["cpu"] == ["aten::linear", "aten::mm"]
    assert seen["cpuShown"] == {"thread": 3}


@in_a_browser
def test_a_trace_without_room_is_binned_and_says_so(rows: duckdb.DuckDBPyConnection, ask: Ask, tmp_path: Path) -> None:
    script = (
        SWEEP
        + f"""
      await view("run=run_{ALONE}&step=whole");
      answer.titles = titles(2500, 10000); answer.note = text("timeline-note"); answer.shown = shown();
      answer.legend = text("timeline-legend"); answer.sql = copy("#timeline button[data-sql]");
    """
    )
    answer = ask(written(rows, tmp_path / "page.html", 0), script, (1400, 1000))
    assert answer["errors"] == []
    assert answer["titles"] == ["mostly matmul"]
    assert "report fewer runs with --run, or open the trace in Perfetto" in answer["note"]
    assert answer["shown"] == {}
    assert "host late: the host called too late1 µs, 10 %" in answer["legend"]
    assert sum(row["covered_ns"] for row in queries.fetch(rows, answer["sql"]) if row["lane"] == "stream") == 6000
