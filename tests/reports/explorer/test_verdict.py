"""The verdict: its rows sum to the step, and its words follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline import reports, warehouse
from ridgeline.reports.explorer.data import gather
from tests.reports.browser import Ask, in_a_browser
from tests.reports.conftest import HOSTILE, add_ceilings, add_kernels, add_signatures, insert, make

IDLE = ("host_late_ns", "synchronisation_ns", "launch_latency_ns", "dependency_ns", "replay_ns", "unknown_ns")
PARTS = ("at_roof_ns", "lost_ns", "guess_ns", "communication_ns", "no_roof_ns", "idle_ns", "other_ns")

# of one step: class, start and duration of its kernels; two products at their roof, copy and addition far from theirs
STEP = [(0, 0, 2000), (1, 2000, 2000), (2, 4000, 500), (4, 5000, 600)]
LATE = [(4500, 500, 1, 2, "host_late")]
SLOW = [(0, 0, 2000), (1, 9000, 2000), (2, 15000, 500), (4, 19000, 1000)]
WAITS = [(2000, 7000, 0, 1, "host_late"), (11000, 4000, 1, 2, "launch_latency"), (15500, 3500, 2, 3, "host_late")]
SYNC = [(start, ns, before, after, "synchronisation") for start, ns, before, after, _ in WAITS]
# the host works for 5 ms between two copies far from their roof; for 2 ms the trace shows no cause
WORK = [(2, 0, 5000), (2, 5_005_000, 5000), (2, 7_010_000, 5000)]
WORKS = [(5000, 5_000_000, 0, 1, "host_late"), (5_010_000, 2_000_000, 1, 2, "unknown")]
STREAM = [(start, ns, before, after, "dependency") for start, ns, before, after, _ in WAITS]


def add_run(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    kernels: list[tuple[int, int, int]],
    gaps: list[tuple[int, int, int, int, str]],
    *,
    steps: bool = True,
    unprofiled_ns: int | None = None,
    launch: str = "start_ns - 10",
    **more: Any,
) -> None:
    run_id = f"{connection.execute('SELECT COUNT(*) FROM runs').fetchall()[0][0]:016x}"
    device_time_ns = sum(ns for *_, ns in kernels)
    row = {"device": "Test Device", "device_kind": "cuda", "outcome": "ok", **more}
    insert(
        connection,
        "runs",
        **row,
        run_id=run_id,
        name=name,
        content_sha256="",
        source="kineto",
        rank=0,
        rules_version=1,
        device_time_ns=device_time_ns,
    )
    add_ceilings(connection, run_id)
    add_kernels(connection, run_id, [(i, *kernel, 0 if steps else None) for i, kernel in enumerate(kernels)])
    connection.execute(f"UPDATE kernels SET launch_ns = {launch} WHERE run_id = '{run_id}'")
    for i, (start, ns, before, after, cause) in enumerate(gaps):
        place = {"start_ns": start, "duration_ns": ns, "before_kernel_id": before, "after_kernel_id": after}
        kind = {"rank": 0, "device_index": 0, "gap_id": i, "cause": cause, "step_id": 0 if steps else None}
        insert(connection, "gaps", run_id=run_id, **kind, **place)
    if steps:
        end = max(start + ns for _, start, ns in kernels)
        times = {"host_start_ns": 0, "host_duration_ns": end, "start_ns": 0, "end_ns": end, "busy_ns": device_time_ns}
        insert(connection, "steps", run_id=run_id, rank=0, step_id=0, phase="decode", kind="decode", step=0, **times)
    if unprofiled_ns is not None:
        timing = {"metric": "step", "phase": "decode", "kind": "decode", "value_ns": unprofiled_ns}
        insert(connection, "timings", run_id=run_id, **timing)


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    add_signatures(connection)
    add_run(connection, "device", STEP, LATE)
    add_run(connection, "host", SLOW, WAITS, unprofiled_ns=11_000)
    add_run(connection, "profiled", SLOW, WAITS)
    add_run(connection, "synchronous", SLOW, SYNC, unprofiled_ns=11_000)
    add_run(connection, "replayed", SLOW, WAITS, launch="0")
    add_run(connection, "streams", SLOW, STREAM)
    add_run(connection, "lone", [(2, 0, 500)], [])
    add_run(connection, "whole", SLOW, WAITS, steps=False)
    add_run(connection, "works", WORK, WORKS)
    add_run(connection, "compiled", [(6, 0, 2000), *SLOW[1:]], WAITS)
    add_run(connection, "capped", [(5, 0, 2000), (5, 2000, 2000)], [])
    # traced, the all-reduce waits for the profiler of another rank
    add_run(connection, "ranks", [(0, 0, 2000), (6, 2000, 90_000)], [], unprofiled_ns=2_500)
    connection.execute(
        "INSERT INTO kernel_classes BY NAME SELECT * REPLACE (6 AS class_id, NULL AS signature_id, "
        "'communication' AS family, 'ncclDevKernel_AllReduce' AS kernel) FROM kernel_classes "
        "WHERE class_id = 0 AND run_id = (SELECT run_id FROM runs WHERE name = 'ranks')"
    )
    add_run(connection, "flagged", [(5, 0, 2000), (5, 2000, 2000)], [])
    # 1.7e8 FLOPs at 1e14 FLOP/s take 85 % of 2,000 ns
    connection.execute(
        "INSERT INTO signatures BY NAME SELECT * REPLACE ('large' AS signature_id, 1.7e8 AS flops, 1e5 AS read_bytes) "
        "FROM signatures WHERE signature_id = 'mm'"
    )
    connection.execute(
        "INSERT INTO kernel_classes BY NAME SELECT * REPLACE (5 AS class_id, 'large' AS signature_id) "
        "FROM kernel_classes WHERE class_id = 0 "
        "AND run_id IN (SELECT run_id FROM runs WHERE name IN ('capped', 'flagged'))"
    )
    connection.execute(
        "INSERT INTO kernel_classes BY NAME SELECT * REPLACE (6 AS class_id, 'triton_poi_fused_add_0' AS kernel) "
        "FROM kernel_classes WHERE class_id = 2 AND run_id = (SELECT run_id FROM runs WHERE name = 'compiled')"
    )
    for name, capped_hz in (("capped", 1.7e9), ("flagged", 1.965e9)):
        ((run,),) = connection.execute("SELECT run_id FROM runs WHERE name = ?", [name]).fetchall()
        for second in range(3):
            sample = {"time_ns": second * 10**9, "power_w": 690.0 + second}
            held = {"throttle_reasons": "4", "sm_clock_hz": capped_hz}
            free = {"throttle_reasons": "0", "sm_clock_hz": 1.98e9}
            insert(connection, "telemetry", run_id=run, **sample, **(held if second else free))
    add_run(connection, "oom", [], [], steps=False, outcome="oom", message="wanted 90 GB of 80 GB")
    add_run(connection, "error", [], [], steps=False, outcome="error", message=HOSTILE)
    add_run(connection, "empty", [], [], steps=False)
    add_run(connection, "rocm", STEP, LATE, device="AMD Instinct MI300X")
    add_run(connection, "cpu", STEP, [], device="A CPU", device_kind="cpu")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("verdict") / "w.duckdb", fill)


@pytest.fixture(scope="module")
def rows(judged: Path) -> dict[str, dict[str, Any]]:
    """By the run's name; each run has one row."""
    with warehouse.connect(judged, read_only=True) as connection:
        names = dict(connection.execute("SELECT run_id, name FROM runs").fetchall())
        return {names[row["run_id"]]: row for row in gather(connection, list(names)).rows["verdict"]}


