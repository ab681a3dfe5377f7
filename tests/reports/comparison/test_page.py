"""The page of a comparison: its data, and in a real browser, where there is one, what it shows."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ridgeline import warehouse
from ridgeline.reports.comparison import page as comparison_page
from ridgeline.reports.comparison.compare import compare
from tests.reports.browser import WIDTHS, Ask, Browser, in_a_browser

HOSTILE = "</script><img src=x onerror=alert(1)>"


def write(file: Path, folder: Path, base: str, other: str) -> Path:
    connection = warehouse.connect(file, read_only=True)
    try:
        return comparison_page.write(connection, compare(connection, base, other), folder)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def written(compared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(compared, tmp_path_factory.mktemp("page"), "before", "after")


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    assert written.name == "compare.html"
    return written.read_text(encoding="utf-8")


def data(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="text/plain">(.*?)</script>', page, re.S)
    assert found
    decoded: dict[str, Any] = json.loads(found[1])
    return decoded


def test_rows_have_their_place_before_and_after(page: str) -> None:
    (gemm,) = [row for row in data(page)["rows"] if row["level"] == "row" and row["operator"] == "aten::mm"]
    # 1e8 FLOPs and 2e6 bytes a launch, two launches in 2.02 us and 3.02 us
    assert (gemm["base_x"], gemm["other_x"]) == (50, 50)
    assert (gemm["base_y"], gemm["other_y"]) == pytest.approx((2e8 / 2020e-9, 2e8 / 3020e-9))
    (norm,) = [row for row in data(page)["rows"] if row["level"] == "row" and row["operator"] == "aten::norm"]
    assert (norm["base_place"], norm["other_place"]) == ("roofline", "none")


def test_each_side_stands_by_its_own_work(compared: Path, tmp_path: Path) -> None:
    rows = data(write(compared, tmp_path, "old_1", "before").read_text("utf-8"))["rows"]
    (gemm,) = [row for row in rows if row["level"] == "row" and row["operator"] == "aten::mm"]
    assert (gemm["base_y"], gemm["other_y"]) == pytest.approx((1e8 / 10_000e-9, 2e8 / 2020e-9))


def test_the_frame_is_the_machines(page: str) -> None:
    content = data(page)
    assert content["device"] == "Test Device"
    assert [trace["name"] for trace in content["roofline"]["data"]] == [
        "DRAM 1 TB/s, measured",
        "bf16 tensor 100 TFLOP/s, measured",
        "fp32 vector 10 TFLOP/s, measured",
        "ridge points",
    ]


def test_the_header_says_what_differs(page: str) -> None:
    assert re.search(r"<th scope=\"row\">execution</th><td><bdi>eager</bdi></td><td><bdi>compile</bdi></td>", page)
    assert "Both: device <bdi>Test Device</bdi>, mode <bdi>ar</bdi>, model <bdi>m</bdi>" in page


def test_the_verdict_names_the_largest_differences(page: str) -> None:
    """Each with its evidence, as a button that opens its row."""
    verdict = page[page.index('id="verdict"') : page.index('id="totals"')]
    buttons = re.findall(r'<button type="button" data-row="(\d+)".*?</button>\s*<p>(.*?)</p>', verdict, re.S)
    rows = [data(page)["rows"][int(index)] for index, _ in buttons]
    assert [(row["level"], row["operator"]) for row in rows] == [
        ("operator", "aten::mm"),
        ("operator", "aten::norm"),
        ("operator", "aten::silu"),
    ]
    assert buttons[0][1].startswith(
        "other kernels, further from the roof; of the roof 198 % before, 132 % after; both: "
    )


def test_whole_steps_stand_first(page: str) -> None:
    table = re.sub(r"<[^>]+>", " ", page[page.index('id="totals"') : page.index('id="toolbar"')]).split()
    assert " ".join(table[table.index("decode") :][:26]) == (
        "decode without the profiler 20.1 µs 20 µs to 20.2 µs 25.1 µs 25 µs to 25.2 µs +5 µs +24.9 % ±6.98 % slower "
        "device"
    )


def test_the_sql_shown_gives_the_rows(page: str, compared: Path) -> None:
    statements = [html.unescape(sql) for sql in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.S)]
    connection = warehouse.connect(compared, read_only=True)
    counts = [len(connection.execute(sql).fetchall()) for sql in statements]
    connection.close()
    content = data(page)
    assert counts[0] == len(content["rows"]) + len(content["steps"]) + 1  # and the unprofiled step
    assert counts[1] == 2


def test_names_from_traces_stay_text(compared: Path, tmp_path: Path) -> None:
    page = write(compared, tmp_path, "hostile", "before").read_text(encoding="utf-8")
    assert "<img" not in page.replace("<image", "")
    assert HOSTILE in {row["operator"] for row in data(page)["rows"]}


TOUR = """
const cells = () => [...document.querySelectorAll("#rows-body tr")]
  .map((row) => [...row.children].map((cell) => cell.textContent));
