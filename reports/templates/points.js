// From launches that are alike to points: by what they go together, with which FLOPs and bytes, and where they stand.
// Everything here is what sql/panels/points.sql says; the page's test compares the two.
const POINT = {
  launch: ["run_id", "phase", "kind", "family", "operator", "shapes", "kernel", "module", "unit", "precision", "attribution", "confidence", "flops_source", "dram_bytes_source", "launch"],
  shape: ["run_id", "phase", "kind", "family", "operator", "shapes", "kernel", "unit", "precision", "attribution", "confidence", "flops_source", "dram_bytes_source"],
  operator: ["run_id", "phase", "kind", "family", "operator"],
  module: ["run_id", "phase", "kind", "family", "module"],
};
const MERGED = ["unit", "precision", "attribution", "confidence", "flops_source", "dram_bytes_source"];
const merged = () => MERGED.filter((name) => !POINT[state.point].includes(name));
const LEVELS = { dram: "DRAM", l2: "L2", l1: "L1" };
const LEVEL_BYTES = { dram: "dram_bytes", l2: "l2_bytes", l1: "l1_bytes" };
const SOURCES = { best: "best known", counter: "counter", cache_model: "cache model", compulsory: "compulsory", algorithm: "algorithm" };
const BYTES = ["counter", "cache_model", "compulsory"];

// FLOPs, bytes, and time at the roof by the chosen sources. A launch without a roof by its best sources has none by any.
function price(row) {
  row.flops = row[`${state.flops}_flops`];
  row.bytes = row[`${state.bytes}_bytes`];
  if (state.flops === "best" && state.bytes === "best") {
    row.roof_ns = row.best_roof_ns;
    row.lost_ns = row.best_lost_ns;
    return;
  }
  const known = row.best_roof_ns != null && (row.flops != null || row.bytes != null || row.l2_bytes != null);
  const time = (amount, rate) => (amount != null && rate ? (amount / rate) * 1e9 : 0);
  row.roof_ns = known ? Math.max(time(row.flops, row.roof_flops_per_s), time(row.bytes, row.dram_bytes_per_s), time(row.l2_bytes, row.l2_bytes_per_s)) : null;
  row.lost_ns = known ? Math.max(row.duration_ns - row.roof_ns, 0) : null;
}

const repriced = () => ALIKE.forEach(price);
repriced();

const SUMS = ["launches", "duration_ns", "flops", "dram_bytes", "l2_bytes", "l1_bytes", "compulsory_bytes", "cache_model_bytes", "counter_bytes", "roof_ns", "lost_ns"];
const FROM = { dram_bytes: "bytes" };
const plus = (total, value) => (value == null ? total : (total || 0) + value);
const together = (own, name) => [...new Set(own.map((row) => row[name]).filter((value) => value != null))].sort().join(" + ") || null;

function pointOf(keys, own) {
  const point = { own, index: 0, where: Object.fromEntries(keys.map((name) => [name, own[0][name]])) };
  Object.assign(point, point.where);
  for (const name of MERGED) if (!(name in point)) point[name] = together(own, name);
  for (const name of SUMS) point[name] = own.reduce((total, row) => plus(total, row[FROM[name] || name]), null);
  point.modules = new Set(own.map((row) => row.module).filter(Boolean)).size;
  point.shortest_ns = Math.min(...own.map((row) => row.shortest_ns));
  point.longest_ns = Math.max(...own.map((row) => row.longest_ns));
  point.priced_ns = sum(own.filter((row) => row.bytes != null), "duration_ns");
  point.roofed_ns = sum(own.filter((row) => row.roof_ns != null), "duration_ns");
  const most = (name) => own.reduce((best, row) => (row[name] != null && (!best || row.duration_ns > best.duration_ns) ? row : best), null)?.[name] ?? null;
  point.bound = most("bound");
  point.diagnosis = most("diagnosis");
  point.roof_fraction = point.roof_ns == null || !point.roofed_ns ? null : point.roof_ns / point.roofed_ns;
  point.short = { operator: point.operator || `(${point.attribution})`, module: point.module || "(no module)" }[state.point] || shortOf(point.kernel);
  return derived(point);
}

function derived(point) {
  const bytes = point[LEVEL_BYTES[state.level] || "dram_bytes"];
  const rate = (amount) => (amount == null || !point.duration_ns ? null : (amount / point.duration_ns) * 1e9);
  point.intensity = point.flops != null && bytes ? point.flops / bytes : null;
  point.flops_per_s = rate(point.flops);
  point.bytes_per_s = rate(bytes);
  return Object.assign(point, place(point.flops, bytes, point.duration_ns));
}

// By arithmetic where there are FLOPs and bytes, by bandwidth where there are bytes only.
function place(flops, bytes, ns) {
  const frame = group().frame;
  if (!bytes || !ns) return { place: "none", x: null, y: null, edge: null };
  if (!flops) {
    const [x, edge] = within((bytes / ns) * 1e9, frame.bytes_per_s, "left", "right");
    return { place: "lane", x, y: null, edge };
  }
  const [x, across] = within(flops / bytes, frame.intensity, "left", "right");
  const [y, along] = within((flops / ns) * 1e9, frame.flops_per_s, "bottom", "top");
  return { place: "roofline", x, y, edge: along || across };
}

function within(value, decades, low, high) {
  const exponent = Math.log10(value);
  if (exponent < decades[0]) return [10 ** decades[0], low];
  if (exponent > decades[1]) return [10 ** decades[1], high];
  return [value, null];
}

// Every point of these rows, the longest first.
function pointsOf(rows) {
  const keys = POINT[state.point];
  const points = [...groupBy(rows, (row) => keys.map((name) => row[name]).join("\u0000")).values()].map((own) => pointOf(keys, own));
  points.sort((a, b) => b.duration_ns - a.duration_ns);
  points.forEach((point, i) => { point.index = i; });
  return points;
}

// Those that make up the chosen share of the time: the longest ones, up to the one that reaches it.
function heaviest(points) {
  const limit = state.share * sum(points, "duration_ns");
  let [longer, before] = [0, null];
  let total = 0;
  return points.filter((point) => {
    if (point.duration_ns !== before) [longer, before] = [total, point.duration_ns];
    total += point.duration_ns;
    return longer < limit;
  });
}
