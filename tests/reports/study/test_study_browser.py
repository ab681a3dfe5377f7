"""The study's page in a real browser, where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import WIDTHS, Ask, Browser, needed

pytestmark = needed

TOUR = """
const figures = [...document.querySelectorAll(".figure")];
const axis = () => $("e2_latency-figure").layout.xaxis.gridcolor;
answer.drawn = figures.filter((figure) => figure.querySelector(".plot-container")).length;
answer.figures = figures.length;
answer.note = text("e2_latency-note");
const under = $("e2_latency-figure").nextElementSibling;
answer.says = [under.id, under.textContent, text("e2_split-says")];
const select = document.querySelector('select[data-figure="e2_split"]');
const bars = () => $("e2_split-figure").data.flatMap((trace) => (trace.type === "bar" ? trace.y : [])).length;
answer.before = bars();
select.value = String(select.options.length - 1);
select.dispatchEvent(new Event("change"));
await drawn();
answer.says.push(text("e2_split-says"));
answer.after = bars();
const before = [document.documentElement.dataset.theme, axis()];
$("theme").click();
await drawn();
answer.themes = [before[0] !== document.documentElement.dataset.theme, before[1] !== axis()];
document.execCommand = (what) => { answer.copied = [what, document.activeElement.value]; };
document.querySelector(".copy").click();
"""


@pytest.fixture(scope="module")
def answer(study_report: Path, ask: Ask) -> dict[str, Any]:
    """What the page says of itself, after a few clicks."""
    return ask(study_report, TOUR, size=(1400, 1200))


def test_opens_without_errors(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []
    assert answer["images"] == 0


def test_every_figure_is_drawn(answer: dict[str, Any]) -> None:
    assert answer["drawn"] == answer["figures"] == 7


def test_notes_stand_beneath(answer: dict[str, Any]) -> None:
    assert "left out: no other run differs in generated tokens alone" in answer["note"]


def test_a_sentence_stands_under_each_figure_and_follows_its_panel(answer: dict[str, Any]) -> None:
    under, latency, first, chosen = answer["says"]
    assert under == "e2_latency-says"
    assert latency == (
        "dlm_block_dual · cuda_graph: 1.28 ms at 128 generated tokens to 20.5 ms at 2,048 generated tokens, "
        "a factor of 16."
    )
    assert first != chosen


def test_another_panel_is_drawn_when_chosen(answer: dict[str, Any]) -> None:
    assert answer["before"] > answer["after"] > 0


def test_the_theme_repaints_the_figures(answer: dict[str, Any]) -> None:
    assert answer["themes"] == [True, True]


def test_the_sql_is_copied(answer: dict[str, Any]) -> None:
    what, text = answer["copied"]
    assert what == "copy"
    assert text.startswith("SELECT * FROM figure_e2_latency")


def test_every_figure_is_drawn_at_every_width(study_report: Path, browser: Browser) -> None:
    assert browser.widths(study_report) == {width: [] for width in WIDTHS}
