// The roofline and the bandwidth lane: axes and roofs from the page's data, points from the current selection.
const MOST_MARKS = 1500;
const SYMBOLS = { l2: "diamond", l1: "hexagon" };

// A browser draws a few thousand marks quickly. Beyond that, points of a family within a few pixels become one mark, at the
// longest of them; the cell grows until few enough marks remain.
function thinned(points) {
  let marks = points.map((point) => ({ point, others: 0, ns: point.duration_ns }));
  const frame = machine().frame;
  for (let cell = 3; marks.length > MOST_MARKS; cell *= 1.6) {
    const at = (value, decades, pixels) => (value == null ? 0 : Math.round(((Math.log10(value) - decades[0]) / (decades[1] - decades[0])) * (pixels / cell)));
    const key = ({ x, y, family, level, edge }) => ((familyOrder(family) * 4 + Object.keys(LEVELS).indexOf(level)) * 6 + Object.keys(DATA.marks.edges).indexOf(edge)) * 1e7 + at(x, y == null ? frame.bytes_per_s : frame.intensity, 850) * 3e3 + at(y, frame.flops_per_s, 550);
    marks = [...groupBy(points, key).values()].map((own) => ({ point: own[0], others: own.length - 1, ns: sum(own, "duration_ns") }));
    marks.cell = cell;
  }
  return marks;
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

function symbolOf(point) {
  const symbol = point.edge ? DATA.marks.edges[point.edge] : SYMBOLS[point.level] || familyOf(point.family).symbol;
  return point.bound === "latency" ? `${symbol}-open` : symbol;
}

function pointTraces(marks, place) {
  const shown = marks.filter((mark) => mark.point.place === place);
  const { style, largest } = DATA.marks;
  const most = shown.reduce((longest, mark) => Math.max(longest, mark.ns), 1);
  const families = [...groupBy(shown, (mark) => mark.point.family)].sort((a, b) => familyOrder(a[0]) - familyOrder(b[0]));
  return families.map(([family, rows]) => ({
    type: "scatter", mode: "markers", name: escaped(family), hoverinfo: "none", cliponaxis: false,
    x: rows.map(({ point }) => point.x),
    y: rows.map(({ point }) => (point.y == null ? point.family : point.y)),
    customdata: rows.map(({ point, others }) => ({ point, others, where: point.where })),
    marker: {
      ...style,
      line: { width: rows.map(({ point }) => (point.bound === "latency" ? 1.4 : 0.8)), color: rows.map(({ point }) => (point.bound === "latency" ? familyOf(family).color : ink("surface"))) },
      opacity: rows.map(({ point }) => (state.picked.length && !point.picked ? 0.1 : style.opacity)),
      color: familyOf(family).color,
      symbol: rows.map(({ point }) => symbolOf(point)),
      size: rows.map((mark) => mark.ns),
      sizeref: (2 * most) / (largest[place] * (innerWidth < 700 ? 0.7 : 1)) ** 2,
    },
  }));
}

function badges(points, place) {
  const off = groupBy(points.filter((point) => point.edge && point.place === place), (point) => point.edge);
  return [...off].map(([edge, rows]) => ({
    ...DATA.marks.badges[edge], ...(place === "lane" ? DATA.marks.above : {}), text: DATA.marks.badges[edge].text.replace("{}", count(rows.length)), name: "badge",
    xref: "paper", yref: "paper", showarrow: false, font: { size: 11, color: ink("quiet") },
  }));
}

const narrow = () => innerWidth < 700;

// A wide page labels roofs beside the plot, a narrow page in the note beneath it. `memory` is the level that bytes cross.
function fitted(layout, points, place, memory = "DRAM") {
  layout.annotations = [...layout.annotations, ...badges(points, place)];
  if (!narrow()) return layout;
  layout.margin = { ...layout.margin, l: 8, r: 10 };
  layout.annotations = layout.annotations.filter((note) => note.name === "badge");
  layout.xaxis.title.text = place === "lane" ? `${memory} bandwidth` : `FLOP per byte${memory ? ` of ${memory}` : ""}`;
  layout.xaxis.ticktext = layout.xaxis.ticktext.map((text, i) => (i % 2 ? "" : text));
  layout.xaxis.tickangle = 0;
  return layout;
}

function drawRoofline(points) {
  const at = levelled(points);
  const roofs = roofsShown(at);
  const marks = thinned(at.filter((point) => point.place === "roofline"));
  const layout = { ...painted(machine().roofline), annotations: roofs.notes };
  if (roofs.traces.some((trace) => trace.fill === "toself")) layout.margin.r += 44; // labels of bands are longer
  layout.xaxis.title.text = state.level === "all" ? "arithmetic intensity, FLOP per byte of each level" : `arithmetic intensity, FLOP per byte of ${LEVELS[state.level]} traffic`;
  const frame = fitted(layout, at, "roofline", state.level === "all" ? "" : LEVELS[state.level]);
  if (document.body.classList.contains("only-roofline")) frame.height = Math.max(420, innerHeight - $("roofline-figure").getBoundingClientRect().top - 16);
  else if (narrow()) frame.height = 460;
  const linked = state.level === "all" ? [links(at)] : [];
  draw("roofline-figure", [...roofs.traces, roofs.ridges, ...linked, ...pointTraces(marks, "roofline")], frame, { onDrawn: alignLabels, tools: true });
  const names = chosenRuns().map((run) => run.name);
  $("roofline-title").textContent = `${names.length < 2 ? names.join(", ") : plural(names.length, "run")} on ${machine().device}: one point per ${POINT_SAYS[state.point]}; area is total time`;
  $("roofline-note").textContent = `${rooflineSays(points, marks, roofs).join("; ")}.`;
}

const POINT_SAYS = { launch: "launch", shape: "kernel and shape", operator: "operator", module: "module and family" };

function rooflineSays(points, marks, roofs) {
  const shown = points.filter((point) => point.place === "roofline");
  const parts = [`${plural(shown.length, "point")}, ${plural(sum(shown, "launches"), "launch", "launches")}, ${duration(sum(shown, "duration_ns"))}`];
  if (state.level === "all") parts.push("circles show DRAM, diamonds L2, hexagons L1");
  if (shown.some((point) => point.bound === "latency")) parts.push(`hollow points are bound by latency${floorNs() ? `: no launch takes less than ${duration(floorNs())}` : ""}`);
  if (marks.cell) parts.push(`drawn as ${plural(marks.length, "mark")}: points of a family within ${digits(marks.cell)} pixels are merged at the longest`);
  if (state.point === "launch" && DATA.bins) parts.push(`too many launches for single points: launches of a kernel, shape and module are merged if their durations lie within ${percent(2 ** (1 / DATA.bins) - 1)}`);
  if (narrow() && roofs.traces.length) parts.push(`roofs: ${roofs.traces.map((trace) => unescaped(trace.name)).join("; ")}`);
  parts.push(...roofs.lacking);
  if (!machine().has_roofs) parts.push("no ceilings are known for this device, so the axes are generic: measure ceilings with ridgeline ceilings");
  return parts;
}

function drawLane(points) {
  const shown = points.filter((point) => point.place === "lane");
  const without = points.filter((point) => point.place === "none");
  $("lane-figure").hidden = shown.length === 0;
  if (shown.length) {
    const layout = fitted({ ...painted(machine().lane), ...laneRoofs() }, points, "lane", LEVELS[state.level]);
    const present = layout.yaxis.categoryarray.filter((family) => shown.some((point) => point.family === family));
    layout.height -= 30 * (layout.yaxis.categoryarray.length - present.length);
    layout.xaxis.title.text = `achieved ${LEVELS[state.level] || "DRAM"} bandwidth`;
    Object.assign(layout.yaxis, { categoryarray: present, range: [-0.6, present.length - 0.4] });
    draw("lane-figure", pointTraces(thinned(shown), "lane"), layout, { tools: true });
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

// Labels along memory roofs turn with the slope, and labels of compute roofs are pushed apart. A decade has so many pixels
// across and along; `pixels` keeps those of the last layout, so that the next is seldom corrected.
let pixels = { across: 142, along: 79 };

function alignments(notes, bottom, { across, along }) {
  const angle = Math.atan2(along, across);
  let ceiling = Infinity;
  return notes.map((note) => {
    const side = { "slope above": 1, "slope below": -1 }[note.name];
    if (side) return { textangle: (-angle * 180) / Math.PI, xshift: -9 * side * Math.sin(angle), yshift: 9 * side * Math.cos(angle) };
    if (note.name !== "end") return {};
    const level = (note.y - bottom) * along;
    ceiling = Math.min(level, ceiling - 15);
    return { yshift: ceiling - level };
  });
}

function alignLabels(figure) {
  const { xaxis, yaxis, annotations } = figure._fullLayout;
  const [across, along] = [xaxis, yaxis].map((axis) => axis._length / (axis.range[1] - axis.range[0]));
  pixels = { across, along };
  const changes = {};
  alignments(annotations, yaxis.range[0], pixels).forEach((values, i) => {
    for (const [key, value] of Object.entries(values)) {
      if (Math.abs((annotations[i][key] || 0) - value) > 0.5) changes[`annotations[${i}].${key}`] = value;
    }
  });
  if (Object.keys(changes).length) Plotly.relayout(figure, changes);
}
