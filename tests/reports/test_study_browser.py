"""The study's page in a real browser, where there is one."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import warehouse
from reports import study_page
from tests.reports import sweep
from tests.reports.browser import BROWSER, PROBE

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")

ASK = """
<script>
setTimeout(() => {
  const figures = [...document.querySelectorAll(".figure")];
  const axis = () => document.getElementById("e2_latency-figure").layout.xaxis.gridcolor;
  const answer = { drawn: figures.filter((figure) => figure.querySelector(".plot-container")).length };
  answer.figures = figures.length;
  answer.note = document.getElementById("e2_latency-note").textContent;
  const select = document.querySelector('select[data-figure="e2_split"]');
  const split = document.getElementById("e2_split-figure");
  const bars = () => split.data.flatMap((trace) => (trace.type === "bar" ? trace.y : []));
  answer.before = bars().length;
  select.value = String(select.options.length - 1);
  select.dispatchEvent(new Event("change"));
  const light = document.documentElement.dataset.theme;
  const before = axis();
  document.getElementById("theme").click();
  document.execCommand = (what) => { answer.copied = [what, document.activeElement.value]; };
  document.querySelector(".copy").click();
  answer.images = document.querySelectorAll("body img").length;
  setTimeout(() => {
    answer.after = bars().length;
    answer.themes = [light !== document.documentElement.dataset.theme, before !== axis()];
    answer.errors = errors;
    const node = document.createElement("pre");
    node.id = "answer";
    node.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(answer))));
    document.body.append(node);
  }, 500);
}, 500);
</script>
"""


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page says of itself, after a few clicks."""
    folder = tmp_path_factory.mktemp("study")
    connection = warehouse.connect(folder / "w.duckdb")
    sweep.fill(connection)
    warehouse.refresh(connection)
    connection.close()
    page = study_page.write(folder / "w.duckdb", folder)
    assert page
    text = page.read_text(encoding="utf-8")
    probed = folder / "probed.html"
    probed.write_text(
        text.replace("<style>", f"{PROBE}<style>", 1).replace("</body>", f"{ASK}</body>"), encoding="utf-8"
    )
    return _asked(probed, folder)


def _asked(probed: Path, folder: Path) -> dict[str, Any]:
    assert BROWSER
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1200",
        "--virtual-time-budget=10000", "--dump-dom", probed.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="answer">([^<]*)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    decoded: dict[str, Any] = json.loads(base64.b64decode(found[1]))
    return decoded


def test_opens_without_errors(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []
    assert answer["images"] == 0


def test_every_figure_is_drawn(answer: dict[str, Any]) -> None:
    assert answer["drawn"] == answer["figures"] == 7


def test_notes_stand_beneath(answer: dict[str, Any]) -> None:
    assert "left out: no other differs in generated tokens alone" in answer["note"]


def test_another_panel_is_drawn_when_chosen(answer: dict[str, Any]) -> None:
    assert answer["before"] > answer["after"] > 0


def test_the_theme_repaints_the_figures(answer: dict[str, Any]) -> None:
    assert answer["themes"] == [True, True]


def test_the_sql_is_copied(answer: dict[str, Any]) -> None:
    what, text = answer["copied"]
    assert what == "copy"
    assert text.startswith("SELECT * FROM figure_e2_latency")
