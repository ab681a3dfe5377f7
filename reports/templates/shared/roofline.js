// What the rooflines of all pages share: axes that zoom, the count of points out of view, ridge points, and labels that lie
// on no roof, no point and no other label.
const narrow = () => innerWidth < 700;

// The zoom of a figure in exponents of ten, [x0, x1, y0, y1], or [x0, x1] where only x is logarithmic. A figure without one
// shows its whole frame.
const zooms = {};
const logarithmic = (layout) => [layout.xaxis, layout.yaxis].filter((axis) => axis.type === "log");

// Set the ranges of the axes to the zoom of the figure, within its frame.
function zoomedLayout(id, layout) {
  logarithmic(layout).forEach((axis, i) => {
    const [low, high] = axis.range;
    Object.assign(axis, { minallowed: low, maxallowed: high, fixedrange: false });
    const [from, to] = zooms[id] ? [Math.max(zooms[id][2 * i], low), Math.min(zooms[id][2 * i + 1], high)] : [low, high];
    if (to - from < 0.02 || (from === low && to === high)) return;
    axis.range = [from, to];
    ticksWithin(axis);
  });
  if (layout.yaxis.type !== "log") layout.yaxis.fixedrange = true;
  if ($(id).clientWidth) layout.width = $(id).clientWidth; // else Plotly takes on a new width later than labels do
  return layout;
}

// A zoomed axis has labels at 1, 2 and 5 times a decade, or at multiples of a round step if it spans less than five times.
function ticksWithin(axis) {
  const [low, high] = axis.range;
  const unit = axis.ticktext.map((text) => (text.match(/ [kMGTPE]?((?:FLOP|B)\/s)$/) || [])[1]).find(Boolean);
  const inside = (values) => values.filter((value) => value >= 10 ** low * (1 - 1e-9) && value <= 10 ** high * (1 + 1e-9));
  const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => 10 ** (Math.floor(low) + i));
  let values = inside(decades.flatMap((decade) => [1, 2, 5].map((times) => +(times * decade).toPrecision(3))));
  if (high - low > 2.5) values = inside(decades);
  else if (high - low < 0.7) {
    const rough = (10 ** high - 10 ** low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((times) => times * power >= rough) * power;
    values = inside(Array.from({ length: 12 }, (_, i) => +((Math.ceil(10 ** low / step) + i) * step).toPrecision(12)));
  }
  Object.assign(axis, { tickvals: values, ticktext: values.map((value) => (unit ? si(value, unit) : digits(value))) });
}

// Zoom to these places, [x, y], and leave a margin; without any, to the whole frame.
function zoomTo(id, places) {
  delete zooms[id];
  const axes = logarithmic($(id).layout);
  const own = places.length ? axes.flatMap((axis, i) => {
    const exponents = places.map((place) => Math.log10(place[i])).filter(Number.isFinite);
    const [low, high] = [least(exponents), most(exponents)];
    const margin = Math.max(0.08 * (high - low), 0.15, (1 - (high - low)) / 2);
    return [Math.max(low - margin, axis.minallowed), Math.min(high + margin, axis.maxallowed)];
  }) : [];
  if (own.length && own.every(Number.isFinite)) zooms[id] = own.map((value) => +value.toFixed(3));
}

function zoomBy(id, factor) {
  const ranges = logarithmic($(id).layout).flatMap(({ range: [low, high], minallowed, maxallowed }) => {
    const [middle, half] = [(low + high) / 2, ((high - low) / 2) * factor];
    return [Math.max(middle - half, minallowed), Math.min(middle + half, maxallowed)];
  });
  zooms[id] = ranges.map((value) => +value.toFixed(3));
}

