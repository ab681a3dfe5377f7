// What is said of a mark: briefly under the pointer, in full on a click.
function facts(point) {
  const run = RUNS.get(point.run_id);
  const achieved = (amount, unit) => si((amount / point.duration_ns) * 1e9, unit);
  const sourced = (text, source) => `${text}, ${source}`;
  return [
    ["run", state.runs.size > 1 ? run.name : null],
    ["operator", point.operator],
    ["shapes", point.operands],
    ["phase", point.phase ? phaseOf(point) : null],
    ["launches", count(point.launches) + (point.modules ? ` in ${plural(point.modules, "module")}` : "")],
    ["time", `${duration(point.duration_ns)}, ${percent(point.duration_ns / run.device_time_ns)} of the run; median ${duration(point.median_ns)}`],
    ["FLOPs", point.flops == null ? "unknown" : sourced(si(point.flops, "FLOP"), point.flops_source)],
    ["DRAM bytes", point.dram_bytes == null ? "unknown" : sourced(si(point.dram_bytes, "B"), point.dram_bytes_source)],
    ["confidence", point.confidence],
    ["unit", [point.precision, point.unit].filter(Boolean).join(" ")],
    ["intensity", point.flops && point.dram_bytes ? `${digits(point.flops / point.dram_bytes)} FLOP/B` : null],
    ["achieved", [point.flops ? achieved(point.flops, "FLOP/s") : "", point.dram_bytes ? achieved(point.dram_bytes, "B/s") : ""].filter(Boolean).join(" · ")],
    ["of its roof", point.roof_time_ns == null ? null : `${percent(point.roof_time_ns / point.duration_ns)}, bound by ${point.bound}`],
    ["off the frame", point.edge ? `beyond the ${point.edge} edge` : null],
    ["diagnosis", point.diagnosis],
  ].filter(([, value]) => value);
}

const list = (rows) => h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
const heading = (title, family) => h("h3", {}, family ? h("i", { style: { background: familyOf(family).color } }) : null, title);

function showTooltip(mark, event) {
  if (mark == null) return;
  const point = typeof mark === "number" ? POINTS[mark] : null;
  const body = point ? [heading(point.short, point.family), list(facts(point))] : [heading(mark.title, mark.family), list(mark.rows)];
  const tip = $("tooltip");
  tip.replaceChildren(...body);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 18 + width > innerWidth ? event.clientX - width - 18 : event.clientX + 18;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  tip.style.top = `${Math.max(8, Math.min(event.clientY - height / 3, innerHeight - height - 8))}px`;
}

function hideTooltip() {
  $("tooltip").hidden = true;
}

function showDetail(mark) {
  if (typeof mark !== "number") return;
  const point = POINTS[mark];
  const close = h("button", { type: "button", class: "close", "aria-label": "Close", onclick: hideDetail }, "×");
  const rows = facts(point).filter(([name]) => name !== "run").map(([name, value]) => [name, name === "shapes" ? point.shapes : value]);
  rows.push(["attribution", point.attribution], ["run", `${RUNS.get(point.run_id).name} (${point.run_id})`]);
  const full = h("details", { open: point.kernel.length < 400 }, h("summary", {}, "full name"), h("code", { class: "full" }, point.kernel));
  $("detail").replaceChildren(close, heading(point.short, point.family), list(rows), full);
  $("detail").hidden = false;
  hideTooltip();
}

function hideDetail() {
  $("detail").hidden = true;
}
