// Hues of marks. Colours from Python have their value for light ground; DARK holds for each the value for dark ground.
const tone = (light) => (document.documentElement.dataset.theme === "dark" && DARK[light]) || light;

// A copy of a figure's specification in the colours of the theme.
const toned = (spec) => JSON.parse(JSON.stringify(spec).replace(/"#[0-9a-f]{6}"/g, (color) => `"${tone(color.slice(1, -1))}"`));

// Colour and symbol of each family; a family that the page does not know looks like `other`.
function familiesOf(table) {
  const own = new Map(Object.entries(table).map(([name, { color, symbol }]) => [name, { symbol, get color() { return tone(color); } }]));
  return (name) => own.get(name) || own.get("other");
}

// Black or white, whichever is more legible on a colour; its contrast is at least 4.5:1 (WCAG 2, relative luminance).
function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}
