// The selectors, the legend of families, keys, theme and printing.
const adding = (event) => event.ctrlKey || event.metaKey || event.shiftKey;

function drawRuns() {
  drawRunList();
  for (const row of document.querySelectorAll("tr[data-run]")) {
    row.classList.toggle("chosen", state.runs.has(row.dataset.run));
    row.querySelector("button").setAttribute("aria-pressed", state.runs.has(row.dataset.run));
  }
}

// A selector with a single choice is hidden.
function drawChoices(id, values, says = String) {
  const known = [...new Set(values.filter((value) => value != null))].sort();
  const option = (value, text) => { const node = h("option", { value }, text); node.selected = value === (state[id] || ""); return node; };
  $(id).replaceChildren(option("", "all"), ...known.map((value) => option(value, says(value))));
  $(id).parentElement.hidden = known.length < 2 && state[id] === null;
}

function drawSelectors(own) {
  const runs = DATA.runs.filter((run) => state.runs.has(run.id));
  for (const name of ["mode", "execution"]) drawChoices(name, runs.map((run) => run[name]));
  drawChoices("phase", chosenRuns().flatMap((run) => GROUPS_OF.get(run.id) || []).map(phaseOf));
  drawChoices("precision", own.map((row) => row.precision));
  const knows = (name) => own.some((row) => row[name] != null);
  offer("level", { l2: knows("l2_bytes"), l1: knows("l1_bytes"), all: knows("l2_bytes") || knows("l1_bytes") }, "dram");
  offer("bytes", { counter: knows("counter_bytes"), cache_model: knows("cache_model_bytes"), compulsory: knows("compulsory_bytes") }, "best");
  offer("flops", { algorithm: knows("algorithm_flops"), counter: knows("counter_flops") }, "best");
  for (const [id, value] of [["point", state.point], ["share", Math.round(state.share * 100)], ["search", state.search], ["lost-level", state.lost]]) if ($(id).value !== String(value)) $(id).value = value;
  $("all-roofs").checked = state.allRoofs;
  $("colour").value = state.colour;
  $("arrows").checked = state.arrows;
  $("arrows").parentElement.hidden = !comparable();
  $("share-says").textContent = percent(state.share);
  const more = settingsSay();
  $("more").textContent = ["more", more.join(" · ")].filter(Boolean).join(": ");
  $("more").title = more.length ? `Differs from how the page opens: ${more.join(", ")}` : "Sources of bytes and FLOPs, runtime shown, colours, roofs";
}

// The settings behind "more" that differ from how the page opens.
function settingsSay() {
  return [
    ["bytes", state.bytes !== "best" && SOURCES[state.bytes]], ["FLOPs", state.flops !== "best" && SOURCES[state.flops]], ["runtime shown", state.share < 1 && percent(state.share)],
    ["colour by", state.colour === "run" && "run"], ["roofs", state.allRoofs && "all"], ["arrows", !state.arrows && comparable() && "off"],
  ].filter(([, value]) => value).map(([name, value]) => `${name} ${value}`);
}

// Disable a source that no row has, and leave it if it is selected.
function offer(id, known, otherwise) {
  for (const option of $(id).options) option.disabled = known[option.value] === false;
  if (known[state[id]] === false) { state[id] = otherwise; repriced(); }
  $(id).value = state[id];
}

function drawLegend() {
  if (state.colour === "run") { drawRunLegend(); return; }
  const rows = chosenRows({ families: false });
  const whole = sum(rows, "duration_ns");
  const families = [...groupBy(rows, (point) => point.family)].sort((a, b) => familyOrder(a[0]) - familyOrder(b[0]));
  renew($("legend"), ...families.map(([family, own]) => {
    const on = state.families.size === 0 || state.families.has(family);
    const swatch = h("i", { class: familyOf(family).symbol, style: { background: familyOf(family).color } });
    const click = (event) => { isolate(family, adding(event)); render(); };
    return h("button", { type: "button", "data-key": family, class: on ? "on" : "off", "aria-pressed": String(state.families.has(family)), onclick: click }, swatch, family, h("small", {}, percent(sum(own, "duration_ns") / whole)));
  }));
}

