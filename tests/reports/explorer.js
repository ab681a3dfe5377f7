// A tour of the explorer: change one thing, note what every panel says, and the SQL it gives.
const points = () => marks("roofline-figure").flatMap((t) => t.x.map((x, i) => [t.name, x, t.y[i]]));
const see = async (name) => {
  await drawn();
  const bars = (id) => ($(id).hidden ? {} : Object.fromEntries($(id).data.filter((t) => t.type === "bar").map((t) => [t.name, t.x.reduce((a, b) => a + b, 0) * 1e9])));
  answer[name] = {
    points: points(), sum: text("sum"), title: `${text("run-sheet")}: ${text("roofline-title")}`, axis: $("roofline-figure").layout.xaxis.title.text,
    table: text("table-note"), csv: copy("#csv"), sql: copy("#roofline button[data-sql]"),
    roofs: $("roofline-figure").data.filter((t) => t.meta && t.meta.role === "roof").map((t) => [t.name, t.meta.dim, t.fill]),
    laneRoofs: $("lane-figure").hidden ? [] : $("lane-figure").layout.shapes.map((s) => [s.type, s.x0, s.x1]), note: text("roofline-note"), laneNote: text("lane-note"),
    families: bars("families-figure"), familiesSql: copy("#families button[data-sql]"),
    lost: text("lost-table"), lostSql: copy("#lost button[data-sql]"), lostNote: text("lost-note"),
    hatched: ($("lost-figure").hidden ? [] : $("lost-figure").data).filter((t) => t.marker && t.marker.pattern).flatMap((t) => t.x.map((x, i) => [t.customdata[i].title, x * 1e9])),
    icicle: $("icicle-figure").data[0].values[0], icicleSql: copy("#icicle button[data-sql]"),
    bytes: text("bytes-table"), bytesSql: copy("#byte-sources button[data-sql]"), picked: text("picked"),
    timeline: JSON.parse($("timeline-figure").dataset.shown), timelineSql: copy("#timeline button[data-sql]"),
    opacity: marks("roofline-figure").flatMap((t) => t.marker.opacity),
  };
};
// Panels that `see` does not read are drawn for the first choice and the last ones only.
const unread = (hidden) => { for (const id of ["phases", "modules", "timings", "telemetry", "ledger"]) $(id).style.display = hidden ? "none" : ""; };
document.querySelector('tr[data-run="dddd000000000005"]').click();
await see("first");
unread(true);
for (const level of ["l2", "l1", "all"]) { choose("level", level); await see(level); }
choose("level", "dram");
for (const bytes of ["counter", "cache_model", "compulsory"]) { choose("bytes", bytes); await see(bytes); }
choose("bytes", "best");
choose("flops", "counter");
await see("counter_flops");
choose("flops", "best");
for (const point of ["launch", "operator", "module"]) { choose("point", point); await see(point); }
choose("point", "shape");
choose("precision", "bf16");
await see("bf16");
choose("precision", "");
choose("phase", "decode \u00b7 decode");
await see("decode");
choose("phase", "");
slide(60);
await see("slide");
slide(100);
const row = (name, ctrlKey) => [...document.querySelectorAll("#table-body tr")].find((r) => r.textContent.startsWith(name)).dispatchEvent(new MouseEvent("click", { ctrlKey, bubbles: true }));
const point = (name, ctrlKey) => { const t = marks("roofline-figure").find((m) => m.name === name); $("roofline-figure").emit("plotly_click", { points: [{ customdata: t.customdata[0] }], event: { ctrlKey } }); };
point("matmul", false);
await see("one");
answer.detail = text("detail");
answer.columns = text("table-head");
point("pointwise", true);
await see("two");
key("Escape");
await see("none");
row("<\/script>", false);
await see("hostile");
key("Escape");
choose("search", "add fp32");
await see("search");
choose("search", "");
document.querySelector("#table-head th:nth-child(3) button").click();
await see("sorted");
choose("lost-level", "module");
await see("modules");
unread(false);
choose("step", "dddd000000000005/1");
await see("step");
answer.timelineNote = text("timeline-note");
answer.timelineLegend = text("timeline-legend");
answer.timings = text("timings-legend");
answer.telemetry = text("telemetry-note");
answer.statics = Object.fromEntries(["timings", "telemetry", "ledger", "runs"].map((name) => [name, copy(`[data-sql=${name}]`)]));
document.querySelector('tr[data-run="eeee000000000006"]').dispatchEvent(new MouseEvent("click", { ctrlKey: true, bubbles: true }));
await see("both");
answer.executions = [...$("execution").options].map((o) => o.value);
choose("execution", "cuda_graph");
await see("graph");
$("roofline-figure").emit("plotly_hover", { points: [{ customdata: marks("roofline-figure")[0].customdata[0] }], event: { clientX: 5, clientY: 5 } });
answer.hover = text("tooltip");
document.querySelector('tr[data-run="eeee000000000006"]').click();
await see("other");
document.querySelector('tr[data-run="dddd000000000005"]').click();
await drawn();
$("roofline-figure").emit("plotly_hover", { points: [{ customdata: marks("roofline-figure")[0].customdata[0] }], event: { clientX: 5, clientY: 5 } });
answer.spread = [$("spread").hidden, text("spread")];
answer.ridges = $("roofline-figure").data.find((t) => t.name === "ridge points").x;
document.querySelector('tr[data-run="ffff000000000007"]').click();
await see("bare");
dispatchEvent(new Event("beforeprint"));
answer.printed = document.documentElement.dataset.theme;
