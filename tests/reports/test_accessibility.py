"""Every page by axe-core, the contrast of the marks that it draws, and the "?" beside terms, in a real browser."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from ridgeline import reports, warehouse
from ridgeline.reports.comparison import page as comparison_page
from ridgeline.reports.comparison.compare import compare
from ridgeline.reports.figures import palette
from ridgeline.reports.terms import terms
from tests.reports.browser import Ask, needed
from tests.reports.figures.test_palette import contrast, over, parts

TEMPLATES = Path(reports.__file__).parent / "templates"

# What axe-core complains of in both themes, and colour and opacity of every mark. The dark theme changes colours alone.
# Dimmed marks are not meant: they are not selected.
AUDIT = """
const audit = async (only) => {
  const options = { resultTypes: ["violations"], rules: { "target-size": { enabled: true } }, ...only };
  const { violations } = await axe.run(document, options);
  const examples = (nodes) => nodes.slice(0, 3).map(({ html }) => html.slice(0, 160));
  return violations.map(({ id, impact, nodes }) => [id, impact, examples(nodes)]);
};
const drawnColors = () => {
  const seen = new Set();
  const figures = [...document.querySelectorAll(".js-plotly-plot")].filter((figure) => figure.offsetParent);
  const traces = figures.flatMap((figure) => figure.data.map((trace) => [figure.id, trace]));
  for (const [id, { mode, marker = {}, line = {}, opacity = 1 }] of traces) {
    if (mode === "text") continue;
    const outline = marker.line && marker.line.width ? [marker.line.color].flat() : [];
    const alpha = [marker.opacity ?? 1].flat();
    const fill = [marker.color || marker.colors || line.color].flat();
    const at = (list, i) => list[i % list.length];
    fill.forEach((color, i) => {
      // A mark of no opacity only carries a tooltip.
      if (opacity * at(alpha, i)) seen.add([id, color, at(outline, i), opacity * at(alpha, i)].join(" "));
    });
  }
  return [...seen].map((text) => text.split(" "));
};
answer.light = await audit({});
answer.lightColors = drawnColors();
"""

DARK = """
$("theme").click();
await drawn();
answer.dark = await audit({ runOnly: ["color-contrast"] });
answer.darkColors = drawnColors();
"""

EXPLAIN = """
const button = document.querySelector("#roofline .term");
button.focus();
button.click();
const shown = $("term-roofline");
const [box, at] = [shown, button].map((node) => node.getBoundingClientRect());
answer.open = shown.matches(":popover-open");
answer.within = box.left >= 0 && box.right <= innerWidth && box.top >= 0 && box.bottom <= innerHeight;
answer.near = Math.abs(box.top - at.bottom) < 40 || Math.abs(at.top - box.bottom) < 40;
const buttons = [...document.querySelectorAll(".term")];
answer.unexplained = buttons.filter((one) => !$(one.getAttribute("popovertarget"))).map((one) => one.ariaLabel);
answer.terms = buttons.length;
"""


@pytest.fixture(scope="module")
def pages(
    rich_report: Path, study_report: Path, compared: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    with closing(warehouse.connect(compared, read_only=True)) as connection:
        comparison = comparison_page.write(connection, compare(connection, "before", "after"), folder)
    return {"explorer": rich_report, "study": study_report, "comparison": comparison}


class TestInABrowser:
    pytestmark = needed

    @pytest.mark.exhaustive
    def test_axe_finds_nothing_on_a_wide_page(self, pages: dict[str, Path], ask: Ask) -> None:
        answer = ask(pages["explorer"], f"{axe_core()};\n{AUDIT}", size=(1440, 9000))
        assert answer["errors"] == []
        assert answer["light"] == []

    # A narrow page has what a wide page has, and boxes that scroll.
    @pytest.mark.parametrize("name", ["explorer", "study", "comparison"])
    def test_axe_finds_nothing_and_marks_have_contrast(self, name: str, pages: dict[str, Path], ask: Ask) -> None:
        answer = ask(pages[name], f"{axe_core()};\n{AUDIT}\n{DARK}", size=(420, 9000))
        assert answer["errors"] == []
        assert answer["light"] == []
        assert answer["dark"] == []
        for colors, ground in zip(("lightColors", "darkColors"), palette.SURFACES, strict=True):
            assert len(answer[colors]) > 3
            assert [mark for mark in answer[colors] if best_contrast(mark, ground) < 3] == []

    def test_a_question_mark_opens_the_text_of_its_term(self, pages: dict[str, Path], ask: Ask) -> None:
        answer = ask(pages["explorer"], EXPLAIN, size=(1440, 900))
        assert answer["errors"] == []
        assert answer["open"]
        assert answer["within"]
        assert answer["near"]
        assert answer["unexplained"] == []


def axe_core() -> str:
    script: str = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT
    return script


def best_contrast(mark: list[str], ground: str) -> float:
    """The contrast of a mark, or of its outline if that is higher, to its ground."""
    _, *colors, opacity = mark
    return max(
        contrast(over(color, ground, float(opacity)), parts(ground)) if color.startswith("#") else 0.0
        for color in colors
    )


def test_every_term_that_a_page_names_has_a_text() -> None:
    named = set()
    for path in TEMPLATES.rglob("*.*"):
        source = path.read_text("utf-8")
        named |= set(re.findall(r'\bterm(?:Button)?\("([^"]+)"\)|\bterm: "([^"]+)"', source))
    used = {one or other for one, other in named}
    assert used <= {term.name for term in terms()}
    assert {"bound", "lost", "roof fraction", "byte sources"} <= used


def test_a_term_of_a_column_has_the_columns_text() -> None:
    from ridgeline.warehouse.schema.comments import comments

    (mfu,) = [term for term in terms() if term.name == "MFU"]
    assert mfu.says == comments()["mode_summary"]["mfu"]
    (causes,) = [term for term in terms() if term.name == "gap cause"]
    assert set(causes.of) == {"host late", "synchronisation", "launch latency", "dependency", "replay", "unknown"}
