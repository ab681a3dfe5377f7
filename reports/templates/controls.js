// Run menu and table, phase, roofs, the legend of families, theme and printing.
const adding = (event) => event.ctrlKey || event.metaKey || event.shiftKey;

function drawRunMenu() {
  const names = chosenRuns().map((run) => run.name);
  $("run-label").textContent = names.length === 1 ? clip(names[0], 40) : `${names.length} runs`;
  $("run-list").replaceChildren(...DATA.groups.flatMap((machine, index) => [
    h("h3", {}, machine.device),
    ...DATA.runs.filter((run) => run.group === index).map(runChoice),
  ]));
  for (const row of document.querySelectorAll("tr[data-run]")) {
    row.classList.toggle("chosen", state.runs.has(row.dataset.run));
    row.querySelector("button").setAttribute("aria-pressed", state.runs.has(row.dataset.run));
  }
}

function runChoice(run) {
  const box = h("input", { type: "checkbox", onchange: () => { chooseRun(run.id, true); render(); } });
  box.checked = state.runs.has(run.id);
  return h("label", {}, box, h("bdi", {}, run.name), h("small", {}, run.outcome === "ok" ? duration(run.device_time_ns) : run.outcome));
}

function drawPhases() {
  const phases = [...new Set(POINTS.filter(inRuns).map(phaseOf))].sort();
  const option = (value, text) => { const node = h("option", { value }, text); node.selected = value === (state.phase || ""); return node; };
  $("phase").replaceChildren(option("", "all"), ...phases.map((phase) => option(phase, phase)));
  $("phase").parentElement.hidden = phases.length < 2;
}

function drawLegend() {
  const rows = POINTS.filter((point) => inRuns(point) && inPhase(point));
  const whole = sum(rows, "duration_ns");
  const families = [...groupBy(rows, (point) => point.family)].sort((a, b) => familyOrder(a[0]) - familyOrder(b[0]));
  $("legend").replaceChildren(...families.map(([family, own]) => {
    const on = state.families.size === 0 || state.families.has(family);
    const swatch = h("i", { class: familyOf(family).symbol, style: { background: familyOf(family).color } });
    const click = (event) => { isolate(family, adding(event)); render(); };
    return h("button", { type: "button", class: on ? "on" : "off", "aria-pressed": String(state.families.has(family)), onclick: click }, swatch, family, h("small", {}, percent(sum(own, "duration_ns") / whole)));
  }));
}

function isolate(family, add) {
  const alone = state.families.size === 1 && state.families.has(family);
  if (add && state.families.has(family)) state.families.delete(family);
  else if (add) state.families.add(family);
  else state.families = alone ? new Set() : new Set([family]);
}

function drawSum(points) {
  const total = sum(points, "duration_ns");
  const parts = [`${plural(sum(points, "launches"), "kernel")}`, duration(total)];
  const flops = sum(points, "flops");
  if (flops) parts.push(`${si((flops / total) * 1e9, "FLOP/s")} on average`);
  if (state.families.size) parts.push(`only ${[...state.families].join(", ")}`);
  $("sum").textContent = parts.join(" · ");
}

function listen() {
  for (const row of document.querySelectorAll("tr[data-run]")) {
    row.addEventListener("click", (event) => { chooseRun(row.dataset.run, adding(event)); render(); });
  }
  $("phase").addEventListener("change", (event) => { state.phase = event.target.value || null; render(); });
  $("all-roofs").addEventListener("change", (event) => { state.allRoofs = event.target.checked; render(); });
  $("theme").addEventListener("click", () => { setTheme(theme === "dark" ? "light" : "dark"); render(); });
  systemDark.addEventListener("change", (event) => { setTheme(event.matches ? "dark" : "light"); render(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    hideDetail();
    hideTooltip();
    $("run-menu").open = false;
    if (state.families.size) { state.families.clear(); render(); }
  });
  document.addEventListener("click", (event) => { if (!$("run-menu").contains(event.target) && event.target.isConnected) $("run-menu").open = false; });
  let before = theme;
  addEventListener("beforeprint", () => { before = theme; setTheme("light"); render(); });
  addEventListener("afterprint", () => { setTheme(before); render(); });
  let width = innerWidth;
  addEventListener("resize", () => { if ((width < 700) !== narrow() || document.body.classList.contains("only-roofline")) render(); width = innerWidth; });
}
