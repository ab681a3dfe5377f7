"""The roofline in a browser: zoom, colours, arrows between two runs, the peak and the way to the roof, and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.reports import rich
from tests.reports.browser import Ask, needed

pytestmark = needed

TOUR = """
const figure = $("roofline-figure");
const ranges = () => [[...figure.layout.xaxis.range], [...figure.layout.yaxis.range]];
const zoom = (name) => document.querySelector(`[data-zoom=${name}]`).click();
const roled = (role) => figure.data.filter((t) => t.meta && t.meta.role === role);
const wheel = () => {
  const event = new WheelEvent("wheel", { deltaY: -100, bubbles: true, cancelable: true });
  figure.querySelector(".nsewdrag").dispatchEvent(event);
  return event.defaultPrevented;
};
const run = (id, ctrlKey) => {
  document.querySelector(`tr[data-run="${id}"]`).dispatchEvent(new MouseEvent("click", { ctrlKey, bubbles: true }));
};
run("dddd000000000005", false);
await drawn();
answer.frame = ranges();
answer.ridges = figure.layout.annotations.filter((note) => note.name === "ridge").map((note) => note.text);
answer.minor = figure.layout.xaxis.minor.tickvals.length;
answer.labels = [placedLabels()];
const bottom = (node) => node.getBoundingClientRect().bottom;
answer.screen = [bottom(figure.querySelector(".xtitle")) <= innerHeight, $("toolbar").offsetHeight < 45];
// The roof of DRAM crosses a corner of the view.
location.hash = "#run=rich_eager&zoom=0,3,10,12.2";
await wait(50);
await drawn();
const named = (note) => [note.name, note.text];
answer.corner = figure.layout.annotations.filter((note) => /DRAM/.test(note.text)).map(named);
answer.cornerMet = placedLabels().met;
location.hash = "#run=rich_eager";
await wait(50);
await drawn();
const matmul = marks("roofline-figure").find((t) => t.name === "matmul");
figure.emit("plotly_hover", { points: [{ customdata: matmul.customdata[0] }], event: { clientX: 5, clientY: 5 } });
answer.hover = text("tooltip");
answer.drop = [$("drop").hidden, text("drop")];
figure.emit("plotly_unhover");
answer.gone = $("drop").hidden;
answer.wheels = [wheel()];
figure.focus();
answer.wheels.push(wheel());
await wait(120);
await drawn();
answer.wheeled = ranges();
figure.blur();
zoom("frame");
answer.whole = ranges();
zoom("fit");
answer.fit = ranges();
answer.labels.push(placedLabels());
answer.ticks = figure.layout.yaxis.ticktext;
choose("level", "l2");
run("eeee000000000006", true);
$("theme").click();
await drawn();
await wait(300);
answer.kept = [ranges(), location.hash];
answer.labels.push(placedLabels());
choose("level", "dram");
$("arrows").checked = true;
choose("colour", "run");
await drawn();
answer.runs = marks("roofline-figure").map((t) => [t.name, t.marker.color]);
answer.legend = [...document.querySelectorAll("#legend button bdi")].map((node) => node.textContent);
answer.arrows = roled("arrows").map((t) => [t.x, t.marker.size]);
answer.note = text("roofline-note");
$("arrows").checked = false;
$("arrows").dispatchEvent(new Event("change"));
answer.without = roled("arrows").length;
figure.dispatchEvent(new KeyboardEvent("keydown", { key: "0", bubbles: true }));
answer.key = ranges();
run("dddd000000000005", false);
const one = marks("roofline-figure")[0];
figure.emit("plotly_click", { points: [{ customdata: one.customdata[0] }], event: {} });
await drawn();
answer.dropped = roled("drop").map((t) => [t.x, t.y, t.text[0]]);
answer.point = [one.customdata[0].point.x, one.customdata[0].point.y, one.customdata[0].point.roof_fraction];
answer.detail = text("detail");
"""


@pytest.fixture(scope="module")
def answer(rich_report: Path, ask: Ask) -> dict[str, Any]:
    return ask(rich_report, TOUR, size=(1440, 900))


def test_opens_without_errors(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []


def test_labels_lie_on_no_roof_no_point_and_no_other_label(answer: dict[str, Any]) -> None:
    assert [seen["met"] for seen in answer["labels"]] == [[], [], []]
    assert {"L2 3 TB/s, measured", "100 FLOP/B"} <= set(answer["labels"][0]["labels"])
    assert all(len(seen["labels"]) >= 3 for seen in answer["labels"])


def test_the_first_screen_shows_the_whole_roofline(answer: dict[str, Any]) -> None:
    assert answer["screen"] == [True, True]


def test_the_roof_of_the_level_shown_is_named_even_without_room_along_it(answer: dict[str, Any]) -> None:
    assert answer["corner"] == [["end", "DRAM 1 TB/s, measured"]]
    assert answer["cornerMet"] == []


def test_ridges_have_their_value_and_axes_minor_ticks(answer: dict[str, Any]) -> None:
    assert answer["ridges"] == ["100 FLOP/B", "10 FLOP/B"]
    assert answer["minor"] == 6 * 8


def test_hover_names_the_peak_and_how_far_it_is(answer: dict[str, Any]) -> None:
    """Two launches took 4,600 ns, in which DRAM at 1.2 TB/s moves 5.52 MB; they moved 4.4 MB."""
    assert "79.7 % of 1.2 TB/s DRAM, datasheet" in answer["hover"]
    assert answer["drop"] == [False, "1.3×"]
    assert answer["gone"]


def test_the_wheel_zooms_only_where_the_figure_has_the_focus(answer: dict[str, Any]) -> None:
    assert answer["wheels"] == [False, True]
    (x0, x1), _ = answer["wheeled"]
    assert -2 == x0 < x1 < 4  # about the pointer, which is left of the plot
    assert answer["whole"] == answer["frame"] == [[-2, 4], [9, 15]]


def test_a_zoom_is_kept_through_level_run_and_theme_and_is_in_the_address(answer: dict[str, Any]) -> None:
    (x0, x1), (y0, y1) = answer["fit"]
    assert -2 < x0 < x1 < 4
    assert 9 <= y0 < y1 < 15
    kept, address = answer["kept"]
    assert kept == answer["fit"]
    assert f"zoom={x0},{x1},{y0},{y1}" in address
    assert answer["key"] == answer["frame"]
    assert all(tick.endswith("FLOP/s") for tick in answer["ticks"])


def test_colour_by_run_and_arrows_between_two(answer: dict[str, Any]) -> None:
    assert [name for name, _ in answer["runs"]] == answer["legend"]
    assert len({color for _, color in answer["runs"]}) == 2
    ((x, size),) = answer["arrows"]
    assert len(x) == len(size) == 3 * int(answer["note"].partition(" arrow")[0].rpartition(" ")[2])
    assert x[2::3] == [None] * (len(x) // 3)
    assert answer["without"] == 0


def test_a_selected_point_has_a_line_to_its_roof(answer: dict[str, Any]) -> None:
    x, y, fraction = answer["point"]
    if fraction > 1 / 1.05:
        assert answer["dropped"] == []
    else:
        assert answer["dropped"] == [[[x, x, None], [y, pytest.approx(y / fraction), None], f"{1 / fraction:.2g}×"]]
    assert "of DRAM" in answer["detail"]
    assert rich.RUN in answer["detail"]
