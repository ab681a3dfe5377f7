// Change one thing, take the link, go back to the page as it opens, and follow the link: the view is the same.
const option = (id) => $(`run-${id}`);
const point = (name) => { const t = marks("roofline-figure").find((m) => m.name === name); $("roofline-figure").emit("plotly_click", { points: [{ customdata: t.customdata[0] }], event: {} }); };
const set = (node, value) => { node.value = value; node.dispatchEvent(new Event("change", { bubbles: true })); };
const link = () => decodeURIComponent(new URL(copy("#link")).hash.replace(/\+/g, " "));
const follow = async (hash) => { location.hash = hash; await wait(0); await drawn(); };
const go = (url) => { history.replaceState(null, "", url); dispatchEvent(new HashChangeEvent("hashchange")); };
const view = async () => {
  await drawn();
  return [
    ...["sum", "roofline-title", "legend", "picked", "table-note", "table-head", "run-options", "run-count", "run-only", "lost-level"].map(text), copy("#csv"), copy("#lost button[data-sql]"), copy("#timeline button[data-sql]"),
    $("roofline-figure").data.filter((t) => t.meta && t.meta.role === "roof").map((t) => [t.name, t.meta.dim]), $("roofline-figure").layout.xaxis.title.text, $("search").value, $("share").value, $("lost-level").value, $("all-roofs").checked,
    document.documentElement.dataset.theme, [...document.querySelectorAll("[role=option][aria-selected=true]")].map((node) => node.id), document.querySelector("#table-head [aria-sort]").textContent,
  ];
};
// Settings that do not hide each other are of one link.
const STATES = {
  run: () => option("eeee000000000006").click(),
  runs: () => { option("dddd000000000005").click(); option("eeee000000000006").querySelector(".box").click(); set($("execution"), "cuda_graph"); },
  filters: () => { choose("phase", "decode \u00b7 decode"); choose("precision", "bf16"); choose("share", 60); $("all-roofs").click(); $("theme").click(); },
  settings: () => {
    choose("level", "l2"); choose("bytes", "compulsory"); choose("flops", "counter"); choose("point", "operator");
    const names = [...$("legend").children];
    names[0].click();
    [...$("legend").children][1].dispatchEvent(new MouseEvent("click", { ctrlKey: true, bubbles: true }));
  },
  picked: () => point("matmul"),
  hostile: async () => { await drawn(); [...document.querySelectorAll("#table-body tr")].find((row) => row.textContent.startsWith("</script>")).click(); },
  panels: () => {
    choose("search", "mm + add & 1"); choose("search", "rich add"); document.querySelector("#table-head th:nth-child(3) button").click();
    choose("lost-level", "module"); choose("step", "dddd000000000005/1");
    set(document.querySelector("[data-setting=execution]"), "eager"); choose("run-search", "rich"); set($("run-metric"), "kernels"); $("run-value").click();
  },
};
// From the table to the timeline, which is unpacked where it comes into sight, and has no statement before.
$("table").scrollIntoView();
for (const id of ["families", "phases", "modules", "icicle"]) $(id).style.display = "none";  // which `view` does not read
await drawn();
const differences = (own, other) => own.flatMap((value, i) => (JSON.stringify(value) === JSON.stringify(other[i]) ? [] : [[i, other[i], value]]));
const opening = await view();
answer.views = {};
for (const [name, change] of Object.entries(STATES)) {
  const visits = history.length;
  await change();
  const seen = await view();
  const taken = link();
  const url = copied.at(-1);
  const written = location.href === url;
  const more = history.length - visits;
  go(location.pathname);
  const reset = differences(await view(), opening);
  go(url);
  const back = await view();
  answer.views[name] = { link: taken, written, more, reset, changed: differences(seen, opening).length > 0, differs: differences(back, seen), same: link() === taken, note: text("address-note") };
  go(location.pathname);
}
const evil = { label: "x", "kernel) OR (1=1": "a" };
await follow(`#run=nothing&phase=<img src=x onerror=alert(1)>&level=l9&share=0x20&family=matmul&sort=constructor&lost=__proto__&order=toString&only=mode&theme=url(x)&step=0&time=-1e300~1e300&evil&table&picked=[1&picked=${encodeURIComponent(JSON.stringify(evil))}`);
answer.refused = text("address-note");
answer.refusedSql = copy("#roofline button[data-sql]");
answer.refusedLink = link();
answer.told = text("address-note");
choose("point", "operator");
link();
answer.untold = text("address-note");
await follow("#run=eeee0000&phase=decode");
answer.short = [link(), text("address-note")];
await follow(`#run=rich_eager&picked=${encodeURIComponent('{ "label": "products", "family": "matmul" }')}`);
answer.spaced = [text("picked"), text("address-note")];
await follow("#theme=light");
answer.system = [matchMedia("(prefers-color-scheme: dark)").matches, text("address-note"), link()];
await follow("#roofline&run=rich_graph&point=operator");
answer.alone = [document.body.classList.contains("only-roofline"), text("roofline-title"), link()];
