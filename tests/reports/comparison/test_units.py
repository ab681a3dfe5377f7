"""What is compared: steps, iterations and their phases, equal work, seconds; by wall, idle and device time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from ridgeline import warehouse
from ridgeline.reports import ReportError
from ridgeline.reports.comparison import page as comparison_page
from ridgeline.reports.comparison.compare import Comparison, above, compare
from ridgeline.reports.comparison.text import text
from ridgeline.reports.comparison.verdict import verdict
from tests.reports.browser import Ask, in_a_browser
from tests.reports.conftest import insert, make

FINAL = "the profiler slows the host: time both sides without it for a final verdict"


class Launch(NamedTuple):
    operator: str | None
    ns: int
    phase: str | None = None
    module: str | None = None
    kernel: str = "gemm"


class Window(NamedTuple):
    """A step: its label, its window on the host, the end of its device work, idle time, and its launches."""

    label: dict[str, Any]
    host: tuple[int, int]
    end_ns: int | None
    idle_ns: int | None
    launches: list[Launch]


def add(
    connection: duckdb.DuckDBPyConnection, name: str, windows: list[Window], timed_ns: tuple[int, ...] = ()
) -> None:
    """A run of these windows, its kernels one after the other; ``timed_ns`` are iterations without the profiler."""
    run_id = f"{connection.execute('SELECT COUNT(*) FROM runs').fetchall()[0][0]:016x}"
    launches = [(step, launch) for step, window in enumerate(windows) for launch in window.launches]
    of_run = {"run_id": run_id, "rank": 0}
    insert(
        connection,
        "runs",
        **of_run,
        name=name,
        content_sha256="",
        source="kineto",
        outcome="ok",
        device_kind="cuda",
        rules_version=1,
        device_time_ns=sum(launch.ns for _, launch in launches),
    )
    for step_id, (label, (start_ns, end_ns), device_end_ns, idle_ns, own) in enumerate(windows):
        replayed = sum(launch.operator is None for launch in own)
        insert(
            connection,
            "steps",
            **of_run,
            step_id=step_id,
            host_start_ns=start_ns,
            host_duration_ns=end_ns - start_ns,
            end_ns=device_end_ns,
            idle_ns=idle_ns,
            replayed_kernels=replayed,
            **label,
        )
    for repeat, value_ns in enumerate(timed_ns):
        insert(connection, "timings", run_id=run_id, metric="step", repeat=repeat, value_ns=value_ns)
    start_ns = 0
    for kernel_id, (step_id, launch) in enumerate(launches):
        if launch.operator:
            connection.execute(
                "INSERT INTO signatures (signature_id, operator, family, shapes, composite, method, confidence,"
                " rules_version) VALUES (?, ?, 'matmul', '[[4]]', FALSE, 'meta', 'high', 1) ON CONFLICT DO NOTHING",
                [launch.operator, launch.operator],
            )
        insert(
            connection,
            "kernel_classes",
            run_id=run_id,
            class_id=kernel_id,
            kernel=launch.kernel,
            category="kernel",
            family="matmul",
            signature_id=launch.operator,
            phase=launch.phase,
            module=launch.module,
            attribution="external_id" if launch.operator else "unattributed",
        )
        insert(
            connection,
            "kernels",
            **of_run,
            kernel_id=kernel_id,
            device_index=0,
            class_id=kernel_id,
            start_ns=start_ns,
            duration_ns=launch.ns,
            share=1.0,
            step_id=step_id,
        )
        start_ns += launch.ns


def iterations(count: int, backward_ns: int, host_ns: int, phases: bool = True) -> list[Window]:
    """Iterations of training, ``host_ns`` apart: a forward of 1000 ns, a backward, an optimizer of 100 ns."""
    times = {"forward": 1000, "backward": backward_ns, "optimizer": 100}
    launches = [Launch(f"aten::{phase}", ns, phase if phases else None) for phase, ns in times.items()]
    return [
        Window({"step": i, "iteration": i}, (i * host_ns, (i + 1) * host_ns), i * host_ns + 3000, 10, launches)
        for i in range(count)
    ]


def whole(count: int, gemm_ns: int, operators: tuple[str, ...] = ("aten::mm", "aten::add")) -> list[Window]:
    """A trace without labels, as one step: ``operators`` launched in turn, ``count`` times."""
    launches = [Launch(operator, gemm_ns if operator == "aten::mm" else 500) for operator in operators] * count
    end_ns = sum(launch.ns for launch in launches)
    return [Window({"kind": "trace"}, (0, end_ns), end_ns, 0, launches)]


def decode(wall_ns: int, kernels_ns: int, idle_ns: int | None = None) -> list[Window]:
    """Four decoding steps of a host that takes ``wall_ns`` for each."""
    label = {"phase": "decode", "kind": "decode"}
    times = [(i * wall_ns, (i + 1) * wall_ns) for i in range(4)]
    return [Window(label, host, host[0] + kernels_ns, idle_ns, [Launch("aten::mm", kernels_ns)]) for host in times]


def replayed(kernels: dict[str, int], operators: bool) -> list[Window]:
    """Two decoding steps of these kernels, with operators or replayed from a graph."""
    launches = [Launch(f"aten::{name}" if operators else None, ns, kernel=name) for name, ns in kernels.items()]
    return [Window({"phase": "decode", "kind": "decode"}, (i, i + 1), None, None, launches) for i in range(2)]


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    add(connection, "two", iterations(2, 1900, 3100))
    add(connection, "four", iterations(4, 1900, 3100))
    add(connection, "slow", iterations(2, 3800, 5000))
    add(connection, "unphased", iterations(2, 1900, 3100, phases=False))
    add(connection, "timed", iterations(2, 1900, 3100), (2000, 2010, 2020))
    add(connection, "timed_slow", iterations(2, 3800, 5000), (2000, 2010, 2020))
    add(connection, "bare_two", whole(2, 1000))
    add(connection, "bare_four", whole(4, 1000))
    add(connection, "bare_slow", whole(4, 2000))
    add(connection, "bare_other", whole(4, 1000, ("aten::mm", "aten::mul")))
    add(connection, "host_bound", decode(10_000, 4000, 6000))
    add(connection, "host_bound_fast", decode(10_000, 2000, 8000))
    add(connection, "host_bound_late", decode(15_000, 4000, 11_000))
    # the host launches four steps at once, and the device works them off
    ahead = [
        window._replace(host=(i * 10, i * 10 + 10), end_ns=1000 * (i + 1)) for i, window in enumerate(decode(1, 1000))
    ]
    add(connection, "ahead", ahead)
    add(connection, "unlabelled_end", [window._replace(end_ns=None) for window in decode(10, 1000)])
    add(connection, "eager", replayed({"gemm": 5000, "norm": 100}, operators=True))
    add(connection, "graph", replayed({"gemm": 4000, "norm": 100}, operators=False))
    layers = [
        Launch("aten::mm", 1000, module="Model_0.Layer_3.Linear_21"),
        Launch("aten::mm", 1000, module="Model_0.Layer_4.Linear_28"),
        Launch("aten::mm", 1000, module="conv_1.layers.7.mlp"),
    ]
    add(connection, "events", [Window({"phase": "decode"}, (0, 1), None, None, layers)])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("units") / "w.duckdb", fill)


@pytest.fixture(scope="module")
def runs(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = warehouse.connect(file, read_only=True)
    yield connection
    connection.close()


def times(found: Comparison, level: str) -> dict[str, tuple[float, float, str]]:
    return {
        row["stage"]: (row["base_ns_per_step"], row["other_ns_per_step"], row["status"]) for row in found.level(level)
    }


def test_recordings_of_two_and_four_iterations_are_the_same(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "two", "four")
    assert found.unit == "iteration"
    assert {row["status"] for row in found.rows} == {"same"}
    assert times(found, "step") == {
        "(iteration)": (3000, 3000, "same"),
        "forward": (1000, 1000, "same"),
        "backward": (1900, 1900, "same"),
        "optimizer": (100, 100, "same"),
    }
    assert times(found, "wall") == {"(iteration)": (3100, 3100, "same")}
    assert times(found, "idle") == {"(iteration)": (10, 10, "same")}
    assert above(found, 0) == []
    assert verdict(found) == [
        "an iteration: the same, 3.1 µs to 3.1 µs of wall time under the profiler (noise ±5 %)",
        FINAL,
    ]


def test_a_backward_pass_that_takes_twice_as_long_is_seen(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "four", "slow")
    assert times(found, "step")["backward"] == (1900, 3800, "slower")
    assert times(found, "wall") == {"(iteration)": (3100, 5000, "slower")}
    assert verdict(found)[0] == (
        "an iteration: 61.3 % slower, 3.1 µs to 5 µs of wall time under the profiler (noise ±5 %); "
        "of it backward 1.9 µs to 3.8 µs of device time, 100 % slower"
    )
    assert above(found, 10) == [
        "(iteration) is 61.3 % slower (3.1 µs to 5 µs of wall time under the profiler, noise ±5 %)",
        "(iteration) is 63.3 % slower (3 µs to 4.9 µs of device time, noise ±1 %)",
        "backward is 100 % slower (1.9 µs to 3.8 µs of device time, noise ±1 %)",
    ]
    assert len(above(found, 70)) == 1
    assert above(found, 100) == []


def test_an_iteration_has_no_phases_if_a_side_does_not_know_them(runs: duckdb.DuckDBPyConnection) -> None:
    assert compare(runs, "two", "unphased").stages == ["(iteration)"]


def test_iterations_timed_without_the_profiler_are_judged_by_that_alone(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "timed", "timed_slow")
    assert above(found, 10) == []
    assert verdict(found) == [
        "an iteration: the same, 2.01 µs to 2.01 µs unprofiled (noise ±1.87 %); its device time is 63.3 % longer, "
        "3 µs to 4.9 µs; of it backward 1.9 µs to 3.8 µs of device time, 100 % slower"
    ]
    # one side alone is not enough
    assert len(above(compare(runs, "timed", "slow"), 10)) == 3


def test_without_steps_equal_work_is_compared(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "bare_two", "bare_four")
    assert (found.unit, found.stages) == ("work", ["(trace)"])
    assert {row["status"] for row in found.rows} == {"same"}
    assert times(found, "step") == {"(trace)": (3000, 3000, "same")}
    assert verdict(found)[:2] == [
        "equal work: the same, 3 µs to 3 µs of wall time under the profiler (noise ±10 %, assumed)",
        "no steps, but both sides launched the same operators in the same proportion: compared for the same work, of "
        "which the second recording holds 2 times as much",
    ]
    slow = compare(runs, "bare_two", "bare_slow")
    assert times(slow, "wall") == {"(trace)": (3000, 5000, "slower")}
    assert len(above(slow, 10)) == 2


def test_without_steps_other_work_is_compared_per_second_and_not_judged(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "bare_two", "bare_other")
    assert (found.unit, times(found, "step")) == ("second", {"(trace)": (1e9, 1e9, "same")})
    assert {row["operator"]: row["status"] for row in found.level("operator")} == {
        "aten::mm": "same",
        "aten::add": "gone",
        "aten::mul": "added",
    }
    assert found.level("wall") == []
    assert verdict(found)[0].startswith("no steps or iterations are in both sides, so times are per second of trace")
    with pytest.raises(ReportError, match="nothing to check: no steps or iterations"):
        above(found, 5)
    # a side with steps and one without have no step in common
    assert compare(runs, "two", "bare_two").unit == "second"


def test_shorter_kernels_of_a_step_that_waits_for_its_host_are_no_speed_up(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "host_bound", "host_bound_fast")
    assert times(found, "step") == {"decode": (4000, 2000, "faster")}
    assert times(found, "wall") == {"decode": (10_000, 10_000, "same")}
    assert times(found, "idle") == {"decode": (6000, 8000, "more")}
    assert verdict(found) == [
        "decode: the same, 10 µs to 10 µs of wall time under the profiler (noise ±5 %); its device time is 50 % "
        "shorter, 4 µs to 2 µs, which is no speed-up of the step",
        FINAL,
    ]
    assert above(compare(runs, "host_bound", "host_bound_late"), 10) == [
        "decode is 50 % slower (10 µs to 15 µs of wall time under the profiler, noise ±5 %)"
    ]


def test_a_step_begins_when_the_one_before_is_done(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "ahead", "ahead")
    assert times(found, "wall") == {"decode": (1000, 1000, "same")}
    (row,) = found.level("wall")
    assert (row["base_low_ns"], row["base_high_ns"]) == (1000, 1000)


def test_a_verdict_says_that_it_lacks_wall_time(runs: duckdb.DuckDBPyConnection) -> None:
    assert verdict(compare(runs, "ahead", "unlabelled_end")) == [
        "decode: the same, 1 µs to 1 µs of device time (noise ±1 %)",
        "device time only: no wall time is known of both sides, and a step may wait for its host",
    ]


def test_replays_without_operators_align_by_kernel(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "eager", "graph")
    assert {row["operator"]: row["status"] for row in found.level("operator")} == {"gemm": "faster", "norm": "same"}
    assert found.parts == ["family", "kernel"]
    (kernel,) = [row for row in compare(runs, "four", "slow").level("kernel") if row["stage"] == "(iteration)"]
    assert (kernel["operator"], kernel["delta_ns_per_step"]) == ("gemm", 1900)
    assert found.warnings == [
        "graph: its kernels have no operators, so rows align by kernel: graphs replayed them: analyze the trace with "
        "--twin EAGER_TRACE or --capture PATH"
    ]
    assert compare(runs, "eager", "eager").parts[-1] == "row"


def test_a_change_near_zero_has_no_percentage(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "two", "slow")
    (idle,) = found.level("idle")
    # 10 ns of idle time in a wall time of 3100 ns, whose noise is 155 ns
    assert (idle["base_ns_per_step"], idle["noise_ns"], idle["change"]) == (10, 155, None)
    assert {row["share_of_change"] for row in found.level("operator") if row["stage"] == "forward"} == {None}
    assert {row["share_of_change"] for row in found.level("operator") if row["stage"] == "backward"} == {1}
    assert "+0 %" not in text(found, "table")
    # nor has a noise many times as large as what it is of
    (line,) = [line for line in text(found, "table").splitlines() if line.startswith("(iteration)") and "10 ns" in line]
    assert "±155 ns" in line
    assert " %" not in line


def test_instances_of_modules_are_summed(runs: duckdb.DuckDBPyConnection) -> None:
    modules = {row["module"]: row["base_ns_per_step"] for row in compare(runs, "events", "events").level("module")}
    assert modules == {"Model_*.Layer_*.Linear_*": 2000, "conv_1.layers.*.mlp": 1000}


def test_a_markdown_table_keeps_names_as_code(runs: duckdb.DuckDBPyConnection) -> None:
    lines = text(compare(runs, "four", "slow"), "markdown").splitlines()
    assert lines[0].startswith("**An iteration: 61.3 % slower, 3.1 µs to 5 µs of wall time under the profiler")
    assert "; of it `backward` 1.9 µs to 3.8 µs of device time, 100 % slower**" in lines[0]
    assert "`four` → `slow`" in lines
    assert "| `backward` | device time | 1.9 µs | 3.8 µs | +1.9 µs | +100 % | ±1 % | slower |" in lines
    # Of an iteration and its phases, rows of the iteration are the differences: those of phases are parts of them.
    changed = [line for line in lines if "`aten::" in line]
    assert len(changed) == 1
    assert changed[0].startswith("| `(iteration)` | `aten::backward` | 1.9 µs | 3.8 µs | +1.9 µs |")


@in_a_browser
@pytest.mark.parametrize("width", [420, 1920])
def test_the_page_draws_at_every_width(
    file: Path, runs: duckdb.DuckDBPyConnection, tmp_path: Path, ask: Ask, width: int
) -> None:
    page = comparison_page.write(runs, compare(runs, "four", "slow"), tmp_path)
    script = """
      answer.bars = $("changes-figure").data.filter((t) => t.type === "bar").length;
      answer.verdict = document.querySelector(".verdict").textContent;
      answer.overflow = document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth;
      answer.stages = [...$("stage").options].map((option) => option.value);
    """
    answer = ask(page, script, size=(width, 900))
    assert (answer["errors"], answer["overflow"], answer["bars"]) == ([], 0, 1)
    assert answer["verdict"].startswith("an iteration: 61.3 % slower")
    assert answer["stages"] == ["(iteration)", "backward", "forward", "optimizer"]
