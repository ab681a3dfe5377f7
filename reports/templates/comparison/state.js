// The data, and the current selection.
const DATA = JSON.parse($("data").textContent);
const FAMILIES = Object.keys(DATA.families);
const familyOf = familiesOf(DATA.families);
const OTHER = familyOf("other");
const familyOrder = (name) => (FAMILIES.includes(name) ? FAMILIES.indexOf(name) : FAMILIES.length - 1);
const ROWS = DATA.rows;
ROWS.forEach((row, i) => { row.index = i; });

const STATUSES = ["slower", "more", "added", "faster", "less", "gone", "same"];
const FRAGMENT = new URLSearchParams(location.hash.slice(1));
const state = { stage: DATA.stages[0], level: DATA.level, statuses: new Set(), search: "", sort: "delta_ns_per_step", descending: true, chosen: null };
const chosenRuns = () => [{ name: "compare" }];

const inView = () => ROWS.filter((row) => row.stage === state.stage && row.level === state.level);
const text = (row) => [row.family, row.module, row.operator, row.base_shapes, row.other_shapes, row.base_kernels, row.other_kernels].join(" ").toLowerCase();
const shown = () => inView().filter((row) => (state.statuses.size === 0 || state.statuses.has(row.status)) && text(row).includes(state.search));
const step = () => DATA.steps.find((row) => row.stage === state.stage);

function shapesOf(row) {
  if (!row.base_shapes || !row.other_shapes || row.base_shapes === row.other_shapes) return row.other_shapes || row.base_shapes || "";
  return `${row.base_shapes} → ${row.other_shapes}`;
}

function titleOf(row) {
  if (row.level === "family") return row.family;
  if (row.level === "module") return row.module;
  return row.module && row.module !== "(any module)" ? `${row.label} in ${row.module}` : row.label;
}

const signed = (ns) => (ns > 0 ? "+" : "") + duration(ns);
const change = (share) => (share == null ? "" : `${share > 0 ? "+" : ""}${digits(Math.round(share * 1000) / 10)} %`);
const noise = (row) => (row.noise_ns == null || !row.base_ns_per_step ? "" : `±${percent(row.noise_ns / row.base_ns_per_step)}${row.noise_basis === "unknown" ? "?" : ""}`);
const rounded = (value) => (value == null ? "0" : digits(value));

// One value if both sides agree, otherwise both.
function both(before, after, show) {
  const [a, b] = [before, after].map((value) => (value == null ? "" : show(value)));
  return a === b || !a || !b ? b || a : `${a} → ${b}`;
}
