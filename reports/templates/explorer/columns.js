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
  if (packed.values.some((value) => typeof value === "string")) return { values: packed.values, codes: new Uint32Array(packed.codes) };
  const values = numbersOf(packed.values);
  const numbers = new Float64Array(length);
  for (let i = 0; i < length; i += 1) numbers[i] = values[packed.codes[i]];
  return { numbers };
}

const field = (type, name, get) => Object.defineProperty(type.prototype, name, { get, enumerable: true });

// Columns are decoded when they are first read: a view needs half of them.
function reader(columns, name) {
  let read = (at) => {
    const { numbers, codes, values } = columns[name];
    read = numbers ? (place) => (Number.isNaN(numbers[place]) ? null : numbers[place]) : (place) => values[codes[place]];
    return read(at);
  };
  return function get() { return read(this.at); };
}

function tableOf(packed) {
  const length = Math.max(0, ...Object.values(packed).map((column) => (column ? (column.codes || column).length : 0)));
  class Row { constructor(at) { this.at = at; } }
  const decoded = new Map();
  const columns = {};
  for (const name of Object.keys(packed)) {
    const get = () => decoded.get(name) || decoded.set(name, columnOf(packed[name], length)).get(name);
    Object.defineProperty(columns, name, { get, enumerable: true });
    field(Row, name, reader(columns, name));
  }
  return { columns, length, Row };
}

const rowsOf = ({ length, Row }) => Array.from({ length }, (_, at) => new Row(at));

// The rows of each value of a column, made when they are first asked for; undefined for a value that no row has.
function rowsBy({ columns, length, Row }, name) {
  const { codes, values } = columns[name];
  const places = new Map(values.map((value) => [value, []]));
  const lists = values.map((value) => places.get(value));
  for (let at = 0; at < length; at += 1) lists[codes[at]].push(at);
  const made = new Map();
  const rows = (value) => made.get(value) || made.set(value, places.get(value).map((at) => new Row(at))).get(value);
  return { get: (value) => (places.has(value) ? rows(value) : undefined) };
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

// A number for each of these rows, which rows share that agree in all of these columns: 0 for the first row, and one more for
// each row unlike all before it.
function numbered(columns, rows) {
  let ids = new Float64Array(rows.length);
  let many = 1;
  for (const { codes, values } of columns.map(coded)) {
    if (many * values.length > Number.MAX_SAFE_INTEGER) ({ ids, many } = dense(ids));
    for (let i = 0; i < ids.length; i += 1) ids[i] = ids[i] * values.length + codes[rows[i].at];
    many *= values.length;
  }
  return dense(ids);
}

function dense(ids) {
  const known = new Map();
  const own = new Float64Array(ids.length);
  for (let i = 0; i < ids.length; i += 1) {
    let number = known.get(ids[i]);
    if (number === undefined) known.set(ids[i], number = known.size);
    own[i] = number;
  }
  return { ids: own, many: known.size };
}
