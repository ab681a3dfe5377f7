// Draw lanes on a canvas. Events under one pixel are binned: a pixel has the colour with most time, as opaque as it is covered.
const LABELS = () => (narrow() ? 84 : 132);
const AXIS = 22;
const HEIGHTS = { step: 16, gap: 12, stream: 20, thread: 12, launches: 5, title: 20 };
const LEAST_ALPHA = 0.25;
const DIMMED = 0.12;

// The drawn rows from top to bottom: each with the lane, the events, and where it lies. `shift` is added to the times of a run.
function arranged(runs, { lanes: most, depth }) {
  const places = [];
  let y = AXIS;
  let folded = 0;
  const add = (kind, place) => { places.push({ kind, y, height: HEIGHTS[kind], ...place }); y += HEIGHTS[kind] + 2; };
  for (const run of runs) {
    if (runs.length > 1) add("title", { run, text: RUNS.get(run.id).name });
    const seen = new Map();
    for (const lane of lanesOf(run.id)) {
      const kind = [lane.lane, lane.rank, lane.device_index].join("\u0000");
      seen.set(kind, (seen.get(kind) || 0) + 1);
      if (seen.get(kind) > most) { folded += 1; continue; }
      const rows = lane.rows.slice(0, lane.lane === "gap" ? 1 : depth);
      for (const [at, row] of (rows.length ? rows : [null]).entries()) add(lane.lane, { run, lane, row, overview: at === 0 ? lane.overview : null, text: at === 0 ? laneTitle(lane) : "" });
      if (lane.launches.start.length) add("launches", { run, lane, row: lane.launches, overview: null, text: "" });
      y += 3;
    }
  }
  return { places, height: y + 4, folded };
}

function laneTitle({ lane, rank, device_index: device, stream, thread, run_id: id }) {
  const others = lanesOf(id).filter((other) => other.lane === "stream");
  const several = others.some((other) => other.device_index !== device || other.rank !== rank);
  const own = lanesOf(id).some((other) => other.rank !== rank) ? `rank ${rank} ` : "";
  if (lane === "step") return `${own}steps`;
  if (lane === "gap") return `${own}device ${several ? `${device} ` : ""}idle`;
  if (lane === "stream") return `${own}${several ? `device ${device} ` : ""}stream ${stream ?? "?"}`;
  if (thread == null) return `${own}host, thread ?`;
  const [process, number] = thread.split("/");
  return `${own}host ${number ?? process}`;
}

// Colours of the events' parts as small integers, looked up once a drawing.
function paletteOf(lit) {
  const styles = [];
  const known = new Map();
  const inks = new Map();
  const inked = (name) => inks.get(name) || inks.set(name, ink(name)).get(name);
  const colorOf = ({ lane, name, family, bin_ns: binned }) => {
    if (lane === "stream") return familyOf(binned ? name : family).color;
    if (lane === "gap") return inked(CAUSES[name] || "slate");
    return lane === "step" ? inked("rule") : family ? familyOf(family).color : inked("silver");
  };
  const codeOf = ({ what }) => {
    const style = { color: colorOf(what), alpha: lit(what) ? 1 : DIMMED };
    const key = `${style.color} ${style.alpha}`;
    if (!known.has(key)) { known.set(key, styles.length); styles.push(style); }
    return known.get(key);
  };
  return { styles, codes: (row) => row.parts.map(codeOf) };
}

// Pixels of a row from left to right: the time of each colour in the current pixel, and the last rectangle of equal pixels.
function pixelsOf(context, styles, y, height) {
  const totals = new Float64Array(styles.length);
  let [pixel, used] = [-1, []];
  let last = null;
  const emit = () => {
    if (!last) return;
    context.globalAlpha = styles[last.code].alpha * Math.max(LEAST_ALPHA, last.level / 8);
    context.fillStyle = styles[last.code].color;
    context.fillRect(last.from, y, last.to - last.from, height);
    last = null;
  };
  const flush = () => {
    if (!used.length) return;
    let [code, all] = [used[0], 0];
    for (const one of used) { all += totals[one]; if (totals[one] > totals[code]) code = one; }
    for (const one of used) totals[one] = 0;
    used = [];
    const level = Math.ceil(Math.min(1, all) * 8);
    if (last && last.to === pixel && last.code === code && last.level === level) { last.to += 1; return; }
    emit();
    last = { from: pixel, to: pixel + 1, code, level };
  };
  const add = (at, code, share) => {
    if (at !== pixel) { flush(); pixel = at; }
    if (!totals[code]) used.push(code);
    totals[code] += Math.max(share, 1e-9);
  };
  return { add, finish: () => { flush(); emit(); } };
}

