// Parts of every page for readers without a mouse or without sight.
const headingOf = (section) => [...section.querySelector("h2").childNodes].filter((node) => !(node.matches && node.matches(".tools, .term"))).map((node) => node.textContent).join("").replace(/\s+/g, " ").trim();

// A figure has a sentence: its panel's heading, and its own fact or the panel's note. The sentence stands for the drawing;
// Plotly's buttons beside it stay reachable.
function describe(figure) {
  const note = document.getElementById(figure.id.replace(/-figure$/, "-note"));
  const says = figure.dataset.says || (note ? note.textContent : "");
  figure.setAttribute("role", "figure");
  figure.setAttribute("aria-label", `${headingOf(figure.closest("section"))}. ${says}`.trim());
  for (const drawing of figure.querySelectorAll(".main-svg")) drawing.setAttribute("aria-hidden", "true");
}

// Boxes that scroll are reached and scrolled by keyboard.
for (const box of document.querySelectorAll(".scroll")) {
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", headingOf(box.closest("section")));
}

document.getElementById("skip").addEventListener("click", () => {
  const first = document.querySelector("#roofline") || document.querySelector("main section");
  first.tabIndex = -1;
  first.focus();
  first.scrollIntoView();
});
