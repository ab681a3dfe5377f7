// Merge launch groups into points, with the selected sources of FLOPs and bytes, and place the points.
// Everything here repeats sql/panels/points.sql; a test of the page compares the two.
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

// FLOPs, bytes, time at the roof and the nearest roof by the selected sources. A launch that has no roof by its best sources has none at all.
function price(row) {
  row.flops = row[`${state.flops}_flops`];
  row.bytes = row[`${state.bytes}_bytes`];
  if ((state.flops === "best" && state.bytes === "best") || row.basis === "communication") {
    row.roof_ns = row.best_roof_ns;
    row.roof = row.nearest_roof;
  } else {
    reprice(row);
  }
  row.lost_ns = row.basis === "roof" && row.roof_ns != null ? Math.max(row.duration_ns - row.roof_ns, 0) : null;
}

function reprice(row) {
  const known = row.best_roof_ns != null && (row.flops != null || row.bytes != null || row.l2_bytes != null);
  const time = (amount, rate) => (amount != null && rate ? (amount / rate) * 1e9 : 0);
  const [compute, dram, l2] = [time(row.flops, row.roof_flops_per_s), time(row.bytes, row.dram_bytes_per_s), time(row.l2_bytes, row.l2_bytes_per_s)];
  row.roof_ns = known ? Math.max(compute, dram, l2) : null;
  row.roof = !row.roof_ns ? "none" : row.roof_ns === compute ? "compute" : row.roof_ns === l2 ? "l2" : "dram";
}

// Only the selected runs, and only if the sources changed since their last pricing.
const pricedBy = new Map();
function repriced() {
  const sources = `${state.flops} ${state.bytes}`;
  for (const run of state.runs) {
    if (pricedBy.get(run) === sources) continue;
    (GROUPS_OF.get(run) || []).forEach(price);
    pricedBy.set(run, sources);
  }
}

// Sums as in SQL: null adds nothing, and a sum of nulls alone is null.
const SUMS = ["launches", "duration_ns", "flops", "dram_bytes", "l2_bytes", "l1_bytes", "compulsory_bytes", "cache_model_bytes", "counter_bytes", "roof_ns", "lost_ns"];
const FROM = { dram_bytes: "bytes" };
const plus = (total, value) => (value == null ? total : (total || 0) + value);
const together = (own, name) => (own.length === 1 ? own[0][name] : [...new Set(own.map((row) => row[name]).filter((value) => value != null))].sort().join(" + ") || null);

function pointOf(keys, own) {
  const point = { own, index: 0, where: Object.fromEntries(keys.map((name) => [name, own[0][name]])) };
  Object.assign(point, point.where);
  for (const name of MERGED) if (!(name in point)) point[name] = together(own, name);
  for (const name of SUMS) {
    const from = FROM[name] || name;
    let total = null;
    for (const row of own) total = plus(total, row[from]);
    point[name] = total;
  }
  Object.assign(point, { shortest_ns: Infinity, longest_ns: 0, priced_ns: 0, roofed_ns: 0 });
  for (const row of own) {
    point.shortest_ns = Math.min(point.shortest_ns, row.shortest_ns);
    point.longest_ns = Math.max(point.longest_ns, row.longest_ns);
    if (row.bytes != null) point.priced_ns += row.duration_ns;
    if (row.roof_ns != null) point.roofed_ns += row.duration_ns;
  }
  point.modules = own.length === 1 ? Number(own[0].module != null) : new Set(own.map((row) => row.module).filter((name) => name != null)).size;
  [point.nearest_roof] = weightiest(own, "roof", "roof_ns");
  point.bound = boundOf(point);
  const [diagnosis, diagnosed] = weightiest(own, "diagnosis", "launches");
  point.diagnosis = diagnosed < point.launches && diagnosis ? `${count(diagnosed)} of ${count(point.launches)} launches: ${diagnosis}` : diagnosis;
  point.roof_fraction = point.roof_ns == null || !point.roofed_ns ? null : point.roof_ns / point.roofed_ns;
  point.short = { operator: point.operator || `(${point.attribution})`, module: point.module || "(no module)" }[state.point] || shortOf(point.kernel);
  return derived(point);
}

