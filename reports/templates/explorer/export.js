// A figure saved as a picture that is complete without the page: title, runs and device, families, selection, source.
const CHARACTER = 6.2; // pixels, of a text of 11 pixels

// Lines of as many parts as fit into a width. `html` is drawn, `text` is measured.
function wrapped(parts, width, between) {
  const lines = [[]];
  let used = 0;
  for (const { text, html = escaped(text) } of parts) {
    const needs = (text.length + between.length) * CHARACTER;
    if (used && used + needs > width) { lines.push([]); used = 0; }
    lines.at(-1).push(html);
    used += needs;
  }
  return lines.map((line) => line.join(between)).filter(Boolean);
}

const wordsFitting = (text, width) => wrapped(text.split(" ").map((word) => ({ text: clip(word, Math.floor(width / CHARACTER)) })), width, " ");

// What the figure's colours mean: families and other named traces; where each mark has a colour, the families of the selection.
function legendOf(figure) {
  const named = figure.data.filter(({ name, meta, marker }) => name && !(meta && meta.role) && marker && typeof marker.color === "string" && !marker.pattern);
  const colors = new Map(named.map(({ name, marker }) => [unescaped(name), marker.color]));
  const mixed = figure.data.some(({ marker }) => marker && (marker.colors || Array.isArray(marker.color)));
  if (!colors.size && mixed) for (const { family } of drawing.rows) colors.set(family, familyOf(family).color);
  return [...colors].map(([name, color]) => ({ text: `● ${name}`, html: `<span style="color:${color}">●</span> ${escaped(clip(name, 60))}` }));
}

function selectionSays() {
  const picked = state.picked.map(({ label }) => clip(label, 60)).join(", ");
  return [
    ["mode", state.mode], ["execution", state.execution], ["phase", state.phase], ["precision", state.precision], ["families", [...state.families].join(", ")], ["only", picked],
  ].filter(([, value]) => value).map(([name, value]) => `${name} ${value}`).concat(settingsSay());
}

// The lines above the figure, and those beneath it.
function captions(figure, width) {
  const title = figure.closest("section").querySelector("h2").cloneNode(true);
  for (const part of title.querySelectorAll(".tools, small, select, button")) part.remove();
  const runs = chosenRuns();
  const names = runs.slice(0, 4).map((run) => run.name).join(", ") + (runs.length > 4 ? `, and ${runs.length - 4} more` : "");
  const above = [...wordsFitting(`${names} on ${machine().device}`, width), ...wrapped(legendOf(figure), width, "   ")];
  const { version, source } = DATA.made;
  const beneath = wordsFitting([`Ridgeline ${version}`, source, ...selectionSays()].filter(Boolean).join(" · "), width);
  return { title: title.textContent.trim(), above, beneath };
}

function captioned(figure) {
  const { l, t, b } = figure._fullLayout._size;
  const { title, above, beneath } = captions(figure, figure.clientWidth - 32);
  const [over, under] = [44 + 16 * above.length, 18 + 16 * beneath.length];
  const line = (text, more) => ({ text, showarrow: false, xref: "paper", yref: "paper", x: 0, xanchor: "left", xshift: 16 - l, align: "left", font: { size: 11, color: ink("quiet") }, ...more });
  const notes = [
    line(escaped(title), { y: 1, yanchor: "top", yshift: t + over - 8, font: { size: 16, color: ink("ink") } }),
    line(above.join("<br>"), { y: 1, yanchor: "top", yshift: t + over - 32 }),
    line(beneath.join("<br>"), { y: 0, yanchor: "top", yshift: -b - 6 }),
  ];
  return {
    ...figure.layout, paper_bgcolor: ink("surface"), plot_bgcolor: ink("surface"), height: figure.clientHeight + over + under, width: figure.clientWidth,
    margin: { ...figure.layout.margin, t: t + over, b: b + under }, annotations: [...(figure.layout.annotations || []), ...notes],
  };
}

function save({ dataset: { save: id, format } }) {
  const figure = $(id);
  const layout = captioned(figure);
  const name = [...chosenRuns().slice(0, 4).map((run) => run.name), id.replace("-figure", "")].join("-");
  Plotly.downloadImage({ data: figure.data, layout }, { format, filename: name.replace(/[^\w.-]+/g, "_").slice(0, 120), width: layout.width, height: layout.height, scale: format === "png" ? 2 : 1 });
}
