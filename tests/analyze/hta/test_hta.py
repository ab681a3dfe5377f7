"""HTA's analyses beside ours: they agree where HTA is right, and what fails of them harms nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ridgeline.analyze.hta import tables as hta
from ridgeline.analyze.ingest import Result, analyze
from ridgeline.child_process import ChildEnded
from ridgeline.warehouse import connect
from tests.analyze import kineto
from tests.analyze.loading import query
from tests.command_line import ridgeline

ROOT = Path(__file__).parents[3]
RUN = ROOT / "tests" / "data" / "h200" / "tiny-llama_ar_p256_g64_b1_bf16_eager"
SHARED = ROOT.parent / "shared"
RIGHT = ["h200/ar_decode_graph", "traces/h100-bert-small"]
RIGHT_AS_WELL = [
    *("h200/ar_decode", "h200/ar_decode_b16", "h200/dlm_full", "h200/dlm_prefix"),
    *("traces/h100-qwen1.5-0.5b-prefill", "traces/sglang-qwen3-8b-decode-graph"),
]
"""The others, and why HTA is not: it takes any event with a stream for work of the device, synchronisation records in
alexnet and an operator's arguments in b200-eager and triton-example; it has nothing to say of traces without kernels
(cpu-only, a100-cupti-counters), and raises as it loads torch-compile-triton, since it keeps the places of its few
events in bytes, and pandas from 3 on puts none beyond 127 there."""
ROUNDING_NS = 10
"""HTA keeps microseconds as doubles, and rounds its idle times to a hundredth of one."""


def on_host() -> list[kineto.Event]:
    return [kineto.operator("aten::exp", 5, 10, 1, [[4]], ["float"])]


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of our runs with HTA's analyses, and a trace without kernels."""
    folder = tmp_path_factory.mktemp("hta")
    path = folder / "w.duckdb"
    trace = kineto.write(folder / "host.json", on_host())
    results = analyze([RUN, trace], path, hta=True)
    assert [(result.outcome, result.examined) for result in results] == [("loaded", True)] * 2
    return path


def agree(warehouse: Path) -> None:
    """Every number HTA has of the warehouse's runs is ours."""
    temporal = query(
        warehouse,
        "SELECT name, abs(h.kernel_ns - d.wall_ns), abs(h.idle_ns - d.idle_ns),"
        " abs(h.compute_ns + h.non_compute_ns - d.busy_ns), abs(h.compute_ns - c.compute_ns)"
        " FROM hta_temporal h JOIN device_timeline d USING (run_id, rank) JOIN runs r USING (run_id) JOIN"
        " (SELECT v.run_id, sum(v.device_fresh_ns) AS compute_ns FROM coverage v JOIN kernels k USING (run_id,"
        " kernel_id) JOIN kernel_classes USING (run_id, class_id) WHERE category = 'kernel' GROUP BY ALL) c"
        " USING (run_id)",
    )
    assert temporal
    assert [row for row in temporal if max(row[1:]) > ROUNDING_NS] == []
    # HTA looks at a stream at a time, and takes a kernel without a recorded launch for one that was launched late. Of a
    # gap that began before the launch it gives all to the host, also what the launch itself took.
    idle = query(
        warehouse,
        "WITH whole AS (SELECT run_id, after_kernel_id, sum(duration_ns) AS gap_ns FROM gaps GROUP BY ALL"
        " HAVING bool_or(cause IN ('host_late', 'synchronisation'))),"
        " ours AS (SELECT run_id, sum(gap_ns) AS waited_ns FROM whole GROUP BY ALL)"
        " SELECT run_id, sum(CASE WHEN category = 'host_wait' THEN h.idle_ns ELSE 0 END),"
        " coalesce(any_value(waited_ns), 0) FROM hta_idle h JOIN device_timeline USING (run_id, rank)"
        " LEFT JOIN ours USING (run_id) WHERE unknown_ns = 0 GROUP BY run_id HAVING count(DISTINCT stream) = 1",
    )
    assert [row for row in idle if abs(row[1] - row[2]) > ROUNDING_NS] == []
    launches = query(
        warehouse,
        "SELECT count(*), max(abs(h.call_ns - q.call_ns)), max(abs(h.delay_ns - greatest(q.delay_ns, 0)))"
        " FROM hta_launch h JOIN launch_queue q USING (run_id, rank, correlation)",
    )
    if launches[0][0]:
        assert max(launches[0][1:]) < 2


@pytest.mark.process
def test_temporal_idle_and_launch_analyses_agree(examined: Path) -> None:
    agree(examined)
    assert query(examined, "SELECT count(*) FROM hta_launch") == [(445,)]
    assert query(examined, "SELECT stream, category FROM hta_idle ORDER BY 2") == [(7, "host_wait"), (7, "other")]


@pytest.mark.process
def test_the_critical_path_is_there(examined: Path) -> None:
    """Times are those of HTA's graph, which nothing of ours computes: they fit into the trace."""
    ((edges, total_ns, bounds),) = query(
        examined, "SELECT sum(edges), sum(duration_ns), list_sort(list_distinct(list(bound_by))) FROM hta_critical_path"
    )
    ((wall_ns,),) = query(
        examined, "SELECT max(host_start_ns + host_duration_ns) - min(host_start_ns) FROM steps WHERE phase IS NOT NULL"
    )
    assert edges > 1000
    assert 0.5 * wall_ns < total_ns < 2 * wall_ns
    assert "cpu_bound" in bounds


