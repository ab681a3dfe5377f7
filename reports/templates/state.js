// The data, decoded, and what of them is chosen.
const DATA = JSON.parse($("data").textContent);
const FAMILIES = Object.keys(DATA.families);
const OTHER = DATA.families.other;
const familyOf = (name) => DATA.families[name] || OTHER;
const familyOrder = (name) => (FAMILIES.includes(name) ? FAMILIES.indexOf(name) : FAMILIES.length - 1);

function decode(columns) {
  const names = Object.keys(columns);
  const read = names.map((name) => {
    const column = columns[name];
    return Array.isArray(column) ? column : column.codes.map((code) => (code < 0 ? null : column.values[code]));
  });
  const length = read.length ? read[0].length : 0;
  return Array.from({ length }, (_, i) => Object.fromEntries(names.map((name, c) => [name, read[c][i]])));
}

const RUNS = new Map(DATA.runs.map((run) => [run.id, run]));
const POINTS = decode(DATA.points);
const MODULES = decode(DATA.modules);
POINTS.forEach((point, i) => { point.index = i; });

const state = { runs: new Set(), phase: null, families: new Set(), allRoofs: false };

const phaseOf = (row) => [row.phase, row.kind].filter(Boolean).join(" · ") || "no phase";
const group = () => DATA.groups[RUNS.get([...state.runs][0]).group];
const chosenRuns = () => DATA.runs.filter((run) => state.runs.has(run.id));
const inRuns = (row) => state.runs.has(row.run_id);
const inPhase = (row) => state.phase === null || phaseOf(row) === state.phase;
const inFamily = (row) => state.families.size === 0 || state.families.has(row.family);
const chosen = (rows) => rows.filter((row) => inRuns(row) && inPhase(row) && inFamily(row));

// The first run with the most device time under known roofs, or, where there is none, with the most device time.
function defaultRun() {
  const roofed = new Map([...groupBy(POINTS, (point) => point.run_id)].map(([id, own]) => [id, sum(own.filter((point) => point.place === "roofline"), "duration_ns")]));
  const score = (run) => [DATA.groups[run.group].has_roofs ? roofed.get(run.id) || 0 : 0, run.device_time_ns];
  return DATA.runs.reduce((best, run) => {
    const [a, b] = [score(run), score(best)];
    return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]) ? run : best;
  }, DATA.runs[0]);
}

// One device at a time: its roofs are the frame. `add` keeps runs of the same device.
function chooseRun(id, add) {
  const run = RUNS.get(id);
  const together = add && [...state.runs].every((other) => RUNS.get(other).group === run.group);
  if (together && state.runs.has(id) && state.runs.size > 1) state.runs.delete(id);
  else if (together) state.runs.add(id);
  else state.runs = new Set([id]);
  const phases = new Set(POINTS.filter(inRuns).map(phaseOf));
  if (!phases.has(state.phase)) state.phase = null;
}

// #roofline shows the roofline alone; #roofline&run=NAME&theme=dark chooses too.
const FRAGMENT = new URLSearchParams(location.hash.slice(1));

function chooseFromFragment() {
  const wanted = FRAGMENT.getAll("run").flatMap((name) => DATA.runs.filter((run) => run.name === name || run.id === name));
  chooseRun((wanted[0] || defaultRun()).id, false);
  for (const run of wanted.slice(1)) chooseRun(run.id, true);
  if (FRAGMENT.has("roofline")) document.body.classList.add("only-roofline");
}
