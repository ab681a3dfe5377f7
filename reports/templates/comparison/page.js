// Controls, and drawing of everything that depends on them.
function drawControls() {
  const options = (id, entries, chosen) => $(id).replaceChildren(...entries.map(([value, title]) => { const node = h("option", { value }, title); node.selected = value === chosen; return node; }));
  options("stage", DATA.stages.map((stage) => [stage, stage]), state.stage);
  options("level", Object.entries(DATA.levels).map(([level, title]) => [level, title.replace(/^By /, "")]), state.level);
  const rows = inView();
  $("statuses").replaceChildren(...STATUSES.filter((status) => state.statuses.has(status) || rows.some((row) => row.status === status)).map((status) => {
    const own = rows.filter((row) => row.status === status);
    const on = state.statuses.size === 0 || state.statuses.has(status);
    const click = () => { if (state.statuses.has(status)) state.statuses.delete(status); else state.statuses.add(status); render(); };
    return h("button", { type: "button", class: on ? "on" : "off", "aria-pressed": String(state.statuses.has(status)), onclick: click }, status, h("small", {}, count(own.length)));
  }));
}

function render() {
  drawControls();
  const rows = shown();
  $("sum").textContent = `${plural(rows.length, "row")} · ${signed(sum(rows, "delta_ns_per_step"))} per ${DATA.unit}`;
  drawChanges(rows);
  drawMoves(rows);
  drawTable(rows);
}

function copied(button) {
  const code = button.parentElement.querySelector("code");
  const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); };
  const select = () => { getSelection().selectAllChildren(code); if (document.execCommand("copy")) done(); };
  if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select);
  else select();
}

// Opens a row of the verdict: its kind of step and level are chosen, and nothing is filtered.
function open(index) {
  const { stage, level } = ROWS[index];
  Object.assign(state, { stage, level, search: "", statuses: new Set() });
  $("search").value = "";
  render();
  showDetail(index);
}

function listen() {
  for (const button of document.querySelectorAll("button[data-row]")) button.addEventListener("click", () => open(Number(button.dataset.row)));
  $("stage").addEventListener("change", (event) => { state.stage = event.target.value; render(); });
  $("level").addEventListener("change", (event) => { state.level = event.target.value; render(); });
  $("search").addEventListener("input", (event) => { state.search = event.target.value.toLowerCase(); render(); });
  $("theme").addEventListener("click", () => { setTheme(theme === "dark" ? "light" : "dark"); render(); });
  systemDark.addEventListener("change", (event) => { setTheme(event.matches ? "dark" : "light"); render(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") { hideDetail(); hideTooltip(); } });
  for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", () => copied(button));
  let before = theme;
  addEventListener("beforeprint", () => { before = theme; setTheme("light"); render(); });
  addEventListener("afterprint", () => { setTheme(before); render(); });
  let width = innerWidth;
  addEventListener("resize", () => { if ((width < 700) !== narrow()) render(); width = innerWidth; });
}

setTheme(themeOf(FRAGMENT.get("theme")));
if (DATA.stages.includes(FRAGMENT.get("step"))) state.stage = FRAGMENT.get("step");
if (Object.hasOwn(DATA.levels, FRAGMENT.get("by"))) state.level = FRAGMENT.get("by");
listen();
render();
document.documentElement.dataset.ready = "true";