// Box, wheel, keys and double click zoom a figure; then `redraw` is called. The wheel scrolls the page unless the figure has
// the focus or Ctrl is held. `places` are those that a double click fits into view, or shows the whole frame again.
function zoomable(id, places, redraw) {
  const figure = $(id);
  if (figure.dataset.zoomable) return;
  figure.dataset.zoomable = "true";
  figure.tabIndex = 0;
  const intended = (event) => event.ctrlKey || event.metaKey || figure.contains(document.activeElement);
  figure.addEventListener("wheel", (event) => { if (!intended(event)) event.stopPropagation(); }, { capture: true, passive: true });
  figure.addEventListener("pointerdown", () => figure.focus({ preventScroll: true }), true);
  figure.addEventListener("keydown", (event) => {
    const keys = { "+": () => zoomBy(id, 0.7), "=": () => zoomBy(id, 0.7), "-": () => zoomBy(id, 1 / 0.7), 0: () => zoomTo(id, []), f: () => zoomTo(id, places()) };
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
    redraw();
  });
  let width = figure.clientWidth;
  new ResizeObserver(() => { if (figure.clientWidth && figure.clientWidth !== width) { width = figure.clientWidth; redraw(); } }).observe(figure);
  figure.on("plotly_doubleclick", () => { zoomTo(id, zooms[id] ? [] : places()); redraw(); });
  figure.on("plotly_relayout", (changes) => {
    if (!Object.keys(changes).some((key) => /^[xy]axis\.range/.test(key))) return;
    const axes = logarithmic(figure.layout);
    const whole = axes.every((axis) => axis.range[0] <= axis.minallowed + 1e-3 && axis.range[1] >= axis.maxallowed - 1e-3);
    if (whole) delete zooms[id];
    else zooms[id] = axes.flatMap((axis) => axis.range.map((value) => +value.toFixed(3)));
    redraw();
  });
}

// The plot in pixels: its axes' ranges, width and height. Margins are fixed, so that this is known before it is drawn.
function plotOf(id, layout) {
  const { l, r, t, b } = layout.margin;
  return { x: layout.xaxis.range, y: layout.yaxis.range, width: Math.max($(id).clientWidth - l - r, 60), height: layout.height - t - b };
}
const across = (plot, exponent) => ((exponent - plot.x[0]) / (plot.x[1] - plot.x[0])) * plot.width;
const down = (plot, exponent) => (1 - (exponent - plot.y[0]) / (plot.y[1] - plot.y[0])) * plot.height;

// On which side of the view a point lies, or null.
function outside({ x, y, edge }, plot) {
  if (edge) return edge;
  const [i, j] = [Math.log10(x), y == null ? null : Math.log10(y)];
  if (i < plot.x[0] - 1e-9) return "left";
  if (i > plot.x[1] + 1e-9) return "right";
  if (j === null || (j >= plot.y[0] - 1e-9 && j <= plot.y[1] + 1e-9)) return null;
  return j < plot.y[0] ? "bottom" : "top";
}

function badges(id, points, place, plot) {
  const own = points.filter((point) => point.place === place);
  const off = groupBy(own, (point) => outside(point, plot));
  off.delete(null);
  return [...off].map(([edge, rows]) => ({
    ...DATA.marks.badges[edge], ...(place === "lane" ? DATA.marks.above : {}), name: "badge",
    text: DATA.marks.badges[edge].text.replace("{}", count(rows.length)).replace("off the frame", zooms[id] ? "out of view" : "off the frame"),
    xref: "paper", yref: "paper", showarrow: false, font: { size: 11, color: ink("quiet") },
  }));
}

// A narrow page names roofs in the note beneath the plot. `memory` is the level that bytes cross.
function fitted(layout, place, memory = "DRAM") {
  if (place === "roofline") for (const axis of [layout.xaxis, layout.yaxis]) axis.automargin = false;
  if (!narrow()) return layout;
  const ticks = layout.yaxis.ticktext || [];
  layout.margin = { ...layout.margin, l: place === "roofline" ? Math.ceil(most(ticks.map(textWidth))) + 16 : 8, r: 10 };
  layout.annotations = [];
  layout.yaxis.title.text = "";
  layout.xaxis.title.text = place === "lane" ? `${memory} bandwidth` : `FLOP per byte${memory ? ` of ${memory}` : ""}`;
  layout.xaxis.ticktext = layout.xaxis.ticktext.map((text, i) => (i % 2 ? "" : text));
  layout.xaxis.tickangle = 0;
  return layout;
}

// Everything in a figure is a capsule: the places within a radius of a segment, in pixels. figures/labels.py says more.
const TEXT = { half: 6.5, gap: 1, offTheLine: 9, endGap: 15, ridge: 4.5 };
const pen = document.createElement("canvas").getContext("2d");

