// One step, kernel by kernel, and the causes of the gaps between kernels.
const CAUSES = { host_late: "red", synchronisation: "orange", launch_latency: "gold", dependency: "lavender", replay: "sky", unknown: "grey" };
const causeColor = (cause) => ink(CAUSES[cause] || "slate");
const CAUSE_SAYS = {
  host_late: "the host called too late", synchronisation: "the host was waiting for the device", launch_latency: "the launch call itself",
  dependency: "waiting for another stream", replay: "between nodes of a graph", unknown: "launched in time or not recorded: the trace shows no cause",
};
const stepKey = (step) => `${step.run_id}/${step.step_id}`;
const EVENTS_OF = groupBy(rowsOf(tableOf(DATA.timeline)), stepKey);

const stepChoices = () => chosenRuns().flatMap((run) => DATA.steps.filter((step) => step.run_id === run.id)).filter((step) => !state.phase || phaseOf(step) === state.phase);

const stepsDrawn = () => stepChoices().filter((step) => EVENTS_OF.has(stepKey(step)));

// The requested step; if it is not in the selection, the longest.
function stepShown() {
  const drawn = stepsDrawn();
  return drawn.find((step) => state.step === stepKey(step)) || drawn.reduce((best, step) => (!best || step.wall_ns > best.wall_ns ? step : best), null);
}

function drawTimeline() {
  const choices = stepChoices();
  const shown = stepsDrawn();
  const step = stepShown();
  const name = (own) => [phaseOf(own), own.step == null ? null : `step ${own.step}`, chosenRuns().length > 1 ? clip(RUNS.get(own.run_id).name, 40) : null].filter(Boolean).join(", ");
  $("step").replaceChildren(...shown.map((own) => h("option", { value: stepKey(own), selected: own === step }, name(own))));
  $("step").parentElement.hidden = shown.length < 2;
  $("timeline-figure").hidden = !step;
  $("timeline-legend").hidden = !step;
  if (!step) {
    $("timeline-note").textContent = choices.length ? "The page has no room for timelines of these runs: report fewer runs with --run." : "These runs have no labelled steps, so there is no timeline.";
    return;
  }
  const events = EVENTS_OF.get(stepKey(step));
  const kernels = events.filter((event) => event.cause == null);
  const gaps = events.filter((event) => event.cause != null);
  const lanes = ["gaps", ...new Set(kernels.map((event) => laneOf(event)))];
  const layout = painted(DATA.plain);
  Object.assign(layout, { height: 110 + 42 * lanes.length, barmode: "overlay", bargap: 0.25, dragmode: "zoom", margin: { l: 8, r: 16, t: 6, b: 40 } });
  Object.assign(layout.xaxis, { ticksuffix: "s", tickformat: "~s", range: [0, step.wall_ns / 1e9], title: { ...layout.xaxis.title, text: "from the step's first kernel" } });
  Object.assign(layout.yaxis, { tickvals: lanes.map((_, i) => i), ticktext: lanes.map(escaped), range: [lanes.length - 0.5, -0.5], fixedrange: true, showgrid: false, ticksuffix: "  " });
  const bars = (title, color, own, lane, opacity) => ({
    type: "bar", orientation: "h", name: escaped(title), hoverinfo: "none", marker: { color, line: { width: 0 }, opacity },
    base: own.map((event) => event.at_ns / 1e9), x: own.map((event) => event.duration_ns / 1e9), y: own.map(lane), customdata: own.map(eventMark),
  });
  const byFamily = [...groupBy(kernels, (event) => event.family)].sort((a, b) => familyOrder(a[0]) - familyOrder(b[0]));
  const byCause = [...groupBy(gaps, (event) => event.cause)];
  const dim = (own) => (state.picked.length || state.families.size ? own.map((event) => (isShown(event, step) ? 1 : 0.12)) : 1);
  draw("timeline-figure", [
    ...byFamily.map(([family, own]) => bars(family, familyOf(family).color, own, (event) => lanes.indexOf(laneOf(event)), dim(own))),
    ...byCause.map(([cause, own]) => bars(cause, causeColor(cause), own, () => 0, 1)),
  ], layout, { tools: true });
  drawGaps(step, byCause, kernels);
}

const laneOf = (event) => `stream ${event.stream ?? "?"}`;
const isShown = (event, step) => (!state.families.size || state.families.has(event.family)) && (state.picked.length === 0 || state.picked.some(({ where }) => matching(Object.fromEntries(Object.entries(where).filter(([name]) => name in event || name === "phase" || name === "kind")))(Object.assign(Object.create(event), { phase: step.phase, kind: step.kind }))));

function eventMark(event) {
  if (event.cause == null) {
    const where = Object.fromEntries(["kernel", "operator", "shapes", "module"].map((name) => [name, event[name]]));
    return { title: shortOf(event.kernel), family: event.family, where, rows: [["operator", event.operator || `(${event.attribution})`], ["shapes", event.shapes && clip(event.shapes, 120)], ["module", event.module], ["at", duration(event.at_ns)], ["time", duration(event.duration_ns)]].filter(([, value]) => value) };
  }
  const parts = [["waiting for the device", event.sync_ns], ["elsewhere on the host", event.host_ns], ["in the launch call", event.call_ns], ["queued", event.queue_ns]].filter(([, ns]) => ns);
  return { title: `gap: ${spoken(event.cause)}`, rows: [["", CAUSE_SAYS[event.cause] || ""], ["at", duration(event.at_ns)], ["time", duration(event.duration_ns)], ...parts.map(([what, ns]) => [what, duration(ns)])] };
}

function drawGaps(step, byCause, kernels) {
  const item = (color, text, ns) => h("span", {}, h("i", { class: "square", style: { background: color } }), text, h("small", {}, `${duration(ns)}, ${percent(ns / step.wall_ns)}`));
  const sorted = byCause.map(([cause, own]) => [cause, sum(own, "duration_ns")]).sort((a, b) => b[1] - a[1]);
  $("timeline-legend").replaceChildren(item(ink("quiet"), "busy", step.busy_ns), ...sorted.map(([cause, ns]) => item(causeColor(cause), `${spoken(cause)}: ${CAUSE_SAYS[cause] || ""}`, ns)));
  const kind = DIAGNOSIS.get(stepsKey(step));
  const says = [`${plural(kernels.length, "kernel")} in ${duration(step.wall_ns)} under the profiler`, step.steps > 1 ? `nearest to the median of ${count(step.steps)} steps of its kind` : "the only step of its kind"];
  if (kind && kind.unprofiled_ns != null) says.push(`${duration(kind.unprofiled_ns)} without the profiler`);
  if (kind) says.push(kind.diagnosis);
  const missing = stepChoices().filter((other) => !EVENTS_OF.has(stepKey(other))).length;
  if (missing) says.push(`${plural(missing, "kind")} of step of these runs did not fit into the page: report fewer runs with --run`);
  $("timeline-note").textContent = `${says.join("; ")}.`;
}
