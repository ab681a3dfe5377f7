// The roofline and the bandwidth lane: axes and roofs from the page's data, points from the current selection.
const MOST_MARKS = 1500;
const SYMBOLS = { l2: "diamond", l1: "hexagon" };
const FIGURES = { roofline: "roofline-figure", lane: "lane-figure" };

// A zoom is in the address as exponents of ten.
for (const [name, id] of [["zoom", FIGURES.roofline], ["lane-zoom", FIGURES.lane]]) {
  remember(name, () => (zooms[id] ? zooms[id].join(",") : null), (text) => {
    const own = (text || "").split(",").map(Number);
    const valid = own.length === (name === "zoom" ? 4 : 2) && own.every((value) => Math.abs(value) < 40) && own.every((value, i) => i % 2 === 0 || value > own[i - 1]);
    if (valid) zooms[id] = own; else if (text === null) delete zooms[id];
  });
}
Object.assign(state, { colour: "family", arrows: true });
rememberChoice("colour", "colour", (text) => text === "family" || text === "run");
remember("arrows", () => (state.arrows ? null : "off"), (text) => { state.arrows = text !== "off"; });

// The colour, symbol and place in the order of a point: those of its family, or of its run. Beyond the colours of runs, symbols change.
function hueOf(point) {
  if (state.colour === "family") return { name: point.family, place: familyOrder(point.family), ...familyOf(point.family) };
  return runHue(point.run_id);
}

function runHue(id) {
  const { colors, symbols } = DATA.marks.runs;
  const place = [...state.runs].indexOf(id);
  return { name: RUNS.get(id).name, place, color: tone(colors[place % colors.length]), symbol: symbols[Math.floor(place / colors.length) % symbols.length] };
}

// A browser draws a few thousand marks quickly. Beyond that, points of a colour within a few pixels become one mark, at the
// longest of them; the cell grows until few enough marks remain.
function thinned(points, plot) {
  let marks = points.map((point) => ({ point, others: 0, ns: point.duration_ns }));
  if (marks.length <= MOST_MARKS) return marks;
  const near = points.filter((point) => isNear(point, plot));
  marks = near.map((point) => ({ point, others: 0, ns: point.duration_ns }));
  const [edges, levels, places] = [Object.keys(DATA.marks.edges), Object.keys(LEVELS), new Map()];
  const placeOf = (point) => { const key = state.colour === "run" ? point.run_id : point.family; if (!places.has(key)) places.set(key, hueOf(point).place); return places.get(key); };
  const placed = near.map((point) => ({
    point, duration_ns: point.duration_ns, kind: (placeOf(point) * 4 + levels.indexOf(point.level)) * 6 + edges.indexOf(point.edge),
    i: across(plot, Math.log10(point.x)), j: point.y == null ? 0 : down(plot, Math.log10(point.y)),
  }));
  for (let cell = 3; marks.length > MOST_MARKS; cell *= 1.6) {
    const key = ({ kind, i, j }) => kind * 1e8 + (Math.round(i / cell) + 2000) * 1e4 + Math.round(j / cell) + 2000;
    marks = [...groupBy(placed, key).values()].map((own) => ({ point: own[0].point, others: own.length - 1, ns: sum(own, "duration_ns") }));
    marks.cell = cell;
  }
  return marks;
}

// In view, or half its size beside it, so that a dragged view is not empty.
function isNear({ x, y }, plot) {
  const within = (value, [low, high]) => Math.abs(Math.log10(value) - (low + high) / 2) <= high - low;
  return within(x, plot.x) && (y == null || within(y, plot.y));
}

// All levels at once: a point at each level whose bytes are known, all at the same height.
function levelled(points) {
  if (state.level !== "all") return points;
  return points.flatMap((point) => Object.keys(LEVELS).map((level) => Object.assign(Object.create(point), placeAt(point, level), { level }))
    .filter((at) => at.place === point.place && (at.place === "roofline" || at.level === "dram")));
}

function links(points) {
  const rows = [...groupBy(points.filter((at) => at.place === "roofline"), (at) => at.index).values()].filter((own) => own.length > 1);
  return {
    type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: ink("faint"), width: 1 },
    x: rows.flatMap((own) => [...own.map((at) => at.x), null]), y: rows.flatMap((own) => [...own.map((at) => at.y), null]),
  };
}

// Where a point of the first of two runs lies in the second: the same operator, shapes, family and module, the longest point
// of each; of the same phase too, if the runs have any in common. At most 30 arrows, of those with the most time.
const MOST_ARROWS = 30;
const MOVED_BY = ["family", "operator", "shapes", "module"];
const comparable = () => state.runs.size === 2 && chosenRuns().length === 2;

