"""Pages of little or nothing: each opens without complaint and says what it lacks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline import reports, warehouse
from tests.reports import rich
from tests.reports.browser import Ask, needed
from tests.reports.conftest import add_kernels, add_signatures, insert, make

pytestmark = needed

SAYS = """
answer.runs = [];
const rows = [...document.querySelectorAll("tr[data-run]")];
for (const row of rows.length ? rows : [null]) {  // one after the other, as a reader chooses them
  if (rows.length > 1) { row.click(); await drawn(); }
  answer.runs.push({
    body: document.body.innerText,
    points: $("roofline-figure").data ? marks("roofline-figure").reduce((n, t) => n + t.x.length, 0) : 0,
    link: $("link").offsetParent && new URL(copy("#link")).hash,
  });
}
if ($("legend").children.length) { $("legend").children[0].click(); await drawn(); }
$("theme").click();
await drawn();
"""


def run(connection: duckdb.DuckDBPyConnection, name: str, **more: Any) -> str:
    """Add a run; return its id."""
    row = {"run_id": f"aaaa_{name}", "name": name, "content_sha256": "", "source": "kineto", "device_kind": "cuda"}
    insert(connection, "runs", **row, **{"rank": 0, "outcome": "ok", "device_time_ns": 0, "rules_version": 1, **more})
    return str(row["run_id"])


def nothing(connection: duckdb.DuckDBPyConnection) -> None:
    pass


def no_kernels(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, "empty")


def failed(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, "failed", outcome="error", message="<b>CUDA error</b>: \u202ean illegal address")


def one_kernel_without_ceilings(connection: duckdb.DuckDBPyConnection) -> None:
    add_signatures(connection)
    add_kernels(connection, run(connection, "bare", device_time_ns=700), [(0, 0, 0, 700, None)])


def three_runs(connection: duckdb.DuckDBPyConnection) -> None:
    no_kernels(connection)
    failed(connection)
    one_kernel_without_ceilings(connection)


def one_kernel_of_no_time(connection: duckdb.DuckDBPyConnection) -> None:
    add_signatures(connection)
    add_kernels(connection, run(connection, "instant"), [(0, 0, 0, 0, None)])


def a_step_in_which_no_kernel_takes_time(connection: duckdb.DuckDBPyConnection) -> None:
    one_kernel_of_no_time(connection)
    connection.execute("UPDATE kernels SET step_id = 0")
    step = {"run_id": "aaaa_instant", "rank": 0, "step_id": 0, "phase": "decode", "step": 0}
    insert(connection, "steps", **step, host_start_ns=0, host_duration_ns=90, start_ns=0, end_ns=100, busy_ns=0)


EMPTY = "empty: no device activity"
FAILED = "failed: error, <b>CUDA error</b>"
BARE = "no ceilings are known for this device"
INSTANT = "1 point of 1, 0 ns of 0 ns"


@pytest.mark.parametrize(
    ("fill", "runs"),
    [
        (nothing, [("The warehouse holds no runs yet", 0, None)]),
        (three_runs, [(BARE, 1, "bare"), (EMPTY, 0, "empty"), (FAILED, 0, "failed")]),
        # each alone, as the run that the page opens with
        pytest.param(no_kernels, [(EMPTY, 0, "empty")], marks=pytest.mark.exhaustive),
        pytest.param(failed, [(FAILED, 0, "failed")], marks=pytest.mark.exhaustive),
        pytest.param(one_kernel_without_ceilings, [(BARE, 1, "bare")], marks=pytest.mark.exhaustive),
        pytest.param(one_kernel_of_no_time, [(INSTANT, 0, "instant")], marks=pytest.mark.exhaustive),
        (a_step_in_which_no_kernel_takes_time, [("No kernel of the step takes any time.", 0, "instant")]),
    ],
)
def test_a_page_of_little_is_sensible(
    fill: Callable[[duckdb.DuckDBPyConnection], None], runs: list[tuple[str, int, str | None]], tmp_path: Path, ask: Ask
) -> None:
    answer = ask(reports.write(make(tmp_path / "w.duckdb", fill), tmp_path), SAYS, fragment="#theme=dark")
    assert answer["errors"] == []
    assert len(answer["runs"]) == len(runs)
    for said, (says, points, name) in zip(answer["runs"], runs, strict=True):
        assert says in said["body"]
        assert (INSTANT in said["body"]) == (name == "instant")
        assert "NaN" not in said["body"]
        assert "undefined" not in said["body"]
        assert "∞" not in said["body"]
        assert said["points"] == points
        # A link out of a page that opened in a theme names the theme.
        assert said["link"] == (name and f"#run={name}&theme=dark")


def test_many_points_are_drawn_as_fewer_marks_and_the_page_says_how(
    stocked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    connection = warehouse.connect(shutil.copy(stocked, tmp_path))
    connection.execute(
        "INSERT INTO kernel_classes BY NAME SELECT * EXCLUDE (i) REPLACE (100 + i * 10 AS class_id, "
        f"kernel || i AS kernel) FROM kernel_classes, range(2000) r(i) WHERE run_id = '{rich.RUN}' AND class_id = 0"
    )
    connection.execute(
        "INSERT INTO kernels BY NAME SELECT * EXCLUDE (i) REPLACE (100 + i AS kernel_id, 100 + i * 10 AS class_id, "
        f"duration_ns + i AS duration_ns) FROM kernels, range(2000) r(i) WHERE run_id = '{rich.RUN}' AND kernel_id = 0"
    )
    connection.execute("UPDATE ledger SET kernels = 2007")
    warehouse.refresh(connection)
    connection.close()
    monkeypatch.setattr("ridgeline.reports.explorer.point_budget.ALONE", 100)
    script = """
    const drawnMarks = () => marks("roofline-figure").reduce((n, t) => n + t.x.length, 0);
    document.querySelector('tr[data-run="dddd000000000005"]').click();
    await drawn();
    answer.marks = drawnMarks();
    answer.note = text("roofline-note");
    answer.listed = document.querySelectorAll("#table-body tr").length;
    answer.csv = copy("#csv").split("\\n").length - 1;
    $("table-more").click();
    answer.all = document.querySelectorAll("#table-body tr").length;
    choose("point", "launch");
    answer.launch = text("roofline-note");
    """
    answer = ask(reports.write(tmp_path / "w.duckdb", tmp_path), script, (1400, 2500))
    assert answer["errors"] == []
    assert answer["marks"] <= 1500
    assert f"drawn as {answer['marks']:,} mark" in answer["note"]
    assert (answer["listed"], answer["csv"], answer["all"]) == (100, 2006, 2006)
    assert "if their durations lie within 4.43 %" in answer["launch"]
