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
    ["of its roof", point.roof_fraction == null ? null : `${percent(point.roof_fraction)} of ${roofNamed(point, point.nearest_roof) || `its ${point.nearest_roof} roof`}${roof}${point.bound === "none" ? "" : `; bound by ${point.bound}`}${point.lost_ns == null ? "" : `, ${duration(point.lost_ns)} lost`}`],
    ["launch floor", floor && mean < 4 * floor ? `${duration(floor)}: its launches are ${digits(mean / floor)} times the shortest possible` : null],
    ["off the frame", point.edge ? `beyond the ${point.edge} edge` : null],
    ["why", whyOf(point.own)],
    ["launched as", launchedAs(point)],
  ].filter(([, value]) => value);
}

// The rates of the roofs by which launches are judged, and the amounts that they limit.
const LIMITS = { compute: ["roof_flops_per_s", "flops"], dram: ["dram_bytes_per_s", "dram_bytes"], l2: ["l2_bytes_per_s", "l2_bytes"] };

// The rate of a roof if all launches of the point have the same, else null.
function roofRateOf(point, what) {
  const [name] = LIMITS[what] || [];
  const rate = name && point.own[0][name];
  return rate && point.own.every((row) => row[name] === rate) ? rate : null;
}

// "989 TFLOP/s bf16 tensor, measured 2026-01-02"; null if the launches of the point have several such roofs.
function roofNamed(point, what) {
  const rate = roofRateOf(point, what);
  if (!rate) return null;
  const fits = (roof) => (what === "compute" ? roof.resource === "compute" && roof.unit === point.unit : roof.resource === "bandwidth" && roof.level === what);
  const own = DATA.roofs[RUNS.get(point.run_id).roofs].filter((roof) => fits(roof) && Math.abs(roof.value / rate - 1) < 1e-4); // numbers of a page are rounded
  const roof = own.find((other) => other.precision === point.precision) || own[0];
  if (!roof) return `${si(rate, what === "compute" ? "FLOP/s" : "B/s")} ${LEVELS[what] || what}`;
  const name = what === "compute" ? [roof.precision, roof.unit].filter(Boolean).join(" ") : LEVELS[what];
  return `${si(rate, what === "compute" ? roof.unit_of_value : "B/s")} ${name}, ${roof.source}${roof.measured_on ? ` ${roof.measured_on}` : ""}`;
}

// For each roof the share that the point reached of it in all of its time.
function levels(point) {
  return Object.entries(LIMITS).flatMap(([what, [, amount]]) => {
    const named = point[amount] && point.duration_ns && point.basis !== "communication" ? roofNamed(point, what) : null;
    return named ? [[`of ${LEVELS[what] || what}`, `${percent((point[amount] / point.duration_ns) * 1e9 / roofRateOf(point, what))} of ${named}`]] : [];
  });
}

// The diagnosis of most launches, after the cause that belongs to it.
function whyOf(own) {
  const [diagnosis] = weightiest(own, "diagnosis", "launches");
  const row = diagnosis && own.find((other) => other.diagnosis === diagnosis);
  return [row && row.cause ? spoken(row.cause) : null, diagnosisOf(own)].filter(Boolean).join(": ");
}

// What Kineto writes about the launches of the point: one value, or the least and the largest.
const GEOMETRY = [["grid_blocks", (value) => plural(value, "block")], ["block_threads", (value) => `${count(value)} threads each`], ["registers", (value) => `${count(value)} registers a thread`], ["shared_bytes", (value) => `${si(value, "B")} shared a block`], ["occupancy", (value) => `occupancy ${percent(value)}, estimated`]];

function launchedAs(point) {
  const parts = GEOMETRY.flatMap(([name, show]) => {
    const values = point.own.map((row) => row[name]).filter((value) => value != null);
    if (!values.length) return [];
    const [low, high] = [least(values), most(values)];
    return low === high ? show(high) : `${digits(name === "occupancy" ? low * 100 : low)} to ${show(high)}`;
  });
  return parts.join(", ");
}

// The byte sources side by side, if there are several.
function spread(point) {
  const known = BYTES.filter((name) => point[`${name}_bytes`] != null).map((name) => `${SOURCES[name]} ${si(point[`${name}_bytes`], "B")}`);
  return known.length > 1 ? known.join(" · ") : null;
}

const heading = (title, family) => h("h3", {}, family ? h("i", { style: { background: familyOf(family).color } }) : null, title);

