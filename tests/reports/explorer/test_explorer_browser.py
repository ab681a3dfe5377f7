"""The page in a real browser, where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import WIDTHS, Ask, Browser, needed

pytestmark = needed

TOUR = """
const shown = (id) => marks(id).map((t) => [t.name, t.x, t.y]);
const legend = () => [...document.querySelectorAll("#legend button")].map((b) => b.textContent);
const button = (name) => [...document.querySelectorAll("#legend button")].find((b) => b.textContent.startsWith(name));
answer.runs = [...document.querySelectorAll(".pick")].map((b) => b.textContent);
answer.chosen = [...document.querySelectorAll("tr.chosen .pick")].map((b) => b.textContent);
answer.roofline = shown("roofline-figure");
answer.lane = shown("lane-figure");
answer.legend = legend();
answer.ledger = text("ledger-tables");
answer.named = text("ledger-named");
const folds = () => [...document.querySelectorAll("#ledger-named details")].map((fold) => fold.open);
document.querySelector("#ledger-named details").open = true;
button("matmul").click();
answer.isolated = [shown("roofline-figure").map(([name]) => name), text("sum")];
button("matmul").click();
choose("phase", "no phase");
answer.phase = text("sum");
await drawn();
answer.folds = folds();
slide(60);
await drawn();
answer.more = text("more");
slide(100);
await drawn();
answer.more += ` / ${text("more")}`;
const run = (id) => document.querySelector(`tr[data-run="${id}"]`);
run("aaaa000000000001").click();
run("aaaa000000000002").dispatchEvent(new MouseEvent("click", { ctrlKey: true, bubbles: true }));
answer.both = [...document.querySelectorAll("tr.chosen .pick")].map((b) => b.textContent);
run("bbbb000000000003").click();
await drawn();
answer.oom = text("ledger-tables");
run("cccc000000000004").click();
answer.laptop = text("roofline-note");
$("theme").click();
answer.theme = document.documentElement.dataset.theme;
"""


@pytest.fixture(scope="module")
def answer(report: Path, ask: Ask) -> dict[str, Any]:
    """What the page says of itself, after a few clicks."""
    return ask(report, TOUR)


def test_every_figure_is_drawn_at_every_width(report: Path, browser: Browser) -> None:
    assert browser.widths(report) == {width: [] for width in WIDTHS}


def test_the_first_screen_comes_before_plotly_and_panels_below_it_wait(report: Path, ask: Ask) -> None:
    script = """
    answer.marks = performance.getEntriesByType("mark").map((mark) => mark.name);
    answer.waiting = [...document.querySelectorAll(".undrawn")].map((panel) => panel.id);
    $("ledger").scrollIntoView();
    await wait(100);
    await drawn();
    answer.later = [...document.querySelectorAll(".undrawn")].map((panel) => panel.id);
    """
    answer = ask(report, script, (1440, 900))
    assert answer["errors"] == []
    assert answer["marks"] == ["first screen", "roofline"]
    assert {"byte-sources", "telemetry", "ledger"} <= set(answer["waiting"])
    assert "ledger" not in answer["later"]


def test_opens_without_errors(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []
    assert answer["images"] == 0


def test_shows_every_run_and_chooses_the_longest_with_roofs(answer: dict[str, Any]) -> None:
    assert answer["runs"] == ["decode_b1", "decode_b2", "decode_b512", "laptop"]
    assert answer["chosen"] == ["decode_b1"]


def test_points_are_where_the_warehouse_says(answer: dict[str, Any]) -> None:
    assert answer["roofline"] == [["matmul", [50], [5e13]], ["pointwise", [1 / 12], [1e9]]]
    assert answer["lane"] == [["copy", [4e11], ["copy"]]]
    assert answer["legend"] == ["matmul72.7 %", "pointwise10.9 %", "copy9.09 %", "other7.27 %"]


def test_the_ledger_closes_and_names_what_is_open(answer: dict[str, Any]) -> None:
    assert answer["ledger"].count("= device time55,500100 %") == 2
    assert "Not attributed to an operator: 400 ns, 7.27 %, 1 name" in answer["named"]
    assert "</script><img src=x onerror=alert(1)>" in answer["named"]
    assert answer["folds"] == [True, False]


def test_controls_filter(answer: dict[str, Any]) -> None:
    assert answer["isolated"] == [["matmul"], "2 kernels · 4 µs · 50 TFLOP/s on average · only matmul"]
    assert answer["phase"] == "1 kernel · 400 ns"
    assert answer["both"] == ["decode_b1", "decode_b2"]
    assert answer["more"] == "more: runtime shown 60 % / more"


def test_runs_without_kernels_or_roofs_say_so(answer: dict[str, Any]) -> None:
    assert answer["oom"] == "decode_b512: oom, wanted 90 GB of 80 GB"
    assert "no ceilings are known for this device" in answer["laptop"]
    assert answer["theme"] in ("dark", "light")
