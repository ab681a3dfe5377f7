"""A page in a real browser: open it, run a script in it, and read what the script answers."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None
)

needed = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")

PROBE = """
<script>
const errors = [];
const copied = [];
addEventListener("error", (event) => errors.push(String(event.message)));
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason && event.reason.stack)));
addEventListener("securitypolicyviolation", (event) => errors.push(`${event.violatedDirective} ${event.blockedURI}`));
console.error = (...args) => errors.push(args.join(" "));
console.warn = console.error;
Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => { copied.push(text); } } });
</script>
"""

ASK = """
<script>
(async () => {
  const $ = (id) => document.getElementById(id);
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const drawn = () => wait(400);
  const text = (id) => $(id).textContent;
  const choose = (id, value) => { $(id).value = value; $(id).dispatchEvent(new Event("change")); };
  const slide = (value) => { $("share").value = value; $("share").dispatchEvent(new Event("input")); };
  const marks = (id) => $(id).data.filter((t) => t.mode === "markers" && !(t.meta && t.meta.role === "ridge"));
  const copy = (selector) => { document.querySelector(selector).click(); return copied[copied.length - 1]; };
  const key = (name) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  while (!document.documentElement.dataset.ready && !errors.length) await wait(50);
  await drawn();
  const answer = {};
  try {
    %s
  } catch (error) {
    errors.push(String(error.stack));
  }
  await wait(200);
  answer.errors = errors;
  answer.images = document.querySelectorAll("body img").length;
  const node = document.createElement("pre");
  node.id = "answer";
  node.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(answer))));
  document.body.append(node);
})();
</script>
"""


def ask(page: Path, script: str, folder: Path, size: str = "1400,9000", budget_ms: int = 30000) -> dict[str, Any]:
    """What the script put into ``answer``, and ``errors``: everything the page or the script complained about."""
    text = page.read_text(encoding="utf-8")
    probed = folder / "probed.html"
    probed.write_text(
        text.replace("<style>", f"{PROBE}<style>", 1).replace("</body>", f"{ASK.replace('%s', script)}</body>"),
        encoding="utf-8",
    )
    assert BROWSER
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={size}",
        f"--virtual-time-budget={budget_ms}",
        "--dump-dom",
        probed.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    found = re.search(r'<pre id="answer">([^<]*)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    decoded: dict[str, Any] = json.loads(base64.b64decode(found[1]))
    return decoded