function textWidth(text) {
  pen.font = "11px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
  return pen.measureText(text).width;
}

function textCapsule(x, y, text, angle = 0) {
  const half = textWidth(text) / 2;
  const [i, j] = [half * Math.cos(angle), half * Math.sin(angle)];
  return { x0: x - i, y0: y - j, x1: x + i, y1: y + j, radius: TEXT.half };
}

function fromPoint({ x0, y0, x1, y1 }, x, y) {
  const [i, j] = [x1 - x0, y1 - y0];
  const length = i * i + j * j;
  const share = length ? Math.min(Math.max(((x - x0) * i + (y - y0) * j) / length, 0), 1) : 0;
  return Math.hypot(x - x0 - share * i, y - y0 - share * j);
}

function crossing(a, b) {
  const side = (s, x, y) => (s.x1 - s.x0) * (y - s.y0) - (s.y1 - s.y0) * (x - s.x0);
  return side(a, b.x0, b.y0) * side(a, b.x1, b.y1) < 0 && side(b, a.x0, a.y0) * side(b, a.x1, a.y1) < 0;
}

const spacing = (a, b) => (crossing(a, b) ? 0 : Math.min(fromPoint(a, b.x0, b.y0), fromPoint(a, b.x1, b.y1), fromPoint(b, a.x0, a.y0), fromPoint(b, a.x1, a.y1)));
const isClear = (label, obstacles) => obstacles.every((other) => spacing(label, other) >= label.radius + other.radius + TEXT.gap);
const inPlot = (plot, { x0, y0, x1, y1 }) => Math.min(x0, x1) >= 0 && Math.max(x0, x1) <= plot.width && Math.min(y0, y1) >= TEXT.half && Math.max(y0, y1) <= plot.height - TEXT.half;

const isRoof = (trace) => trace.meta && trace.meta.role === "roof";
const isMemoryRoof = (trace) => isRoof(trace) && trace.meta.resource === "bandwidth";

// The segments of roofs, and a disc for each mark: with sizemode area, its radius is the root of size / 2 / sizeref.
function obstaclesOf(plot, traces) {
  return traces.flatMap(({ x, y, mode, marker, line }) => {
    const at = x.map((_, i) => (x[i] === null ? null : [across(plot, Math.log10(x[i])), down(plot, Math.log10(y[i]))]));
    if (mode === "lines") return at.slice(1).flatMap((end, i) => (end && at[i] ? [{ x0: at[i][0], y0: at[i][1], x1: end[0], y1: end[1], radius: line.width / 2 }] : []));
    const radius = (i) => (Array.isArray(marker.size) ? Math.max(Math.sqrt(marker.size[i] / 2 / marker.sizeref), marker.sizemin) : marker.size / 2) + 0.7;
    return at.map(([i, j], index) => ({ x0: i, y0: j, x1: i, y1: j, radius: radius(index) }));
  });
}

const roofNote = (text, more, dim) => ({ text: escaped(text), showarrow: false, font: { size: 11, color: ink("quiet") }, opacity: dim ? 0.85 : 1, ...more });

// Compute roofs in view are labelled at their right ends, and so are memory roofs without room along them, at the height
// where they end; a label that would touch another moves down, or up at the bottom. It keeps clear of marks that reach over
// the edge beside it.
function endLabels(plot, roofs, discs, aside) {
  const exponent = (roof) => (isMemoryRoof(roof) ? Math.min(Math.log10(most(roof.y)), plot.y[1]) : Math.log10(roof.meta.value));
  const level = roofs.filter((roof) => !isMemoryRoof(roof) && exponent(roof) >= plot.y[0] && exponent(roof) <= plot.y[1]);
  const own = [...level, ...aside].sort((a, b) => exponent(b) - exponent(a));
  const natural = own.map((roof) => down(plot, exponent(roof)));
  const moved = [...natural];
  for (let i = 1; i < moved.length; i += 1) moved[i] = Math.max(moved[i], moved[i - 1] + TEXT.endGap);
  for (let i = moved.length - 1, floor = plot.height; i >= 0; i -= 1) { moved[i] = Math.min(moved[i], floor); floor = moved[i] - TEXT.endGap; }
  const over = (height) => most([0, ...discs.filter((disc) => disc.x0 <= plot.width + 1 && Math.abs(disc.y0 - height) < disc.radius + TEXT.half).map((disc) => disc.x0 + disc.radius - plot.width)]);
  return own.map((roof, i) => roofNote(unescaped(roof.name), { name: "end", x: 1, xref: "paper", xanchor: "left", xshift: 8 + over(moved[i]), y: exponent(roof), yanchor: "middle", yshift: natural[i] - moved[i] }));
}

