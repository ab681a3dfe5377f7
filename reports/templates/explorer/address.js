// The view in the address, so that a reader can send it: each piece of it that differs from how the page opens.
const REMEMBERED = new Map();
// The theme of the reader or of the address; null follows the system.
let themeChosen = null;
function chooseTheme(name) {
  themeChosen = name;
  setTheme(name || systemTheme());
}

// A panel registers a piece of its state when its script is first run. `get()` returns the text of the piece, a list of texts,
// or null; `set` takes what `get` returned, and leaves the state as it is for a text that it does not know, since an address
// may come from anywhere. What `get` returns before the address is read is how the page opens. `shows(text)` says whether the
// view has what a text names, where several texts name the same.
function remember(name, get, set, shows = (text) => [get()].flat().includes(text)) {
  REMEMBERED.set(name, { get, set, shows });
}

// A piece that is one of a few texts, or null: `state[key]`.
function rememberChoice(name, key, knows) {
  remember(name, () => state[key], (text) => { if (text === null || knows(text)) state[key] = text; });
}

function rememberOpening() {
  for (const piece of REMEMBERED.values()) piece.initial = piece.get();
}

// Pieces are set in the order in which they are registered: runs first, then the pieces that depend on them.
function readAddress() {
  const requested = new URLSearchParams(location.hash.slice(1));
  for (const { set, initial } of REMEMBERED.values()) set(initial);
  for (const [name, { set, initial }] of REMEMBERED) {
    const texts = requested.getAll(name);
    if (texts.length) set(Array.isArray(initial) ? texts : texts[0]);
  }
  settle();
}

// One line that names the parts of the address that the drawn page does not show. It goes with the view that it is about.
let viewTold = null;
function sayIgnored() {
  const has = (name, text) => (REMEMBERED.has(name) ? REMEMBERED.get(name).shows(text) : $(name) !== null);
  const ignored = [...new URLSearchParams(location.hash.slice(1))].filter(([name, text]) => !has(name, text)).map(([name, text]) => clip(text ? `${name}=${text}` : name, 80));
  $("address-note").textContent = ignored.length ? `Ignored in the address, since this page has no such value here: ${ignored.join(", ")}.` : "";
  viewTold = address();
}

// Spaces, colons and commas stay legible.
const legible = (text) => encodeURIComponent(text).replace(/%20/g, "+").replace(/%(2F|3A|2C)/g, decodeURIComponent);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// The runs are named wherever anything else is, since another report may open with other runs.
function address() {
  const parts = [];
  for (const [name, { get, initial }] of REMEMBERED) {
    if (name !== "run" && !same(get(), initial)) parts.push(...[get()].flat().map((text) => (text === "" ? name : `${name}=${legible(text)}`)));
  }
  const { get, initial } = REMEMBERED.get("run");
  const runs = parts.length || !same(get(), initial) ? get().map((text) => `run=${legible(text)}`) : [];
  return [...runs, ...parts].join("&");
}

function writeAddress() {
  const fragment = address();
  if (fragment !== viewTold) $("address-note").textContent = "";
  if (fragment === location.hash.slice(1)) return;
  try {
    history.replaceState(null, "", fragment ? `#${fragment}` : location.pathname + location.search);
  } catch {
    // A frame without an address of its own, as in a notebook, or a browser's limit of changes: the page works without.
  }
}

// Browsers allow about ten changes a second.
let writing = null;
function writeAddressSoon() {
  if (writing === null) writing = setTimeout(() => { writing = null; writeAddress(); }, 250);
}

// A run by its name, if all runs of that name are chosen, else by its id; many runs by the first digits of their ids.
const MOST_NAMES = 8;
const SHORT_ID = 8;
const byName = groupBy(DATA.runs, (run) => run.name);
const byShortId = groupBy(DATA.runs, (run) => run.id.slice(0, SHORT_ID));

