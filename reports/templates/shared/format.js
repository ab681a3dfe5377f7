// Numbers and elements. Text from traces enters the page as text nodes only.
const PREFIXES = ["", "k", "M", "G", "T", "P", "E"];

function digits(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  return size < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(3));
}

function si(value, unit) {
  if (value == null) return "";
  let power = 0;
  while (Math.abs(value) >= 999.5 && power < PREFIXES.length - 1) { value /= 1000; power += 1; }
  return `${digits(value)} ${PREFIXES[power]}${unit}`;
}

function duration(ns) {
  if (ns == null) return "";
  for (const unit of ["ns", "µs", "ms"]) {
    if (Math.abs(ns) < 999.5) return `${digits(ns)} ${unit}`;
    ns /= 1000;
  }
  return `${digits(ns)} s`;
}

function percent(share) {
  if (!Number.isFinite(share)) return "–"; // 0 of 0
  return share > 0 && share < 5e-5 ? "<0.01 %" : `${digits(Math.round(share * 1e4) / 100)} %`;
}

const count = (value) => value.toLocaleString("en-US");
const plural = (n, noun, many = `${noun}s`) => `${count(n)} ${n === 1 ? noun : many}`;

// Plotly interprets a few HTML tags in labels.
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const unescaped = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
const spoken = (entry) => entry.replace(/_/g, " ");

function clip(text, longest) {
  if (text.length <= longest) return text;
  const tail = Math.floor((longest - 1) / 2);
  return `${text.slice(0, longest - 1 - tail)}…${text.slice(text.length - tail)}`;
}

const $ = (id) => document.getElementById(id);

function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "style") Object.assign(node.style, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

// Show the tooltip beside the pointer, inside the window.
function showBeside({ clientX, clientY }, ...children) {
  const tip = $("tooltip");
  tip.replaceChildren(...children);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = clientX + 18 + width > innerWidth ? clientX - width - 18 : clientX + 18;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  tip.style.top = `${Math.max(8, Math.min(clientY - height / 3, innerHeight - height - 8))}px`;
}

// Replace the children of a node. A focus on one of them moves to the new child of the same `data-key`, else of the same place.
function renew(node, ...children) {
  const items = () => [...node.querySelectorAll("button, a[href], select, input, summary, [tabindex]")];
  const held = node.contains(document.activeElement) && document.activeElement !== node ? document.activeElement : null;
  const at = held ? items().indexOf(held) : -1;
  node.replaceChildren(...children.filter((child) => child != null));
  if (!held) return;
  const next = items().find((item) => held.dataset.key !== undefined && item.dataset.key === held.dataset.key) || items()[Math.min(at, items().length - 1)];
  if (next) next.focus({ preventScroll: true });
}

function sum(rows, key) {
  let total = 0;
  for (const row of rows) total += row[key] || 0;
  return total;
}

const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

function groupBy(rows, key) {
  const groups = new Map();
  for (const row of rows) {
    const name = key(row);
    if (groups.has(name)) groups.get(name).push(row); else groups.set(name, [row]);
  }
  return groups;
}
