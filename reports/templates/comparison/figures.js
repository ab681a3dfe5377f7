// The ranked differences, and before and after on the roofline and in the bandwidth lane.
const MOST = 18;

function drawChanges(rows) {
  const sorted = [...rows].sort((a, b) => Math.abs(b.delta_ns_per_step) - Math.abs(a.delta_ns_per_step));
  const rest = sorted.slice(MOST);
  const bars = sorted.slice(0, MOST).map((row) => ({ row, title: titleOf(row), delta: row.delta_ns_per_step, says: [change(row.change), row.status].join(" ") }));
  if (rest.length) bars.push({ row: null, title: `(${rest.length} more)`, delta: sum(rest, "delta_ns_per_step"), says: "" });
  $("changes-figure").hidden = bars.length === 0;
  if (bars.length) draw("changes-figure", changeTraces(bars), changeLayout(bars));
  const whole = step();
  const all = sum(inView(), "delta_ns_per_step");
  const closes = whole && Math.abs(all - whole.delta_ns_per_step) < 1e-6 * Math.max(1, whole.base_ns_per_step || 0, whole.other_ns_per_step || 0);
  const part = rows.length < inView().length ? `; shown are ${plural(rows.length, "row")} of ${count(inView().length)}, ${signed(sum(rows, "delta_ns_per_step"))}` : "";
  $("changes-title").textContent = `${state.stage}: device time per ${DATA.unit}, ${DATA.levels[state.level].toLowerCase()}`;
  $("changes-note").textContent = whole ? `All rows together: ${signed(all)} ${closes ? "=" : "≠"} ${duration(whole.other_ns_per_step || 0)} after − ${duration(whole.base_ns_per_step || 0)} before${part}. Hollow bars are within noise.` : "";
}

function changeTraces(bars) {
  const families = [...new Set(bars.map((bar) => (bar.row ? bar.row.family : "other")))];
  const traces = families.map((family) => {
    const own = bars.map((bar, i) => ({ ...bar, i })).filter((bar) => (bar.row ? bar.row.family : "other") === family);
    return {
      type: "bar", orientation: "h", name: escaped(family), hoverinfo: "none", cliponaxis: false,
      x: own.map((bar) => bar.delta / 1e9), y: own.map((bar) => bar.i), customdata: own.map((bar) => (bar.row ? bar.row.index : null)),
      marker: { color: own.map((bar) => (bar.row && bar.row.status === "same" ? ink("surface") : familyOf(family).color)), line: { color: familyOf(family).color, width: 1.2 } },
    };
  });
  const sides = [[1, "middle right"], [-1, "middle left"]];
  const texts = sides.map(([sign, textposition]) => {
    const own = bars.map((bar, i) => ({ ...bar, i })).filter((bar) => (bar.delta < 0 ? -1 : 1) === sign);
    return {
      type: "scatter", mode: "text", hoverinfo: "skip", cliponaxis: false, textposition, textfont: { size: 11, color: ink("quiet") },
      x: own.map((bar) => bar.delta / 1e9), y: own.map((bar) => bar.i), text: own.map((bar) => ` ${signed(bar.delta)}${narrow() ? "" : `  ${bar.says}`} `),
    };
  });
  return [...traces, ...texts];
}

function changeLayout(bars) {
  const layout = painted(DATA.bars.layout);
  const reach = (sign) => Math.max(0, ...bars.map((bar) => bar.delta * sign)) / 1e9;
  const width = reach(1) + reach(-1) || 1e-9;
  const room = (sign) => reach(sign) + width * (bars.some((bar) => (bar.delta < 0 ? -1 : 1) === sign) ? (narrow() ? 0.5 : 0.2) : 0.02);
  layout.height = 52 + DATA.bars.row * bars.length;
  layout.margin.r = 6;
  layout.xaxis = { ...layout.xaxis, range: [-room(-1), room(1)], nticks: narrow() ? 4 : 8, zeroline: true, zerolinecolor: ink("faint") };
  Object.assign(layout.yaxis, {
    type: "linear", tickvals: bars.map((_, i) => i), ticktext: bars.map((bar) => escaped(clip(bar.title, narrow() ? 20 : 54))),
    range: [bars.length - 0.5, -0.5], autorange: false,
  });
  return layout;
}

const sidesOf = (row, place) => ["base", "other"].filter((side) => row[`${side}_place`] === place);

