"""The study: its figures for notebooks, and its page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline import reports, warehouse
from ridgeline.reports import study
from ridgeline.reports.study import figures, paper
from tests.reports.conftest import HOSTILE, write_study

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def connection(swept: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = warehouse.connect(swept, read_only=True)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def page(study_report: Path) -> str:
    return study_report.read_text(encoding="utf-8")


def traces(figure: Any, **wanted: Any) -> list[Any]:
    found = figure.to_dict()["data"]
    return [trace for trace in found if all(trace.get(key) == value for key, value in wanted.items())]


def points(trace: Any) -> list[tuple[Any, Any]]:
    return list(zip(trace["x"], trace["y"], strict=True))


def test_latency_joins_runs_that_differ_in_length_alone(connection: duckdb.DuckDBPyConnection) -> None:
    (line,) = traces(study.latency(connection), mode="lines+markers")
    assert points(line) == [(128, 1.28e-3), (512, 5.12e-3), (2048, 20.48e-3)]
    assert line["error_y"]["array"] == pytest.approx([5e-6] * 3)
    assert line["error_y"]["arrayminus"] == pytest.approx([1e-6] * 3)
    assert line["name"] == "dlm_block_dual · cuda_graph"


def test_what_is_left_out_of_a_drawing_is_said(page: str) -> None:
    (panel,) = data(page)["e2_latency"]
    assert panel["notes"] == [
        "In all: dlm_block_dual, llada-8b, cuda_graph, block 32, batch 1, prompt 1,024, 1 token a step, bf16.",
        "7 runs left out: no other run differs in generated tokens alone.",
    ]


def test_the_split_of_a_run_whose_steps_were_not_traced(connection: duckdb.DuckDBPyConnection) -> None:
    figure = study.latency_split(connection, ["l128"])
    parts = {trace["name"]: trace["x"] for trace in traces(figure, type="bar")}
    assert parts == {"reuse": [pytest.approx(1.28e-3)], "host": [0.0]}


def test_memory_ends_at_the_first_batch_that_does_not_fit(connection: duckdb.DuckDBPyConnection) -> None:
    """Batches stand at their logarithms: 1 and 4 fit, 16 and 64 do not. The cross is level with the last that fits."""
    figure = study.throughput(connection, panel="prompt 128")
    (line,) = traces(figure, name="dlm_block_dual · cuda_graph")
    rate = 4 * 128 / 2e-3
    assert points(line) == [(0.0, pytest.approx(rate / 4)), (2.0, pytest.approx(rate))]
    (cross,) = traces(figure, name="dlm_block_dual · cuda_graph, out of memory")
    assert points(cross) == [(2.0, pytest.approx(rate)), (4.0, pytest.approx(rate))]
    assert cross["marker"]["size"] == [0, 11]
    assert "out of memory at 16, 64" in cross["text"][0]
    assert "wanted 90 GB of 80 GB" in cross["text"][0]
    memory = {trace["name"]: trace["y"] for trace in traces(figure, type="bar")}
    assert memory == {"weights": [16e9, 16e9], "cache": [1e9, 4e9], "activations and the rest": [1e9, 1e9]}
    (shape,) = figure.to_dict()["layout"]["shapes"]
    assert shape["y0"] == 80e9


def test_settings_that_make_no_figure_are_said(page: str) -> None:
    (panel,) = data(page)["e6_throughput"]
    assert panel["notes"][-1] == "No figure of: prompt 1,024 (8 runs)."


def test_steps_stand_beside_ar(connection: duckdb.DuckDBPyConnection) -> None:
    figure = study.steps(connection, panel="batch 1 · prompt 1,024 · 128")
    latency, rate = traces(figure, name="dlm_block_dual · cuda_graph")
    assert points(latency) == [(4, 4e-5), (16, 1.6e-4), (128, 1.28e-3)]
    assert rate["yaxis"] == "y2"
    level, _ = traces(figure, name="ar · cuda_graph, any number of steps")
    assert points(level) == [(4, 9e-4), (128, 9e-4)]


def test_what_a_paper_says_is_a_mark_of_its_own(connection: duckdb.DuckDBPyConnection) -> None:
    figure = study.block_size(connection)
    (line,) = (trace for trace in traces(figure, name="dlm_block_dual · cuda_graph, closed form"))
    assert points(line) == [(8, 8.0), (16, 16.0), (32, 31.1)]
    (mark,) = traces(figure, name="paper: closed form, as authored")
    assert points(mark) == [(8, 7.94), (16, 15.8), (32, 31.1)]
    assert mark["mode"] == "markers"


def test_papers_are_left_out_beside_another_model() -> None:
    assert paper.marks("e5_block_size", [{"model": "tiny"}]) == []
    assert len(paper.marks("e5_block_size", [{"model": "llada-8b"}])) == 5


def test_ours_stands_beside_the_papers() -> None:
    row = {"model": "llada-8b", "mode": "dlm_block_dual", "block": 8, "batch": 1, "run_id": "a"}
    beside = paper.table("e5_block_size", [row | {"authored_intensity": 8.0}, row | {"authored_intensity": 7.0}])
    assert [line["ours"] for line in beside[:2]] == ["7.5 FLOP/B (7 to 8), 1 run", "not captured"]
    assert beside[0]["paper"] == "7.94 FLOP/B"


def test_ours_is_of_the_papers_length() -> None:
    row = {
        "model": "llama-3-8b",
        "mode": "ar",
        "kind": "prefill",
        "batch": 1,
        "run_id": "a",
        "authored_intensity": 709.0,
    }
    assert paper.table("e3_intensity", [row | {"length": 2040.0}])[0]["ours"] == "709 FLOP/B, 1 run"
    assert paper.table("e3_intensity", [row | {"length": 1024.0}])[0]["ours"] == "not captured"


def test_every_value_of_a_paper_names_a_figure_and_its_columns(connection: duckdb.DuckDBPyConnection) -> None:
    keys = {figure.key for figure in figures.FIGURES}
    for value in paper.values():
        assert value["figure"] in keys
        assert value["source"]
        assert value["device"]
        found = connection.execute(f"SELECT * FROM figure_{value['figure']}").description or []
        columns = {column[0] for column in found}
        assert {*value.get("where", {}), *([value["column"]] if "column" in value else [])} <= columns


def test_a_figure_without_data_says_what_captures_them(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(reports.ReportError, match=r"needs at least a second of telemetry: .*modes-8b\.toml"):
        study.energy(connection)
    with pytest.raises(reports.ReportError, match="nowhere: no such panel, there are"):
        study.latency(connection, panel="nowhere")


def test_the_study_opens_with_the_speed_up() -> None:
    assert [figure.key for figure in figures.FIGURES[:2]] == ["speedup", "gap"]


# The page


def data(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="text/plain">(.*?)</script>', page, re.S)
    assert found
    decoded: dict[str, Any] = json.loads(found[1])
    return decoded


def test_the_page_has_the_figures_there_are_data_for(page: str) -> None:
    drawn = [
        "e2_latency",
        "e2_split",
        "e6_throughput",
        "e7_steps",
        "e5_block_size",
        "e9_lengths",
        "e3_intensity",
    ]
    assert list(data(page)) == drawn
    missing = page[page.index('<section id="missing">') :]
    assert missing.count("<code>ridgeline capture capture/configs/") == len(figures.FIGURES) - len(drawn)
    assert "capture/configs/e8-batch.toml" in missing


def test_every_drawing_says_what_it_shows(page: str) -> None:
    for key, panels in data(page).items():
        assert all(panel["says"].endswith(".") for panel in panels), key
    assert data(page)["e6_throughput"][0]["says"] == (
        "Highest throughput: dlm_block_dual · cuda_graph, 256,000 tokens/s at batch 4. First out of memory: "
        "dlm_block_dual · cuda_graph, at batch 16."
    )


def test_every_configuration_named_is_shipped() -> None:
    for figure in figures.FIGURES:
        assert (ROOT / "capture" / "configs" / figure.config).is_file()


def test_the_sql_on_the_page_runs_as_it_stands(page: str, connection: duckdb.DuckDBPyConnection) -> None:
    import html

    statements = [html.unescape(found) for found in re.findall(r"<pre>(.*?)</pre>", page, re.S)]
    assert len(statements) == len(data(page))
    for statement in statements:
        assert connection.execute(statement).fetchall()


def test_every_figures_sql_runs(connection: duckdb.DuckDBPyConnection) -> None:
    for figure in figures.FIGURES:
        figures.rows(connection, figure, [])


def test_names_stay_text(page: str) -> None:
    assert HOSTILE not in page
    level = next(trace for trace in data(page)["e7_steps"][0]["spec"]["data"] if trace["name"].startswith("ar"))
    assert "<" not in level["name"]


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    head = page[: page.index("<script")]
    assert "default-src 'none'" in head
    assert not re.findall(r'(?:src|href)="(?!#|report\.html)', head)


def test_the_report_writes_the_study_and_links_it(swept: Path, tmp_path: Path) -> None:
    path = reports.write(swept, tmp_path)
    assert (tmp_path / "study.html").is_file()
    assert '<a href="study.html">' in path.read_text(encoding="utf-8")


def test_runs_that_make_no_figure_leave_no_page(filled: Path, tmp_path: Path) -> None:
    """An older page would speak of runs that the report beside it does not have."""
    (tmp_path / "study.html").write_text("of before")
    path = reports.write(filled, tmp_path)
    assert not (tmp_path / "study.html").exists()
    assert "study.html" not in path.read_text(encoding="utf-8")


def test_only_chosen_runs_are_drawn(swept: Path, tmp_path: Path) -> None:
    path = write_study(swept, tmp_path, ["l128", "l512"])
    (panel,) = data(path.read_text(encoding="utf-8"))["e2_latency"]
    assert panel["spec"]["data"][0]["x"] == [128, 512]
