// The verdict: for each chosen run where the time of a step goes, its largest losses, and what the numbers rest on.
const WHOLE_VERDICTS = 3;
const MOST_LOSSES = 3;
// An idle device waits for the host alike if the host calls late and while it launches.
for (const row of DATA.verdict) row.host_ns = (row.host_late_ns || 0) + (row.launch_latency_ns || 0);
const VERDICTS_OF = groupBy(DATA.verdict, (row) => row.run_id);
const WARNINGS_OF = groupBy(DATA.warnings, (row) => row.run_id);
const verdictKey = (row) => [row.scope, row.phase, row.kind].filter((part) => part != null).join(":");

state.verdict = null;
rememberChoice("verdict", "verdict", (text) => DATA.verdict.some((row) => verdictKey(row) === text));

// The kind that the toolbar selects, else the clicked one, else the one with most time.
function verdictShown(run) {
  const rows = VERDICTS_OF.get(run.id) || [];
  return (state.phase && rows.find((row) => row.scope === "step" && phaseOf(row) === state.phase)) || rows.find((row) => verdictKey(row) === state.verdict) || rows[0];
}

// Drawn anew only where it says something else, or at another width, so that the keyboard's focus stays.
let verdictDrawn = "";
let verdictWidth = 0;
function drawVerdict() {
  const runs = chosenRuns();
  const says = JSON.stringify([runs.map((run) => [run.id, verdictShown(run) && verdictKey(verdictShown(run))]), verdictWidth, theme]);
  if (says === verdictDrawn) return;
  verdictDrawn = says;
  const rest = runs.slice(WHOLE_VERDICTS);
  renew($("verdict-runs"), ...runs.slice(0, WHOLE_VERDICTS).map((run) => verdictOf(run, runs.length > 1)), ...(rest.length ? [compactVerdicts(rest)] : []));
}
// The observer knows the width without another layout of the page.
new ResizeObserver(([{ contentRect }]) => { verdictWidth = contentRect.width; if (verdictDrawn) drawVerdict(); }).observe($("verdict-runs"));

// Open what a statement speaks of: `target` is the panel's id, or changes the selection and returns it.
function openPanel(target, row) {
  const chosen = () => JSON.stringify([[...state.families], state.picked, state.step, timeline.view]);
  const before = chosen();
  const id = typeof target === "function" ? target() : target;
  if (id === "timeline" && row) showInTimeline(row);
  if (before !== chosen()) render();
  if (!$(id).hidden) $(id).scrollIntoView({ block: "start" });
}

function showInTimeline(row) {
  const step = DATA.steps.find((own) => row.scope === "step" && own.run_id === row.run_id && own.phase === row.phase && own.kind === row.kind);
  state.step = step ? stepKey(step) : WHOLE;
  timeline.view = null;
}

const pieces = (words, row) => words.filter(Boolean).map((piece) => (Array.isArray(piece) && piece[1] ? h("button", { type: "button", class: "link", onclick: () => openPanel(piece[1], row) }, piece[0]) : Array.isArray(piece) ? piece[0] : piece));

function verdictOf(run, several) {
  const name = several ? h("h3", {}, h("bdi", { title: run.name }, clip(run.name, 90))) : null;
  const row = verdictShown(run);
  if (!row) return h("article", { class: "about" }, name, h("p", { class: "says" }, ...pieces(nothingWords(run))));
  return h("article", { class: "about" }, name, h("p", { class: "says" }, h("strong", {}, badge(run, row)), " ", ...pieces(headline(run, row), row)), kindChoices(run, row), ...stepBar(run, row),
    h("div", { class: "why" }, lossTable(run, row), coverage(run, row)));
}

// A run without any kernel: what happened, and what to do next.
function nothingWords(run) {
  if (run.outcome === "oom") return [`Out of memory${run.message ? `: ${run.message}` : ""}. Next: a smaller batch or context, or memory that other processes hold; \`ridgeline capture\` tries again once more is free.`];
  if (run.outcome !== "ok") return [`Failed: ${run.message || run.outcome}. Nothing of this run was measured.`];
  if (run.device_time_ns) return ["Neither the trace nor a timing says how long a step of this run takes."];
  const [warning] = WARNINGS_OF.get(run.id) || [];
  return [warning ? `No device activity: ${warning.message}.` : "No device activity: record with activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]."];
}

