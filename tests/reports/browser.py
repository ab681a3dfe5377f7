"""A page in a real browser: open it, run a script in it, and read what the script answers.

One tab of one browser serves all tests of a worker (the fixture `ask`), and every page is opened at the same address:
Chromium compiles the script that all pages share, which takes a second, once for each address and process.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Any])

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None
)

needed = [pytest.mark.browser, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]
"""Marks of a module that opens pages."""


def in_a_browser(test: Test) -> Test:
    """The same of one test."""
    for mark in needed:
        test = mark(test)
    return test


PROBE = """
if (location.protocol === "file:") localStorage.clear();  // of the page before
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
    const began = performance.now();
    for (let still = 0; still < 4; still = ready() ? still + 1 : 0) {
      if (performance.now() - began > 30000) throw new Error("the page was not drawn within 30 s");
      await frame();
    }
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
  const placedLabels = () => { %labels };
  const answer = {};
  await drawn();
  %s
  await drawn();
  answer.images = document.querySelectorAll("body img").length;
  return answer;
}
"""


ASK = ASK.replace("%labels", Path(__file__).with_name("labels.js").read_text(encoding="utf-8"))

# The narrowest comes first: a page that only resizes to it has run the code of a wide page.
WIDTHS = (420, 1440, 1920)

# Hidden figures, of which a page has no data, are not meant.
UNDRAWN = """
  const figures = [...document.querySelectorAll(".figure")].filter((figure) => figure.offsetParent);
  answer.undrawn = figures.filter((figure) => !figure.querySelector(".main-svg")).map((figure) => figure.id);
  if (!figures.length) answer.undrawn.push("no figure at all");
  if ($("roofline-figure") && $("roofline-figure")._fullLayout) answer.undrawn.push(...placedLabels().met);
"""


class Ask(Protocol):
    """What the script put into ``answer``, and ``errors``: everything the page or the script complained about."""

    def __call__(
        self, page: Path, script: str, size: tuple[int, int] = (1400, 9000), fragment: str = ""
    ) -> dict[str, Any]: ...


class Browser:
    """Chromium, started for the first page; in a thread of its own, where its event loop meets no other test."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._folder = tempfile.TemporaryDirectory()
        self._errors: list[str] = []
        self._playwright: Any = None
        self._browser: Any = None
        self._tab: Any = None
        self._page: Path | None = None

    def widths(self, page: Path) -> dict[int, list[str]]:
        """Return for each width the figures not drawn, labels on roofs or points, and what the page complains of.

        The page is opened once, or not at all if the tab still shows it.
        """
        return self._thread.submit(self._widths, page).result()

    def ask(self, page: Path, script: str, size: tuple[int, int] = (1400, 9000), fragment: str = "") -> dict[str, Any]:
        return self._thread.submit(self._ask, page, script, size, fragment).result()

    def close(self) -> None:
        self._thread.submit(self._close).result()
        self._thread.shutdown()
        self._folder.cleanup()

    def _ask(self, page: Path, script: str, size: tuple[int, int], fragment: str = "") -> dict[str, Any]:
        from playwright.sync_api import Error

        if self._browser is None:
            self._start()
        address = Path(self._folder.name) / "page.html"
        shutil.copyfile(page, address)
        self._page = page
        answer: dict[str, Any] = {}
        self._tab.goto("about:blank")  # the page before says nothing more
        self._errors.clear()
        self._tab.set_viewport_size({"width": size[0], "height": size[1]})
        self._tab.goto(address.as_uri() + fragment)
        try:
            answer = self._tab.evaluate(ASK.replace("%s", script))
        except Error as e:
            self._errors.append(str(e))
        return {**answer, "errors": [*self._errors]}

    def _widths(self, page: Path) -> dict[int, list[str]]:
        found = {}
        for width in WIDTHS:
            if self._page != page:
                self._ask(page, "", (width, 9000))
            self._tab.set_viewport_size({"width": width, "height": 9000})
            undrawn = self._tab.evaluate(ASK.replace("%s", UNDRAWN))["undrawn"]
            found[width] = [*undrawn, *self._errors]
            self._errors.clear()
        return found

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        arguments = ["--no-sandbox", "--disable-gpu"]
        self._browser = self._playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        # Nobody sees the pixels, and the processor paints them: a hundredth of them takes half the time.
        self._tab = self._browser.new_context(device_scale_factor=0.1).new_page()
        self._tab.set_default_timeout(120_000)
        self._tab.add_init_script(PROBE)
        errors = self._errors
        self._tab.on("pageerror", lambda error: errors.append(str(error)))
        self._tab.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        self._tab.on("requestfailed", lambda request: errors.append(request.url))

    def _close(self) -> None:
        if self._browser:
            self._browser.close()
            self._playwright.stop()
