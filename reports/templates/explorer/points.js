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

// FLOPs, bytes, time at the roof, the nearest roof and the time lost of every launch group by the selected sources. A launch
// that has no roof by its best sources has none at all.
const priced = { by: null };
for (const name of ["flops", "bytes", "roof_ns", "lost_ns"]) field(GROUPS.Row, name, function read() { const value = priced[name][this.at]; return Number.isNaN(value) ? null : value; });
field(GROUPS.Row, "roof", function read() { return priced.roofs ? priced.roofs[this.at] : this.nearest_roof; });

const groupNumbers = (name) => GROUPS.columns[name].numbers;

function repriced() {
  const sources = `${state.flops} ${state.bytes}`;
  if (priced.by === sources) return;
  const best = state.flops === "best" && state.bytes === "best";
  Object.assign(priced, { by: sources, flops: groupNumbers(`${state.flops}_flops`), bytes: groupNumbers(`${state.bytes}_bytes`), roof_ns: groupNumbers("best_roof_ns"), roofs: null });
  if (!best) Object.assign(priced, nearest());
  const { codes, values } = GROUPS.columns.basis;
  const judged = values.indexOf("roof");
  const time = groupNumbers("duration_ns");
  priced.lost_ns = time.map((ns, at) => (codes[at] === judged ? Math.max(ns - priced.roof_ns[at], 0) : NaN));
}

// By other sources than the best. A roof without an amount or a rate takes no time.
function nearest() {
  const [best, peak, dram, l2, l2Bytes] = ["best_roof_ns", "roof_flops_per_s", "dram_bytes_per_s", "l2_bytes_per_s", "l2_bytes"].map(groupNumbers);
  const { basis, nearest_roof: roof } = GROUPS.columns;
  const communication = basis.values.indexOf("communication");
  const roofs = new Array(GROUPS.length);
  const time = (amount, rate) => (rate > 0 ? (amount / rate) * 1e9 || 0 : 0);
  const roof_ns = best.map((ns, at) => {
    if (basis.codes[at] === communication) { roofs[at] = roof.values[roof.codes[at]]; return ns; }
    const known = !Number.isNaN(ns) && [priced.flops, priced.bytes, l2Bytes].some((amounts) => !Number.isNaN(amounts[at]));
    const times = { compute: time(priced.flops[at], peak[at]), l2: time(l2Bytes[at], l2[at]), dram: time(priced.bytes[at], dram[at]) };
    const longest = Math.max(times.compute, times.l2, times.dram);
    roofs[at] = (known && longest && ["compute", "l2", "dram"].find((name) => times[name] === longest)) || "none";
    return known ? longest : NaN;
  });
  return { roof_ns, roofs };
}

// Sums as in SQL: null adds nothing, and a sum of nulls alone is null.
const SUMS = ["launches", "duration_ns", "flops", "dram_bytes", "l2_bytes", "l1_bytes", "compulsory_bytes", "cache_model_bytes", "counter_bytes", "roof_ns", "lost_ns"];
const plus = (total, value) => (value == null ? total : (total || 0) + value);
const together = (own, name) => (own.length === 1 ? own[0][name] : [...new Set(own.map((row) => row[name]).filter((value) => value != null))].sort().join(" + ") || null);

function total(own, numbers) {
  let so_far = null;
  for (const { at } of own) if (!Number.isNaN(numbers[at])) so_far = (so_far || 0) + numbers[at];
  return so_far;
}

// A point of the launch groups `own`. Sums that place it are made at once, everything that only a table or a tooltip shows
// when it is read.
class Point {
  constructor(own) {
    Object.assign(this, { own, row: own[0], index: 0, picked: false, share: 0 });
    this.launches = total(own, GROUPS.columns.launches.numbers);
    this.duration_ns = total(own, GROUPS.columns.duration_ns.numbers);
    this.flops = total(own, priced.flops);
    this.dram_bytes = total(own, priced.bytes);
    this.l2_bytes = total(own, GROUPS.columns.l2_bytes.numbers);
    this.l1_bytes = total(own, GROUPS.columns.l1_bytes.numbers);
    this.roof_ns = total(own, priced.roof_ns);
    const { place, x, y, edge } = placeAt(this, state.level === "all" ? "dram" : state.level);
    Object.assign(this, { place, x, y, edge });
  }