// The value of `name` with the largest sum of `weight`, and that sum; the first by name of equals. Rows without one count not.
function weightiest(own, name, weight) {
  if (own.length === 1) return [own[0][name], own[0][weight]];
  const sums = new Map();
  for (const row of own) if (row[name] != null) sums.set(row[name], plus(sums.get(row[name]) ?? null, row[weight]));
  const ranked = [...sums].sort((a, b) => (b[1] ?? -1) - (a[1] ?? -1) || (a[0] < b[0] ? -1 : 1));
  return ranked[0] || [null, null];
}

// The roof of which the point reached at least half in all of its time, else latency if most of its time is of launches that
// are too short for any roof, else none.
function boundOf(point) {
  if (!point.duration_ns) return "none";
  if (point.roof_ns >= 0.5 * point.duration_ns) return point.nearest_roof;
  return sum(point.own.filter((row) => row.bound === "latency"), "duration_ns") >= 0.5 * point.duration_ns ? "latency" : "none";
}

function derived(point) {
  const bytes = point[LEVEL_BYTES[state.level] || "dram_bytes"];
  const rate = (amount) => (amount == null || !point.duration_ns ? null : (amount / point.duration_ns) * 1e9);
  point.intensity = point.flops != null && bytes ? point.flops / bytes : null;
  point.flops_per_s = rate(point.flops);
  point.bytes_per_s = rate(bytes);
  return Object.assign(point, placeAt(point, state.level === "all" ? "dram" : state.level));
}

// A kernel that loads past L1, as by TMA, counts hardly any bytes there, and an intensity of L1 says nothing about it.
const bypasses = (point) => point.l1_bytes != null && point.dram_bytes != null && point.l1_bytes < point.dram_bytes / 2;
const NOWHERE = { place: "none", x: null, y: null, edge: null };
const placeAt = (point, level) => (level === "l1" && bypasses(point) ? NOWHERE : place(point.flops, point[LEVEL_BYTES[level]], point.duration_ns));

// With FLOPs and bytes on the roofline, with bytes alone in the bandwidth lane.
function place(flops, bytes, ns) {
  const frame = machine().frame;
  if (!bytes || !ns) return NOWHERE;
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

function grouped(rows) {
  const keys = POINT[state.point];
  return [...groupBy(rows, (row) => keys.map((name) => row[name]).join("\u0000")).values()].map((own) => pointOf(keys, own));
}

function longestFirst(points) {
  points.sort((a, b) => b.duration_ns - a.duration_ns);
  points.forEach((point, i) => { point.index = i; });
  return points;
}

// All points of these rows, longest first.
const pointsOf = (rows) => longestFirst(grouped(rows));

// Cache of a run's points by the settings that define them. A selection that keeps or drops whole points only filters them.
const made = new Map();

function madeOf(run) {
  const key = [run, state.point, state.level, state.flops, state.bytes].join(" ");
  if (!made.has(key)) made.set(key, grouped(GROUPS_OF.get(run) || []));
  return made.get(key);
}

function chosenPoints(rows) {
  const { run_id: runs, ...where } = chosenWhere();
  if (!Object.keys(where).every((name) => POINT[state.point].includes(name))) return pointsOf(rows);
  return longestFirst(runs.flatMap(madeOf).filter(matching(where)));
}

// The longest points, up to the point at which they reach the selected share of the time.
function heaviest(points) {
  if (state.share === 1) return points;
  const limit = state.share * sum(points, "duration_ns");
  let [longer, before] = [0, null];
  let total = 0;
  return points.filter((point) => {
    if (point.duration_ns !== before) [longer, before] = [total, point.duration_ns];
    total += point.duration_ns;
    return longer < limit;
  });
}
