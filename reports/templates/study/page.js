// Draw every figure of the study from its panels. Python has escaped all text from traces.
const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const FRAGMENT = new URLSearchParams(location.hash.slice(1));
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const chosen = Object.fromEntries(Object.keys(DATA).map((key) => [key, 0]));
const narrow = () => innerWidth < 700;
let theme = ["light", "dark"].find((name) => name === FRAGMENT.get("theme")) || (systemDark.matches ? "dark" : "light");

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function paintAxis(axis) {
  Object.assign(axis, { gridcolor: ink("grid"), linecolor: ink("grid") });
  axis.tickfont.color = ink("quiet");
  axis.title.font.color = ink("quiet");
}

function painted({ data, layout }) {
  const own = toned({ data, layout });
  own.layout.font.color = ink("ink");
  for (const [name, part] of Object.entries(own.layout)) if (/^[xy]axis/.test(name)) paintAxis(part);
  for (const note of own.layout.annotations || []) note.font.color = ink("quiet");
  for (const shape of own.layout.shapes || []) shape.line.color = ink("roof");
  for (const trace of own.data) {
    if (trace.meta?.role === "roof") trace.line.color = ink("roof");
    if (trace.meta?.role === "text") trace.textfont.color = ink("quiet");
    if (trace.error_x) trace.error_x.color = ink("quiet");
  }
  own.layout.margin.t = Math.max(own.layout.margin.t, narrow() ? 12 : 34); // room for Plotly's buttons
  own.layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: ink("quiet"), activecolor: ink("ink") };
  own.layout.hoverlabel = { bgcolor: ink("surface"), bordercolor: ink("rule"), font: { color: ink("ink"), size: 12 }, align: "left" };
  return own;
}

// A narrow page has the legend beneath the plot, with extra height, and shorter labels.
function fitted(own) {
  if (!narrow()) return own;
  const { layout } = own;
  const entries = own.data.filter((trace) => trace.showlegend !== false && layout.showlegend).length;
  layout.margin = { ...layout.margin, l: Math.min(layout.margin.l, 52), r: 8 };
  if (layout.showlegend && layout.legend.y !== 1) {
    layout.legend = { ...layout.legend, orientation: "h", y: -0.18, yanchor: "top", font: { size: 10.5 } };
    layout.height += 20 * entries;
  } else if (layout.showlegend) {
    layout.height += 44;
  }
  for (const [name, part] of Object.entries(layout)) if (/^[xy]axis/.test(name) && part.nticks) part.nticks = 4;
  if (layout.yaxis.type === "category") {
    const names = [...new Set(own.data.flatMap((trace) => trace.y))];
    const lines = (name) => name.split(/ · (.*)| (?=beyond|without)/s).filter(Boolean).map((line) => (line.length > 20 ? `${line.slice(0, 19)}…` : line)).join("<br>");
    Object.assign(layout.yaxis, { tickvals: names, ticktext: names.map(lines) });
    layout.yaxis.tickfont.size = 9.5;
    // room for the label of the longest bar
    if (layout.xaxis.range && own.data.some((trace) => trace.textposition === "outside")) layout.xaxis.range = [layout.xaxis.range[0], layout.xaxis.range[1] * 1.35];
  }
  layout.annotations = (layout.annotations || []).filter((note) => !/^(end|slope)/.test(note.name || ""));
  return own;
}

function save(key, format) {
  const name = `${key}-${DATA[key][chosen[key]].title}`.replace(/[^\w.-]+/g, "_").slice(0, 120);
  Plotly.downloadImage($(`${key}-figure`), { format, filename: name, scale: format === "png" ? 2 : 1 });
}

const config = (key) => ({
  responsive: true,
  displaylogo: false,
  displayModeBar: narrow() ? false : "hover",
  modeBarButtons: [
    ["zoom2d", "pan2d", "resetScale2d"],
    [
      { name: "PNG", title: "Save as PNG", icon: Plotly.Icons.camera, click: () => save(key, "png") },
      { name: "SVG", title: "Save as SVG", icon: Plotly.Icons.disk, click: () => save(key, "svg") },
    ],
  ],
});

// One drawing of a figure at a time: Plotly fails if another starts while it fits margins.
const busy = new Set();
const again = new Set();

function draw(key) {
  const panel = DATA[key][chosen[key]];
  $(`${key}-says`).textContent = panel.says;
  $(`${key}-note`).textContent = panel.notes.join(" ");
  if (busy.has(key)) { again.add(key); return; }
  busy.add(key);
  const { data, layout } = fitted(painted(panel.spec));
  Plotly.react($(`${key}-figure`), data, layout, config(key)).finally(() => {
    describe($(`${key}-figure`));
    busy.delete(key);
    if (again.delete(key)) draw(key);
  });
}

function setTheme(name) {
  theme = name;
  document.documentElement.dataset.theme = name;
  Object.keys(DATA).forEach(draw);
}

function copy(button) {
  const text = button.nextElementSibling.textContent;
  const area = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}

for (const select of document.querySelectorAll("select[data-figure]")) {
  select.addEventListener("change", () => { chosen[select.dataset.figure] = Number(select.value); draw(select.dataset.figure); });
}
for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copy(button));
$("theme").addEventListener("click", () => setTheme(theme === "dark" ? "light" : "dark"));
systemDark.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
let before = theme;
addEventListener("beforeprint", () => { before = theme; setTheme("light"); });
addEventListener("afterprint", () => setTheme(before));
let wasNarrow = narrow();
addEventListener("resize", () => { if (wasNarrow !== narrow()) { wasNarrow = narrow(); setTheme(theme); } });
setTheme(theme);
document.documentElement.dataset.ready = "true";
