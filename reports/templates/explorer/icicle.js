// Time by module, operator and kernel; a click selects a block and zooms to it.
const MOST_LEAVES = 600;

// A tree of modules, operators and kernels with their rows. A module with a single child module is merged with it.
function icicleNodes(rows) {
  const root = { id: "all", label: "all", parts: new Map(), rows: [], depth: 0 };
  const child = (node, label, kind) => {
    const key = `${kind}${label}`;
    if (!node.parts.has(key)) node.parts.set(key, { id: `${node.id}\u0000${key}`, label, kind, parts: new Map(), rows: [] });
    return node.parts.get(key);
  };
  for (const row of rows) {
    let node = root;
    for (const part of row.module ? row.module.split(".") : ["no module"]) (node = child(node, part, "module")).rows.push(row);
    (node = child(node, row.operator || `(${row.attribution})`, "operator")).rows.push(row);
    child(node, shortOf(row.kernel), "kernel").rows.push(row);
  }
  root.rows = rows;
  return joined(root);
}

function joined(node) {
  let own = node;
  while (own.kind === "module" && own.parts.size === 1 && [...own.parts.values()][0].kind === "module") {
    const [only] = own.parts.values();
    own = { ...only, label: `${own.label}.${only.label}` };
  }
  own.parts = new Map([...own.parts].map(([key, part]) => [key, joined(part)]));
  return own;
}

function icicleWhere(node, rows) {
  if (!node.kind) return null;
  const where = { module: [...new Set(node.rows.map((row) => row.module))] };
  if (node.kind !== "module") Object.assign(where, { operator: node.rows[0].operator, attribution: [...new Set(node.rows.map((row) => row.attribution))] });
  if (node.kind === "kernel") where.kernel = [...new Set(node.rows.map((row) => row.kernel))];
  return where;
}

function drawIcicle(rows) {
  $("icicle-figure").hidden = rows.length === 0;
  $("icicle-note").textContent = "";
  if (!rows.length) return;
  const nodes = [];
  const walk = (node, parent) => {
    nodes.push({ node, parent, total: sum(node.rows, "duration_ns") });
    for (const part of node.parts.values()) walk(part, node.id);
  };
  walk(icicleNodes(rows), "");
  const whole = nodes[0].total;
  const least = nodes.map((at) => at.total).sort((a, b) => b - a)[MOST_LEAVES] || 0;
  const shown = nodes.filter((at) => at.total > least || at.node.id === "all");
  const colored = (node) => node.kind === "operator" || node.kind === "kernel";
  const colors = (node) => { const [[family]] = [...groupBy(node.rows, (row) => row.family)].sort((a, b) => sum(b[1], "duration_ns") - sum(a[1], "duration_ns")); return familyOf(family).color; };
  $("icicle-figure").dataset.says = `${plural(shown.length, "block")} of ${duration(whole)}: ${shown.slice(1, 4).map(({ node, total }) => `${node.label} ${percent(total / whole)}`).join(", ")}.`;
  const fills = shown.map(({ node }) => (colored(node) ? colors(node) : ink("rule")));
  const layout = painted(DATA.plain);
  Object.assign(layout, { height: narrow() ? 420 : 360, margin: { l: 0, r: 0, t: 4, b: 4 } });
  delete layout.xaxis;
  delete layout.yaxis;
  draw("icicle-figure", [{
    type: "icicle", branchvalues: "total", tiling: { orientation: "v", pad: 1 }, sort: true, hoverinfo: "none", textposition: "middle left", leaf: { opacity: 1 }, pathbar: { visible: true, thickness: 20 },
    ids: shown.map(({ node }) => node.id), parents: shown.map(({ parent }) => parent), values: shown.map(({ total }) => total),
    labels: shown.map(({ node }) => escaped(clip(node.label, 60))), text: shown.map(({ total }) => percent(total / whole)), textinfo: "label+text",
    marker: { colors: fills, line: { width: 1, color: shown.map(({ node }) => ink(colored(node) ? "surface" : "quiet")) } },
    insidetextfont: { color: fills.map(inkOn) }, outsidetextfont: { color: ink("ink") },
    customdata: shown.map(({ node, total }) => ({ title: node.label, where: icicleWhere(node), rows: [["", node.kind || "everything selected"], ["time", `${duration(total)}, ${percent(total / whole)}`], ["launches", count(sum(node.rows, "launches"))]] })),
  }], layout);
  const left = nodes.length - shown.length;
  $("icicle-note").textContent = left ? `${plural(left, "node")} of at most ${duration(least)} each are left blank.` : "";
}
