// The list of runs at the side of the roofline: filtered by text and settings, sorted, one value beside each name.
const MOST_RUNS = 300;
const MISSING = "–";
const settingOf = (run, key) => (run[key] == null ? MISSING : String(run[key]));
const SETTINGS = DATA.run_columns.filter(({ key, setting }) => setting && new Set(DATA.runs.map((run) => settingOf(run, key))).size > 1);
const METRICS = DATA.run_columns.filter(({ setting, numeric }) => !setting && numeric);
const RUN_TEXT = new Map(DATA.runs.map((run) => [run.id, [run.name, run.outcome, ...DATA.run_columns.filter(({ setting }) => setting).map(({ key }) => run[key] ?? "")].join(" ").toLowerCase()]));
const numerically = new Intl.Collator("en", { numeric: true }).compare;

const runList = { search: "", only: {}, metric: METRICS.some(({ key }) => key === "step_ns") ? "step_ns" : "device_time_ns", order: "name", limit: MOST_RUNS, active: null };

remember("find", () => runList.search, (text) => { runList.search = text; });
remember("only", () => Object.entries(runList.only).map((entry) => entry.join(":")), (texts) => {
  const entries = texts.map((text) => [text.slice(0, text.indexOf(":")), text.slice(text.indexOf(":") + 1)]);
  runList.only = Object.fromEntries(entries.filter(([key, text]) => SETTINGS.some((own) => own.key === key) && DATA.runs.some((run) => settingOf(run, key) === text)));
});
remember("metric", () => runList.metric, (key) => { if (METRICS.some((own) => own.key === key)) runList.metric = key; });
remember("order", () => runList.order, (text) => { if (["name", ...METRICS.map(({ key }) => key)].includes(text.replace(/^-/, ""))) runList.order = text; });

// The unit of a column is in its name.
function runValue(key, value) {
  if (typeof value !== "number") return value ?? "";
  if (key.endsWith("_ns")) return duration(value);
  if (key.endsWith("_bytes")) return si(value, "B");
  return /^mfu$|^mbu$|_share$/.test(key) ? percent(value) : digits(value);
}

// The runs that fulfil text and settings; `but` names a setting that does not count.
function runsListed(but = null) {
  const words = runList.search.toLowerCase().split(/\s+/).filter(Boolean);
  const only = Object.entries(runList.only).filter(([key]) => key !== but);
  return DATA.runs.filter((run) => only.every(([key, text]) => settingOf(run, key) === text) && words.every((word) => RUN_TEXT.get(run.id).includes(word)));
}

// By device, since runs of several devices share no roofline. Missing values come last in both directions.
function runsSorted(runs) {
  const key = runList.order.replace(/^-/, "");
  const way = key === runList.order ? 1 : -1;
  const order = key === "name" ? () => 0 : (a, b) => (a[key] == null) - (b[key] == null) || (a[key] == null ? 0 : way * (a[key] - b[key]));
  return [...runs].sort((a, b) => a.machine - b.machine || order(a, b) || (key === "name" ? way : 1) * numerically(a.name, b.name));
}

// Names without the words that all of them begin or end with. One word of each is always left.
function shortNames(runs) {
  const names = runs.map((run) => run.name.match(/[^\s_/·-]+[\s_/·-]*|[\s_/·-]+/g) || [run.name]);
  const most = runs.length > 1 ? least(names.map((words) => words.length)) - 1 : 0;
  const shared = (at) => names.every((words) => words.at(at) === names[0].at(at));
  let [first, last] = [0, 0];
  while (first < most && shared(first)) first += 1;
  while (first + last < most && shared(-1 - last)) last += 1;
  return new Map(runs.map((run, i) => [run.id, names[i].slice(first, names[i].length - last).join("").replace(/[\s_/·-]+$/, "") || run.name]));
}

let runsDrawn = null;

