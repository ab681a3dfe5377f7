// Pointer and keys on the timeline: what lies under the pointer, zoom and pan, and the line from a launch to its activity.
const timeAt = (x) => timeline.scene.view.from + ((x - LABELS()) / ($("timeline-canvas").clientWidth - LABELS())) * (timeline.scene.view.to - timeline.scene.view.from);
const xAt = (time) => LABELS() + ((time - timeline.scene.view.from) / (timeline.scene.view.to - timeline.scene.view.from)) * ($("timeline-canvas").clientWidth - LABELS());

// The events under a pixel, within two pixels if there are none: { place, run, events, binned }.
function underPointer(x, y) {
  const { places, view, shiftOf } = timeline.scene;
  const place = places.find((own) => y >= own.y && y < own.y + own.height + 1);
  if (!place || place.kind === "title" || x < LABELS()) return null;
  const shift = shiftOf(place.run);
  const pixel = (view.to - view.from) / ($("timeline-canvas").clientWidth - LABELS());
  for (const reach of [0.5, 2.5]) {
    const [from, to] = [timeAt(x) - shift - reach * pixel, timeAt(x) - shift + reach * pixel];
    const segment = segmentsOf(place.run.id, from, to).at(-1);
    const row = segment && (segment.detail ? place.row : place.overview);
    const events = row ? eventsBetween(row, from, to) : [];
    if (!events.length) continue;
    const middle = (from + to) / 2;
    const wide = events.filter((event) => event.end - event.start > 1.5 * pixel && event.start <= middle && event.end > middle);
    return { place, events: wide.length ? wide.slice(0, 1) : events, binned: !segment.detail, from, to };
  }
  return null;
}

function eventsBetween(row, from, to) {
  const events = [];
  for (let i = firstAfter(row, from); i < row.start.length && row.start[i] < to; i += 1) if (row.end[i] > from || row.start[i] >= from) events.push(eventAt(row, i));
  return events;
}

// What the tooltip says, and what a click selects.
function timelineMark({ place, events, binned, from, to }) {
  const [event] = events;
  if (binned) return { title: `mostly ${spoken(event.what.name)}`, family: event.what.lane === "stream" ? event.what.name : null, rows: [["binned", `in bins of ${duration(event.end - event.start)}`], ["covered", percent(sumOf(events.map((own) => own.part.times.covered_ns[own.place])) / sumOf(events.map((own) => own.end - own.start)))]] };
  if (events.length > 1) return clusterMark(events, from, to);
  const at = ["at", duration(event.start - (timeline.scene.view.zero - timeline.scene.shiftOf(place.run)))];
  const marks = { stream: activityMark, gap: gapMark, thread: operatorMark, step: ({ what, start, end }) => ({ title: what.name, rows: [["time", duration(end - start)]] }) };
  const { rows, ...mark } = marks[event.what.lane](event, place);
  return { ...mark, rows: [...rows.slice(0, -1), at, ...rows.slice(-1)].filter(([, value]) => value != null && value !== "") };
}

function clusterMark(events, from, to) {
  const named = [...groupBy(events, ({ what }) => nameOf(what))].map(([name, own]) => [name, own.length, sumOf(own.map((event) => event.end - event.start))]).sort((a, b) => b[2] - a[2]);
  return { title: `${plural(events.length, "event")} within ${duration(to - from)}`, rows: [...named.map(([name, many, ns]) => [spoken(name), `${count(many)}, ${duration(ns)}`]), ["", "zoom in to tell them apart"]] };
}

// Why activities of a kernel are slow, from the launch groups of the page: looked up once for each kernel, operator and module.
const whys = new WeakMap();
function whyOfActivity(what, run, where) {
  if (!whys.has(what)) whys.set(what, whyOf((GROUPS_OF.get(run.id) || []).filter(matching(where))));
  return whys.get(what);
}

function activityMark(event, { run }) {
  const { what } = event;
  const since = event.time("since_launch_ns");
  const where = Object.fromEntries(["kernel", "operator", "shapes", "module"].map((name) => [name, name === "kernel" ? what.name : what[name]]));
  return { title: shortOf(what.name), family: what.family, where, rows: [
    ["operator", what.operator || `(${what.attribution})`], ["shapes", what.shapes && clip(what.shapes, 120)], ["module", what.module],
    ["launched", since == null ? "not recorded" : `${duration(since)} before, in a call of ${duration(event.time("launch_duration_ns") || 0)}`], ["why", whyOfActivity(what, run, where)], ["time", duration(event.end - event.start)],
  ] };
}

function gapMark(event) {
  const parts = [["waiting for the device", "sync_ns"], ["elsewhere on the host", "host_ns"], ["in the launch call", "call_ns"], ["queued", "queue_ns"]].map(([title, name]) => [title, event.time(name)]).filter(([, ns]) => ns);
  return { title: `gap: ${spoken(event.what.name)}`, rows: [["", CAUSE_SAYS[event.what.name] || ""], ...parts.map(([title, ns]) => [title, duration(ns)]), ["time", duration(event.end - event.start)]] };
}

