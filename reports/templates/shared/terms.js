// The button that explains a term. Its text is in the page: shared/terms.html.
function termButton(name) {
  return h("button", { type: "button", class: "term", popovertarget: `term-${name.replace(/ /g, "-")}`, "aria-label": `What is ${name}?` }, "?");
}

// Names and values; `terms` maps a name to its term.
const list = (rows, terms = {}) => h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name, terms[name] ? termButton(terms[name]) : null), h("dd", {}, value)]));

// A text opens beside the button last clicked: beneath it, or above where there is no room.
let askedFor = null;
document.addEventListener("click", (event) => { askedFor = event.target.closest("[popovertarget]"); }, true);
document.addEventListener("beforetoggle", (event) => {
  if (event.newState !== "open" || !askedFor || askedFor.getAttribute("popovertarget") !== event.target.id) return;
  const { left, bottom, top } = askedFor.getBoundingClientRect();
  const style = event.target.style;
  style.left = `${Math.max(8, Math.min(left, innerWidth - 396))}px`;
  style.top = top < innerHeight / 2 ? `${bottom + 6}px` : "auto";
  style.bottom = top < innerHeight / 2 ? "auto" : `${innerHeight - top + 6}px`;
}, true);