def sums_to_the_step(row: dict[str, Any]) -> bool:
    total = sum(row[part] or 0 for part in PARTS)
    idle = sum(row[cause] or 0 for cause in IDLE)
    return bool(total == pytest.approx(row["step_ns"]) and (not idle or idle == pytest.approx(row["idle_ns"])))


def test_the_parts_sum_to_the_time_of_the_step(rows: dict[str, dict[str, Any]]) -> None:
    assert {name: sums_to_the_step(row) for name, row in rows.items()} == dict.fromkeys(rows, True)


def test_the_parts_sum_whatever_a_run_knows(stocked: Path) -> None:
    with warehouse.connect(stocked, read_only=True) as connection:
        ids = [run_id for (run_id,) in connection.execute("SELECT run_id FROM runs").fetchall()]
        found = gather(connection, ids).rows["verdict"]
    assert [row["scope"] for row in found] == ["step"] * 4 + ["trace"]
    assert all(map(sums_to_the_step, found))


def test_a_step_is_the_unprofiled_one_and_its_idle_time_is_divided_as_in_the_trace(
    rows: dict[str, dict[str, Any]],
) -> None:
    """Kernels take 5,500 ns of 11,000 without the profiler; of 14,500 idle ns in the trace, 4,000 are launch calls."""
    row = rows["host"]
    assert (row["step_ns"], row["basis"], row["work_ns"], row["idle_ns"]) == (11_000, "unprofiled", 5_500, 5_500)
    assert row["launch_latency_ns"] == pytest.approx(5_500 * 4_000 / 14_500)
    assert row["host_late_ns"] == pytest.approx(5_500 * 10_500 / 14_500)
    assert rows["profiled"]["step_ns"] == 20_000


