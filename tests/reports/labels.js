// On what else the labels of the roofline lie: roofs, points and other labels, by the boxes that the browser draws.
const met = new Set();
const figure = $("roofline-figure");
const onScreen = (node, x, y) => { const to = new DOMPoint(x, y).matrixTransform(node.getScreenCTM()); return [to.x, to.y]; };
const labels = figure._fullLayout.annotations.map((note, i) => [note, figure.querySelector(`.annotation[data-index="${i}"] text`)])
  .filter(([note, node]) => /slope|ridge|end/.test(note.name) && node).map(([note, node]) => {
    const { x, y, width, height } = node.getBBox(); // of which accents and descents have 2 pixels
    return { text: note.text, corners: [[x, y + 2], [x + width, y + 2], [x + width, y + height - 2], [x, y + height - 2]].map(([i, j]) => onScreen(node, i, j)) };
  });
// Whether a disc meets a label: it lies on the inner side of all four edges, or less than its radius beyond.
const meets = ({ corners }, [x, y], radius = 0) => corners.every(([x0, y0], i) => {
  const [x1, y1] = corners[(i + 1) % 4];
  return ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / Math.hypot(x1 - x0, y1 - y0) > -radius;
});
const { xaxis, yaxis } = figure._fullLayout;
const box = figure.getBoundingClientRect();
const inPlot = ([x, y]) => x >= box.x + xaxis._offset && x <= box.x + xaxis._offset + xaxis._length && y >= box.y + yaxis._offset && y <= box.y + yaxis._offset + yaxis._length;
const meet = (what, place, radius) => { for (const label of labels) if (meets(label, place, radius)) met.add(`${label.text} on ${what}`); };
for (const line of figure.querySelectorAll(".scatterlayer .js-line")) {
  if ((line.closest(".trace").__data__[0].trace.meta || {}).role !== "roof") continue;
  for (let at = 0; at <= line.getTotalLength(); at += 3) {
    const { x, y } = line.getPointAtLength(at);
    const place = onScreen(line, x, y);
    if (inPlot(place)) meet("a roof", place, 0.5);
  }
}
for (const mark of figure.querySelectorAll(".scatterlayer .point")) {
  const { x, y, width, height } = mark.getBoundingClientRect();
  if (width) meet("a point", [x + width / 2, y + height / 2], width / 2);
}
for (const one of labels) for (const other of labels) if (one !== other && one.corners.some((corner) => meets(other, corner))) met.add(`${one.text} on ${other.text}`);
return { labels: labels.map((label) => label.text), met: [...met] };
