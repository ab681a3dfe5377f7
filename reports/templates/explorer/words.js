// The words of a verdict, from rows of sql/verdict.sql. A piece is a text, or a text with what a click on it opens.
const STEP_CAUSES = {
  host: "waits for the host", synchronisation: "the host waits for it", dependency: "waits for another stream", replay: "between nodes of a graph", unknown: "cause unknown",
};
const onCpu = (run) => run.on_cpu;
const hostNs = (row) => row.host_ns + row.synchronisation_ns;
// A launch takes microseconds: in gaps of over 1 ms the host does something else.
const launchesLate = (row) => row.long_gap_share > 0.5;
const oneByOne = (row) => row.launches > 1 && row.replayed_share < 0.5 && !launchesLate(row);
const waitsForDevice = (row) => row.synchronisation_ns > 0.5 * hostNs(row);
const unsure = (row) => row.bound === "host" && row.confidence === "low";

function kindName(row) {
  if (row.scope === "trace") return "whole trace";
  return [...new Set([row.phase, row.kind].filter(Boolean))].join(" · ") || "step";
}

const badgeOf = (row) => (row.bound === "unknown" ? "bound unknown" : unsure(row) ? "host-bound under the profiler" : `${row.bound}-bound`);
const badge = (run, row) => (onCpu(run) ? "on the CPU" : badgeOf(row));

function headline(run, row) {
  const name = kindName(row);
  const subject = row.scope === "trace" ? "The trace covers" : name === "trace" ? "The whole trace takes" : name === "step" ? "A step takes" : `${/^[aeiou]/i.test(name) ? "An" : "A"} ${clip(name, 40)} step takes`;
  const time = `${subject} ${duration(row.step_ns)}${row.basis === "trace" && row.scope === "step" && !onCpu(run) ? " under the profiler" : ""}`;
  if (onCpu(run)) return [time, "; operators run for ", [`${duration(row.work_ns)} (${percent(row.work_ns / row.step_ns)})`, "families"], " of it, on the host alone", ...heaviestWords(row, ": ")];
  const works = ["; the device works ", [`${duration(row.work_ns)} (${percent(row.work_ns / row.step_ns)})`, "timeline"], " of it"];
  if (row.bound === "device") return [time, ...works, ...heaviestWords(row, ": ")];
  return [time, ...works, ...waitWords(row), ...heaviestWords(row, ". Of the device's time ")];
}

function waitWords(row) {
  if (row.bound === "unknown" && !(row.idle_ns > 0.01 * row.step_ns)) return row.diagnosis ? [`; ${row.diagnosis.replace(/^unknown: /, "")}`] : [];
  if (row.bound === "unknown") return [` and idles ${duration(row.idle_ns)}: `, [idleWords(row), "timeline"]];
  if (row.diagnosis && row.diagnosis.includes("between steps")) return [" and then waits ", [`${duration(row.between_ns)} for the next step`, "timeline"], " to begin"];
  if (waitsForDevice(row)) return [" and idles because ", ["the host waits for it", "timeline"], " before the host launches on"];
  if (row.replayed_share >= 0.5) return [" and waits for the host ", ["between replays of graphs", "timeline"]];
  return [" and waits for ", ["the host", "timeline"], oneByOne(row) ? `, which launches ${count(Math.round(row.launches))} kernels one by one` : ""];
}

// The causes of at least a tenth of idle time each.
const OTHER_CAUSES = ["dependency", "replay", "unknown"];
function idleWords(row, keys = Object.keys(STEP_CAUSES)) {
  const causes = keys.map((cause) => [STEP_CAUSES[cause], row[`${cause}_ns`] || 0]).filter(([, ns]) => ns > 0.1 * sum(keys.map((cause) => ({ ns: row[`${cause}_ns`] || 0 })), "ns")).sort((a, b) => b[1] - a[1]);
  return causes.map(([name, ns]) => (causes.length > 1 ? `${name} ${duration(ns)}` : name)).join(", ") || "the trace shows no cause";
}

const ROOF_NAMES = { compute: "compute", dram: "DRAM", l2: "L2" };
// Of at least four fifths of its roof a kernel is at its roof: what is left is noise, clocks and the ends of kernels.
const atRoof = (row) => row.roof_fraction >= 0.8 && row.nearest_roof in ROOF_NAMES;
const ofRoof = (row) => (row.roof_fraction == null || !(row.nearest_roof in ROOF_NAMES) ? "" : row.roof_fraction > 1.05 ? `above the ${ROOF_NAMES[row.nearest_roof]} roof` : `${wholePercent(row.roof_fraction)} of the ${ROOF_NAMES[row.nearest_roof]} roof`);

// What shortens a family at its roof.
const AT_ROOF = { compute: "only fewer FLOPs or a lower precision shorten it", dram: "only fewer bytes shorten it: fusion, smaller types, reuse", l2: "only fewer bytes from L2 shorten it: larger tiles, fusion" };