def test_communication_has_what_other_kernels_leave_where_ranks_waited_for_profilers(
    rows: dict[str, dict[str, Any]],
) -> None:
    row = rows["ranks"]
    assert (row["step_ns"], row["at_roof_ns"], row["communication_ns"]) == pytest.approx((2_500, 2_000, 500))
    times = {family["family"]: family["time_ns"] for family in row["families"]}
    assert times == pytest.approx({"matmul": 2_000, "communication": 500})


def test_losses_are_operators_by_time_beyond_the_roof(rows: dict[str, dict[str, Any]]) -> None:
    """aten::mm needs 2,000 ns for 2 MB at 1 TB/s, aten::copy_ 200 ns, aten::add 24 B, next to nothing."""
    told = [(loss["operator"], round(loss["lost_ns"]), loss["launches"]) for loss in rows["device"]["losses"]]
    assert told == [("aten::add.Tensor", 600, 1), ("aten::copy_", 300, 1)]
    assert [loss["roof_fraction"] for loss in rows["device"]["losses"]] == pytest.approx([24e-3 / 600, 0.4])
    assert [family["family"] for family in rows["device"]["families"]] == ["matmul", "pointwise"]


def test_losses_agree_with_the_deviations_view(judged: Path) -> None:
    with warehouse.connect(judged, read_only=True) as connection:
        ids = [run_id for (run_id,) in connection.execute("SELECT run_id FROM runs").fetchall()]
        mine = {
            (row["run_id"], loss["operator"]): loss["lost_ns"]
            for row in gather(connection, ids).rows["verdict"]
            if row["basis"] == "trace" and row["scope"] == "step"
            for loss in row["losses"] or []
        }
        view = connection.execute(
            "SELECT run_id, item, lost_ns_per_step FROM deviations WHERE level = 'operator' AND lost_ns > 0"
        ).fetchall()
    theirs = {(run_id, item): lost_ns for run_id, item, lost_ns in view}
    assert mine == {key: pytest.approx(theirs[key]) for key in mine}
    assert len(mine) == 18


LOOK = """
answer.says = {};
for (const button of document.querySelectorAll("tr[data-run] .pick")) {
  button.click();
  await drawn();
  const cell = (node) => node.textContent;
  answer.says[button.textContent] = {
    says: document.querySelector("#verdict .says").textContent,
    bar: [...document.querySelectorAll("#verdict .segment[aria-label]")].map((node) => node.getAttribute("aria-label")),
    losses: [...document.querySelectorAll("#verdict .losses tbody tr")].map((tr) => [...tr.children].map(cell)),
    lines: [...document.querySelectorAll("#verdict .coverage li")].map(cell),
  };
}
const named = (name) => [...document.querySelectorAll("tr[data-run] .pick")].find((b) => b.textContent === name);
named("device").click();
await drawn();
answer.sql = copy("#verdict button[data-sql]");
const loss = () => document.querySelector("#verdict .losses tbody button");
loss().focus();
loss().click();
await drawn();
answer.picked = [text("picked"), text("sum"), document.activeElement === loss()];
key("Escape");
scrollTo(0, 0);
const before = scrollY;
document.querySelector("#verdict .stepbar .idle").click();
await drawn();
answer.scrolled = { before, timeline: scrollY > 500, step: $("step").value };
const add = (name) => named(name).dispatchEvent(new MouseEvent("click", { ctrlKey: true, bubbles: true }));
for (const name of ["host", "profiled", "synchronous", "replayed"]) add(name);
scrollTo(0, 0);
await drawn();
document.querySelector("#verdict .others").open = true;
await wait(50);
const lines = [...document.querySelectorAll("#verdict .others li")];
const more = document.querySelector("#verdict .others summary").textContent;
answer.several = [document.querySelectorAll("#verdict article").length, more, lines.map((li) => li.textContent)];
lines[0].querySelector("button").click();
await drawn();
answer.alone = [...document.querySelectorAll("tr.chosen .pick")].map((b) => b.textContent);
"""


