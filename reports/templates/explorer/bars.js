// Bars of time, stacked by family; beyond `most`, the shortest bars are merged.
function stack(rows, label, value, most) {
  const sorted = [...groupBy(rows, label)]
    .map(([name, own]) => ({ name, own, total: sum(own, value) }))
    .filter((bar) => bar.total > 0)
    .sort((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1));
  if (sorted.length <= most) return sorted;
  const rest = sorted.slice(most - 1);
  return [...sorted.slice(0, most - 1), { name: `(${rest.length} more)`, own: rest.flatMap((bar) => bar.own), total: sum(rest, "total"), rest: true }];
}

function barLayout(rows, longest) {
  const layout = painted(DATA.bars.layout);
  layout.height = 52 + DATA.bars.row * Math.max(rows, 1);
  layout.xaxis.range = [0, longest * (narrow() ? 1.75 : 1.4)];
  layout.xaxis.nticks = narrow() ? 4 : 6;
  layout.margin.r = 6;
  return layout;
}

const ticks = (names) => names.map((name) => escaped(clip(name, narrow() ? 22 : 44)));

// A position for every bar, so that two names that shorten to the same text stay separate.
function named(layout, names) {
  Object.assign(layout.yaxis, { type: "linear", tickvals: names.map((_, i) => i), ticktext: ticks(names), range: [names.length - 0.5, -0.5], autorange: false });
  return layout;
}

function totals(bars, whole) {
  return {
    type: "scatter", mode: "text", hoverinfo: "skip", cliponaxis: false, textposition: "middle right",
    x: bars.map((bar) => bar.total / 1e9), y: bars.map((_, i) => i),
    text: bars.map((bar) => ` ${duration(bar.total)}  ${percent(bar.total / whole)}`), textfont: { size: 11, color: ink("quiet") },
  };
}

// Hatched bars of time that the bars above do not count, and a gap before them.
function apart(beside, first) {
  if (!beside.length) return [];
  const [x, y] = [beside.map((bar) => bar.total / 1e9), beside.map((_, i) => first + i)];
  const customdata = beside.map(({ name, where, total }) => ({ title: name, where, rows: [["whole time", duration(total)], ["lost", "unknown: in no total"]] }));
  return [
    { type: "bar", orientation: "h", name: "in no total", hoverinfo: "none", x, y, customdata, marker: { color: ink("surface"), line: { color: ink("quiet"), width: 1 }, pattern: { shape: "/", fgcolor: ink("quiet"), bgcolor: ink("surface"), size: 7, solidity: 0.25 } } },
    { type: "scatter", mode: "text", hoverinfo: "skip", cliponaxis: false, textposition: "middle right", x, y, text: beside.map(({ total }) => ` ${duration(total)} in all`), textfont: { size: 11, color: ink("quiet") } },
  ];
}

// `where` returns the condition of a bar's rows, which a click selects. The bars `beside` stand apart, beneath the others.
function drawBars(id, rows, label, value, where, most = 16, beside = []) {
  const bars = stack(rows, label, value, most);
  const whole = sum(rows, "duration_ns");
  $(id).hidden = !bars.length && !beside.length;
  if ($(id).hidden) return bars;
  const names = [...bars.map((bar) => bar.name), ...(bars.length && beside.length ? [""] : []), ...beside.map((bar) => bar.name)];
  const longest = Math.max(...[...bars, ...beside].map((bar) => bar.total)) / 1e9;
  const families = [...new Set(bars.flatMap((bar) => bar.own.map((row) => row.family)))].sort((a, b) => familyOrder(a) - familyOrder(b));
  const parts = bars.map((bar) => new Map([...groupBy(bar.own, (row) => row.family)].map(([family, own]) => [family, sum(own, value)])));
  const data = families.map((family) => ({
    type: "bar", orientation: "h", name: escaped(family), hoverinfo: "none", marker: { color: familyOf(family).color, line: { width: 0.5, color: ink("surface") } },
    x: parts.map((part) => (part.get(family) || 0) / 1e9), y: bars.map((_, i) => i),
    customdata: bars.map((bar, i) => ({ title: bar.name, family, where: bar.rest ? null : where(bar.own[0]), rows: [["family", family], ["time", `${duration(parts[i].get(family) || 0)}, ${percent((parts[i].get(family) || 0) / whole)} of the selection`], ["whole bar", duration(bar.total)]] })),
  }));
  $(id).dataset.says = `${plural(bars.length, "bar")}: ${bars.slice(0, 3).map((bar) => `${bar.name} ${duration(bar.total)}, ${percent(bar.total / whole)}`).join("; ")}.`;
  draw(id, [...data, totals(bars, whole), ...apart(beside, names.length - beside.length)], named(barLayout(names.length, longest), names));
  return bars;
}

const drawFamilies = (rows) => drawBars("families-figure", rows, (row) => row.family, "duration_ns", (row) => ({ family: row.family }), 18);

function drawPhaseBars(rows) {
  drawBars("phases-figure", rows, phaseOf, "duration_ns", (row) => ({ phase: row.phase, kind: row.kind }));
}

function drawModules(rows) {
  drawBars("modules-figure", rows, (row) => row.module || "no module", "duration_ns", (row) => ({ module: row.module }), 18);
}
