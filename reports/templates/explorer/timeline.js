// The timeline: host threads, streams and ranks as lanes, the causes of gaps, and the launch of each activity.
const CAUSES = { host_late: "red", synchronisation: "orange", launch_latency: "gold", dependency: "lavender", replay: "sky", unknown: "grey", outside: "rule" };
const causeColor = (cause) => ink(CAUSES[cause] || "slate");
const CAUSE_SAYS = {
  host_late: "the host called too late", synchronisation: "the host was waiting for the device", launch_latency: "the launch call itself",
  dependency: "waiting for another stream", replay: "between nodes of a graph", unknown: "launched in time or not recorded: the trace shows no cause",
  outside: "before the first activity of a device or after its last",
};
const WHOLE = "whole";
const MOST_LANED = 16;
const stepKey = (step) => `${step.run_id}/${step.step_id}`;
// `view` is from and to, in ns from the first event of the run of the chosen step; null for all of what was chosen.
const timeline = { view: null, chosen: null, everyLane: false, scene: null, linked: null };

remember("time", () => (timeline.view ? timeline.view.map(Math.round).join("~") : null), (text) => {
  const view = text === null ? null : text.split("~").map(Number);
  if (view === null || (view.length === 2 && view.every(Number.isSafeInteger) && view[0] < view[1])) Object.assign(timeline, { view, chosen: null });
});

const stepChoices = () => chosenRuns().flatMap((run) => DATA.steps.filter((step) => step.run_id === run.id)).filter((step) => !state.phase || phaseOf(step) === state.phase);
const stretchOf = (step) => TIMELINE.steps[stepKey(step)];
const inDetail = (id, from, to) => segmentsOf(id, from, to).every((segment) => segment.detail);
const longestOf = (steps) => steps.reduce((best, step) => (!best || step.wall_ns > best.wall_ns ? step : best), null);

// The requested step, or null for the whole trace. By default the longest step of which the page has every event.
function stepShown() {
  if (state.step === WHOLE) return null;
  const choices = stepChoices();
  return choices.find((step) => state.step === stepKey(step)) || longestOf(choices.filter((step) => inDetail(step.run_id, ...stretchOf(step)))) || longestOf(choices);
}

// Runs beside the base run: those whose time by the clock overlaps with it, as ranks of a job do. Other runs have no common time.
function runsTogether(base, runs) {
  const clock = TIMELINE.runs[base.id].clock_ns;
  const shifts = new Map([[base.id, 0]]);
  for (const { id } of runs) {
    const own = TIMELINE.runs[id];
    const shift = own.clock_ns - clock;
    if (id !== base.id && clock != null && own.clock_ns != null && shift < TIMELINE.runs[base.id].length_ns && shift + own.length_ns > 0) shifts.set(id, shift);
  }
  return { shifts, runs: runs.filter((run) => shifts.has(run.id)).slice(0, MOST_LANED) };
}

// A drawing: its rows of lanes, its first and last moment, and the choice of the reader.
function sceneOf() {
  const recorded = chosenRuns().filter((run) => TIMELINE.runs[run.id]);
  if (!recorded.length) return null;
  const step = stepShown();
  const base = step ? RUNS.get(step.run_id) : recorded.reduce((best, run) => (run.device_time_ns > best.device_time_ns ? run : best));
  const { shifts, runs } = runsTogether(base, recorded);
  const ends = runs.map((run) => [shifts.get(run.id), shifts.get(run.id) + TIMELINE.runs[run.id].length_ns]);
  const whole = [least(ends.map(([from]) => from)), most(ends.map(([, to]) => to))];
  const stretch = step ? stretchOf(step) : whole;
  // A view belongs to the choice at its time.
  const chosen = `${base.id}/${step ? step.step_id : WHOLE}`;
  if (timeline.chosen && timeline.chosen !== chosen) timeline.view = null;
  timeline.chosen = chosen;
  const [from, to] = timeline.view || stretch;
  const limits = timeline.everyLane ? { lanes: Infinity, depth: Infinity } : { lanes: runs.length > 1 ? 3 : 5, depth: runs.length > 1 ? 2 : 6 };
  return { step, base, runs, whole, stretch, left: recorded.length - runs.length, view: { from, to, zero: stretch[0] }, shiftOf: (run) => shifts.get(run.id), lit: litBy(), ...arranged(runs, limits) };
}

