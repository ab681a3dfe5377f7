// The unpacked data, and the current selection.
const DATA = await inflated("data").json();
const FAMILIES = Object.keys(DATA.families);
const familyOf = familiesOf(DATA.families);
const OTHER = familyOf("other");
const familyOrder = (name) => (FAMILIES.includes(name) ? FAMILIES.indexOf(name) : FAMILIES.length - 1);
const shortOf = (kernel) => DATA.short[kernel] || kernel || "";

const RUNS = new Map(DATA.runs.map((run) => [run.id, run]));
const GROUPS = tableOf(DATA.launch_groups);
field(GROUPS.Row, "mode", function mode() { return RUNS.get(this.run_id).mode; });
field(GROUPS.Row, "execution", function execution() { return RUNS.get(this.run_id).execution; });
const GROUPS_OF = rowsBy(GROUPS, "run_id");

// A filter is a condition: for each column the value that it must have, or a list of values that it may have. `picked` holds
// the conditions of clicked marks; a row matches if it fulfils any of them.
const state = {
  runs: new Set(), mode: null, execution: null, phase: null, precision: null, level: "dram", bytes: "best", flops: "best",
  point: "shape", share: 1, families: new Set(), picked: [], allRoofs: false, search: "", sort: ["duration_ns", -1], lost: "operator", step: null,
};

const PHASE_NAMES = new Map();
function phaseOf({ phase, kind }) {
  const own = PHASE_NAMES.get(phase) || PHASE_NAMES.set(phase, new Map()).get(phase);
  return own.get(kind) || own.set(kind, [phase, kind].filter(Boolean).join(" · ") || "no phase").get(kind);
}
const machine = () => DATA.machines[RUNS.get([...state.runs][0]).machine];
const fits = (run, name) => state[name] === null || run[name] === state[name];
const chosenRuns = () => DATA.runs.filter((run) => state.runs.has(run.id) && fits(run, "mode") && fits(run, "execution"));

// Whether a row meets a condition; whether it meets any of what was picked.
function matching(condition) {
  const tests = Object.entries(condition).map(([name, value]) => [name, Array.isArray(value) ? new Set(value) : null, value]);
  return (row) => tests.every(([name, set, value]) => (set ? set.has(row[name]) : row[name] === value));
}

function picking() {
  const tests = state.picked.map(({ where }) => matching(where));
  return (row) => tests.some((test) => test(row));
}

// The condition of the selectors, which every row of a panel fulfils, independent of clicks.
function chosenWhere() {
  const where = { run_id: chosenRuns().map((run) => run.id) };
  if (state.phase) Object.assign(where, PHASES.get(state.phase));
  if (state.precision) where.precision = state.precision;
  if (state.families.size) where.family = [...state.families];
  return where;
}

const PHASES = phasesKnown();

function phasesKnown() {
  const { phase, kind } = GROUPS.columns;
  const pairs = new Set();
  for (let at = 0; at < GROUPS.length; at += 1) pairs.add(phase.codes[at] * kind.values.length + kind.codes[at]);
  const rows = [...pairs].map((pair) => ({ phase: phase.values[Math.floor(pair / kind.values.length)], kind: kind.values[pair % kind.values.length] }));
  return new Map(rows.map((row) => [phaseOf(row), row]));
}

function chosenRows({ families = true, precision = true } = {}) {
  const { run_id: runs, ...where } = chosenWhere();
  if (!precision) delete where.precision;
  if (!families) delete where.family;
  const own = runs.flatMap((id) => GROUPS_OF.get(id) || []);
  return Object.keys(where).length ? own.filter(matching(where)) : own;
}

// A click selects one mark alone, or deselects it; with `add` the mark is added to the others, or removed from them.
function pick(label, where, add) {
  const key = JSON.stringify(where);
  const had = state.picked.findIndex((other) => JSON.stringify(other.where) === key);
  if (add && had >= 0) state.picked.splice(had, 1);
  else if (add) state.picked.push({ label, where });
  else state.picked = had >= 0 && state.picked.length === 1 ? [] : [{ label, where }];
}

// The run with the most device time under known roofs; without any roofs, with the most device time.
function defaultRun() {
  const { run_id: runs, best_flops: flops, best_bytes: bytes, duration_ns: time } = GROUPS.columns;
  const times = new Float64Array(runs.values.length);
  for (let at = 0; at < GROUPS.length; at += 1) if (flops.numbers[at] > 0 && bytes.numbers[at] > 0) times[runs.codes[at]] += time.numbers[at];
  const roofed = new Map(runs.values.map((id, code) => [id, times[code]]));
  const score = (run) => [DATA.machines[run.machine].has_roofs ? roofed.get(run.id) || 0 : 0, run.device_time_ns];
  return DATA.runs.reduce((best, run) => {
    const [a, b] = [score(run), score(best)];
    return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]) ? run : best;
  }, DATA.runs[0]);
}

// One device at a time, because its roofs define the axes. `add` keeps the selected runs of the same device.
function chooseRun(id, add) {
  const run = RUNS.get(id);
  const together = add && [...state.runs].every((other) => RUNS.get(other).machine === run.machine);
  if (together && state.runs.has(id) && state.runs.size > 1) state.runs.delete(id);
  else if (together) state.runs.add(id);
  else state.runs = new Set([id]);
  settle();
}

// Reset selectors whose value the selected runs do not have.
function settle() {
  const runs = DATA.runs.filter((run) => state.runs.has(run.id));
  for (const name of ["mode", "execution"]) if (!runs.some((run) => run[name] === state[name])) state[name] = null;
  const own = chosenRuns().flatMap((run) => GROUPS_OF.get(run.id) || []);
  if (!own.some((row) => phaseOf(row) === state.phase)) state.phase = null;
  if (!own.some((row) => row.precision === state.precision)) state.precision = null;
  if (state.picked.length && !own.some(picking())) state.picked = [];
}
