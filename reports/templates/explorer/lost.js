// Time lost against the roof, ranked, and what a step would gain at the roof. Guessed prices and communication lose no time:
// their time stands apart, hatched, and in no total.
const ITEMS = {
  operator: { of: (row) => row.operator || `(${row.attribution})`, where: (row) => (row.operator ? { operator: row.operator } : { operator: null, attribution: row.attribution }), sql: "COALESCE(operator, '(' || attribution || ')')" },
  module: { of: (row) => row.module || "(no module)", where: (row) => ({ module: row.module }), sql: "COALESCE(module, '(no module)')" },
  family: { of: (row) => row.family, where: (row) => ({ family: row.family }), sql: "family" },
  step: { of: (row) => row.kind || row.phase || "(no step)", where: (row) => ({ phase: row.phase, kind: row.kind }), sql: "COALESCE(kind, phase, '(no step)')" },
};
const MOST_LOST = 14;
const TERMS = { lost: "lost", cause: "cause", "worth to a step": "worth" };
const BESIDE = { guess: "at guessed prices", communication: "of communication", "no roof": "without a known roof" };
const stepsKey = (row) => [row.run_id, row.phase || "", row.kind || ""].join("\u0000");
const DIAGNOSIS = new Map(DATA.step_diagnosis.map((row) => [stepsKey(row), row]));

function lostItems(rows) {
  const { of } = ITEMS[state.lost];
  const groups = groupBy(rows, (row) => [row.run_id, of(row), row.phase, row.step_phase, row.kind, row.basis].join("\u0000"));
  const items = [...groups.values()].map((own) => {
    const [cause] = weightiest(own, "diagnosis", "lost_ns");
    const item = { own, cause, item: of(own[0]), ...ITEMS[state.lost].where(own[0]), run_id: own[0].run_id, phase: own[0].phase, step_phase: own[0].step_phase, kind: own[0].kind, basis: own[0].basis };
    for (const name of ["launches", "duration_ns", "lost_ns"]) item[name] = own.reduce((total, row) => plus(total, row[name]), null);
    return Object.assign(item, saved(item));
  });
  return items.sort((a, b) => (a.lost_ns == null) - (b.lost_ns == null) || b.lost_ns - a.lost_ns || b.duration_ns - a.duration_ns);
}

// By how much one step of the kind could become shorter (Amdahl) if `ns` of it were saved: by nothing while it waits for the host.
function saved(item) {
  // A kernel of training has a phase of its own, which its step does not have.
  const step = DIAGNOSIS.get(stepsKey({ ...item, phase: item.step_phase }));
  if (item.lost_ns == null) return { saved_ns: null, worth: "unknown: no certain roof" };
  if (!step) return { saved_ns: null, worth: "unknown: no step" };
  const ns = (item.lost_ns / step.steps) * Math.min(1, step.device_time_ns ? step.step_ns / step.device_time_ns : 1);
  const saved_ns = step.bound === "device" ? ns : step.bound === "host" && step.confidence === "high" ? 0 : null;
  return { saved_ns, step_ns: step.step_ns, worth: worthOf(step, ns) };
}

function worthOf(step, ns) {
  if (step.bound === "host" && step.confidence === "high") return "nothing while the step is host-bound";
  if (step.bound === "host") return "unknown: the trace alone does not say whether the step is host-bound";
  if (step.bound !== "device") return "unknown: the step waits, and not for the host alone";
  return `at most ${duration(ns)} of a step of ${duration(step.step_ns)}, ${percent(ns / step.step_ns)}`;
}

function drawLost(rows) {
  const known = rows.filter((row) => row.lost_ns != null);
  const roofed = rows.some((row) => row.roof_ns != null);
  const beside = Object.entries(BESIDE).map(([basis, name]) => ({ name, where: { basis }, total: sum(rows.filter((row) => row.basis === basis), "duration_ns") })).filter((bar) => roofed && bar.total);
  const bars = drawBars("lost-figure", known, ITEMS[state.lost].of, "lost_ns", ITEMS[state.lost].where, 16, beside);
  const items = lostItems(rows).filter((item) => item.lost_ns > 0);
  const all = sum(items, "lost_ns");
  let so_far = 0;
  const several = chosenRuns().length > 1;
  const body = items.slice(0, MOST_LOST).map((item, i) => {
    so_far += item.lost_ns;
    const cells = [[String(i + 1), true], [clip(item.item, 44)], [phaseOf(item)], [duration(item.lost_ns), true], [percent(item.lost_ns / item.duration_ns), true], [percent(so_far / all), true], [clip(item.cause || "", 90)], [item.worth]];
    if (several) cells.splice(2, 0, [clip(RUNS.get(item.run_id).name, 28)]);
    return h("tr", {}, ...cells.map(([text, number]) => h("td", { class: number ? "number" : null }, h("bdi", {}, text))));
  });
  const titles = ["rank", state.lost, ...(several ? ["run"] : []), "phase", "lost", "of its time", "cumulative", "cause", "worth to a step"];
  const numbers = new Set(["rank", "lost", "of its time", "cumulative"]);
  renew($("lost-table"), h("thead", {}, h("tr", {}, ...titles.map((title) => h("th", { scope: "col", class: numbers.has(title) ? "number" : null }, title, TERMS[title] ? termButton(TERMS[title]) : null)))), h("tbody", {}, ...body));
  $("lost-table").hidden = !body.length;
  const says = bars.length ? [`${duration(all)} of ${duration(sum(rows, "duration_ns"))}`] : [known.length ? "Nothing here is below its roof" : roofed ? "No kernel here has a roof by a certain price" : "No kernel here has a known roof"];
  if (items.length > MOST_LOST) says.push(`the first ${MOST_LOST} of ${count(items.length)} are listed, the rest lose ${duration(all - so_far)}`);
  if (beside.length) says.push(`hatched is time, not loss, and in no total: ${beside.map(({ total, name }) => `${duration(total)} ${name}`).join(", ")}`);
  $("lost-note").textContent = `${says.join("; ")}.`;
}
