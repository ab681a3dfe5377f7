// The three kinds of bytes: predictions against counters, point by point and by family.
function drawBytes(rows, points) {
  const counted = points.filter((point) => point.counter_bytes > 0);
  const predictions = [["cache_model", "circle"], ["compulsory", "circle-open"]];
  const known = predictions.map(([name, symbol]) => [name, symbol, counted.filter((point) => point[`${name}_bytes`] > 0)]).filter(([, , own]) => own.length);
  let below = 0;
  $("bytes-figure").hidden = !known.length;
  if (known.length) {
    const all = known.flatMap(([name, , own]) => own.flatMap((point) => [point.counter_bytes, point[`${name}_bytes`]]));
    const range = [Math.floor(Math.log10(Math.max(least(all), 1))), Math.ceil(Math.log10(Math.max(most(all), 10)))];
    below = all.filter((bytes) => bytes < 1).length;
    const exponents = Array.from({ length: range[1] - range[0] + 1 }, (_, i) => range[0] + i).filter((e) => range[1] - range[0] < 5 || e % 3 === 0);
    const axis = (own, text) => Object.assign(own, { type: "log", range, tickvals: exponents.map((e) => 10 ** e), ticktext: exponents.map((e) => si(10 ** e, "B")), title: { ...own.title, text } });
    const layout = painted(DATA.plain);
    axis(layout.xaxis, "measured DRAM bytes");
    axis(layout.yaxis, "predicted");
    layout.height = 380;
    const longest = most(counted.map((point) => point.duration_ns));
    const data = known.map(([name, symbol, own]) => {
      const marks = own.slice(0, MOST_MARKS);
      return {
        type: "scatter", mode: "markers", name: SOURCES[name], hoverinfo: "none",
        x: marks.map((point) => point.counter_bytes), y: marks.map((point) => point[`${name}_bytes`]), customdata: marks.map((point) => ({ point, where: point.where })),
        marker: { symbol, color: marks.map((point) => familyOf(point.family).color), opacity: 0.9, size: marks.map((point) => point.duration_ns), sizemode: "area", sizemin: 4, sizeref: (2 * longest) / 26 ** 2, line: { width: symbol === "circle" ? 0.8 : 1.4, color: symbol === "circle" ? ink("surface") : marks.map((point) => familyOf(point.family).color) } },
      };
    });
    const ends = range.map((e) => 10 ** e);
    draw("bytes-figure", [{ type: "scatter", mode: "lines", x: ends, y: ends, hoverinfo: "skip", line: { color: ink("roof"), width: 1 } }, ...data], layout, { tools: true });
  }
  const families = [...groupBy(rows, (row) => row.family)].map(([family, own]) => bytesOf(family, own)).sort((a, b) => b.duration_ns - a.duration_ns);
  const size = (value) => (value == null ? "" : si(value, "B"));
  const error = (value) => (value == null ? "" : `${value > 0 ? "+" : ""}${digits(Math.round(value * 1e4) / 100)} %`);
  const body = families.map((row) => h("tr", {}, h("th", { scope: "row" }, row.family), ...[count(row.counted), count(row.launches), size(row.counter_bytes), size(row.cache_model_bytes), error(row.cache_model_error), size(row.compulsory_bytes), error(row.compulsory_error)].map((text) => h("td", { class: "number" }, text))));
  const head = ["family", "measured", "of launches", "counter", "cache model", "error", "compulsory", "error"];
  $("bytes-table").replaceChildren(h("thead", {}, h("tr", {}, ...head.map((title, i) => h("th", { scope: "col", class: i ? "number" : null }, title)))), h("tbody", {}, ...body));
  const says = known.length ? ["filled points are the cache model, rings compulsory bytes; on the line a prediction is exact; errors cover launches with both values"] : ["no launch here was measured, so predictions cannot be checked"];
  const cut = known.filter(([, , own]) => own.length > MOST_MARKS).map(([name, , own]) => `${SOURCES[name]} ${count(own.length - MOST_MARKS)}`);
  if (below) says.push(`${plural(below, "prediction")} of less than a byte lie off the frame`);
  if (cut.length) says.push(`shortest points left out: ${cut.join(", ")}`);
  $("bytes-note").textContent = `${says.join("; ")}.`;
}

function bytesOf(family, own) {
  const both = (name) => own.filter((row) => row.counter_bytes != null && row[name] != null);
  const total = (name) => own.reduce((so_far, row) => plus(so_far, row[name]), null);
  const error = (name) => { const rows = both(name); const seen = sum(rows, "counter_bytes"); return seen ? sum(rows, name) / seen - 1 : null; };
  return {
    family, launches: sum(own, "launches"), counted: sum(own.filter((row) => row.counter_bytes != null), "launches"), duration_ns: sum(own, "duration_ns"),
    compulsory_bytes: total("compulsory_bytes"), cache_model_bytes: total("cache_model_bytes"), counter_bytes: total("counter_bytes"),
    compulsory_error: error("compulsory_bytes"), cache_model_error: error("cache_model_bytes"),
  };
}