function kindChoices(run, shown) {
  const rows = VERDICTS_OF.get(run.id);
  if (rows.length < 2) return null;
  const choose = (row) => { state.verdict = verdictKey(row); state.phase = null; render(); };
  return h("p", { class: "kinds", role: "group", "aria-label": "Kind of step" }, ...rows.map((row) => h("button", { type: "button", title: kindWords(run, row, false), "aria-pressed": String(row === shown), onclick: () => choose(row) }, clip(kindName(row), 40), h("small", {}, kindWords(run, row, row === shown)))));
}

// The parts of a step, in the order of the bar: key, name, whether the device works, and what a click opens.
const PARTS = [
  ["at_roof", "at the roof", true, "roofline"], ["lost", "lost below the roof", true, "lost"], ["guess", "guessed price", true, "ledger"], ["communication", "over links", true, "ledger"],
  ["no_roof", "no price or roof", true, "ledger"], ...Object.entries(STEP_CAUSES).map(([cause, name]) => [cause, `idle: ${name}`, false, "timeline"]), ["other", "other work", false, "timeline"],
];

function partsOf(run, row) {
  const parts = PARTS.map(([key, name, busy, target]) => ({ key, name: key === "other" && onCpu(run) ? "outside operators" : name, busy, target, ns: row[`${key}_ns`] || 0 }));
  // idle time without any recorded gap
  const left = (row.idle_ns || 0) - sum(parts.filter((part) => part.key in STEP_CAUSES), "ns");
  parts.find((part) => part.key === "unknown").ns += Math.max(left, 0);
  return parts.filter((part) => part.ns > 0.0005 * row.step_ns);
}

function stepBar(run, row) {
  const parts = partsOf(run, row);
  const fits = (part, text) => (part.ns / row.step_ns) * (verdictWidth || 1000) > 7 * text.length + 18;
  const label = (part) => [fits(part, `${part.name} ${duration(part.ns)}`) ? part.name : null, fits(part, duration(part.ns)) ? h("b", {}, duration(part.ns)) : null].filter(Boolean);
  const says = (part) => `${part.name} ${duration(part.ns)}, ${percent(part.ns / row.step_ns)}`;
  const segment = (part) => h("button", { type: "button", class: `segment ${part.busy ? "busy" : "idle"} ${part.key}`, style: { flexGrow: String(part.ns) }, title: says(part), "aria-label": says(part), onclick: () => openPanel(part.target, row) }, h("span", {}, ...label(part)));
  const small = parts.filter((part) => label(part).length < 2).map((part) => h("span", {}, h("i", { class: `segment ${part.busy ? "busy" : "idle"} ${part.key}` }), says(part)));
  return [h("div", { class: "stepbar", role: "group", "aria-label": `Time of the step, ${duration(row.step_ns)}` }, ...parts.map(segment)), ...(small.length ? [h("p", { class: "legend quiet parts" }, ...small)] : [])];
}

// Idle time of the host and of other causes, time over links, and operators below their roof: the largest first.
function lossesOf(run, row) {
  const idle = onCpu(run) ? 0 : row.idle_ns || 0;
  const host = Math.min(hostNs(row), idle);
  const others = idle - host;
  return [
    { name: "the host", ns: host, of: "device idle", why: hostWhy(row), worth: hostWorth(row, host), target: "timeline" },
    { name: "idle device", ns: others, of: "device idle", why: idleWords(row, OTHER_CAUSES), worth: "unknown", target: "timeline" },
    { name: row.link_copies_ns > 0.9 * row.communication_ns ? "copies" : "communication", ns: row.communication_ns, of: "", why: linkWhy(row), worth: "unknown", target: () => { state.picked = [{ label: "over links", where: { run_id: row.run_id, basis: "communication" } }]; return "table"; } },
    ...(row.losses || []).map((loss) => ({ name: loss.operator || shortOf(loss.kernel), family: loss.family, ns: loss.lost_ns, time: loss.time_ns, of: ofRoof(loss), why: reasonOf(loss) || (atRoof(loss) ? "at its roof" : "no cause known"), worth: lossWorth(row, loss.lost_ns), target: () => pickLoss(row, loss) })),
  ].filter((loss) => loss.ns > 0.002 * row.step_ns).sort((a, b) => b.ns - a.ns).slice(0, MOST_LOSSES);
}

function pickLoss(row, loss) {
  const where = { run_id: row.run_id, operator: loss.operator, ...(loss.operator ? {} : { kernel: loss.kernel }) };
  if (row.scope === "step") Object.assign(where, { step_phase: row.phase, kind: row.kind });
  state.picked = [{ label: loss.operator || shortOf(loss.kernel), where }];
  return "roofline";
}

