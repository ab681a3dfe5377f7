// Draw everything that depends on the selection: verdict and roofline at once, other panels when they are in view.
const PANELS = {
  table: ({ points }) => drawTable(points),
  lane: ({ shown }) => drawLane(shown),
  families: ({ rows }) => drawFamilies(rows),
  phases: ({ rows }) => drawPhaseBars(rows),
  modules: ({ rows }) => drawModules(rows),
  lost: ({ rows }) => drawLost(rows),
  icicle: ({ rows }) => drawIcicle(rows),
  timeline: () => drawTimeline(),
  "byte-sources": ({ rows, points }) => drawBytes(rows, points),
  timings: () => drawTimings(),
  telemetry: () => drawTelemetry(),
  ledger: () => drawLedger(),
  sql: () => drawSql(),
};
const waiting = new Set();
const inSight = new Set();
// Panels whose data is being unpacked.
const loading = new Set();
let drawing = null;

// Whether Plotly and all data are loaded. Until then only the panels that need neither are drawn.
let complete = false;

// Tests and printing read here whether everything in view is drawn.
const ready = (yes) => { document.documentElement.dataset.ready = String(yes); };

function render() {
  ready(false);
  repriced();
  drawRuns();
  drawVerdict();
  drawSelectors(chosenRows({ precision: false }));
  drawLegend();
  const all = chosenRows();
  const picked = state.picked.length ? picking() : null;
  const rows = picked ? all.filter(picked) : all;
  const everything = pointsOf(all);
  if (picked) markPicked(everything, rows);
  const shown = heaviest(everything);
  const points = picked ? pointsOf(rows) : everything;
  drawSum(rows);
  drawing = { rows, points, shown };
  $("phases").hidden = rows.every((row) => !row.phase);
  $("modules").hidden = rows.every((row) => !row.module);
  for (const name of Object.keys(PANELS)) waiting.add(name);
  writeAddressSoon();
  if (window.Plotly) drawFigures();
}

function drawFigures() {
  drawRoofline(drawing.shown);
  afterPaint().then(drawInSight);
}

const afterPaint = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

// Draw one panel again, whose own setting changed.
function redraw(name) {
  ready(false);
  waiting.add(name);
  writeAddressSoon();
  drawInSight();
}

// At most once a frame, since a dragged slider asks more often.
let asked = false;
function renderSoon() {
  if (asked) return;
  asked = true;
  ready(false);
  requestAnimationFrame(() => { asked = false; render(); });
}

// Plotly takes longer to compile than all else on the page, and the large tables are of panels far below.
// The marks are of the browser's performance timeline, for benchmarks.
async function drawFirst() {
  await afterPaint();
  performance.mark("first screen");
  await loadPlotly();
  await afterPaint();
  drawFigures();
  await afterPaint();
  performance.mark("roofline");
  for (const name of ["timings", "telemetry"]) DATA[name] = rowsOf(tableOf(await inflated(`${name}-data`).json()));
  complete = true;
  // Without a height of their own, all panels would be in view at first, and be drawn.
  for (const name of Object.keys(PANELS)) $(name).classList.add("undrawn");
  for (const name of Object.keys(PANELS)) sight.observe($(name));
}

function drawOne(name) {
  if (!waiting.delete(name)) return;
  $(name).classList.remove("undrawn");
  PANELS[name](drawing);
}

// One panel at a time, so that clicks are handled in between.
function drawInSight() {
  const next = Object.keys(PANELS).find((name) => waiting.has(name) && inSight.has(name));
  ready(complete && !next && !asked && !loading.size);
  if (!next) return;
  drawOne(next);
  setTimeout(drawInSight);
}

const drawAll = () => complete && Object.keys(PANELS).forEach(drawOne);

function showAddress() {
  readAddress();
  render();
  scrollToChosen();
  sayIgnored();
}

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) inSight[entry.isIntersecting ? "add" : "delete"](entry.target.id);
  drawInSight();
}, { rootMargin: "300px" });

// The current statement of every panel.
function drawSql() {
  for (const details of document.querySelectorAll("details[data-sql]")) {
    const show = () => { if (details.open) details.querySelector("code").textContent = SQL[details.dataset.sql](); };
    details.ontoggle = show;
    show();
  }
}

setTheme(theme);
if (DATA.runs.length) {
  listen();
  sqlButtons();
  chooseRun(defaultRun().id, false);
  rememberOpening();
  showAddress();
  addEventListener("hashchange", showAddress);
  drawFirst();
} else {
  $("theme").addEventListener("click", () => setTheme(theme === "dark" ? "light" : "dark"));
  document.body.classList.add("without-runs");
  ready(true);
}
