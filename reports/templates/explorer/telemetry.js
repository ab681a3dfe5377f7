// Steps timed without the profiler, every repeat; beneath them power and clocks of the device.
const SERIES = ["blue", "orange", "teal", "violet", "gold", "red", "sky", "green"];
const seriesColor = (i) => ink(SERIES[i % SERIES.length]);

const IDLE = 1; // NVML's throttle reason of an idle device, which is no throttling

function drawTimings() {
  const rows = ofChosen(DATA.timings).filter((row) => row.metric === "step");
  const kinds = [...groupBy(rows, (row) => `${row.run_id}\u0000${phaseOf(row)}`).values()];
  $("timings-figure").hidden = !rows.length;
  const several = chosenRuns().length > 1;
  const name = (row) => [several ? clip(RUNS.get(row.run_id).name, 32) : null, phaseOf(row)].filter(Boolean).join(" · ");
  if (rows.length) {
    const layout = painted(DATA.plain);
    Object.assign(layout, { height: 260, margin: { l: 8, r: 16, t: 6, b: 40 } });
    layout.xaxis.title.text = "step";
    Object.assign(layout.yaxis, { ticksuffix: "s", tickformat: "~s", rangemode: "tozero" });
    draw("timings-figure", kinds.map((own, i) => ({
      type: "scatter", mode: "markers", name: escaped(name(own[0])), hoverinfo: "none", x: own.map((row) => row.step), y: own.map((row) => row.value_ns / 1e9),
      customdata: own.map((row) => ({ title: name(row), rows: [["step", String(row.step ?? "")], ["repeat", String(row.repeat ?? "")], ["time", duration(row.value_ns)]] })), marker: { color: seriesColor(i), size: 6, opacity: 0.9 },
    })), layout, { tools: true });
  }
  $("timings-legend").replaceChildren(...kinds.slice(0, 24).map((own, i) => h("span", {}, h("i", { style: { background: seriesColor(i) } }), h("bdi", {}, name(own[0])), h("small", {}, timed(own)))));
  const whole = ofChosen(DATA.timings).filter((row) => row.metric !== "step");
  const others = [...groupBy(whole, (row) => `${row.run_id}\u0000${row.metric}`).values()].slice(0, 12).map((own) => `${several ? `${clip(RUNS.get(own[0].run_id).name, 32)} ` : ""}${spoken(own[0].metric)} ${timed(own)}`);
  const says = rows.length ? others : ["These runs were not timed without the profiler"];
  if (kinds.length > 24) says.push(`${kinds.length - 24} more kinds of step`);
  $("timings-note").textContent = says.length ? `${says.join("; ")}.` : "";
}

function timed(own) {
  const values = own.map((row) => row.value_ns).sort((a, b) => a - b);
  const middle = values.length / 2;
  const median = values.length % 2 ? values[Math.floor(middle)] : (values[middle - 1] + values[middle]) / 2;
  return values.length > 1 ? `median ${duration(median)}, ${duration(values[0])} to ${duration(values[values.length - 1])}, ${values.length} times` : duration(median);
}

function ofChosen(rows) {
  const runs = new Set(chosenRuns().map((run) => run.id));
  return rows.filter((row) => runs.has(row.run_id));
}

// Power above, clocks beneath, on one axis of time.
function drawTelemetry() {
  const runs = [...groupBy(ofChosen(DATA.telemetry), (row) => row.run_id)];
  $("telemetry-figure").hidden = !runs.length;
  $("telemetry-note").textContent = runs.length ? "" : "No telemetry was recorded for these runs.";
  if (!runs.length) return;
  const layout = painted(DATA.plain);
  Object.assign(layout, { height: 320, margin: { l: 8, r: 16, t: 6, b: 40 } });
  layout.yaxis2 = { ...structuredClone(layout.yaxis), domain: [0, 0.44], ticksuffix: "Hz", tickformat: "~s", anchor: "x" };
  Object.assign(layout.yaxis, { domain: [0.56, 1], ticksuffix: " W", rangemode: "tozero" });
  Object.assign(layout.xaxis, { ticksuffix: "s", anchor: "y2", title: { ...layout.xaxis.title, text: "since the first sample" } });
  const line = (own, id, key, color, dash, yaxis) => ({
    type: "scatter", mode: "lines+markers", yaxis, hoverinfo: "none", x: own.map((row) => row.at_ns / 1e9), y: own.map((row) => row[key]), line: { color, dash, width: 1.6 }, marker: { size: 4 },
    customdata: own.map((row) => ({ title: RUNS.get(id).name, rows: [["at", duration(row.at_ns)], ["power", row.power_w == null ? "" : `${digits(row.power_w)} W`], ["SM clock", si(row.sm_clock_hz, "Hz")], ["memory clock", si(row.memory_clock_hz, "Hz")], ["temperature", row.temperature_c == null ? "" : `${row.temperature_c} °C`], ["throttle reasons", row.throttle_reasons || ""]].filter(([, value]) => value) })),
  });
  draw("telemetry-figure", runs.flatMap(([id, own], i) => {
    const color = seriesColor(i);
    return [line(own, id, "power_w", color, "solid", "y"), line(own, id, "sm_clock_hz", color, "solid", "y2"), line(own, id, "memory_clock_hz", color, "dot", "y2")];
  }), layout, { tools: true });
  const held = runs.filter(([, own]) => own.some((row) => Number(row.throttle_reasons) & ~IDLE));
  const says = ["watts above; below, the SM clock (line) and the memory clock (dots)", held.length ? `clocks were throttled in ${plural(held.length, "run")}` : "clocks were never throttled"];
  $("telemetry-note").textContent = `${says.join("; ")}.`;
}