// For each family a trace of lines from hollow to filled marks, and a trace of the marks.
function moves(rows, place) {
  const present = rows.filter((row) => sidesOf(row, place).length);
  const most = Math.max(1, ...present.flatMap((row) => sidesOf(row, place).map((side) => row[`${side}_ns_per_step`])));
  const largest = DATA.marks.largest[place] * (narrow() ? 0.7 : 1);
  const families = [...groupBy(present, (row) => row.family)].sort((a, b) => familyOrder(a[0]) - familyOrder(b[0]));
  const at = (row, side) => (place === "lane" ? row.family : row[`${side}_y`]);
  const lines = families.map(([family, own]) => {
    const linked = own.filter((row) => sidesOf(row, place).length === 2);
    return {
      type: "scatter", mode: "lines", name: escaped(family), hoverinfo: "skip", connectgaps: false,
      line: { color: familyOf(family).color, width: 1.2 },
      x: linked.flatMap((row) => [row.base_x, row.other_x, null]), y: linked.flatMap((row) => [at(row, "base"), at(row, "other"), null]),
    };
  });
  const marks = families.map(([family, own]) => {
    const points = own.flatMap((row) => sidesOf(row, place).map((side) => ({ row, side })));
    const symbol = ({ row, side }) => (row[`${side}_edge`] ? DATA.marks.edges[row[`${side}_edge`]] : familyOf(family).symbol) + (side === "base" ? "-open" : "");
    return {
      type: "scatter", mode: "markers", name: escaped(family), hoverinfo: "none", cliponaxis: false,
      x: points.map(({ row, side }) => row[`${side}_x`]), y: points.map(({ row, side }) => at(row, side)), customdata: points.map(({ row }) => row.index),
      marker: {
        ...DATA.marks.style, color: familyOf(family).color, symbol: points.map(symbol), size: points.map(({ row, side }) => row[`${side}_ns_per_step`]),
        sizeref: (2 * most) / largest ** 2, line: { width: points.map(({ side }) => (side === "base" ? 1.8 : 0.8)), color: points.map(({ side }) => (side === "base" ? familyOf(family).color : ink("surface"))) },
      },
    };
  });
  return [...lines, ...marks];
}

const ends = (rows, place) => rows.flatMap((row) => sidesOf(row, place).map((side) => ({ place, x: row[`${side}_x`], y: row[`${side}_y`], edge: row[`${side}_edge`] })));

function drawMoves(rows) {
  drawMovesUnderRoofs(rows);
  drawMovesInLane(rows);
}

function drawMovesUnderRoofs(rows) {
  const id = "roofline-figure";
  const layout = painted(DATA.roofline.layout);
  const roofs = DATA.roofline.data.filter(isRoof).map((trace) => ({ ...trace, line: { ...trace.line, color: ink("roof") } }));
  const points = ends(rows, "roofline");
  const aside = zooms[id] || points.some((point) => point.edge === "right") ? DATA.marks.largest.roofline / 2 : 0;
  layout.margin = { ...layout.margin, r: Math.ceil(endMargin(roofs, aside)), l: 92 };
  if (narrow()) layout.height = 460;
  fitted(zoomedLayout(id, layout), "roofline");
  const plot = plotOf(id, layout);
  const traces = moves(rows, "roofline");
  const ridges = ridgesOf(roofs);
  const labels = labelsOf(plot, roofs, ridges, traces, badges(id, points, "roofline", plot));
  layout.annotations = labels.notes;
  draw(id, [...roofs, { ...ridgeTrace(ridges), hoverinfo: "skip", customdata: null }, ...traces], layout, { tools: true, wheel: true });
  zoomable(id, () => ends(shown(), "roofline").filter((point) => !point.edge).map((point) => [point.x, point.y]), () => drawMovesUnderRoofs(shown()));
  const families = [...new Set(rows.map((row) => row.family))].sort((a, b) => familyOrder(a) - familyOrder(b));
  $("legend").replaceChildren(h("span", {}, h("i", { class: "hollow" }), "before"), h("span", {}, h("i", { class: "filled" }), "after"), ...families.map((family) => h("span", {}, h("i", { class: familyOf(family).symbol, style: { background: familyOf(family).color } }), family)));
  const says = [`${DATA.device}`];
  if (!DATA.has_roofs) says.push("no ceilings are known, so the axes are generic: measure ceilings with ridgeline ceilings");
  else if (!DATA.one_device) says.push("axes and roofs show the higher ceilings of both devices; each side's share of the roof uses its own device");
  if (narrow() && roofs.length) says.push(`roofs: ${roofs.map((trace) => unescaped(trace.name)).join("; ")}`);
  else if (labels.lacking.length) says.push(`roofs without room for a label: ${labels.lacking.join("; ")}`);
  const nowhere = rows.filter((row) => ["base", "other"].some((side) => row[`${side}_place`] === "none" && row[`${side}_ns_per_step`]));
  if (nowhere.length) says.push(`${plural(nowhere.length, "row")} without known bytes on one side, not drawn there`);
  $("roofline-note").textContent = `${says.join("; ")}.`;
}

function drawMovesInLane(rows) {
  const present = DATA.lane.layout.yaxis.categoryarray.filter((family) => rows.some((row) => row.family === family && sidesOf(row, "lane").length));
  $("lane").hidden = present.length === 0;
  if (!present.length) return;
  const layout = fitted(painted(DATA.lane.layout), "lane");
  layout.annotations.push(...badges("lane-figure", ends(rows, "lane"), "lane", plotOf("lane-figure", layout)));
  layout.height -= 30 * (layout.yaxis.categoryarray.length - present.length);
  Object.assign(layout.yaxis, { categoryarray: present, range: [-0.6, present.length - 0.4] });
  draw("lane-figure", moves(rows, "lane"), layout);
  const own = rows.filter((row) => sidesOf(row, "lane").length);
  $("lane-note").textContent = `${plural(own.length, "row")}, ${signed(sum(own, "delta_ns_per_step"))} per ${DATA.unit}.`;
}
