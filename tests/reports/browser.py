"""A page in a real browser: open it, run a script in it, and read what the script answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None
)

needed = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")

PROBE = """
window.copied = [];
Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => { copied.push(text); } } });
"""

# What is asked for is drawn in a later frame, and what comes into sight by that in one after it.
ASK = """
async () => {
  const $ = (id) => document.getElementById(id);
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const drawn = async () => {
    const ready = () => document.documentElement.dataset.ready === "true";
    for (let still = 0; still < 4; still = ready() ? still + 1 : 0) await frame();
  };
  const text = (id) => $(id).textContent;
  const choose = (id, value) => {
    $(id).value = value;
    $(id).dispatchEvent(new Event($(id).tagName === "INPUT" ? "input" : "change"));
  };
  const slide = (value) => choose("share", value);
  const marks = (id) => $(id).data.filter((t) => t.mode === "markers" && !(t.meta && t.meta.role === "ridge"));
  const copy = (selector) => { document.querySelector(selector).click(); return copied[copied.length - 1]; };
  const key = (name) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const answer = {};
  await drawn();
  %s
  await drawn();
  answer.images = document.querySelectorAll("body img").length;
  return answer;
}
"""


def ask(page: Path, script: str, size: tuple[int, int] = (1400, 9000)) -> dict[str, Any]:
    """What the script put into ``answer``, and ``errors``: everything the page or the script complained about."""
    from playwright.sync_api import Error, sync_playwright

    errors: list[str] = []
    answer: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": size[0], "height": size[1]})
        opened.set_default_timeout(120_000)
        opened.add_init_script(PROBE)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        opened.on("requestfailed", lambda request: errors.append(request.url))
        opened.goto(page.absolute().as_uri())
        try:
            answer = opened.evaluate(ASK.replace("%s", script))
        except Error as e:
            errors.append(str(e))
        browser.close()
    return {**answer, "errors": errors}
