// The roofs of the chosen runs. Each run has ceilings of its own: over several runs a roof is a band, from the least to the
// largest of them. The roofs of the level whose bytes are shown are bold, those of other levels dim.
const DASH = { measured: "solid", datasheet: "dash" };

const bandsOf = new Map();

function roofBands() {
  const sets = [...new Set(chosenRuns().map((run) => run.roofs))].sort();
  const key = sets.join();
  return bandsOf.get(key) || bandsOf.set(key, bandsOver(sets.map((i) => DATA.roofs[i]))).get(key);
}

function bandsOver(sets) {
  const kinds = groupBy(sets.flat(), (roof) => [roof.resource, roof.level, roof.unit, roof.precision, roof.source].join("\u0000"));
  const bands = [...kinds.values()].map((own) => ({ ...own[0], least: least(own.map((roof) => roof.value)), value: most(own.map((roof) => roof.value)) }));
  // Peaks of one value, as bf16 and fp16 often have, are one roof.
  const alike = groupBy(bands, (roof) => [roof.resource, roof.level, roof.unit, roof.source, roof.unit_of_value, roof.least, roof.value].join("\u0000"));
  const merged = [...alike.values()].map((own) => ({ ...own[0], precisions: own.map((roof) => roof.precision || "") }));
  return merged.map((roof) => ({ ...roof, what: roofWhat(roof), rate: roofRate(roof) })).map((roof) => ({ ...roof, label: `${roof.what} ${roof.rate}, ${roof.source}` })).sort((a, b) => b.value - a.value);
}

const roofWhat = ({ resource, level, unit, precisions }) => (resource === "compute" ? [precisions.join("/"), unit].filter(Boolean).join(" ") || "compute" : LEVELS[level] || level || "memory");

function roofRate({ resource, unit_of_value, least: low, value }) {
  const [from, to] = [low, value].map((rate) => si(rate, resource === "compute" ? unit_of_value : "B/s"));
  const prefix = to.slice(to.indexOf(" "));
  return `${from === to ? "" : `${from.endsWith(prefix) ? from.slice(0, -prefix.length) : from} to `}${to}`;
}

// The time of the shortest launch of the chosen runs; null if it is unknown.
function floorNs() {
  const floors = roofBands().filter((roof) => roof.resource === "latency").map((roof) => roof.least * 1e9);
  return floors.length ? least(floors) : null;
}

const isMemory = (roof) => roof.resource === "bandwidth";
const isDim = (roof) => isMemory(roof) && state.level !== "all" && roof.level !== state.level;
const stroke = (roof) => ({ color: ink("roof"), width: (roof.source === "measured" ? 1.6 : 1.1) * (isMemory(roof) && roof.level === state.level ? 1.6 : 1), dash: DASH[roof.source] || "dot" });

// One sentence for each level that has points but no roof.
function lacking(bands, points) {
  if (!machine().has_roofs) return [];
  const levels = state.level === "all" ? Object.keys(LEVELS).filter((level) => points.some((at) => at.level === level)) : [state.level];
  const without = levels.filter((level) => !bands.some((roof) => isMemory(roof) && roof.level === level));
  return without.map((level) => `no ${LEVELS[level]} roof known: ${level === "l1" ? "none is measured" : "ridgeline ceilings measures it"}`);
}

// All memory roofs, and the compute roofs of the units and precisions shown. Memory roofs end at the highest of these.
function roofsShown(points) {
  const bands = roofBands();
  const drawn = points.filter((point) => point.place === "roofline");
  const used = new Set(drawn.flatMap((point) => (point.precision || "").split(" + ").flatMap((precision) => (point.unit || "").split(" + ").map((unit) => `${unit} ${precision}`))));
  const memory = bands.filter(isMemory);
  const peaks = bands.filter((roof) => roof.resource === "compute");
  const few = state.allRoofs ? peaks : peaks.filter((roof) => roof.precisions.some((precision) => used.has(`${roof.unit} ${precision}`)));
  const shown = few.length ? few : peaks;
  return { traces: [...memory, ...shown].map((roof) => roofLine(roof, memory, shown)), lacking: lacking(bands, points) };
}

const largestOf = (roof, others) => most((others.some((other) => other.source === roof.source) ? others.filter((other) => other.source === roof.source) : others).map((other) => other.value));

// A line, or the outline of a band: there at the largest value, and back at the least.
function roofLine(roof, memory, peaks) {
  const { intensity, flops_per_s: rates } = machine().frame;
  const inside = (x) => Math.min(Math.max(x, 10 ** intensity[0]), 10 ** intensity[1]);
  // A memory roof runs from the left or the lower edge to its ridge, a compute roof from there to the right edge.
  const ends = (value) => {
    if (isMemory(roof)) return [inside(10 ** rates[0] / value), inside(peaks.length ? largestOf(roof, peaks) / value : Infinity)];
    return [inside(memory.length ? value / largestOf(roof, memory) : 1), inside(Infinity)];
  };
  const x = ends(roof.value);
  const back = roof.least < roof.value ? [...ends(roof.least).reverse(), x[0]] : [];
  const at = (value) => (intensityAt) => (isMemory(roof) ? intensityAt * value : value);
  const y = [...x.map(at(roof.value)), ...back.slice(0, 2).map(at(roof.least)), ...(back.length ? [at(roof.value)(x[0])] : [])];
  return {
    type: "scatter", mode: "lines", name: escaped(roof.label), hoverinfo: "skip", x: [...x, ...back], y, line: stroke(roof), opacity: isDim(roof) ? 0.65 : 1,
    fill: back.length ? "toself" : "none", fillcolor: ink("band"), meta: { role: "roof", dim: isDim(roof), ...Object.fromEntries(["resource", "level", "source", "value", "least", "what", "rate"].map((name) => [name, roof[name]])) },
  };
}

// The upright roofs of the bandwidth lane: those of the level shown.
function laneRoofs() {
  const level = state.level === "all" ? "dram" : state.level;
  const own = roofBands().filter((roof) => isMemory(roof) && roof.level === level).reverse();
  return {
    shapes: own.map((roof) => ({ type: roof.least < roof.value ? "rect" : "line", name: "roof", xref: "x", yref: "paper", x0: roof.least, x1: roof.value, y0: 0, y1: 1, line: stroke(roof), fillcolor: ink("band") })),
    // The label of the lowest roof lies left of its line, the others right of theirs, so that two do not meet.
    annotations: own.map((roof, i) => roofNote(roof.label, { name: "upright", yref: "paper", x: Math.log10(i ? roof.value : roof.least), y: 1, yanchor: "bottom", xanchor: i ? "left" : "right", xshift: i ? -2 : 2 }, isDim(roof))),
  };
}
