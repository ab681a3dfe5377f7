// Draw everything that depends on what is chosen.
function render() {
  drawRunMenu();
  drawPhases();
  drawLegend();
  const points = chosen(POINTS);
  drawSum(points);
  drawRoofline(points);
  drawLane(points);
  drawTimes(points);
  drawLedger();
}

setTheme(theme);
listen();
if (DATA.runs.length) {
  chooseFromFragment();
  render();
} else {
  document.body.classList.add("without-runs");
}
document.documentElement.dataset.ready = "true";
