// Tables by column, as the page's data holds them. A row is a small object that knows its place in the columns, and its
// fields read them: a page of a million launches has no object with forty fields for each. NULL is NaN in a column of
// numbers, and null in a row.
function numbersOf(values) {
  const numbers = new Float64Array(values.length);
  for (let i = 0; i < values.length; i += 1) numbers[i] = values[i] === null ? NaN : values[i];
  return numbers;
}

// A column has `numbers`, or `codes` of its distinct `values`; one of NULLs alone has both.
function columnOf(packed, length) {
  if (packed == null) return { values: [null], codes: new Uint8Array(length), numbers: new Float64Array(length).fill(NaN) };
  if (Array.isArray(packed)) return { numbers: numbersOf(packed) };
  if (packed.values.some((value) => typeof value === "string")) return { values: packed.values, codes: Uint32Array.from(packed.codes) };
  const values = numbersOf(packed.values);
  const numbers = new Float64Array(length);
  for (let i = 0; i < length; i += 1) numbers[i] = values[packed.codes[i]];
  return { numbers };
}

function reader({ numbers, codes, values }) {
  if (codes) return function read() { return values[codes[this.at]]; };
  return function read() { const value = numbers[this.at]; return Number.isNaN(value) ? null : value; };
}

const field = (type, name, get) => Object.defineProperty(type.prototype, name, { get, enumerable: true });

function tableOf(packed) {
  const length = Math.max(0, ...Object.values(packed).map((column) => (column ? (column.codes || column).length : 0)));
  class Row { constructor(at) { this.at = at; } }
  const columns = {};
  for (const [name, column] of Object.entries(packed)) {
    columns[name] = columnOf(column, length);
    field(Row, name, reader(columns[name]));
  }
  return { columns, length, Row, rows: Array.from({ length }, (_, at) => new Row(at)) };
}

// Codes of any column, so that rows are compared by small integers.
function coded(column) {
  if (column.codes) return column;
  const known = new Map();
  const codes = new Uint32Array(column.numbers.length);
  column.numbers.forEach((value, at) => {
    if (!known.has(value)) known.set(value, known.size);
    codes[at] = known.get(value);
  });
  return Object.assign(column, { codes, values: [...known.keys()] });
}

// A number for every row, which rows share that agree in all of these columns; and how many numbers there are.
function numbered(columns, length) {
  let ids = new Float64Array(length);
  let many = 1;
  for (const { codes, values } of columns.map(coded)) {
    if (many * values.length > Number.MAX_SAFE_INTEGER) ({ ids, many } = dense(ids));
    for (let at = 0; at < length; at += 1) ids[at] = ids[at] * values.length + codes[at];
    many *= values.length;
  }
  return dense(ids);
}

function dense(ids) {
  const known = new Map();
  const own = new Float64Array(ids.length);
  ids.forEach((id, at) => {
    let number = known.get(id);
    if (number === undefined) known.set(id, number = known.size);
    own[at] = number;
  });
  return { ids: own, many: known.size };
}