function arrows(points) {
  if (!state.arrows || !comparable() || state.level === "all") return [];
  const shown = points.filter((point) => point.place === "roofline");
  const paired = (names) => {
    const known = names.filter((name) => POINT[state.point].includes(name));
    const [first, second] = [...state.runs].map((id) => groupBy(shown.filter((point) => point.run_id === id), (point) => known.map((name) => point[name]).join("\u0000")));
    return [...first].filter(([key]) => second.has(key)).map(([key, own]) => [own[0], second.get(key)[0]]);
  };
  const ofPhase = paired(["phase", "kind", ...MOVED_BY]);
  const pairs = ofPhase.length ? ofPhase : paired(MOVED_BY);
  const weight = ([from, to]) => from.duration_ns + to.duration_ns;
  const own = pairs.sort((a, b) => weight(b) - weight(a)).slice(0, MOST_ARROWS);
  if (!own.length) return [];
  return [{
    type: "scatter", mode: "lines+markers", hoverinfo: "skip", name: "moves", meta: { role: "arrows" }, opacity: 0.6, line: { color: ink("quiet"), width: 1 },
    x: own.flatMap(([from, to]) => [from.x, to.x, null]), y: own.flatMap(([from, to]) => [from.y, to.y, null]),
    marker: { symbol: "arrow", angleref: "previous", standoff: 4, color: ink("quiet"), opacity: own.flatMap(() => [0, 1, 0]), size: own.flatMap(() => [0, 9, 0]) },
  }];
}

// The line from a point up to its roof: as much higher as the roof allows. None for a point near its roof, or off the frame.
function dropOf(point) {
  const factor = 1 / point.roof_fraction;
  if (point.place !== "roofline" || point.edge || !point.roof_fraction || factor < 1.05) return null;
  const drawn = point.nearest_roof === "compute" || point.nearest_roof === (point.level || state.level);
  return { x: point.x, from: point.y, to: point.y * factor, says: `${+factor.toPrecision(2)}×${drawn ? "" : ` to ${LEVELS[point.nearest_roof] || point.nearest_roof}`}` };
}

function drops(points) {
  const own = state.picked.length ? points.filter((point) => point.picked).slice(0, 3).map(dropOf).filter(Boolean) : [];
  if (!own.length) return [];
  return [{
    type: "scatter", mode: "lines+text", hoverinfo: "skip", name: "to the roof", meta: { role: "drop" }, line: { color: ink("ink"), width: 1.2, dash: "dot" },
    x: own.flatMap(({ x }) => [x, x, null]), y: own.flatMap(({ from, to }) => [from, to, null]),
    text: own.flatMap(({ says }) => [says, "", ""]), textposition: "bottom right", textfont: { size: 12, color: ink("ink") },
  }];
}

// One entry a run; a click shows it alone.
function drawRunLegend() {
  const rows = chosenRows({ families: false });
  const whole = sum(rows, "duration_ns");
  const times = groupBy(rows, (row) => row.run_id);
  renew($("legend"), ...chosenRuns().map((run) => {
    const { color, symbol } = runHue(run.id);
    const swatch = h("i", { class: symbol, style: { background: color } });
    const click = (event) => { chooseRun(run.id, adding(event)); render(); };
    return h("button", { type: "button", "data-key": run.id, class: "on", onclick: click }, swatch, h("bdi", {}, clip(run.name, 48)), h("small", {}, percent(sum(times.get(run.id) || [], "duration_ns") / whole)));
  }));
}

function symbolOf(point, hue) {
  const symbol = point.edge ? DATA.marks.edges[point.edge] : SYMBOLS[point.level] || hue.symbol;
  return point.bound === "latency" ? `${symbol}-open` : symbol;
}

// Plotly draws marks of one look faster than marks that each have their own.
const alike = (values) => (values.every((value) => value === values[0]) ? values[0] : values);

function pointTraces(marks, place) {
  const { style, largest } = DATA.marks;
  const longest = marks.reduce((ns, mark) => Math.max(ns, mark.ns), 1);
  const hues = new Map();
  const rows = groupBy(marks, ({ point }) => { const key = state.colour === "run" ? point.run_id : point.family; if (!hues.has(key)) hues.set(key, hueOf(point)); return key; });
  return [...rows].sort((a, b) => hues.get(a[0]).place - hues.get(b[0]).place).map(([key, own]) => {
    const hue = hues.get(key);
    const open = own.map(({ point }) => point.bound === "latency");
    const outlined = (some, others) => alike(open.map((is) => (is ? some : others)));
    return {
      type: "scatter", mode: "markers", name: escaped(hue.name), hoverinfo: "none", cliponaxis: false,
      x: own.map(({ point }) => point.x),
      y: own.map(({ point }) => (point.y == null ? point.family : point.y)),
      customdata: own.map(({ point, others }) => ({ point, others, get where() { return point.where; } })),
      marker: {
        ...style,
        line: { width: outlined(1.4, 0.8), color: outlined(hue.color, ink("surface")) },
        opacity: alike(own.map(({ point }) => (state.picked.length && !point.picked ? 0.1 : style.opacity))),
        color: hue.color,
        symbol: alike(own.map(({ point }) => symbolOf(point, hue))),
        size: own.map((mark) => mark.ns),
        sizeref: (2 * longest) / (largest[place] * (narrow() ? 0.7 : 1)) ** 2,
      },
    };
  });
}