// An operator selects the kernels that it launched; without a device it is itself what the other panels show.
function operatorMark(event, { lane, run }) {
  const launched = eventsBetween(lane.launches, event.start, event.end);
  const among = (name) => { const own = [...new Set(launched.map(({ what }) => what[name]))]; return own.length === 1 ? own[0] : own; };
  const own = { kernel: event.what.name, ...(event.what.shapes ? { shapes: event.what.shapes } : {}) };
  const itself = () => ((GROUPS_OF.get(run.id) || []).some(matching(own)) ? own : null);
  const where = launched.length ? { operator: among("operator"), shapes: among("shapes") } : itself();
  const device = launched.length ? `${plural(launched.length, "kernel")}, ${duration(sumOf(launched.map(({ part, place }) => part.times.duration_ns[place])))} on the device` : null;
  return { title: event.what.name, family: event.what.family, where, rows: [["shapes", event.what.shapes && clip(event.what.shapes, 120)], ["launched", device], ["time", duration(event.end - event.start)]] };
}

// Outline the event, and tie an activity to its launch, or a launch to its activity.
function paintOver(under) {
  const canvas = $("timeline-over");
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round($("timeline-canvas").clientWidth * ratio);
  canvas.height = Math.round(timeline.scene.height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.beginPath();
  context.rect(LABELS(), 0, canvas.width, canvas.height);
  context.clip();
  context.strokeStyle = context.fillStyle = ink("ink");
  for (const own of [state.picked.length ? timeline.linked : null, under]) if (own && own.events.length === 1 && !own.binned) paintLink(context, own);
}

function paintLink(context, { place, events: [event] }) {
  const shift = timeline.scene.shiftOf(place.run);
  if (shift === undefined) return;
  const activity = event.what.lane === "gap" ? afterGap(place, event) : event;
  if (event.what.lane === "gap") outline(context, place, event, shift);
  if (!activity || activity.what.lane !== "stream") { if (activity) outline(context, place, activity, shift); return; }
  const since = activity.time("since_launch_ns");
  const host = hostOf(place.run, activity.what);
  const device = timeline.scene.places.find((own) => own.run === place.run && own.lane && own.lane.key === laneKey(activity.what) && own.kind === "stream");
  if (device) outline(context, device, place.kind === "launches" ? deviceTimes(activity) : activity, shift);
  if (since == null || !host || !device) return;
  const began = deviceTimes(activity).start;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(xAt(began - since + shift), host.y + host.height / 2);
  context.lineTo(xAt(began + shift), device.y + device.height / 2);
  context.stroke();
  context.fillRect(xAt(began - since + shift) - 2, host.y - 1, 4, host.height + 2);
}

const hostOf = (run, what) => timeline.scene.places.find((own) => own.run === run && own.kind === "launches" && own.lane.key === laneKey({ lane: "thread", rank: what.rank, device_index: null, stream: null, thread: what.thread }));

// Start and end on the device; a launch's own times are those of its call.
function deviceTimes({ part, place }) {
  let start = 0;
  for (let i = 0; i <= place; i += 1) start += part.times.start_ns[i];
  return { start, end: start + part.times.duration_ns[place] };
}

// The activity that ended the gap.
function afterGap(place, gap) {
  for (const lane of lanesOf(place.run.id).filter((own) => own.lane === "stream" && own.rank === gap.what.rank && own.device_index === gap.what.device_index)) {
    for (const row of lane.rows) {
      const i = firstAfter(row, gap.end);
      if (i < row.start.length && row.start[i] === gap.end) return eventAt(row, i);
    }
  }
  return gap;
}

function outline(context, place, { start, end }, shift) {
  const [left, right] = [xAt(start + shift), xAt(end + shift)];
  context.lineWidth = 2;
  context.strokeRect(left - 1, place.y - 1, Math.max(right - left, 1) + 2, place.height + 2);
}

// Show another stretch: no shorter than 20 ns, and never beyond what was recorded.
function look(from, to) {
  const [first, last] = timeline.scene.whole;
  const margin = (last - first) * 0.02;
  const length = Math.min(Math.max(to - from, 20), last - first + 2 * margin);
  const start = Math.min(Math.max((from + to - length) / 2, first - margin), last + margin - length);
  timeline.view = [start, start + length];
  timeline.scene.view = { ...timeline.scene.view, from: start, to: start + length };
  hideTooltip();
  repaintSoon();
  writeAddressSoon();
}

let repainting = false;
function repaintSoon() {
  if (repainting) return;
  repainting = true;
  requestAnimationFrame(() => { repainting = false; if (timeline.scene) paintScene(); });
}

function zoomTime(factor, around) {
  const { from, to } = timeline.scene.view;
  const middle = around ?? (from + to) / 2;
  look(middle - (middle - from) * factor, middle + (to - middle) * factor);
}

function panBy(share) {
  const { from, to } = timeline.scene.view;
  look(from + share * (to - from), to + share * (to - from));
}

function fitAll() {
  timeline.view = null;
  drawTimeline();
  writeAddressSoon();
}

const MOVES = { in: () => zoomTime(0.6), out: () => zoomTime(1 / 0.6), left: () => panBy(-0.25), right: () => panBy(0.25), reset: fitAll };
const MOVE_KEYS = { w: "in", s: "out", a: "left", d: "right", ArrowLeft: "left", ArrowRight: "right", "+": "in", "-": "out", 0: "reset" };

function listenToTimeline() {
  const canvas = $("timeline-canvas");
  for (const button of document.querySelectorAll("[data-move]")) button.addEventListener("click", () => MOVES[button.dataset.move]());
  $("timeline-lanes").addEventListener("click", () => { timeline.everyLane = !timeline.everyLane; drawTimeline(); });
  $("timeline-picture").addEventListener("click", saveTimeline);
  canvas.addEventListener("keydown", (event) => {
    const move = MOVE_KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    MOVES[move]();
  });
  canvas.addEventListener("wheel", turned, { passive: false });
  canvas.addEventListener("dblclick", fitAll);
  canvas.addEventListener("pointerleave", () => { hideTooltip(); paintOver(null); });
  canvas.addEventListener("pointerdown", (event) => { if (event.button === 0) drag(event); });
  canvas.addEventListener("pointermove", (event) => { if (!event.buttons) hovered(event); });
  new ResizeObserver(() => { if (timeline.scene && canvas.clientWidth) repaintSoon(); }).observe(canvas);
}

// The wheel scrolls the page, unless Ctrl is held or the figure has the focus.
function turned(event) {
  if (!event.ctrlKey && !event.metaKey && document.activeElement !== event.target) return;
  event.preventDefault();
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) panBy((event.deltaX || event.deltaY) / 1000);
  else zoomTime(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))), timeAt(event.offsetX));
}