function linkWhy(row) {
  if (row.pageable_ns > 0.5 * row.communication_ns) return "to or from pageable memory of the host: pin it, copy beside kernels";
  if (row.link_copies_ns > 0.9 * row.communication_ns) return "to or from the host or another device: copies beside kernels";
  return "its time holds the wait for the other ranks, which the trace of one rank does not tell apart";
}

function hostWhy(row) {
  if (waitsForDevice(row)) return "the host waits for the device: .item(), a copy to the host, or synchronize()";
  if (row.replayed_share >= 0.5) return "the device waits between replays of graphs: launch the next one earlier";
  const each = oneByOne(row) ? `${count(Math.round(row.launches))} launches, one per ${duration(row.step_ns / row.launches)}: ` : "";
  if (launchesLate(row)) return "mostly in gaps of over 1 ms, longer than a launch takes: the host does other work";
  return `${each}${row.compiled_share > 0.05 ? "compiled already: CUDA graphs" : "CUDA graphs or torch.compile"}`;
}

// The same judgement as that of `worthOf`, in fewer words.
const atMost = (row, ns) => `at most ${duration(ns)} (${percent(ns / row.step_ns)})`;
const hostWorth = (row, ns) => (unsure(row) ? "unknown until timed" : atMost(row, ns));
function lossWorth(row, ns) {
  if (row.bound === "device") return atMost(row, ns);
  if (row.bound === "host" && waitsForDevice(row)) return "unknown: the host waits for the device";
  return row.bound === "host" && !unsure(row) ? "nothing while host-bound" : row.bound === "host" ? "unknown until timed" : "unknown: the step waits";
}

const LOSS_TERMS = { "runs at": "roof fraction", why: "cause", worth: "worth" };

function lossTable(run, row) {
  const losses = lossesOf(run, row);
  if (!losses.length) return h("p", { class: "note" }, row.at_roof_ns ? "Nothing is lost: every kernel with a roof is at it." : "No kernel has a roof by a certain price, so no time counts as lost.");
  const cells = (loss) => [
    h("th", { scope: "row" }, loss.family ? h("i", { class: familyOf(loss.family).symbol, style: { background: familyOf(loss.family).color } }) : null, h("button", { type: "button", class: "link", onclick: () => openPanel(loss.target, row) }, h("bdi", {}, clip(loss.name, 32)))),
    h("td", { class: "number" }, duration(loss.ns)), h("td", {}, loss.of), h("td", { class: "wrap" }, h("span", { class: "clamped", title: loss.why }, loss.why)), h("td", {}, loss.worth),
  ];
  const head = ["largest losses", row.scope === "trace" ? "lost" : "lost a step", "runs at", "why", "worth"];
  return h("div", { class: "scroll" }, h("table", { class: "losses" }, h("thead", {}, h("tr", {}, ...head.map((title, i) => h("th", { scope: "col", class: i === 1 ? "number" : null }, title, LOSS_TERMS[title] ? termButton(LOSS_TERMS[title]) : null)))), h("tbody", {}, ...losses.map((loss) => h("tr", {}, ...cells(loss))))));
}

const SHOWN_LINES = 3;
function coverage(run, row) {
  const lines = coverageWords(run, row).map((words) => h("li", {}, ...pieces(words, row)));
  const more = lines.slice(SHOWN_LINES);
  return h("div", { class: "coverage" }, h("h3", {}, "Rests on", termButton("coverage")), h("p", {}, sourceWords(row)), lines.length ? h("h3", { class: "more" }, "To see more") : null, h("ul", {}, ...lines.slice(0, SHOWN_LINES)), more.length ? h("details", {}, h("summary", {}, `${count(more.length)} more`), h("ul", {}, ...more)) : null);
}

// A line a run; the click chooses it alone. Made when it is opened, since there may be hundreds.
function compactVerdicts(runs) {
  const line = (run) => {
    const row = verdictShown(run);
    const text = row ? pieces(headline(run, row)).map((piece) => piece.textContent ?? piece).join("") : nothingWords(run)[0];
    return h("li", {}, h("button", { type: "button", class: "link", onclick: () => { chooseRun(run.id, false); render(); } }, h("bdi", {}, clip(run.name, 60))), row ? h("strong", {}, badge(run, row)) : null, ` ${text}`);
  };
  const list = h("ul", {});
  return h("details", { class: "others", ontoggle: () => { if (!list.children.length) list.append(...runs.map(line)); } }, h("summary", {}, `and ${plural(runs.length, "more run")}`), list);
}