// The figure fills the first screen, of which the panels above it have their part.
function figureHeight() {
  const top = $(FIGURES.roofline).getBoundingClientRect().top;
  if (document.body.classList.contains("only-roofline")) return Math.max(420, innerHeight - top - 16);
  // The note beneath it may lie below the first screen, the title of its axis may not.
  const room = innerHeight - top - scrollY;
  return narrow() ? 460 : Math.round(Math.min(Math.max(room - 56, Math.min(room - 6, 400), 340), 760));
}

// Half the size of the largest mark at the right edge, which is centred on it: labels of compute roofs keep clear of it.
function asideOf(points) {
  const times = (own) => most([0, ...own.map((point) => point.duration_ns)]);
  const longest = times(points);
  return longest ? (DATA.marks.largest.roofline / 2) * Math.sqrt(times(points.filter((point) => point.edge === "right")) / longest) : 0;
}

function drawRoofline(points) {
  const at = levelled(points);
  const shown = at.filter((point) => point.place === "roofline");
  const roofs = roofsShown(at);
  const aside = zooms[FIGURES.roofline] ? DATA.marks.largest.roofline / 2 : asideOf(shown);
  const layout = painted(machine().roofline);
  layout.margin = { ...layout.margin, r: Math.ceil(endMargin(roofs.traces, aside)), l: 92 };
  layout.height = figureHeight();
  layout.xaxis.title.text = state.level === "all" ? "arithmetic intensity, FLOP per byte of each level" : `arithmetic intensity, FLOP per byte of ${LEVELS[state.level]} traffic`;
  fitted(zoomedLayout(FIGURES.roofline, layout), "roofline", state.level === "all" ? "" : LEVELS[state.level]);
  const plot = plotOf(FIGURES.roofline, layout);
  const marks = thinned(shown, plot);
  const traces = pointTraces(marks, "roofline");
  const ridges = ridgesOf(roofs.traces);
  const said = roofs.lacking.map((text, i) => ({ text, name: "badge", xref: "paper", yref: "paper", x: 0.01, y: 1, xanchor: "left", yanchor: "top", yshift: -16 * i, showarrow: false, font: { size: 12, color: ink("ink") } }));
  const labels = labelsOf(plot, roofs.traces, ridges, traces, [...badges(FIGURES.roofline, shown, "roofline", plot), ...said]);
  layout.annotations = labels.notes;
  const moved = arrows(at);
  const linked = state.level === "all" ? [links(at)] : [];
  draw(FIGURES.roofline, [...roofs.traces, ridgeTrace(ridges), ...linked, ...moved, ...traces, ...drops(at)], layout, { tools: true, wheel: true });
  zoomable(FIGURES.roofline, () => reaches(drawing.shown), rezoomed);
  // Where the list of runs names them, the title need not.
  const names = chosenRuns().map((run) => run.name);
  const named = $("run-list") && !document.body.classList.contains("only-roofline") ? "" : `${names.length < 2 ? names.join(", ") : plural(names.length, "run")} on ${machine().device}: `;
  $("roofline-title").textContent = `${named}one point per ${POINT_SAYS[state.point]}; area is total time`;
  $("roofline-note").textContent = `${rooflineSays(points, marks, roofs, labels.lacking, moved).join("; ")}.`;
}

// What a fit to the data shows: the points and their roofs.
function reaches(points) {
  return levelled(points).filter((point) => point.place === "roofline" && !point.edge).flatMap((point) => [[point.x, point.y], [point.x, point.y / Math.min(point.roof_fraction || 1, 1)]]);
}

function rezoomed() {
  drawRoofline(drawing.shown);
  if (!waiting.has("lane")) drawLane(drawing.shown);
  writeAddressSoon();
}

for (const button of document.querySelectorAll("button[data-zoom]")) {
  button.addEventListener("click", () => { if (!$(FIGURES.roofline).layout) return; zoomTo(FIGURES.roofline, button.dataset.zoom === "fit" ? reaches(drawing.shown) : []); rezoomed(); });
}

