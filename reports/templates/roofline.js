// The roofline and the bandwidth lane: frames from the page's data, points from what is chosen.
function pointTraces(points, place) {
  const shown = points.filter((point) => point.place === place);
  const { style, largest, edges } = DATA.marks;
  const most = Math.max(1, ...shown.map((point) => point.duration_ns));
  const families = [...groupBy(shown, (point) => point.family)].sort((a, b) => familyOrder(a[0]) - familyOrder(b[0]));
  return families.map(([family, rows]) => ({
    type: "scatter", mode: "markers", name: escaped(family), hoverinfo: "none", cliponaxis: false,
    x: rows.map((row) => row.x),
    y: rows.map((row) => (row.y == null ? row.family : row.y)),
    customdata: rows.map((row) => row.index),
    marker: {
      ...style,
      line: { width: 0.8, color: ink("surface") },
      color: familyOf(family).color,
      symbol: rows.map((row) => (row.edge ? edges[row.edge] : familyOf(family).symbol)),
      size: rows.map((row) => row.duration_ns),
      sizeref: (2 * most) / (largest[place] * (innerWidth < 700 ? 0.7 : 1)) ** 2,
    },
  }));
}

function badges(points, place) {
  const off = groupBy(points.filter((point) => point.edge && point.place === place), (point) => point.edge);
  return [...off].map(([edge, rows]) => ({
    ...DATA.marks.badges[edge], ...(place === "lane" ? DATA.marks.above : {}), text: DATA.marks.badges[edge].text.replace("{}", rows.length), name: "badge",
    xref: "paper", yref: "paper", showarrow: false, font: { size: 11, color: ink("quiet") },
  }));
}

const narrow = () => innerWidth < 700;

// Roofs are labelled beside the plot where there is room, else in the note beneath it.
function fitted(layout, points, place) {
  layout.annotations = [...layout.annotations, ...badges(points, place)];
  if (!narrow()) return layout;
  layout.margin = { ...layout.margin, l: 8, r: 10 };
  layout.annotations = layout.annotations.filter((note) => note.name === "badge");
  layout.xaxis.title.text = place === "lane" ? "DRAM bandwidth" : "FLOP per byte";
  layout.xaxis.ticktext = layout.xaxis.ticktext.map((text, i) => (i % 2 ? "" : text));
  layout.xaxis.tickangle = 0;
  return layout;
}

function drawRoofline(points) {
  const { data, layout } = group()[state.allRoofs ? "roofline_all" : "roofline"];
  const roofs = data.map((trace) => ({ ...trace, line: { ...trace.line, color: ink("roof") } }));
  const frame = fitted(painted(layout), points, "roofline");
  if (document.body.classList.contains("only-roofline")) frame.height = Math.max(420, innerHeight - $("roofline-figure").getBoundingClientRect().top - 16);
  else if (narrow()) frame.height = 460;
  draw("roofline-figure", [...roofs, ...pointTraces(points, "roofline")], frame, { onDrawn: alignLabels, tools: true });
  const names = chosenRuns().map((run) => run.name);
  $("roofline-title").textContent = `${names.length < 2 ? names.join(", ") : `${names.length} runs`} on ${group().device}: one point a kernel and shape, its area the total time`;
  const shown = points.filter((point) => point.place === "roofline");
  const parts = [`${plural(shown.length, "point")}, ${plural(sum(shown, "launches"), "launch", "launches")}, ${duration(sum(shown, "duration_ns"))}`];
  if (narrow() && data.length) parts.push(`roofs: ${data.map((trace) => trace.name).join("; ")}`);
  if (!group().has_roofs) parts.push("no ceilings are known for this device, so the frame is a general one: measure them with ridgeline ceilings");
  $("roofline-note").textContent = `${parts.join("; ")}.`;
}

function drawLane(points) {
  const shown = points.filter((point) => point.place === "lane");
  const without = points.filter((point) => point.place === "none");
  $("lane-figure").hidden = shown.length === 0;
  if (shown.length) {
    const layout = fitted(painted(group().lane.layout), points, "lane");
    const present = layout.yaxis.categoryarray.filter((family) => shown.some((point) => point.family === family));
    layout.height -= 30 * (layout.yaxis.categoryarray.length - present.length);
    Object.assign(layout.yaxis, { categoryarray: present, range: [-0.6, present.length - 0.4] });
    draw("lane-figure", pointTraces(points, "lane"), layout);
  }
  const says = [shown.length ? `${plural(shown.length, "point")}, ${duration(sum(shown, "duration_ns"))}` : "No kernel here moves bytes without arithmetic"];
  const left = (rows, what) => rows.length && says.push(`${plural(sum(rows, "launches"), "kernel")} of ${duration(sum(rows, "duration_ns"))} ${what}`);
  left(without.filter((point) => point.dram_bytes === 0), "move no bytes at all and have a place in neither figure");
  left(without.filter((point) => point.dram_bytes == null), "have no known bytes and so no place in either figure: the ledger names them");
  $("lane-note").textContent = `${says.join("; ")}.`;
}

// Slopes are known once the plot has its size: turn their labels along them, and push the roofs' end labels apart.
function alignLabels(figure) {
  const { xaxis, yaxis, annotations } = figure._fullLayout;
  const [across, along] = [xaxis, yaxis].map((axis) => axis._length / (axis.range[1] - axis.range[0]));
  const angle = Math.atan2(along, across);
  const changes = {};
  const change = (i, values) => {
    for (const [key, value] of Object.entries(values)) {
      if (Math.abs((annotations[i][key] || 0) - value) > 0.5) changes[`annotations[${i}].${key}`] = value;
    }
  };
  let ceiling = Infinity;
  annotations.forEach((note, i) => {
    const side = { "slope above": 1, "slope below": -1 }[note.name];
    if (side) change(i, { textangle: (-angle * 180) / Math.PI, xshift: -9 * side * Math.sin(angle), yshift: 9 * side * Math.cos(angle) });
    if (note.name !== "end") return;
    const level = (note.y - yaxis.range[0]) * along;
    ceiling = Math.min(level, ceiling - 15);
    change(i, { yshift: ceiling - level });
  });
  if (Object.keys(changes).length) Plotly.relayout(figure, changes);
}