// Whether an event is lit: all, until families or marks are selected. An operator is lit if it launched a lit kernel.
function litBy() {
  if (!state.families.size && !state.picked.length) return () => true;
  const family = ({ family: own }) => !state.families.size || state.families.has(own);
  const columns = ["run_id", "phase", "kind", "family", "operator", "shapes", "kernel", "module", "attribution"];
  const tests = state.picked.map(({ where }) => matching(Object.fromEntries(Object.entries(where).filter(([name]) => columns.includes(name)))));
  const stream = (what) => family(what) && (!tests.length || tests.some((test) => test({ ...what, kernel: what.name })));
  const called = ({ operator, shapes }) => `${operator} ${shapes}`;
  const operators = new Set([...TIMELINE.events.values()].flat().filter(({ what }) => what.lane === "stream" && stream(what)).map(({ what }) => called(what)));
  return (what) => {
    if (what.lane === "stream") return what.bin_ns ? family({ family: what.name }) : stream(what);
    return what.lane !== "thread" || what.bin_ns || operators.has(called(what));
  };
}

let unpacking = null;
function drawTimeline() {
  if (!TIMELINE) {
    if (!unpacking) { unpacking = unpackTimeline().then(() => { loading.delete("timeline"); redraw("timeline"); }); loading.add("timeline"); }
    return;
  }
  const scene = timeline.scene = sceneOf();
  for (const id of ["timeline-figure", "timeline-legend", "timeline-keys"]) $(id).hidden = !scene;
  $("step").parentElement.hidden = !scene;
  if (!scene) { $("timeline-note").textContent = "These runs recorded no activity: they have no timeline."; return; }
  drawStretches(scene);
  $("timeline-lanes").textContent = timeline.everyLane ? "fewer lanes" : scene.folded ? `${plural(scene.folded, "more lane")}` : "";
  $("timeline-lanes").hidden = !$("timeline-lanes").textContent;
  $("timeline-canvas").style.height = $("timeline-over").style.height = `${scene.height}px`;
  paintScene();
}

function drawStretches({ step }) {
  const several = chosenRuns().length > 1;
  const name = (own) => [own.phase || own.kind ? phaseOf(own) : null, own.step == null ? `step ${own.step_id}` : `step ${own.step}`, several ? clip(RUNS.get(own.run_id).name, 40) : null].filter(Boolean).join(", ");
  const option = (value, text, selected) => h("option", { value, selected }, text);
  $("step").replaceChildren(option(WHOLE, "whole trace", !step), ...stepChoices().map((own) => option(stepKey(own), name(own), own === step)));
}

// The part that changes with the view.
function paintScene() {
  const scene = timeline.scene;
  const shown = paintTimeline($("timeline-canvas"), scene);
  $("timeline-figure").dataset.shown = JSON.stringify(Object.fromEntries(shown));
  paintOver(null);
  const idle = idleTime(scene);
  drawIdle(scene, idle);
  $("timeline-note").textContent = `${noteOf(scene).join("; ")}.`;
  $("timeline-canvas").setAttribute("aria-label", `Timeline of ${clip(scene.base.name, 60)}, ${duration(scene.view.to - scene.view.from)}: ${idle.items.slice(0, 3).map(([name, ns]) => `${name} ${percent(ns / idle.total)}`).join(", ") || "operators of the host"}.`);
}

// Time of the devices of all runs in view: busy, and idle by cause. Gaps cover all idle time from a device's first to its last
// activity, so that the rest of that time is busy.
function idleTime({ runs, view, shiftOf }) {
  const causes = new Map();
  let [total, recorded] = [0, 0];
  for (const run of runs) {
    const [from, to] = [view.from - shiftOf(run), view.to - shiftOf(run)];
    for (const [, lanes] of groupBy(lanesOf(run.id).filter(({ lane }) => lane === "gap" || lane === "stream"), (lane) => `${lane.rank}/${lane.device_index}`)) {
      const rows = lanes.filter(({ lane }) => lane === "stream").flatMap((lane) => [...lane.rows, lane.overview]).filter((row) => row.start.length);
      if (!rows.length) continue;
      total += to - from;
      recorded += Math.max(0, Math.min(to, most(rows.map((row) => row.until.at(-1)))) - Math.max(from, least(rows.map((row) => row.start[0]))));
      for (const lane of lanes.filter((own) => own.lane === "gap")) addTimes(causes, run.id, lane, from, to);
    }
  }
  const idle = sumOf([...causes.values()]);
  const items = [...causes].sort((a, b) => b[1] - a[1]).map(([cause, ns]) => [spoken(cause), ns, cause]);
  return { total, items: total ? [["busy", recorded - idle, null], ...items, ["outside", total - recorded, "outside"]] : [] };
}

