// The table of points: sortable, searchable, and as CSV.
const MOST_ROWS = 100;

const COLUMNS = [
  { key: "run_id", title: "run", show: (id) => clip(RUNS.get(id).name, 32), when: () => chosenRuns().length > 1 },
  { key: "short", title: "kernel", bold: true },
  { key: "launches", title: "launches", show: count, number: true },
  { key: "duration_ns", title: "time", show: duration, number: true },
  { key: "share", title: "share", show: percent, number: true },
  { key: "roof_fraction", title: "of roof", term: "roof fraction", show: percent, number: true },
  { key: "lost_ns", title: "lost", term: "lost", show: duration, number: true },
  { key: "diagnosis", title: "why", term: "cause", clip: 64 },
  { key: "nearest_roof", title: "nearest roof", term: "nearest roof" },
  { key: "flops", title: "FLOPs", term: "FLOP sources", show: (value) => si(value, ""), number: true },
  { key: "dram_bytes", title: "DRAM", show: (value) => si(value, "B"), number: true },
  { key: "l2_bytes", title: "L2", show: (value) => si(value, "B"), number: true, when: (points) => points.some((point) => point.l2_bytes != null) },
  { key: "l1_bytes", title: "L1", show: (value) => si(value, "B"), number: true, when: (points) => points.some((point) => point.l1_bytes != null) },
  { key: "intensity", title: "FLOP/B", term: "intensity", show: digits, number: true },
  { key: "flops_per_s", title: "FLOP/s", show: (value) => si(value, ""), number: true },
  { key: "bytes_per_s", title: "B/s", show: (value) => si(value, ""), number: true },
  { key: "operator", title: "operator", when: () => state.point in { launch: 1, shape: 1 } },
  { key: "shapes", title: "shapes", show: (text) => clip(text, 40), when: () => state.point in { launch: 1, shape: 1 } },
  { key: "module", title: "module", when: () => state.point === "launch" },
  { key: "phase", title: "phase", show: (_, point) => phaseOf(point) },
  { key: "family", title: "family" },
  { key: "bound", title: "bound by", term: "bound" },
  { key: "dram_bytes_source", title: "bytes by", term: "byte sources", show: spoken, when: () => state.bytes === "best" },
];

let tabled = [];

function searched(points) {
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return points;
  const text = (point) => [point.short, point.kernel, point.operator, point.shapes, point.module, point.family, phaseOf(point), point.precision, point.unit, point.nearest_roof, point.bound, point.diagnosis, RUNS.get(point.run_id).name].join(" ").toLowerCase();
  return points.filter((point) => { const own = text(point); return words.every((word) => own.includes(word)); });
}

// Missing values come last in both directions.
function sorted(points) {
  const [key, way] = state.sort;
  if (key === "duration_ns" && way < 0) return points;
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  return [...points].sort((a, b) => (a[key] == null) - (b[key] == null) || (a[key] == null ? 0 : way * order(a[key], b[key])) || a.index - b.index);
}

function drawTable(points) {
  const total = sum(points, "duration_ns");
  const shown = heaviest(points);
  for (const point of points) point.share = total ? point.duration_ns / total : 0;
  tabled = sorted(searched(shown));
  const columns = COLUMNS.filter((column) => !column.when || column.when(points));
  const head = columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": state.sort[0] === column.key ? (state.sort[1] > 0 ? "ascending" : "descending") : null },
    h("button", { type: "button", "data-key": column.key, onclick: () => { state.sort = [column.key, state.sort[0] === column.key ? -state.sort[1] : column.number ? -1 : 1]; drawTable(points); writeAddressSoon(); } }, column.key === "short" ? POINT_NAMES[state.point] : column.title), column.term ? termButton(column.term) : null));
  const rows = tabled.slice(0, tableLimit).map((point) => h("tr", { tabindex: "0", "data-key": JSON.stringify(point.where), class: point.picked && state.picked.length ? "chosen" : null, onclick: (event) => clicked({ point, where: point.where }, event), onkeydown: (event) => { if (event.key === "Enter") clicked({ point, where: point.where }, event); } },
    ...columns.map((column) => {
      const value = point[column.key];
      const text = value == null ? "" : column.show ? column.show(value, point) : String(value);
      const swatch = column.key === "short" ? h("i", { class: familyOf(point.family).symbol, style: { background: familyOf(point.family).color } }) : null;
      return h(column.bold ? "th" : "td", { class: column.number ? "number" : null, scope: column.bold ? "row" : null }, swatch, h("bdi", { title: text.length > (column.clip || 48) ? text : null }, clip(text, column.clip || 48)));
    })));
  renew($("table-head"), h("tr", {}, ...head));
  renew($("table-body"), ...rows);
  const parts = [`${plural(tabled.length, "point")} of ${count(points.length)}, ${duration(sum(tabled, "duration_ns"))} of ${duration(total)}`];
  if (state.share < 1 && shown.length < points.length) parts.push(`the slider leaves out ${plural(points.length - shown.length, "point")} of ${duration(total - sum(shown, "duration_ns"))}`);
  if (tabled.length > tableLimit) parts.push(`the first ${tableLimit} are listed; the CSV has all`);
  $("table-note").textContent = `${parts.join("; ")}.`;
  $("table-more").hidden = tabled.length <= tableLimit;
}

const POINT_NAMES = { launch: "kernel", shape: "kernel", operator: "operator", module: "module" };
let tableLimit = MOST_ROWS;

// An apostrophe before text that a spreadsheet would run as a formula.
function csv(points) {
  const keys = [...POINT[state.point], ...merged(), ...SUMS, "shortest_ns", "longest_ns", "share", "intensity", "flops_per_s", "bytes_per_s", "roof_fraction", "nearest_roof", "bound", "diagnosis"];
  const cell = (value) => {
    if (value == null) return "";
    if (typeof value === "number") return String(value);
    const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return [keys.join(","), ...points.map((point) => keys.map((key) => cell(point[key])).join(","))].join("\n");
}