const POINT_SAYS = { launch: "launch", shape: "kernel and shape", operator: "operator", module: "module and family" };

function rooflineSays(points, marks, roofs, lacking, moved) {
  const shown = points.filter((point) => point.place === "roofline");
  const parts = [`${plural(shown.length, "point")}, ${plural(sum(shown, "launches"), "launch", "launches")}, ${duration(sum(shown, "duration_ns"))}`];
  if (state.level === "all") parts.push("circles show DRAM, diamonds L2, hexagons L1");
  if (shown.some((point) => point.bound === "latency")) parts.push(`hollow points are bound by latency${floorNs() ? `: no launch takes less than ${duration(floorNs())}` : ""}`);
  if (marks.cell) parts.push(`drawn as ${plural(marks.length, "mark")}: points of a colour within ${digits(marks.cell)} pixels are merged at the longest`);
  if (state.point === "launch" && DATA.bins) parts.push(`too many launches for single points: launches of a kernel, shape and module are merged if their durations lie within ${percent(2 ** (1 / DATA.bins) - 1)}`);
  if (narrow() && roofs.traces.length) parts.push(`roofs: ${roofs.traces.map((trace) => unescaped(trace.name)).join("; ")}`);
  else if (lacking.length) parts.push(`roofs without room for a label: ${lacking.join("; ")}`);
  if (moved.length) parts.push(`${plural(moved[0].x.length / 3, "arrow")} from ${[...state.runs].map((id) => RUNS.get(id).name).join(" to ")}`);
  else if (state.arrows && comparable() && state.level !== "all") parts.push("no arrows: the two runs share no operator with the same shapes");
  parts.push(...roofs.lacking);
  if (!machine().has_roofs) parts.push("no ceilings are known for this device, so the axes are generic: measure ceilings with ridgeline ceilings");
  return parts;
}

function drawLane(points) {
  const shown = points.filter((point) => point.place === "lane");
  const without = points.filter((point) => point.place === "none");
  $(FIGURES.lane).hidden = shown.length === 0;
  if (shown.length) {
    const layout = zoomedLayout(FIGURES.lane, { ...painted(machine().lane), ...laneRoofs() });
    fitted(layout, "lane", LEVELS[state.level]);
    const plot = plotOf(FIGURES.lane, layout);
    const families = new Set(shown.map((point) => point.family));
    const present = layout.yaxis.categoryarray.filter((family) => families.has(family));
    layout.height -= 30 * (layout.yaxis.categoryarray.length - present.length);
    layout.annotations.push(...badges(FIGURES.lane, shown, "lane", plot));
    if (zooms[FIGURES.lane]) layout.annotations = layout.annotations.filter((note) => note.name === "badge" || (note.x >= plot.x[0] && note.x <= plot.x[1]));
    layout.xaxis.title.text = `achieved ${LEVELS[state.level] || "DRAM"} bandwidth`;
    Object.assign(layout.yaxis, { categoryarray: present, range: [-0.6, present.length - 0.4] });
    draw(FIGURES.lane, pointTraces(thinned(shown, plot), "lane"), layout, { tools: true, wheel: true });
    zoomable(FIGURES.lane, () => shown.filter((point) => !point.edge).map((point) => [point.x]), rezoomed);
  }
  const says = [shown.length ? `${plural(shown.length, "point")}, ${duration(sum(shown, "duration_ns"))}` : "No kernel here moves bytes without arithmetic"];
  const left = (rows, what) => rows.length && says.push(`${plural(sum(rows, "launches"), "kernel")} of ${duration(sum(rows, "duration_ns"))} ${what}`);
  const past = (point) => state.level === "l1" && bypasses(point);
  const bytes = (point) => (past(point) ? NaN : point[LEVEL_BYTES[state.level] || "dram_bytes"]);
  left(without.filter(past), "bypass L1, which less than half of their DRAM bytes cross, and are in neither figure");
  left(without.filter((point) => bytes(point) === 0), "move no bytes and are in neither figure");
  left(without.filter((point) => bytes(point) == null), `have no ${state.bytes === "best" || state.level in SYMBOLS ? "known bytes" : `bytes by ${SOURCES[state.bytes]}`}${state.level in SYMBOLS ? ` of ${LEVELS[state.level]}` : ""} and are in neither figure: ${state.bytes === "best" && !(state.level in SYMBOLS) ? "the ledger names them" : "the table lists them"}`);
  if (shown.length && state.level !== "all") says.push(...lacking(roofBands(), shown));
  $("lane-note").textContent = `${says.join("; ")}.`;
}