function isolate(family, add) {
  const alone = state.families.size === 1 && state.families.has(family);
  if (add && state.families.has(family)) state.families.delete(family);
  else if (add) state.families.add(family);
  else state.families = alone ? new Set() : new Set([family]);
}

function drawSum(rows) {
  const total = sum(rows, "duration_ns");
  const parts = [`${plural(sum(rows, "launches"), "kernel")}`, duration(total)];
  const flops = sum(rows, "flops");
  if (flops && total) parts.push(`${si((flops / total) * 1e9, "FLOP/s")} on average`);
  if (state.families.size) parts.push(`only ${[...state.families].join(", ")}`);
  $("sum").textContent = $("sum").title = parts.join(" · ");
  renew($("picked"), ...state.picked.map(({ label, where }) => h("button", { type: "button", "data-key": JSON.stringify(where), title: "Deselect", onclick: () => { pick(label, where, true); hideDetail(); render(); } }, h("bdi", {}, clip(label, 44)), " ×")));
}

function listen() {
  listenToRuns();
  for (const row of document.querySelectorAll("tr[data-run]")) {
    row.addEventListener("click", (event) => { chooseRun(row.dataset.run, adding(event)); render(); });
  }
  const on = (id, event, change) => $(id).addEventListener(event, () => { change($(id)); render(); });
  for (const id of ["mode", "execution", "phase", "precision"]) on(id, "change", (node) => { state[id] = node.value || null; settle(); });
  for (const id of ["bytes", "flops"]) on(id, "change", (node) => { state[id] = node.value; });
  for (const id of ["level", "point"]) on(id, "change", (node) => { state[id] = node.value; });
  $("lost-level").addEventListener("change", () => { state.lost = $("lost-level").value; redraw("lost"); });
  $("share").addEventListener("input", () => { state.share = Number($("share").value) / 100; $("share-says").textContent = percent(state.share); renderSoon(); });
  on("all-roofs", "change", (node) => { state.allRoofs = node.checked; });
  on("colour", "change", (node) => { state.colour = node.value; });
  on("arrows", "change", (node) => { state.arrows = node.checked; });
  $("search").addEventListener("input", () => { state.search = $("search").value; tableLimit = MOST_ROWS; redraw("table"); });
  on("step", "change", (node) => { state.step = node.value; });
  listenToTimeline();
  $("table-more").addEventListener("click", () => { tableLimit = Infinity; redraw("table"); });
  $("csv").addEventListener("click", (event) => { copy(csv(tabled)); flash(event.target, "copied"); });
  $("link").addEventListener("click", () => { writeAddress(); copy(location.href); flash($("link"), "copied"); });
  for (const button of document.querySelectorAll("button[data-save]")) button.addEventListener("click", () => save(button));
  $("theme").addEventListener("click", () => { const other = theme === "dark" ? "light" : "dark"; chooseTheme(other === systemTheme() ? null : other); render(); });
  systemDark.addEventListener("change", () => { chooseTheme(null); render(); });
  document.addEventListener("keydown", keyed);
  let before = theme;
  addEventListener("beforeprint", () => { before = theme; setTheme("light"); render(); drawAll(); });
  addEventListener("afterprint", () => { setTheme(before); render(); });
  let width = innerWidth;
  addEventListener("resize", () => { if ((width < 700) !== narrow() || document.body.classList.contains("only-roofline")) render(); width = innerWidth; });
}

// Keys outside of text fields: / searches, [ and ] move the slider, Escape resets the selection.
function keyed(event) {
  if (event.key === "Escape") {
    if (document.querySelector(":popover-open")) return; // which it closes
    hideDetail();
    hideTooltip();
    state.families.clear();
    state.picked = [];
    render();
  }
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName || "") || adding(event) || event.altKey) return;
  if (event.key === "/") { $("search").focus(); event.preventDefault(); }
  if (event.key === "[" || event.key === "]") {
    $("share").value = Number($("share").value) + (event.key === "[" ? -5 : 5);
    $("share").dispatchEvent(new Event("input"));
  }
}