@pytest.mark.process
def test_what_fails_is_a_warning_and_the_run_is_there(examined: Path) -> None:
    rows = query(
        examined,
        "SELECT w.message FROM warnings w JOIN runs USING (run_id) WHERE name = 'host' AND w.source = 'hta'",
    )
    assert sorted(message.split(":")[0] for (message,) in rows) == ["critical_path", "idle", "temporal"]
    assert query(examined, "SELECT count(*) FROM kernels JOIN runs USING (run_id) WHERE name = 'host'") == [(1,)]


def outcome(result: Result) -> tuple[str, bool, int]:
    return result.outcome, result.examined, len(result.warnings)


def test_a_loaded_run_is_examined_once_and_keeps_what_was_found(
    tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = hta.Findings({"hta_temporal": [{"idle_ns": 1.5}]}, ["idle: bad"])
    asked: list[Path] = []
    monkeypatch.setattr(hta, "examine", lambda trace, **_: (asked.append(trace), found)[1])
    trace = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    rows = "SELECT idle_ns, source, message FROM hta_temporal JOIN warnings USING (run_id)"
    steps = [(False, ("loaded", False, 0)), (True, ("unchanged", True, 1)), (True, ("unchanged", False, 0))]
    for wanted, expected in [*steps, (False, ("unchanged", False, 0))]:
        assert [outcome(result) for result in analyze([trace], warehouse, hta=wanted)] == [expected]
        assert query(warehouse, rows) == ([(1.5, "hta", "idle: bad")] if asked else [])
    assert asked == [trace]
    (tmp_path / "ceilings.json").write_text((RUN.parent / "ceilings.json").read_text())
    assert [outcome(result) for result in analyze([trace], warehouse)] == [("replaced", False, 0)]
    for table in (*hta.TABLES.values(), "warnings"):
        assert query(warehouse, f"SELECT * FROM {table}") == []


def test_findings_take_the_place_of_older_ones(tmp_path: Path, warehouse: Path) -> None:
    analyze([kineto.write(tmp_path / "t.json", kineto.matmul_step())], warehouse)
    connection = connect(warehouse)
    ((run_id,),) = connection.execute("SELECT run_id FROM runs").fetchall()
    for idle_ns in (1.5, 2.5):
        hta.store(connection, run_id, hta.Findings({"hta_temporal": [{"idle_ns": idle_ns}]}, [f"idle: {idle_ns}"]))
    connection.close()
    assert query(warehouse, "SELECT idle_ns FROM hta_temporal") == [(2.5,)]
    assert query(warehouse, "SELECT message FROM warnings") == [("idle: 2.5",)]


@pytest.mark.process
def test_one_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    trace = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    assert hta.examine(trace, limit_s=0.01) == hta.Findings({}, ["load: stopped at its limit of 0.01 seconds"])


@pytest.mark.process
def test_a_trace_hta_cannot_load_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    found = hta.examine(tmp_path / "t.json")
    assert found.rows == {}
    assert [message.split(":")[0] for message in found.warnings] == ["load"]


@pytest.mark.parametrize(
    ("messages", "end", "expected"),
    [
        ([("begin", "load"), ("begin", "idle"), ("rows", [{"stream": 7}])], ChildEnded("ended with exit code 0", 0),
         hta.Findings({"hta_idle": [{"stream": 7}]}, [])),
        ([("begin", "idle")], ChildEnded("was killed by SIGKILL", -9),
         hta.Findings({}, ["idle: was killed by SIGKILL"])),
        ([("begin", "idle"), ("rows", []), ("begin", "launch")], ChildEnded("ended with exit code 0", 0),
         hta.Findings({"hta_idle": []}, ["launch: ended without an answer"])),
        ([("begin", "idle"), ("error", "KeyError: 1")], ChildEnded("ended with exit code 3", 3),
         hta.Findings({}, ["idle: KeyError: 1", "ended with exit code 3"])),
        ([], ChildEnded("ended with exit code 1", 1), hta.Findings({}, ["load: ended with exit code 1"])),
    ],
)  # fmt: skip
def test_answers_before_the_end_count(messages: list[hta.Message], end: ChildEnded, expected: hta.Findings) -> None:
    def received() -> Iterator[hta.Message]:
        yield from messages
        raise end

    assert hta._collect(received()) == expected


@pytest.mark.process
def test_the_command_says_what_failed_and_succeeds(tmp_path: Path) -> None:
    trace = kineto.write(tmp_path / "t.json", on_host())
    done = ridgeline("analyze", trace, "-w", tmp_path / "w.duckdb", "--hta", cwd=tmp_path)
    first, *warnings = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (0, "")
    assert first.endswith(", HTA's analyses added")
    assert [line.split(":")[:5] for line in warnings if ": hta: " in line] == [
        ["ridgeline", " t", " warning", " hta", f" {name}"] for name in ("temporal", "idle", "critical_path")
    ]


@pytest.mark.process
@pytest.mark.parametrize(
    "name", [*RIGHT, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in RIGHT_AS_WELL)]
)
def test_real_traces_agree(name: str, warehouse: Path) -> None:
    trace = SHARED / f"{name}.json.gz"
    if not trace.is_file():
        pytest.skip("the reference traces are not beside the project")
    (result,) = analyze([trace], warehouse, hta=True)
    assert result.examined
    agree(warehouse)


def test_without_hta_nothing_is_loaded_and_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning in the warehouse would count as HTA's answer, also once HTA is installed."""
    monkeypatch.setattr(hta, "find_spec", lambda name: None)
    done = ridgeline("analyze", kineto.write(tmp_path / "t.json", kineto.matmul_step()), "--hta", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "ridgeline: --hta needs hta: pip install 'ridgeline[hta]'\n")
    assert not (tmp_path / "ridgeline.duckdb").exists()
