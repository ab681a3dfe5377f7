// The table of rows, and the facts about one: in brief under the pointer, in full after a click.
const COLUMNS = [
  { title: "operator", levels: ["operator", "row"], key: "label", show: (row) => row.label, long: true },
  { title: "kernel", levels: ["kernel"], key: "label", show: (row) => row.label, long: true },
  { title: "family", levels: ["family"], key: "family", show: (row) => row.family },
  { title: "module", levels: ["module", "row"], key: "module", show: (row) => row.module, long: true },
  { title: "shapes", levels: ["row"], key: "other_shapes", show: shapesOf, long: true },
  { title: "before", key: "base_ns_per_step", show: (row) => duration(row.base_ns_per_step), number: true },
  { title: "after", key: "other_ns_per_step", show: (row) => duration(row.other_ns_per_step), number: true },
  { title: "change", key: "delta_ns_per_step", show: (row) => signed(row.delta_ns_per_step), number: true, size: true },
  { title: "%", key: "change", show: (row) => change(row.change) || "—", number: true, size: true },
  { title: "", key: "status", show: (row) => row.status, status: true },
  { title: "noise", term: "noise", key: "noise_ns", show: noise, number: true },
  { title: "of the change", key: "share_of_change", show: (row) => (row.share_of_change == null ? "" : `${digits(Math.round(row.share_of_change * 1000) / 10)} %`), number: true },
  { title: "launches", key: "other_launches_per_step", show: (row) => (row.base_launches_per_step === row.other_launches_per_step ? rounded(row.base_launches_per_step) : `${rounded(row.base_launches_per_step)} → ${rounded(row.other_launches_per_step)}`), number: true },
  { title: "DRAM bytes", term: "byte sources", key: "other_bytes_per_step", show: (row) => both(row.base_bytes_per_step, row.other_bytes_per_step, (value) => si(value, "B")), number: true, hint: (row) => both(row.base_bytes_source, row.other_bytes_source, (source) => source) },
  { title: "of the roof", term: "roof fraction", key: "other_roof_fraction", show: (row) => both(row.base_roof_fraction, row.other_roof_fraction, percent), number: true, hint: (row) => both(row.base_confidence, row.other_confidence, (confidence) => `confidence ${confidence}`) },
  { title: "what else changed", key: "why", show: (row) => row.why, why: true },
];

const columnsShown = () => COLUMNS.filter((column) => !column.levels || column.levels.includes(state.level));

function sortedRows(rows) {
  const column = COLUMNS.find(({ key }) => key === state.sort);
  const value = (row) => { const found = row[state.sort]; return column.size && found != null ? Math.abs(found) : found; };
  const order = state.descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x == null || y == null) return (x == null) - (y == null);
    return x === y ? a.index - b.index : (x < y ? -1 : 1) * order;
  });
}

function drawTable(rows) {
  const sort = (column) => () => { state.descending = state.sort === column.key ? !state.descending : Boolean(column.number); state.sort = column.key; drawTable(shown()); };
  const headers = columnsShown().map((column) => h("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": state.sort === column.key ? (state.descending ? "descending" : "ascending") : "none" }, h("button", { type: "button", onclick: sort(column) }, column.title || "status"), column.term ? termButton(column.term) : null));
  $("rows-head").replaceChildren(h("tr", {}, ...headers));
  $("rows-body").replaceChildren(...sortedRows(rows).map(tableRow));
  const hidden = inView().length - rows.length;
  $("rows-note").textContent = hidden ? `${plural(hidden, "row")} hidden by the search or selection above.` : `All ${plural(rows.length, "row")}.`;
}

function tableRow(row) {
  const cells = columnsShown().map((column, i) => {
    const text = column.show(row) || "";
    const classes = [column.number && "number", column.long && "long", column.why && "why", column.status && `status ${row.status}`].filter(Boolean).join(" ");
    const swatch = i === 0 ? h("i", { class: familyOf(row.family).symbol, style: { background: familyOf(row.family).color } }) : null;
    return h("td", { class: classes || null, title: column.long ? clip(text, 600) : column.hint ? column.hint(row) : null }, swatch, h("bdi", {}, column.long ? clip(text, 64) : text));
  });
  return h("tr", { class: state.chosen === row.index ? "chosen" : null, onclick: () => showDetail(row.index) }, ...cells);
}

function facts(row) {
  const sided = (show) => [show("base"), show("other")];
  const pair = (name, show) => { const [a, b] = sided(show); return a || b ? [name, a === b ? a : `${a || "none"} → ${b || "none"}`] : null; };
  const known = (value, show) => (value == null ? "" : show(value));
  return [
    ["family", row.family],
    ["shapes", clip(shapesOf(row), 160)],
    pair("time a step", (side) => known(row[`${side}_ns_per_step`], duration)),
    ["change", [signed(row.delta_ns_per_step), change(row.change), row.status].filter(Boolean).join(", ")],
    ["noise", row.noise_ns == null ? null : `±${duration(row.noise_ns)}, ${row.noise_basis === "unknown" ? "assumed: a side has one sample" : `over ${row.noise_basis}`}`],
    pair("range", (side) => (row[`${side}_low_ns`] == null ? "" : `${duration(row[`${side}_low_ns`])} to ${duration(row[`${side}_high_ns`])}`)),
    pair("launches a step", (side) => known(row[`${side}_launches_per_step`], digits)),
    pair("FLOPs a step", (side) => known(row[`${side}_flops_per_step`], (value) => si(value, "FLOP"))),
    pair("DRAM bytes a step", (side) => known(row[`${side}_bytes_per_step`], (value) => `${si(value, "B")} (${row[`${side}_bytes_source`]})`)),
    pair("of the roof", (side) => known(row[`${side}_roof_fraction`], (value) => `${percent(value)}${row[`${side}_confidence`] === "low" ? ", low confidence" : ""}`)),
    pair("diagnosis", (side) => row[`${side}_diagnosis`]),
    pair("steps traced", (side) => known(row[`${side}_steps`], count)),
    ["with", row.why],
  ].filter((fact) => fact && fact[1]);
}

const heading = (row) => h("h3", {}, h("i", { style: { background: familyOf(row.family).color } }), clip(titleOf(row), 120));

function showTooltip(mark, event) {
  if (mark == null) return;
  showBeside(event, heading(ROWS[mark]), list(facts(ROWS[mark])));
}

function hideTooltip() {
  $("tooltip").hidden = true;
}

const FACT_TERMS = { noise: "noise", "DRAM bytes a step": "byte sources", "of the roof": "roof fraction" };

function showDetail(mark) {
  if (mark == null) return;
  const row = ROWS[mark];
  state.chosen = mark;
  const close = h("button", { type: "button", class: "close", "aria-label": "Close", onclick: hideDetail }, "×");
  const kernels = [["kernels before", row.base_kernels], ["kernels after", row.base_kernels === row.other_kernels ? "the same" : row.other_kernels]].filter(([, names]) => names);
  $("detail").replaceChildren(close, heading(row), list(facts(row), FACT_TERMS), ...kernels.map(([title, names]) => h("details", { open: names.length < 400 }, h("summary", {}, title), h("code", { class: "full" }, names))));
  $("detail").hidden = false;
  hideTooltip();
  drawTable(shown());
}

function hideDetail() {
  $("detail").hidden = true;
  state.chosen = null;
  drawTable(shown());
}