function hovered(event) {
  const under = underPointer(event.offsetX, event.offsetY);
  event.target.style.cursor = under ? "pointer" : "grab";
  paintOver(under);
  if (under) showTooltip(timelineMark(under), event); else hideTooltip();
}

// A press that does not move is a click; moved it pans, or with Shift marks a stretch to zoom to.
function drag(start) {
  const canvas = start.target;
  const { from, to } = timeline.scene.view;
  const began = timeAt(start.offsetX);
  let moved = false;
  canvas.setPointerCapture(start.pointerId);
  const move = (event) => {
    if (Math.abs(event.clientX - start.clientX) > 4) moved = true;
    if (!moved) return;
    const by = ((event.clientX - start.clientX) / (canvas.clientWidth - LABELS())) * (to - from);
    if (start.shiftKey) paintStretch(start.offsetX, event.offsetX); else look(from - by, to - by);
  };
  const end = (event) => {
    canvas.removeEventListener("pointermove", move);
    if (!moved) chosen(event);
    else if (start.shiftKey) look(Math.min(began, timeAt(event.offsetX)), Math.max(began, timeAt(event.offsetX)));
  };
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", end, { once: true });
}

function paintStretch(from, to) {
  paintOver(null);
  const context = $("timeline-over").getContext("2d");
  context.globalAlpha = 0.2;
  context.fillRect(Math.min(from, to), 0, Math.abs(to - from), timeline.scene.height);
}

// A click selects an event in every panel; a step or several events are zoomed to.
function chosen(event) {
  const under = underPointer(event.offsetX, event.offsetY);
  if (!under) return;
  const mark = timelineMark(under);
  const shift = timeline.scene.shiftOf(under.place.run);
  const [only] = under.events;
  if (under.events.length > 1 || under.binned) zoomTime(0.15, timeAt(event.offsetX));
  else if (only.what.lane === "step") look(only.start + shift, only.end + shift);
  else if (mark.where) { timeline.linked = under; clicked(mark, event); }
}

// The picture has the lines that other pictures have: title, runs and device above, selection and source beneath.
function saveTimeline() {
  const figure = $("timeline-canvas");
  const ratio = figure.width / figure.clientWidth;
  const { title, above, beneath } = captions(Object.assign($("timeline-figure"), { data: [] }), figure.clientWidth - 32);
  const canvas = h("canvas", { width: figure.width, height: figure.height + (60 + 16 * (above.length + beneath.length)) * ratio });
  const context = canvas.getContext("2d");
  context.fillStyle = ink("surface");
  context.fillRect(0, 0, canvas.width, canvas.height);
  const write = (text, size, y, color) => { context.fillStyle = ink(color); context.font = `${size * ratio}px system-ui, sans-serif`; context.fillText(unescaped(text), 8 * ratio, y * ratio); };
  write(title, 16, 24, "ink");
  above.forEach((text, i) => write(text, 11, 44 + 16 * i, "quiet"));
  const top = 40 + 16 * above.length;
  context.drawImage(figure, 0, top * ratio);
  beneath.forEach((text, i) => write(text, 11, top + figure.clientHeight + 16 + 16 * i, "quiet"));
  const name = `${timeline.scene.base.name}-timeline`.replace(/[^\w.-]+/g, "_").slice(0, 120);
  canvas.toBlob((blob) => { const link = h("a", { href: URL.createObjectURL(blob), download: `${name}.png` }); link.click(); URL.revokeObjectURL(link.href); });
}
