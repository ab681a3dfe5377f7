// A tour of the timeline of hand-written runs; each is 10,000 ns long.
const panel = () => ({ shown: shown(), sql: copy("#timeline button[data-sql]"), note: text("timeline-note") });
const press = async (key) => {
  canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  await wait(260);
  await drawn();
  const time = new URLSearchParams(location.hash.slice(1)).get("time");
  return time && time.split("~").map(Number);
};
const rowOf = (title, time, length) => {
  for (let y = 22; y < canvas.clientHeight; y += 3) {
    at("pointermove", time, y, length);
    if (!$("tooltip").hidden && $("tooltip").querySelector("h3").textContent === title) return y;
  }
  throw new Error(`nothing called ${title}`);
};
const click = async (title, time, length) => {
  const y = rowOf(title, time, length);
  const says = text("tooltip");
  at("pointerdown", time, y, length, { button: 0 });
  at("pointerup", time, y, length);
  await drawn();
  return says;
};
await view("run=run_a0&step=whole");
answer.early = titles(520, 10000);
answer.late = titles(7000, 10000);
answer.steps = titles(1200, 10000);
answer.shown = shown();
answer.whole = panel();
await view("run=run_a0&step=whole&time=0~2000");
answer.zoomed = panel();
await view("run=run_a0&step=whole");
answer.activity = await click("mm_kernel", 2500, 10000);
answer.picked = [text("picked")];
answer.sum = text("sum");
await view("run=run_a0&step=whole");
answer.operator = await click("aten::linear", 50, 10000);
answer.picked.push(text("picked"));
await view("run=run_a0&step=whole");
answer.keys = { w: await press("w"), d: await press("d"), 0: await press("0") };
const turn = () => { const event = new WheelEvent("wheel", { deltaY: 50, cancelable: true, bubbles: true }); canvas.dispatchEvent(event); return event.defaultPrevented; };
canvas.blur();
answer.scrolled = [turn()];
canvas.focus();
answer.scrolled.push(turn());
await view("run=run_a0&run=run_b0&step=whole");
answer.both = panel();
answer.together = titles(2520, 12000);
await view("run=run_a0&run=run_b0&run=run_c0&step=whole");
answer.three = text("timeline-note");
await view("run=run_d0");
answer.cpu = titles(520, 4000);
answer.cpuShown = shown();