// The list is made again only if other runs are listed, or with other values.
function drawRunList() {
  if (!$("run-list")) return;
  const runs = runsSorted(runsListed());
  const { active, ...inputs } = runList;
  if (runsDrawn !== JSON.stringify(inputs)) makeRunList(runs);
  runsDrawn = JSON.stringify(inputs);
  for (const option of $("run-options").querySelectorAll("[role=option]")) option.setAttribute("aria-selected", String(state.runs.has(option.dataset.key)));
  const names = [...state.runs].map((id) => RUNS.get(id).name);
  $("run-sheet").textContent = names.length === 1 ? clip(names[0], 44) : plural(names.length, "run");
  const hidden = [...state.runs].filter((id) => !runs.some((run) => run.id === id)).length;
  $("run-count").textContent = runs.length < DATA.runs.length ? `${count(runs.length)} of ${count(DATA.runs.length)}` : count(DATA.runs.length);
  const together = togetherWith(runs);
  $("run-all").hidden = together.length < 2;
  $("run-all").textContent = `choose all ${count(together.length)}${DATA.machines.length > 1 && together.length ? ` on ${clip(DATA.machines[together[0].machine].device, 24)}` : ""}`;
  $("run-hidden").textContent = hidden ? `${plural(hidden, "chosen run")} not listed` : "";
  const listed = (id) => $(`run-${id}`) !== null;
  activate([document.activeElement === $("run-options") ? active : null, ...state.runs, ...runs.slice(0, 1).map((run) => run.id)].find(listed));
}

// Only the list is scrolled, not the page.
function scrollToChosen() {
  const chosen = [...state.runs].map((id) => $(`run-${id}`)).find(Boolean);
  if (chosen) $("run-options").scrollTop += chosen.getBoundingClientRect().top - $("run-options").getBoundingClientRect().top - 40;
}

function makeRunList(runs) {
  const names = shortNames(runs);
  const shown = runs.slice(0, runList.limit);
  const groups = [...groupBy(shown, (run) => run.machine)].map(([index, own]) => h("div", { role: "group", "aria-label": DATA.machines[index].device }, DATA.machines.length > 1 ? h("div", { class: "device", "aria-hidden": "true" }, DATA.machines[index].device) : null, ...own.map((run) => runOption(run, names.get(run.id)))));
  renew($("run-options"), ...groups);
  $("run-more").hidden = shown.length === runs.length;
  $("run-more").textContent = `list all ${count(runs.length)}`;
  drawFacets();
  $("run-search").value = runList.search;
  $("run-metric").value = runList.metric;
  for (const [id, key] of [["run-name", "name"], ["run-value", runList.metric]]) {
    const sorted = runList.order.replace(/^-/, "") === key;
    $(id).dataset.sort = !sorted ? "none" : runList.order === key ? "ascending" : "descending";
  }
}

function runOption(run, name) {
  const value = run.outcome === "ok" ? runValue(runList.metric, run[runList.metric]) : run.outcome;
  const title = [run.name, run.message].filter(Boolean).join("\n");
  return h("div", { role: "option", id: `run-${run.id}`, "data-key": run.id, title, class: run.outcome === "ok" ? "run" : "run failed" }, h("i", { class: "box", title: "Add or remove" }), h("small", {}, value), h("bdi", {}, ...clip(name, 160).split(/(?<=[_/·])/).flatMap((part) => [part, h("wbr")])));
}