// The right margin that these labels need, beside marks that reach `aside` pixels over the edge.
const endMargin = (roofs, aside) => Math.max(16, ...roofs.filter((roof) => !isMemoryRoof(roof) || !roof.meta.dim).map((roof) => textWidth(unescaped(roof.name)) + 16 + aside));

// One label a level, along its roofs: above, but below those of the slowest of several levels. It names the roofs of all
// sources, or the measured one alone where only that has room; of the level shown without its source, or else `aside`, at
// the right of the plot. Returns the note, if any, and the roofs not named.
function slopeLabel(plot, roofs, below, obstacles) {
  const own = [...roofs].sort((a, b) => (b.meta.source === "measured") - (a.meta.source === "measured"));
  const says = ({ meta }) => `${meta.what} ${meta.rate}, ${meta.source}`;
  const { what, rate, dim } = own[0].meta;
  const texts = own.map((_, i) => [`${what} ${own.slice(0, i + 1).map(({ meta }) => `${meta.rate}, ${meta.source}`).join("; ")}`, i + 1]).reverse();
  for (const [text, named] of dim ? texts : [...texts, [`${what} ${rate}`, 1]]) {
    const note = alongRoofs(plot, own, text, below, obstacles);
    if (note) return { notes: [note], aside: [], lacking: own.slice(named).map(says) };
  }
  const aside = own.filter((roof) => !dim && inSightOf(plot, roof)).slice(0, 1);
  return { notes: [], aside, lacking: own.filter((roof) => !aside.includes(roof)).map(says) };
}

// Whether the plot shows a part of a memory roof.
function inSightOf(plot, { x, meta }) {
  const rate = Math.log10(meta.value);
  return Math.max(Math.log10(x[0]), plot.x[0], plot.y[0] - rate) < Math.min(Math.log10(x[1]), plot.x[1], plot.y[1] - rate);
}

// The first place for a text beside the roofs of a level, starting where few points lie; null if none is clear.
function alongRoofs(plot, own, text, below, obstacles) {
  const angle = Math.atan2(plot.height / (plot.y[1] - plot.y[0]), plot.width / (plot.x[1] - plot.x[0]));
  const longest = own.reduce((a, b) => (a.meta.value > b.meta.value ? a : b));
  const end = Math.min(Math.log10(most(longest.x)), plot.x[1]);
  const best = Math.min(0.44 * plot.x[1] + 0.56 * plot.x[0], end - 0.1 * (plot.x[1] - plot.x[0]));
  const steps = Array.from({ length: 121 }, (_, i) => plot.x[0] + (i / 120) * (end - plot.x[0])).sort((a, b) => Math.abs(a - best) - Math.abs(b - best));
  for (const side of below ? [-1, 1] : [1, -1]) {
    const value = Math.log10(side > 0 ? longest.meta.value : least(own.map(({ meta }) => meta.least || meta.value)));
    const [xshift, yshift] = [-TEXT.offTheLine * side * Math.sin(angle), TEXT.offTheLine * side * Math.cos(angle)];
    for (const x of steps) {
      const capsule = textCapsule(across(plot, x) + xshift, down(plot, x + value) - yshift, text, -angle);
      if (!inPlot(plot, capsule) || !isClear(capsule, obstacles)) continue;
      obstacles.push(capsule);
      return roofNote(text, { name: side > 0 ? "slope above" : "slope below", x, y: x + value, textangle: (-angle * 180) / Math.PI, xshift, yshift }, own.every((roof) => roof.meta.dim));
    }
  }
  return null;
}

