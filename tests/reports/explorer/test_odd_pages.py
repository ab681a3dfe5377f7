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
answer.body = document.body.innerText;
answer.points = $("roofline-figure").data ? marks("roofline-figure").reduce((n, t) => n + t.x.length, 0) : 0;
answer.table = text("table-note");
answer.link = $("link").offsetParent && new URL(copy("#link")).hash;
if ($("legend").children.length) { $("legend").children[0].click(); await drawn(); }
$("theme").click();
await drawn();
"""


def run(connection: duckdb.DuckDBPyConnection, **more: Any) -> None:
    row = {"run_id": "aaaa000000000001", "name": "one", "content_sha256": "", "source": "kineto", "device_kind": "cuda"}
    insert(connection, "runs", **row, **{"rank": 0, "outcome": "ok", "device_time_ns": 0, "rules_version": 1, **more})


def nothing(connection: duckdb.DuckDBPyConnection) -> None:
    pass


def no_kernels(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection)


def failed(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, outcome="error", message="<b>CUDA error</b>: \u202ean illegal address")


def one_kernel_without_ceilings(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection, device_time_ns=700)
    add_signatures(connection)
    add_kernels(connection, "aaaa000000000001", [(0, 0, 0, 700, None)])


def one_kernel_of_no_time(connection: duckdb.DuckDBPyConnection) -> None:
    run(connection)
    add_signatures(connection)
    add_kernels(connection, "aaaa000000000001", [(0, 0, 0, 0, None)])


def a_step_in_which_no_kernel_takes_time(connection: duckdb.DuckDBPyConnection) -> None:
    one_kernel_of_no_time(connection)
    connection.execute("UPDATE kernels SET step_id = 0")
    step = {"run_id": "aaaa000000000001", "rank": 0, "step_id": 0, "phase": "decode", "step": 0}
    insert(connection, "steps", **step, host_start_ns=0, host_duration_ns=90, start_ns=0, end_ns=100, busy_ns=0)


@pytest.mark.parametrize(
    ("fill", "says", "points"),
    [
        (nothing, "The warehouse holds no runs yet", 0),
        (no_kernels, "one: no device activity", 0),
        (failed, "one: error, <b>CUDA error</b>", 0),
        (one_kernel_without_ceilings, "no ceilings are known for this device", 1),
        (one_kernel_of_no_time, "1 point of 1, 0 ns of 0 ns", 0),
        (a_step_in_which_no_kernel_takes_time, "No kernel of the step takes any time.", 0),
    ],
)
def test_a_page_of_little_is_sensible(
    fill: Callable[[duckdb.DuckDBPyConnection], None], says: str, points: int, tmp_path: Path, ask: Ask
) -> None:
    answer = ask(reports.write(make(tmp_path / "w.duckdb", fill), tmp_path), SAYS, fragment="#theme=dark")
    assert answer["errors"] == []
    assert says in answer["body"]
    assert "NaN" not in answer["body"]
    assert "undefined" not in answer["body"]
    assert answer["points"] == points
    # A link out of a page that opened in a theme names the theme.
    assert answer["link"] == (None if fill is nothing else "#run=one&theme=dark")


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
