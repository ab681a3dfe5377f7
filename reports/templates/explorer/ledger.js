// Both accounts of each selected run, and the names of kernels that they leave unexplained.
const entryColor = (entry) => (DATA.entries[entry] ? tone(DATA.entries[entry]) : OTHER.color);

function drawLedger() {
  const runs = new Set(chosenRuns().map((run) => run.id));
  const rows = DATA.ledger.filter((row) => runs.has(row.run_id));
  const bars = [...groupBy(rows, (row) => `${RUNS.get(row.run_id).name} · ${row.account}\u0000${row.run_id}`)]
    .map(([key, own]) => ({ name: key.split("\u0000")[0], own, total: sum(own, "duration_ns") }));
  $("ledger-figure").hidden = bars.length === 0;
  if (bars.length) {
    const entries = Object.keys(DATA.entries).filter((entry) => rows.some((row) => row.entry === entry));
    entries.push(...new Set(rows.map((row) => row.entry).filter((entry) => !(entry in DATA.entries))));
    const data = entries.map((entry) => ledgerTrace(entry, bars));
    draw("ledger-figure", [...data, totals(bars, sum(chosenRuns(), "device_time_ns"))], named(barLayout(bars.length, Math.max(...bars.map((bar) => bar.total)) / 1e9), bars.map((bar) => bar.name)));
    $("ledger-legend").replaceChildren(...entries.map((entry) => h("span", {}, h("i", { style: { background: entryColor(entry) } }), spoken(entry))));
  }
  $("ledger-tables").replaceChildren(...chosenRuns().map((run) => ledgerTable(run, rows.filter((row) => row.run_id === run.id))));
  drawNamed([...runs].flatMap((id) => GROUPS_OF.get(id) || []));
}

function ledgerTrace(entry, bars) {
  const parts = bars.map((bar) => bar.own.filter((row) => row.entry === entry));
  const rows = (bar, part) => [["entry", spoken(entry)], ["time", `${duration(sum(part, "duration_ns"))}, ${percent(sum(part, "duration_ns") / bar.total)}`], ["kernels", count(sum(part, "kernels"))]];
  return {
    type: "bar", orientation: "h", name: escaped(entry), hoverinfo: "none", marker: { color: entryColor(entry), line: { width: 0.5, color: ink("surface") } },
    x: parts.map((part) => sum(part, "duration_ns") / 1e9), y: bars.map((_, i) => i),
    customdata: bars.map((bar, i) => ({ title: bar.name, rows: rows(bar, parts[i]) })),
  };
}

function ledgerTable(run, rows) {
  if (!rows.length) return h("p", { class: "note" }, h("bdi", {}, run.name), `: ${run.outcome === "ok" ? "no device activity" : run.outcome}${run.message ? `, ${run.message}` : ""}`);
  const cells = (entry, kernels, ns, share) => [h("td", {}, entry), h("td", { class: "number" }, kernels), h("td", { class: "number" }, ns), h("td", { class: "number" }, share)];
  const body = [...groupBy(rows, (row) => row.account)].flatMap(([account, own]) => {
    const total = sum(own, "duration_ns");
    const closes = total === run.device_time_ns;
    const verdict = closes ? "= device time" : `≠ device time, ${count(run.device_time_ns)} ns`;
    return [
      ...own.map((row, i) => h("tr", {}, h("th", { scope: "row" }, i ? "" : account), ...cells(spoken(row.entry), count(row.kernels), count(row.duration_ns), percent(row.duration_ns / (run.device_time_ns || 1))))),
      h("tr", { class: closes ? "total" : "total broken" }, h("td"), ...cells(verdict, count(sum(own, "kernels")), count(total), percent(total / (run.device_time_ns || 1)))),
    ];
  });
  const head = h("tr", {}, ...["account", "entry", "kernels", "ns", "share"].map((title, i) => h("th", { scope: "col", class: i > 1 ? "number" : null }, title)));
  return h("table", {}, h("caption", {}, h("bdi", {}, run.name)), h("thead", {}, head), h("tbody", {}, ...body));
}

const OPEN = [
  ["Not attributed to an operator", (point) => ["unattributed", "before_recording"].includes(point.attribution)],
  ["Not priced: no bytes known", (point) => point.dram_bytes_source === "none"],
  ["Priced with low confidence", (point) => point.confidence === "low" && point.dram_bytes_source !== "none"],
];

function drawNamed(points) {
  const whole = sum(points, "duration_ns");
  const open = new Set([...$("ledger-named").querySelectorAll("details[open]")].map((fold) => fold.dataset.key));
  renew($("ledger-named"), ...OPEN.map(([title, fits]) => {
    const found = points.filter(fits);
    if (!found.length) return h("p", { class: "note" }, `${title}: nothing.`);
    const names = stack(found, (point) => point.operator || shortOf(point.kernel), "duration_ns", Infinity);
    const rows = names.map((name) => h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, name.name)), h("td", { class: "number" }, count(sum(name.own, "launches"))), h("td", { class: "number" }, duration(name.total)), h("td", { class: "number" }, percent(name.total / whole))));
    const says = `${title}: ${duration(sum(found, "duration_ns"))}, ${percent(sum(found, "duration_ns") / whole)}, ${plural(names.length, "name")}`;
    return h("details", { class: "named", "data-key": title, open: open.has(title) }, h("summary", {}, says), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": title }, h("table", {}, h("caption", { class: "unseen" }, title), h("tbody", {}, ...rows))));
  }));
}
