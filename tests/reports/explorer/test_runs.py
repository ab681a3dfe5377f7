"""The list of runs at the side of the roofline, the focus of the keyboard, and saved pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ridgeline
from ridgeline import reports
from tests.reports.browser import Ask, in_a_browser

TOUR = """
const names = () => [...document.querySelectorAll("#run-options bdi")].map((node) => node.textContent);
const chosen = () => [...document.querySelectorAll("[role=option][aria-selected=true] bdi")].map((node) => node.textContent);
const press = (node, name) => node.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const set = (node, value) => { node.value = value; node.dispatchEvent(new Event("change", { bubbles: true })); };
const focused = () => document.activeElement.dataset.key || document.activeElement.id;
answer.names = names();
answer.titles = [...document.querySelectorAll("[role=option]")].map((node) => node.title);
answer.values = [...document.querySelectorAll("[role=option] small")].map((node) => node.textContent);
answer.devices = [...document.querySelectorAll("#run-options [role=group]")].map((node) => node.getAttribute("aria-label"));
answer.all = text("run-all");
answer.settings = [...document.querySelectorAll("#run-facets label")].map((node) => node.firstChild.textContent.trim());
choose("run-search", "DECODE test");
answer.found = [names(), text("run-count"), text("run-hidden")];
choose("run-search", "nothing");
answer.nothing = [names(), text("run-count"), text("run-hidden")];
choose("run-search", "");
const batch = document.querySelector("[data-setting=batch]");
answer.batches = [...batch.options].map((node) => node.textContent);
set(batch, "512");
answer.filtered = [names(), text("run-only")];
set(batch, "");
$("run-value").click();
answer.sorted = names();
$("run-name").click();
$("run-options").focus();
press($("run-options"), "ArrowDown");
answer.moved = [chosen(), $("run-options").getAttribute("aria-activedescendant")];
press($("run-options"), "Enter");
await drawn();
answer.entered = [chosen(), focused()];
press($("run-options"), "Home");
press($("run-options"), " ");
await drawn();
answer.added = [chosen(), focused(), text("roofline-title")];
document.querySelectorAll("[role=option] .box")[1].click();
answer.removed = chosen();
$("run-cccc000000000004").dispatchEvent(new MouseEvent("click", { ctrlKey: true, bubbles: true }));
answer.device = chosen();
$("run-aaaa000000000001").click();
await drawn();

const legend = [...$("legend").children].find((node) => node.textContent.startsWith("matmul"));
legend.focus();
legend.click();
await drawn();
answer.legend = [focused(), document.activeElement.isConnected];
$("table").scrollIntoView();
await drawn();
const row = document.querySelector("#table-body tr");
row.focus({ preventScroll: true });
press(row, "Enter");
await drawn();
answer.row = [document.activeElement.tagName, document.activeElement.dataset.key === row.dataset.key, document.activeElement !== row, text("picked")];
$("timeline").scrollIntoView();
await drawn();
const top = $("timeline").getBoundingClientRect().top;
press(document.activeElement, "Escape");
await drawn();
answer.escaped = [document.activeElement.dataset.key === row.dataset.key, Math.abs($("timeline").getBoundingClientRect().top - top) < 2, text("picked"), [...document.querySelectorAll("#legend .off")].length];

choose("phase", "no phase");
choose("phase", "decode \u00b7 reuse");
const pictures = [];
Plotly.downloadImage = (picture, options) => pictures.push([picture, options]);
document.querySelector("[data-save=roofline-figure][data-format=svg]").click();
const [{ data, layout }, options] = pictures[0];
answer.picture = layout.annotations.slice(-3).map((note) => note.text);
answer.size = [options.format, options.filename, options.height - $("roofline-figure").clientHeight, layout.paper_bgcolor.length > 3];
"""


@pytest.fixture(scope="module")
def answer(report: Path, ask: Ask) -> dict[str, Any]:
    return ask(report, TOUR, (1400, 900))


@in_a_browser
def test_opens_and_answers_without_errors(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []
    assert answer["images"] == 0


@in_a_browser
def test_lists_every_run_by_device(answer: dict[str, Any]) -> None:
    assert answer["names"] == ["decode_b1", "decode_b2", "decode_b512", "laptop"]
    assert answer["titles"] == ["decode_b1", "decode_b2", "decode_b512\nwanted 90 GB of 80 GB", "laptop"]
    assert answer["values"] == ["5.5 µs", "1 µs", "oom", "700 ns"]
    assert answer["devices"] == ["Test Device", "CPU"]
    assert answer["all"] == "choose all 3 on Test Device"


@in_a_browser
def test_the_list_is_filtered_by_text_and_settings(answer: dict[str, Any]) -> None:
    """Words that all names share are left out, whole words only."""
    assert answer["found"] == [["b1", "b2", "b512"], "3 of 4", ""]
    assert answer["nothing"] == [[], "0 of 4", "1 chosen run not listed"]
    assert answer["settings"] == ["device", "batch"]
    assert answer["batches"] == ["all", "– (3)", "512 (1)"]
    assert answer["filtered"] == [["decode_b512"], "batch 512"]


@in_a_browser
def test_the_list_is_sorted_within_a_device(answer: dict[str, Any]) -> None:
    assert answer["sorted"] == ["decode_b1", "decode_b2", "decode_b512", "laptop"]


@in_a_browser
def test_keys_move_switch_and_add_and_keep_the_focus(answer: dict[str, Any]) -> None:
    assert answer["moved"] == [["decode_b1"], "run-aaaa000000000002"]
    assert answer["entered"] == [["decode_b2"], "run-options"]
    assert answer["added"][:2] == [["decode_b1", "decode_b2"], "run-options"]
    assert answer["added"][2].startswith("2 runs on Test Device")
    assert answer["removed"] == ["decode_b1"]
    assert answer["device"] == ["laptop"]


@in_a_browser
def test_the_focus_stays_on_its_item(answer: dict[str, Any]) -> None:
    assert answer["legend"] == ["matmul", True]
    assert answer["row"] == ["TR", True, True, "gemm_kernel ×"]


@in_a_browser
def test_escape_resets_and_scrolls_nothing(answer: dict[str, Any]) -> None:
    assert answer["escaped"] == [True, True, "", 0]


@in_a_browser
def test_a_saved_picture_says_what_it_shows(answer: dict[str, Any]) -> None:
    title, above, beneath = answer["picture"]
    assert title == "Roofline"
    assert above.startswith("decode_b1 on Test Device<br>")
    assert "●</span> matmul" in above
    assert beneath == f"Ridgeline {ridgeline.__version__} · w.duckdb · phase decode · reuse"
    assert answer["size"] == ["svg", "decode_b1-roofline", 110, True]


def test_one_run_needs_no_list(filled: Path, tmp_path: Path) -> None:
    page = reports.write(filled, tmp_path, ["laptop"]).read_text(encoding="utf-8")
    assert 'id="run-list"' not in page
    assert '<div class="first">' in page