  get where() { return Object.fromEntries(POINT[this.kindOfPoint].map((name) => [name, this.row[name]])); }
  get lost_ns() { return total(this.own, priced.lost_ns); }
  get shortest_ns() { return least(this.own.map((row) => row.shortest_ns)); }
  get longest_ns() { return most([0, ...this.own.map((row) => row.longest_ns)]); }
  get priced_ns() { return sum(this.own.filter((row) => row.bytes != null), "duration_ns"); }
  get roofed_ns() { return sum(this.own.filter((row) => row.roof_ns != null), "duration_ns"); }
  get modules() { return new Set(this.own.map((row) => row.module).filter((name) => name != null)).size; }
  get nearest_roof() { return weightiest(this.own, "roof", "roof_ns")[0]; }
  get bound() { return boundOf(this); }
  get roof_fraction() { const ns = this.roofed_ns; return this.roof_ns == null || !ns ? null : this.roof_ns / ns; }
  get level_bytes() { return this[LEVEL_BYTES[state.level] || "dram_bytes"]; }
  get intensity() { return this.flops != null && this.level_bytes ? this.flops / this.level_bytes : null; }
  get flops_per_s() { return rateOf(this.flops, this.duration_ns); }
  get bytes_per_s() { return rateOf(this.level_bytes, this.duration_ns); }

  get diagnosis() { return diagnosisOf(this.own); }

  get short() {
    return { operator: this.operator || `(${this.attribution})`, module: this.module || "(no module)" }[this.kindOfPoint] || shortOf(this.kernel);
  }
}

for (const name of ["compulsory_bytes", "cache_model_bytes", "counter_bytes"]) field(Point, name, function read() { return total(this.own, GROUPS.columns[name].numbers); });

const rateOf = (amount, ns) => (amount == null || !ns ? null : (amount / ns) * 1e9);

// Points of each kind have fields of their own: the columns that define them, and others merged.
const KINDS = Object.fromEntries(Object.keys(POINT).map((kind) => {
  class Kind extends Point {}
  Kind.prototype.kindOfPoint = kind;
  for (const name of POINT[kind]) field(Kind, name, function read() { return this.row[name]; });
  for (const name of MERGED) if (!POINT[kind].includes(name)) field(Kind, name, function read() { return together(this.own, name); });
  return [kind, Kind];
}));

// The value of `name` with the largest sum of `weight`, and that sum; the first by name of equals. Rows without one count not.
function weightiest(own, name, weight) {
  if (own.length === 1) return [own[0][name], own[0][weight]];
  const sums = new Map();
  for (const row of own) if (row[name] != null) sums.set(row[name], plus(sums.get(row[name]) ?? null, row[weight]));
  const ranked = [...sums].sort((a, b) => (b[1] ?? -1) - (a[1] ?? -1) || (a[0] < b[0] ? -1 : 1));
  return ranked[0] || [null, null];
}

function diagnosisOf(own) {
  const [diagnosis, launches] = weightiest(own, "diagnosis", "launches");
  const all = sum(own, "launches");
  return launches < all && diagnosis ? `${count(launches)} of ${count(all)} launches: ${diagnosis}` : diagnosis;
}

// The roof of which the point reached at least half in all of its time, else latency if most of its time is of launches that
// are too short for any roof, else none.
function boundOf(point) {
  if (!point.duration_ns) return "none";
  if (point.roof_ns >= 0.5 * point.duration_ns) return point.nearest_roof;
  return sum(point.own.filter((row) => row.bound === "latency"), "duration_ns") >= 0.5 * point.duration_ns ? "latency" : "none";
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

// The number of the point that a launch group belongs to, by kind of point; those of a run are given when it is first chosen.
const numberings = Object.fromEntries(Object.keys(POINT).map((kind) => [kind, { ids: new Float64Array(GROUPS.length), many: 0, runs: new Set() }]));

function pointNumbers(rows) {
  const numbers = numberings[state.point];
  const { codes, values } = GROUPS.columns.run_id;
  for (const { at } of rows) if (!numbers.runs.has(codes[at])) numberRun(numbers, codes[at], GROUPS_OF.get(values[codes[at]]));
  return numbers;
}

function numberRun(numbers, run, rows) {
  const { ids, many } = numbered(POINT[state.point].map((name) => GROUPS.columns[name]), rows);
  rows.forEach(({ at }, i) => { numbers.ids[at] = numbers.many + ids[i]; });
  numbers.many += many;
  numbers.runs.add(run);
}

// All points of these rows, longest first.
function pointsOf(rows) {
  const { ids, many } = pointNumbers(rows);
  const groups = new Array(many);
  const groupsMet = [];
  for (const row of rows) {
    const own = groups[ids[row.at]];
    if (own) own.push(row);
    else groupsMet.push(groups[ids[row.at]] = [row]);
  }
  const points = groupsMet.map((own) => new KINDS[state.point](own)).sort((a, b) => b.duration_ns - a.duration_ns);
  points.forEach((point, i) => { point.index = i; });
  return points;
}

// Mark the points that have any of these rows.
function markPicked(points, rows) {
  const { ids } = pointNumbers(rows);
  const picked = new Set(rows.map((row) => ids[row.at]));
  for (const point of points) point.picked = picked.has(ids[point.row.at]);
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