// Memory roofs meet compute roofs of the same source.
function ridgesOf(roofs) {
  const memory = roofs.filter((roof) => isMemoryRoof(roof) && !roof.meta.dim);
  return memory.flatMap((roof) => roofs.filter((peak) => isRoof(peak) && !isMemoryRoof(peak) && peak.meta.source === roof.meta.source).map((peak) => ({ roof, peak, x: peak.meta.value / roof.meta.value, y: peak.meta.value })));
}

function ridgeTrace(ridges) {
  return {
    type: "scatter", mode: "markers", name: "ridge points", hoverinfo: "none", meta: { role: "ridge" },
    x: ridges.map(({ x }) => x), y: ridges.map(({ y }) => y),
    customdata: ridges.map(({ roof, peak, x }) => ({ title: "ridge point", rows: [["memory", unescaped(roof.name)], ["compute", unescaped(peak.name)], ["intensity", `${digits(x)} FLOP/B: below it memory is the limit, above it arithmetic`]] })),
    marker: { symbol: "circle", size: 7, color: ink("surface"), line: { width: 1.4, color: ink("roof") } },
  };
}

// The intensity of each ridge point that has room for it; of measured roofs, if there are any.
function ridgeLabels(plot, ridges, obstacles) {
  const measured = ridges.filter(({ roof }) => roof.meta.source === "measured");
  return (measured.length ? measured : ridges).sort((a, b) => b.y - a.y).flatMap(({ x, y }) => {
    const text = `${digits(x)} FLOP/B`;
    const [i, j, half] = [Math.log10(x), Math.log10(y), textWidth(text) / 2 + TEXT.half + TEXT.ridge];
    for (const [xshift, yshift] of [[-half, 11], [half, -11], [-half, 0], [0, 15], [half, 11], [0, -15]]) {
      const capsule = textCapsule(across(plot, i) + xshift, down(plot, j) - yshift, text);
      if (!inPlot(plot, capsule) || !isClear(capsule, obstacles)) continue;
      obstacles.push(capsule);
      return [roofNote(text, { name: "ridge", x: i, y: j, xshift, yshift })];
    }
    return [];
  });
}

// All labels of a roofline: `notes` to draw, and `lacking`, the roofs that have no room for one. The level shown comes first,
// then values of ridges, whose places are given. `fixed` are notes whose place is given; on a narrow page roofs are named
// beneath the plot.
function labelsOf(plot, roofs, ridges, marks, fixed) {
  const discs = obstaclesOf(plot, marks.filter((trace) => trace.mode === "markers"));
  const obstacles = [...obstaclesOf(plot, [...roofs, ridgeTrace(ridges), ...marks.filter((trace) => trace.mode !== "markers")]), ...discs, ...fixed.map((note) => noteCapsule(plot, note))];
  const levels = [...groupBy(roofs.filter(isMemoryRoof), (roof) => roof.meta.level).values()].sort((a, b) => most(b.map((roof) => roof.meta.value)) - most(a.map((roof) => roof.meta.value)));
  const isShown = (own) => own.some((roof) => !roof.meta.dim);
  const labelled = (own) => (narrow() ? [] : own.map((roofs) => slopeLabel(plot, roofs, levels.length > 1 && roofs === levels.at(-1), obstacles)));
  const first = labelled(levels.filter(isShown));
  const values = ridgeLabels(plot, ridges, obstacles);
  const slopes = [...first, ...labelled(levels.filter((own) => !isShown(own)))];
  const ends = narrow() ? [] : endLabels(plot, roofs, discs, slopes.flatMap((slope) => slope.aside));
  const notes = [...slopes.flatMap((slope) => slope.notes), ...values, ...ends, ...fixed];
  return { notes, lacking: slopes.flatMap((slope) => slope.lacking) };
}

// The place of a note whose x and y are shares of the plot, with the anchors that badges have.
function noteCapsule(plot, { text, x, y, xanchor, yanchor, yshift = 0 }) {
  const half = textWidth(text) / 2 + 4;
  const i = x * plot.width + ({ left: half, right: -half }[xanchor] || 0);
  return textCapsule(i, (1 - y) * plot.height - yshift + ({ top: 10, bottom: -10 }[yanchor] || 0), text);
}