const traces = (fits) => $("roofline-figure").data.filter(fits);
const gone = () => [...document.querySelectorAll("#statuses button")].find((b) => b.textContent.startsWith("gone"));
Object.assign(answer, { level: $("level").value, modules: cells().map((row) => row[0]) });
choose("level", "row");
answer.rows = cells().map((row) => [row[0], row[5], row[7]]);
answer.marks = traces((t) => t.mode === "markers").map((t) => [t.name, t.marker.symbol, t.x]);
answer.links = traces((t) => t.connectgaps === false).map((t) => [t.name, t.x]);
answer.sum = text("changes-note");
answer.bars = $("changes-figure").data.filter((t) => t.type === "bar")
  .map((t) => [t.name, t.x.map((x) => Math.round(x * 1e9))]);
document.querySelector("#rows-head th:nth-child(4) button").click();
answer.sorted = cells().map((row) => row[0]);
gone().click();
answer.gone = [cells().map((row) => row[0]), text("rows-note")];
gone().click();
choose("search", "gemm_128");
answer.searched = cells().map((row) => row[0]);
document.querySelector("#rows-body tr").click();
answer.detail = text("detail");
choose("search", "");
$("theme").click();
answer.theme = document.documentElement.dataset.theme;
document.querySelector("details.sql").open = true;
document.querySelector("button.copy").click();
gone().click();
document.querySelector("button[data-row]").click();
answer.opened = [$("level").value, cells().length, document.querySelector("#rows-body tr.chosen td").textContent];
answer.opened.push(document.querySelector("#detail h3").textContent);
answer.facts = text("detail");
"""


@pytest.fixture(scope="module")
def answer(written: Path, ask: Ask) -> dict[str, Any]:
    return ask(written, TOUR, size=(1400, 1200), fragment="#by=constructor&step=toString&theme=none")


@in_a_browser
def test_opens_without_errors(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []
    assert answer["theme"] == "dark"


@in_a_browser
def test_begins_with_modules_the_largest_change_first(answer: dict[str, Any]) -> None:
    assert answer["level"] == "module"
    assert answer["modules"] == ["model.layers.*.mlp", "model.layers.*.self_attn", "model.norm", "model"]


@in_a_browser
def test_the_table_and_the_bars_say_what_the_warehouse_says(answer: dict[str, Any]) -> None:
    assert answer["rows"] == [
        ["aten::mm", "+1 µs", "slower"],
        ["aten::sdpa", "-1 µs", "same"],
        ["aten::norm", "-300 ns", "gone"],
        ["aten::silu", "+200 ns", "added"],
        ["aten::add.Tensor", "+100 ns", "same"],
    ]
    assert dict(answer["bars"]) == {
        "matmul": [1000],
        "attention": [-1000],
        "normalization": [-300],
        "pointwise": [200, 100],
    }
    assert answer["sum"].startswith("All rows together: 0 ns = 11.5 µs after − 11.5 µs before")


@in_a_browser
def test_before_is_hollow_after_filled_and_a_line_between(answer: dict[str, Any]) -> None:
    matmul = next(trace for trace in answer["marks"] if trace[0] == "matmul")
    assert matmul[1:] == [["circle-open", "circle"], [50, 50]]
    links = dict(answer["links"])
    assert links["matmul"] == [50, 50, None]
    assert links["normalization"] == []


@in_a_browser
def test_sorts_filters_searches_and_says_what_is_hidden(answer: dict[str, Any]) -> None:
    assert answer["sorted"] == ["aten::add.Tensor", "aten::sdpa", "aten::mm", "aten::norm", "aten::silu"]
    assert answer["gone"] == [["aten::norm"], "4 rows hidden by the search or selection above."]
    assert answer["searched"] == ["aten::mm"]
    assert "gemm_64x8" in answer["detail"]
    assert "gemm_128x8" in answer["detail"]


@in_a_browser
def test_a_difference_of_the_verdict_opens_its_row(answer: dict[str, Any]) -> None:
    """Whatever was filtered before."""
    assert answer["opened"] == ["operator", 5, "aten::mm", "aten::mm"]
    assert "diagnosisabove the DRAM roof: part came from a cache" in answer["facts"]


@in_a_browser
def test_hostile_names_do_nothing_in_a_browser(compared: Path, tmp_path: Path, ask: Ask) -> None:
    answer = ask(write(compared, tmp_path, "hostile", "hostile"), 'answer.shown = text("rows-body");')
    assert (answer["errors"], answer["images"]) == ([], 0)
    assert "onerror=alert(1)" in answer["shown"]


@in_a_browser
def test_every_figure_is_drawn_at_every_width(written: Path, browser: Browser) -> None:
    assert browser.widths(written) == {width: [] for width in WIDTHS}
