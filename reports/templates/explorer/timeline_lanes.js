// The timeline's data: for each run its lanes, and for each lane its events in order of time, in rows where they overlap.
// Times are ns from the first event of the run.
let TIMELINE = null;
const LANES_OF = new Map();

async function unpackTimeline() {
  const { events, overview, ...rest } = await inflated("timeline-data").json();
  TIMELINE = { ...rest, events: unpackedParts(events), overview: unpackedParts(overview) };
}

// The values that all events of a packed row share, and the lists of their times.
function unpackedParts({ keys, times }) {
  const value = (column, at) => (column == null ? null : Array.isArray(column) ? column[at] : column.values[column.codes[at]]);
  const names = Object.keys(keys);
  return groupBy(times.start_ns.map((_, at) => ({
    what: Object.fromEntries(names.map((name) => [name, value(keys[name], at)])),
    times: Object.fromEntries(Object.entries(times).map(([name, lists]) => [name, lists[at]])),
  })), (part) => part.what.run_id);
}

// An activity's thread is that of its launch.
const laneKey = ({ lane, rank, device_index, stream, thread }) => [lane, rank, device_index, stream, lane === "thread" ? thread : null].join("\u0000");

// The lanes of a run, those of a device before the threads of the host, and of each kind the busiest first.
function lanesOf(id) {
  if (LANES_OF.has(id)) return LANES_OF.get(id);
  const lanes = new Map();
  const laneOf = (what) => {
    const key = laneKey(what);
    if (!lanes.has(key)) lanes.set(key, { key, ...what, parts: [], bins: [], launches: [] });
    return lanes.get(key);
  };
  for (const part of TIMELINE.overview.get(id) || []) laneOf(part.what).bins.push(part);
  for (const part of TIMELINE.events.get(id) || []) laneOf(part.what).parts.push(part);
  for (const part of TIMELINE.events.get(id) || []) {
    if (part.times.since_launch_ns) laneOf({ lane: "thread", run_id: id, rank: part.what.rank, device_index: null, stream: null, thread: part.what.thread }).launches.push(part);
  }
  const own = [...lanes.values()].map(filledLane).sort((a, b) => laneOrder(a) - laneOrder(b) || a.rank - b.rank || a.device_index - b.device_index || b.covered_ns - a.covered_ns || (a.key < b.key ? -1 : 1));
  LANES_OF.set(id, own);
  return own;
}

const LANE_KINDS = ["step", "gap", "stream", "thread"];
// The gaps of a device stand above its streams.
const laneOrder = (lane) => LANE_KINDS.indexOf(lane.lane === "gap" ? "stream" : lane.lane) + (lane.lane === "gap" ? -0.5 : 0);

function filledLane(lane) {
  const events = columnsOf(lane.parts, (part) => part.times.duration_ns);
  lane.rows = stacked(events);
  lane.overview = columnsOf(lane.bins, (part) => part.times.start_ns.map(() => part.what.bin_ns), (part) => part.times.covered_ns);
  lane.launches = columnsOf(lane.launches, (part) => part.times.launch_duration_ns || part.times.start_ns.map(() => 0), null, (part) => part.times.since_launch_ns);
  lane.covered_ns = lane.rows.length ? covered(lane.rows[0]) : sumOf(lane.overview.busy);
  return lane;
}

const sumOf = (values) => values.reduce((a, b) => a + b, 0);
const covered = ({ start, end }) => start.reduce((total, from, i) => total + end[i] - from, 0);

// Events of several parts in order of time, the longer of two first: start, end, part and place in the part's lists. `before`
// shifts each start back; an event whose shift is unknown is left out. `busy` is the time that a bin covers.
function columnsOf(parts, durations, busy = null, before = null) {
  const rows = [];
  for (const part of parts) {
    const lengths = durations(part);
    const shifts = before && before(part);
    const filled = busy && busy(part);
    let at = 0;
    part.times.start_ns.forEach((step, i) => {
      at += step;
      if (shifts && shifts[i] == null) return;
      const start = shifts ? at - shifts[i] : at;
      rows.push([start, start + (lengths[i] || 0), part, i, filled ? filled[i] : 0]);
    });
  }
  rows.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  return rowOf(rows);
}

// `until` is the latest end so far, by which the first event in sight is found.
function rowOf(rows) {
  const row = { start: new Float64Array(rows.length), end: new Float64Array(rows.length), until: new Float64Array(rows.length), busy: new Float64Array(rows.length), parts: [], part: new Uint32Array(rows.length), place: new Uint32Array(rows.length) };
  const known = new Map();
  let until = -Infinity;
  rows.forEach(([start, end, part, place, busy], i) => {
    if (!known.has(part)) { known.set(part, known.size); row.parts.push(part); }
    until = Math.max(until, end);
    row.start[i] = start; row.end[i] = end; row.until[i] = until; row.busy[i] = busy; row.part[i] = known.get(part); row.place[i] = place;
  });
  return row;
}

// Each event in the first row that is free: nested operators come to lie under the operator that calls them.
function stacked(events) {
  const rows = [];
  const until = [];
  for (let i = 0; i < events.start.length; i += 1) {
    let at = until.findIndex((end) => end <= events.start[i]);
    if (at < 0) at = until.length;
    until[at] = events.end[i];
    (rows[at] || (rows[at] = [])).push([events.start[i], events.end[i], events.parts[events.part[i]], events.place[i], 0]);
  }
  return rows.map(rowOf);
}

// The first event that ends after a moment; events from there on may be in sight.
function firstAfter({ until }, moment) {
  let [low, high] = [0, until.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (until[middle] > moment) high = middle; else low = middle + 1;
  }
  return low;
}

// Stretches of a run's time between two moments: `detail` where the page has every event, else bins.
function segmentsOf(id, from, to) {
  const segments = [];
  let at = from;
  for (const [run, start, end] of TIMELINE.stretches) {
    if (run !== id || end <= at || start >= to) continue;
    if (start > at) segments.push({ from: at, to: start, detail: false });
    segments.push({ from: Math.max(at, start), to: Math.min(end, to), detail: true });
    at = Math.min(end, to);
  }
  if (at < to) segments.push({ from: at, to, detail: false });
  // Nothing lies outside of the trace.
  const { length_ns } = TIMELINE.runs[id];
  return segments.filter((segment) => segment.detail || (segment.from < length_ns && segment.to > 0));
}

const eventAt = (row, i) => {
  const part = row.parts[row.part[i]];
  const time = (name) => { const list = part.times[name]; return list ? list[row.place[i]] : null; };
  return { part, place: row.place[i], what: part.what, start: row.start[i], end: row.end[i], time };
};
