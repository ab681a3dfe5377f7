// Light and dark themes. Figures arrive in light colours and are repainted with the page's.
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const systemTheme = () => (systemDark.matches ? "dark" : "light");
const themeOf = (name) => (name === "light" || name === "dark" ? name : systemTheme());
let theme = systemTheme();

function setTheme(name) {
  theme = name;
  inks.clear();
  document.documentElement.dataset.theme = name;
}

// Colours of the theme. The browser computes the styles of the whole page for each that is read.
const inks = new Map();
function ink(name) {
  if (!inks.has(name)) inks.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return inks.get(name);
}

function painted(layout) {
  const copy = structuredClone(layout);
  copy.font.color = ink("ink");
  for (const axis of [copy.xaxis, copy.yaxis].filter(Boolean)) {
    axis.gridcolor = ink("grid");
    axis.linecolor = ink("grid");
    axis.tickfont.color = ink("quiet");
    axis.title.font.color = ink("quiet");
    if (axis.minor) axis.tickcolor = axis.minor.tickcolor = ink("faint");
  }
  for (const note of copy.annotations || []) note.font.color = ink("quiet");
  for (const shape of copy.shapes || []) shape.line.color = ink("roof");
  copy.modebar = { bgcolor: "rgba(0,0,0,0)", color: ink("quiet"), activecolor: ink("ink") };
  return copy;
}

const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]] };
// shared/roofline.js decides which wheel zooms, and what a double click and its buttons do.
const WHEEL = { scrollZoom: true, doubleClick: false, modeBarButtons: [["zoom2d", "pan2d"]] };

function draw(id, data, layout, { onDrawn, tools, wheel } = {}) {
  const figure = $(id);
  const first = !figure.classList.contains("js-plotly-plot");
  queueMicrotask(() => describe(figure)); // by then the panel has written its note
  const done = Plotly.react(figure, data, layout, { ...CONFIG, ...(wheel ? WHEEL : {}), displayModeBar: tools && !narrow() ? "hover" : false });
  if (first) {
    figure.on("plotly_hover", (event) => showTooltip(event.points[0].customdata, event.event, figure));
    figure.on("plotly_unhover", hideTooltip);
    figure.on("plotly_click", (event) => clicked(event.points[0].customdata, event.event));
    figure.on("plotly_icicleclick", () => false);
    if (onDrawn) figure.on("plotly_afterplot", () => onDrawn(figure));
  }
  return done;
}