// `area` says where times lie: `x` pixels for `origin`, `scale` pixels a ns; events between `from` and `to` are drawn.
function paintRow(context, row, palette, area, label) {
  const { x, y, height, origin, from, to, scale, ratio } = area;
  const codes = palette.codes(row);
  const pixels = pixelsOf(context, palette.styles, y, height);
  const [least, most] = [x + (from - origin) * scale, x + (to - origin) * scale];
  const labels = [];
  let events = 0;
  for (let i = firstAfter(row, from); i < row.start.length && row.start[i] < to; i += 1) {
    const [left, right] = [Math.max(least, x + (row.start[i] - origin) * scale), Math.min(most, x + (row.end[i] - origin) * scale)];
    const code = codes[row.part[i]];
    events += 1;
    if (row.busy[i]) {
      for (let at = Math.floor(left); at < right; at += 1) pixels.add(at, code, (Math.min(right, at + 1) - Math.max(left, at)) * (row.busy[i] / (row.end[i] - row.start[i])));
    } else if (right - left < 1.5) pixels.add(Math.floor(left), code, right - left);
    else {
      pixels.finish();
      context.globalAlpha = palette.styles[code].alpha;
      context.fillStyle = palette.styles[code].color;
      context.fillRect(left, y, right - left - (right - left > 4 * ratio ? ratio : 0), height);
      if (label && right - left > 44 * ratio && palette.styles[code].alpha === 1) labels.push([i, left, right, palette.styles[code].color]);
    }
  }
  pixels.finish();
  context.globalAlpha = 1;
  for (const [i, left, right, color] of labels) paintLabel(context, label(eventAt(row, i).what), left, right, color, area);
  return events;
}

function paintLabel(context, text, left, right, color, { y, height, ratio }) {
  context.fillStyle = /^#/.test(color) && color !== ink("rule") ? inkOn(color) : ink("ink");
  context.font = `${Math.min(10.5, height / ratio - 1) * ratio}px system-ui, sans-serif`;
  context.fillText(clip(text, Math.max(2, Math.floor((right - left - 8 * ratio) / (6 * ratio)))), left + 4 * ratio, y + height / 2);
}

// Draw all places between the moments of the view; returns the number of events by name, as the statement of the panel lists them.
function paintTimeline(canvas, { places, height, view, shiftOf, lit }) {
  const ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.textBaseline = "middle";
  const x = LABELS() * ratio;
  const scale = (canvas.width - x) / (view.to - view.from);
  paintAxis(context, { x, scale, view, ratio, height: canvas.height, width: canvas.width });
  const palette = paletteOf(lit);
  const shown = new Map();
  for (const place of places) {
    if (place.text) paintTitle(context, place, ratio);
    if (place.kind === "title") continue;
    const shift = shiftOf(place.run);
    for (const segment of segmentsOf(place.run.id, view.from - shift, view.to - shift)) {
      const row = segment.detail ? place.row : place.overview;
      if (!row) continue;
      const area = { x, y: place.y * ratio, height: place.height * ratio, origin: view.from - shift, ...segment, scale, ratio };
      paintRow(context, row, palette, area, place.kind === "launches" ? null : labelOf);
    }
    if (place.kind !== "launches") counted(shown, place, view.from - shift, view.to - shift);
  }
  return shown;
}

const labelOf = (what) => (what.lane === "stream" ? shortOf(what.name) : what.lane === "gap" ? spoken(what.name) : what.name);
const nameOf = ({ lane, name, family }) => (lane === "stream" ? family : lane === "gap" ? name : lane);

// Events of every row of a lane, drawn or folded, that lie in detail between two moments.
function counted(shown, { lane, overview, run }, from, to) {
  if (!overview) return;
  for (const segment of segmentsOf(run.id, from, to).filter((own) => own.detail)) {
    for (const row of lane.rows) {
      const names = row.parts.map(({ what }) => nameOf(what));
      for (let i = firstAfter(row, segment.from); i < row.start.length && row.start[i] < segment.to; i += 1) {
        if (row.end[i] > segment.from) shown.set(names[row.part[i]], (shown.get(names[row.part[i]]) || 0) + 1);
      }
    }
  }
}

function paintTitle(context, { y, height, text, kind }, ratio) {
  context.fillStyle = ink(kind === "title" ? "ink" : "quiet");
  context.font = `${kind === "title" ? "600 11.5" : "11"}px system-ui, sans-serif`.replace(/([\d.]+)px/, (_, size) => `${size * ratio}px`);
  const room = kind === "title" ? 110 : narrow() ? 13 : 21;
  context.fillText(clip(text, room), 2 * ratio, (y + height / 2 + (kind === "title" ? 2 : 0)) * ratio);
}

// Ticks at 1, 2 or 5 times a power of ten, from the start of what the reader chose.
function paintAxis(context, { x, scale, view, ratio, height, width }) {
  const rough = (110 * ratio) / scale;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((own) => own >= rough);
  context.font = `${10.5 * ratio}px system-ui, sans-serif`;
  for (let tick = Math.ceil((view.from - view.zero) / step) * step; tick + view.zero <= view.to; tick += step) {
    const at = x + (tick + view.zero - view.from) * scale;
    context.fillStyle = ink("grid");
    context.fillRect(Math.round(at), AXIS * ratio - 4 * ratio, Math.max(1, Math.round(ratio)), height);
    context.fillStyle = ink("quiet");
    if (at < width - 40 * ratio) context.fillText(ticked(tick, step), at + 3 * ratio, 8 * ratio);
  }
}

// As many digits as tell a tick from the next.
function ticked(ns, step) {
  const [unit, size] = Math.max(Math.abs(ns), step) >= 1e9 ? ["s", 1e9] : Math.max(Math.abs(ns), step) >= 1e6 ? ["ms", 1e6] : Math.max(Math.abs(ns), step) >= 1e3 ? ["µs", 1e3] : ["ns", 1];
  return `${(ns / size).toFixed(Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-9)))} ${unit}`;
}
