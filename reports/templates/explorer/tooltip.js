// The facts about a mark: in brief under the pointer, in full after a click.
function facts(point) {
  const total = sum(chosenRuns(), "device_time_ns");
  const roof = point.roofed_ns < point.duration_ns && point.roofed_ns ? `, for the ${percent(point.roofed_ns / point.duration_ns)} of its time with a roof` : "";
  const partly = point.priced_ns && point.priced_ns < point.duration_ns ? `, known for ${percent(point.priced_ns / point.duration_ns)} of its time` : "";
  const floor = floorNs();
  const mean = point.duration_ns / point.launches;
  const source = (chosen, own) => (state[chosen] === "best" ? spoken(own || "none") : SOURCES[state[chosen]]);
  return [
    ["run", chosenRuns().length > 1 ? RUNS.get(point.run_id).name : null],
    ["operator", point.operator],
    ["shapes", point.shapes && clip(point.shapes, 120)],
    ["module", point.module],
    ["phase", point.phase ? phaseOf(point) : null],
    ["launches", count(point.launches) + (point.modules > 1 ? ` in ${plural(point.modules, "module")}` : "")],
    ["time", `${duration(point.duration_ns)}, ${percent(point.duration_ns / total)} of device time${point.launches > 1 ? `; mean ${duration(mean)}, ${duration(point.shortest_ns)} to ${duration(point.longest_ns)}` : ""}`],
    ["FLOPs", point.flops == null ? "unknown" : `${si(point.flops, "FLOP")}, ${source("flops", point.flops_source)}`],
    ["DRAM bytes", point.dram_bytes == null ? "unknown" : `${si(point.dram_bytes, "B")}, ${source("bytes", point.dram_bytes_source)}${partly}`],
    ["by source", spread(point)],
    ["L2, L1 bytes", [point.l2_bytes, point.l1_bytes].filter((bytes) => bytes != null).map((bytes) => si(bytes, "B")).join(", ")],
    ["confidence", point.confidence],
    ["unit", [point.precision, point.unit].filter(Boolean).join(" ")],
    ["intensity", point.intensity == null || !point.flops ? null : `${digits(point.intensity)} FLOP/B of ${LEVELS[state.level] || "DRAM"}`],
    ["achieved", [point.flops ? si(point.flops_per_s, "FLOP/s") : "", point.bytes_per_s ? si(point.bytes_per_s, "B/s") : ""].filter(Boolean).join(" · ")],
    ["of its roof", point.roof_fraction == null ? null : `${percent(point.roof_fraction)} (${point.nearest_roof})${roof}${point.bound === "none" ? "" : `; bound by ${point.bound}`}${point.lost_ns == null ? "" : `, ${duration(point.lost_ns)} lost`}`],
    ["launch floor", floor && mean < 4 * floor ? `${duration(floor)}: its launches are ${digits(mean / floor)} times the shortest possible` : null],
    ["off the frame", point.edge ? `beyond the ${point.edge} edge` : null],
    ["diagnosis", point.diagnosis],
  ].filter(([, value]) => value);
}

// The byte sources side by side, if there are several.
function spread(point) {
  const known = BYTES.filter((name) => point[`${name}_bytes`] != null).map((name) => `${SOURCES[name]} ${si(point[`${name}_bytes`], "B")}`);
  return known.length > 1 ? known.join(" · ") : null;
}

const list = (rows) => h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
const heading = (title, family) => h("h3", {}, family ? h("i", { style: { background: familyOf(family).color } }) : null, title);

function showTooltip(mark, event, figure) {
  if (mark == null) return;
  const { point } = mark;
  const body = point ? [heading(point.short, point.family), list(facts(point))] : [heading(mark.title, mark.family), list(mark.rows)];
  if (mark.others) body.push(h("p", { class: "note" }, `and ${plural(mark.others, "overlapping point")}`));
  if (point && figure) drawSpread(figure, point);
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
  $("spread").hidden = true;
}

// A bar from the fewest to the most bytes of all sources: the places that the point would have by each.
function drawSpread(figure, point) {
  const bar = $("spread");
  const known = BYTES.filter((name) => point[`${name}_bytes`]).map((name) => [name, place(point.flops, point[`${name}_bytes`], point.duration_ns).x]);
  bar.hidden = known.length < 2 || point.place === "none" || figure.id === "bytes-figure";
  if (bar.hidden) return;
  const { xaxis, yaxis } = figure._fullLayout;
  const box = figure.getBoundingClientRect();
  const across = known.map(([, x]) => xaxis._offset + xaxis.l2p(Math.log10(x)));
  const up = yaxis._offset + (point.place === "lane" ? yaxis.d2p(point.family) : yaxis.l2p(Math.log10(point.y)));
  const [low, high] = [Math.min(...across), Math.max(...across)];
  Object.assign(bar.style, { left: `${box.left + low}px`, top: `${box.top + up}px`, width: `${Math.max(high - low, 1)}px` });
  bar.replaceChildren(...known.map(([name], i) => h("i", { style: { left: `${across[i] - low}px` } }, h("span", {}, SOURCES[name]))));
}

function clicked(mark, event) {
  if (mark == null || !mark.where) return;
  pick(mark.title || mark.point.short, mark.where, adding(event));
  if (mark.point && state.picked.length) showDetail(mark.point);
  else hideDetail();
  hideTooltip();
  render();
}

function showDetail(point) {
  const close = h("button", { type: "button", class: "close", "aria-label": "Close", onclick: hideDetail }, "×");
  const rows = facts(point).filter(([name]) => name !== "run").map(([name, value]) => [name, name === "shapes" ? point.shapes : value]);
  rows.push(["attribution", point.attribution], ["run", `${RUNS.get(point.run_id).name} (${point.run_id})`]);
  const full = point.kernel && h("details", { open: point.kernel.length < 400 }, h("summary", {}, "full name"), h("code", { class: "full" }, point.kernel));
  $("detail").replaceChildren(close, heading(point.short, point.family), list(rows), ...(full ? [full] : []));
  $("detail").hidden = false;
}

function hideDetail() {
  $("detail").hidden = true;
}
