// The SQL of each panel for the current selection, as `ridgeline sql` runs it.
const literal = (value) => (value == null ? "NULL" : typeof value === "number" ? String(value) : `'${String(value).replace(/'/g, "''")}'`);
const listed = (values) => `[${values.map(literal).join(", ")}]`;

function equal(name, value) {
  if (!Array.isArray(value)) return value == null ? `${name} IS NULL` : `${name} = ${literal(value)}`;
  const known = value.filter((one) => one != null);
  const parts = known.length ? [`${name} IN (${known.map(literal).join(", ")})`] : [];
  if (known.length < value.length) parts.push(`${name} IS NULL`);
  return parts.length === 1 ? parts[0] : `(${parts.join(" OR ") || "FALSE"})`;
}

const condition = (where) => Object.entries(where).map(([name, value]) => equal(name, value)).join(" AND ") || "TRUE";
const anyOf = (picked) => picked.map(({ where }) => `(${condition(where)})`).join("\n    OR ");

function filled(text, values) {
  return Object.entries(values).reduce((sql, [name, value]) => sql.replace(new RegExp(`\\$${name}\\b`, "g"), () => value), text.trim());
}

const runsOf = (name) => filled(DATA.sql[name], { runs: listed(chosenRuns().map((run) => run.id)), bins: String(DATA.bins) });

function selectionSql() {
  const best = state.flops === "best" && state.bytes === "best";
  const [flops, bytes] = [`${state.flops}_flops`, `${state.bytes}_bytes`];
  const time = (amount, rate) => `COALESCE(${amount} / ${rate}, 0)`;
  const roof = `CASE WHEN basis = 'communication' THEN best_roof_ns ELSE GREATEST(${time(flops, "roof_flops_per_s")}, ${time(bytes, "dram_bytes_per_s")}, ${time("l2_bytes", "l2_bytes_per_s")}) * 1e9 END`;
  const is = (amount, rate, roof) => `WHEN roof_ns = ${time(amount, rate)} * 1e9 THEN '${roof}'`;
  const nearest = `CASE WHEN basis = 'communication' THEN nearest_roof WHEN COALESCE(roof_ns, 0) = 0 THEN 'none' ${is(flops, "roof_flops_per_s", "compute")} ${is("l2_bytes", "l2_bytes_per_s", "l2")} ELSE 'dram' END`;
  const isolated = state.picked.length ? `\n    AND (${anyOf(state.picked)})` : "";
  return filled(DATA.templates.selection, {
    flops, bytes, roof: best ? "best_roof_ns" : roof, nearest: best ? "nearest_roof" : nearest, launch_groups: runsOf("launch_groups"), where: condition(chosenWhere()) + isolated,
  });
}

// The selection holds text from traces. It is filled in last, so that a `$name` in that text is not filled in again.
const panel = (name, values) => filled(DATA.templates[name], { ...values, selection: selectionSql() });

const SQL = {
  points: () => panel("points", {
    keys: POINT[state.point].join(", "),
    merged: merged().map((name) => `STRING_AGG(DISTINCT ${name}, ' + ' ORDER BY ${name}) AS ${name},`).join("\n    "),
    level: LEVEL_BYTES[state.level] || "dram_bytes",
    shown: state.share < 1 ? `longer_ns < ${state.share} * total_ns` : "TRUE",
  }),
  families: () => panel("bars", { label: "family", value: "duration_ns" }),
  phases: () => panel("bars", { label: "CONCAT_WS(' · ', phase, kind)", value: "duration_ns" }),
  modules: () => panel("bars", { label: "module", value: "duration_ns" }),
  lost: () => panel("lost", { item: ITEMS[state.lost].sql }),
  icicle: () => panel("icicle", {}),
  bytes: () => panel("bytes", {}),
  timeline: () => timelineSql(),
  verdict: () => filled(runsOf("verdict"), { launch_groups: runsOf("launch_groups") }),
  timings: () => runsOf("timings"),
  telemetry: () => runsOf("telemetry"),
  steps: () => runsOf("step_diagnosis"),
  ledger: () => runsOf("ledger"),
  warnings: () => runsOf("warnings"),
  ceilings: () => runsOf("ceilings"),
  runs: () => runsOf("runs"),
};

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { style: { position: "fixed", opacity: "0" } }, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

// The button in every panel's heading copies its statement.
function sqlButtons() {
  for (const button of document.querySelectorAll("button[data-sql]")) {
    button.addEventListener("click", () => { copy(SQL[button.dataset.sql]()); flash(button, "copied"); });
  }
}

function flash(button, text) {
  const before = button.dataset.label || (button.dataset.label = button.textContent);
  button.textContent = text;
  setTimeout(() => { button.textContent = before; }, 1200);
}