@pytest.fixture(scope="module")
def page(judged: Path, ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return ask(reports.write(judged, tmp_path_factory.mktemp("verdict")), LOOK, (1400, 900))


@pytest.fixture(scope="module")
def says(page: dict[str, Any]) -> dict[str, Any]:
    assert page["errors"] == []
    return dict(page["says"])


AT_ROOF = "matmul takes 73 %, at 100 % of the DRAM roof"
FEWER_BYTES = "only fewer bytes shorten it: fusion, smaller types, reuse"
PREDICTED = "DRAM bytes are predicted by compulsory bytes for 100 % of the time: record on the GPU with --counters."
UNTIMED = "No step was timed without the profiler: `ridgeline record --timed N`."


@in_a_browser
def test_a_sentence_says_what_bounds_the_step(says: dict[str, Any]) -> None:
    slow = "A decode step takes 20 µs under the profiler; the device works 5.5 µs (27.5 %) of it and"
    timed = "A decode step takes 11 µs; the device works 5.5 µs (50 %) of it and"
    device = f". Of the device's time {AT_ROOF}."
    launching = "waits for the host, which launches 4 kernels one by one"
    assert {name: seen["says"] for name, seen in says.items()} == {
        "device": "device-bound A decode step takes 5.6 µs under the profiler; the device works 5.1 µs (91.1 %) of it: "
        f"matmul takes 78 %, at 100 % of the DRAM roof: {FEWER_BYTES}.",
        "host": f"host-bound {timed} {launching}{device}",
        "profiled": f"host-bound under the profiler {slow} {launching}{device}",
        "synchronous": f"host-bound {timed} idles because the host waits for it before the host launches on{device}",
        "replayed": f"host-bound {slow} waits for the host between replays of graphs{device}",
        "streams": f"bound unknown {slow} idles 14.5 µs: waits for another stream{device}",
        "lone": "bound unknown A decode step takes 500 ns under the profiler; the device works 500 ns (100 %) of it; a "
        "step of one kernel shows no idle time: time it without the profiler. Of the device's time copy takes 100 %, "
        "at 40 % of the DRAM roof: too short for any roof to matter: under 0.8 µs, four times the shortest launch.",
        "whole": "host-bound under the profiler The trace covers 20 µs; the device works 5.5 µs (27.5 %) of it and "
        f"waits for the host{device}",
        "capped": "device-bound A decode step takes 4 µs under the profiler; the device works 4 µs (100 %) of it: "
        "matmul takes 100 %, at 85 % of the compute roof and at the power cap in 2 of 3 samples (692 W, 1.7 GHz): only "
        "fewer FLOPs or a lower precision shorten it.",
        "ranks": "device-bound A decode step takes 2.5 µs; the device works 2.5 µs (100 %) of it: matmul takes 80 %, "
        f"at 100 % of the DRAM roof: {FEWER_BYTES}.",
        "flagged": "device-bound A decode step takes 4 µs under the profiler; the device works 4 µs (100 %) of it: "
        "matmul takes 100 %, at 85 % of the compute roof: only fewer FLOPs or a lower precision shorten it.",
        "works": "host-bound under the profiler A decode step takes 7.01 ms under the profiler; the device works 15 µs "
        "(0.21 %) of it and waits for the host. Of the device's time copy takes 100 %, at 4 % of the DRAM roof.",
        "compiled": f"host-bound under the profiler {slow} {launching}. Of the device's time copy takes 45 %, "
        "at 16 % of the DRAM roof.",
        "rocm": "device-bound A decode step takes 5.6 µs under the profiler; the device works 5.1 µs (91.1 %) of it: "
        f"matmul takes 78 %, at 100 % of the DRAM roof: {FEWER_BYTES}.",
        "oom": "Out of memory: wanted 90 GB of 80 GB. Next: a smaller batch or context, or memory that other processes "
        "hold; `ridgeline capture` tries again once more is free.",
        "error": f"Failed: {HOSTILE}. Nothing of this run was measured.",
        "empty": "No device activity: record with activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA].",
        "cpu": "on the CPU A decode step takes 5.6 µs; operators run for 5.1 µs (91.1 %) of it, on the host alone: "
        f"matmul takes 78 %, at 100 % of the DRAM roof: {FEWER_BYTES}.",
    }


@in_a_browser
def test_the_bar_names_every_part(says: dict[str, Any]) -> None:
    assert says["host"]["bar"] == [
        "at the roof 4.2 µs, 38.2 %",
        "lost below the roof 1.3 µs, 11.8 %",
        "idle: waits for the host 5.5 µs, 50 %",
    ]
    assert says["streams"]["bar"][-1] == "idle: waits for another stream 14.5 µs, 72.5 %"
    assert says["cpu"]["bar"][-1] == "outside operators 500 ns, 8.93 %"


@in_a_browser
def test_losses_say_why_and_what_they_are_worth(says: dict[str, Any]) -> None:
    short = "too short for any roof to matter: under 0.8 µs, four times the shortest launch"
    assert says["device"]["losses"] == [
        ["aten::add.Tensor", "600 ns", "<1 % of the DRAM roof", short, "at most 600 ns (10.7 %)"],
        [
            "the host",
            "500 ns",
            "device idle",
            "4 launches, one per 1.4 µs: CUDA graphs or torch.compile",
            "at most 500 ns (8.93 %)",
        ],
        ["aten::copy_", "300 ns", "40 % of the DRAM roof", short, "at most 300 ns (5.36 %)"],
    ]
    assert [loss[-1] for loss in says["host"]["losses"]] == ["at most 5.5 µs (50 %)", *["nothing while host-bound"] * 2]
    assert {loss[-1] for loss in says["profiled"]["losses"]} == {"unknown until timed"}
    assert (
        says["synchronous"]["losses"][0][3]
        == "the host waits for the device: .item(), a copy to the host, or synchronize()"
    )
    # the host waits for these kernels, so that shorter ones shorten the step
    assert {loss[-1] for loss in says["synchronous"]["losses"][1:]} == {"unknown: the host waits for the device"}
    work = "mostly in gaps of over 1 ms, longer than a launch takes: the host does other work"
    assert says["works"]["losses"] == [
        ["the host", "5 ms", "device idle", work, "unknown until timed"],
        ["idle device", "2 ms", "device idle", "cause unknown", "unknown"],
        ["aten::copy_", "14.4 µs", "4 % of the DRAM roof", "no cause known", "unknown until timed"],
    ]
    assert says["compiled"]["losses"][0][3] == "4 launches, one per 5 µs: compiled already: CUDA graphs"


@in_a_browser
def test_what_lacks_has_a_remedy_the_most_important_first(says: dict[str, Any]) -> None:
    assert says["profiled"]["lines"] == [UNTIMED, PREDICTED]
    assert says["device"]["lines"] == [PREDICTED, UNTIMED]
    assert says["host"]["lines"] == [PREDICTED]
    uncounted = PREDICTED.replace(
        ": record on the GPU with --counters", ", and Ridgeline reads no counters of this device"
    )
    assert says["rocm"]["lines"] == [uncounted, UNTIMED]


@in_a_browser
def test_a_statement_opens_what_it_speaks_of_and_keeps_the_focus(page: dict[str, Any]) -> None:
    assert page["picked"] == ["aten::add.Tensor ×", "1 kernel · 600 ns · 3.33 MFLOP/s on average", True]
    assert page["scrolled"] == {"before": 0, "timeline": True, "step": "0000000000000000/0"}


@in_a_browser
def test_of_many_runs_three_are_whole_and_a_click_chooses_another(page: dict[str, Any]) -> None:
    articles, more, lines = page["several"]
    assert (articles, more, len(lines)) == (3, "and 2 more runs", 2)
    assert lines[0].startswith("replayedhost-bound A decode step takes 20 µs")
    assert page["alone"] == ["replayed"]


@in_a_browser
def test_the_sql_of_the_verdict_gives_its_rows(page: dict[str, Any], judged: Path, rows: dict[str, Any]) -> None:
    with warehouse.connect(judged, read_only=True) as connection:
        cursor = connection.execute(page["sql"])
        names = [column[0] for column in cursor.description or []]
        assert [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] == [rows["device"]]