// The family with the most time, how near it is to its roof, and why.
function heaviestWords(row, before) {
  const [family] = row.families || [];
  if (!family || !row.work_ns) return ["."];
  const certain = family.roofed > 0.95 && ofRoof(family);
  const where = certain ? `, ${family.roof_fraction > 1.05 ? "" : "at "}${ofRoof(family)}` : "";
  const isolated = () => { state.families = new Set([family.family]); state.picked = []; return "roofline"; };
  // the time of a collective ends with the last rank
  const waits = family.family === "communication" ? ": it holds the wait for the other ranks" : "";
  const words = [before, [family.family, isolated], ` takes ${wholePercent(family.time_ns / row.work_ns)}${where}${waits}`];
  const power = certain && family.nearest_roof === "compute" && atRoof(family) && capped(row);
  if (power) words.push(" and ", [power, "telemetry"]);
  if (certain && atRoof(family) && row.bound === "device") words.push(`: ${AT_ROOF[family.nearest_roof]}`);
  else if (certain && explained(family)) words.push(`: ${reasonOf(family)}`);
  return [...words, "."];
}

// One kind of several: of those that are not shown, what takes most of their time too.
function kindWords(run, row, shown) {
  const [family] = row.families || [];
  if (shown || !family || !row.work_ns) return duration(row.step_ns);
  const where = family.roofed > 0.95 && ofRoof(family) ? ` at ${ofRoof(family).replace("above", "over")}` : "";
  const why = where && !atRoof(family) && explained(family) ? `: ${reasonOf(family)}` : "";
  return `${duration(row.step_ns)} · ${badge(run, row)} · ${family.family} ${wholePercent(family.time_ns / row.work_ns)}${where}${why}`;
}

const wholePercent = (share) => (share > 0 && share < 0.005 ? "<1 %" : percent(Math.round(share * 100) / 100));
// A distance from the roof is no reason for itself.
function reasonOf({ cause, diagnosis, diagnosed_share }) {
  if (!cause && diagnosis === "far from its roof") return null;
  const reason = cause === "helper" ? "helper kernels beside the main ones of the operator" : diagnosis;
  return reason && diagnosed_share < 0.95 ? `${reason} (${wholePercent(diagnosed_share)} of the loss)` : reason;
}
// A cause is that of a family if at least half of its loss has it.
const explained = (family) => family.cause && family.diagnosed_share >= 0.5;

// The power cap holds for a run if it lowered the clock in at least half of its samples, below the run's highest clock.
function capped({ power_samples: samples, capped_samples: held, capped_w, capped_hz, highest_hz }) {
  if (!held || held < 2 || held < 0.5 * samples || capped_hz > 0.97 * highest_hz) return null;
  const at = [capped_w && `${digits(Math.round(capped_w))} W`, capped_hz && si(capped_hz, "Hz")].filter(Boolean).join(", ");
  return `at the power cap in ${count(held)} of ${plural(samples, "sample")}${at && ` (${at})`}`;
}

// Ridgeline counts by CUPTI: on NVIDIA's devices alone.
const cannotCount = (run) => /^(AMD|Intel)\b/.test(DATA.machines[run.machine].device);

// What a run lacks and how to see more: pieces with the share of time that each is about, by which they are ordered. A message
// without a share counts as a twentieth of the time; what lacks outside of these steps alone comes last.
const NO_OPERATOR = ["recording", "replays", "operators"];
function coverageWords(run, row) {
  const weight = (source, message) => Math.min(Number((/([\d.]+) ?%/.exec(message) || [0, 5])[1]) / 100, NO_OPERATOR.includes(source) ? row.no_operator : 1);
  const lines = (WARNINGS_OF.get(run.id) || []).map(({ source, message }) => [weight(source, message), message, "ledger"]);
  const predicted = [["a cache model", row.by_cache_model], ["compulsory bytes", row.by_compulsory]].filter(([, share]) => share > 0.05);
  if (!onCpu(run) && predicted.length) lines.push([0.2, `DRAM bytes are predicted by ${predicted.map(([name, share]) => `${name} for ${wholePercent(share)} of the time`).join(", by ")}${cannotCount(run) ? ", and Ridgeline reads no counters of this device" : ": record on the GPU with --counters"}`, "bytes"]);
  const roofs = DATA.roofs[run.roofs];
  if (roofs.length && !roofs.some((roof) => roof.source === "measured")) lines.push([0.1, "the roofs are the datasheet's, which no kernel reaches: measure them with `ridgeline ceilings`", "roofline"]);
  if (!onCpu(run) && row.scope === "step" && row.basis === "trace") lines.push([unsure(row) ? 1 : 0.15, "no step was timed without the profiler: `ridgeline record --timed N`", "timings"]);
  return lines.sort((a, b) => b[0] - a[0]).map(([, text, target]) => [[`${text[0].toUpperCase()}${text.slice(1)}.`, target]]);
}

// One line about the sources of the numbers, with the shares of device time that they leave open.
function sourceWords(row) {
  if (row.no_operator == null) return `No kernel of the ${row.scope} takes any time.`;
  const share = (value) => percent(Math.round(value * 1000) / 1000);
  const bytes = [["counters", row.by_counter], ["a cache model", row.by_cache_model], ["compulsory", row.by_compulsory]].filter(([, value]) => value >= 0.005).map(([name, value]) => `${name} ${share(value)}`);
  const open = [["no operator", row.no_operator], ["no price", row.no_price], ["no module", row.no_module]].filter(([, value]) => value >= 0.0005).map(([name, value]) => `${name} ${share(value)}`);
  return `DRAM bytes: ${bytes.join(", ") || "unknown"}. ${open.length ? `Open: ${open.join(", ")}.` : `All time of the ${row.scope} has operator, price and module.`}`;
}