function runTexts() {
  const ids = [...state.runs];
  if (ids.length > MOST_NAMES) return ids.map((id) => (byShortId.get(id.slice(0, SHORT_ID)).length === 1 ? id.slice(0, SHORT_ID) : id));
  const named = (id) => byName.get(RUNS.get(id).name).every((run) => state.runs.has(run.id));
  return [...new Set(ids.map((id) => (named(id) ? RUNS.get(id).name : id)))];
}

const runsNamed = (text) => (RUNS.has(text) ? [RUNS.get(text)] : byName.get(text) || byShortId.get(text) || []);

remember("run", runTexts, (texts) => {
  const requested = texts.flatMap(runsNamed);
  const together = requested.filter((run) => run.machine === requested[0].machine);
  if (together.length) state.runs = new Set(together.map((run) => run.id));
}, (text) => runsNamed(text).some((run) => state.runs.has(run.id)));
for (const name of ["mode", "execution"]) rememberChoice(name, name, (text) => DATA.runs.some((run) => run[name] === text));

// A phase by its own name, if it has one kind of step.
function phaseNamed(text) {
  const own = [...PHASES].filter(([, row]) => row.phase === text);
  return !PHASES.has(text) && own.length === 1 ? own[0][0] : text;
}

remember("phase", () => state.phase, (text) => { if (text === null || PHASES.has(phaseNamed(text))) state.phase = text && phaseNamed(text); }, (text) => state.phase !== null && phaseNamed(text) === state.phase);
rememberChoice("precision", "precision", (text) => text.length < 40); // settle() drops one that no kernel has
for (const name of ["level", "bytes", "flops", "point"]) rememberChoice(name, name, (text) => [...$(name).options].some((option) => option.value === text));
remember("share", () => digits(state.share * 100), (text) => { if (text >= 5 && text <= 100 && digits(Number(text)) === text) state.share = text / 100; });
remember("roofs", () => (state.allRoofs ? "all" : null), (text) => { state.allRoofs = text === "all"; });
remember("family", () => [...state.families], (names) => { state.families = new Set(names.filter((name) => FAMILIES.includes(name))); });
remember("picked", () => state.picked.map(({ label, where }) => JSON.stringify({ label, ...where })), (texts) => { state.picked = texts.map(pickedOf).filter(Boolean); }, (text) => state.picked.some((own) => same(own, pickedOf(text))));
remember("search", () => state.search, (text) => { state.search = text; });
remember("sort", () => (state.sort[1] < 0 ? "-" : "") + state.sort[0], (text) => {
  const key = text.replace(/^-/, "");
  if (COLUMNS.some((column) => column.key === key)) state.sort = [key, text === key ? 1 : -1];
});
rememberChoice("lost", "lost", (text) => Object.hasOwn(ITEMS, text));
rememberChoice("step", "step", (text) => text === WHOLE || DATA.steps.some((step) => stepKey(step) === text));
remember("theme", () => themeChosen, (text) => { if (text === null || themeOf(text) === text) chooseTheme(text); });
remember("roofline", () => (document.body.classList.contains("only-roofline") ? "" : null), (text) => { document.body.classList.toggle("only-roofline", text !== null); });

const COLUMNS_OF_GROUPS = new Set([...Object.keys(DATA.launch_groups), "mode", "execution"]);

// The condition of a mark: columns of launch groups, each with a value or a list of values. It goes into the panels' SQL, so
// that anything else is refused.
function pickedOf(text) {
  let where = null;
  try { where = JSON.parse(text); } catch { return null; }
  if (where === null || typeof where !== "object" || typeof where.label !== "string") return null;
  const { label, ...columns } = where;
  const plain = (value) => value === null || typeof value === "string" || Number.isFinite(value);
  const valid = Object.entries(columns).every(([name, value]) => COLUMNS_OF_GROUPS.has(name) && (Array.isArray(value) ? value : [value]).every(plain));
  return valid && chosenRuns().some((run) => (GROUPS_OF.get(run.id) || []).some(matching(columns))) ? { label, where: columns } : null;
}