function showTooltip(mark, event, figure) {
  if (mark == null) return;
  const { point } = mark;
  const body = point ? [heading(point.short, point.family), list(facts(point))] : [heading(mark.title, mark.family), list(mark.rows)];
  if (point && figure) body.push(...beneath(figure, point, event));
  if (mark.others) body.push(h("p", { class: "note" }, `and ${plural(mark.others, "overlapping point")}`));
  if (point && figure) { drawSpread(figure, point); drawDrop(figure, point); }
  showBeside(event, ...body);
}

function hideTooltip() {
  $("tooltip").hidden = true;
  $("spread").hidden = true;
  $("drop").hidden = true;
}

// The other marks that lie under the pointer, longest first.
function beneath(figure, point, event) {
  if (!(figure.id in { "roofline-figure": 1, "lane-figure": 1 }) || event.clientX == null) return [];
  const { xaxis, yaxis } = figure._fullLayout;
  const box = figure.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left - xaxis._offset, event.clientY - box.top - yaxis._offset];
  const own = figure.data.filter((trace) => trace.mode === "markers" && !trace.meta).flatMap(({ customdata, marker, x: across, y: along }) => customdata.filter((mark, i) => {
    const radius = Math.max(Math.sqrt(marker.size[i] / 2 / marker.sizeref), marker.sizemin);
    return mark.point !== point && Math.hypot(xaxis.d2p(across[i]) - x, yaxis.d2p(along[i]) - y) <= radius;
  })).map((mark) => mark.point).sort((a, b) => b.duration_ns - a.duration_ns);
  if (!own.length) return [];
  const rest = own.length > 5 ? [["", `and ${count(own.length - 5)} more`]] : [];
  return [h("p", { class: "note" }, "Also under the pointer:"), list([...own.slice(0, 5).map((other) => [clip(other.short, 40), duration(other.duration_ns)]), ...rest])];
}

// The line from the point up to its roof, and how many times higher that is.
function drawDrop(figure, point) {
  const line = $("drop");
  const drop = figure.id === "roofline-figure" ? dropOf(point) : null;
  line.hidden = !drop;
  if (!drop) return;
  const { xaxis, yaxis } = figure._fullLayout;
  const box = figure.getBoundingClientRect();
  const [from, to] = [drop.from, drop.to].map((value) => Math.max(yaxis.l2p(Math.log10(value)), 0));
  Object.assign(line.style, { left: `${box.left + xaxis._offset + xaxis.l2p(Math.log10(drop.x))}px`, top: `${box.top + yaxis._offset + to}px`, height: `${from - to}px` });
  line.replaceChildren(h("span", {}, drop.says));
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
  if (mark.point && state.picked.length) showDetail(mark.point, event.clientX > innerWidth / 2);
  else hideDetail();
  hideTooltip();
  render();
}

const FACT_TERMS = { FLOPs: "FLOP sources", "DRAM bytes": "byte sources", confidence: "confidence", intensity: "intensity", "of its roof": "roof fraction", "launch floor": "latency-bound", why: "cause" };

// What had the focus when the details opened: a figure, or a row, which each drawing makes anew.
let openedFrom = null;

// On the side of the page where the point does not lie.
function showDetail(point, left = false) {
  if (!$("detail").contains(document.activeElement)) openedFrom = document.activeElement;
  const close = h("button", { type: "button", class: "close", "aria-label": "Close", onclick: hideDetail }, "×");
  const rows = facts(point).filter(([name]) => name !== "run").map(([name, value]) => [name, name === "shapes" ? point.shapes : value]);
  rows.push(...levels(point), ["attribution", point.attribution], ["run", `${RUNS.get(point.run_id).name} (${point.run_id})`]);
  const full = point.kernel && h("details", { open: point.kernel.length < 400 }, h("summary", {}, "full name"), h("code", { class: "full" }, point.kernel));
  $("detail").replaceChildren(close, heading(point.short, point.family), list(rows, FACT_TERMS), ...(full ? [full] : []));
  $("detail").classList.toggle("left", left);
  $("detail").hidden = false;
}

function hideDetail() {
  const held = $("detail").contains(document.activeElement);
  $("detail").hidden = true;
  if (!held) return;
  const { key } = openedFrom.dataset;
  const origin = openedFrom.isConnected ? openedFrom : [...$("table-body").children].find((row) => row.dataset.key === key);
  if (origin) origin.focus({ preventScroll: true });
}