function addTimes(times, id, lane, from, to) {
  for (const segment of segmentsOf(id, from, to)) {
    for (const row of segment.detail ? lane.rows : [lane.overview]) {
      for (let i = firstAfter(row, segment.from); i < row.start.length && row.start[i] < segment.to; i += 1) {
        const own = Math.max(0, Math.min(row.end[i], segment.to) - Math.max(row.start[i], segment.from));
        const { name } = row.parts[row.part[i]].what;
        times.set(name, (times.get(name) || 0) + (row.busy[i] ? row.busy[i] * (own / (row.end[i] - row.start[i])) : own));
      }
    }
  }
}

function drawIdle(scene, { total, items }) {
  const item = ([name, ns, cause]) => h("span", {}, h("i", { class: "square", style: { background: cause ? causeColor(cause) : ink("quiet") } }), cause ? `${name}: ${CAUSE_SAYS[cause] || ""}` : name, h("small", {}, `${duration(ns)}, ${percent(ns / total)}`));
  $("timeline-legend").replaceChildren(...items.filter(([name, ns]) => ns > 0 || name === "busy").map(item));
}

function noteOf(scene) {
  const { step, runs, left, view } = scene;
  const says = [];
  if (step) {
    says.push(`${plural(step.kernels, "kernel")} in ${duration(step.wall_ns)} under the profiler`, step.steps > 1 ? `nearest to the median of ${count(step.steps)} steps of its kind` : "the only step of its kind");
    const kind = DIAGNOSIS.get(stepsKey(step));
    if (kind && kind.unprofiled_ns != null) says.push(`${duration(kind.unprofiled_ns)} without the profiler`);
    if (kind) says.push(kind.diagnosis);
  } else says.push(`${plural(sum(runs, "kernels"), "activity", "activities")} and ${plural(sumOf(runs.map((run) => TIMELINE.runs[run.id].operators)), "operator")} in ${duration(scene.whole[1] - scene.whole[0])}, the whole trace`);
  if (runs.length > 1) says.push(`${runs.length} runs by the clocks of their hosts`);
  if (left) says.push(`${plural(left, "chosen run")} ran at another time or recorded no clock, and are not shown`);
  if (runs.some((run) => !TIMELINE.runs[run.id].operators)) says.push("no operator of the host was recorded: record with ProfilerActivity.CPU");
  if (!runs.every((run) => inDetail(run.id, view.from - scene.shiftOf(run), view.to - scene.shiftOf(run)))) says.push(`parts are binned, as the page has no room for every event: ${DATA.runs.length > 1 ? "report fewer runs with --run, or " : ""}open the trace in Perfetto`);
  return says;
}

// The rows of what is in view: every event if the page has them, else the bins of the whole trace.
function timelineSql() {
  // The panel may be out of sight and not yet drawn again.
  const scene = TIMELINE && sceneOf();
  if (!scene) return "-- No timeline is drawn: scroll to it first.";
  const { runs, view, shiftOf } = scene;
  const named = (run, from, to) => { const first = BigInt(TIMELINE.runs[run.id].from_ns); return `${run.id}/${first + BigInt(Math.floor(from))}/${first + BigInt(Math.ceil(to))}`; };
  const spans = runs.map((run) => [run, view.from - shiftOf(run), view.to - shiftOf(run)]);
  if (spans.every(([run, from, to]) => inDetail(run.id, from, to))) return filled(DATA.sql["timeline/events"], { windows: listed(spans.map((span) => named(...span))) });
  return filled(DATA.sql["timeline/bins"], { windows: listed(runs.map((run) => named(run, 0, TIMELINE.runs[run.id].length_ns))), bins: String(TIMELINE.bins) });
}