// A selector for each setting in which runs differ, with the number of runs that each choice would list.
function drawFacets() {
  for (const { key, title } of SETTINGS) {
    const counts = new Map();
    for (const run of runsListed(key)) counts.set(settingOf(run, key), (counts.get(settingOf(run, key)) || 0) + 1);
    const chosen = runList.only[key];
    if (chosen !== undefined && !counts.has(chosen)) counts.set(chosen, 0);
    const options = [...counts].sort((a, b) => numerically(a[0], b[0])).map(([text, runs]) => h("option", { value: text, selected: text === chosen }, `${clip(text, 40)} (${count(runs)})`));
    const select = document.querySelector(`#run-facets select[data-setting="${key}"]`);
    select.replaceChildren(h("option", { value: "" }, "all"), ...options);
    select.parentElement.classList.toggle("on", chosen !== undefined);
    select.setAttribute("aria-label", title);
  }
  const only = SETTINGS.filter(({ key }) => key in runList.only).map(({ key, title }) => `${title} ${runList.only[key]}`);
  $("run-only").textContent = only.join(", ") || `by ${SETTINGS.slice(0, 3).map(({ title }) => title).join(", ")}${SETTINGS.length > 3 ? ", …" : ""}`;
  $("run-filters").hidden = !SETTINGS.length;
}

// The listed runs that can be chosen together: of the device of the chosen runs, else of the first listed.
function togetherWith(runs) {
  const chosen = runs.find((run) => state.runs.has(run.id)) || runs[0];
  return runs.filter((run) => run.machine === chosen.machine);
}

// The option that the arrow keys have reached. The focus itself stays on the list, so that no drawing takes it away.
function activate(id) {
  runList.active = id || null;
  for (const option of $("run-options").querySelectorAll(".active")) option.classList.remove("active");
  const option = id && $(`run-${id}`);
  if (option) option.classList.add("active");
  if (option) $("run-options").setAttribute("aria-activedescendant", option.id);
  else $("run-options").removeAttribute("aria-activedescendant");
}

function keyedInList(event) {
  const ids = [...$("run-options").querySelectorAll("[role=option]")].map((option) => option.dataset.key);
  const at = ids.indexOf(runList.active);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: ids.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
  if (to !== undefined) {
    activate(ids[Math.min(Math.max(to, 0), ids.length - 1)]);
    if (runList.active) $(`run-${runList.active}`).scrollIntoView({ block: "nearest" });
  } else if ((event.key === "Enter" || event.key === " ") && runList.active) chooseInList(runList.active, event.key === " " || adding(event));
  else return;
  event.preventDefault();
}

function chooseInList(id, add) {
  runList.active = id;
  chooseRun(id, add);
  if (!add) openRunSheet(false);
  render();
}

function openRunSheet(open) {
  $("run-list").classList.toggle("open", open);
  $("run-sheet").setAttribute("aria-expanded", String(open));
}

function listenToRuns() {
  if (!$("run-list")) return;
  const change = (values) => { Object.assign(runList, { limit: MOST_RUNS, ...values }); drawRunList(); writeAddressSoon(); };
  const order = (key, first) => change({ order: runList.order === first ? (first === key ? `-${key}` : key) : first });
  $("run-options").addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) chooseInList(option.dataset.key, adding(event) || event.target.classList.contains("box"));
  });
  $("run-options").addEventListener("keydown", keyedInList);
  $("run-search").addEventListener("input", (event) => change({ search: event.target.value }));
  $("run-search").addEventListener("keydown", (event) => { if (event.key === "ArrowDown") { $("run-options").focus(); event.preventDefault(); } });
  $("run-facets").addEventListener("change", ({ target }) => {
    const { [target.dataset.setting]: _, ...others } = runList.only;
    change({ only: target.value ? { ...others, [target.dataset.setting]: target.value } : others });
  });
  $("run-metric").addEventListener("change", ({ target }) => {
    const key = runList.order.replace(/^-/, "");
    change({ metric: target.value, order: key === "name" ? runList.order : runList.order.replace(key, target.value) });
  });
  $("run-name").addEventListener("click", () => order("name", "name"));
  $("run-value").addEventListener("click", () => order(runList.metric, `-${runList.metric}`));
  $("run-more").addEventListener("click", () => change({ limit: Infinity }));
  $("run-sheet").addEventListener("click", () => openRunSheet(!$("run-list").classList.contains("open")));
  $("run-all").addEventListener("click", () => { state.runs = new Set(togetherWith(runsSorted(runsListed())).map((run) => run.id)); settle(); render(); });
}
